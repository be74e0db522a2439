"""The mixture of two solutions: when the share that a network found counts."""

from __future__ import annotations

import warnings

import numpy as np
import torch
import xarray as xr
from greens import gauss
from hypothesis import given, settings
from hypothesis import strategies as st

import arpes_ml_plugins
from arpes_ml_plugins.continuation.referee import hedged, oscillating, roughness

OMEGA = np.linspace(-8, 8, 401)
ACCURATE, ROUGH = 1e-6, 1e-2

numbers = st.floats(0, 1)


def shares(share, error=ACCURATE, oscillates=0.0):
    values = torch.tensor([[share], [error], [oscillates]], dtype=torch.float64)
    return float(hedged(*values))


def test_small_shares_are_zero_if_data_are_accurate():
    assert shares(0.4) == 0
    assert shares(0.4, ROUGH) == 0.4
    assert shares(0.95) == 0.95


def test_the_clearly_smoother_solution_of_the_network_is_taken():
    assert shares(0.1, oscillates=1.0) == shares(0.1, ROUGH, oscillates=1.0) == 1


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    heights=st.lists(st.floats(0.2, 5), min_size=1, max_size=4),
    unit=st.sampled_from([1e-3, 1.0, 1e3]),
)
def test_waves_oscillate_and_a_higher_peak_does_not(heights, unit):
    x = torch.linspace(-4, 4, 401, dtype=torch.float64)
    places = torch.linspace(-2.5, 2.5, len(heights), dtype=torch.float64)
    peaks = zip(heights, places, strict=True)
    smooth = sum(height * (-(((x - place) / 0.4) ** 2)).exp() for height, place in peaks)[None]
    smooth = unit * smooth
    waves = smooth * (1 + 0.3 * (30 * x).cos())
    assert float(oscillating(smooth, waves)) == 1
    for height in (1.0, 1.2, 3.0):
        assert float(oscillating(smooth, height * smooth)) < 1e-6
    assert float(oscillating(waves, smooth)) == 0


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    pair=st.tuples(numbers, numbers).map(sorted),
    error=st.sampled_from([1e-8, 1e-5, 1e-3, 1e-1]),
    oscillates=numbers,
)
def test_shares_stay_shares_and_keep_their_order(pair, error, oscillates):
    low, high = (shares(share, error, oscillates) for share in pair)
    assert 0 <= low <= high <= 1


@settings(max_examples=10, deadline=None, derandomize=True)
@given(heights=st.lists(st.floats(0, 5), min_size=1, max_size=6))
def test_the_roughness_of_peaks_is_twice_the_sum_of_their_heights(heights):
    padded = [0.0, *(each for height in heights for each in (height, 0.0))]
    density = torch.tensor(padded, dtype=torch.float64)
    torch.testing.assert_close(roughness(density[None]), 2 * density.sum()[None])


def test_few_matsubara_frequencies_do_not_make_the_flat_model_win():
    """Accurate data of ten frequencies leave most of the spectrum open."""
    pairs = [(-1.5, 2.1, 0.45), (-1.9, 1.6, 0.55), (-2.4, 0.2, 0.5), (-1.2, 1.4, 0.4)]
    truth = np.array([(gauss(OMEGA, a, s) + gauss(OMEGA, b, s)) / 2 for a, b, s in pairs])
    w_n = (2 * np.arange(10) + 1) * np.pi / 20
    g = truth @ (0.04 / (1j * w_n[:, None] - OMEGA)).T
    noise = np.random.default_rng(4).normal(size=(2, *g.shape)) * 1e-6
    data = xr.DataArray(g + noise[0] + 1j * noise[1], coords={"iwn": w_n}, dims=("n", "iwn"))
    options = {"beta": 20.0, "omega": OMEGA, "stderr": 1e-6}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        neural = arpes_ml_plugins.continue_rlista(data, **options)
        flat = arpes_ml_plugins.continue_maxent(data, **options)
    error, other = (
        np.abs(result.spectral_function.values - truth).sum(1) * 0.04 for result in (neural, flat)
    )
    assert error.mean() < 0.6 * other.mean()
    assert (error < other + 0.02).all()
