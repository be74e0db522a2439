"""Fewer components, whose energies shift from pixel to pixel, in the place of many that do not.

A line that shifts is its shape, its derivative, and more: shifts make components. What tells is
that few spectra with one map of shifts explain more than as many and another one, which has as many
maps.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from arpes_ml_plugins.separation.component_count import misfit
from arpes_ml_plugins.separation.energy_shift import find_shifts

__all__ = ["fewer_with_shifts"]

WORTH = 0.95  # chi^2 with shifts, over that with another component in their place
LARGE = 2.0  # times the shifts that more components leave: these are components


def fewer_with_shifts(
    cube: torch.Tensor,
    noise: torch.Tensor,
    step: float,
    most: int,
    blind: Callable[[torch.Tensor, int], torch.Tensor],
) -> tuple[int, float] | None:
    """Number of components, ``most`` at most, and the standard deviation of their shifts, if any.

    Parameters
    ----------
    cube
        ``(m, *space)``, complete.
    noise
        Of every channel, ``(m,)``, positive.
    step
        Of the energy axis.
    blind
        From whitened pixels and a number to spectra ``(m, n)``.
    """
    shape, pixels = tuple(cube.shape[1:]), cube.flatten(1)
    white = pixels / noise[:, None]
    spectra = [blind(white, count) for count in range(1, most + 2)]
    spread: dict[int, float] = {}
    for count in range(1, most + 1):
        centres = (spectra[count - 1] * noise[:, None]).mT
        shifts = find_shifts(pixels, noise, centres, step, shape)
        if shifts.found and shifts.left < WORTH * float(misfit(white, spectra[count])):
            spread[count] = float(shifts.shift.std())
    found = list(spread.items())
    for number, (count, size) in enumerate(found):
        if all(size < LARGE * smaller for _, smaller in found[number + 1 :]):
            return count, size
    return None
