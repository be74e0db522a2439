"""Planted mixtures that the tests of the separation share: three peaks, sparse maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from arpes_ml_plugins.separation import match, nmse

ENERGY = np.linspace(-2, 1, 40)
CENTRES = {"a": -1.3, "b": -0.5, "c": 0.2}
odd = pytest.mark.filterwarnings("ignore:separate_:arpes_ml_plugins.errors.DistributionWarning")


def peak(centre, width=0.15):
    return np.exp(-((ENERGY - centre) ** 2) / (2 * width**2)) + 0.1


def family(centre, count=80, reach=0.12):
    """Rows of length 1, as a tensor."""
    rows = torch.tensor(
        np.stack([peak(centre + d) for d in np.linspace(-reach, reach, count)]), dtype=torch.float64
    )
    return rows / rows.norm(dim=1, keepdim=True)


def truth(seed=0, shape=(32, 32), strengths=(1, 1, 1)):
    """Spectra a little off their families' centres, and sparse patchy maps."""
    rng = np.random.default_rng(seed)
    spectra = np.stack([peak(c + rng.uniform(-0.08, 0.08)) for c in CENTRES.values()])
    maps = rng.exponential(size=(*shape, 3)) * (rng.random((*shape, 3)) < 0.4)
    return spectra, 100 * maps * np.array(strengths)


def image(spectra, maps, noise=1.0, seed=1):
    shape = (*maps.shape[:2], spectra.shape[1])
    values = maps @ spectra + noise * np.random.default_rng(seed).normal(size=shape)
    return xr.DataArray(
        values, {"eV": ENERGY, "x": np.arange(shape[1], dtype=float)}, ("y", "x", "eV")
    )


def unit(result):
    found = torch.from_numpy(result.spectra.transpose("eV", "component").values)
    return found / found.norm(dim=0)


def wrong(result, spectra):
    """NMSE of the spectra, best assigned."""
    expected = torch.from_numpy(spectra.T / np.linalg.norm(spectra.T, axis=0))
    found = unit(result)
    order, signs = match(found, expected)
    return float(nmse(found[:, order] * signs, expected))
