"""Values with few levels: error bars of the dark contain that they were rounded."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.ndimage import gaussian_filter

from arpes_ml_plugins.denoising.noise_kind import step_of
from arpes_ml_plugins.denoising.rounding import rounding_error

pytestmark = pytest.mark.filterwarnings("ignore::arpes_ml_plugins.errors.CountsWarning")


@pytest.fixture(scope="module")
def rounded():
    """A band beside darkness in 16 levels, its truth, and which places are dark."""
    k, energy = np.linspace(-1, 1, 96)[:, None], np.linspace(-0.5, 0.08, 112)
    rate = 1 / (1 + ((energy + 0.38 - 0.7 * k**2) / 0.04) ** 2) / (1 + np.exp(energy / 0.01))
    truth = gaussian_filter(rate + 0.02, 0.8) * 100
    counts = np.random.default_rng(3).poisson(truth)
    step = counts.max() / 15
    values = xr.DataArray(np.round(counts / step), dims=("phi", "eV"))
    return values, truth / step, truth < np.quantile(truth, 0.2)


def test_error_bars_of_the_dark_contain_it(rounded):
    values, truth, dark = rounded
    bars = values.S.decompose_pretrained(adapt=False, rng=0)
    inside = (bars["lower"].values <= truth) & (truth <= bars["upper"].values)
    assert inside[dark].mean() > 0.5
    assert 0.5 < inside[~dark].mean() < 0.9
    assert "multiples of 1, which is coarse" in str(values.S.estimate_noise().verdict.values)


def test_samples_vary_as_much(rounded):
    values, _, dark = rounded
    samples = values.S.sample_posterior(draws=8, adapt=False, rng=0)
    bars = values.S.decompose_pretrained(adapt=False, rng=0)
    half = (bars["upper"] - bars["clean"]).values[dark]
    assert 0.5 < np.median(samples.std("draw").values[dark] / half) < 1.5


def test_noise_of_half_a_step_undoes_rounding():
    """Against the mean of rounded normal numbers, over all places between two steps."""
    rng = np.random.default_rng(0)
    places = np.linspace(-0.5, 0.5, 101)[:, None]
    for spread in (0.1, 0.3, 0.5):
        noise = spread * rng.standard_normal((101, 20_000))
        left = np.sqrt(np.square((np.round(places + noise)).mean(1) - places[:, 0]).mean())
        stated = float(rounding_error(torch.tensor(spread**2 + 1 / 12), 1.0))
        assert left < 1.1 * stated + 0.005
        assert stated < 1.5 * left + 0.005


def test_counts_are_not_rounded(rounded):
    values, truth, _ = rounded
    counts = values.copy(data=np.random.default_rng(0).poisson(truth).astype(float))
    assert "coarse" not in str(counts.S.estimate_noise().verdict.values)


def test_exact_multiples_have_an_exact_step():
    counts = torch.poisson(
        torch.full((40_000,), 300.0), generator=torch.Generator().manual_seed(0)
    ).double()
    assert float(step_of(10 * counts)) == 10
