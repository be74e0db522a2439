"""Noise whose spectrum is not quite that of a Gaussian cloud is no reason for wider errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve1d

from arpes_ml_plugins.denoising.noise_model import NoiseModel
from arpes_ml_plugins.denoising.posterior import Deviations, measured_again
from arpes_ml_plugins.denoising.splitting import Counts

ROWS, COLUMNS = np.mgrid[:96, :96]
BAND = 2 + 20 * np.exp(-((ROWS - 48 - 0.3 * COLUMNS + 14) ** 2) / 3)
BLUR = 1.001
"""What the stand-in for a denoiser returns in place of 1: the same change of every measurement."""


def share(weights: tuple[float, ...]) -> float:
    """Correlation of neighbours in noise with these weights along a line."""
    kernel = np.array(weights)
    return float(kernel[1:] @ kernel[:-1] / (kernel @ kernel))


def deviations(
    weights: tuple[float, ...], strength: float = 1.0, seed: int = 0, lost: Any = 0.0
) -> Deviations:
    """Of data with noise of these weights along both axes, ``strength`` times as strong.

    The image has only part of what is ``lost``.
    """
    clean = torch.from_numpy(BAND + 0.5 * lost).float()[None]
    rate = BAND + lost
    noise = np.random.default_rng(seed).poisson(rate / strength) * strength - rate
    for axis in (0, 1):
        noise = convolve1d(noise, weights, axis=axis, mode="nearest")
    data = torch.from_numpy(rate + noise).float()[None]
    model = NoiseModel(1.0, row_correlation=share(weights), column_correlation=share(weights))
    counts = Counts(data, torch.ones_like(data, dtype=torch.bool))
    generator = torch.Generator().manual_seed(seed)
    return measured_again(lambda _: BLUR * clean, counts, clean, model, 8, generator)


CLOUDS = [(0.04, 0.92, 0.04), (0.1, 0.8, 0.1), (0.3, 0.7)]
"""Narrow clouds in large pixels, and a linear interpolation: all with more noise of single pixels
than a Gaussian cloud has at the same correlation."""


def louder(found: Deviations) -> float:
    """Variance of the noise over that assumed, by which all deviations are scaled."""
    return float((found.repeated[0] / ((BLUR - 1) * found.clean)).square().median())


@pytest.mark.parametrize("weights", CLOUDS)
@pytest.mark.parametrize("seed", [0, 1])
def test_more_noise_of_single_pixels_alone_widens_nothing(weights, seed):
    found = deviations(weights, seed=seed)
    bright = torch.from_numpy(BAND > 10)[None]
    assert 0.85 < louder(found) < 1.15
    assert float(found.missing[bright].sum() / found.clean[bright].sum()) < 0.01


@pytest.mark.parametrize("weights", CLOUDS)
def test_noise_that_is_stronger_at_all_wavelengths_widens_as_much(weights):
    assert 1.75 < louder(deviations(weights, strength=2.0)) < 2.25


def test_a_line_of_a_pixel_that_is_too_weak_is_still_missing():
    """Beside noise of single pixels that a Gaussian cloud does not have."""
    line = 40.0 * (ROWS == 70)
    found = deviations(CLOUDS[0], lost=line)
    there = torch.from_numpy(line > 0)[None]
    assert float(found.missing[there].sum() / found.clean[there].sum()) > 0.05
