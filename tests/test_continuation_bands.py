"""Credible intervals of self-energies, of norms that are estimated, and of even spectra."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import xarray as xr
from greens import fermi, gauss

import arpes_ml_plugins
from arpes_ml_plugins.continuation.intervals import displaced, rescaled

FINE = np.linspace(-4, 4, 8001)
STEP = FINE[1] - FINE[0]
OMEGA = FINE[::40]


def held(result, truths):
    """Part of each truth that its interval holds, where it is above 1 % of its maximum."""
    inside = (result.lower.values <= truths) & (truths <= result.upper.values)
    matters = truths > 0.01 * truths.max(-1, keepdims=True)
    return (inside & matters).sum(-1) / matters.sum(-1)


def quiet(method, *arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(arpes_ml_plugins, method)(*arguments, **options)


@pytest.mark.parametrize("shape", ["pole", "edge"])
def test_intervals_of_self_energies_hold_slopes(shape):
    """Those of poles and thresholds ended a few per cent above the answer, where slopes are."""
    beta, count = 40.0, 8
    rng = np.random.default_rng(3)
    made = []
    for _ in range(count):
        low, wide = rng.uniform(-0.3, 0.3), rng.uniform(0.5, 1.0)
        if shape == "pole":
            made.append(rng.uniform(1, 4) * gauss(FINE, low, 0.2 * wide))
        else:
            edge = 0.1 + 1 / (1 + np.exp(-(FINE - low) / (0.3 * wide)))
            made.append(gauss(FINE, 0.0, wide) * edge)
    truths = np.array(made)
    w_n = (2 * np.arange(200) + 1) * np.pi / beta
    sigma = truths @ (1 / (1j * w_n - FINE[:, None])) * STEP + 1.5
    errors = 1e-3 * truths.sum(1).mean() * STEP * (1 + 1e-3 * (w_n / w_n[0]) ** 2)
    sigma = sigma + errors * (rng.normal(size=sigma.shape) + 1j * rng.normal(size=sigma.shape))
    data = xr.DataArray(sigma, coords={"iwn": w_n}, dims=("n", "iwn"))
    result = quiet("continue_self_energy", data, beta=beta, stderr=errors, omega=OMEGA)
    assert held(result, truths[:, ::40]).min() >= 0.8


@pytest.mark.parametrize("places", [(1.2, 1.5), (1.0, 1.5)])
def test_peaks_of_even_spectra_may_be_two(places):
    """One on each side of zero holds half of the weight, and the two are one for the data."""
    beta = 20.0
    both = sum(gauss(FINE, side * place, 0.03) for side in (-1, 1) for place in places)
    truth = both / both.sum() / STEP
    tau = np.linspace(0, beta / 2, 101)
    g = fermi(tau, FINE, beta) @ truth * STEP
    noise = 1e-3 * np.random.default_rng(0).normal(size=(4, len(tau)))
    data = xr.DataArray(g + noise, coords={"tau": tau}, dims=("n", "tau"))
    result = quiet("continue_rlista", data, beta=beta, stderr=1e-3, omega=OMEGA, even=True)
    assert held(result, np.broadcast_to(truth[::40], (4, len(OMEGA)))).min() >= 0.8


def test_slopes_that_are_out_of_place_lie_within_the_interval():
    omega = torch.linspace(-4, 4, 401, dtype=torch.float64)
    density = (-(omega**2) / 2).exp()[None]
    resolution = torch.full_like(density, 1.0)
    lower, upper = displaced(density, 0.97 * density, 1.03 * density, resolution, omega)
    for by in (-0.14, 0.14):
        moved = (-((omega - by) ** 2) / 2).exp()
        inner = omega.abs() < 3.5
        assert bool(((lower <= moved) & (moved <= upper))[:, inner].float().mean() > 0.95)
    assert torch.equal(displaced(density, density, density, 0 * resolution, omega)[1], density)


def test_intervals_hold_the_error_of_a_norm():
    density = torch.tensor([[1.0, 2.0, 0.0]], dtype=torch.float64)
    lower, upper = rescaled(density, density, density, torch.tensor([0.1], dtype=torch.float64))
    torch.testing.assert_close(upper, 1.1645 * density)
    torch.testing.assert_close(lower, 0.8355 * density)
    same = rescaled(density, 0.5 * density, 2 * density, torch.zeros(1, dtype=torch.float64))
    torch.testing.assert_close(same, (0.5 * density, 2 * density))
