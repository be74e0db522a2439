"""Lazy series denoised chunk by chunk: the same numbers, several tasks, a small graph."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import arpes_ml_plugins  # noqa: F401
from arpes_ml_plugins.denoising import choices, counts_denoiser
from arpes_ml_plugins.denoising.choices import RUN, in_runs, middles
from arpes_ml_plugins.denoising.counts_network import NEAR, REACH
from arpes_ml_plugins.denoising.splitting import Counts
from arpes_ml_plugins.labelled.apply import Image, map_images
from arpes_ml_plugins.labelled.series import RUN as RUN_DIM
from arpes_ml_plugins.labelled.series import runs
from arpes_ml_plugins.methods import chunks_run

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


@pytest.fixture
def small_sample(monkeypatch):
    """Samples of one run although the images are small, and few steps on them."""
    monkeypatch.setattr(chunks_run, "ENOUGH", 0)
    monkeypatch.setattr(choices, "RUNS", 1)
    short = replace(counts_denoiser.ADAPTED, steps=2)
    monkeypatch.setattr(counts_denoiser, "ADAPTED", short)


@pytest.mark.parametrize(
    "chunks",
    [{"scan": (1, 13, 1, 13)}, pytest.param({"scan": 11, "eV": 10}, marks=pytest.mark.slow)],
)
def test_chunks_change_nothing(series, eager, chunks):
    lazy = series.chunk(chunks).S.denoise_pretrained(**OPTIONS)
    assert lazy.attrs["provenance"]["record"]["found"]["series"] == ["scan"]
    computed = lazy.compute(scheduler="synchronous")
    np.testing.assert_allclose(computed, eager, rtol=0, atol=1e-6 * float(eager.max()))
    assert computed.dims == series.dims


def test_chunks_of_the_series_stay_as_they_are(series):
    lazy = series.chunk(scan=8).S.denoise_pretrained(**OPTIONS)
    assert lazy.chunksizes["scan"] == (8, 8, 12)
    assert len(pickle.dumps(lazy.__dask_graph__())) < 1_000_000


def test_denoise_chooses_the_same_whatever_the_chunks(series):
    series = series.isel(scan=slice(9))
    whole = series.S.denoise(adapt=False, rng=0, mesh=None)
    lazy = series.chunk(scan=4).S.denoise(adapt=False, rng=0, mesh=None)
    computed = lazy.compute(scheduler="threads")
    np.testing.assert_allclose(computed, whole, rtol=0, atol=1e-6 * float(whole.max()))
    assert str(computed.denoise_method.values) == "denoise_pretrained"


@pytest.mark.slow
def test_several_series(series):
    short = series.isel(scan=slice(5))
    two = xr.concat([short, short.isel(scan=slice(None, None, -1))], "hv", join="override")
    two = two.transpose("scan", "hv", "phi", "eV")
    expected = two.S.denoise_pretrained(**OPTIONS)
    lazy = two.chunk(scan=3, hv=1).S.denoise_pretrained(**OPTIONS)
    computed = lazy.compute(scheduler="synchronous")
    np.testing.assert_allclose(computed, expected, rtol=0, atol=1e-6 * float(expected.max()))


def test_an_algorithm_sees_what_is_beside_a_chunk():
    data = xr.DataArray(np.arange(30.0)[:, None, None] * np.ones((1, 4, 4)), dims=("t", "y", "x"))

    def spread(batch):
        """Largest less smallest image number among those seen."""
        own = np.arange(len(batch.images)) if batch.own is None else batch.own
        numbers = batch.images[:, 0, 0]
        around = numbers.max() - numbers.min()
        assert list(batch.index) == numbers.int().tolist()
        return {"clean": batch.images[own] * 0 + around}

    result = map_images(
        data.chunk(t=10),
        ("y", "x"),
        spread,
        {"clean": Image()},
        method="t",
        device="cpu",
        beside="t",
    )["clean"]
    assert result.compute()[:, 0, 0].values.tolist() == [17.0] * 10 + [25.0] * 10 + [17.0] * 10


@pytest.mark.slow
def test_a_network_trained_on_a_sample_serves_every_chunk(series, eager, small_sample, monkeypatch):
    """Once, in a task of its own, which sees a run of 17 images."""
    trained = []

    @torch.no_grad()
    def train(network, counts, *others, **options):
        """Change the weights by what only the sample as a whole says."""
        trained.append(len(counts))
        network.leave.bias += 0.01 * counts.images.mean()
        return 0.0

    monkeypatch.setattr(counts_denoiser, "adapt", train)
    options = OPTIONS | {"adapt": True}
    expected = series.S.denoise_pretrained(**options)
    lazy = series.chunk(scan=8).S.denoise_pretrained(**options)
    assert trained == [17]
    assert lazy.chunksizes["scan"] == (8, 8, 12)
    assert len(pickle.dumps(dict(lazy.__dask_graph__()))) < 1_000_000
    computed = lazy.compute(scheduler="threads")
    assert trained == [17, 17]
    np.testing.assert_allclose(computed, expected, rtol=0, atol=1e-6 * float(expected.max()))
    for result in (expected, lazy):
        used = result.attrs["provenance"]["record"]["found"]["trained_on"]
        assert len(used) == 17
    assert not np.allclose(eager, expected, rtol=1e-3)


@pytest.mark.slow
def test_several_series_share_a_network(series, small_sample):
    short = series.isel(scan=slice(6))
    two = xr.concat([short, short.isel(scan=slice(None, None, -1))], "hv", join="override")
    options = OPTIONS | {"adapt": True}
    expected = two.S.denoise_pretrained(**options)
    lazy = two.chunk(scan=4, hv=1).S.denoise_pretrained(**options)
    computed = lazy.compute(scheduler="synchronous")
    np.testing.assert_allclose(computed, expected, rtol=0, atol=1e-6 * float(expected.max()))


@settings(max_examples=60, derandomize=True)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 7), st.integers(1, 3)),
    number=st.integers(1, 12),
    length=st.integers(1, 6),
)
def test_runs_are_spread_and_never_overlap(shape, number, length):
    index = xr.DataArray(np.arange(np.prod(shape)).reshape(shape), dims=("t", "a", "b"))
    sample = runs(index, ("y", "x"), "t", length, number).transpose(RUN_DIM, "t").values
    assert len(set(sample.ravel())) == sample.size
    assert (np.diff(sample, axis=1) == shape[1] * shape[2]).all()  # one after the other
    if index.size <= number * length:
        assert sample.size == index.size
    else:
        assert sample.size <= number * length
        assert sample.shape[1] == min(length, shape[0])
        series = shape[1] * shape[2]
        assert len(sample) == min(number, series * (shape[0] // sample.shape[1]))
        used = np.unique(sample[:, 0] % series)
        assert len(used) == min(len(sample), series)


def test_neighbours_are_means_of_groups_in_the_same_run():
    images = torch.arange(2.0 * RUN)[:, None, None].expand(2 * RUN, 2, 2)
    sample = in_runs(images, torch.ones(2 * RUN, 2, 2, dtype=torch.bool), RUN)
    assert middles(sample, RUN).tolist() == [8, 25]
    beside = sample.neighbours(torch.tensor([8, 17]))[..., 0, 0]
    nan = torch.nan
    expected = torch.tensor(
        [[1.5, 4.5, 6, 7, 9, 10, 11.5, 14.5], [nan, nan, nan, nan, 18, 19, 20.5, 23.5]]
    )
    torch.testing.assert_close(beside, expected, equal_nan=True)


def test_images_that_do_not_follow_each_other_are_no_neighbours():
    images = torch.arange(6.0)[:, None, None].expand(6, 2, 2)
    places = torch.tensor([0, 1, 2, 7, 8, 9])
    counts = Counts(images, torch.ones(6, 2, 2, dtype=torch.bool), REACH, places=places)
    beside = counts.neighbours(torch.tensor([2, 4]))[..., 2:6, 0, 0]
    expected = torch.tensor([[0.0, 1.0, torch.nan, torch.nan], [torch.nan, 3.0, 5.0, torch.nan]])
    torch.testing.assert_close(beside, expected, equal_nan=True)


def test_missing_images_and_those_out_of_reach_are_left_out():
    images = torch.arange(9.0)[:, None, None].expand(9, 2, 2)
    valid = torch.ones(9, 2, 2, dtype=torch.bool)
    valid[0] = False

    def before(reach):
        beside = Counts(images, valid, reach).neighbours(torch.tensor([4]))
        return beside[0, :4, 0, 0].nan_to_num(-1).tolist()

    assert before(REACH) == [-1, 1, 2, 3]  # 0 is missing
    assert before(NEAR) == [-1, -1, 2, 3]
