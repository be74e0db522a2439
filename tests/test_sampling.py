"""What is looked at of large data, and filters whose time is linear in the pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import xarray as xr

import arpes_ml_plugins
from arpes_ml_plugins.denoising import counts_network, noise
from arpes_ml_plugins.denoising.gaussian_means import gaussian_mean
from arpes_ml_plugins.labelled.series import WINDOW, windows
from arpes_ml_plugins.methods.denoising_input import PIXELS


def counted(shape, dims, rate=4.0):
    return xr.DataArray(np.random.default_rng(0).poisson(rate, shape), dims=dims)


@pytest.mark.parametrize("shape", [(1, 40, 200), (3, 100, 31), (40, 64, 16), (2, 16, 16)])
def test_windows_are_different_places(shape):
    numbers = xr.DataArray(np.arange(np.prod(shape)).reshape(shape), dims=("delay", "eV", "phi"))
    cut = windows(numbers, ("eV", "phi"), 16, 3000)
    assert cut.dims == (WINDOW, "eV", "phi")
    assert cut.shape[1:] == (16, 16)
    assert cut.size <= 3000
    first = cut.values[:, 0, 0]
    assert len(set(first)) == len(first)  # no window twice
    images = set(first // (shape[1] * shape[2]))
    assert len(images) == min(shape[0], len(first))


def test_windows_keep_exposures_together():
    data = counted((4, 3, 64, 64), ("delay", "sweep", "eV", "phi"))
    cut = windows(data, ("eV", "phi"), 32, 3 * 32 * 32 * 5, ("sweep",))
    assert cut.sizes == {WINDOW: 5, "sweep": 3, "eV": 32, "phi": 32}


@pytest.mark.parametrize("shape", [(700, 300), (60, 80, 60)])
def test_the_noise_of_large_data_comes_from_some_of_their_pixels(shape, monkeypatch):
    seen, original = [], noise.estimate

    def estimate(images, valid, recorded=None, **options):
        seen.append(images.numel())
        return original(images, valid, recorded, **options)

    monkeypatch.setattr(noise, "estimate", estimate)
    data = counted(shape, ("delay", "eV", "phi")[-len(shape) :])
    found = arpes_ml_plugins.estimate_noise(data * 2.5)
    assert str(found.kind.values) == "counts"
    assert float(found.gain) == 2.5
    assert len(seen) == 1
    assert seen[0] <= PIXELS


@pytest.mark.slow
def test_what_only_whole_images_show_is_still_found():
    rows = np.where(np.arange(700) % 2, 8.0, 16.0)
    data = counted((700, 300), ("eV", "phi"), rows[:, None]).astype(float)
    data[5:8, 10:20] = np.nan
    found = arpes_ml_plugins.estimate_noise(data)
    assert float(found.energy_alternation) == pytest.approx(1.0, abs=0.05)
    assert float(found.momentum_alternation) == 0
    assert float(found.missing_fraction) == pytest.approx(30 / data.size)
    lazy = arpes_ml_plugins.estimate_noise(data.chunk({"eV": 256}))
    assert lazy.gain.chunks is not None
    xr.testing.assert_allclose(
        lazy.drop_vars(("kind", "verdict")).compute(), found.drop_vars(("kind", "verdict"))
    )


@pytest.mark.parametrize("size", [(5, 7), (64, 65), (130, 63)])
@pytest.mark.parametrize("width", [1.0, 8.0])
@pytest.mark.parametrize("missing", [0.3, 0.0])
def test_gaussian_means_are_those_of_a_convolution(size, width, missing):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand((2, 3, *size), generator=generator, dtype=torch.float64)
    mask = (torch.rand((2, 3, *size), generator=generator) >= missing).to(images)
    reach = int(np.ceil(3 * width))
    line = torch.exp(-(torch.arange(-reach, reach + 1).double() ** 2) / (2 * width**2))
    kernel = (line[:, None] * line)[None, None]

    def summed(values):
        return F.conv2d(values.flatten(0, 1)[:, None], kernel, padding=reach).reshape(values.shape)

    expected = summed(images * mask) / summed(mask)
    known = summed(mask) / kernel.sum() > 1e-4
    torch.testing.assert_close(
        gaussian_mean(images, mask, width)[known], expected[known], rtol=1e-6, atol=1e-7
    )


def test_strips_of_a_block_are_the_whole(monkeypatch):
    block = counts_network._Block(8)
    images = torch.rand((1, 8, 61, 16), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = block(images)
        monkeypatch.setattr(counts_network, "STRIP", 0)  # sixteen rows at a time
        torch.testing.assert_close(block(images), whole, rtol=1e-6, atol=1e-6)
