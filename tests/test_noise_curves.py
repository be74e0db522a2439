"""White noise that does not follow the intensity by a line: sources that fluctuate, saturation."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.ndimage import gaussian_filter

from arpes_ml_plugins.denoising.noise_model import NoiseModel
from arpes_ml_plugins.denoising.response import as_counts, from_counts
from arpes_ml_plugins.errors import CountsWarning

SIZE = 128


def band(mean):
    """Two bands, one of them curved, a background and an edge; ``mean`` counts per pixel."""
    energy, momentum = np.meshgrid(
        np.linspace(-0.5, 0.1, SIZE), np.linspace(-0.4, 0.4, SIZE), indexing="ij"
    )
    curved = 1 / (1 + ((energy + 0.35 - 4 * momentum**2) / 0.025) ** 2)
    straight = 1 / (1 + ((energy + 0.1 - 1.2 * momentum) / 0.02) ** 2)
    edge = 1 / (1 + np.exp(energy / 0.01))
    rate = gaussian_filter((curved + 0.4 * straight + 0.1) * edge + 0.01, 0.9)
    return mean * rate / rate.mean()


def measured(kind, rng, rate):
    """Values and their expectation."""
    if kind == "fluctuating":  # a negative binomial distribution of five modes
        return rng.poisson(rng.gamma(5, rate / 5)), rate
    if kind == "sensitivity":
        return rate * (1 + 0.15 * rng.normal(size=rate.shape)), rate
    if kind == "logarithm":
        counts = rng.poisson(rate) + 0.1 * rng.random(rate.shape)  # whole ones would be recognised
        return np.log1p(counts), np.log1p(rate)
    counts = rng.poisson(3 * rate)
    return counts / (1 + counts / 150), 3 * rate / (1 + 3 * rate / 150)


def cut(values):
    return xr.DataArray(np.asarray(values, dtype=float), dims=("eV", "phi"))


KINDS = {"fluctuating": 0.2, "sensitivity": 0.15**2, "logarithm": -1, "saturating": -0.02}


@pytest.mark.parametrize("kind", KINDS)
def test_the_curvature_is_found_and_denoised(kind):
    """Where the noise was taken for that of counts, or of a line, nothing better came back than
    from a Gaussian filter.
    """
    values, truth = measured(kind, np.random.default_rng(2), band(10))
    noise = cut(values).S.estimate_noise()
    assert str(noise["kind"].values) == "scaled counts"
    assert float(noise["curvature"]) * KINDS[kind] > 0
    if KINDS[kind] > 0:
        assert float(noise["curvature"]) == pytest.approx(KINDS[kind], rel=0.25)

    def error(image):
        return float(np.square(image - truth).mean())

    told = nullcontext() if KINDS[kind] > 0 else pytest.warns(CountsWarning, match="too flat")
    with told:
        clean = cut(values).S.denoise(adapt=False, rng=0).values
    filtered = min(
        error(gaussian_filter(np.asarray(values, float), s)) for s in (0.5, 1, 1.5, 2, 3)
    )
    assert error(clean) < 0.6 * filtered
    assert clean.mean() == pytest.approx(np.mean(values), rel=0.02)


def test_errors_of_a_fluctuating_source_hold():
    values, truth = measured("fluctuating", np.random.default_rng(3), band(10))
    found = cut(values).S.decompose_pretrained(adapt=False, rng=0)
    inside = (found["lower"] <= truth) & (truth <= found["upper"])
    assert 0.55 < float(inside.mean()) < 0.85


@pytest.mark.parametrize("mean", [0.2, 2, 20, 60])
def test_counts_of_a_curve_have_their_mean_as_variance(mean):
    rng, curvature = np.random.default_rng(0), 0.2
    counts = as_counts(torch.tensor(rng.poisson(rng.gamma(5, mean / 5, 100_000)) * 1.0), curvature)
    assert float(counts.var()) == pytest.approx(float(counts.mean()), rel=0.08)
    assert float(from_counts(counts.mean(), curvature)) == pytest.approx(mean, rel=0.02)


@pytest.mark.parametrize("curvature", [-0.05, 0.0, 1e-4, 0.3])
@pytest.mark.parametrize("mean", [True, False])
def test_values_come_back(curvature, mean):
    noise = NoiseModel(2.5, shift=3.0, curvature=curvature)
    values = torch.linspace(0, 90, 50, dtype=torch.float64)
    again = noise.values(noise.electrons(values, mean=mean), mean=mean)
    torch.testing.assert_close(again, values, rtol=1e-4, atol=1e-4)
