"""Noise that does not follow the intensity: differences, dichroism, asymmetries."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import gaussian_filter

from arpes_ml_plugins import simulate_scene
from arpes_ml_plugins.errors import CountsWarning

# Beside bright bands it is dark: the noise changes faster than its surroundings show.
pytestmark = pytest.mark.filterwarnings(
    "ignore:the difference between data and clean image:arpes_ml_plugins.errors.CountsWarning"
)


@pytest.fixture(scope="module")
def rate() -> np.ndarray:
    """Expected counts, ``(energy, momentum)``."""
    return simulate_scene((96, 96), counts=20, rng=4).truth.values


@pytest.fixture(scope="module")
def dichroism(rate) -> tuple[np.ndarray, np.ndarray]:
    """A difference of two measurements as measured, and its truth."""
    rng = np.random.default_rng(1)
    weight = 1 + 0.4 * np.linspace(-1, 1, rate.shape[1])
    difference = rng.poisson(rate * weight) - rng.poisson(rate * (2 - weight))
    return difference.astype(float), rate * (2 * weight - 2)


def labelled(values: np.ndarray) -> xr.DataArray:
    return xr.DataArray(values, dims=("delay", "eV", "phi")[-values.ndim :])


def squared(image, truth: np.ndarray | float) -> float:
    return float(((np.asarray(image) - truth) ** 2).mean())


def test_a_difference_is_denoised_and_its_error_bars_hold(dichroism):
    measured, truth = dichroism
    result = labelled(measured).S.decompose_pretrained(adapt=False, rng=0)
    filtered = min(squared(gaussian_filter(measured, s), truth) for s in np.arange(0.5, 5, 0.25))
    assert squared(result.clean, truth) < 0.6 * filtered
    inside = (result.lower.values <= truth) & (truth <= result.upper.values)
    assert 0.55 < inside.mean() < 0.8
    assert result.attrs["provenance"]["record"]["found"]["deviation"] > 1


def test_units_do_not_matter(dichroism):
    measured, _ = dichroism
    one, other = (labelled(measured * u).S.denoise(rng=0) for u in (1.0, 3e-4))
    scale = float(np.abs(one).max())
    np.testing.assert_allclose(other / 3e-4, one, rtol=0, atol=1e-3 * scale)


def test_the_deviation_is_that_of_a_typical_pixel(dichroism, rate):
    noise = labelled(dichroism[0]).S.estimate_noise()
    assert str(noise.kind.values) == "local"
    assert float(noise.deviation) == pytest.approx(np.median((2 * rate) ** 0.5), rel=0.15)
    assert np.isnan(noise.gain)


def test_an_asymmetry_has_noise_where_it_is_dark(rate):
    rng = np.random.default_rng(2)
    up, down = rng.poisson(1.3 * rate), rng.poisson(0.7 * rate)
    asymmetry = (up - down) / np.maximum(up + down, 1)
    noise = labelled(asymmetry).S.estimate_noise()
    assert str(noise.kind.values) == "local"
    clean = labelled(asymmetry).S.denoise(adapt=False, rng=0)
    bright = rate > 5
    assert squared(clean.values[bright], 0.3) < 0.05 * squared(asymmetry[bright], 0.3)


def test_the_noise_of_a_smoothed_difference_is_correlated(dichroism):
    smooth, truth = (gaussian_filter(image, 0.8) for image in dichroism)
    noise = labelled(smooth).S.estimate_noise()
    assert str(noise.kind.values) == "local"
    expected = np.exp(-1 / (4 * 0.8**2))
    assert float(noise.energy_correlation) == pytest.approx(expected, abs=0.1)
    assert float(noise.momentum_correlation) == pytest.approx(expected, abs=0.1)
    assert float(noise.deviation) == pytest.approx(np.std(smooth - truth), rel=0.3)


def test_what_lies_below_the_mean_is_no_darkness():
    """A constant of more than the mean was subtracted: dim places lie far below zero, and were once
    cut off there."""
    energy = np.linspace(-0.3, 0.1, 96)[:, None]
    step = 1 / (1 + np.exp(energy / 0.004))
    rate = 200 * step * (1 + np.exp(-((np.arange(96) - 48) ** 2) / 50)) + 4
    counts = np.random.default_rng(3).poisson(rate) - 260.0
    result = labelled(counts).S.denoise(adapt=False, rng=0)
    dark = energy[:, 0] > 0.03
    assert squared(result.values[dark], rate[dark] - 260) < 0.2 * 4  # that of the counts is 4


@pytest.mark.parametrize("seed", [5, 7])
def test_an_image_without_noise_comes_back(seed):
    rate = simulate_scene((96, 96), counts=20, rng=seed).truth.values
    with pytest.warns(CountsWarning, match="the data themselves"):
        clean = labelled(rate).S.denoise(rng=0)
    assert squared(clean, rate) < 1e-5 * rate.var()


@pytest.mark.parametrize("read_out", [3.0, 8.0])
def test_read_out_noise_follows_the_intensity(rate, read_out):
    rng = np.random.default_rng(3)
    values = rng.poisson(rate) + read_out * rng.standard_normal(rate.shape)
    assert str(labelled(values).S.estimate_noise().kind.values) == "offset"


def test_an_empty_image_does_not_hide_the_noise_of_the_others(dichroism):
    scan = labelled(np.stack([dichroism[0], np.full_like(dichroism[0], np.nan)]))
    noise = scan.S.estimate_noise()
    assert str(noise.kind.values) == "local"
    clean = scan.S.denoise(adapt=False, rng=0, mesh=None)
    assert np.isnan(clean[1]).all()
    alone = scan[:1].S.denoise(adapt=False, rng=0, mesh=None)
    assert squared(clean[0], alone[0].values) < 1e-2 * squared(alone[0], 0.0)


@pytest.mark.slow
def test_lazy_differences_are_those_in_memory(dichroism):
    scan = labelled(np.stack([np.roll(dichroism[0], k, 1) for k in range(4)]))
    assert str(scan.S.estimate_noise().kind.values) == "local"
    eager = scan.S.denoise(adapt=False, rng=0)
    lazy = scan.chunk(delay=2).S.denoise(adapt=False, rng=0).compute(scheduler="synchronous")
    np.testing.assert_allclose(lazy, eager, rtol=0, atol=1e-5 * float(np.abs(eager).max()))


def test_an_image_that_was_subtracted_from_itself(rate):
    """The first image of a series was subtracted from all: it is zero, and without noise."""
    series = np.random.default_rng(4).poisson(rate, (5, *rate.shape)).astype(float)
    noise = labelled(series - series[0]).S.estimate_noise()
    assert str(noise.kind.values) == "local"
    assert float(noise.deviation) == pytest.approx(np.median((2 * rate) ** 0.5), rel=0.3)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_background_subtracted_around_a_sharp_edge_leaves_white_noise(seed):
    row, column = np.indices((96, 96)) - 47.5
    band = 0.3 + 1 / (1 + ((row + 10 - 0.012 * column**2) / 3) ** 2)
    rate = 12 * (band * (np.hypot(row, 1.1 * column) < 36) + 1e-4)
    counts = np.random.default_rng(seed).poisson(rate) * 1.0
    measured, truth = (x - 0.7 * gaussian_filter(x, 12) for x in (counts, rate))
    clean = labelled(measured).S.denoise(adapt=False, rng=0)
    filtered = min(squared(gaussian_filter(measured, s), truth) for s in np.arange(0.5, 3, 0.25))
    assert squared(clean, truth) < filtered
