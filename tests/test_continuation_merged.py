"""Two sharp peaks that come out as one: the interval holds them."""

from __future__ import annotations

import math
import warnings

import numpy as np
import torch
import xarray as xr
from greens import fermi, gauss
from hypothesis import given, settings
from hypothesis import strategies as st

import arpes_ml_plugins
from arpes_ml_plugins.continuation.peaks import halves, peaks_of
from arpes_ml_plugins.continuation.problem import cell_widths

BETA, SIGMA = 30.0, 3e-3
FINE = np.linspace(-4, 4, 8001)
OMEGA = FINE[::40]
TAU = np.linspace(0, BETA, 121)


def pairs(count=6):
    """Two peaks of 0.5 to 1 % of the window, as far apart as the data do not resolve."""
    rng = np.random.default_rng(23)
    made = []
    for _ in range(count):
        middle, apart = rng.choice([-1, 1]) * rng.uniform(1.5, 2.2), rng.uniform(0.5, 1.0)
        weight, width = rng.uniform(0.3, 0.7), rng.uniform(0.04, 0.08)
        both = weight * gauss(FINE, middle - apart / 2, width)
        made.append(both + (1 - weight) * gauss(FINE, middle + apart / 2, width))
    return np.array(made)


def test_the_interval_holds_two_sharp_peaks_that_come_out_as_one():
    truth = np.tile(pairs(), (2, 1))
    g = truth @ fermi(TAU, FINE, BETA).T * (FINE[1] - FINE[0])
    g = g + SIGMA * np.random.default_rng(0).normal(size=g.shape)
    data = xr.DataArray(g, coords={"tau": TAU}, dims=("n", "tau"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = arpes_ml_plugins.continue_rlista(data, beta=BETA, omega=OMEGA, stderr=SIGMA)
    seen = truth[:, ::40]
    found = result.spectral_function.values
    assert np.median(found.max(1) / seen.max(1)) < 0.6  # they are not resolved
    held = (result.lower.values <= seen + 1e-9) & (seen <= result.upper.values + 1e-9)
    matters = seen > 0.01 * seen.max(1, keepdims=True)
    assert (held & matters).sum() / matters.sum() > 0.8


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    centre=st.floats(-1.5, 1.5),
    width=st.floats(0.1, 0.4),
    heavier=st.floats(0, 1),
    unit=st.sampled_from([1e-3, 1.0, 1e3]),
)
def test_two_sharp_peaks_have_the_first_moments_of_the_one(centre, width, heavier, unit):
    omega = torch.linspace(-4, 4, 401, dtype=torch.float64) * unit
    x = omega / unit - centre
    density = (-((x / width) ** 2)).exp() + heavier * (-(((x - width) / (2 * width)) ** 2)).exp()
    weights = density * cell_widths(omega)
    (peak,) = peaks_of(weights, cell_widths(omega), omega, even=False)
    both = halves(peak, omega)
    assert both is not None
    sharp = both[0].weights + both[1].weights
    for order, allowed in ((0, 1e-9), (1, 1e-9), (2, 0.05), (3, 0.1)):
        powers = ((omega - peak.place) / peak.deviation) ** order
        one, two = (float((part * powers).sum()) / peak.weight for part in (peak.weights, sharp))
        assert math.isclose(one, two, abs_tol=allowed)
    assert int((sharp > 0).sum()) <= 4


def test_no_half_of_a_peak_lies_beyond_the_frequencies():
    omega = torch.linspace(0, 4, 101, dtype=torch.float64)
    density = (-((omega / 0.3) ** 2)).exp()
    (peak,) = peaks_of(density * cell_widths(omega), cell_widths(omega), omega, even=True)
    assert halves(peak, omega) is None
