"""Constants that differ from line to line: they are told, they stay, and bands are denoised."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

import arpes_ml_plugins  # noqa: F401
from arpes_ml_plugins.denoising.line_offsets import LineOffsets, line_offsets
from arpes_ml_plugins.denoising.noise_model import NoiseModel
from arpes_ml_plugins.methods.counts_like import CountsLike

# Without the step of the counts, which constants hide, a small image hardly excludes a pedestal.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*The gain is uncertain:arpes_ml_plugins.errors.CountsWarning"
)
SHAPE = (96, 112)
NAMES = ("energy", "momentum")


@pytest.fixture(scope="module")
def rate():
    """Two bands below the Fermi level, 20 counts per pixel."""
    energy, angle = np.linspace(-0.5, 0.1, SHAPE[0])[:, None], np.linspace(-0.3, 0.3, SHAPE[1])
    bands = sum(
        weight / (1 + ((energy - centre) / 0.02) ** 2)
        for weight, centre in ((1, -0.35 + 2.6 * abs(angle)), (0.6, -0.05 - 6 * angle**2))
    )
    occupied = 1 / (1 + np.exp(energy / 0.008))
    image = (bands + 0.1) * occupied * (1 + angle) + 0.02
    return 20 * image / image.mean()


def labelled(values):
    return xr.DataArray(values.astype(float), dims=("eV", "phi"))


def squared(values, truth):
    return float(np.square(np.asarray(values) - truth).mean())


@pytest.mark.parametrize("axis", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_constants_are_kept_and_bands_denoised(rate, axis):
    """Denoised as they were, with what was taken for a beam, constants cost the network 8 dB."""
    rng = np.random.default_rng(axis)
    constants = np.expand_dims(8 * rng.normal(size=SHAPE[axis]), 1 - axis)
    measured = rng.poisson(rate)
    result = labelled(measured + constants).S.decompose_pretrained(adapt=False, rng=0)
    known = labelled(measured).S.denoise_pretrained(adapt=False, rng=0)
    truth = rate + constants
    assert squared(result.clean, truth) < 4 * squared(known, rate)
    inside = (result.lower.values <= truth) & (truth <= result.upper.values)
    assert 0.5 < inside.mean() < 0.85


@pytest.mark.parametrize("pedestal", [0.0, 300.0])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_beam_and_a_constant_are_told_apart(rate, axis, pedestal):
    rng = np.random.default_rng(axis)
    drawn = np.expand_dims(rng.normal(size=SHAPE[axis]), 1 - axis)
    added = labelled(rng.poisson(rate) + 4 * drawn + pedestal).S.estimate_noise()
    beam = labelled(rng.poisson(rate * np.exp(0.2 * drawn)) + pedestal).S.estimate_noise()
    along, across = NAMES[axis], NAMES[1 - axis]
    assert float(added[f"{along}_baseline"]) == pytest.approx(4, rel=0.3)
    assert float(added[f"{along}_jitter"]) == float(added[f"{across}_baseline"]) == 0
    assert float(beam[f"{along}_jitter"]) > 0
    assert float(beam[f"{along}_baseline"]) == 0
    assert "Constants were added" in str(added.verdict.values)


def test_samples_vary_as_much_as_the_error_bars(rate):
    rng = np.random.default_rng(3)
    data = labelled(rng.poisson(rate) + 8 * rng.normal(size=(SHAPE[0], 1)))
    samples = data.S.sample_posterior(draws=8, adapt=False, rng=0)
    rows = samples.mean("phi").std("draw").median()
    assert 0.3 < float(rows) < 1.5  # counts: those of the constant, from 112 pixels each


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e6])
def test_constants_do_not_depend_on_the_unit(rate, scale):
    images, valid = torch.tensor(rate)[None], torch.ones(1, *rate.shape, dtype=torch.bool)
    valid[:, 7] = False
    found = line_offsets(images * scale, valid, rows=True, columns=True)
    expected = line_offsets(images, valid, rows=True, columns=True)
    torch.testing.assert_close(found.values / scale, expected.values, rtol=1e-6, atol=1e-9)
    assert line_offsets(images, valid, rows=False, columns=False) is None


def test_no_constants_are_seen_in_counts(rate):
    for seed in range(4):
        counts = np.random.default_rng(seed).poisson(rate)
        noise = labelled(counts).S.estimate_noise()
        assert float(noise.energy_baseline) == float(noise.momentum_baseline) == 0


def test_constants_come_back_beside_scales_and_exposures():
    """They were subtracted before anything else, so they are added last."""
    data = torch.arange(64.0).reshape(1, 8, 8)
    found = LineOffsets(5 * torch.ones(1, 8, 8), (torch.full((1, 8, 1), 3.0),))
    scales = torch.linspace(1, 3, 8)[:, None].expand(1, 8, 8)
    spread = torch.full((1, 8, 8), 4.0)
    scaled = CountsLike((data - 5) / scales, NoiseModel(1.0), 1, None, scales, None, found)
    summed = CountsLike((data - 5) * 2, NoiseModel(1.0), 2, None, None, None, found)
    torch.testing.assert_close(scaled.as_data(scaled.images), data)
    torch.testing.assert_close(summed.as_data(summed.images), data)
    torch.testing.assert_close(
        scaled.spread_of_data(spread / scales, data), torch.full_like(data, 5.0)
    )
    torch.testing.assert_close(summed.spread_of_data(spread * 2, data), torch.full_like(data, 5.0))
