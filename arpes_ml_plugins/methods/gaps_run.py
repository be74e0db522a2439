"""Remove hot values and fill scattered gaps before a separation, so that no pixel is lost."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from arpes_ml_plugins.labelled.border import Cube
from arpes_ml_plugins.methods.goodness_run import deviations
from arpes_ml_plugins.methods.separation_input import Setup

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.separation.value_noise import ValueNoise

__all__ = ["mended", "usable_pixels", "without_dead", "without_dead_pixels"]

FEW = 10.0  # counts above all around that chance may bring
BRIGHT = 100.0  # counts in either neighbour, between which a channel cannot be dark by chance
LIT = 30.0  # counts in both pixels beside one, that cannot be dark by chance
WIDEST = 3  # neighbouring channels that are dead; wider ones may be a gap of the spectra
TIMES = 3.0  # as large as the channels beside it: no line is as narrow
UNIFORM = 1.2  # times the variance of noise, in pixels, of what a hot channel holds more


def usable_pixels(cube: Cube) -> torch.Tensor:
    """Pixels ``(*space)`` to find spectra from: the complete ones, if these are most; otherwise
    those with at least half of their values.
    """
    from arpes_ml_plugins.separation.complete import usable

    return usable(cube.valid)


def without_dead(cube: Cube, noise: ValueNoise | None) -> Cube:
    """The data with dead channels marked as missing: zeros in all pixels, between bright channels;
    and those that are equally hot in all pixels.

    Only counts need it: in other data a channel that does not change is left out anyway.
    """
    import torch

    if noise is None:
        return cube
    values = torch.where(cube.valid, cube.values, 0).flatten(1)
    counts = (values.sum(1) / noise.gain).tolist()
    dark = (values == 0).all(1).tolist()
    dead, first = [False] * len(dark), None
    for channel, is_dark in enumerate(dark):
        if is_dark:
            first = channel if first is None else first
            continue
        if first is not None and first > 0 and channel - first <= WIDEST:
            both = min(counts[first - 1], counts[channel])
            dead[first:channel] = [both > BRIGHT] * (channel - first)
        first = None
    marked = torch.tensor(dead, device=cube.values.device)
    marked |= _hot_channels(cube, noise)
    if not bool(marked.any()):
        return cube
    marked = marked.reshape(-1, *[1] * (cube.values.ndim - 1))
    return replace(cube, values=cube.values.masked_fill(marked, 0), valid=cube.valid & ~marked)


def _hot_channels(cube: Cube, noise: ValueNoise) -> torch.Tensor:
    """Single channels ``(m,)`` that stick out of the spectrum by the same number in all pixels."""
    import torch

    from arpes_ml_plugins.separation.complete import complete

    marked = torch.zeros(len(cube.values), dtype=torch.bool, device=cube.values.device)
    flat = cube.values.flatten(1)[:, complete(cube.valid).flatten()]
    if len(flat) < 3 or flat.shape[1] < 2:
        return marked
    mean = flat.mean(1)
    counts = noise.variance(mean)  # with those of a background that was subtracted
    above = counts[1:-1] > TIMES * torch.maximum(counts[:-2], counts[2:])
    for channel in (above.nonzero()[:, 0] + 1).tolist():
        rows = flat[channel - 1 : channel + 2]
        more = rows[1] - (rows[0] + rows[2]) / 2
        chance = noise.variance(mean[channel]) + noise.variance(mean[channel - 1])
        marked[channel] = bool(more.mean() * flat.shape[1] > BRIGHT * noise.gain) and bool(
            more.var() < UNIFORM * chance
        )
    return marked


def without_dead_pixels(cube: Cube, noise: ValueNoise | None, first: int = 0) -> tuple[Cube, int]:
    """The data with dead pixels marked as missing: nothing but zeros, between bright pixels; and
    how many these are.

    Only counts need it: the noise of other data is hardly zero. Axes of space before the ``first``
    have no order. It looks at :data:`WIDEST` + 1 pixels on either side, so that it does not depend
    on pieces.
    """
    import torch

    if noise is None:
        return cube, 0
    values = torch.where(cube.valid, cube.values, 0)
    total = values.sum(0) / noise.gain
    dark = (values == 0).all(0) & cube.valid.any(0)
    dead = torch.zeros_like(dark)
    for axis in range(first, dark.ndim):
        bright = (total > LIT).movedim(axis, 0)
        empty, found = dark.movedim(axis, 0), dead.movedim(axis, 0)
        for width in range(1, WIDEST + 1):
            for start in range(1, len(empty) - width):
                both = bright[start - 1] & bright[start + width]
                found[start : start + width] |= both & empty[start : start + width].all(0)
    number = int(dead.sum())
    return (replace(cube, valid=cube.valid & ~dead), number) if number else (cube, 0)


def mended(cube: Cube, setup: Setup, noise: ValueNoise | None) -> tuple[Cube, int]:
    """The data without hot values and with their gaps filled; the number of hot values.

    Hot, dead and missing values stay marked as not valid. ``noise`` is that of each value, if the
    data have such noise: then a few counts in a dark channel are not hot.
    """
    import torch

    from arpes_ml_plugins.separation.gaps import HOT, filled, hot_values
    from arpes_ml_plugins.separation.whiten import channel_noise

    if setup.common_noise:  # as published
        return cube, 0
    cube = without_dead(cube, noise)
    pixels = usable_pixels(cube)
    if int(pixels.sum()) < 2:
        return cube, 0
    if noise is None:
        spread = least = channel_noise(cube.values, pixels, cube.valid)
    else:
        spread = noise.of_channels.sqrt()
        least = spread.clamp(min=FEW * noise.gain / HOT)
    each = deviations(setup, cube.values)
    least = least if each is None else each
    hot = hot_values(cube.values, cube.valid, least)
    valid = cube.valid & ~hot
    values = cube.values
    if bool(hot.any()):
        space = tuple(range(1, values.ndim))
        known = valid.sum(space, keepdim=True).clamp(min=1)
        typical = torch.where(valid, values, 0).sum(space, keepdim=True) / known
        values = torch.where(hot, typical, values)
    cube = replace(cube, values=values, valid=valid)
    usable = usable_pixels(cube)
    seen = valid.flatten(1).any(1)
    if not bool(valid[seen][:, usable].all()):
        # All pixels with any value: details of those that are used reach into the others.
        pixels = valid.flatten(1).any(0)
        gaps = ~valid.flatten(1)[seen][:, pixels]
        flat, number = values.flatten(1).clone(), seen.nonzero()  # (k, 1)
        spread = channel_noise(values, usable, valid) if noise is None else spread
        flat[number, pixels.nonzero()[:, 0]] = filled(
            flat[seen][:, pixels], ~gaps, spread[seen], len(setup.components)
        )
        cube = replace(cube, values=flat.reshape(values.shape))
    return cube, int(hot.sum())
