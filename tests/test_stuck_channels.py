"""Whole lines of pixels that are stuck at a large value are defects, as hot pixels are."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import xarray as xr

import arpes_ml_plugins
from arpes_ml_plugins.denoising.defects import bright_lines

SIZE, STUCK = 64, 21


def rate():
    row, column = np.indices((SIZE, SIZE))
    return 10 * (0.3 + np.exp(-(((column - 20 - 0.4 * row) / 4) ** 2) / 2))


def labelled(values):
    return xr.DataArray(values, dims=("phi", "eV"))


def lines(values):
    images = torch.from_numpy(np.asarray(values, float))[None]
    return int(bright_lines(images, torch.ones_like(images, dtype=torch.bool)).sum())


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("value", [65535, 1e6, 1e9])
def test_a_stuck_channel_is_left_out_and_filled_in(axis, value):
    values = np.random.default_rng(0).poisson(rate()) * 1.0
    np.moveaxis(values, axis, 0)[STUCK] = value
    noise = arpes_ml_plugins.estimate_noise(labelled(values))
    assert float(noise.gain) == pytest.approx(1, rel=0.1)
    assert float(noise.hot_fraction) == pytest.approx(1 / SIZE, rel=0.2)
    assert float(noise.missing_fraction) == pytest.approx(0, abs=1e-12)
    clean = arpes_ml_plugins.denoise(labelled(values), adapt=False, rng=0).values
    assert np.sqrt(np.mean((clean - rate()) ** 2)) < 0.3 * np.sqrt(rate().mean())


@pytest.mark.parametrize("times", [30, 100])
@pytest.mark.parametrize("line", [0, STUCK])
@pytest.mark.parametrize("stuck", [True, False])
def test_a_channel_that_is_far_too_bright_is_left_out(times, line, stuck):
    """Thirty times brighter than those beside it, it stayed."""
    rng = np.random.default_rng(0)
    values = rng.poisson(rate()) * 1.0
    values[line] = times * rate().mean() if stuck else rng.poisson(times * rate()[line])
    clean = arpes_ml_plugins.denoise(labelled(values), adapt=False, rng=0).values
    assert np.sqrt(np.mean((clean - rate()) ** 2)) < 0.3 * np.sqrt(rate().mean())


def test_lines_that_were_exposed_longer_are_not_stuck():
    exposures = np.where(np.arange(SIZE) % 3, 1, 12)[:, None]
    assert lines(np.random.default_rng(4).poisson(rate() * exposures)) == 0


@pytest.mark.parametrize("width", [0.4, 0.7, 1.0])
def test_a_sharp_line_is_no_stuck_channel(width):
    column = np.arange(SIZE)
    truth = np.tile(1e6 * np.exp(-(((column - 30.2) / width) ** 2) / 2) + 0.5, (SIZE, 1))
    assert lines(np.random.default_rng(1).poisson(truth)) == 0


@pytest.mark.parametrize("counts", [0.01, 0.3, 10])
def test_good_channels_are_not_stuck(counts):
    values = np.random.default_rng(2).poisson(rate() * counts / 10)
    assert lines(values) == 0
    values[::2] = 0  # every second channel is dead
    values[0::2, 0] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert lines(values) == 0
