"""Estimate the noise of each value: the variance of counts is proportional to the intensity.

Second differences of neighbouring pixels, and residuals of a regression of one channel on all
others, do not depend on the components, so that a wrong separation does not raise the noise. Their
squares are averaged in classes: one channel in pixels of about one brightness. A line through these
variances is ``gain * intensity + read noise``. Differences are better if pixels are in order,
regression if they are not, or share their noise with their neighbours. If one number per channel
explains them better, it is used instead.

Nothing here depends on how large a single value is: of counts near zero, nearly all values are 0,
and neither their median nor their largest ones show their variance. Edges are recognised in other
channels than those whose variance is taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from arpes_ml_plugins.separation.complete import complete
from arpes_ml_plugins.separation.matching import signal_space
from arpes_ml_plugins.separation.raw_counts import units_per_count
from arpes_ml_plugins.separation.whiten import (
    APART,
    shared,
    shared_by_neighbours,
    spaced_groups,
    strips,
)

__all__ = ["Classes", "ValueNoise", "noise_and_classes", "noise_of_squares", "value_noise"]

BINS = 8  # of brightness
LEVELS = 64  # of intensity
MOST, LEAST_POSITIONS = 10_000, 2_500  # positions
MOST_VALUES = 300_000  # fewer positions of many channels: noise is known to a per cent then
FEWEST = 300  # differences in all
ENOUGH = 4  # pixels per channel for the regression
ALIKE = 1.05  # mean variances along two axes
IN_ORDER = 1.4  # times what other channels leave: more in differences is signal
SMOOTH = 0.2  # of the positions; where fewer are, others than these have edges that are not seen
EDGE = 0.5  # standard deviations that differences of a spectrum may be above their expectation
ODD = 5.0  # the same of residuals, which hold no edges
SPECTRA = 3  # strongest ones, along which edges are looked for
HOT = 100.0  # times the expected square
ROUNDS, REWEIGHTED = 8, 5
CERTAIN = 5.0  # standard errors of the gain
FLAT = 0.02  # of the mean variance: a channel with less has no more weight


@dataclass(frozen=True)
class ValueNoise:
    """``variance = gain * intensity + read``."""

    gain: float
    read: float
    mean: torch.Tensor
    """``(m,)``: mean spectrum of the data."""

    def variance(self, model: torch.Tensor) -> torch.Tensor:
        """Of values ``(m, t)`` with this expectation."""
        return self.gain * model.clamp(min=0) + self.read

    def at(self, channels: torch.Tensor | slice) -> ValueNoise:
        """The noise of some channels."""
        return replace(self, mean=self.mean[channels])

    @property
    def one_count(self) -> torch.Tensor:
        """``(m, 1)``: intensity of one more count, distributed as the mean spectrum."""
        mean = self.mean.clamp(min=FLAT * float(self.mean.mean()))
        return (self.gain * mean / mean.sum().clamp(min=1e-300))[:, None]

    def cautious(self, model: torch.Tensor) -> torch.Tensor:
        """Variance for weights and errors: one count in a pixel may as well have been two."""
        return self.variance(model.clamp(min=0) + self.one_count)

    @property
    def of_channels(self) -> torch.Tensor:
        """``(m,)``: mean variance of each channel, bounded below where there is hardly any."""
        variance = self.variance(self.mean)
        return variance.clamp(min=FLAT * float(variance.mean()))


@dataclass(frozen=True)
class _Squares:
    """Squares ``(m, p)`` whose expectation is the variance, and intensities they belong to."""

    square: torch.Tensor
    level: torch.Tensor
    known: torch.Tensor
    """``(m, p)``: 1, or 0 for missing values."""
    step: torch.Tensor | None = None
    """``(m, p)``: root of the squares with their sign, of differences."""


@dataclass(frozen=True)
class Classes:
    """Mean levels of classes of values, the variance of each, and the number of its values."""

    level: torch.Tensor  # (c,)
    variance: torch.Tensor
    number: torch.Tensor


@dataclass(frozen=True)
class _Line:
    gain: float
    read: float
    certain: bool
    """Whether the gain is significant, and the line explains more than one number per channel."""
    share: float
    """Of the positions, where there are no edges."""
    classes: Classes
    """What the line was fitted to."""

    def at(self, intensity: float) -> float:
        """Variance."""
        return self.gain * intensity + self.read


def value_noise(cube: torch.Tensor, valid: torch.Tensor) -> ValueNoise | None:
    """The noise of values ``(m, *space)``, or None if one number per channel is as good.

    Also None if there are too few pixels for an estimate.
    """
    return noise_and_classes(cube, valid)[0]


def noise_and_classes(
    cube: torch.Tensor, valid: torch.Tensor
) -> tuple[ValueNoise | None, Classes | None]:
    """The same, and how variances depend on intensity; None if there are too few pixels to tell.

    Raw counts have the noise of counts, also where there are too few pixels to measure it.
    """
    mean, best = _best_line(cube, valid)
    if best is None:
        step = units_per_count(cube, valid)
        return (None if step is None else ValueNoise(step, 0.0, mean)), None
    if not best.certain:
        return None, best.classes
    # To fewer digits than rounding in sums reaches, so that a replay is the same to the last bit.
    gain, read = (float(f"{x:.5g}") for x in (best.gain, best.read))
    return ValueNoise(gain, read, mean), best.classes


def noise_of_squares(
    square: torch.Tensor, level: torch.Tensor, known: torch.Tensor
) -> ValueNoise | None:
    """The noise of values ``(m, t)`` whose ``square`` is expected to be their variance at a
    ``level``; None if one variance for all is likelier, by the Bayesian criterion.

    For pixels that are too few to be compared with each other.
    """
    used = known & (level > 0)
    levels, squares = level[used], square[used]
    if not bool((squares > 0).any()):
        return None
    gain, read, _ = _fitted(levels, squares, torch.ones_like(levels))
    one = squares.mean()
    line = (gain * levels + read).clamp(min=1e-6 * float(one))
    better = (one.log() + 1 - line.log() - squares / line).sum() / 2
    if not float(better) > (math.log(len(levels)) / 2 if read > 0 else 0.0):
        return None
    mean = (level * known).sum(1) / known.sum(1).clamp(min=1)
    return ValueNoise(gain, read, mean)


def _best_line(cube: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, _Line | None]:
    """Mean spectrum, and the line of the noise; None if there are too few values."""
    number = valid.flatten(1).sum(1).clamp(min=1)
    mean = (cube * valid).flatten(1).sum(1) / number
    cube, valid = strips(cube, valid)
    neighbours = shared_by_neighbours(cube, complete(valid), valid)
    ordered = () if neighbours.correlation else _differences(cube, valid)
    along = [line for part in ordered if (line := _line(part)) is not None]
    scale = float(mean.mean())
    best = _best(along, scale)
    rest = _unexplained(cube, valid, neighbours.alike)
    if rest is not None:
        most = IN_ORDER * float((rest.square * rest.known).sum() / rest.known.sum())
        if best is None or best.share < SMOOTH or best.at(scale) > most:
            best = _line(rest)
    return mean, best


def _best(along: list[_Line], scale: float) -> _Line | None:
    """Along edges and gradients only one axis is right; the mean where several agree."""
    least = min((line.at(scale) for line in along), default=0.0)
    alike = [line for line in along if line.at(scale) <= ALIKE * least]
    if not alike:
        return None
    gain, read, share = (
        sum(getattr(line, name) for line in alike) / len(alike)
        for name in ("gain", "read", "share")
    )
    classes = Classes(
        *(
            torch.cat([getattr(line.classes, name) for line in alike])
            for name in ("level", "variance", "number")
        )
    )
    return _Line(gain, read, all(line.certain for line in alike), share, classes)


def _differences(cube: torch.Tensor, valid: torch.Tensor) -> Iterator[_Squares]:
    """A sixth of the squared second differences along each axis, and the mean of three values.

    First differences would hold gradients. For counts the expectation of the square is the mean
    even where both are known.
    """
    space = cube.shape[1:]
    place = torch.arange(math.prod(space), device=cube.device).reshape(space)
    flat, whole = cube.flatten(1), valid.flatten(1)
    for axis, length in enumerate(space):
        if length < 3:
            continue
        first = place.narrow(axis, 0, length - 2).flatten()
        first = first[_spaced(len(cube), len(first))]
        three = [first + k * math.prod(space[axis + 1 :]) for k in range(3)]
        left, middle, right = (flat[:, where] for where in three)
        inside = whole[:, three[0]] & whole[:, three[1]] & whole[:, three[2]]
        step = (left - 2 * middle + right) / 6**0.5
        yield _Squares(step.square(), (left + middle + right) / 3, inside.to(cube), step)


def _spaced(channels: int, positions: int) -> slice:
    """Enough of the positions to know the noise."""
    most = min(MOST, max(LEAST_POSITIONS, MOST_VALUES // channels))
    return slice(None, None, max(1, positions // most))


def _unexplained(cube: torch.Tensor, valid: torch.Tensor, alike: float) -> _Squares | None:
    """The same from residuals of each channel on others, for pixels in any order, of which as many
    as are ``alike`` tell as much as one.
    """
    flat = cube.flatten(1)[:, complete(valid).flatten()]
    alive = (flat.amax(1) > flat.amin(1)) if flat.numel() else valid.flatten(1).any(1)
    flat = flat[alive]
    pixels = flat.shape[1] / alike
    if len(flat) < 2 or pixels < ENOUGH * len(flat):
        return None
    close, far = _of_others(flat, 1, pixels), _of_others(flat, APART, pixels)
    if close is None or far is None:
        return close
    return far if shared(close.square.mean(1), far.square.mean(1)) else close


def _of_others(flat: torch.Tensor, apart: int, pixels: float) -> _Squares | None:
    """Regressed on others that are ``apart``."""
    some = _spaced(*flat.shape)
    square, level = torch.empty_like(flat[:, some]), torch.empty_like(flat[:, some])
    every = torch.arange(len(flat), device=flat.device)
    for group in spaced_groups(every, pixels, apart):
        part = _residuals(flat[group], some, pixels)
        if part is None:
            return None
        square[group], level[group] = part
    return _Squares(square, level, torch.ones_like(level))


def _residuals(
    flat: torch.Tensor, some: slice, pixels: float
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Squared residuals of each channel on all others, and what these explain, of some pixels."""
    centred = flat - flat.mean(1, keepdim=True)
    scale = centred.square().mean(1, keepdim=True).sqrt()
    covariance = torch.cov(centred / scale)
    if float(torch.linalg.eigvalsh(covariance)[0]) < 1e-12 * len(flat):  # no noise
        return None
    precision = torch.linalg.inv(covariance)
    lost = pixels / (pixels - len(flat))
    # The other channels hold noise too: they do not explain all of the signal of a channel.
    noise = scale * (lost / precision.diagonal()[:, None]).sqrt()
    space = signal_space(flat / noise)
    own = (1 - space.directions.square() @ space.reliability).clamp(min=0.1)[:, None]
    flat, centred = flat[:, some], centred[:, some]
    rest = (precision @ (centred / scale)) / precision.diagonal()[:, None] * scale
    return rest.square() * lost * own, flat - rest


def _line(part: _Squares) -> _Line | None:
    """Gain and read noise; None if there are too few values."""
    if float(part.known.sum()) < FEWEST:
        return None
    parity = torch.arange(len(part.square), device=part.square.device) // 2 % 2 == 1
    in_bin = _brightness(part)
    known, kept = part.known, part.known
    for number in range(ROUNDS):
        count, levels, variances = _classes(part, kept, in_bin)
        gain, read, error = _fitted(levels, variances, count)
        if gain <= 0 and read <= 0:
            return None
        # Not each by its own variance: that of a dark channel is nearly zero.
        channels = (gain * levels + read).mean(1, keepdim=True).clamp(min=0)
        weight = 1 / channels.clamp(min=FLAT * float(channels.mean()) or 1.0)
        expected = (gain * levels.clamp(min=0) + read)[:, in_bin.argmax(1)]
        if number == 0:  # edges do not reach the median
            ratio = (weight * part.square * known).sum(0) / (weight * expected * known).sum(0)
            scale = min(1.0, float(ratio.nanmedian()))
            gain, read, expected = gain * scale, read * scale, expected * scale
        before = kept
        kept = known * (part.square <= HOT * (expected + gain**2))
        expected = gain * part.level.clamp(min=0) + read
        smooth = torch.empty_like(kept)
        for own, other in ((parity, ~parity), (~parity, parity)):
            smooth[own] = _without_edges(part, other, expected, weight, gain)[None]
        kept = kept * smooth
        if float(kept.sum()) < FEWEST:  # edges everywhere
            return None
        if bool((kept == before).all()):
            break
    count, levels, variances = _classes(part, kept, in_bin)
    gain, read, error = _fitted(levels, variances, count)
    certain = gain > CERTAIN * error and _beats_channels(gain, read, levels, variances, count)
    share = float(kept.sum() / known.sum())
    return _Line(gain, read, certain, share, _classes_of_level(part, kept))


def _classes_of_level(part: _Squares, kept: torch.Tensor) -> Classes:
    """Classes of values whose neighbours in energy have about one level.

    Bright pixels of different materials have different levels in a channel; a mean over them would
    hide a variance that does not follow a line.
    """
    above = torch.cat([part.level[1:2], part.level[:-1]])
    below = torch.cat([part.level[1:], part.level[-2:-1]])
    guide = (above + below) / 2
    top = guide[kept > 0].max().clamp(min=1e-300)
    place = (guide / top * LEVELS).long().clamp(0, LEVELS - 1).flatten()
    sums = [
        x.new_zeros(LEVELS).index_add(0, place, x.flatten())
        for x in (kept, part.level * kept, part.square * kept)
    ]
    there = sums[0] > 0
    number, level, square = (x[there] for x in sums)
    return Classes(level / number, square / number, number)


def _brightness(part: _Squares) -> torch.Tensor:
    """Which of a few classes of brightness each position belongs to, ``(p, bins)`` of 0 and 1."""
    mean = (part.level * part.known).sum(0) / part.known.sum(0).clamp(min=1)
    share = torch.linspace(0, 1, BINS + 1, device="cpu")[1:-1].to(mean)
    number = torch.bucketize(mean, torch.quantile(mean[:: max(1, len(mean) // 100_000)], share))
    return torch.nn.functional.one_hot(number, BINS).to(mean)


def _classes(
    part: _Squares, kept: torch.Tensor, in_bin: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Number, mean level and mean square of the values of each class, ``(m, bins)``."""
    count = kept @ in_bin
    return (
        count,
        (part.level * kept) @ in_bin / count.clamp(min=1),
        (part.square * kept) @ in_bin / count.clamp(min=1),
    )


def _without_edges(
    part: _Squares,
    channels: torch.Tensor,
    expected: torch.Tensor,
    weight: torch.Tensor,
    gain: float,
) -> torch.Tensor:
    """Positions ``(p,)`` where differences in some channels are not larger than by chance: neither
    in all of these together nor along the strongest spectra in the data.
    """
    known, variance, scale = part.known[channels], expected[channels], weight[channels]
    excess = (scale * known * (part.square[channels] - variance)).sum(0)
    spread = scale.square() * known * (2 * variance + gain**2 / 2) * variance
    inside = excess <= (ODD if part.step is None else EDGE) * spread.sum(0).sqrt()
    if part.step is not None:
        level, step = (scale.sqrt() * known * x[channels] for x in (part.level, part.step))
        spectra = torch.linalg.eigh(level @ level.mT).eigenvectors[:, -SPECTRA:]
        of_noise = spectra.square().mT @ (scale * known * variance)
        along = (spectra.mT @ step).square() / of_noise.clamp(min=1e-300)
        inside &= (along <= 1 + EDGE * 2**0.5).all(0)
    return inside.to(known)


def _fitted(
    levels: torch.Tensor, variances: torch.Tensor, count: torch.Tensor
) -> tuple[float, float, float]:
    """Gain, read noise, neither negative, and the standard error of the gain, by weighted least
    squares.
    """
    used = count > 0
    x, y, number = levels[used].clamp(min=0), variances[used], count[used]
    if not bool((x > 0).any()) or not bool((y > 0).any()):  # negative data, or without noise
        return 0.0, float(y.mean()) if len(y) else 0.0, float("inf")
    unit = float(x.max())  # the fourth power of a variance has to be a number
    x, y = x / unit, y / unit**2
    least = 1e-12 * float(y.max()) or 1e-300
    gain, read = float((y * number).sum() / (x * number).sum().clamp(min=1e-300)), 0.0
    for _ in range(REWEIGHTED):
        expected = (gain * x + read).clamp(min=least)
        weight = number / (2 * expected.square() + gain**2 * expected / 2)
        one, two, three = (float((weight * power).sum()) for power in (1, x, x.square()))
        pull = float((weight * y).sum()), float((weight * x * y).sum())
        size = one * three - two**2
        error, uncertain = float("inf"), True
        if size > 1e-9 * one * three:  # levels differ
            gain, read = (
                (one * pull[1] - two * pull[0]) / size,
                (three * pull[0] - two * pull[1]) / size,
            )
            error, uncertain = (one / size) ** 0.5, read < CERTAIN * (three / size) ** 0.5
        if uncertain:  # then counts alone: pixels without any have no noise
            read, gain = 0.0, pull[1] / max(three, 1e-300)
            error = max(three, 1e-300) ** -0.5
        if gain < 0:
            gain, read = 0.0, pull[0] / one
    return gain * unit, read * unit**2, error * unit


def _beats_channels(
    gain: float, read: float, levels: torch.Tensor, variances: torch.Tensor, count: torch.Tensor
) -> bool:
    """Whether the line is likelier than a variance for each channel, by the Bayesian criterion."""
    channels = (variances * count).sum(1) / count.sum(1).clamp(min=1)
    used = (count > 0) & (channels > 0)[:, None]
    expected = (gain * levels.clamp(min=0) + read).clamp(min=1e-6 * float(channels.mean()))
    # Squares of few counts scatter more than those of normal noise, and tell less.
    number = count / (1 + gain**2 / (4 * expected))

    def likelihood(variance: torch.Tensor) -> float:
        each = number * (variance.log() + variances / variance)
        return -float(each[used].sum()) / 2

    more = int((channels > 0).sum()) - 2
    penalty = more * float(number[used].sum().log()) / 2
    return likelihood(expected) > likelihood(channels[:, None].expand_as(expected)) - penalty
