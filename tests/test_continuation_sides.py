"""Self-energies of the wrong sign, axis or grid, and data that do not show the sign of omega."""

import numpy as np
import pytest
import xarray as xr
from numpy.polynomial import legendre

from arpes_ml_plugins.errors import AxisError, DistributionWarning

BETA = 20.0
OMEGA = np.linspace(-4, 4, 161)
SPECTRUM = np.exp(-((OMEGA + 1.5) ** 2) / 0.32)
WEIGHTS = SPECTRUM / SPECTRUM.sum()
OPTIONS = {"beta": BETA, "stderr": 1e-3, "omega": OMEGA}


def self_energy(noise: float = 1e-3) -> xr.DataArray:
    w_n = (2 * np.arange(60) + 1) * np.pi / BETA
    rng = np.random.default_rng(0)
    values = 1.7 + (WEIGHTS / (1j * w_n[:, None] - OMEGA)).sum(1)
    values += noise * (rng.standard_normal(60) + 1j * rng.standard_normal(60))
    return xr.DataArray(values, coords={"iwn": w_n}, dims="iwn")


def test_status_reports_a_conjugate_self_energy():
    assert self_energy().S.continue_self_energy(**OPTIONS).status == "ok"
    for wrong in (self_energy().conj(), -self_energy()):
        with pytest.warns(DistributionWarning, match="positive for w_n > 0"):
            result = wrong.S.continue_self_energy(**OPTIONS)
        assert "Im Sigma" in result.status.item()
        assert result.out_of_distribution


def test_frequencies_along_the_imaginary_axis_are_refused_by_name():
    sigma = self_energy()
    along = sigma.assign_coords(iwn=1j * sigma.iwn)
    for options in ({"stderr": 1e-3}, OPTIONS):
        with pytest.raises(AxisError, match="take the frequencies"):
            along.S.continue_self_energy(**options)


def legendre_coefficients(orders: np.ndarray) -> xr.DataArray:
    tau = np.linspace(0, BETA, 40001)
    values = np.exp(-tau[:, None] * OMEGA) / (1 + np.exp(-BETA * OMEGA)) @ WEIGHTS
    polynomials = np.array(
        [legendre.Legendre.basis(int(order))(2 * tau / BETA - 1) for order in orders]
    )
    found = np.sqrt(2 * orders + 1) * np.trapezoid(polynomials * values, tau, axis=1)
    return xr.DataArray(found, coords={"l": orders}, dims="l")


def test_even_coefficients_do_not_show_the_sign_of_omega():
    orders = np.arange(30)
    noise = 1e-4 * np.random.default_rng(1).standard_normal(30)
    data = legendre_coefficients(orders) + noise
    options = {**OPTIONS, "stderr": 1e-4}
    assert data.S.continue_maxent(**options).status == "ok"
    with pytest.warns(DistributionWarning, match="even part"):
        result = data[::2].S.continue_maxent(**options)
    assert "add odd coefficients" in result.status.item()


def test_one_error_for_each_slice():
    sigma = self_energy()
    batch = xr.concat([sigma, sigma, sigma], "k")
    errors = [1e-3, 2e-3, 3e-3]
    plain = batch.S.continue_self_energy(beta=BETA, stderr=errors, omega=OMEGA)
    named = batch.S.continue_self_energy(
        beta=BETA, stderr=xr.DataArray(errors, dims="k"), omega=OMEGA
    )
    xr.testing.assert_allclose(plain.spectral_function, named.spectral_function)
    np.testing.assert_allclose(plain.stderr.imag[:, 0], errors)


@pytest.mark.filterwarnings("ignore::arpes_ml_plugins.errors.DistributionWarning")
def test_a_pole_between_two_frequencies_needs_finer_ones():
    """As a Mott insulator has it; other data that no spectrum explains do not."""
    sigma = self_energy(0) + 2 / (1j * self_energy(0).iwn - 0.11)
    rng = np.random.default_rng(3)
    sigma = sigma + 1e-3 * (rng.standard_normal(60) + 1j * rng.standard_normal(60))
    with pytest.warns(DistributionWarning, match="check omega"):
        result = sigma.S.continue_self_energy(**OPTIONS)
    assert "too coarse" in result.status.item()
    assert "does not explain" in result.status.item()
    around = 0.11 + np.linspace(-0.05, 0.05, 101)
    finer = np.union1d(OMEGA[abs(OMEGA - 0.11) > 0.05], around)
    result = sigma.S.continue_self_energy(**{**OPTIONS, "omega": finer})
    assert "explain" not in result.status.item()
    wrong = self_energy()
    wrong = wrong + 0.02j * np.sin(np.arange(60) / 5)
    result = wrong.S.continue_self_energy(**OPTIONS)
    assert "does not explain" in result.status.item()
    assert "too coarse" not in result.status.item()
