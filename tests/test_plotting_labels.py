"""Pictures are labelled by the axes that they have, and curves are not taken at the edge."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt

from arpes_ml_plugins import plotting


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
    assert found[1] == f"raw, −d²I/d{dims[0]}²"
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
