"""Lines that repeat the one before, as after interpolation to the nearest neighbour."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from arpes_ml_plugins import simulate_scene
from arpes_ml_plugins.denoising.repeated_lines import distinct_lines


@pytest.fixture(scope="module")
def counts():
    return simulate_scene((48, 56), counts=10, rng=3).spectrum.astype(float)


def finer(counts):
    """On 1.5 times as many energies and twice as many angles."""
    energies = (np.arange(72) / 1.5).astype(int)
    return counts.isel(eV=energies, phi=np.arange(112) // 2)


def test_they_are_denoised_once(counts):
    data = finer(counts)
    noise = data.S.estimate_noise()
    assert str(noise.kind.values) == "counts"
    assert (float(noise.energy_repeats), float(noise.momentum_repeats)) == (1.5, 2)
    assert "repeated 2 times" in str(noise.verdict.values)
    bars = data.S.decompose_pretrained(adapt=False, rng=0)
    expected = counts.S.decompose_pretrained(adapt=False, rng=0)
    for name in ("clean", "lower", "upper"):
        np.testing.assert_array_equal(bars[name].values, finer(expected[name]).values)


def test_large_images_of_which_windows_are_looked_at():
    """Other lines are repeated in each window."""
    scene = simulate_scene((300, 280), counts=4, rng=3).spectrum.astype(float)
    noise = scene.isel(eV=(np.arange(440) / 1.47).astype(int)).S.estimate_noise()
    assert str(noise.kind.values) == "counts"
    assert float(noise.energy_repeats) == pytest.approx(1.47, rel=0.02)
    assert float(noise.momentum_repeats) == 1


@pytest.mark.slow
def test_lazy_series_and_samples(counts):
    stack = xr.concat([finer(counts), finer(counts) * 1.0], "time")
    eager = stack.S.denoise(adapt=False, rng=0)
    lazy = stack.chunk(time=1).S.denoise(adapt=False, rng=0)
    np.testing.assert_array_equal(eager.values, lazy.values)
    samples = finer(counts).S.sample_posterior(draws=2, adapt=False, rng=0)
    assert samples.sizes["eV"] == 72
    np.testing.assert_array_equal(samples.isel(phi=0).values, samples.isel(phi=1).values)


def test_chance_repeats_nothing():
    """Rows without counts, or with one in the same place, are not one row."""
    generator = torch.Generator().manual_seed(0)
    for rate in (0.003, 0.03, 3.0):
        images = torch.poisson(torch.full((1, 200, 40), rate), generator=generator)
        assert distinct_lines(images, images >= 0) is None
    edc = torch.arange(50.0).expand(1, 40, 50)
    assert distinct_lines(edc, edc >= 0) is None  # one spectrum is no image


def test_dark_rows_are_repeated_no_more_than_others():
    rows = torch.arange(30.0)[:, None] * (1 + torch.arange(20.0))
    rows[5:11] = 0
    twice = rows.repeat_interleave(2, 0)[None]
    found = distinct_lines(twice, torch.ones_like(twice).bool())
    assert found.repeats == (2, 1)
    assert torch.equal(found.chosen(twice)[0], rows)
    assert torch.equal(found.repeated(found.chosen(twice)), twice)
