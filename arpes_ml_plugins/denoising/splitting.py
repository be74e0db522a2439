"""Count splitting: two independent images of one scene from one image.

Poisson counts ``y`` split at random into ``y1 ~ Binomial(y, p)`` and ``y2 = y - y1``, which are
independent of each other given the scene. A network that predicts ``y2`` from ``y1`` therefore
learns the scene and cannot learn the noise, and ``y2`` tests what was made of ``y1``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from arpes_ml_plugins.denoising.alike import alike
from arpes_ml_plugins.denoising.counts_network import BESIDE
from arpes_ml_plugins.denoising.flux import irregular_flux, mean_counts
from arpes_ml_plugins.report import Report

__all__ = ["Counts", "gained", "log_likelihood", "predict", "split", "whole_counts"]

DARKEST = 1e-6  # counts; keeps logarithms finite


@dataclass(frozen=True)
class Counts:
    """Integer counts of a series of images, or of one."""

    images: torch.Tensor  # (n, height, width)
    valid: torch.Tensor  # same shape, bool
    reach: int = 0
    """Images on either side of each that the network sees beside it; none if they are no series."""
    places: torch.Tensor | None = None  # (n,)
    """Indices of the images in the whole series; only consecutive ones are neighbours."""
    own: torch.Tensor | None = None  # (k,)
    """Images that are to be predicted, the others being their neighbours; all by default."""
    brightness: torch.Tensor | None = None  # (n, height or 1, width or 1)
    """Counts that images have of one and the same scene, relative to each other. By default it
    comes from the images, if it is irregular, and is 1 otherwise."""
    series: bool = False
    """Whether the images are some of many, of which one may look unusual by chance."""

    def __len__(self) -> int:
        return len(self.images)

    def neighbours(self, index: torch.Tensor) -> torch.Tensor | None:
        """Means of the images in each group beside those at ``index``; NaN where there are none.

        The shape is ``(len(index), 8, height, width)``.
        """
        if not self.reach:
            return None
        return self._beside(index)[0]

    def alike(self, index: torch.Tensor) -> torch.Tensor | None:
        """The same of those neighbours that show nearly the scene of the images at ``index``."""
        if not self.reach:
            return None
        return alike(self.images[index], self.valid[index], *self._beside(index))

    def _beside(self, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Means of the groups, and how many images of as many counts they have."""
        groups = [self._mean_beside(index, *group) for group in BESIDE]
        means, numbers = zip(*groups, strict=True)
        return torch.stack(means, 1), torch.stack(numbers, 1)

    def _mean_beside(
        self, index: torch.Tensor, first: int, last: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        away = torch.arange(first, last + 1, device=index.device)
        beside = index[:, None] + away
        inside = (beside >= 0) & (beside < len(self)) & (away.abs() <= self.reach)
        beside = beside.clamp(0, len(self) - 1)
        if self.places is not None:
            inside &= self.places[beside] - self.places[index][:, None] == away
        usable = self.valid[beside] & inside[:, :, None, None]
        total = torch.where(usable, self.images[beside], 0).sum(1)
        number = (usable * self._relative(index, beside)).sum(1)
        return total / number, number

    def _relative(self, index: torch.Tensor, beside: torch.Tensor) -> torch.Tensor:
        """Counts of one and the same scene in images ``beside (k, n)``, over those in the images at
        ``index (k,)``: ``(k, n, height or 1, width or 1)``.
        """
        if self.brightness is not None:
            return self.brightness[beside] / self.brightness[index][:, None]
        mean, irregular = self._flux
        relative = torch.where(irregular[index][:, None], mean[beside] / mean[index][:, None], 1.0)
        return relative[:, :, None, None]

    @cached_property
    def _flux(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean counts of the images, and whether they are irregular, ``(n,)`` each."""
        mean = mean_counts(self.images, self.valid)
        irregular = irregular_flux(mean, self.valid.sum((1, 2)), self.places)
        return mean.clamp(min=DARKEST).to(self.images), irregular

    def wanted(self) -> torch.Tensor:
        """Indices of the images that are to be predicted."""
        everything = torch.arange(len(self), device=self.images.device)
        return everything if self.own is None else self.own

    def predicted(self) -> Counts:
        """The images that are to be predicted, without their neighbours."""
        if self.own is None:
            return self
        return Counts(self.images[self.own], self.valid[self.own])

    def flipped(self, dims: list[int]) -> Counts:
        bright = None if self.brightness is None else self.brightness.flip(dims)
        images, valid = self.images.flip(dims), self.valid.flip(dims)
        return replace(self, images=images, valid=valid, brightness=bright)


def whole_counts(electrons: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Numbers of electrons, rounded up or down at random so that their mean stays.

    Negative ones, as with noise of the read-out, become zero.
    """
    electrons = electrons.clamp(min=0)
    nearest = electrons.round()
    exact = (electrons - nearest).abs() <= 1e-4
    up = torch.rand(electrons.shape, generator=generator, dtype=electrons.dtype, device="cpu")
    dithered = (electrons + up.to(electrons.device)).floor()
    return torch.where(exact, nearest, dithered).float()


def split(counts: Counts, fraction: float, generator: torch.Generator) -> tuple[Counts, Counts]:
    """Two independent images of the same scene, with ``fraction`` and the rest of the counts."""
    cpu = counts.images.cpu()
    first = torch.binomial(cpu, torch.full_like(cpu, fraction), generator=generator)
    first = first.to(counts.images.device)
    return replace(counts, images=first), replace(counts, images=counts.images - first)


def log_likelihood(rate: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Poisson, without the term that no rate changes."""
    return torch.xlogy(counts, rate.clamp(min=DARKEST)) - rate


def gained(rate: torch.Tensor, other: torch.Tensor, counts: Counts) -> tuple[float, float]:
    """Gain of the log-likelihood of ``counts`` per pixel from ``other`` to ``rate``; its error."""
    difference = log_likelihood(rate, counts.images) - log_likelihood(other, counts.images)
    difference = difference[counts.valid].cpu().double()  # MPS has no float64
    if len(difference) < 2:
        return 0.0, math.inf
    return float(difference.mean()), float(difference.std()) / math.sqrt(len(difference))


@torch.no_grad()
def predict(
    network: torch.nn.Module,
    counts: Counts,
    *,
    flips: int,
    pixels: int,
    report: Report | None = None,
) -> torch.Tensor:
    """Expected counts, averaged over mirror images; memory is bounded by ``pixels`` at a time."""
    size = counts.images.shape[-2] * counts.images.shape[-1]
    asked = counts.wanted()
    total = torch.zeros_like(counts.images[asked])
    for dims in ([], [-1], [-2], [-2, -1])[:flips]:
        turned = counts.flipped(dims)
        for batch in torch.arange(len(asked), device=asked.device).split(max(1, pixels // size)):
            index = asked[batch]
            rate = network(turned.images[index], turned.valid[index], turned.alike(index))
            total[batch] += rate.flip(dims)
            if report:
                report(len(batch), None)
    return total / flips
