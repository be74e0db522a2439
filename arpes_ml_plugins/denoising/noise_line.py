"""Gain and shift from classes of brightness: a line that structure can only raise.

What the prediction of the scene misses adds to the variance of some classes, mostly bright ones. A
class above the line therefore costs little, one below it a lot. All lines are tried on a grid, so
that the errors include other lines that explain the classes nearly as well. The third moment of
counts is their variance times the gain, which refutes a line whose gain is far too small.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from arpes_ml_plugins.denoising.noise_levels import Levels

__all__ = ["Line", "fitted_line"]

GRID, ZOOMS = 61, 5  # lines along each axis of the grid, and how often it is refined
BELOW, ABOVE = 8.0, 6.0  # standard deviations that the grid reaches
FORGOTTEN = 15.0  # logarithm of the likelihood, relative to the best
SYSTEMATIC = 0.03  # of the variance: error of every class
HEAVY = 3.0  # standard deviations below the line, from where the cost is linear
UNEVEN = 1.5  # third moment over gain and variance: 1 for equal pulses, 1.5 for exponential ones
QUANTILES = (0.16, 0.5, 0.84)
SHIFTED = 0.2  # probability of a shift before anything is known
SKEWED = 15.0  # largest cost of the third moment
SIXTH = 15.0  # moment of a standard normal variable
UNEVENNESS = -2.0, -0.2, 30  # logarithms of relative noise that are tried, and their number
LOOSE = 0.3  # relative: this noise is not the same everywhere
UNEVEN_AT_ALL = 0.5  # probability of such noise
SHIFTED_BELOW = 0.9  # the same if there are negative values
SHIFTED_COUNTS = 1e-3  # the same if the noise is that of counts of the step
WHOLE = 3.0  # standard deviations that it may differ from that
LARGEST = 20.0  # times the mean intensity: the largest shift
MOST = 6.0  # cost of a class above the line: bands can be sharp wherever it is bright
SKEW_ERROR = 0.1  # relative error of the third moment
IMPOSSIBLE = -1e6  # logarithm of a probability
NEARLY = 10.0  # logarithm of a likelihood ratio
STILL_POSSIBLE = 0.25  # probability, at most, of what explains the noise as well
NEAR, FAR_OFF = 0.5, 8.0  # of the darkest mean; logarithm of a probability
FAR = 1e3  # times the mean variance over mean
ORIGIN = 200  # gains of lines through the origin that are tried


@dataclass(frozen=True)
class Line:
    """The variance is ``gain * (mean + shift)``."""

    gain: torch.Tensor
    gain_error: torch.Tensor
    """Standard error of the gain, if it is right that there is a shift, or that there is none."""
    shift: torch.Tensor
    """Zero if a line through the origin is more likely."""
    shift_error: torch.Tensor
    doubt: torch.Tensor
    """Standard error of the gain because the opposite may be right."""
    other: torch.Tensor
    """Gain if the opposite is right."""


def fitted_line(
    levels: Levels,
    step: torch.Tensor,
    highest: torch.Tensor | None = None,
    below_zero: bool = False,
) -> Line | None:
    """Fit a line to the noise; None if nothing varies.

    ``step`` is the number of which all values are multiples, or NaN: where the noise is that of
    such counts, a shift is hardly likely. A pedestal is no larger than ``highest``, and values
    ``below_zero`` are a reason to expect a shift.
    """
    if not bool((levels.variance > 0).any()):
        return None
    gains, shifts, odds, area = _grid(levels, highest)
    odds = odds.clamp(min=IMPOSSIBLE)
    # A priori the logarithm of the gain is uniform, and the shift as large as the intensity.
    scale = levels.mean.abs().mean().clamp(min=torch.finfo(gains.dtype).tiny)
    prior = -(math.pi * scale * (1 + (shifts / scale).square())).log()
    plausible = (odds + prior - 2 * gains.log()).flatten()
    density = plausible - _far_off(levels, shifts).flatten()
    weight = torch.softmax(density, 0)
    (gain, error), (shift, shift_error) = (_summary(x.flatten(), weight) for x in (gains, shifts))
    (plain, plain_error), evidence, best = _through_origin(levels)
    whole = (plain - step).abs() < WHOLE * _floored(plain_error, plain)
    before = torch.where(whole, SHIFTED_COUNTS, SHIFTED_BELOW if below_zero else SHIFTED)
    likely = torch.sigmoid(
        torch.logsumexp(density, 0) + (before / (1 - before)).log() + area.log() - evidence
    )
    if not likely >= 0.5:  # nor if no shift is possible
        # What explains the noise as well may be right, however special it is.
        possible = torch.sigmoid(odds.max() - best + NEARLY).clamp(
            max=torch.where(whole, 0, STILL_POSSIBLE)
        )
        likely = torch.maximum(likely, possible)
        gain, error = _summary(gains.flatten(), torch.softmax(plausible, 0))
        apart = (gain - plain).square()
        error, apart = (torch.where(likely > 0, x, 0) for x in (error, apart))
        doubt = (likely * (error.square() + apart)).sqrt()
        none = torch.zeros_like(plain)
        return Line(plain, _floored(plain_error, plain), none, none, doubt, gain)
    doubt = ((1 - likely) * (plain_error.square() + (gain - plain).square())).sqrt()
    return Line(gain, _floored(error, gain), shift, shift_error, doubt, plain)


def _floored(error: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
    """What all classes have in common does not average out."""
    return (error.square() + (SYSTEMATIC * gain).square()).sqrt()


def _far_off(levels: Levels, shifts: torch.Tensor) -> torch.Tensor:
    """Cost of a pedestal that is far below all that was measured.

    Structure that is finer the brighter it is bends the line upwards, too.
    """
    darkest = levels.mean.amin().clamp(min=torch.finfo(shifts.dtype).tiny)
    above = ((darkest + shifts) / (NEAR * darkest)).clamp(0, 1)
    return FAR_OFF * torch.where(shifts < 0, above, 0)


def _grid(
    levels: Levels, highest: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gain, shift and log-likelihood of lines, given by their variances in two classes.

    Last the area of a cell of the grid in shift and logarithm of the gain, times the squared gain.
    """
    mean, variance = levels.mean, levels.variance
    tiny = torch.finfo(mean.dtype).tiny
    steepest = variance.max() / (mean.max() - mean.min()).clamp(min=1e-9 * mean.abs().max() + tiny)
    one_electron = steepest.square() / levels.number
    full = (
        levels.variance_error
        + (SYSTEMATIC * variance).square()
        + 2 * variance.square() / levels.number
        + one_electron.square()
    ).sqrt()
    dark = int(full.argmin())
    apart = (mean - mean[dark]).abs()
    bright = int((apart / (full + full[dark])).argmax())
    if bright == dark:
        bright = (dark + 1) % len(mean)
    along = [(0.0, float(variance[k] + s * full[k])) for k, s in ((dark, BELOW), (bright, ABOVE))]
    distance = mean[bright] - mean[dark]
    for _ in range(ZOOMS):
        axes = [torch.linspace(*ends, GRID, dtype=mean.dtype).to(mean) for ends in along]
        first, second = torch.meshgrid(*axes, indexing="ij")
        gain = (second - first) / distance
        line = first[..., None] + gain[..., None] * (mean - mean[dark])
        odds = _likelihood(levels, line, gain).masked_fill(~(gain > 0), -torch.inf)
        shift = first / gain - mean[dark]
        excluded = shift > LARGEST * mean.abs().mean()
        if highest is not None:
            excluded = excluded | (shift < -highest)
        odds = odds.masked_fill(excluded, -torch.inf)
        near = odds > odds.max() - FORGOTTEN
        refined = [_ends(near.any(1 - k), axis) for k, axis in enumerate(axes)]
        if refined == along:
            break
        along = refined
    gain = gain.clamp(min=tiny)
    area = (axes[0][1] - axes[0][0]) * (axes[1][1] - axes[1][0]) / distance.abs()
    return gain, first / gain - mean[dark], odds, area


def _ends(near: torch.Tensor, axis: torch.Tensor) -> tuple[float, float]:
    some = near.nonzero()[:, 0]
    if not len(some):
        return float(axis[0]), float(axis[-1])
    first, last = max(int(some[0]) - 1, 0), min(int(some[-1]) + 1, len(axis) - 1)
    return float(axis[first]), float(axis[last])


def _likelihood(
    levels: Levels, line: torch.Tensor, gain: torch.Tensor, loose: torch.Tensor | float = 0.0
) -> torch.Tensor:
    """Logarithm; ``line`` is ``(..., classes)``, the variance that is expected of each class, and
    ``loose`` the standard deviation of this expectation.
    """
    expected = line.clamp(min=torch.finfo(line.dtype).tiny)
    gain = gain.clamp(min=0)[..., None]
    drawn = (
        levels.variance_error + gain.square() * levels.mean_error - 2 * gain * levels.common_error
    )
    # Where hardly an electron was counted, the spread of the squares says nothing.
    drawn = torch.maximum(drawn, 2 * expected.square() / levels.number)
    drawn = drawn + (SYSTEMATIC * expected).square()
    more = torch.as_tensor(loose).to(line).square() / drawn
    off = (levels.variance - line) / (drawn * (1 + more)).sqrt()
    cost = torch.where(off < 0, off.square() / 2, torch.log1p(off.square() / 2).clamp(max=MOST))
    cost = torch.where(off < -HEAVY, HEAVY * (off.abs() - HEAVY / 2), cost)
    negative = (line < 0).any(-1)
    cost = (cost + torch.log1p(more) / 2).sum(-1) + _skewness(levels, expected, gain)
    return (-cost).masked_fill(negative, -torch.inf)


def _skewness(levels: Levels, expected: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
    """Cost of a third moment that a gain cannot have, of all classes together.

    Read-out noise adds to the variance and not to the third moment; nowhere is there more of it
    than noise in the dark.
    """
    if not bool(torch.isfinite(levels.third).all()):
        return gain.new_zeros(())
    usual = levels.third_error + SIXTH * levels.variance**3 / levels.number
    weight = torch.where(usual > 0, levels.variance / usual, 0)
    weight = weight / weight.max().clamp(min=torch.finfo(weight.dtype).tiny)
    read_out = expected.amin(-1, keepdim=True)
    third, largest, least = (
        (x * weight).sum(-1)
        for x in (levels.third, UNEVEN * gain * expected, gain * (expected - read_out))
    )
    error = (weight.square() * usual).sum() + (SKEW_ERROR * third).square()
    beyond = (third - largest).clamp(min=0) + (least - third).clamp(min=0)
    off = beyond / error.clamp(min=torch.finfo(error.dtype).tiny).sqrt()
    cost = torch.where(off < HEAVY, off.square() / 2, HEAVY * (off - HEAVY / 2))
    return cost.clamp(max=SKEWED)


def _through_origin(
    levels: Levels,
) -> tuple[tuple[torch.Tensor, torch.Tensor], torch.Tensor, torch.Tensor]:
    """Gain without a shift and its error, and logarithms of the evidence for there being none, and
    of the best likelihood.

    A source that fluctuates, pixels of unequal sensitivity and fine structure add noise that is
    proportional to the intensity. It also bends the line upwards, as a pedestal does.
    """
    tiny = torch.finfo(levels.mean.dtype).tiny
    mean = levels.mean.clamp(min=0)
    middle = (levels.variance.sum() / mean.sum().clamp(min=tiny)).clamp(min=tiny)
    ratio = levels.variance / mean.clamp(min=tiny)
    some = ratio[(ratio > 0) & (ratio < FAR * middle)].log()
    low, high = (some.min(), some.max()) if len(some) else (middle.log(), middle.log())
    ends = float(low) - 0.5, float(high) + 0.5
    gains = torch.linspace(*ends, ORIGIN, dtype=mean.dtype).exp().to(mean)[:, None]
    unevenness = torch.logspace(*UNEVENNESS, dtype=mean.dtype).to(mean)
    unevenness = torch.cat([unevenness.new_zeros(1), unevenness])
    prior = torch.full_like(unevenness, UNEVEN_AT_ALL / (len(unevenness) - 1))
    prior[0] = 1 - UNEVEN_AT_ALL
    more = (unevenness[:, None] * mean).square()
    odds = _likelihood(levels, gains[..., None] * mean + more, gains, LOOSE * more) + prior.log()
    step = math.log((ends[1] - ends[0]) / (ORIGIN - 1))
    of_gains = torch.logsumexp(odds, 1)
    weight = torch.softmax(of_gains, 0)
    return _summary(gains[:, 0], weight), torch.logsumexp(of_gains, 0) + step, odds.max()


def _summary(values: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Median, and half the interval of 68 %."""
    order = values.argsort()
    sums = weight[order].cumsum(0)
    places = [int((sums < level).sum().clamp(max=len(order) - 1)) for level in QUANTILES]
    low, middle, high = (values[order[place]] for place in places)
    return middle, (high - low) / 2
