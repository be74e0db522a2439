"""The default window holds the spectrum, and not many times as much, whatever the errors."""

import numpy as np
import pytest
import torch
import xarray as xr

from arpes_ml_plugins.continuation.outliers import correlated_excess
from arpes_ml_plugins.continuation.problem import Problem

BETA = 40.0
FINE = np.linspace(-12, 12, 6001)
STEP = FINE[1] - FINE[0]
FERMI_LIQUID = 0.6 * (FINE**2 + (np.pi / BETA) ** 2) / (1 + (FINE / 1.2) ** 4) ** 1.5
MOMENT = FERMI_LIQUID.sum() * STEP


def matsubara(count: int, beta: float = BETA) -> np.ndarray:
    return (2 * np.arange(count) + 1) * np.pi / beta


def at_frequencies(spectrum: np.ndarray, w_n: np.ndarray) -> np.ndarray:
    return (spectrum / (1j * w_n[:, None] - FINE)).sum(1) * STEP


def complex_noise(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal(count) + 1j * rng.standard_normal(count)


def self_energy(seed: int, count: int = 100, size: float = 1e-4) -> tuple[xr.DataArray, np.ndarray]:
    """With the errors that Dyson's equation makes of equal ones of G."""
    w_n = matsubara(count)
    error = size * (w_n**2 + 1)
    values = at_frequencies(FERMI_LIQUID, w_n) + 1.7 + error * complex_noise(count, seed)
    return xr.DataArray(values, coords={"iwn": w_n}, dims="iwn"), error


@pytest.mark.parametrize("size", [1e-5, 1e-4, 3e-4])
def test_errors_that_grow_with_the_frequency_do_not_widen_it(size):
    for seed in range(3):
        sigma, error = self_energy(seed, size=size)
        result = sigma.S.continue_self_energy(beta=BETA, stderr=error)
        assert 2 < result.omega[-1] < 15  # 99.5 % of the weight are within 5
        off = abs(result.moment - MOMENT)
        assert off < 4 * result.moment_stderr + 0.02 * MOMENT
        assert result.moment_stderr < 0.1 * MOMENT
        assert result.status == "ok"
        assert abs(result.constant - 1.7) < 4 * result.constant_stderr + 0.01


def test_further_frequencies_do_not_widen_it():
    few, many = (self_energy(2, count) for count in (60, 200))
    windows = [
        float(sigma.S.continue_self_energy(beta=BETA, stderr=error).omega[-1])
        for sigma, error in (few, many)
    ]
    assert windows[1] < 1.5 * windows[0]


def test_a_given_moment_has_no_error():
    sigma, error = self_energy(0)
    result = sigma.S.continue_self_energy(beta=BETA, stderr=error, moment=MOMENT)
    assert result.moment_stderr == 0
    assert float(result.moment) == pytest.approx(MOMENT, rel=0.01)
    assert result.status == "ok"


def test_errors_of_each_slice_are_those_of_each_slice():
    """Whether slices are solved together or alone."""
    (one, first), (other, second) = self_energy(0, 40), self_energy(1, 40, 1e-3)
    both = xr.concat([one, other], "k")
    errors = xr.DataArray([first, second], dims=("k", "iwn"))
    options = {"beta": BETA, "omega": np.linspace(-4, 4, 81)}
    together = both.S.continue_self_energy(stderr=errors, **options)
    for number, (sigma, error) in enumerate(((one, first), (other, second))):
        alone = sigma.S.continue_self_energy(stderr=error, **options)
        difference = abs(together.spectral_function[number] - alone.spectral_function)
        assert difference.integrate("omega") < 0.02 * MOMENT
        assert float(together.constant[number]) == pytest.approx(float(alone.constant), abs=2e-3)
        np.testing.assert_allclose(together.stderr[number], error * (1 + 1j))


def narrow(centre: float) -> np.ndarray:
    return np.exp(-(((FINE - centre) / 0.4) ** 2) / 2) / 0.4 / np.sqrt(2 * np.pi)


@pytest.mark.parametrize("method", ["continue_rlista", "continue_maxent"])
def test_neighbours_do_not_decide_about_the_norm(method):
    """Twenty frequencies that end at twice the place of the peak."""
    rng = np.random.default_rng(7)
    centres = rng.uniform(0.1, 3, 8) * rng.choice([-1, 1], 8)
    w_n = matsubara(20, 20)
    values = np.array([at_frequencies(narrow(centre), w_n) for centre in centres])
    values = values + 1e-3 * np.array([complex_noise(20, 10 + k) for k in range(8)])
    batch = xr.DataArray(values, coords={"iwn": w_n}, dims=("k", "iwn"))
    run = getattr(batch.S, method)
    result = run(beta=20, stderr=1e-3)
    assert result.omega[-1] < 10
    assert (result.status == "ok").sum() >= 7


@pytest.mark.filterwarnings("ignore::arpes_ml_plugins.errors.DistributionWarning")
def test_an_integral_that_is_not_known_is_not_assumed():
    """Of a hybridisation function at times in the middle."""
    tau = np.linspace(3, 9, 40)
    spectrum = 0.3 * narrow(0.5)
    kernel = np.exp(-tau[:, None] * FINE) / (1 + np.exp(-12 * FINE))
    data = xr.DataArray(kernel @ spectrum * STEP, coords={"tau": tau}, dims="tau")
    data += 1e-3 * np.random.default_rng(0).standard_normal(40)
    options = {"beta": 12, "stderr": 1e-3, "omega": np.linspace(-4, 4, 81)}
    result = data.S.continue_rlista(norm="any", **options)
    assert "do not determine the integral" in result.status.item()
    assert "norm 1" not in result.status.item()
    assert float(result.spectral_function.integrate("omega")) < 0.8


def test_errors_of_correlated_data_are_measured_as_they_are():
    """By one covariance, or one for each data set."""
    tau = torch.linspace(0, 10, 60, dtype=torch.float64)
    problem = Problem(tau, torch.linspace(-4, 4, 99, dtype=torch.float64), 10.0)
    covariance = 1e-6 * torch.exp(-(tau[:, None] - tau).abs() / 2) + 1e-8 * torch.eye(60)
    factor = torch.linalg.cholesky(covariance)
    noise = torch.randn(3, 60, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = problem.kernel.mean(1) + noise @ factor.mT
    each = covariance * torch.tensor([1.0, 1.0, 1 / 16])[:, None, None]
    torch.testing.assert_close(correlated_excess(problem, rows, covariance), torch.ones(3).double())
    found = correlated_excess(problem, rows, each)
    assert found[:2].tolist() == [1, 1]
    assert 3 < found[2] < 5
