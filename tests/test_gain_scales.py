"""Data of which each image or line was divided by a number of its own."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from arpes_ml_plugins import replay, simulate_scene
from arpes_ml_plugins.denoising.exact_scales import steps_of_lines
from arpes_ml_plugins.denoising.gain_scales import KINDS, find_scaling, relative_scales

SCENE = simulate_scene((96, 96), counts=12, rng=3).truth.values
STACK = np.stack([SCENE * (1 + 0.1 * k * np.linspace(-1, 1, 96)) for k in (-2, -1, 1, 2)])
EXPOSURES = np.array([0.3, 2.1, 0.7, 1.5])[:, None, None]


def scaled(values: np.ndarray) -> tuple[str, np.ndarray]:
    """The kind of scale that is found, and the scales."""
    images = torch.from_numpy(np.asarray(values, float)).reshape(-1, *values.shape[-2:])
    valid = images.isfinite()
    scaling = find_scaling(images.nan_to_num(), valid)
    scales = relative_scales(images.nan_to_num(), valid, scaling)
    return KINDS[scaling.kind], np.ones(1) if scales is None else scales.numpy()


def stacked(values: np.ndarray) -> xr.DataArray:
    return xr.DataArray(values, dims=("delay", "phi", "eV"))


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    return float(10 * np.log10(np.ptp(truth) ** 2 / np.square(image - truth).mean()))


def best_gaussian(image: np.ndarray, truth: np.ndarray) -> float:
    return max(psnr(ndimage.gaussian_filter(image, s), truth) for s in (0.5, 0.8, 1.2, 1.8, 2.6))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    divisor=st.floats(1e-3, 1e5),
    counts=st.floats(4.0, 2000.0),
    seed=st.integers(0, 1000),
    single=st.booleans(),
)
def test_steps_are_exact(divisor: float, counts: float, seed: int, single: bool) -> None:
    values = np.random.default_rng(seed).poisson(counts, (2, 120)) / divisor
    values = values.astype(np.float32 if single else np.float64)
    steps = steps_of_lines(torch.from_numpy(values), torch.ones(2, 120).bool())
    np.testing.assert_allclose(steps.numpy() * divisor, 1, rtol=1e-4)


@pytest.mark.parametrize("gains", [(1, 1, 3, 3), (1, 1, 2, 1)])
def test_gains_that_are_multiples_of_the_smallest(gains) -> None:
    gains = np.reshape(gains, (4, 1, 1))
    kind, scales = scaled(np.random.default_rng(0).poisson(STACK) * gains)
    assert kind == "images"
    np.testing.assert_allclose(scales / scales[0], gains, rtol=1e-6)


@pytest.mark.parametrize("counts", [0.05, 0.3, 3.0])
def test_counts_that_decay_have_one_gain(counts) -> None:
    rate = STACK * np.geomspace(3, 0.1, 4)[:, None, None] * counts / STACK.mean()
    assert scaled(np.random.default_rng(0).poisson(rate))[0] == "none"


def test_values_between_whole_numbers_have_no_step() -> None:
    counts = np.random.default_rng(0).poisson(20.0, (40, 120)).astype(float)
    for values in (np.sqrt(counts), ndimage.gaussian_filter(counts, 1.0), counts + 0.31):
        steps = steps_of_lines(torch.from_numpy(values), torch.ones(40, 120).bool())
        assert steps.isfinite().double().mean() < 0.1


@pytest.mark.parametrize("axis", [0, 1])
def test_lines_that_were_divided_by_their_maximum(axis: int) -> None:
    counts = np.random.default_rng(1).poisson(SCENE).astype(float)
    highest = counts.max(axis, keepdims=True)
    kind, scales = scaled(counts / highest)
    assert kind == ("columns", "rows")[axis]
    product = scales[0] * highest
    np.testing.assert_allclose(product / product.mean(), 1, rtol=1e-5)


@pytest.mark.parametrize("read_out", [0.0, 5.0])
def test_images_that_were_divided_by_their_exposure(read_out: float) -> None:
    rng = np.random.default_rng(2)
    values = rng.poisson(STACK * EXPOSURES) + read_out * rng.standard_normal(STACK.shape)
    kind, scales = scaled(values / EXPOSURES)
    assert kind == ("noise of images" if read_out else "images")
    off = np.log(scales * EXPOSURES)
    assert off.std() < (0.08 if read_out else 1e-6)


@cache
def unchanged() -> dict[str, np.ndarray]:
    """Data with one gain, or that differ by something else than a scale."""
    rng = np.random.default_rng(4)
    rate = STACK * EXPOSURES
    counts = rng.poisson(rate).astype(float)
    broken = 1 + 1e-9 * rng.random(rate.shape)  # no multiples of anything
    stripes = np.exp(0.15 * rng.standard_normal((*rate.shape[:2], 1)))
    wide = [0, 0.9, 0.9]
    return {
        "counts": counts,
        "gain": 3.7 * counts * broken,
        "read-out": counts + 4 * rng.standard_normal(rate.shape),
        "pedestal": counts * broken + 20,
        "clouds": ndimage.gaussian_filter(rng.gamma(2, 0.5, rate.shape) * counts, wide),
        "saturates": counts / (1 + counts / 60),
        "fluctuates": rng.poisson(rate * rng.gamma(5, 0.2, rate.shape)) * broken,
        "beam": rng.poisson(rate * stripes) * broken,
        "pixels": rng.poisson(rate * rng.normal(1, 0.15, rate.shape[1:]).clip(0)) * broken,
        "logarithm": np.log1p(counts),
        "resampled": ndimage.zoom(counts, (1, 1.2, 1.2), order=1),
    }


@pytest.mark.parametrize("name", unchanged())
def test_other_noise_is_left_alone(name: str) -> None:
    values = unchanged()[name]
    assert scaled(values)[0] == "none"
    assert scaled(values[1])[0] == "none"


@pytest.mark.slow
def test_a_stack_of_normalised_images_is_denoised_on_its_own_scale() -> None:
    rng, stack = np.random.default_rng(5), STACK[:, 20:68, 20:68]
    values = rng.poisson(stack * EXPOSURES) + 3 * rng.standard_normal(stack.shape)
    data = stacked(values / EXPOSURES)
    clean = data.S.denoise(adapt=False, mesh=None, rng=0)
    for image, noisy, truth in zip(clean.values, data.values, stack, strict=True):
        assert psnr(image, truth) > best_gaussian(noisy, truth) + 2
    found = clean.attrs["provenance"]["record"]["found"]
    assert "differs from one image to another" in found["noise"]
    lazy = data.chunk(delay=2).S.denoise(adapt=False, mesh=None, rng=0).compute()
    np.testing.assert_allclose(lazy.values, clean.values, rtol=1e-5, atol=1e-5)
    assert "differs from one image to another" in str(lazy["denoise_reason"].values)
    np.testing.assert_array_equal(replay(clean, data).values, clean.values)


def test_error_bars_and_samples_of_normalised_lines() -> None:
    rate = SCENE[16:80, 16:80]
    counts = np.random.default_rng(6).poisson(rate).astype(float)
    highest = counts.max(0)
    cut, truth = xr.DataArray(counts / highest, dims=("phi", "eV")), rate / highest
    found = cut.S.decompose_pretrained(adapt=False, mesh=None, rng=0)
    inside = (found["lower"] <= truth) & (truth <= found["upper"])
    assert 0.55 < float(inside.mean()) < 0.9
    assert psnr(found["clean"].values, truth) > best_gaussian(cut.values, truth) + 3
    samples = cut.S.sample_posterior(draws=4, adapt=False, mesh=None, rng=0)
    ratio = samples.mean("draw").sum("phi") / found["clean"].sum("phi")
    np.testing.assert_allclose(ratio, 1, atol=0.1)


def test_the_estimate_says_what_was_divided() -> None:
    counts = np.random.default_rng(7).poisson(SCENE).astype(float)
    cut = xr.DataArray(counts / counts.sum(1, keepdims=True), dims=("phi", "eV"))
    noise = cut.transpose("eV", "phi").S.estimate_noise()
    assert float(noise["momentum_scale"]) > 1.1
    assert float(noise["image_scale"]) == float(noise["energy_scale"]) == 1
    assert "Each phi was divided" in str(noise["verdict"].values)
    assert abs(float(noise["mean_counts"]) / counts.mean() - 1) < 0.05
    assert "scale_kind" not in noise


def test_parts_without_any_noise_are_no_error():
    """Smooth lines in the dark ended in an assertion of torch."""
    rng, energy = np.random.default_rng(0), np.arange(65.0)
    place, width = 30 + 4 * rng.random((400, 1)), 1 + rng.random((400, 1))
    values = np.exp(-(((energy - place) / width) ** 2))
    assert xr.DataArray(values, dims=("phi", "eV")).S.estimate_noise()["kind"] != "counts"


@pytest.mark.parametrize("spread", [0.005, 0.03])
def test_scales_that_hardly_differ_are_exact_too(spread: float) -> None:
    rng = np.random.default_rng(5)
    currents = np.exp(spread * rng.standard_normal((96, 1)))
    kind, scales = scaled(rng.poisson(SCENE) / currents)
    assert kind == "rows"
    product = scales[0] * currents
    np.testing.assert_allclose(product / product.mean(), 1, rtol=1e-6)


@pytest.mark.parametrize("seed", [1, 3])
def test_lines_over_a_part_of_their_sum_have_its_noise(seed: int) -> None:
    counts = np.random.default_rng(seed).poisson(SCENE) * 1.0
    part = counts[:, :40].sum(1, keepdims=True)
    product = scaled(counts / part)[1][0] * part
    np.testing.assert_allclose(product / product.mean(), 1, rtol=1e-6)
