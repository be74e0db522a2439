"""Figures hold what they promise; how they look is checked by eye in the docs."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.text import Text
from scipy.ndimage import gaussian_filter

from arpes_ml_plugins import plotting
from arpes_ml_plugins.errors import ParameterError


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_compare_shows_the_data(cut):
    smooth = cut.rolling(phi=3, min_periods=1).mean()
    figure = plotting.compare(cut, smooth, cut, energy=-0.2)
    titles = [axes.get_title() for axes in figure.axes]
    assert [t for t in titles if t in ("raw", "denoised", "reference")] == [
        "raw",
        "denoised",
        "reference",
    ]
    curves = next(axes for axes in figure.axes if axes.get_title().startswith("MDC"))
    row = smooth.sel(eV=-0.2, method="nearest")
    drawn = {line.get_label(): line.get_ydata() for line in curves.lines}
    np.testing.assert_allclose(drawn["denoised"], row)
    assert curves.get_xlabel() == "phi (rad)"


def test_compare_takes_datasets_nan_and_missing_coordinates(cut):
    holed = cut.astype(float).where(cut > 0).drop_vars(["phi", "eV", "channel"])
    plotting.compare(holed.to_dataset(), holed)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda c: plotting.compare(c.expand_dims(b=2), c.expand_dims(b=2)), "two-dimensional"),
        (lambda c: plotting.compare(c, c, energy=3.0), "energy=3.0 is outside"),
        (lambda c: plotting.loss_curve(xr.Dataset({"a": 1})), "with the variables loss; got a"),
    ],
)
def test_bad_input(cut, call, words):
    with pytest.raises(ValueError, match=words):
        call(cut)


def test_loss_curve(cut):
    result = cut.S.decompose_pcp_unet(iterations=5, rng=0)
    (axes,) = plotting.loss_curve(result).axes
    np.testing.assert_allclose(axes.lines[0].get_ydata(), result.loss)


def test_compare_draws_the_edc_and_the_error_bars(cut):
    smooth = cut.rolling(phi=3, min_periods=1).mean()
    result = xr.Dataset({"clean": smooth, "lower": smooth - 1, "upper": smooth + 1})
    figure = plotting.compare(cut, result, momentum=0.4, derivative="curvature")
    curves = next(axes for axes in figure.axes if axes.get_title().startswith("EDC"))
    drawn = {line.get_label(): line.get_ydata() for line in curves.lines}
    np.testing.assert_allclose(drawn["denoised"], smooth.sel(phi=0.4, method="nearest"))
    assert [c.get_label() for c in curves.collections] == ["68 % interval"]
    assert curves.get_xlabel() == "energy (eV)"
    assert "denoised, curvature" in [axes.get_title() for axes in figure.axes]


@pytest.mark.parametrize("options", [{"momentum": 9.0}, {"derivative": "third"}])
def test_compare_refuses(cut, options):
    with pytest.raises(ParameterError, match=next(iter(options))):
        plotting.compare(cut, cut, **options)


def test_diagnose_shows_what_is_wrong():
    counts = np.random.default_rng(0).poisson(5.0, (64, 64)).astype(float)
    counts[10, 20] = 500
    data = xr.DataArray(
        counts, dims=("phi", "eV"), coords={"phi": np.arange(64) * 0.1, "eV": np.arange(64) * 0.01}
    )
    figure = plotting.diagnose(data)
    assert "The values are raw counts: " in " ".join(text.get_text() for text in figure.texts)
    marks = figure.axes[0].lines[0]
    np.testing.assert_allclose((marks.get_xdata(), marks.get_ydata()), ([1.0], [0.2]))
    flat = [line for line in figure.axes[2].lines if line.get_label().startswith("along")]
    assert len(flat) == 2
    for line in flat:
        assert np.median(line.get_ydata()[5:]) == pytest.approx(1, abs=0.2)


def scene() -> np.ndarray:
    k, w = np.linspace(-1, 1, 128)[None, :], np.linspace(-1, 0.3, 128)[:, None]
    rate = 0.03 / ((w + 0.6 - 0.7 * k**2) ** 2 + 0.03) + 0.2 - 0.1 * w
    return 20 * (rate / (1 + np.exp(w / 0.05)) + 0.02)


def read_out(counts):
    return counts + np.random.default_rng(1).normal(0, 8, counts.shape)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda n: n, "1 × mean"),
        (lambda n: 7.3 * n, "7.3 × mean"),
        (lambda n: n + 100, "× (mean − "),
        (read_out, "× (mean + "),
        (lambda n: gaussian_filter(7.0 * n, 0.8), "at long wavelengths"),
        (lambda n: gaussian_filter(7.0 * n, 0.8) + 300, "× (mean − "),
    ],
    ids=["counts", "gain", "pedestal", "read-out", "correlated", "correlated beside a pedestal"],
)
def test_diagnose_draws_the_line_that_the_noise_follows(change, words):
    """Of the noise estimate, with its shift and correlation; the blocks scatter around it."""
    values = change(np.random.default_rng(0).poisson(scene()).astype(float))
    data = xr.DataArray(values, dims=("eV", "phi"))
    noise = data.S.estimate_noise()
    variance = plotting.diagnose(data).axes[1]
    blocks, line = variance.lines
    assert words in line.get_label()
    if "−" in words:
        added = float((values - change(0 * values)).min() - values.min())
        assert float(noise["shift"]) == pytest.approx(added, rel=0.05)
    slope = np.diff(line.get_ydata()) / np.diff(line.get_xdata())
    assert slope.item() == pytest.approx(float(noise["gain"]))
    expected = np.interp(blocks.get_xdata(), line.get_xdata(), line.get_ydata())
    bright = expected > 0.2 * expected.max()
    assert np.median(blocks.get_ydata()[bright] / expected[bright]) == pytest.approx(1, abs=0.25)
    low, high = variance.get_ylim()
    assert low == 0
    assert high >= line.get_ydata().max()


def test_diagnose_shows_how_correlated_noise_falls():
    """Its power is that of the filter, along each axis."""
    noise = gaussian_filter(np.random.default_rng(0).poisson(20 + 0 * scene()) * 1.0, (0, 0.7))
    power = plotting.diagnose(xr.DataArray(noise, dims=("eV", "phi"))).axes[2]
    drawn = {line.get_label(): line for line in power.lines}
    frequency = drawn["along phi"].get_xdata()
    transfer = np.abs(np.fft.rfft(gaussian_filter(np.eye(1, 257)[0], 0.7, mode="wrap"))) ** 2
    expected = np.interp(frequency, np.linspace(0, 1, len(transfer)), transfer)
    np.testing.assert_allclose(drawn["along phi"].get_ydata(), expected, atol=0.12)
    np.testing.assert_allclose(drawn["along eV"].get_ydata(), 1, atol=0.2)


def test_diagnose_of_values_below_zero_has_no_line():
    rng = np.random.default_rng(0)
    difference = rng.poisson(scene()) - rng.poisson(scene())
    figure = plotting.diagnose(xr.DataArray(difference * 1.0, dims=("eV", "phi")))
    (blocks,) = figure.axes[1].lines
    assert np.median(blocks.get_ydata()) == pytest.approx(2 * np.median(scene()), rel=0.5)
    colours = figure.axes[0].collections[0].norm
    assert colours.vmin < -np.median(scene())
    assert "not counts" in figure.get_suptitle()


def test_nothing_is_cut_off(cut):
    """No title, label or legend reaches beyond the figure."""
    smooth = cut.astype(float).rolling(phi=3, min_periods=1).mean()
    for figure in (plotting.diagnose(cut), plotting.compare(cut, smooth)):
        figure.draw_without_rendering()
        whole = figure.bbox
        for text in figure.findobj(Text):
            if text.get_text() and text.get_visible() and text in _shown(figure):
                box = text.get_window_extent()
                assert whole.x0 - 1 <= box.x0 < box.x1 <= whole.x1 + 1, text
                assert whole.y0 - 1 <= box.y0 < box.y1 <= whole.y1 + 1, text


def _shown(figure):
    """Titles and labels; ticks beyond the limits are not drawn."""
    texts = [*figure.texts, figure._suptitle] if figure._suptitle else list(figure.texts)
    for axes in figure.axes:
        texts += [axes.title, axes.xaxis.label, axes.yaxis.label]
    return texts


def test_diagnose_takes_stacks_gaps_and_small_images(cut):
    plotting.diagnose(cut.expand_dims(delay=3).astype(float).where(cut > 3))
