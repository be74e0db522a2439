"""Which of the images before and after one in a series show nearly the same scene as it does.

A network that looks at neighbours smears what changes abruptly, and uses them only if some are on
both sides. Neighbours that are unlike the image, though others are alike, are therefore left out;
and those that are missing are replaced by others that are alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

__all__ = ["alike", "without_copies"]

BIN = 4  # pixels, over which images are added before they are compared
CERTAIN = 5.0  # standard errors by which the scene must have changed
MUCH = 4.0  # times the squared change that is seen between other images
LIKE = 2.0  # standard errors, below which no change is seen
BRIGHTER = 4.0  # times the counts of the image, beyond which others do not help it
NOISIER = 2.0  # times the relative variance of the image, in the same way
TINY = 1e-9


def alike(
    images: torch.Tensor, valid: torch.Tensor, beside: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    """``beside`` without what is unlike ``images``, and others in the place of what is missing.

    Parameters
    ----------
    images, valid
        Counts, ``(n, height, width)``, and a mask.
    beside
        Mean counts of groups of images before and after each, from the farthest before it to the
        farthest after it, ``(n, groups, height, width)``; NaN where there are none.
    weight
        Number of images of as many counts in each group, ``(n, groups, height, width)``.
    """
    compared = _Compared.of(images, valid, beside, weight)
    change, error = compared.changes()
    other_side = change.flip(1), error.flip(1)
    following = _following(change), _following(error)
    others = other_side, following, compared.across(), compared.farther()
    kept = ~_unlike(change, error, *others) & compared.comparable()
    return _filled(beside, kept, kept & (change < LIKE * error))


def without_copies(images: torch.Tensor, places: torch.Tensor | None) -> torch.Tensor | None:
    """Indices of ``images (n, height, width)`` in their series, as if those that are equal to the
    one before them did not follow it: a copy has the same noise, and says nothing new.

    Examples
    --------
    >>> images = torch.arange(3.0).repeat_interleave(2)[:, None, None]
    >>> without_copies(images, None).diff() == 1
    tensor([False,  True, False,  True, False])
    """
    copies = (images[1:] == images[:-1]).flatten(1).all(1)
    if not copies.any():
        return places
    if places is None:
        places = torch.arange(len(images), device=images.device)
    return places + len(images) * F.pad(copies.cumsum(0), (1, 0))


def _unlike(
    change: torch.Tensor, error: torch.Tensor, *others: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    """Groups to which the change from the image is larger than one of the ``others``, each with its
    error, which is what is usual here. They are infinite where there is nothing to compare.
    """
    unlike = torch.zeros_like(change, dtype=torch.bool)
    for usual, usual_error in others:
        chance = (error.square() + (MUCH * usual_error).square()).sqrt()
        unlike |= change - MUCH * usual.clamp(min=0) > CERTAIN * chance
    return unlike


def _filled(beside: torch.Tensor, kept: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """What is not ``kept`` is taken from farther away on the same side; otherwise from the same
    distance on the other side, if that is ``like`` the image.
    """
    groups = beside.shape[1]
    order = torch.arange(groups, device=beside.device)
    source = torch.where(kept, order, -1)
    for near in range(1, groups // 2):  # from the second farthest to the nearest
        for place, farther in ((near, near - 1), (groups - 1 - near, groups - near)):
            missing = source[:, place] < 0
            source[:, place] = torch.where(missing, source[:, farther], source[:, place])
    reflected = torch.where(like, order, -1).flip(1)
    source = torch.where(source < 0, reflected, source)
    taken = beside.gather(1, source.clamp(min=0)[:, :, None, None].expand_as(beside))
    return torch.where(source[:, :, None, None] < 0, torch.nan, taken)


@dataclass(frozen=True)
class _Compared:
    """Images and the groups beside them, in bins of the pixels that are known in all."""

    own: torch.Tensor  # (n, 1, rows, columns)
    groups: torch.Tensor  # (n, groups, rows, columns), with as many counts in all as the image
    ratio: torch.Tensor  # (n, groups)
    """Counts of the image over those of an image of a group."""
    variance: torch.Tensor  # (n, groups)
    """Of the values of ``groups``, over these."""

    @classmethod
    def of(
        cls, images: torch.Tensor, valid: torch.Tensor, beside: torch.Tensor, weight: torch.Tensor
    ) -> _Compared:
        finite = beside.isfinite()
        there = finite.flatten(2).any(2)[:, :, None, None]
        common = valid & (finite | ~there).all(1)
        own = _binned(torch.where(common, images, 0).clamp(min=0)[:, None])
        groups = _binned(torch.where(common[:, None] & there, beside, 0).clamp(min=0))
        ratio = own.sum((2, 3)) / groups.sum((2, 3))
        pixels = common.sum((1, 2)).clamp(min=1)[:, None]
        number = torch.where(common[:, None], weight, 0).sum((2, 3)) / pixels
        scaled = groups * ratio.nan_to_num(0, 0, 0)[:, :, None, None]
        return cls(own, scaled, ratio, ratio / number)

    def changes(self) -> tuple[torch.Tensor, torch.Tensor]:
        """How much each group differs from the image, and the error of that, ``(n, groups)``."""
        return _change(self.own, self.groups, 1.0, self.variance)

    def across(self) -> tuple[torch.Tensor, torch.Tensor]:
        """How much each group differs from that on the other side."""
        return _change(self.groups, self.groups.flip(1), self.variance, self.variance.flip(1))

    def farther(self) -> tuple[torch.Tensor, torch.Tensor]:
        """How much each group differs from the next one on its side; infinite for the farthest."""
        groups, variance = _following(self.groups), _following(self.variance)
        return _change(self.groups, groups, self.variance, variance)

    def comparable(self) -> torch.Tensor:
        """Whether a group has about as many counts as the image, ``(n, groups)``."""
        number = self.own.sum((2, 3))
        chance = LIKE * ((1 + self.variance) / number).sqrt()
        ratio = self.ratio.log()
        few = self.variance > NOISIER * self.ratio
        return (ratio < math.log(NOISIER) + chance) & (ratio > -math.log(BRIGHTER) - chance) & ~few


def _following(values: torch.Tensor) -> torch.Tensor:
    """Values ``(n, groups, ...)`` of the next group away from the image; infinite for the last."""
    size = values.shape[1] // 2
    none = torch.full_like(values[:, :1], math.inf)
    return torch.cat([none, values[:, : size - 1], values[:, size + 1 :], none], 1)


def _change(
    first: torch.Tensor,
    second: torch.Tensor,
    variance: torch.Tensor | float,
    other_variance: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Squared difference in counts beyond that of the noise, and its error."""
    total = first + second
    seen = total > 0
    squares = torch.where(seen, (first - second).square() / total.clamp(min=TINY), 0).sum((2, 3))
    expected = (variance + other_variance) / 2  # each, if both are of the same scene
    bins = seen.sum((2, 3))
    return squares - expected * bins, expected * (2 * bins).sqrt()


def _binned(images: torch.Tensor) -> torch.Tensor:
    """Sums of bins; those at the end are of fewer pixels."""
    height, width = images.shape[-2:]
    padded = F.pad(images, (0, -width % BIN, 0, -height % BIN))
    return F.avg_pool2d(padded, BIN) * BIN**2
