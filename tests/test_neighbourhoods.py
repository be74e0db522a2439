"""Sums and highest values around each pixel, against SciPy's filters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from arpes_ml_plugins.denoising.neighbourhoods import highest_around, highest_of, sum_around

SIDES = [1, 3, 7, (1, 13), (25, 1), (5, 9)]


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(2, 3, 20, 31, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("sides", SIDES)
def test_highest_values_are_those_of_a_maximum_filter(
    images: torch.Tensor, sides: int | tuple[int, int]
) -> None:
    size = (1, 1, *(sides if isinstance(sides, tuple) else (sides, sides)))
    expected = ndimage.maximum_filter(images.numpy(), size, mode="constant", cval=-np.inf)
    assert np.array_equal(highest_around(images, sides), expected)


@pytest.mark.parametrize("sides", SIDES)
def test_sums_are_those_of_a_filter_of_ones(
    images: torch.Tensor, sides: int | tuple[int, int]
) -> None:
    size = (1, 1, *(sides if isinstance(sides, tuple) else (sides, sides)))
    expected = ndimage.convolve(images.double().numpy(), np.ones(size), mode="constant")
    assert np.allclose(sum_around(images.double(), sides), expected)


def test_images_are_ranked_at_each_pixel(images: torch.Tensor) -> None:
    ranked = torch.stack(highest_of(list(images.flatten(0, 1)), 3))
    assert torch.equal(ranked, images.flatten(0, 1).topk(3, dim=0).values)


def test_what_is_given_is_not_changed(images: torch.Tensor) -> None:
    before = images.clone()
    sum_around(images, 3), highest_around(images, 3), highest_of(list(images), 2)
    assert torch.equal(images, before)
