"""Maximum entropy of a hidden spectrum whose blur is the result."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from greens import BETA, OMEGA, SPECTRA, gauss, green, missed

import arpes_ml_plugins
from arpes_ml_plugins.continuation.preblur import mixing
from arpes_ml_plugins.continuation.problem import Problem, cell_widths
from arpes_ml_plugins.errors import ParameterError

OPTIONS = {"beta": BETA, "stderr": 1e-3, "omega": OMEGA}
SMOOTH = lambda w: gauss(w, 0.2, 0.7)  # noqa: E731


def test_a_blur_of_a_gaussian_is_a_wider_one_and_keeps_the_weight():
    omega = torch.linspace(-3, 3, 241, dtype=torch.float64)
    matrix = mixing(Problem(omega, omega, 1.0), 0.3)
    np.testing.assert_allclose(matrix.sum(0), 1)
    found = matrix @ torch.from_numpy(gauss(omega.numpy(), 0.0, 0.4))
    np.testing.assert_allclose(found, gauss(omega.numpy(), 0.0, 0.5), atol=1e-3)
    # From zero up an even spectrum: weight that goes below zero comes back.
    above = torch.linspace(0, 3, 121, dtype=torch.float64)
    half = Problem(above, above, 1.0, statistics="boson")
    widths = cell_widths(half.omega)  # the first cell is half of one
    even = mixing(half, 0.3) @ (torch.from_numpy(gauss(half.omega.numpy(), 0.0, 0.4)) * widths)
    np.testing.assert_allclose(even / widths, gauss(half.omega.numpy(), 0.0, 0.5), atol=2e-3)


@pytest.mark.parametrize("rule", ["chi2kink", "classic", "bryan"])
@pytest.mark.parametrize("preblur", [0.2, "auto"])
def test_smooth_spectra_lose_the_structure_that_is_made_up(rule, preblur):
    g = xr.concat([green(SMOOTH, seed=seed) for seed in range(2)], "k")
    options = {**OPTIONS, "stderr": 1e-4}
    plain = g.S.continue_maxent(rule=rule, **options)
    blurred = g.S.continue_maxent(rule=rule, preblur=preblur, **options)
    assert (blurred.status == "ok").all()
    assert missed(blurred, SMOOTH) < 0.8 * missed(plain, SMOOTH)
    assert float(blurred.chi2.mean()) < 1.6
    assert float(blurred.spectral_function.integrate("omega")[0]) == pytest.approx(1, abs=5e-3)


def test_nothing_is_narrower_than_the_blur():
    peak = lambda w: gauss(w, 0.3, 0.05)  # noqa: E731
    options = {**OPTIONS, "stderr": 1e-4}
    g = green(peak, sigma=1e-4)
    with pytest.warns(arpes_ml_plugins.errors.DistributionWarning):  # the data say otherwise
        result = g.S.continue_maxent(preblur=0.4, **options)
    a = result.spectral_function
    mean = float((a * a.omega).sum() / a.sum())
    assert float(((a * (a.omega - mean) ** 2).sum() / a.sum()) ** 0.5) > 0.38
    assert (result.resolution.sel(omega=slice(-2, 2)) > 0.4 * np.sqrt(2 * np.pi) * 0.99).all()
    # The most probable blur of such data is a small one.
    auto = g.S.continue_maxent(preblur="auto", **options)
    assert missed(auto, peak) < 0.5 * missed(result, peak)


@pytest.mark.filterwarnings("ignore:continue_maxent.*beyond omega")
def test_either_sign():
    element = lambda w: 0.5 * (gauss(w, 1.0, 0.4) - gauss(w, -1.0, 0.4))  # noqa: E731
    g = green(element, sigma=1e-3)
    blurred, plain = (
        g.S.continue_maxent(signed=True, preblur=width, **OPTIONS) for width in (0.2, None)
    )
    off = [float(abs(r.spectral_function - element(OMEGA)).sum()) for r in (blurred, plain)]
    assert off[0] < off[1]
    assert (blurred.lower <= blurred.spectral_function).all()


@pytest.mark.parametrize("preblur", [0.0, -1.0, "wide", np.nan])
def test_what_is_no_width(preblur):
    with pytest.raises(ParameterError, match="preblur"):
        green(SPECTRA["gap"]).S.continue_maxent(preblur=preblur, **OPTIONS)


def test_not_with_the_network():
    with pytest.raises(ParameterError, match="network"):
        green(SMOOTH).S.continue_maxent(preblur=0.1, default_model="rlista", **OPTIONS)
