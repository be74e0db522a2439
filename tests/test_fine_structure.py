"""Signed data whose structure may pass for noise: derivatives, and backgrounds that are none."""

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.ndimage import gaussian_filter, uniform_filter1d

import arpes_ml_plugins
from arpes_ml_plugins.denoising.derivative import second_derivative

N = 112
ENERGY, ANGLE = np.linspace(-0.5, 0.1, N)[:, None], np.linspace(-0.4, 0.4, N)[None]


def scene(counts):
    flat = 0.006 / ((ENERGY + 0.05) ** 2 + 0.006**2) * np.exp(-((ANGLE / 0.25) ** 2))
    wave = 0.02 / ((ENERGY + 0.3 + 0.05 * np.cos(12 * ANGLE)) ** 2 + 0.02**2)
    image = gaussian_filter((flat + wave + 2.5) / (1 + np.exp(ENERGY / 0.004)) + 0.1, 0.8)
    return counts * image / image.mean()


def measured(counts, seed=3):
    return np.random.default_rng(seed).poisson(scene(counts)).astype(float)


def labelled(values):
    return xr.DataArray(values, {"eV": ENERGY[:, 0], "phi": ANGLE[0]}, ("eV", "phi"))


def rms(image):
    return float(np.sqrt(np.mean(np.square(image))))


def smoothed_slope(image):
    return np.gradient(gaussian_filter(image, 2.0), axis=0)


def curvature(image):
    slope = np.gradient(gaussian_filter(image, 2.0), axis=0)
    return -np.gradient(slope, axis=0) / (0.01 * np.abs(slope).max() ** 2 + slope**2) ** 1.5


@pytest.mark.filterwarnings("ignore::arpes_ml_plugins.errors.CountsWarning")
@pytest.mark.parametrize("derived", [smoothed_slope, curvature])
def test_returns_derivatives_of_smooth_images_as_they_are(derived):
    data, truth = derived(measured(100)), derived(scene(100))
    clean = arpes_ml_plugins.denoise(labelled(data), adapt=False, rng=0)
    assert rms(clean - truth) < 1.1 * rms(data - truth)


@pytest.mark.filterwarnings("ignore::arpes_ml_plugins.errors.CountsWarning")
def test_a_dichroism_seen_by_a_camera_is_denoised():
    polarised = 0.3 * np.tanh(np.linspace(-3, 3, N))[None]
    rng = np.random.default_rng(5)
    difference = rng.poisson(scene(3) * (1 + polarised) / 2) - rng.poisson(
        scene(3) * (1 - polarised) / 2
    )
    data, truth = (gaussian_filter(x, 0.8) for x in (difference + 0.0, scene(3) * polarised))
    clean = arpes_ml_plugins.denoise(labelled(data), adapt=False, rng=0)
    assert rms(clean - truth) < 0.6 * rms(data - truth)


def test_a_moving_average_that_was_subtracted_is_no_derivative():
    # Noise decides: the structure of both vanishes at long wavelengths.
    data = measured(3) - uniform_filter1d(measured(3), 15, axis=1)
    images = torch.from_numpy(
        np.stack([data, np.pad(np.diff(measured(3), 2, 1), ((0, 0), (1, 1)))])
    )
    everywhere = torch.ones_like(images[:1], dtype=torch.bool)
    found = [second_derivative(image[None], everywhere) for image in images]
    assert not found[0]
    smooth = np.diff(gaussian_filter(measured(100), 1.5), 2, 0)
    assert second_derivative(torch.from_numpy(smooth)[None], everywhere[:, 2:])
