"""Structure that the network missed comes back; noise and correlated data do not."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import xarray as xr

import arpes_ml_plugins
from arpes_ml_plugins import simulate_scene
from arpes_ml_plugins.denoising.recovery import recover_locally, recover_structure

ROWS, COLUMNS = np.meshgrid(np.arange(120), np.arange(120), indexing="ij")


def recovered(images, clean, valid=None):
    images, clean = torch.from_numpy(images)[None], torch.from_numpy(clean)[None]
    valid = (
        torch.ones_like(images, dtype=torch.bool)
        if valid is None
        else torch.from_numpy(valid)[None]
    )
    return recover_structure(images, clean, valid, floor=0.1)[0].numpy()


@pytest.fixture
def missed(rng):
    """Counts of a rate with fine structure, and an image that misses it."""
    flat = 200 + 50 * np.sin(ROWS / 30)
    rate = flat * (1 + 0.1 * np.sin(2 * np.pi * (ROWS + 0.6 * COLUMNS) / 9))
    return rng.poisson(rate).astype(float), rate, flat


def test_missed_structure_comes_back(missed):
    counts, rate, flat = missed
    after = recovered(counts, flat)
    assert np.mean((after - rate) ** 2) < 0.2 * np.mean((flat - rate) ** 2)
    assert np.mean((after - rate) ** 2) < 0.5 * np.mean((counts - rate) ** 2)


def test_pure_noise_does_not(rng):
    flat = 50 + 20 * np.sin(ROWS / 30)
    counts = rng.poisson(flat).astype(float)
    change = recovered(counts, flat) - flat
    assert np.mean(change**2) < 0.002 * np.mean((counts - flat) ** 2)


@pytest.mark.parametrize("scale", [1.0, 25.0, 0.013])
def test_any_unit(missed, scale):
    counts, rate, flat = missed
    after = recovered(counts * scale, flat * scale) / scale
    assert np.mean((after - rate) ** 2) < 0.2 * np.mean((flat - rate) ** 2)


@pytest.mark.parametrize("kind", ["smoothed", "along rows", "interpolated"])
def test_correlated_noise_is_left_alone(missed, kind):
    from scipy.ndimage import gaussian_filter, map_coordinates

    counts, _, flat = missed
    rows, columns = np.meshgrid(np.linspace(0, 119, 171), np.linspace(0, 119, 171), indexing="ij")
    interpolate = {
        "smoothed": lambda x: gaussian_filter(x, 0.7),
        "along rows": lambda x: map_coordinates(x, [rows * 0.97, columns.round()], order=1),
        "interpolated": lambda x: map_coordinates(x, [rows, columns], order=1),
    }[kind]
    images, flat = interpolate(counts), interpolate(flat)
    assert (recovered(images, flat) == flat).all()


def test_a_perfect_fit_stays(missed):
    _, _, flat = missed
    assert (recovered(flat, flat) == flat).all()


def test_masked_pixels_and_outliers_stay_out(missed):
    counts, _, flat = missed
    valid = np.ones(counts.shape, dtype=bool)
    valid[40:50, 40:50] = False
    spoiled = counts.copy()
    spoiled[10, 10] = 1e6
    after = recovered(spoiled, flat, valid)
    assert (after[~valid] == flat[~valid]).all()
    assert abs(after - flat)[10, 10] < 100


@pytest.mark.filterwarnings("ignore::arpes_ml_plugins.errors.CountsWarning")
@pytest.mark.parametrize("top", [3e4, 3e5])
def test_beside_a_core_level_the_dark_is_denoised_and_the_bright_no_worse_than_the_data(top):
    """The image had up to 2.2 times the errors of the data, or was the data."""
    scene = simulate_scene((96, 96), counts=3, rng=31).truth.values
    row, column = np.indices(scene.shape)
    truth = scene + top * np.exp(-(((column - 25) / 4) ** 2) / 2) * (1 + 0.2 * np.sin(row / 20))
    data = np.random.default_rng(0).poisson(truth)
    result = arpes_ml_plugins.decompose_pretrained(
        xr.DataArray(data, dims=("eV", "phi")), adapt=False, gain=1.0, mesh=None, rng=0
    )
    clean, dark = result.clean.values, np.abs(column - 25) > 24
    for part, most in ((dark, 0.5), (~dark, 0.9)):
        error, usual = (np.square(x - truth)[part] / truth[part] for x in (clean, data))
        assert error.mean() < most**2 * usual.mean()
    inside = (result.lower.values <= truth) & (truth <= result.upper.values)
    assert 0.6 < inside.mean() < 0.9


def test_sharp_lines_of_many_counts_are_no_worse_than_the_data():
    row, column = np.indices((96, 96))
    truth = 5400 * np.exp(-(((row - 48 - 0.4 * (column - 48)) / 0.45) ** 2) / 2) + 90
    data = np.random.default_rng(0).poisson(truth)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clean = arpes_ml_plugins.denoise(
            xr.DataArray(data, dims=("eV", "phi")), adapt=False, rng=0
        ).values
    assert np.square(clean - truth).mean() < 0.7 * np.square(data - truth).mean()


@pytest.mark.parametrize("counts", [1.0, 5.0, 200.0])
def test_noise_alone_leaves_no_spots(counts):
    """A third of such images had a spot of one pixel."""
    clean = torch.full((10, 240, 240), counts)
    drawn = torch.poisson(clean, generator=torch.Generator().manual_seed(0))
    spots = recover_locally(drawn, clean, clean > 0) != clean
    assert int(spots.flatten(1).any(1).sum()) <= 1
