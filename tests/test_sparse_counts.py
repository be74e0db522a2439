"""Much less than one count per pixel: what is added back does not spoil the network's image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.ndimage import gaussian_filter

import arpes_ml_plugins  # noqa: F401
from arpes_ml_plugins.denoising.recovery import conserve, recover_structure
from arpes_ml_plugins.scoring import psnr

FEW = [0.01, 0.03, 0.1, 0.5, 2.0]


def band(counts, size=128, dark=0.05):
    """A dispersing band that ends at the Fermi level, above a dim background."""
    energy, momentum = np.meshgrid(np.linspace(-1, 1, size), np.linspace(-1, 1, size))
    position = momentum**2 - 0.6
    rate = np.exp(-(((energy - position) / 0.12) ** 2) / 2) / (1 + np.exp(energy / 0.05)) + dark
    return counts * rate / rate.mean()


def tensors(counts, seed=0):
    truth = torch.from_numpy(band(counts)).float()[None]
    data = torch.poisson(truth, generator=torch.Generator().manual_seed(seed))
    return data, truth, torch.ones_like(data, dtype=torch.bool)


@pytest.mark.parametrize("counts", FEW)
def test_nothing_is_missing_from_the_truth(counts):
    """Single electrons are no outliers, whatever the median of the empty pixels around them."""
    data, truth, valid = tensors(counts)
    after = recover_structure(data, truth, valid, floor=0.1, counted=True)
    assert (after - truth).square().mean() < 1e-3 * truth.square().mean()


def test_an_outlier_among_few_counts_stays_out():
    data, truth, valid = tensors(0.05)
    data[0, 40, 40] = 1e4
    after = recover_structure(data, truth, valid, floor=0.1, counted=True)
    assert (after - truth).square().mean() < 1e-3 * truth.square().mean()


@pytest.mark.parametrize("counts", FEW)
def test_intensity_that_is_there_is_conserved(counts):
    """On average over measurements; a single one of 160 counts is known to 8 %."""
    totals = []
    for seed in range(8):
        data, truth, valid = tensors(counts, seed)
        totals.append(float(conserve(data, truth, valid).sum() / truth.sum()))
    error = 1 / np.sqrt(8 * float(truth.sum()))
    assert abs(np.mean(totals) - 1) < 0.01 + 2 * error


@pytest.mark.parametrize("counts", [0.1, 1.0])
def test_smooth_intensity_that_is_missing_comes_back(counts):
    dim = torch.from_numpy(band(counts)).float()[None]
    row = torch.arange(128.0)[:, None]
    truth = dim + counts * torch.exp(-(((row - 60) / 25) ** 2) / 2)
    data = torch.poisson(truth, generator=torch.Generator().manual_seed(0))
    after = conserve(data, dim, torch.ones_like(data, dtype=torch.bool))
    assert (after - truth).square().mean() < 0.15 * (dim - truth).square().mean()


@pytest.mark.parametrize("counts", [0.03, 0.1])
def test_few_counts_are_denoised_better_than_by_any_gaussian(counts):
    truth = band(counts)
    noisy = np.random.default_rng(0).poisson(truth).astype(float)
    cut = xr.DataArray(noisy, dims=("phi", "eV"))
    clean = cut.S.denoise_pretrained(adapt=False, gain=1, mesh=None, rng=0).values
    best = max(psnr(gaussian_filter(noisy, width), truth) for width in np.arange(1, 12, 0.5))
    assert psnr(clean, truth) > best + 1.5
    assert abs(clean.sum() / noisy.sum() - 1) < 0.05
