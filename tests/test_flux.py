"""Series under a source that fluctuates: images are brought to the counts of the one they help."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import arpes_ml_plugins
from arpes_ml_plugins import simulate_scene
from arpes_ml_plugins.denoising.counts_network import BESIDE
from arpes_ml_plugins.denoising.flux import irregular_flux
from arpes_ml_plugins.denoising.splitting import Counts

BEFORE = BESIDE.index((-1, -1))
FACTORS = np.random.default_rng(1).permutation(np.geomspace(0.3, 3, 20))


OPTIONS = {"adapt": False, "gain": 1, "mesh": None, "series": "scan", "rng": 0}


@pytest.fixture(scope="module")
def exposed():
    """Counts of a scene, each image exposed for another time, the clean and the denoised images."""
    scene = simulate_scene((24, 24), slices=len(FACTORS), counts=2, rng=3)
    clean = scene.truth * FACTORS[:, None, None]
    counts = clean.copy(data=np.random.default_rng(0).poisson(clean).astype(float))
    return counts, clean, arpes_ml_plugins.denoise_pretrained(counts, **OPTIONS)


def neighbours_of(factors):
    """The image before each one, as the network sees it, of a flat scene."""
    images = torch.as_tensor(factors)[:, None, None].expand(-1, 40, 40) * 5
    return Counts(images, images > 0, 8).neighbours(torch.arange(len(images)))[:, BEFORE, 0, 0]


def test_neighbours_have_the_counts_of_the_image():
    near = neighbours_of(FACTORS)
    assert near.numpy()[1:] == pytest.approx(5 * FACTORS[1:])


@pytest.mark.parametrize(
    "factors", [np.geomspace(0.3, 3, 24), np.repeat([1.0, 3.0], 12), np.ones(24)]
)
def test_smooth_changes_and_single_steps_are_not_of_the_source(factors):
    assert neighbours_of(factors).numpy()[1:] == pytest.approx(5 * factors[:-1])


def test_few_counts_do_not_look_irregular():
    rng = np.random.default_rng(0)
    numbers = torch.as_tensor(rng.poisson(20, (40, 24)) / 100.0)
    pixels = torch.full((24,), 100)
    assert not any(irregular_flux(row, pixels, None).any() for row in numbers)


@pytest.mark.slow
def test_error_of_a_fluctuating_series(exposed, monkeypatch):
    counts, clean, denoised = exposed
    nothing = "arpes_ml_plugins.denoising.splitting.irregular_flux"
    monkeypatch.setattr(nothing, lambda mean, *_: torch.zeros(len(mean), dtype=torch.bool))
    as_they_are = arpes_ml_plugins.denoise_pretrained(counts, **OPTIONS)
    error, other = (
        float(((image - clean) ** 2 / clean.mean(("eV", "phi"))).mean())
        for image in (denoised, as_they_are)
    )
    assert error < 0.9 * other


@pytest.mark.slow
def test_chunks_change_nothing(exposed):
    counts, _, denoised = exposed
    parts = arpes_ml_plugins.denoise_pretrained(counts.chunk(scan=8), **OPTIONS).compute()
    np.testing.assert_allclose(parts, denoised, rtol=1e-5)


def test_what_lies_beyond_eight_images_changes_nothing():
    """Chunks of lazy data have so many images on either side."""
    rng = np.random.default_rng(0)
    for spread in np.linspace(0.05, 0.3, 60):
        mean = torch.as_tensor(np.exp(spread * rng.standard_normal(40)))
        pixels = torch.full((40,), 1e4)
        whole = irregular_flux(mean, pixels, None)
        for at in range(8, 32):
            near = slice(at - 8, at + 9)
            assert irregular_flux(mean[near], pixels[near], None)[8] == whole[at]
