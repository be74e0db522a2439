"""Take out of blind spectra what pixels below the threshold have leaked into them.

Alternating least squares sets weak values of maps to zero, also those of a pixel at an edge that
holds a little of a second component. Its spectrum then counts as part of the first one's, and all
first ones leak in the same way, in every half of the pixels. It shows: where a pixel holds the
first component alone, the map of the second is negative, by the share that leaked, and no longer
zero on average. Pure pixels are many and all alike; mixed ones are spread over all values. So the
share is read from where the values of the second map pile up.
"""

from __future__ import annotations

import torch

from arpes_ml_plugins.separation.least_squares import (
    least_squares,
    nonnegative_sources,
    unit_columns,
)
from arpes_ml_plugins.separation.purity import zeros_of_pixels

__all__ = ["without_leaks"]

THERE = 5.0  # standard errors of the intensity of a pixel
EMPTY = 3.0  # standard errors of a third one
MOST = 0.1  # of the second spectrum: what is more has not leaked, but is another mixture
WINDOW = 1.5  # standard errors on either side, in which the median is taken
SPREAD = 3.0  # variance of that median, over that of a mean of all
ROUNDS = 20
FEWEST = 8  # pixels
SHARP = 2.0  # times as many pixels without a component as with a little of it


def without_leaks(even: torch.Tensor, spectra: torch.Tensor, nonnegative: bool) -> torch.Tensor:
    """``spectra (k, n)`` of length 1, corrected as far as pure pixels show what leaked.

    Only pairs of components are corrected that pixels show without each other, and only by what is
    more than chance. Not if the data contradict it: of maps that are smooth everywhere, pixels with
    a little of the second component pile up as pure ones do.

    Parameters
    ----------
    even
        Pixels ``(k, t)`` of unit noise.
    """
    pairs = zeros_of_pixels(even, spectra, SHARP)
    maps, error = least_squares(even, spectra)
    alone = spectra.mT @ even
    leaked = torch.zeros_like(pairs, dtype=spectra.dtype)
    for own in range(len(maps)):
        for absent in range(len(maps)):
            if absent == own or not bool(pairs[absent, own]):
                continue
            third = [k for k in range(len(maps)) if k not in (own, absent)]
            empty = (maps[third].abs() < EMPTY * error[third]).all(0)
            pure = empty & (alone[own] > THERE)
            leaked[absent, own] = _pile(maps[absent, pure], alone[own, pure], error[absent])
    better = spectra + spectra @ leaked
    if not nonnegative:
        return unit_columns(better)
    better = unit_columns(better.clamp(min=0))
    return better if _misfit(even, better) <= _misfit(even, spectra) else spectra


def _misfit(even: torch.Tensor, spectra: torch.Tensor) -> float:
    """chi^2 of non-negative maps."""
    return float((even - spectra @ nonnegative_sources(even, spectra)).square().sum())


def _pile(values: torch.Tensor, brightness: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
    """Ratio to the ``brightness`` at which ``values (t,)`` pile up near zero, shrunk as noise does.

    The brightness is that of one component alone: its noise is independent of that of the values.
    """
    place = values.new_zeros(())
    if len(values) < FEWEST:
        return place
    ratio, order = (values / brightness).sort()
    spread = error / brightness[order]
    weight = 1 / spread.square()
    for _ in range(ROUNDS):
        total = (weight * ((ratio - place).abs() < WINDOW * spread)).cumsum(0)
        middle = torch.searchsorted(total, total[-1] / 2).clamp(max=len(ratio) - 1)
        before, place = place, ratio[middle]
        if float((place - before).abs()) < 1e-6:
            break
    if float(place.abs()) > MOST:
        return torch.zeros_like(place)
    chance = SPREAD / weight.sum()
    return place * (1 - chance / place.square().clamp(min=1e-300)).clamp(min=0)
