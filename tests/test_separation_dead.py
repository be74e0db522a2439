"""Dead pixels and hot channels are left out of large maps as of small ones, whatever the chunks."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import arpes_ml_plugins  # noqa: F401
from arpes_ml_plugins.labelled import pixels, tiles

pytest.importorskip("dask")
ENERGY = np.linspace(-5, 0, 40)
ROWS, COLUMNS = np.mgrid[:50, :54]
DEAD = [(i, j) for i in range(4, 50, 9) for j in range(4, 52, 9)] + [(30, 11), (31, 11), (21, 47)]
HOT = 5


def counts(dead=(), hot=False):
    lines = np.stack([np.exp(-(((ENERGY - c) / 0.3) ** 2)) + 0.05 for c in (-3.5, -2.2, -1)])
    waves = np.sin(ROWS / 9 + COLUMNS / 11), np.cos(COLUMNS / 8), np.sin(ROWS / 7 - COLUMNS / 13)
    maps = 1.0 * (np.stack(waves).argmax(0) == np.arange(3)[:, None, None])
    rng = np.random.default_rng(3)
    values = rng.poisson(60 * np.einsum("kyx,ke->yxe", maps, lines)).astype(float)
    for place in dead:
        values[place] = 0
    if hot:
        values[..., HOT] += rng.poisson(400, ROWS.shape)
    return xr.DataArray(values, {"eV": ENERGY}, ("y", "x", "eV"))


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr(tiles, "TILES", 16)
    monkeypatch.setattr(tiles, "SIDE", 8)
    monkeypatch.setattr(pixels, "BAND", 300)


def separated(data, chunks):
    data = data if chunks is None else data.chunk(chunks)
    result = data.S.separate_gmca(n_components=3, rng=0, shift=False)
    return result.compute(scheduler="synchronous")


pieces = pytest.mark.parametrize("chunks", [None, {"y": 30, "x": 11}, {"y": 7, "eV": 13}])


@pytest.mark.filterwarnings("ignore:separate_")
@pieces
def test_hot_channels_are_left_out_of_pieces(chunks, small_tiles):
    result = separated(counts(hot=True), chunks)
    assert np.isnan(result.reconstruction.isel(eV=HOT)).all()
    assert "hot in all pixels" in result.status.item()
    assert float(result.residual_chi2.mean()) == pytest.approx(1, abs=0.05)


@pytest.mark.filterwarnings("ignore:separate_")
@pieces
def test_dead_pixels_are_left_out_of_pieces(chunks, small_tiles):
    result = separated(counts(dead=DEAD), chunks)
    dark = np.argwhere(result.maps.isnull().all("component").values)
    assert {tuple(place) for place in dark.tolist()} == set(DEAD)
    assert "nothing but zeros beside bright pixels" in result.status.item()


@pytest.mark.filterwarnings("ignore:separate_")
def test_nothing_is_dead_in_pieces_of_right_data(small_tiles):
    result = separated(counts(), {"y": 30})
    assert result.status.item() == "ok"
    assert bool(result.maps.notnull().all())
