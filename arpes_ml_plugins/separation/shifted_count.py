"""Explain many components by fewer ones whose energies shift from pixel to pixel.

A line that shifts is a sum of its shape, its derivative, and more, so shifts look like further
components. They are accepted if a few spectra with one map of shifts explain more than these
spectra with one component more, which have equally many maps, and if further spectra, shifted as
well, explain little more.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from arpes_ml_plugins.separation.component_count import misfit
from arpes_ml_plugins.separation.energy_shift import Shifts, find_shifts
from arpes_ml_plugins.separation.known_shift import find_known_shifts

__all__ = ["fewer_with_shifts"]

WORTH = 0.95  # chi^2 with shifts, over that with another component in their place
SAME = 1.05  # times chi^2 with shifts: as good
LARGE = 2.0  # times the shifts with which more components are as good: these are components
MORE = 0.9  # chi^2 with shifts and more components, over that with fewer: these are too few


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
    more = [float(misfit(white, some / noise[:, None])) for some in spectra]

    def worth(shifts: Shifts, count: int) -> bool:
        return shifts.found and shifts.left < WORTH * more[count]

    def near(count: int) -> Shifts:
        centres = spectra[count - 1].mT
        return find_known_shifts(pixels, noise, centres, step, shape, used=used, level=False)

    # Shifts of these spectra are found quickly, but of those that were mixed by shifts not rightly.
    if not any(worth(near(count), count) for count in range(1, len(spectra))):
        return None
    found: list[tuple[int, float, float]] = []
    for count in range(1, len(spectra)):
        shifts = find_shifts(pixels, noise, count, step, shape, used=used, thrifty=True)
        if worth(shifts, count):
            found.append((count, float(shifts.shift.std()), shifts.left))
    for number, (count, size, left) in enumerate(found):
        further = [(other, less) for _, other, less in found[number + 1 :] if less < SAME * left]
        if all(size < LARGE * other and MORE * left < less for other, less in further):
            return count, size
    return None
