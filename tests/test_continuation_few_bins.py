"""Covariances of few independent bins."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import xarray as xr

from arpes_ml_plugins.continuation.monte_carlo import mean_and_covariance

BETA, SIZE = 20.0, 2e-2
TAU, OMEGA = np.linspace(0, BETA, 101), np.linspace(-5, 5, 201)


def bins(seed, memory, count=400):
    """Bins of two peaks, each of which remembers the one before; and the error of their mean."""
    truth = np.exp(-(((OMEGA + 1) / 0.4) ** 2) / 2) + np.exp(-(((OMEGA - 1.2) / 0.5) ** 2) / 2)
    exponent = np.where(OMEGA < 0, BETA - TAU[:, None], -TAU[:, None]) * OMEGA
    kernel = np.exp(exponent - np.log1p(np.exp(-BETA * np.abs(OMEGA))))
    noise = np.random.default_rng(seed).standard_normal((count, len(TAU)))
    for now in range(1, count):
        noise[now] = memory * noise[now - 1] + (1 - memory**2) ** 0.5 * noise[now]
    error = SIZE * ((1 + memory) / (1 - memory) / count) ** 0.5
    return kernel @ (truth / truth.sum()) + SIZE * noise, error


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_few_independent_bins_explain_their_mean(seed):
    data = xr.DataArray(bins(seed, 0.9)[0], dims=("bin", "tau"), coords={"tau": TAU})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = data.S.continue_rlista(beta=BETA, omega=OMEGA)
    assert not result.out_of_distribution
    assert float(result.chi2) < 1.5


@pytest.mark.parametrize(("memory", "close"), [(0.0, 0.05), (0.5, 0.1), (0.9, 0.2)])
def test_errors_are_those_of_the_mean(memory, close):
    values, error = bins(7, memory)
    _, covariance, _ = mean_and_covariance(values)
    assert np.sqrt(np.diag(covariance)).mean() == pytest.approx(error, rel=close)
