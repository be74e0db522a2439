"""Add weak replicas of bands: copies of the image's own structure, shifted or mirrored.

Shadow bands, umklapp and final-state replicas, and folded bands are copies of a strong band at
another place along one axis. If such a copy is weak everywhere, a network takes it for noise,
although all its pixels together may be significant. It is found with a matched filter on the
residual, whose template is the structure of the clean image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from arpes_ml_plugins.denoising.gaussian_means import gaussian_mean
from arpes_ml_plugins.denoising.neighbourhoods import highest_around

__all__ = ["recover_replicas", "replica_strengths"]

WIDEST = 25  # pixels; what is wider is background, and no part of the template
SMOOTH = 8.0  # pixels, of the Gaussian mean that is taken off, so that a slope is no replica
DARK = 1e-3  # of the mean intensity, added to the variance
SIGNIFICANCE = 4.1  # standard deviations; hundreds of shifts are tried
OF_SERIES = 5.0  # the same in each of many images, of which one may be wrong by chance
CALM = 0.75  # least standard deviation: the residual of a network that fits noise has less
ALIKE = 0.3  # correlation of a copy with the structure itself, above which it is no copy
INSIDE = 0.3  # of the template's information that must lie in the image
WEAK = 0.3  # of the structure, above which a network would have seen it: no replica
ROUNDS = 3  # replicas of an image


@dataclass(frozen=True)
class Replica:
    """A copy of an image's structure at another place, and how certain it is."""

    score: float  # standard deviations
    skewness: float  # of the noise of the score
    strength: float  # intensity relative to the structure that is copied
    axis: int  # -2: rows shift, -1: columns
    shift: int  # pixels, of the mirrored image if mirrored
    mirrored: bool

    @property
    def significance(self) -> float:
        """Standard deviations of a Gaussian score that is as unlikely.

        Few electrons under bright places of the copy exceed their mean more often than Gaussian
        noise does: Bernstein's bound, with the third cumulant in place of the largest term.
        """
        return self.score / math.sqrt(1 + self.skewness * max(self.score, 0.0) / 3)

    def copied(self, structure: torch.Tensor) -> torch.Tensor:
        """The copy of ``structure``, ``(height, width)``, with zeros where nothing is copied."""
        source = structure.flip(self.axis) if self.mirrored else structure
        size = source.shape[self.axis]
        moved = torch.zeros_like(source)
        to, of = max(self.shift, 0), max(-self.shift, 0)
        length = size - abs(self.shift)
        moved.narrow(self.axis, to, length).copy_(source.narrow(self.axis, of, length))
        return self.strength * moved


def recover_replicas(
    counts: torch.Tensor, clean: torch.Tensor, valid: torch.Tensor, *, series: bool = False
) -> torch.Tensor:
    """``clean`` plus the replicas of its structure that are significant in ``counts - clean``.

    Only what the clean image lacks is added. A replica must stand out by 4.1 standard deviations,
    measured where the same filter finds less than nothing; by 5 in images of a ``series``.

    Parameters
    ----------
    counts, clean, valid
        Shape ``(n, height, width)``, in electrons: the variance is the mean.

    Examples
    --------
    >>> rows, columns = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    >>> main, copy = (1 / (1 + ((columns - at - rows / 4) / 2) ** 2) for at in (15, 60))
    >>> clean = (60 * main + 3)[None]
    >>> counts = torch.poisson(clean + 2 * copy, generator=torch.Generator().manual_seed(0))
    >>> added = recover_replicas(counts, clean, torch.ones_like(clean, dtype=torch.bool)) - clean
    >>> 1.5 < float((added * copy).sum() / copy.square().sum()) < 2.5
    True
    """
    least = OF_SERIES if series else SIGNIFICANCE
    for _ in range(ROUNDS):
        structure = _structure(clean, valid)
        added = [
            replica.copied(one) if replica.significance > least else torch.zeros_like(one)
            for replica, one in zip(
                _strongest(counts, clean, valid, structure), structure, strict=True
            )
        ]
        if not any(bool(one.any()) for one in added):
            break
        clean = torch.where(valid, clean + torch.stack(added), clean)
    return clean


def replica_strengths(
    counts: torch.Tensor, clean: torch.Tensor, valid: torch.Tensor, *, series: bool = False
) -> torch.Tensor:
    """Strength of the first replica that :func:`recover_replicas` adds, ``(n,)``.

    NaN for images that lack no replica.
    """
    strongest = _strongest(counts, clean, valid, _structure(clean, valid))
    least = OF_SERIES if series else SIGNIFICANCE
    strengths = [one.strength if one.significance > least else math.nan for one in strongest]
    return torch.tensor(strengths, dtype=torch.float64, device="cpu")


def _structure(clean: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Structure above a background that is smooth over the widest structure."""
    low = -highest_around(-clean, WIDEST)[:, None]
    everywhere = torch.ones_like(low)
    background = torch.minimum(gaussian_mean(low, everywhere, SMOOTH)[:, 0], clean)
    return torch.where(valid, clean - background, 0)


def _strongest(
    counts: torch.Tensor, clean: torch.Tensor, valid: torch.Tensor, structure: torch.Tensor
) -> list[Replica]:
    """The most significant copy of its ``structure`` that each image lacks."""
    mask = valid.to(clean)
    smooth = gaussian_mean(structure[:, None], mask[:, None], SMOOTH)[:, 0]
    template = torch.where(valid, structure - smooth, 0)
    mean = torch.where(valid, clean, 0).mean((-2, -1), keepdim=True)
    variance = clean.clamp(min=0) + DARK * mean.clamp(min=torch.finfo(clean.dtype).tiny)
    weight = mask / variance
    images = (counts - clean) * weight, weight, weight * template, weight.square()
    own = (weight * template.square()).sum((-2, -1))[:, None]
    best: list[Replica] = []
    for axis in (-2, -1):
        spectra = [_spectrum(image, axis) for image in images]
        for mirrored in (False, True):
            copies = [x.flip(axis) if mirrored else x for x in (template, structure)]
            strength, score, skewness = _filtered(spectra, copies, own, axis)
            highest, place = score.max(-1)
            at_place = (x.gather(-1, place[:, None])[:, 0] for x in (skewness, strength))
            found = [x.tolist() for x in (highest, *at_place, place)]
            best_here = [
                Replica(z, skew, one, axis, at - clean.shape[axis] + 1, mirrored)
                for z, skew, one, at in zip(*found, strict=True)
            ]
            best = [
                max(pair, key=lambda one: one.score)
                for pair in zip(best or best_here, best_here, strict=True)
            ]
    return best


def _filtered(
    images: list[torch.Tensor], copies: list[torch.Tensor], own: torch.Tensor, axis: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Strength of the copy at each shift, in standard deviations too, and the skewness of the
    noise; ``(n, 2 size - 1)``.

    Weighted least squares: the copy's overlap with the residual over that with itself.

    Parameters
    ----------
    images
        Spectra of four images: weight times residual, weight, weight times template, and the square
        of the weight.
    copies
        Template and structure, mirrored or not.
    own
        Information on the template at its own place, ``(n, 1)``.
    """
    residual, weight, template, square = images
    copy, whole_copy = copies
    size = copy.shape[axis]
    spectrum = _spectrum(copy, axis)
    found, same = (_overlaps(image, spectrum, size) for image in (residual, template))
    information = _overlaps(weight, _spectrum(copy.square(), axis), size).clamp(min=0)
    # What is missing is a share of the structure, of which the template is a part.
    response = _overlaps(weight, _spectrum(copy * whole_copy, axis), size)
    most = information.amax(-1, keepdim=True)
    tiny = torch.finfo(found.dtype).tiny
    tried = (information > INSIDE * most) & (most > 0)
    tried &= same.abs() < ALIKE * (information * own).sqrt()
    strength = found / torch.maximum(response, information).clamp(min=tiny)
    score = torch.where(tried, found / information.clamp(min=tiny).sqrt(), 0)
    below = score < 0
    spread = (score.square() * below).sum(-1, keepdim=True) / below.sum(-1, keepdim=True).clamp(1)
    score = torch.where(strength < WEAK, score / spread.sqrt().clamp(min=CALM), 0)
    third = _overlaps(square, _spectrum(copy**3, axis), size).clamp(min=0)
    skewness = third / information.clamp(min=tiny) ** 1.5
    return strength, score, skewness


def _spectrum(values: torch.Tensor, axis: int) -> torch.Tensor:
    """Along ``axis``, moved to the end and filled up with zeros, so that nothing wraps around."""
    return torch.fft.rfft(values.movedim(axis, -1), 2 * values.shape[axis])


def _overlaps(image: torch.Tensor, copy: torch.Tensor, size: int) -> torch.Tensor:
    """Sums of the image times the copy, this shifted by 1 - size ... size - 1; from spectra."""
    sums = torch.fft.irfft((image * copy.conj()).sum(-2), 2 * size)
    return torch.cat([sums[..., size + 1 :], sums[..., :size]], -1)
