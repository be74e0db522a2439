"""Values that were cut off from below, as where negative ones were set to zero.

In the dark, read-out noise on both sides of zero then has a mean above zero. How many pixels have
the lowest value, and the mean of all, show how strong the noise was and where its mean lay:
for a mean of ``t`` standard deviations above the cut, ``h(t) = t Phi(t) + phi(t)`` standard
deviations remain of it, with the normal distribution ``Phi`` and its density ``phi``. Electrons, of
which there are few in the dark, are a Poisson number beside this noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from arpes_ml_plugins.constants import CUT_AT_CENTRE
from arpes_ml_plugins.denoising.interpolated import interpolated
from arpes_ml_plugins.denoising.noise_blocks import blocks_of
from arpes_ml_plugins.denoising.poisson import poisson_chances

__all__ = ["CutOff", "both", "cut_off_of", "pairs"]

BLOCK = 8  # pixels, side of the squares that are looked at
AT_FLOOR = 0.12, 0.7  # fraction of a square that has the lowest value
FEWEST = 8  # squares
TOGETHER = 0.9, 1.12  # neighbours that both have the lowest value, over those of independent ones
VARIANCE = 0.93, 1.15  # of the values, over that of normal noise that was cut off
SMALL = (0.85, 1.2), (0.85, 1.1)
"""Values close to the lowest one, over those of such noise without electrons, and with some: clouds
of charge, of which there are few in the dark, look much like the latter."""
CLOSE = 3  # mean of the values above the lowest one, over the largest that is close to it
COARSE = 3.0  # steps; counts and such noise of fewer look alike
BISECTIONS = 20
POINTS, REACH = 512, 8  # of a table; standard deviations and electrons to which it reaches
FINEST = 16  # smallest electrons, of the noise; finer ones would make no difference


@dataclass(frozen=True)
class CutOff:
    """Lower values than ``level`` were set to it."""

    level: torch.Tensor
    """The lowest value; NaN if none was cut off."""
    noise: torch.Tensor
    """Standard deviation of the noise of the read-out; NaN if none was cut off."""
    gain: float = 0.0
    """Intensity of an electron."""

    def restored(self, means: torch.Tensor) -> torch.Tensor:
        """Compute the means before from the means of values that were cut off.

        What lay below the level comes out at the level. Accurate to 1 % of the noise.

        Examples
        --------
        >>> noise = torch.randn(10_000, generator=torch.Generator().manual_seed(0))
        >>> mean = (noise + 0.5).clamp(min=0).mean()
        >>> cut = CutOff(torch.tensor(0.0), torch.tensor(1.0))
        >>> round(float(mean), 1), round(float(cut.restored(mean)), 1)
        (0.7, 0.5)
        """
        before, after, _ = _table(self.noise.cpu().double(), self.gain)
        found = interpolated(
            (means - self.level).cpu().double(), after, before
        )  # MPS has no float64
        return self.level + found.to(means)


def _table(noise: torch.Tensor, gain: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Means before and after, and the share of the values that were cut off, ``(points,)`` each.

    A Poisson number of electrons, each of the intensity ``gain``, and the noise of the read-out.
    """
    electron, number = _electrons(noise, gain)
    before = torch.linspace(0, 1, POINTS, dtype=noise.dtype, device=noise.device)
    before = before * REACH * (noise + electron)
    place, chance = number * electron / noise, poisson_chances(number, before / electron)
    below = torch.special.ndtr(-place)
    more = noise * (_density(place) - place * below)
    return before, before + chance @ more, chance @ below


def _electrons(noise: torch.Tensor, gain: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Intensity of an electron, and numbers of electrons beside this noise."""
    number = torch.arange(REACH * FINEST, dtype=noise.dtype, device=noise.device)
    return torch.as_tensor(gain).to(noise).maximum(noise / FINEST), number


def cut_off_of(
    images: torch.Tensor, valid: torch.Tensor, step: torch.Tensor, gain: float = 0.0
) -> CutOff:
    """Find out whether values were cut off; shapes ``(n, height, width)``.

    Few counts have one lowest value too, zero, but hardly any values close to it; interpolated ones
    have it at neighbours together. ``step`` is the number of which all values are multiples, or
    NaN; ``gain`` is the intensity of an electron; 0 if it is unknown.
    """
    nothing = CutOff(images.new_full((), torch.nan), images.new_full((), torch.nan))
    if not valid.any() or min(images.shape[-2:]) < BLOCK:
        return nothing
    level = images[valid].min()
    squares = blocks_of(torch.where(valid, images - level, torch.nan), BLOCK, BLOCK)
    squares = squares[squares.isfinite().all(-1).all(-1)]
    floor = squares == 0
    share = floor.to(squares).mean((-2, -1))
    chosen = (share > AT_FLOOR[0]) & (share < AT_FLOOR[1])
    if chosen.sum() < FEWEST:
        return nothing
    floor, share, squares = (x[chosen].cpu() for x in (floor, share, squares))
    share, step = share.double(), step.cpu().double()
    step = step.nan_to_num()  # what was rounded to the lowest value reaches half a step above
    squares = torch.where(floor, 0, squares.double() - step / 2)
    means = squares.mean((-2, -1))
    if not _agree((both(floor), BLOCK * (BLOCK - 1) * 2 * pairs(floor), TOGETHER), share):
        return nothing
    dark = means <= means.median()  # not by the share, of which chance would choose the largest
    spread = _read_out(means[dark], share[dark], gain)
    near = _near(means / (1 - share) / CLOSE, step)
    small = (squares > 0) & (squares < near[:, None, None])
    variance, small = squares.var((-2, -1)), small.to(squares).mean((-2, -1))
    models = _normal(means, share, near), _with_electrons(means, near, spread, gain)
    if not any(
        _agree((variance, square - means.square(), VARIANCE), share)
        and _agree((small, as_small, limits), share)
        for (square, as_small), limits in zip(models, SMALL, strict=True)
    ):
        return nothing
    return CutOff(level, spread.to(level), gain) if spread > COARSE * step else nothing


def _read_out(means: torch.Tensor, share: torch.Tensor, gain: float) -> torch.Tensor:
    """Noise of the read-out with which as many values are cut off from squares of these means as
    were seen; at most the one that leaves such means if there are no electrons.
    """
    high = means.mean() / CUT_AT_CENTRE
    low = high / FINEST
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        _, after, below = _table(middle, gain)
        too_many = interpolated(means, after, below).clamp(min=0).sum() > share.sum()
        low, high = (low, middle) if too_many else (middle, high)
    return middle


def _agree(
    comparison: tuple[torch.Tensor, torch.Tensor, tuple[float, float]], share: torch.Tensor
) -> bool:
    """Whether a quantity agrees with what is expected of it; in the dark squares, as others may
    contain structure.
    """
    found, expected, (low, high) = comparison
    dark = share >= share.median()
    return low < float(found[dark].sum() / expected[dark].sum()) < high


def _normal(
    means: torch.Tensor, share: torch.Tensor, near: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean square of normal noise that was cut off, with these means and this share of the lowest
    value, and the share of values above it that are less than ``near``.
    """
    place = -torch.special.ndtri(share)
    noise = means / (place * (1 - share) + _density(place))
    square = noise.square() * ((place.square() + 1) * (1 - share) + place * _density(place))
    return square, torch.special.ndtr(near / noise - place) - share


def _with_electrons(
    means: torch.Tensor, near: torch.Tensor, noise: torch.Tensor, gain: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same of a Poisson number of electrons and the ``noise`` of the read-out."""
    before, after, _ = _table(noise, gain)
    electron, number = _electrons(noise, gain)
    before_cut = interpolated(means, after, before).clamp(min=0)
    chance = poisson_chances(number, before_cut / electron)
    place = number * electron / noise
    above = torch.special.ndtr(place)
    square = noise.square() * ((place.square() + 1) * above + place * _density(place))
    low = torch.special.ndtr((near / noise)[:, None] - place) - torch.special.ndtr(-place)
    return chance @ square, (chance * low).sum(1)


def both(floor: torch.Tensor) -> torch.Tensor:
    """Number of pairs of neighbours in each square that both have the lowest value."""
    down, across = floor[:, 1:] & floor[:, :-1], floor[..., 1:] & floor[..., :-1]
    return down.sum((-2, -1)) + across.sum((-2, -1))


def pairs(floor: torch.Tensor) -> torch.Tensor:
    """Probability that two pixels of a square, drawn at random, both have the lowest value."""
    count, pixels = floor.sum((-2, -1)), BLOCK**2
    return count * (count - 1) / (pixels * (pixels - 1))


def _near(values: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    """The multiples of the step below ``values``; ``values`` themselves if there is no step."""
    return (values / step).floor() * step if step > 0 else values


def _density(place: torch.Tensor) -> torch.Tensor:
    return CUT_AT_CENTRE * (-place.square() / 2).exp()
