"""Blind separation of maps with about one count per value: right, or reported."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import gaussian_filter

import arpes_ml_plugins  # noqa: F401

ENERGY = np.linspace(-3, 3, 48)
CENTRES = np.array([[-1.6], [0.0], [1.5]])
SPECTRA = np.exp(-(((ENERGY - CENTRES) / 0.45) ** 2)) + 0.1
SIZE = 40


def maps(kind, seed):
    rng = np.random.default_rng(seed)
    if kind == "grains":
        sites, owner = rng.uniform(0, SIZE, (9, 2)), np.arange(9) % 3
        row, column = np.indices((SIZE, SIZE))
        near = np.hypot(row[..., None] - sites[:, 0], column[..., None] - sites[:, 1]).argmin(-1)
        return (owner[near] == np.arange(3)[:, None, None]) * rng.uniform(0.6, 1, (3, 1, 1))
    if kind == "stripes":
        row = np.indices((SIZE, SIZE))[0]
        return np.stack([(row // 6 % 3 == k) * 1.0 for k in range(3)])
    smooth = gaussian_filter(rng.standard_normal((3, SIZE, SIZE)), (0, 5, 5))
    return (smooth / smooth.std()).clip(0.2) - 0.2


@pytest.mark.parametrize("method", ["separate_gmca", "separate_palm"])
@pytest.mark.parametrize("kind", ["grains", "stripes", "clouds"])
@pytest.mark.parametrize("counts", [0.3, 2])
@pytest.mark.filterwarnings("ignore::arpes_ml_plugins.errors.DistributionWarning")
def test_right_or_reported(method, kind, counts):
    for seed in range(2):
        rate = np.einsum("kyx,ke->yxe", maps(kind, seed), SPECTRA)
        data = np.random.default_rng(seed).poisson(counts * rate / rate.max()).astype(float)
        image = xr.DataArray(data, {"eV": ENERGY}, ("y", "x", "eV"))
        result = getattr(image.S, method)(n_components=3, rng=0)
        found = result.spectra.values / np.linalg.norm(result.spectra, axis=1, keepdims=True)
        truth = SPECTRA / np.linalg.norm(SPECTRA, axis=1, keepdims=True)
        angle = np.degrees(np.arccos((found @ truth.T).max(0).clip(-1, 1))).max()
        assert angle < 20 or result.status.item() != "ok"
