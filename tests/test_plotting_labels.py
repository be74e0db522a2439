"""Pictures are labelled by the axes that they have, and curves are not taken at the edge."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt

from arpes_ml_plugins import plotting
from arpes_ml_plugins.plotting.derivatives import bent
from arpes_ml_plugins.plotting.labels import aspect_of, derivative_label, status_title


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def ring(first: str, second: str) -> xr.DataArray:
    x, y = np.linspace(-0.8, 0.8, 40), np.linspace(-0.5, 0.5, 30)
    radius = np.hypot(*np.meshgrid(x, y, indexing="ij"))
    return xr.DataArray(
        np.exp(-(((radius - 0.3) / 0.05) ** 2)), {first: x, second: y}, (first, second)
    )


def titles(figure):
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


@pytest.mark.parametrize(
    ("dims", "unit", "aspect"),
    [(("kx", "ky"), " 1/Å", 1.0), (("y", "x"), "", 1.0), (("theta", "phi"), " rad", "auto")],
)
def test_a_map_without_energy_is_labelled_by_its_axes(dims, unit, aspect):
    image = ring(*dims)
    # Two axes of space are no image of energy and momentum unless the user says so.
    figure = plotting.compare(image, image, dims=dims)
    found = titles(figure)
    assert found[1] == "raw, −∇²I"
    assert found[-2].startswith(f"Along {dims[1]} at {dims[0]} = ")
    assert found[-1].startswith(f"Along {dims[0]} at {dims[1]} = ")
    assert found[-1].endswith(unit)
    assert not any("MDC" in title or "EDC" in title for title in found)
    assert figure.axes[0].get_aspect() == aspect


def test_a_cut_keeps_its_words():
    image = ring("eV", "kp")
    figure = plotting.compare(image, image, energy=-0.2)
    assert titles(figure)[-2] == "MDC at energy = −0.2 eV"
    assert titles(figure)[-1].startswith("EDC at kp = ")
    assert titles(figure)[1] == "raw, −d²I/dE²"
    assert figure.axes[0].get_aspect() == "auto"


def place_of(figure):
    """Where the dotted lines through the first image are."""
    horizontal, vertical = figure.axes[0].lines
    return horizontal.get_ydata()[0], vertical.get_xdata()[0]


def test_curves_are_not_taken_at_the_edge():
    image = ring("eV", "phi")
    image[0] = image[:, -1] = 50.0  # 5 % of 40 are two rows, of 30 one or two columns
    energy, momentum = place_of(plotting.compare(image, image))
    assert np.hypot(energy, momentum) == pytest.approx(0.3, abs=0.03)
    asked = place_of(plotting.compare(image, image, energy=float(image.eV[0])))
    assert asked[0] == image.eV[0]


def test_an_image_that_is_known_at_its_edge_only_is_drawn():
    image = ring("eV", "phi")
    image[:, 1:] = np.nan
    _, momentum = place_of(plotting.compare(image, image))
    assert momentum == image.phi[0]


def test_ticks_are_few_whole_numbers():
    image = ring("eV", "phi")
    figure = plotting.compare(image.assign_coords(eV=16.8 + image.eV / 1e4), image)
    figure.canvas.draw()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            labels = [tick.get_text() for tick in axis.get_ticklabels()]
            assert len(labels) <= 8  # two may lie outside
            assert axis.get_offset_text().get_text() == ""


def test_titles_are_short():
    counts = np.random.default_rng(0).poisson(5.0, (64, 64))
    figure = plotting.diagnose(xr.DataArray(counts, dims=("phi", "eV")))
    lines = figure.get_suptitle().splitlines() + titles(figure)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("dims", [("kx", "ky"), ("ky", "kx"), ("x", "y"), ("y", "x")])
def test_x_is_horizontal_whatever_the_order(dims):
    image = ring(*dims)
    figure = plotting.compare(image, image, dims=dims)
    horizontal, vertical = sorted(dims)
    for axes in figure.axes[:4]:
        assert axes.get_xlabel().split()[0] == horizontal
        assert axes.get_ylabel().split()[0] == vertical
        drawn = axes.collections[0].get_array()
        assert drawn.shape == image.transpose(vertical, horizontal).shape
    lines = figure.axes[0].lines
    marked = {
        vertical: next(x.get_ydata()[0] for x in lines if x.get_xdata()[0] == 0),
        horizontal: next(x.get_xdata()[0] for x in lines if x.get_ydata()[0] == 0),
    }
    assert float(image.sel(marked, method="nearest")) == pytest.approx(float(image.max()))


@pytest.mark.parametrize("derivative", ["second", "curvature"])
@pytest.mark.parametrize("stretch", [1, 2.5])
def test_a_ring_is_equally_dark_all_around(derivative, stretch):
    """Both axes are differentiated, in their units and not in pixels."""
    x, y = np.linspace(-0.8, 0.8, 320), np.linspace(-0.8, 0.8, round(320 / stretch))
    radius = np.hypot(*np.meshgrid(x, y, indexing="ij"))
    image = xr.DataArray(np.exp(-(((radius - 0.4) / 0.12) ** 2)), {"kx": x, "ky": y}, ("kx", "ky"))
    shown = bent(image, derivative)
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    r = xr.DataArray(np.linspace(0.3, 0.5, 41), dims="r")
    # Averaged across the ring, which curvature makes narrower than a pixel.
    around = [float(shown.interp(kx=r * np.cos(a), ky=r * np.sin(a)).mean()) for a in angles]
    assert min(around) > 0.85 * max(around)


def test_a_cut_is_differentiated_along_energy_alone():
    """A line at one angle is flat along energy: it shows in a map only."""
    profile = np.broadcast_to(np.exp(-((np.linspace(-1, 1, 60) / 0.2) ** 2)), (60, 60))
    axis = np.linspace(-1, 1, 60)
    cut = xr.DataArray(profile, {"eV": axis, "phi": axis}, ("eV", "phi"))
    whole = cut.rename(eV="kx", phi="ky")
    assert float(bent(cut, "second").max()) < 0.01 * float(bent(whole, "second").max())


@pytest.mark.parametrize("order", [("x", "y", "eV"), ("y", "x", "eV"), ("eV", "x", "y")])
def test_components_are_upright_and_their_status_is_legible(order):
    rng, energy = np.random.default_rng(0), np.linspace(-1, 1, 30)
    peaks = np.exp(-((energy - np.array([[-0.3], [0.2]])) ** 2) / 0.02)
    amounts = np.zeros((8, 12, 2))
    amounts[:3, :, 0] = amounts[3:, :, 1] = 100  # 3 of 8 along x
    image = xr.DataArray(
        amounts @ peaks + rng.normal(size=(8, 12, 30)),
        {"x": np.arange(8.0), "y": np.arange(12.0), "eV": energy},
        ("x", "y", "eV"),
    )
    result = image.transpose(*order).S.separate_palm(n_components=2, noise=1.0, rng=0)
    words = "something is wrong with every component of this result, which is said here at length"
    figure = plotting.components(result.assign(status=xr.DataArray(words)))
    maps = [axes for axes in figure.axes if axes.get_xlabel() == "x"]
    assert len(maps) == 3
    for axes in maps:
        assert axes.get_ylabel() == "y"
        assert axes.get_aspect() == 1
        assert axes.collections[0].get_array().shape == (12, 8)
    weaker = min(maps[:2], key=lambda axes: axes.collections[0].get_array().mean())
    columns = weaker.collections[0].get_array().mean(0)
    assert columns[:3].min() > 10 * abs(columns[3:]).max()
    title = figure._suptitle
    on_page = title.get_fontsize() * min(1, 10 / figure.get_figwidth())
    assert on_page >= 9.9  # points, where the figure is scaled to a page of 10 inches
    figure.draw_without_rendering()
    assert title.get_window_extent().width <= figure.bbox.width


def test_wide_figures_have_larger_words():
    figure = plt.figure(figsize=(25, 4))
    status_title(figure, "word " * 40)
    assert figure._suptitle.get_fontsize() == 25
    assert max(map(len, figure.get_suptitle().splitlines())) <= 80
    assert figure._suptitle.get_window_extent().width <= figure.bbox.width


def test_long_titles_end_with_a_clause():
    figure = plt.figure(figsize=(10, 4))
    status_title(figure, "chi^2 is 12, too much; " + "other reasons follow, " * 30)
    lines = figure.get_suptitle().splitlines()
    assert len(lines) <= 3
    assert lines[0].startswith("χ² is 12, too much")
    assert lines[-1].endswith("follow\N{NO-BREAK SPACE}...")


def test_names_of_maps_are_compared_without_case():
    assert derivative_label(ring("Kx", "Ky [1/A]")) == derivative_label(ring("kx", "ky"))
    assert aspect_of(ring("Kx", "Ky")) == aspect_of(ring("kx", "ky")) == "equal"
