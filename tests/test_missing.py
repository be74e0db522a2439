"""Filling of missing values, scores, and seeds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from arpes_ml_plugins.errors import ParameterError
from arpes_ml_plugins.labelled.devices import resolve_device
from arpes_ml_plugins.labelled.missing import fill_missing
from arpes_ml_plugins.labelled.seeds import seed_from, slice_seed
from arpes_ml_plugins.scoring import psnr, thin_counts


class TestFill:
    def test_valid_pixels_are_untouched(self, rng):
        images = rng.normal(size=(2, 20, 20))
        images[0, 3:7, 4] = np.nan
        filled = fill_missing(images)
        seen = ~np.isnan(images)
        assert (filled[seen] == images[seen]).all()
        assert np.isfinite(filled).all()

    def test_a_constant_is_continued(self):
        image = np.full((1, 40, 40), 7.0)
        image[0, :25, :30] = np.nan
        np.testing.assert_allclose(fill_missing(image), 7.0)

    def test_a_smooth_image_is_continued_well(self):
        rows, columns = np.meshgrid(np.arange(60), np.arange(60), indexing="ij")
        image = 10 + np.sin(rows / 9) + np.cos(columns / 11)
        holed = image.copy()
        holed[(rows - 30) ** 2 + (columns - 30) ** 2 < 9] = np.nan
        steepest = max(np.abs(np.diff(image, axis=axis)).max() for axis in (0, 1))
        assert np.abs(fill_missing(holed[None])[0] - image).max() < 2 * steepest


class TestScores:
    def test_thinning_gives_independent_poisson_images(self):
        counts = np.random.default_rng(0).poisson(40.0, 200_000)
        thinned, rest = thin_counts(counts, 0.25, rng=1)
        assert (thinned + rest == counts).all()
        assert thinned.mean() == pytest.approx(10, rel=0.01)
        assert thinned.var() == pytest.approx(10, rel=0.02)
        assert abs(np.corrcoef(thinned, rest)[0, 1]) < 0.01

    def test_psnr_is_corrected_for_the_noise_of_the_reference(self):
        rng = np.random.default_rng(0)
        truth = np.linspace(10, 100, 100_000)
        image = truth + rng.normal(size=truth.size)
        reference = rng.poisson(50 * truth) / 50
        variance = reference / 50
        assert psnr(image, reference, variance) == pytest.approx(psnr(image, truth), abs=0.3)
        assert psnr(image, reference) < psnr(image, truth) - 2.5


def torch_generator(seed):
    return torch.Generator().manual_seed(seed)


class TestSeeds:
    def test_slices_differ_and_repeat(self):
        seeds = [slice_seed(1, index) for index in range(50)]
        assert len(set(seeds)) == 50
        assert seeds == [slice_seed(1, index) for index in range(50)]
        assert slice_seed(2, 0) not in seeds

    def test_fresh_without_rng(self):
        assert seed_from(None) != seed_from(None)
        assert seed_from(np.int32(5)) == 5

    @pytest.mark.parametrize("make", [np.random.default_rng, torch_generator])
    def test_a_generator_is_advanced_by_one_draw(self, make):
        one, other = make(3), make(3)
        first, second = seed_from(one), seed_from(one)
        assert first != second
        assert seed_from(other) == first
        assert seed_from(other) == second

    def test_numpys_generator_moves_on_as_if_a_number_had_been_drawn(self):
        one, other = np.random.default_rng(3), np.random.default_rng(3)
        assert seed_from(one) == other.integers(2**32)
        assert one.normal() == other.normal()

    @pytest.mark.parametrize("rng", [np.random.RandomState(0), 1.5, "seven", True])
    def test_anything_else_is_refused(self, rng):
        with pytest.raises(ParameterError, match=r"numpy.random.Generator"):
            seed_from(rng)


def test_the_cpu_has_one_name():
    assert resolve_device("cpu:0") == resolve_device("cpu") == "cpu"
