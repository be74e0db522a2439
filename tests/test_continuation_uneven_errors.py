"""Errors that are very different from one datum to the next: relative ones, or those of tails."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import xarray as xr

import arpes_ml_plugins

FINE = np.linspace(-6, 6, 6001)
WEIGHTS = np.exp(-((np.abs(FINE) - 2) ** 2) / 0.32)  # two Hubbard bands
WEIGHTS /= WEIGHTS.sum()
OMEGA = np.linspace(-5, 5, 101)


def run(g, method="continue_maxent", **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(arpes_ml_plugins, method)(g, omega=OMEGA, **options)


@pytest.mark.parametrize("method", ["continue_rlista", "continue_maxent"])
def test_small_data_with_small_errors_are_believed(method):
    """In a gap data and errors are a millionth of those at the ends; no scatter is too large."""
    beta, relative = 60.0, 1e-2
    tau = np.linspace(0, beta, 121)
    decay = np.where(FINE < 0, beta - tau[:, None], -tau[:, None]) * FINE
    exact = np.exp(decay - np.log1p(np.exp(-beta * np.abs(FINE)))) @ WEIGHTS
    noise = relative * exact * np.random.default_rng(3).standard_normal(len(tau))
    g = xr.DataArray(exact + noise, {"tau": tau}, "tau")
    result = run(g, method, beta=beta, stderr=relative * exact)
    said = result.status.item()
    assert "errors raised" not in said
    assert "outliers" not in said
    assert "explain" not in said
    assert 0.5 < float(result.chi2) < 1.3


def tail(scale, seed, sign=1.0):
    """At Matsubara frequencies, with errors that grow like their square; ``beta`` is 20."""
    w = (2 * np.arange(200) + 1) * np.pi / 20
    error = scale * (w / w[0]) ** 2
    noise = np.random.default_rng(seed).standard_normal((2, len(w)))
    values = sign * (WEIGHTS / (1j * w[:, None] - FINE)).sum(1) + error * (noise[0] + 1j * noise[1])
    return xr.DataArray(values, {"iwn": w}, "iwn"), xr.DataArray(error, {"iwn": w}, "iwn")


@pytest.mark.parametrize("seed", [10, 13])
def test_accurate_data_decide_the_sign(seed):
    g, error = tail(1e-3, seed, sign=-1.0)
    result = run(g, beta=20, stderr=error)
    assert int(result.sign) == -1
    assert "sign" not in result.status.item()
    assert "explain" not in result.status.item()


@pytest.mark.parametrize("seed", [1, 4])
def test_a_norm_that_is_known_roughly_is_taken_as_one(seed):
    g, error = tail(1e-5, seed)
    result = run(g, beta=20, stderr=error)
    assert float(result.spectral_function.integrate("omega")) == pytest.approx(1, abs=1e-3)
    assert "norm 1 assumed" in result.status.item()
    other = run(2 * g, beta=20, stderr=2 * error)  # which 1 does not explain
    assert float(other.spectral_function.integrate("omega")) > 1.5
    assert "the norm is not 1" in other.status.item()
    free = run(g, beta=20, stderr=error, norm="any")
    assert "norm" not in free.status.item()
