"""Intensities with a negative sign, as in a current, are denoised as those with a positive one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from arpes_ml_plugins import plotting, simulate_scene
from arpes_ml_plugins.denoising.sign import sign_of


@pytest.fixture(scope="module")
def scene():
    return simulate_scene((64, 72), counts=10, rng=3)


@pytest.mark.parametrize("unit", [1.0, 3e-13])
def test_they_are_denoised_with_the_other_sign(scene, unit):
    current = -unit * scene.spectrum.astype(float)
    noise = current.S.estimate_noise()
    assert (str(noise.kind.values), float(noise.sign)) == ("counts", -1)
    assert float(noise.gain) == pytest.approx(unit)
    assert "negative, as in a current" in str(noise.verdict.values)
    bars = current.S.decompose_pretrained(adapt=False, rng=0)
    expected = (-current).S.decompose_pretrained(adapt=False, rng=0)
    for name, other in (("clean", "clean"), ("lower", "upper"), ("upper", "lower")):
        np.testing.assert_array_equal(bars[name].values, -expected[other].values)


@pytest.mark.slow
def test_lazy_currents_and_pictures_of_them(scene):
    current = -scene.spectrum.astype(float)
    lazy = current.chunk(eV=20).S.denoise(adapt=False, rng=0)
    np.testing.assert_array_equal(lazy.values, current.S.denoise(adapt=False, rng=0).values)
    plotting.diagnose(current)
    plotting.diagnose(scene.spectrum.isel(eV=np.arange(128) // 2))


def test_differences_and_logarithms_have_no_such_sign(scene):
    counts = scene.spectrum.values.astype(float)
    rng = np.random.default_rng(0)
    everywhere = torch.ones(1, 64, 72).bool()
    for values in (
        np.log((counts + 1) / (counts.max() + 1)),
        rng.poisson(scene.truth) - rng.poisson(1.02 * scene.truth.values),
        -rng.poisson(20.0, counts.shape),
        counts,
    ):
        assert sign_of(torch.tensor(values[None]).double(), everywhere) == 1
    assert sign_of(torch.zeros(1, 4, 4), torch.zeros(1, 4, 4).bool()) == 1
