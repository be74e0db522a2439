"""Lazy series denoised chunk by chunk: the same numbers, several tasks, a small graph."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
import xarray as xr

import arpes_ml_plugins  # noqa: F401
from arpes_ml_plugins.denoising.choices import RUN, RUNS, looked_at
from arpes_ml_plugins.denoising.splitting import Counts
from arpes_ml_plugins.labelled.apply import Image, map_images

dask = pytest.importorskip("dask")
OPTIONS = {"adapt": False, "rng": 0, "mesh": None, "gain": 1}


@pytest.fixture(scope="module")
def series():
    """A band that moves from image to image."""
    scan, energy, angle = np.meshgrid(
        np.linspace(-0.2, 0.3, 28), np.linspace(-1, 1, 20), np.linspace(-1, 1, 18), indexing="ij"
    )
    rate = 1 + 20 * np.exp(-(((energy - angle**2 + 0.5 - scan) / 0.25) ** 2))
    counts = np.random.default_rng(0).poisson(rate)
    return xr.DataArray(counts, {"scan": np.arange(28)}, ("scan", "eV", "phi"), name="spectrum")


@pytest.fixture(scope="module")
def eager(series):
    return series.S.denoise_pretrained(**OPTIONS)


@pytest.mark.parametrize("chunks", [{"scan": (1, 13, 1, 13)}, {"scan": 11, "eV": 10}])
def test_chunks_change_nothing(series, eager, chunks):
    lazy = series.chunk(chunks).S.denoise_pretrained(**OPTIONS)
    assert lazy.attrs["provenance"]["record"]["found"]["series"] == ["scan"]
    computed = lazy.compute(scheduler="synchronous")
    np.testing.assert_allclose(computed, eager, rtol=0, atol=1e-6 * float(eager.max()))
    assert computed.dims == series.dims


def test_chunks_of_the_series_stay_as_they_are(series):
    lazy = series.chunk(scan=8).S.denoise_pretrained(**OPTIONS)
    assert lazy.chunksizes["scan"] == (8, 8, 8, 4)
    assert len(pickle.dumps(lazy.__dask_graph__())) < 1_000_000


def test_denoise_chooses_the_same_whatever_the_chunks(series):
    whole = series.S.denoise(adapt=False, rng=0, mesh=None)
    lazy = series.chunk(scan=8).S.denoise(adapt=False, rng=0, mesh=None)
    computed = lazy.compute(scheduler="threads")
    np.testing.assert_allclose(computed, whole, rtol=0, atol=1e-6 * float(whole.max()))
    assert str(computed.denoise_method.values) == "denoise_pretrained"


def test_several_series(series):
    two = xr.concat([series, series.isel(scan=slice(None, None, -1))], "hv", join="override")
    two = two.transpose("scan", "hv", "phi", "eV")
    options = OPTIONS | {"gain": None}
    expected = two.S.denoise_pretrained(**options)
    lazy = two.chunk(scan=9, hv=1).S.denoise_pretrained(**options)
    computed = lazy.compute(scheduler="synchronous")
    np.testing.assert_allclose(computed, expected, rtol=0, atol=1e-6 * float(expected.max()))


def test_an_algorithm_sees_what_is_beside_a_chunk():
    data = xr.DataArray(np.arange(10.0)[:, None, None] * np.ones((1, 4, 4)), dims=("t", "y", "x"))

    def spread(batch):
        """Largest less smallest image number among those seen."""
        own = np.arange(len(batch.images)) if batch.own is None else batch.own
        numbers = batch.images[:, 0, 0]
        around = numbers.max() - numbers.min()
        assert list(batch.index) == numbers.int().tolist()
        return {"clean": batch.images[own] * 0 + around}

    result = map_images(
        data.chunk(t=4),
        ("y", "x"),
        spread,
        {"clean": Image()},
        method="t",
        device="cpu",
        beside="t",
    )["clean"]
    assert result.compute()[:, 0, 0].values.tolist() == [5.0] * 4 + [7.0] * 4 + [3.0] * 2


@pytest.mark.parametrize("images", [1, RUN * RUNS, RUN * RUNS + 1, 100])
def test_what_choices_are_tested_on(images):
    chosen = looked_at(images)
    assert chosen == sorted(set(chosen))
    assert 0 <= chosen[0] <= chosen[-1] < images
    assert len(chosen) == min(images, RUN * RUNS)


def test_images_that_do_not_follow_each_other_are_no_neighbours():
    images = torch.arange(6.0)[:, None, None].expand(6, 2, 2)
    places = torch.tensor([0, 1, 2, 7, 8, 9])
    counts = Counts(images, torch.ones(6, 2, 2, dtype=torch.bool), True, places=places)
    beside = counts.neighbours(torch.tensor([2, 4]))[..., 0, 0]
    expected = torch.tensor([[0.0, 1.0, torch.nan, torch.nan], [torch.nan, 3.0, 5.0, torch.nan]])
    torch.testing.assert_close(beside, expected, equal_nan=True)
