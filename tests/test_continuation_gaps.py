"""Credible intervals where the truth is zero: in hard gaps, beyond edges, in tails."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from greens import METHODS, fermi, gauss
from hypothesis import given, settings
from hypothesis import strategies as st

import arpes_ml_plugins
from arpes_ml_plugins.continuation.intervals import SMALL, grounded

WINDOW, BETA = 4.0, 50.0
FINE = np.linspace(-WINDOW, WINDOW, 4001)
EVERY = 40
OMEGA = FINE[::EVERY]


def bcs(rng):
    gap, edge = rng.uniform(0.15, 0.6), rng.uniform(2, 3.5)
    energy = FINE + 0.01j * gap
    return np.abs((energy / np.sqrt(energy**2 - gap**2 + 0j)).real) * (np.abs(FINE) < edge)


def arc(centre, radius):
    return np.sqrt(np.clip(1 - ((FINE - centre) / radius) ** 2, 0, None)) / radius


KINDS = {
    "BCS": bcs,
    "semicircle": lambda rng: arc(rng.uniform(-1, 1), rng.uniform(0.6, 2.5)),
    "Mott": lambda rng: arc(-rng.uniform(1.2, 2), 0.9) + arc(rng.uniform(1.2, 2), 0.9),
    "box": lambda rng: 1.0 * (np.abs(FINE - rng.uniform(-1, 1)) < rng.uniform(0.3, 2)),
}


def coverage(kind, method):
    """How often the interval holds the truth, where this is below and above 1 % of its maximum."""
    rng = np.random.default_rng(5)
    truth = np.array([KINDS[kind](rng) for _ in range(5)])
    truth /= truth.sum(1, keepdims=True) * (FINE[1] - FINE[0])
    tau = np.linspace(0, BETA, 101)
    exact = truth @ fermi(tau, FINE, BETA).T * (FINE[1] - FINE[0])
    seen = truth[:, ::EVERY]
    small = seen < 0.01 * seen.max(1, keepdims=True)
    shares = []
    for sigma in (1e-3, 1e-5):
        g = exact + sigma * rng.normal(size=exact.shape)
        data = xr.DataArray(g, coords={"tau": tau}, dims=("n", "tau"))
        run = getattr(arpes_ml_plugins, method)
        result = run(data, beta=BETA, stderr=sigma, omega=OMEGA)
        inside = ((result.lower <= seen + 1e-9) & (seen <= result.upper + 1e-9)).values
        shares.append((inside[small].mean(), inside[~small].mean()))
    return np.mean(shares, axis=0)


@pytest.mark.filterwarnings("ignore:continue_")
@pytest.mark.parametrize("method", METHODS)
def test_the_interval_holds_the_truth_where_it_is_zero(method):
    """90 % are stated."""
    zero, other = np.array([coverage(kind, method) for kind in KINDS]).T
    assert zero.min() > 0.9
    assert other.mean() > 0.85


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([1e-6, 1.0, 1e6]))
def test_only_small_densities_and_dips_are_grounded(seed, scale):
    """Whatever the grid and the units: a lower end is kept or zero, and kept on peaks."""
    rng = np.random.default_rng(seed)
    omega = torch.from_numpy(np.sort(rng.uniform(-1, 1, 60)) * scale)
    density = torch.from_numpy(rng.gamma(0.5, size=(3, 60)) / scale)
    lower = density * torch.from_numpy(rng.uniform(size=(3, 60)))
    resolution = torch.from_numpy(rng.uniform(0.01, 0.5, size=(3, 60)) * scale)
    found = grounded(lower, density, resolution, omega)
    assert bool(((found == lower) | (found == 0)).all())
    small = density < SMALL * density.amax(-1, keepdim=True)
    assert bool((found[small] == 0).all())
    tops = density == density.amax(-1, keepdim=True)
    inside = (density.cumsum(-1) > 0.2 * density.sum(-1, keepdim=True)) & tops
    inside &= density.cumsum(-1) < 0.8 * density.sum(-1, keepdim=True)
    assert bool((found == lower)[inside].all())
    flat = torch.full_like(density, 1 / scale)
    kept = grounded(lower, flat, resolution, omega) == lower
    share = (omega - omega[0]) / (omega[-1] - omega[0])
    assert bool(kept[:, (share > 0.1) & (share < 0.9)].all())


def test_the_middle_of_an_even_spectrum_is_no_tail():
    omega = torch.linspace(0, 4, 101, dtype=torch.float64)
    density = torch.exp(-(omega**2))[None]
    lower, resolution = 0.9 * density, torch.full_like(density, 0.5)
    assert float(grounded(lower, density, resolution, omega, even=True)[0, 0]) == 0.9
    found = grounded(lower, density, resolution, omega, even=True)
    assert bool((found[0, :20] > 0).all())
    assert float(found[0, -1]) == 0


def test_the_interval_of_accurate_data_holds_smooth_spectra():
    """Their errors are a thousandth of the spectrum, but not smaller than the interval."""
    beta, sigma = 100.0, 1e-8
    fine, tau = np.linspace(-4, 4, 4001), np.linspace(0, beta, 121)
    shapes = [(0.0, 1.2, 0.0), (0.3, 0.8, 0.9), (-0.4, 1.0, 0.5)]
    truth = np.array(
        [gauss(fine, c, s) * (1 - d * np.exp(-((fine / 0.4) ** 2))) for c, s, d in shapes]
    )
    truth /= truth.sum(1, keepdims=True) * 0.002
    g = truth @ fermi(tau, fine, beta).T * 0.002
    g = g + sigma * np.random.default_rng(1).normal(size=g.shape)
    data = xr.DataArray(g, coords={"tau": tau}, dims=("n", "tau"))
    result = arpes_ml_plugins.continue_rlista(data, beta=beta, omega=fine[::40], stderr=sigma)
    seen = truth[:, ::40]
    held = (result.lower.values <= seen) & (seen <= result.upper.values)
    assert held[seen > 0.01 * seen.max(1, keepdims=True)].mean() > 0.82
