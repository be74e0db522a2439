"""The sliders of a notebook, without a notebook: what they move is what is drawn."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt

from arpes_ml_plugins import plotting
from arpes_ml_plugins.errors import AxisError

pytest.importorskip("ipywidgets")


@pytest.fixture
def smooth(cut):
    return cut.rolling(phi=3, min_periods=1).mean()


def lines(view, number):
    """Values drawn in the MDC (1) or the EDC (2)."""
    panel = view.figure.axes[number]
    return panel, {line.get_label(): line.get_ydata() for line in panel.lines}


def picture(view):
    return plt.imread(io.BytesIO(view.children[-1].value))


def test_curves_follow_their_sliders(cut, smooth):
    view = plotting.explore(cut, smooth)
    for index in (3, 11):
        view.sliders["eV"].value = index
        panel, mdc = lines(view, 1)
        np.testing.assert_array_equal(mdc["raw"], cut.isel(eV=index))
        np.testing.assert_array_equal(mdc["clean"], smooth.isel(eV=index))
        assert panel.get_ylim()[1] >= mdc["raw"].max()
        number = f"{float(cut.eV[index]):.3g}".replace("-", "−")
        assert panel.get_title() == f"MDC at energy = {number} eV"
    view.sliders["phi"].value = 5
    panel, edc = lines(view, 2)
    np.testing.assert_array_equal(edc["raw"], cut.isel(phi=5))
    np.testing.assert_array_equal(edc["clean"], smooth.isel(phi=5))
    marks = view.figure.axes[0].lines
    assert marks[0].get_ydata() == [cut.eV[11]] * 2
    assert marks[1].get_xdata() == [cut.phi[5]] * 2


def test_the_divider_shows_raw_left_and_clean_right(cut, smooth):
    view = plotting.explore(cut, smooth)
    (mesh,) = view.figure.axes[0].collections
    raw, clean = (data.transpose("eV", "phi").values for data in (cut, smooth))
    for divider in (0, 7, 17):
        before = picture(view)
        view.sliders["divider"].value = divider
        shown = np.asarray(mesh.get_array()).reshape(clean.shape)
        np.testing.assert_array_equal(shown[:, :divider], raw[:, :divider])
        np.testing.assert_array_equal(shown[:, divider:], clean[:, divider:])
        assert (picture(view) != before).any()


def test_maps_have_a_slider_for_each_other_dimension(cut, smooth):
    times = np.array(["2026-01-01", "2026-01-02"], "datetime64[ns]")
    factors = xr.DataArray([1.0, 10.0], {"time": times}, "time")
    view = plotting.explore(
        (cut * factors).expand_dims(run=3), (smooth * factors).expand_dims(run=3)
    )
    assert list(view.sliders) == ["eV", "phi", "run", "time", "divider"]
    view.sliders["eV"].value = 4
    for index, factor in enumerate((1.0, 10.0)):
        view.sliders["time"].value = index
        np.testing.assert_allclose(lines(view, 1)[1]["raw"], factor * cut.isel(eV=4))
        np.testing.assert_allclose(lines(view, 1)[1]["clean"], factor * smooth.isel(eV=4))


def test_lazy_data_are_computed_slice_by_slice(cut):
    pytest.importorskip("dask")
    seen = []

    def slow(block):
        seen.append(block.shape)
        return block + 1.0

    stack = cut.expand_dims(theta=4).chunk(theta=1)
    stack = stack.copy(data=stack.data.map_blocks(slow, dtype=float, meta=np.zeros((0, 0, 0))))
    view = plotting.explore(stack, stack)
    assert len(seen) == 2
    view.sliders["theta"].value = 0
    assert len(seen) == 4


def test_datasets_gaps_and_missing_coordinates(cut):
    holed = cut.astype(float).where(cut > 1).drop_vars(["phi", "eV"])
    result = xr.Dataset({"clean": holed, "lower": holed, "upper": holed})
    view = plotting.explore(cut.drop_vars(["phi", "eV"]).to_dataset(), result)
    view.sliders["eV"].value = 0
    np.testing.assert_array_equal(lines(view, 1)[1]["clean"], holed.isel(eV=0))


def test_nothing_of_pyplot_is_left(cut, smooth):
    before = plt.get_fignums()
    plotting.explore(cut, smooth).sliders["eV"].value = 1
    assert plt.get_fignums() == before


def test_refused(cut, smooth):
    with pytest.raises(AxisError, match="same shape"):
        plotting.explore(cut, smooth.isel(phi=slice(5)))


def test_without_ipywidgets(cut, smooth, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(ImportError, match="pip install ipywidgets"):
        plotting.explore(cut, smooth)
