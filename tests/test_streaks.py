"""Straight streaks of cosmic rays are defects; sharp bands and lines are none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

import arpes_ml_plugins
from arpes_ml_plugins import simulate_scene
from arpes_ml_plugins.denoising.streaks import streaks

SIZE = 96
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE]


def bands(counts, seed=4):
    rate = simulate_scene((SIZE, SIZE), counts=1, rng=seed).truth.values
    return rate * counts / rate.mean()


def along(angle, length, corners, at=(50.2, 45.2)):
    """The pixels of a straight streak; with its ``corners``, it never moves diagonally."""
    steps = np.arange(-length / 2, length / 2, 0.1 if corners else 1.0)
    hit = np.zeros((SIZE, SIZE), dtype=bool)
    row, column = at[0] + np.sin(angle) * steps, at[1] + np.cos(angle) * steps
    hit[row.round().astype(int), column.round().astype(int)] = True
    return hit


def found(values):
    images = torch.from_numpy(np.asarray(values, dtype=float))[None]
    return streaks(images, torch.ones_like(images, dtype=torch.bool))[0].numpy()


def line(width, slope, off):
    """A band of ``width`` pixels (standard deviation) that ends at a Fermi edge."""
    apart = (ROWS - 48 - off - slope * (COLUMNS - 48)) / np.hypot(1, slope)
    return np.exp(-((apart / width) ** 2) / 2) / (1 + np.exp((COLUMNS - 70) / 0.7)) + 0.02


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("angle", [0, 0.3, 0.75, 1.1, np.pi / 2, 2.0])
@pytest.mark.parametrize("counts", [1, 30])
def test_streaks_are_found(angle, counts, corners):
    rng = np.random.default_rng(1)
    rate, hit = bands(counts), along(angle, 35, corners)
    values = rng.poisson(rate) + hit * 30 * counts * np.exp(0.3 * rng.standard_normal(rate.shape))
    mask = found(values)
    assert mask[hit].mean() > 0.9
    assert mask[~hit].sum() <= 2


@pytest.mark.parametrize("counts", [0.3, 3, 100, 1e5])
@pytest.mark.parametrize("width", [0.45, 0.6, 1.0])
def test_sharp_bands_are_no_streaks(width, counts):
    rng = np.random.default_rng(2)
    for slope in (0, 0.03, 0.4, 0.5, 1.0, 2.2):
        for off in (0, 0.25, 0.5):
            rate = line(width, slope, off)
            assert not found(rng.poisson(rate * counts / rate.mean())).any()


def test_streaks_do_not_stay_in_the_image():
    """They stayed with 80 to 95 % of their height, and nothing was said."""
    truth, hit = bands(10), along(0.4, 35, corners=True)
    counts = np.random.default_rng(3).poisson(truth) + hit * 100 * truth.mean()
    data = xr.DataArray(counts, dims=("phi", "eV"))
    clean = arpes_ml_plugins.denoise(data, adapt=False, rng=0).values
    assert np.square(clean - truth).mean() < 0.1 * truth.mean()
    assert float(data.S.estimate_noise()["hot_fraction"]) == pytest.approx(hit.mean(), rel=0.1)
