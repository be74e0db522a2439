"""Two or three sharp peaks that come out as one: the interval holds them."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
import xarray as xr
from greens import METHODS, fermi, gauss
from hypothesis import given, settings
from hypothesis import strategies as st

import arpes_ml_plugins
from arpes_ml_plugins.continuation.peaks import divided, peaks_of
from arpes_ml_plugins.continuation.problem import cell_widths

BETA, SIGMA = 30.0, 3e-3
FINE = np.linspace(-4, 4, 8001)
OMEGA = FINE[::40]
TAU = np.linspace(0, BETA, 121)


def sharp_spectra(peaks, count=6):
    """Two or three peaks of 0.5 to 1 % of the window, as far apart as the data do not resolve."""
    rng = np.random.default_rng(23)
    made = []
    for _ in range(count):
        middle, apart = rng.choice([-1, 1]) * rng.uniform(1.5, 2.2), rng.uniform(0.5, 1.0)
        weights, width = rng.uniform(0.3, 0.7, peaks), rng.uniform(0.04, 0.08)
        places = middle + peaks / 2 * apart * np.linspace(-0.5, 0.5, peaks)
        both = zip(weights / weights.sum(), places, strict=True)
        made.append(sum(weight * gauss(FINE, place, width) for weight, place in both))
    return np.array(made)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("peaks", [2, 3])
def test_the_interval_holds_sharp_peaks_that_come_out_as_one(method, peaks):
    truth = sharp_spectra(peaks)
    g = truth @ fermi(TAU, FINE, BETA).T * (FINE[1] - FINE[0])
    g = g + SIGMA * np.random.default_rng(0).normal(size=g.shape)
    data = xr.DataArray(g, coords={"tau": TAU}, dims=("n", "tau"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = getattr(arpes_ml_plugins, method)(data, beta=BETA, omega=OMEGA, stderr=SIGMA)
    seen = truth[:, ::40]
    found = result.spectral_function.values
    assert np.median(found.max(1) / seen.max(1)) < 0.6  # they are not resolved
    held = (result.lower.values <= seen + 1e-9) & (seen <= result.upper.values + 1e-9)
    matters = seen > 0.01 * seen.max(1, keepdims=True)
    # Maximum entropy alone makes such peaks wider, and their interval flatter.
    assert (held & matters).sum() / matters.sum() > (0.8 if method == "continue_rlista" else 0.7)


def test_the_interval_is_one_for_groups_blurred_by_half_the_resolution():
    """Data of groups are those of smooth spectra: "ok", though the interval misses the peaks."""
    rng = np.random.default_rng(7)
    made = []
    for count in (3, 4) * 6:
        middle, apart = rng.choice([-1, 1]) * rng.uniform(1, 2.4), rng.uniform(0.4, 0.8)
        places = middle + apart * (np.arange(count) - (count - 1) / 2)
        peaks = sum(rng.uniform(0.5, 1) * gauss(FINE, at, 0.07) for at in places)
        made.append((peaks / count + 0.3 * gauss(FINE, -middle, 0.6)) / 1.05)
    truth = np.array(made)
    g = truth @ fermi(TAU, FINE, BETA).T * (FINE[1] - FINE[0])
    g = g + 1e-4 * np.random.default_rng(0).normal(size=g.shape)
    data = xr.DataArray(g, coords={"tau": TAU}, dims=("n", "tau"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = data.S.continue_rlista(beta=BETA, omega=OMEGA, stderr=1e-4, norm="any")
    ok = (result.status == "ok").values
    assert ok.mean() > 0.7
    width = np.interp(FINE, OMEGA, result.resolution.values.mean(0))[::10] / 2
    blur = gauss(OMEGA[:, None], FINE[::10], width / math.sqrt(2 * math.pi))
    seen = truth[:, ::10] @ blur.T * (FINE[10] - FINE[0])
    held = (result.lower.values <= seen + 1e-9) & (seen <= result.upper.values + 1e-9)
    matters = seen > 0.01 * seen.max(1, keepdims=True)
    assert (held & matters)[ok].sum() / matters[ok].sum() > 0.82
    assert "blurred by half" in result.resolution.attrs["comment"]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    count=st.sampled_from([2, 3]),
    centre=st.floats(-1.5, 1.5),
    width=st.floats(0.1, 0.4),
    heavier=st.floats(0, 1),
    unit=st.sampled_from([1e-3, 1.0, 1e3]),
)
def test_sharp_peaks_have_the_first_moments_of_the_one(count, centre, width, heavier, unit):
    omega = torch.linspace(-4, 4, 401, dtype=torch.float64) * unit
    x = omega / unit - centre
    density = (-((x / width) ** 2)).exp() + heavier * (-(((x - width) / (2 * width)) ** 2)).exp()
    weights = density * cell_widths(omega)
    peak = peaks_of(weights[None], cell_widths(omega), omega, even=False)
    found, there = divided(peak, omega, count)
    assert there.tolist() == [True]
    sharp = found.weights[0].sum(0)
    for order, allowed in enumerate((1e-9, 1e-9, 0.05, 0.1, 0.3, 0.6)[: 2 * count]):
        powers = ((omega - peak.place) / peak.deviation) ** order
        one, several = (
            float((part * powers).sum() / peak.weight) for part in (peak.weights[0], sharp)
        )
        assert math.isclose(one, several, abs_tol=allowed)
    assert int((sharp > 0).sum()) <= 2 * count


def test_no_part_of_a_peak_lies_beyond_the_frequencies():
    omega = torch.linspace(0, 4, 101, dtype=torch.float64)
    density = (-((omega / 0.3) ** 2)).exp()
    weights = (density * cell_widths(omega))[None]
    peak = peaks_of(weights, cell_widths(omega), omega, even=True)
    assert divided(peak, omega, 2)[1].tolist() == [False]
