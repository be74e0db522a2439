"""Whether values are counts, and of what kind their noise is."""

from __future__ import annotations

import math

import numpy as np
import torch

__all__ = ["KINDS", "QUIETEST", "SAME", "beside_steps", "kind_of", "step_of"]

KINDS = (
    "counts",
    "scaled counts",
    "correlated",
    "offset",
    "local",
    "negative",
    "unknown",
    "derivative",
)
"""Verdicts, by number. "scaled counts": white noise of variance proportional to the intensity, with
another gain than the step of the values; "correlated": not white; "offset": variance and intensity
are not proportional; "local": something was subtracted, but the noise is known from place to place;
"negative": it is not; "unknown": too few data to decide; "derivative": a second derivative."""

SURE = 3.0  # standard deviations below the least noise of counts
UNSURE = 0.2  # relative error of the gain beyond which nothing is said
VERY_UNSURE = 0.5  # the same of correlated noise, or with a shift
REFINEMENTS = 16
LARGEST_WHOLE = 2.0**53  # beyond, all floating-point numbers are whole
LATTICE = 1e-3  # deviation from multiples of the step, in steps
ROUNDED = 0.6  # a multiple that was rounded is off by half, and the step is not known exactly
COARSE = 4.0  # smallest step of multiples that are recognised after they were rounded
NO_CHANCE = math.log(1e-6)
QUIETEST = 0.35  # steps: whole electrons have no less, and an estimate is never that far off
SAME = 3.0  # standard deviations within which the gain equals the step
LIKE_COUNTS = 0.3  # relative: whole numbers with nearly the noise of counts are counts


def step_of(values: torch.Tensor) -> torch.Tensor:
    """The number of which all values are multiples, NaN if there is none."""
    none = values.new_tensor(torch.nan)
    levels = values.abs().unique()
    levels = levels[levels > 0]
    if len(levels) == 0:
        return none
    if bool((levels == levels.round()).all()) and float(levels[-1]) < LARGEST_WHOLE:
        exact = float(np.gcd.reduce(levels.cpu().numpy().astype(np.int64)))
        finer = exact < float(levels.diff().amin()) if len(levels) > 1 else False
        few = len(levels) <= len(values) / 2
        rounded = _rounded_step(levels.double()) if finer and few else None
        return values.new_tensor(exact if rounded is None else rounded)
    if len(levels) > len(values) / 2:
        return none
    gaps = levels.diff(prepend=levels.new_zeros(1))
    apart = gaps[gaps > LATTICE * levels[0]]
    if len(apart) == 0:
        return none
    step = apart.min()
    for place in torch.linspace(0, len(levels) - 1, REFINEMENTS, device="cpu").long().unique():
        level = levels[place]  # the larger a multiple, the better it determines the step
        step = level / (level / step).round().clamp(min=1)
    multiples = levels / step
    off = (multiples - multiples.round()).abs()
    largest = torch.finfo(torch.float32).eps * multiples  # the values may have been float32
    return step if bool((off <= LATTICE + 2 * largest).all()) else none


def beside_steps(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The step between values, and how far the lowest one is above a multiple of it, as with a
    pedestal that is none. Zero if it is not, or if there is no step.
    """
    lowest = values.min()
    step = step_of(values - lowest)
    left = lowest.remainder(step)
    least = torch.where(step > COARSE, ROUNDED, 0.0) + LATTICE * lowest
    there = (lowest > 0) & (torch.minimum(left, step - left) > least)
    return step, torch.where(there, left, 0)


def _rounded_step(levels: torch.Tensor) -> float | None:
    """The number whose multiples were rounded to these whole numbers, as where counts were scaled
    to 16 bits or stored in single precision; None if there is none.
    """
    gaps = levels.diff(prepend=levels.new_zeros(1))
    off = ROUNDED + torch.finfo(torch.float32).eps * levels
    if float(gaps.min()) < COARSE:
        return None
    step = gaps.min()
    for level in levels:  # in order: each is the multiple that the step before it says
        step = level / (level / step).round().clamp(min=1)
    multiples = (levels / step).round()
    step = (multiples * levels).sum() / multiples.square().sum()
    fits = (levels - multiples * step).abs() <= off
    chance = (2 * off / step).log()[1:].sum()  # that other numbers fit as well
    return float(step) if bool(fits.all() & (chance < NO_CHANCE)) else None


def kind_of(
    *,
    gain: torch.Tensor,
    error: torch.Tensor,
    doubt: torch.Tensor,
    step: torch.Tensor,
    as_counts: torch.Tensor,
    negative: torch.Tensor,
    correlated: torch.Tensor,
    offset: torch.Tensor,
) -> torch.Tensor:
    """The kind of noise; if several apply, the most restrictive one."""
    kind = torch.full_like(gain, KINDS.index("scaled counts"), dtype=torch.int64)
    quiet = gain < QUIETEST * step - SURE * error
    near = (gain - step).abs() <= torch.maximum(SAME * error, LIKE_COUNTS * step)
    near = near | ((gain > step) & as_counts)
    counted = near | ((gain > QUIETEST * step) & (gain < step))
    doubt = torch.where(counted & ~offset, 0, doubt)  # no pedestal has the step of counts
    unsure = torch.where(correlated | offset, VERY_UNSURE, UNSURE)
    # Correlated noise is that of charge clouds, and known at least at the mean intensity.
    known = (error < unsure * gain) & ((doubt < gain) | correlated)
    for name, applies in (
        ("counts", counted),
        ("offset", offset | quiet),
        ("correlated", correlated),
        ("unknown", ~known),
        ("negative", negative),
    ):
        kind = torch.where(applies, KINDS.index(name), kind)
    return kind
