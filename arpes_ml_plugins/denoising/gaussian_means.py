"""Gaussian means of the pixels that are valid."""

from __future__ import annotations

import math
from functools import lru_cache

import torch

__all__ = ["gaussian_mean"]

BLOCK = 64  # pixels that one product filters
LEAST_WEIGHT = 1e-6


def gaussian_mean(images: torch.Tensor, mask: torch.Tensor, width: float) -> torch.Tensor:
    """Gaussian mean of the valid pixels, ``(n, channels, height, width)``.

    The mask has as many channels or one.
    """
    if bool((mask == 1).all()):
        rows, columns = (_of_ones(size, width, images) for size in images.shape[-2:])
        return _filtered(images, width) / (rows[:, None] * columns)
    total = _filtered(images * mask, width)
    return total / _filtered(mask.to(images), width).clamp(min=LEAST_WEIGHT)


def _filtered(images: torch.Tensor, width: float) -> torch.Tensor:
    """Images that a Gaussian has filtered along both axes, zero beyond their edges.

    By products with a band matrix, block by block: the time is linear in the pixels and hardly
    grows with the width. Torch's convolutions take up to thirty times as long.
    """
    stack = images.reshape(-1, *images.shape[-2:])
    rows = [
        band.T.expand(len(stack), -1, -1) @ stack[:, near]
        for near, band in _blocks(stack.shape[-2], width, images)
    ]
    flat = torch.cat(rows, 1).reshape(-1, images.shape[-1])
    columns = [flat[:, near] @ band for near, band in _blocks(flat.shape[1], width, images)]
    return torch.cat(columns, 1).reshape(images.shape)


def _of_ones(size: int, width: float, like: torch.Tensor) -> torch.Tensor:
    """What the filter makes of ones along an axis: less near its ends."""
    return torch.cat([band.sum(0) for _, band in _blocks(size, width, like)])


def _blocks(size: int, width: float, like: torch.Tensor) -> list[tuple[slice, torch.Tensor]]:
    """Pixels that a block of means depends on, and the matrix from these to those."""
    band = _band(width).to(like)
    reach = (len(band) - BLOCK) // 2
    blocks = []
    for start in range(0, size, BLOCK):
        first, last = max(0, start - reach), min(size, start + BLOCK + reach)
        seen = band[first - start + reach : last - start + reach, : size - start]
        blocks.append((slice(first, last), seen))
    return blocks


@lru_cache
def _band(width: float) -> torch.Tensor:
    """Matrix from a stretch of pixels to the Gaussian means of those in its middle."""
    radius = math.ceil(3 * width)
    reach = BLOCK + 2 * radius
    offset = torch.arange(reach, device="cpu")[:, None] - torch.arange(BLOCK, device="cpu") - radius
    kernel = torch.exp(-(offset.float() ** 2) / (2 * width**2)) * (offset.abs() <= radius)
    return kernel / kernel[:, 0].sum()
