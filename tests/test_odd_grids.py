"""Inverse temperatures and frequencies as odd as they may be: an answer, or an error in time."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import arpes_ml_plugins
from arpes_ml_plugins.errors import ArpesMLError, ParameterError

OMEGA = np.linspace(-3, 3, 61)
TAU = np.linspace(0, 1, 30)  # in units of beta


def green(beta: float = 10.0) -> xr.DataArray:
    """Of a hump of integral 1, with frequencies in units of 10 / beta."""
    kernel = np.exp(-10 * TAU[:, None] * OMEGA) / (1 + np.exp(-10 * OMEGA))
    weights = np.exp(-4 * (OMEGA - 0.4) ** 2)
    return xr.DataArray(kernel @ weights / weights.sum(), {"tau": TAU * beta}, "tau")


def run(beta=10.0, omega=OMEGA, **options):
    given = {"stderr": 1e-3, "device": "cpu"} | options
    return arpes_ml_plugins.continue_maxent(green(beta), beta=beta, omega=omega, **given)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"beta": 1e-300}, "beta is 1e-300"),
        ({"beta": 1e300}, r"beta is 1e\+300"),
        ({"beta": 1e12}, r"beta times the largest frequency.*3e\+12"),
        ({"omega": OMEGA * 1e-12}, "beta times the largest frequency"),
        ({"omega": OMEGA * 1e300}, "beta times the largest frequency"),
        ({"omega": OMEGA * 5e307}, "beta times the largest frequency"),
        ({"omega": np.r_[0.0, 1e-200, 1e200]}, r"steps of omega differ by a factor of"),
        ({"omega": np.r_[-3.0, 0.0, 3.0, 3.0 + 1e-14]}, r"steps of omega differ by a factor of"),
        ({"omega": np.linspace(-3, 3, 5001)}, "5001 points, expected at most 5000"),
        ({"stderr": 1e-300}, "stderr holds standard errors from 1e-300"),
        ({"stderr": 1e300}, "stderr holds standard errors"),
        ({"stderr": None, "covariance": np.eye(30) * 1e-300}, "covariance holds standard errors"),
        ({"norm": 1e-300}, "norm is 1e-300"),
    ],
)
@pytest.mark.parametrize("statistics", ["fermion", "boson"])
def test_refused_before_any_work(options, words, statistics):
    with pytest.raises(ParameterError, match=words):
        run(statistics=statistics, **options)


@pytest.mark.filterwarnings("ignore:continue_:UserWarning")
@pytest.mark.parametrize("beta", [1e-50, 1e-3, 1e3, 1e50])
def test_the_unit_of_time_does_not_matter(beta):
    unit = beta / 10
    plain, other = run(), run(beta, OMEGA / unit)
    assert str(other.status.values) == "ok"
    np.testing.assert_allclose(
        other.spectral_function.values / unit, plain.spectral_function.values, atol=1e-5
    )


@pytest.mark.fuzz
@pytest.mark.filterwarnings("ignore:continue_:UserWarning")
@given(
    beta=st.floats(-310, 300).map(lambda exponent: 10.0**exponent),
    steps=st.lists(st.floats(-310, 300).map(lambda exponent: 10.0**exponent), min_size=2),
    start=st.floats(-1e300, 1e300),
    statistics=st.sampled_from(["fermion", "boson"]),
)
def test_any_grid_gives_finite_numbers_or_an_error(beta, steps, start, statistics):
    with np.errstate(over="ignore"):
        omega = start + np.r_[0.0, np.cumsum(steps)]
    check(beta, omega, statistics)


@pytest.mark.fuzz
@pytest.mark.filterwarnings("ignore:continue_:UserWarning")
@pytest.mark.filterwarnings("ignore:the data at 0 and beta")  # of some grids they add up to 1
@given(
    reach=st.floats(-4, 6).map(lambda exponent: 10.0**exponent),
    first=st.integers(-20, 20),
    steps=st.lists(st.integers(1, 10**6), min_size=2, max_size=12),
    statistics=st.sampled_from(["fermion", "boson"]),
)
@pytest.mark.slow
def test_uneven_grids_that_are_taken(reach, first, steps, statistics):
    omega = np.r_[first, first + np.cumsum(steps)].astype(float)
    omega *= reach / (10 * np.abs(omega).max())
    check(10.0, omega, statistics)


def check(beta, omega, statistics):
    try:
        result = run(beta, omega, statistics=statistics)
    except ArpesMLError:
        return
    for name, array in result.data_vars.items():
        if array.dtype.kind in "fc":
            assert np.isfinite(array).all(), name


def test_lazy_matsubara_data_warn_of_nothing():
    frequencies = (2 * np.arange(30) + 1) * np.pi / 10
    weights = np.exp(-4 * OMEGA**2)
    values = (1 / (1j * frequencies[:, None] - OMEGA)) @ weights / weights.sum()
    data = xr.DataArray(values, {"iwn": frequencies}, "iwn").expand_dims(k=3)
    options = {"stderr": 1e-3, "omega": OMEGA, "device": "cpu"}
    eager = data.S.continue_maxent(**options)
    lazy = data.chunk(k=1, iwn=7).S.continue_maxent(**options)
    assert lazy.spectral_function.chunks is not None
    xr.testing.assert_allclose(lazy.compute(scheduler="synchronous"), eager, atol=1e-9)
