"""Noise that is correlated by no cloud of charge: a filter does not win because it lets it pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from scipy import ndimage

from arpes_ml_plugins import simulate_scene
from arpes_ml_plugins.denoising.residual_spectrum import residual_spectrum


@pytest.mark.parametrize("seed", [3, pytest.param(5, marks=pytest.mark.slow)])
def test_the_network_serves_counts_that_were_interpolated_by_cubic_splines(seed):
    scene = simulate_scene((76, 76), counts=10, rng=seed)
    values, truth = (
        ndimage.zoom(x.values.astype(float), 1.7, order=3) for x in (scene.spectrum, scene.truth)
    )
    clean = xr.DataArray(values, dims=("eV", "phi")).S.denoise(adapt=False, rng=0)
    best = min(
        np.square(ndimage.gaussian_filter(values, width) - truth).mean() for width in (1, 2, 3, 4)
    )
    assert np.square(clean.values - truth).mean() < best / 2


def test_structure_in_some_places_is_no_noise():
    generator = torch.Generator().manual_seed(0)
    level = torch.full((1, 128, 128), 4.0)
    noise = 2 * torch.randn(level.shape, generator=generator)
    noise[:, :40, :60] += 10 * torch.sin(torch.arange(60.0))
    power = residual_spectrum(noise, level, level > 0)
    assert power.shape == (128, 65)
    assert 0.8 < float(power.mean()) < 1.3
    assert float(power.max()) < 4
    assert residual_spectrum(noise[:, :12], level[:, :12], level[:, :12] > 0) is None


@pytest.mark.parametrize("adapt", [False, True])
@pytest.mark.filterwarnings("ignore::arpes_ml_plugins.errors.CountsWarning")
def test_noise_stronger_than_assumed_is_neither_learned_nor_returned(adapt):
    """Split as if it were that of counts, it is in both parts."""
    rng = np.random.default_rng(0)
    truth = simulate_scene((96, 96), counts=8, rng=6).truth
    pixels = 1 + 0.02 * rng.normal(size=truth.shape)
    values = truth.copy(data=2.5 * rng.poisson(truth.values * pixels) / pixels)
    clean = values.S.denoise_pretrained(gain=1.0, adapt=adapt, rng=0)
    right = values.S.denoise_pretrained(gain=2.5, adapt=False, rng=0)
    error, expected = (np.square(x.values - 2.5 * truth.values).mean() for x in (clean, right))
    assert error < 2 * expected
