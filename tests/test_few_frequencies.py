"""Data at few Matsubara frequencies: each holds two numbers, if it is complex."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from greens import gauss

from arpes_ml_plugins.errors import DistributionWarning

BETA, SIGMA = 20.0, 1e-6
FINE = np.linspace(-6, 6, 6001)
OMEGA = np.linspace(-6, 6, 241)
OUTSIDE = "outside the training range of the network"


def at_frequencies(spectrum, count, *, statistics="fermion", even=False):
    """``G(i w_n)``, or the susceptibility of ``A(w) / w``, with noise."""
    boson = statistics == "boson"
    points = (2 * np.arange(count) + (not boson)) * np.pi / BETA
    below = 1j * points[:, None] - FINE
    if boson:
        kernel = np.where(below == 0, 1.0, -FINE / np.where(below == 0, 1.0, below))
    else:
        kernel = 1 / below
    clean = kernel @ spectrum(FINE) * (FINE[1] - FINE[0])
    real, imaginary = SIGMA * np.random.default_rng(4).normal(size=(2, count))
    values = clean.real + real if even else clean + real + 1j * imaginary
    return xr.DataArray(values, dims="iwn", coords={"iwn": points})


def off(result, spectrum):
    found = result["spectral_function"]
    return float(np.abs(found - spectrum(OMEGA)).integrate("omega"))


def quasiparticle(w):
    return 0.2 * gauss(w, 0, 0.1) + 0.4 * gauss(w, -1, 1) + 0.4 * gauss(w, 1, 1)


def two_bands(w):
    return 0.7 * gauss(w, -2.5, 0.4) + 0.3 * gauss(w, 2, 0.4)


@pytest.mark.parametrize(("spectrum", "most"), [(quasiparticle, 0.6), (two_bands, 1.01)])
def test_ten_complex_frequencies_are_enough_for_the_network(spectrum, most):
    """It gains much where a sharp peak sits on a broad one, and loses nothing elsewhere."""
    g = at_frequencies(spectrum, 10)
    options = {"beta": BETA, "stderr": SIGMA, "omega": OMEGA}
    network, flat = g.S.continue_rlista(**options), g.S.continue_maxent(**options)
    assert network.status.item() == "ok"
    assert off(network, spectrum) < most * off(flat, spectrum)
    truth = spectrum(OMEGA)
    inside = (network.lower <= truth) & (truth <= network.upper)
    assert float(inside.values[truth > 0.01 * truth.max()].mean()) > 0.7


@pytest.mark.parametrize(("count", "statistics", "even"), [(9, "fermion", 0), (19, "boson", 1)])
def test_fewer_are_not(count, statistics, even):
    """Data of an even spectrum of bosons are real: one number at each frequency."""
    wide = lambda w: gauss(w, 0, 1.0)  # noqa: E731
    g = at_frequencies(wide, count, statistics=statistics, even=bool(even))
    options = {"beta": BETA, "stderr": SIGMA, "omega": OMEGA, "statistics": statistics}
    with pytest.warns(DistributionWarning, match=OUTSIDE):
        result = g.S.continue_rlista(**options)
    assert OUTSIDE in result.status.item()
    more = at_frequencies(wide, count + 1, statistics=statistics, even=bool(even))
    assert OUTSIDE not in more.S.continue_rlista(**options).status.item()


def test_the_sign_of_bosonic_data_that_may_have_either():
    """Positive data are the susceptibility, ``-G(i v_n)``; the opposite needs ``sign=-1``."""
    element = lambda w: 0.5 * gauss(w, 1, 0.5) - 0.3 * gauss(w, -1.5, 0.6)  # noqa: E731
    chi = at_frequencies(element, 10, statistics="boson")
    options = {"beta": BETA, "stderr": SIGMA, "omega": OMEGA, "statistics": "boson"}
    plain = chi.S.continue_maxent(signed=True, **options)
    assert off(plain, element) < 0.3 * 0.8  # of the integral of its size
    negative = (-chi).S.continue_maxent(signed=True, sign=-1, **options)
    np.testing.assert_allclose(negative.spectral_function, plain.spectral_function, atol=1e-6)
