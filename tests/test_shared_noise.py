"""Neighbouring pixels that share their noise, as in maps that were smoothed or interpolated."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.ndimage import gaussian_filter, zoom

import arpes_ml_plugins
from arpes_ml_plugins.separation.shared_noise import of_neighbours
from arpes_ml_plugins.separation.whiten import channel_noise

ENERGY = np.linspace(-36, -29, 40)
Y, X = np.mgrid[:36, :36]
REGIONS = np.stack([X < 14, (X >= 14) & (Y < 18), (X >= 14) & (Y >= 18)]) * 1.0


def counts(level=100, seed=0):
    spectra = np.stack([np.exp(-(((ENERGY - c) / 0.4) ** 2)) + 0.1 for c in (-34, -32.5, -31.5)])
    rate = np.einsum("kyx,ke->yxe", REGIONS, spectra)
    return np.random.default_rng(seed).poisson(level * rate).astype(float)


def smoothed(values):
    return gaussian_filter(values, (1, 1, 0))


def interpolated(values):
    return zoom(values[::2, ::2], (2, 2, 1), order=1)


def correlation(values):
    cube = torch.from_numpy(np.moveaxis(values, -1, 0).copy())
    return of_neighbours(cube, torch.ones(cube.shape[1:], dtype=torch.bool)).correlation


@pytest.mark.parametrize("level", [0.5, 20, 10_000])
def test_independent_pixels_share_nothing(level):
    assert correlation(counts(level)) == 0


def test_drifting_energies_are_no_shared_noise():
    values = counts(1000)
    for column in range(36):
        values[:, column] = np.roll(values[:, column], column // 9, axis=-1)
    assert correlation(values) == 0


@pytest.mark.parametrize(("channels", "width"), [(24, 0.05), (48, 0.05), (64, 0.03)])
def test_a_line_that_moves_by_its_width_is_no_shared_noise(channels, width):
    """Its shapes are as many as the channels, and it changes slowly from pixel to pixel."""
    place = torch.linspace(-1, 1, channels, dtype=torch.float64)[:, None, None]
    moved = 0.5 * torch.sin(torch.tensor(3 * X + 2 * Y) / 36)
    noise = torch.randn(channels, 36, 36, generator=torch.Generator().manual_seed(0))
    cube = torch.exp(-(((place - moved) / width) ** 2) / 2) + noise / 300
    measured = channel_noise(cube, torch.ones(36, 36, dtype=torch.bool))
    assert measured.median() < 2 / 300


@pytest.mark.parametrize("shape", [(2000,), (40, 40), (6, 20, 20)])
def test_shapes_masks_and_missing_values(shape):
    generator = torch.Generator().manual_seed(0)
    cube = torch.randn(16, *shape, generator=generator)
    valid = torch.rand(shape, generator=generator) > 0.1
    cube[:, ~valid] = torch.nan
    assert of_neighbours(cube, valid).correlation == 0
    cube[..., 1:] += cube[..., :-1].nan_to_num()
    assert of_neighbours(cube, valid).correlation > 0.3


@pytest.mark.parametrize("change", [smoothed, interpolated, lambda v: np.repeat(v[::2], 2, 0)])
def test_shared_noise_is_seen(change):
    assert correlation(change(counts())) > 0.4


def test_their_noise_is_not_that_of_differences():
    values = smoothed(counts() - counts(seed=1))  # noise alone
    cube = torch.from_numpy(np.moveaxis(values, -1, 0).copy())
    measured = channel_noise(cube, torch.ones(cube.shape[1:], dtype=torch.bool))
    torch.testing.assert_close(measured, cube.flatten(1).std(1), rtol=0.15, atol=0)


@pytest.mark.parametrize("change", [smoothed, interpolated])
def test_status_names_the_cause(change):
    values = change(counts())
    data = xr.DataArray(values, {"eV": ENERGY}, ("y", "x", "eV"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        status = arpes_ml_plugins.separate_nmf(data, n_components=3, rng=0).status.item()
    assert "share their noise" in status
    assert "chi^2" not in status


def test_errors_of_spectra_allow_for_shared_noise():
    """Halves of the pixels have it in common: errors from them alone are a third of the true."""
    true = np.stack([np.exp(-(((ENERGY - c) / 0.4) ** 2)) + 0.1 for c in (-34, -32.5, -31.5)])
    true = true / true.max(1, keepdims=True)
    data = xr.DataArray(smoothed(counts()), {"eV": ENERGY}, ("y", "x", "eV"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = arpes_ml_plugins.separate_nmf(data, n_components=3, rng=0)
    nearest = (found.spectra.values @ true.T).argmax(1)
    pulls = (found.spectra.values - true[nearest]) / found.spectra_stderr.values
    assert 0.7 < float(np.median(np.abs(pulls)) / 0.6745) < 1.4
