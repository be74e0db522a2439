"""Units of imaginary times are read, converted where a temperature needs it, or refused."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from greens import SPECTRA, green

import arpes_ml_plugins
from arpes_ml_plugins.constants import BOLTZMANN, HBAR
from arpes_ml_plugins.errors import AxisError, ParameterError
from arpes_ml_plugins.labelled.energy_units import energy_unit, time_unit
from arpes_ml_plugins.methods.continuation_input import read_imaginary

G = green(SPECTRA["metal"], beta=40.0)
KELVIN = 1 / (BOLTZMANN * 40.0)


def with_unit(unit, size, **more):
    """The data on times in another unit, of which 1/eV is ``size``."""
    return G.assign_coords(tau=("tau", G.tau.values * size, {"units": unit}), **more)


def read(data, omega=(-1.0, 0.0, 1.0), **options):
    settled = {"beta": None, "stderr": 1e-4, "covariance": None, "statistics": "fermion"}
    settled |= {"omega": omega, "bins": None, "norm": None}
    return read_imaginary(data, ("tau",), **{**settled, **options})


@pytest.mark.parametrize(
    ("unit", "size", "name"),
    [
        ("1/eV", 1, "eV"),
        ("eV⁻¹", 1, "eV"),
        ("1/meV", 1e-3, "meV"),
        ("1 / millielectron_volt", 1e-3, "meV"),
        ("Ha^-1", 27.211386, "Ha"),
        ("1/K", BOLTZMANN, "K"),
        ("fs", HBAR, "hbar/fs"),
        ("femtosecond", HBAR, "hbar/fs"),
        ("hbar/eV", 1, "eV"),
    ],
)
def test_a_temperature_is_converted(unit, size, name):
    source = read(with_unit(unit, size).assign_attrs(temperature=KELVIN))
    assert source.problem.beta == pytest.approx(40 * size, rel=1e-5)
    assert source.omega.attrs["units"] == name
    assert source.omega.dims == ("eV" if name == "eV" else "omega",)


def test_units_of_models_stay():
    source = read(with_unit("1/t", 1), beta=40.0)
    assert source.omega.attrs["units"] == "t"
    assert "units" not in read(with_unit("dimensionless", 1), beta=40.0).omega.attrs
    with pytest.raises(ParameterError, match="is needed"):
        read(with_unit("1/t", 1).assign_attrs(temperature=KELVIN))


def test_the_result_has_the_unit():
    g = with_unit("1/meV", 1e-3).assign_attrs(temperature=KELVIN)
    result = g.S.continue_maxent(stderr=1e-4, omega=np.linspace(-3000, 3000, 121))
    assert result.status.item() == "ok"
    assert result.spectral_function.attrs["units"] == "1/meV"
    measured = arpes_ml_plugins.as_measured(result.spectral_function, temperature=KELVIN)
    same = arpes_ml_plugins.as_measured(result.spectral_function, beta=0.04)
    xr.testing.assert_allclose(measured, same)


def test_beta_has_a_unit_too():
    g = with_unit("1/meV", 1e-3)
    inverse = xr.Variable((), 40.0, {"units": "1/eV"})
    assert read(g.assign_coords(beta=inverse)).problem.beta == pytest.approx(0.04)
    for wrong in ({"beta": 40.0}, {}):
        data = g if wrong else g.assign_coords(beta=40.0)
        with pytest.raises(AxisError, match=r"in the unit of 'tau', 1/meV"):
            read(data, **wrong)


@pytest.mark.parametrize("unit", ["eV", "meV", "kelvin"])
def test_times_are_no_energies(unit):
    with pytest.raises(AxisError, match="an energy"):
        read(with_unit(unit, 1), beta=40.0)


def test_frequencies_in_another_unit():
    omega = xr.DataArray([-1.0, 0.0, 1.0], dims="eV", attrs={"units": "eV"})
    assert read(with_unit("1/eV", 1), omega, beta=40.0).omega.attrs["units"] == "eV"
    with pytest.raises(ParameterError, match="in eV, but"):
        read(with_unit("1/meV", 1e-3), omega, beta=0.04)
    w_n = (2 * np.arange(20) + 1) * np.pi / 40
    at = xr.DataArray(1 / (1j * w_n - 0.5), {"iwn": ("iwn", w_n, {"units": "1/eV"})}, "iwn")
    with pytest.raises(AxisError, match="are energies"):
        at.S.continue_maxent(stderr=1e-4, omega=np.linspace(-2, 2, 41))


@pytest.mark.parametrize("text", ["", "s^2", "MeV", "1", "m", "arb. units"])
def test_what_is_no_unit_of_energy_or_time(text):
    assert energy_unit(text) is None
    found = time_unit(text)
    assert found is None or found.electron_volts is None
