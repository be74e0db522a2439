"""Means over neighbours, which have less noise than single values."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F

__all__ = ["means_over_squares"]


def means_over_squares(
    table: torch.Tensor, n: int, axes: int, most: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Means over squares of all sizes, along the last ``axes`` of ``(n + n * n + 1, ..., *space)``:
    values ``(c, n)`` and their covariances ``(c, n, n)``.

    Rows of the table are values, products of their errors, and how many there are. Squares are left
    out as long as there are more than ``most`` of a size.
    """
    found = []
    for summed in _sums(table, axes):
        flat = summed.flatten(1)
        flat = flat[:, flat[-1] > 0]
        if flat.shape[1] <= most:
            found.append(torch.cat([flat[:n] / flat[-1], flat[n:-1] / flat[-1].square()]).mT)
    rows = torch.cat(found)
    return rows[:, :n], rows[:, n:].reshape(-1, n, n)


def _sums(table: torch.Tensor, axes: int) -> Iterator[torch.Tensor]:
    """Over squares with sides of 1, 2, 4, ... that overlap by half."""
    yield table
    side, space = 2, table.shape[-axes:]
    pool = F.avg_pool2d if axes == 2 else F.avg_pool1d
    images = table.reshape(-1, 1, *space)
    while side <= max(space):
        # Along an axis that is shorter, as many as there are.
        sides = [min(side, size) for size in space]
        steps = [max(1, s // 2) for s in sides]
        number = float(np.prod(sides))
        yield (pool(images, sides, steps) * number).reshape(*table.shape[:-axes], -1)
        side *= 2
