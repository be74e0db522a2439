"""Simulated Green's functions have the values that closed forms give."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from arpes_ml_plugins import simulate_greens_function
from arpes_ml_plugins.errors import DataError, ParameterError

BETA = 12.0
ENERGY = np.linspace(-1, 1, 4001)


@pytest.fixture
def box():
    """Constant between -1 and 1, which has a closed form at tau = 0, beta / 2 and beta."""
    return xr.DataArray(np.full(ENERGY.size, 0.5), {"eV": ENERGY}, "eV")


def test_closed_forms(box):
    g = simulate_greens_function(box, beta=BETA, times=3)
    half = np.arctan(np.sinh(BETA / 2)) / BETA  # int_-1^1 dw / (4 cosh(beta w / 2))
    np.testing.assert_allclose(g, [0.5, half, 0.5], rtol=1e-6)
    assert g.tau.attrs["units"] == "1/eV"
    assert float(g.beta) == BETA


def test_the_order_of_energies_does_not_matter(box):
    spectrum = box * (1 + box.eV)
    forwards = simulate_greens_function(spectrum, beta=BETA)
    backwards = simulate_greens_function(spectrum.isel(eV=slice(None, None, -1)), beta=BETA)
    xr.testing.assert_allclose(forwards, backwards)


def test_other_dimensions_and_errors_of_the_stated_size(box):
    spectra = box.expand_dims(k=np.arange(50.0)).transpose("eV", "k")
    clean = simulate_greens_function(spectra, beta=BETA)
    noisy = simulate_greens_function(spectra, beta=BETA, stderr=1e-3, rng=1)
    assert clean.dims == ("k", "tau")
    assert float((noisy - clean).std()) == pytest.approx(1e-3, rel=0.05)
    assert noisy.identical(simulate_greens_function(spectra, beta=BETA, stderr=1e-3, rng=1))


@pytest.mark.parametrize(
    "wrong", [{"beta": 0}, {"beta": np.inf}, {"times": 1}, {"times": 2.5}, {"stderr": -1}]
)
def test_bad_parameters_are_refused(box, wrong):
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        simulate_greens_function(box, **{"beta": BETA, **wrong})


def test_missing_values_are_refused(box):
    with pytest.raises(DataError, match="NaN"):
        simulate_greens_function(box.where(box.eV > 0), beta=BETA)
