"""Counts of which only a strip is bright: single ones in the dark show what they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.ndimage import gaussian_filter

from arpes_ml_plugins.denoising.dark_counts import single_counts


def strip(counts: float) -> np.ndarray:
    """A band in 15 of 128 rows, with hard edges."""
    k, energy = np.linspace(-1, 1, 128)[:, None], np.linspace(-0.5, 0.08, 128)
    band = 1 / (1 + ((energy + 0.38 - 0.7 * k**2) / 0.02) ** 2)
    band /= 1 + np.exp(np.clip(energy / 0.006, -60, 60))
    rate = gaussian_filter(band * (np.abs(k + 0.4) < 0.12), 0.8) + 1e-4
    return rate * counts / rate.mean()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("counts", [15, 60])
def test_sharp_structure_is_no_correlation_if_the_dark_shows_counts(counts, seed):
    values = np.random.default_rng(seed).poisson(strip(counts)).astype(float)
    noise = xr.DataArray(values, dims=("phi", "eV")).S.estimate_noise()
    assert str(noise.kind.values) == "counts"
    assert float(noise.gain) == 1


def test_electrons_that_are_seen_twice_are_no_single_counts():
    generator = torch.Generator().manual_seed(0)
    counts = torch.poisson(torch.full((1, 128, 128), 0.2), generator=generator)
    everywhere, step = torch.ones_like(counts).bool(), torch.tensor(1.0)
    assert single_counts(counts, everywhere, step)
    assert not single_counts(2 * counts, everywhere, step)
    assert not single_counts(counts + counts.roll(1, -2), everywhere, step)
    assert not single_counts(counts, everywhere, torch.tensor(torch.nan))
    assert not single_counts(counts[:, :16, :16], everywhere[:, :16, :16], step)  # too few


@pytest.mark.parametrize("pedestal", [4, 9])
def test_read_out_noise_above_a_pedestal_is_not_skewed(pedestal):
    rng = np.random.default_rng(pedestal)
    read = np.rint(pedestal + pedestal**0.5 * rng.standard_normal((1, 100, 100)))
    counts = rng.poisson(pedestal, (1, 100, 100)) * 1.0
    everywhere, one = torch.ones(1, 100, 100).bool(), torch.tensor(1.0)
    assert single_counts(torch.from_numpy(counts), everywhere, one)
    assert not single_counts(torch.from_numpy(read.clip(0)), everywhere, one)
