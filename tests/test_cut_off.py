"""Values that were cut off from below: they are told, and the means in the dark are right."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.ndimage import gaussian_filter

import arpes_ml_plugins  # noqa: F401
from arpes_ml_plugins.denoising.cut_off import CutOff

SHAPE = (96, 112)
GAIN, READ_OUT = 5.0, 8.0


def rate(mean):
    """Two bands on a weak background."""
    energy, angle = np.linspace(-0.5, 0.1, SHAPE[0])[:, None], np.linspace(-0.3, 0.3, SHAPE[1])
    bands = sum(
        1 / (1 + ((energy - centre) / 0.02) ** 2)
        for centre in (-0.35 + 2.6 * abs(angle), -0.05 - 6 * angle**2)
    )
    image = bands + 0.05
    return mean * image / image.mean()


def camera(mean, seed=0):
    """A camera's values, below zero too."""
    rng = np.random.default_rng(seed)
    return GAIN * rng.poisson(rate(mean)) + READ_OUT * rng.standard_normal(SHAPE)


def labelled(values):
    return xr.DataArray(values, dims=("eV", "phi"))


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("level", [0.0, 40.0])
def test_the_dark_is_not_brightened(whole, level):
    values = camera(1.0)
    values = (values.round() if whole else values).clip(0) + level
    truth = GAIN * rate(1.0) + level
    found = labelled(values).S.decompose_pretrained(adapt=False, rng=0)
    dark = truth < np.median(truth)
    assert (values - truth)[dark].mean() > 2  # what this is about
    assert abs((found.clean.values - truth)[dark].mean()) < 0.7
    inside = (found.lower.values <= truth) & (truth <= found.upper.values)
    assert 0.4 < inside.mean() < 0.85


def test_it_is_told():
    noise = labelled(camera(1.0).clip(0)).S.estimate_noise()
    assert float(noise.cut_off) == 0
    assert float(noise.cut_off_noise) == pytest.approx(READ_OUT, rel=0.1)
    assert "Values below 0 were set to it." in str(noise.verdict.values)


def test_samples_and_chunks_agree_with_the_mean():
    stack = labelled(camera(1.0).clip(0)).expand_dims(time=4).copy()
    whole = stack.S.denoise(adapt=False, rng=0)
    chunked = stack.chunk(time=2).S.denoise(adapt=False, rng=0).compute()
    np.testing.assert_allclose(chunked.values, whole.values, rtol=1e-5, atol=1e-4)
    samples = labelled(camera(1.0).clip(0)).S.sample_posterior(draws=8, adapt=False, rng=0)
    dark = rate(1.0) < np.median(rate(1.0))
    assert float(samples.min()) >= 0
    assert abs((samples.mean("draw").values - GAIN * rate(1.0))[dark].mean()) < 0.7


@pytest.mark.parametrize("mean", [0.1, 1.0, 8.0])
def test_few_counts_are_not_taken_for_it(mean):
    rng = np.random.default_rng(3)
    exposed = rng.poisson(rate(mean)).astype(float)
    bunched = rng.poisson(rng.gamma(1, rate(mean))).astype(float)
    pulses = rng.gamma(np.maximum(4 * exposed, 1), 0.25) * (exposed > 0)
    for values in (exposed, bunched, pulses, gaussian_filter(exposed, 0.7), camera(mean)):
        assert np.isnan(labelled(values).S.estimate_noise().cut_off)


def test_means_are_restored():
    places = torch.linspace(0, 4, 9, dtype=torch.float64)
    density = (-places.square() / 2).exp() / (2 * torch.pi) ** 0.5
    cut = 3 + 2 * (places * torch.special.ndtr(places) + density)
    restored = CutOff(torch.tensor(3.0), torch.tensor(2.0)).restored(cut)
    torch.testing.assert_close(restored, 3 + 2 * places, atol=0.01 * 2, rtol=0)


def test_means_with_few_electrons_are_restored():
    """Of them there are few, so that the noise is not normal, but skew."""
    rng, truth = np.random.default_rng(0), torch.tensor([1.0, 5.0, 12.0, 40.0]).double()
    values = 10 * rng.poisson(truth / 10, (200_000, 4)) + rng.normal(0, 8, (200_000, 4))
    means = torch.from_numpy(values.clip(0).mean(0))
    restored = CutOff(torch.tensor(0.0).double(), torch.tensor(8.0).double(), 10.0).restored(means)
    torch.testing.assert_close(restored, truth, atol=0.15, rtol=0)
