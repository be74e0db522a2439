"""Figures hold what they promise; how they look is checked by eye in the docs."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt

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
        (lambda c: plotting.loss_curve(xr.Dataset({"a": 1})), "variable 'loss'"),
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
    assert "counts of 1 per electron" in " ".join(text.get_text() for text in figure.texts)
    marks = figure.axes[0].lines[0]
    np.testing.assert_allclose((marks.get_xdata(), marks.get_ydata()), ([1.0], [0.2]))
    flat = [line for line in figure.axes[2].lines if line.get_label().startswith("along")]
    assert len(flat) == 2
    for line in flat:
        assert np.median(line.get_ydata()[5:]) == pytest.approx(1, abs=0.2)


def test_diagnose_takes_stacks_gaps_and_small_images(cut):
    plotting.diagnose(cut.expand_dims(delay=3).astype(float).where(cut > 3))
