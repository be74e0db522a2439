"""Sums and highest values of the pixels around each pixel, zero or nothing beyond the edges.

By additions and comparisons of shifted images: on a CPU torch's pooling of single images, one pixel
apart, takes ten times as long.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

__all__ = ["highest_around", "highest_of", "sum_around"]


def highest_around(images: torch.Tensor, sides: int | tuple[int, int]) -> torch.Tensor:
    """Highest value in the rectangle around each pixel, whose ``sides`` are odd.

    Examples
    --------
    >>> highest_around(torch.tensor([[1.0, 5.0, 2.0, 0.0, 0.0]]), (1, 3)).tolist()
    [[5.0, 5.0, 5.0, 2.0, 0.0]]
    """
    return _over_sides(images, sides, _highest_along, -torch.inf)


def sum_around(images: torch.Tensor, sides: int | tuple[int, int]) -> torch.Tensor:
    """Sum over the rectangle around each pixel, whose ``sides`` are odd.

    Examples
    --------
    >>> sum_around(torch.tensor([[1.0, 5.0, 2.0, 0.0, 0.0]]), (1, 3)).tolist()
    [[6.0, 8.0, 7.0, 2.0, 0.0]]
    """
    return _over_sides(images, sides, _sum_along, 0.0)


def highest_of(images: list[torch.Tensor], number: int) -> list[torch.Tensor]:
    """The ``number`` highest values that each pixel has in ``images``, the highest first."""
    ranked = [torch.full_like(images[0], -torch.inf) for _ in range(number)]
    for image in images:
        rest = image
        for rank, other in enumerate(ranked):
            ranked[rank], rest = torch.maximum(other, rest), torch.minimum(other, rest)
    return ranked


def _over_sides(
    images: torch.Tensor,
    sides: int | tuple[int, int],
    along: Callable[[torch.Tensor, int, int], torch.Tensor],
    beyond: float,
) -> torch.Tensor:
    rows, columns = (sides, sides) if isinstance(sides, int) else sides
    padding = (columns // 2, columns // 2, rows // 2, rows // 2)
    padded = F.pad(images, padding, value=beyond)
    return along(along(padded, rows, -2), columns, -1)


def _highest_along(padded: torch.Tensor, side: int, axis: int) -> torch.Tensor:
    """By doubling the pixels that are compared."""
    reached = 1
    while reached < side:
        step = min(reached, side - reached)
        length = padded.shape[axis] - step
        padded = torch.maximum(padded.narrow(axis, 0, length), padded.narrow(axis, step, length))
        reached += step
    return padded


def _sum_along(padded: torch.Tensor, side: int, axis: int) -> torch.Tensor:
    length = padded.shape[axis] - side + 1
    total = padded.narrow(axis, 0, length).clone()
    for step in range(1, side):
        total += padded.narrow(axis, step, length)
    return total
