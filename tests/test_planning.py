"""How much longer to measure, and how certain that is."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import arpes_ml_plugins
from arpes_ml_plugins import counts_needed, planning
from arpes_ml_plugins.denoising.noise_model import NoiseModel
from arpes_ml_plugins.errors import DataError, ParameterError
from arpes_ml_plugins.planning import _answer, _simulated, _variance_of_scenes

SHAPE = (48, 48)


def cut(counts, rng=0):
    """A band that is broad enough to be seen at few counts."""
    energy, momentum = np.linspace(-0.5, 0, SHAPE[0])[:, None], np.linspace(-0.3, 0.3, SHAPE[1])
    rate = 0.1 + np.exp(-(((energy + 0.4 - 3 * momentum**2) / 0.06) ** 2))
    values = np.random.default_rng(rng).poisson(counts * rate / rate.mean())
    return xr.DataArray(values, {"eV": energy[:, 0], "kp": momentum}, dims=("eV", "kp"))


def total(image):
    return float(image.isel(eV=slice(20, 40)).sum())


def test_an_intensity_needs_as_many_counts_as_poisson_says():
    data = cut(4.0)
    now = np.sqrt(total(data))
    needed = counts_needed(data, total, error=now / 2, draws=6, rng=0)
    assert float(needed.value) == pytest.approx(total(data), rel=0.05)
    assert 1.5 < float(needed.factor) < 10
    assert 0 < float(needed.factor_error) < 4
    assert list(needed.exposure.values) == [0.5, 1, 2, 4, 8]


@pytest.mark.parametrize(("spread", "draws"), [(0.0, 400), (0.5, 400)])
def test_the_error_contains_how_much_scenes_differ(spread, draws):
    rng = np.random.default_rng(0)
    exposures = np.array([0.5, 1, 2, 4, 8])[:, None]
    off = rng.normal(size=(5, draws)) * exposures**-0.5 * np.exp(spread * rng.normal(size=draws))
    found = _variance_of_scenes(off, np.sqrt(np.square(off).mean(1)))
    assert found == pytest.approx(spread**2, abs=0.06)
    answer = _answer(0.0, off, wanted=0.25)
    assert float(answer.factor) == pytest.approx(16 * np.exp(2 * spread**2), rel=0.3)
    relative = float(answer.factor_error / answer.factor)
    assert relative == pytest.approx(2 * spread, abs=0.2)
    assert ("repeat this" in str(answer.status.values)) == (relative > 1)


def test_deviations_of_zero_are_no_certainty():
    """A quantity that takes few values, such as the place of a maximum."""
    falling = 2 * np.array([0.5, 1, 2, 4, 8])[:, None] ** -0.5
    off = (falling * np.random.default_rng(0).normal(size=(5, 12))).round()
    assert (off == 0).any()
    answer = _answer(0.0, off, wanted=0.5)
    assert 0.1 < float(answer.factor_error / answer.factor) < 5


def test_failed_fits_are_left_out_and_told():
    falling = 2 * np.array([0.5, 1, 2, 4, 8])[:, None] ** -0.5
    off = falling * np.random.default_rng(0).normal(size=(5, 12))
    usual = _answer(0.0, off, wanted=0.5)
    off[:, 3] = 300  # in all simulated measurements of one scene
    off[4, 5] = -80
    answer = _answer(0.0, off, wanted=0.5)
    assert float(answer.factor) == pytest.approx(float(usual.factor), rel=0.5)
    assert "far off for 6 of 60" in str(answer.status.values)
    assert "far off" not in str(usual.status.values)


@pytest.mark.parametrize("wrong", [300.0, np.nan])
def test_a_quantity_that_fails_often_is_told(wrong):
    off = np.random.default_rng(0).normal(size=(5, 12))
    off[:, :6] = wrong
    answer = _answer(0.0, off, wanted=0.5)
    assert np.isnan(float(answer.factor))
    assert "far off for 30 of 60" in str(answer.status.values)


def test_noise_of_the_read_out_adds_up():
    """That of twice the exposure has half the variance in the mean of both."""
    noise = NoiseModel(2.0, 8.0, 0.6, 0.6)
    dark = xr.DataArray(np.zeros((96, 96)), dims=("eV", "phi"))
    variances = [
        float(_simulated(dark, ("eV", "phi"), noise, exposure, 0).var())
        for exposure in (0.5, 1, 2, 8)
    ]
    np.testing.assert_allclose(variances, 2 * 8 / np.array([0.5, 1, 2, 8]), rtol=0.1)


def test_differences_cannot_be_simulated():
    difference = cut(5.0) - 3.0
    with pytest.raises(DataError, match="before anything is subtracted"):
        counts_needed(difference.rolling(kp=3, center=True, min_periods=1).mean(), total, 1.0)


def test_impossible_requests():
    with pytest.raises(ParameterError, match="error"):
        counts_needed(cut(1.0), total, error=0.0)
    with pytest.raises(ParameterError, match="draws"):
        counts_needed(cut(1.0), total, error=1.0, draws=1)
    with pytest.raises(DataError, match="expected a finite number"):
        arpes_ml_plugins.counts_needed(cut(1.0), lambda image: float("nan"), error=1.0, draws=2)


def test_simulated_repeats_are_cut_off_as_the_data_are(monkeypatch):
    """Otherwise the dark would be known better than it is."""
    rng = np.random.default_rng(0)
    values = 10 * cut(1.0) + rng.normal(0, 8, SHAPE)
    seen = []
    simulated = planning._cut_off

    def spied(image, level, read_out, seed):
        seen.append(simulated(image, level, read_out, seed))
        return seen[-1]

    monkeypatch.setattr(planning, "_cut_off", spied)
    monkeypatch.setattr(planning, "FACTORS", (1.0,))
    counts_needed(values.clip(0), total, error=1.0, draws=2, rng=0)
    shares = [float((image == 0).mean()) for image in (values.clip(0), *seen)]
    assert len(shares) == 3
    assert shares[1:] == pytest.approx(2 * [shares[0]], abs=0.06)
