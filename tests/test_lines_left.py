"""Brightness of lines that drifts by less than single lines can tell: in bars, and in words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

import arpes_ml_plugins
from arpes_ml_plugins import simulate_scene
from arpes_ml_plugins.denoising.lines_left import beyond_noise, variance_left
from arpes_ml_plugins.denoising.noise_model import NoiseModel

SIZE = 128
SCENE = simulate_scene((SIZE, SIZE), counts=10, rng=44).truth.values


def drift(rng, relative=0.06):
    """Factors of lines with the power spectrum 1 / f."""
    frequency = np.fft.rfftfreq(SIZE)
    frequency[0] = 1
    factors = np.fft.irfft(np.fft.rfft(rng.standard_normal(SIZE)) / frequency**0.5, SIZE)
    return 1 + relative * factors / factors.std()


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("seed", range(2))
def test_bars_contain_a_drift_of_lines_and_words_say_so(axis, seed):
    """Bars held the truth in 49 to 53 % of the pixels, and nothing was said."""
    rng = np.random.default_rng(seed)
    truth = SCENE * np.moveaxis(drift(rng)[:, None], 0, axis)
    data = xr.DataArray(rng.poisson(truth), dims=("eV", "phi"))
    result = arpes_ml_plugins.decompose_pretrained(data, adapt=False, rng=0)
    inside = (result.lower.values <= truth) & (truth <= result.upper.values)
    assert 0.6 < inside.mean() < 0.82
    found = result.attrs["provenance"]["record"]["found"]
    assert 0.02 < found["residual_lines"] < 0.06
    assert "Whole lines" in found["residual"]


def test_samples_contain_it_in_the_sums_of_lines():
    rng = np.random.default_rng(2)
    truth = SCENE * drift(rng)[:, None]
    data = xr.DataArray(rng.poisson(truth), dims=("eV", "phi"))
    samples = arpes_ml_plugins.sample_posterior(data, draws=16, adapt=False, rng=0)
    sums = samples.transpose("draw", "eV", "phi").values.sum(-1)
    off = (sums.mean(0) - truth.sum(-1)) / sums.std(0)
    assert 0.5 < (np.abs(off) < 1).mean() < 0.85


def test_counts_leave_nothing():
    generator = torch.Generator().manual_seed(0)
    clean = torch.from_numpy(SCENE)[None].expand(20, -1, -1)
    noise, known = torch.poisson(clean, generator=generator) - clean, clean > 0
    assert not beyond_noise(noise, clean, known, NoiseModel(1.0)).any()
    clouds = NoiseModel(1.0, row_correlation=0.5, column_correlation=0.3)
    correlated = clouds.drawn(clean, generator)
    assert not beyond_noise(correlated, clean, known, clouds).any()
    stripes = 0.1 * clean * torch.randn(1, SIZE, 1, generator=generator)
    found = beyond_noise(noise + stripes, clean, known, NoiseModel(1.0))
    assert found.numpy() == pytest.approx(0.1, rel=0.2)


def test_a_band_along_a_line_is_no_fluctuation():
    clean = torch.full((1, 64, 64), 5.0)
    noise = torch.poisson(clean, generator=torch.Generator().manual_seed(0)) - clean
    usual = variance_left(noise, clean, clean > 0)
    noise[0, 20] += 20
    rows, _ = variance_left(noise, clean, clean > 0)
    assert float(rows) < 2 * float(usual[0])
