"""Gain and pedestal on dark scenes with sharp structure: right, or called uncertain."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from arpes_ml_plugins import simulate_scene
from arpes_ml_plugins.denoising.noise_levels import noise_levels, residuals

ROWS, COLUMNS = np.indices((144, 144)) - 71.5


def edge() -> np.ndarray:
    """A curved band on a round detector, and nothing around it."""
    band = 0.3 + 1 / (1 + ((ROWS + 12 - 0.006 * COLUMNS**2) / 4) ** 2)
    return band * (np.hypot(ROWS, 1.1 * COLUMNS) < 58) + 1e-4


def line() -> np.ndarray:
    return np.exp(-(((ROWS - 0.45 * COLUMNS) / 1.1) ** 2) / 2) + 0.03


def doublet() -> np.ndarray:
    centre = 15 - 0.005 * COLUMNS**2
    lines = sum(np.exp(-(((ROWS - centre - side) / 0.9) ** 2) / 2) for side in (-1.5, 1.5))
    return lines / (1 + np.exp((COLUMNS - 50) / 2)) + 0.03


def tail() -> np.ndarray:
    """Three decades between a band and the dark."""
    return 1 / (1 + ((ROWS - 30 + 0.002 * COLUMNS**2) / 2) ** 2) ** 1.5 + 5e-4


SCENES = (edge, line, doublet, tail)


def camera(rate: np.ndarray, gain: float, pedestal: float, read: float, seed: int) -> xr.DataArray:
    rng = np.random.default_rng(seed)
    values = gain * rng.poisson(rate) + pedestal + read * rng.standard_normal(rate.shape)
    return xr.DataArray(values, dims=("phi", "eV"))


@pytest.mark.parametrize("make", SCENES)
@pytest.mark.parametrize("counts", [4, 40])
@pytest.mark.parametrize(("pedestal", "read"), [(0, 4.0), (150, 2.5), (800, 2.5)])
def test_no_silently_wrong_gain(make, counts, pedestal, read):
    gain, rate = 6.4, make() * counts / make().mean()
    noise = camera(rate, gain, pedestal, read, seed=counts).S.estimate_noise()
    if noise["kind"] == "unknown":
        return
    found, error = float(noise["gain"]), float(noise["gain_error"])
    assert abs(found - gain) < max(4 * error, 0.1 * gain)
    if noise["status"] == "ok":
        assert found == pytest.approx(gain, rel=0.2)
        shift = read**2 / gain - pedestal
        assert abs(float(noise["shift"]) - shift) < max(0.2 * gain * counts, 3 * read)
    else:
        assert "is uncertain" in str(noise["verdict"].values)


@pytest.mark.parametrize("make", SCENES)
@pytest.mark.parametrize("counts", [4, 40])
def test_counts_are_not_called_uncertain(make, counts):
    noise = camera(make() * counts / make().mean(), 1, 0, 0, seed=1).S.estimate_noise()
    assert noise["kind"] == "counts"
    assert noise["status"] == "ok"
    assert float(noise["shift"]) == 0


@pytest.mark.parametrize("seed", [31, 32])
def test_camera_on_smooth_bands_is_certain(seed):
    rate = simulate_scene((128, 128), counts=10, rng=seed).truth.values
    noise = camera(rate, 6.4, 0, 0, seed).S.estimate_noise()
    assert noise["status"] == "ok"


@pytest.mark.parametrize("make", [edge, line, tail])
def test_levels_follow_the_line(make):
    """Structure is predicted away at moderate counts: a chi^2 of the classes, not of the fit."""
    rate = make() * 5 / make().mean()
    rng = np.random.default_rng(2)
    values = torch.from_numpy(3 * rng.poisson(rate) + 2 * rng.standard_normal(rate.shape))[None]
    found = residuals(values, torch.ones_like(values, dtype=torch.bool))
    levels = noise_levels(found)
    off = (levels.variance - 3 * levels.mean - 4) / levels.variance_error.sqrt()
    assert float(off.abs().median()) < 2
    assert float((off / levels.variance_error.sqrt()).abs().min()) < 1


def test_too_few_pixels_have_no_levels():
    values = torch.rand(1, 6, 40, dtype=torch.float64)
    assert residuals(values, torch.ones_like(values, dtype=torch.bool)) is None
    values = torch.rand(1, 12, 12, dtype=torch.float64)
    assert noise_levels(residuals(values, torch.ones_like(values, dtype=torch.bool))) is None
