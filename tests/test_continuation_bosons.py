"""Bosons: own windows, even spectra and others, real data at Matsubara frequencies, statuses."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import xarray as xr
from greens import METHODS, gauss

import arpes_ml_plugins
from arpes_ml_plugins.errors import DataTypeError

BETA = 20.0
FINE = np.linspace(-8, 8, 4000)  # without zero
STEP = FINE[1] - FINE[0]
TAU = np.linspace(0, BETA, 61)
NU = 2 * np.pi / BETA * np.arange(40)
SIGMA = 1e-4  # of the largest value
KINDS = {
    "phonon": lambda w: 0.5 * gauss(w, -1.0, 0.15) + 0.5 * gauss(w, 1.0, 0.15),
    "three": lambda w: (
        0.5 * gauss(w, 0, 0.2) + 0.25 * gauss(w, -2.0, 0.4) + 0.25 * gauss(w, 2.0, 0.4)
    ),
    "one side": lambda w: 0.3 * gauss(w, -1.0, 0.3) + 0.7 * gauss(w, 1.5, 0.4),
}
"""``A(w) / w``, of integral 1."""


def chi(kind, axis="tau", at=TAU, beta=BETA):
    """Noisy data, and their error."""
    if axis == "tau":
        size = np.abs(FINE)
        times = np.where(FINE < 0, beta - at[:, None], at[:, None])
        kernel = size / -np.expm1(-beta * size) * np.exp(-times * size)
    else:
        kernel = FINE / (FINE - 1j * at[:, None])
    clean = kernel @ KINDS[kind](FINE) * STEP
    error = SIGMA * np.abs(clean).max()
    rng = np.random.default_rng(0)
    noise = rng.normal(size=len(at)) + (1j * rng.normal(size=len(at)) if axis == "iwn" else 0)
    return xr.DataArray(clean + error * noise, coords={axis: at}, dims=axis), error


def missed(result, kind):
    """Integral of the error over that of the part of the spectrum on these frequencies."""
    found = result.spectral_function
    truth = KINDS[kind](found.omega)
    return float(abs(found - truth).integrate("omega") / truth.integrate("omega"))


@pytest.mark.parametrize("kind", ["phonon", "three"])
@pytest.mark.parametrize("method", METHODS)
def test_own_window_from_zero(kind, method):
    g, error = chi(kind)
    run = getattr(arpes_ml_plugins, method)
    result = run(g, beta=BETA, stderr=error, statistics="boson")
    assert float(result.omega[0]) == 0
    assert 1.4 < float(result.omega[-1]) < 6
    assert result.status.item() == "ok"
    assert missed(result, kind) < 0.15


@pytest.mark.parametrize("beta", [BETA, 100.0])
def test_own_window_of_a_spectrum_that_is_not_even(beta):
    at = np.linspace(0, beta, 61 if beta == BETA else 201)
    g, error = chi("one side", at=at, beta=beta)
    result = g.S.continue_maxent(beta=beta, stderr=error, statistics="boson")
    assert float(result.omega[0]) == -float(result.omega[-1]) < -2
    assert missed(result, "one side") < 0.3
    assert result.status.item() == "ok"


def test_half_of_the_times_is_enough_for_the_window():
    g, error = chi("three", at=TAU[:31])
    result = g.S.continue_maxent(beta=BETA, stderr=error, statistics="boson")
    assert float(result.omega[0]) == 0
    assert missed(result, "three") < 0.15


def test_real_data_at_matsubara_frequencies():
    """As good as complex ones; both signs are folded; those of fermions are complex."""
    g, error = chi("three", "iwn", NU)
    real = g.real
    options = {"beta": BETA, "stderr": error, "statistics": "boson"}
    result = real.S.continue_maxent(**options)
    assert float(result.omega[0]) == 0
    assert result.back_transform.dtype.kind == "f"
    assert missed(result, "three") < 0.15
    assert result.status.item() == "ok"
    assert float(abs(result.back_transform - real).max()) < 5 * error
    mirror = real.isel(iwn=slice(None, 0, -1)).assign_coords(iwn=-NU[:0:-1])
    both = xr.concat([mirror, real], "iwn").S.continue_maxent(omega=result.omega, **options)
    np.testing.assert_allclose(both.spectral_function, result.spectral_function, atol=1e-6)
    with pytest.raises(DataTypeError, match="expected complex"):
        real.isel(iwn=slice(1, None)).S.continue_maxent(beta=BETA, stderr=error)


@pytest.mark.parametrize("norm", [None, 0.5])
def test_from_zero_the_status_is_that_of_both_signs(norm):
    """The network sees frequencies of both signs, on which the norm is twice as large."""
    g, error = chi("phonon")
    options = {"beta": BETA, "stderr": error, "statistics": "boson"}
    half = g.S.continue_rlista(omega=np.linspace(0, 5, 101), norm=norm, **options)
    assert half.status.item() == "ok"
    assert missed(half, "phonon") < 0.1
    whole = g.S.continue_rlista(omega=np.linspace(-5, 5, 201), **options)
    assert whole.status.item() == "ok"
    apart = half.spectral_function - whole.spectral_function.sel(omega=slice(-1e-9, None)).values
    assert float(abs(apart).integrate("omega")) < 0.05


def test_weight_that_only_the_value_at_zero_shows():
    g, error = chi("three", "iwn", NU)
    options = {"beta": BETA, "stderr": error, "statistics": "boson", "omega": np.linspace(0, 5, 81)}

    def missing(data, **more):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = arpes_ml_plugins.continue_maxent(data.real, **options, **more)
        return "value at zero frequency is missing" in found.status.item()

    assert not missing(g)
    assert not missing(g.assign_coords(iwn=[1e-12, *NU[1:]]))  # rounded
    assert missing(g[1:])
    assert not missing(g[1:], norm=0.5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.filterwarnings("ignore::arpes_ml_plugins.errors.DistributionWarning")
@pytest.mark.parametrize("constant", [0.0, 0.2])
def test_a_constant_part_is_told_from_no_narrow_peak(method, constant):
    for kind in ("phonon", "three"):
        g, error = chi(kind)
        run = getattr(arpes_ml_plugins, method)
        given = {
            "beta": BETA,
            "stderr": error,
            "statistics": "boson",
            "omega": np.linspace(0, 5, 151),
        }
        status = run(g + constant * float(g[0]), **given).status.item()
        assert ("constant part of the response" in status) == (constant > 0)
