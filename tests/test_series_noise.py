"""Images of a series that share noise, as after a running mean along it: this is told."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import xarray as xr

from arpes_ml_plugins.denoising.series_noise import shared_noise

IMAGES, SIZE = 9, 32


def rate(images=IMAGES, counts=5.0):
    """A band that moves along the series."""
    row, column = np.indices((SIZE, SIZE))
    centre = 10 + 0.3 * row + np.arange(images)[:, None, None]
    scene = 0.2 + np.exp(-(((column - centre) / 3) ** 2) / 2)
    return scene * counts / scene.mean()


def running(counts):
    return (counts[:-2] + counts[1:-1] + counts[2:]) / 3


STEPS = {
    "running mean": running,
    "sums so far": lambda counts: np.cumsum(counts, 0),
    "same reference": lambda counts: counts[1:] - counts[:1],
    "difference of neighbours": lambda counts: np.diff(counts, axis=0),
}


def residual_words(values):
    data = xr.DataArray(values.astype(float), dims=("delay", "phi", "eV"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clean = data.S.denoise_pretrained(adapt=False, rng=0)
    return clean.attrs["provenance"]["record"]["found"]["residual"]


@pytest.mark.parametrize("step", STEPS)
def test_shared_noise_is_told(step):
    counts = np.random.default_rng(0).poisson(rate())
    assert "share noise" in residual_words(STEPS[step](counts))


@pytest.mark.parametrize("counts", [0.1, 5, 500])
def test_single_exposures_share_none(counts):
    values = np.random.default_rng(1).poisson(rate(counts=counts))
    assert "share noise" not in residual_words(values)


def test_a_copy_is_no_shared_noise():
    truth = np.repeat(rate(5), 2, 0)
    counts = np.repeat(np.random.default_rng(2).poisson(truth[::2]), 2, 0)
    values, clean = torch.from_numpy(counts).float(), torch.from_numpy(truth).float()
    assert shared_noise(values, clean, torch.ones_like(values, dtype=torch.bool)) == 0
