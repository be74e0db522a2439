"""Explain many components by fewer ones whose energies shift from pixel to pixel.

A line that shifts is a sum of its shape, its derivative, and more, so shifts look like further
components. They are accepted if a few spectra with one map of shifts explain more than these
spectra with one component more, which have equally many maps.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from arpes_ml_plugins.separation.component_count import misfit
from arpes_ml_plugins.separation.known_shift import find_known_shifts

__all__ = ["fewer_with_shifts"]

WORTH = 0.95  # chi^2 with shifts, over that with another component in their place
LARGE = 2.0  # times the shifts that more components leave: these are components


def fewer_with_shifts(
    cube: torch.Tensor,
    noise: torch.Tensor,
    step: float,
    spectra: Sequence[torch.Tensor],
    used: torch.Tensor,
) -> tuple[int, float] | None:
    """Number of components, and the standard deviation of their shifts, if any.

    Parameters
    ----------
    cube
        ``(m, *space)``, with gaps filled.
    noise
        Of every channel, ``(m,)``, positive.
    step
        Of the energy axis.
    spectra
        Spectra ``(m, n)`` of separations into one component, two, ..., in the unit of the data;
        each is compared with the next.
    used
        Pixels ``(t,)`` that are not filled in.
    """
    shape, pixels = tuple(cube.shape[1:]), cube.flatten(1)
    white = pixels[:, used] / noise[:, None]
    spread: dict[int, float] = {}
    for count in range(1, len(spectra)):
        # Too few components need large shifts; levelled, those of enough would hardly be smaller.
        shifts = find_known_shifts(
            pixels, noise, spectra[count - 1].mT, step, shape, used=used, level=False
        )
        more = misfit(white, spectra[count] / noise[:, None])
        if shifts.found and shifts.left < WORTH * float(more):
            spread[count] = float(shifts.shift.std())
    found = list(spread.items())
    for number, (count, size) in enumerate(found):
        if all(size < LARGE * smaller for _, smaller in found[number + 1 :]):
            return count, size
    return None
