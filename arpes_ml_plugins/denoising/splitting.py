"""Count splitting: train a network on the image that is to be denoised, without any truth.

Poisson counts ``y`` split at random into ``y1 ~ Binomial(y, p)`` and ``y2 = y - y1``, which are
independent of each other given the scene. A network that predicts ``y2`` from ``y1`` therefore
learns the scene and cannot learn the noise. Some counts are held out altogether: the state of the
network under which they are likeliest is the one that is used.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from arpes_ml_plugins.denoising.alike import alike
from arpes_ml_plugins.denoising.counts_network import BESIDE, CountsNetwork
from arpes_ml_plugins.denoising.flux import irregular_flux, mean_counts
from arpes_ml_plugins.report import Report

__all__ = ["Counts", "Training", "adapt", "gained", "predict", "split", "whole_counts"]

DARKEST = 1e-6  # counts; keeps logarithms finite
GRADIENT_LIMIT = 1.0
BACKWARD = 3  # time of a training step on an image over that of a prediction


@dataclass(frozen=True)
class Training:
    """Settings of the training of a network on one data set."""

    steps: int
    learning_rate: float
    least: float = 0.4
    """Smallest fraction of the counts in the network's input."""
    most: float = 0.9
    held_out: float = 0.1
    average: float = 0.95
    """Decay of the running mean of the weights."""
    warm_up: int = 10
    checks: int = 5
    """Number of tests on the held-out counts."""
    patience: int | None = None
    """Tests in a row without a better state, after which the training ends; None: never."""
    significance: float = 0.5
    """Standard errors by which a state must be better than the first one."""
    pixels: int = 60_000
    """Upper limit per step: a larger data set is visited slice by slice."""

    def used(self, images: int, pixels: int) -> int:
        """Number of images, each of so many ``pixels``, in a step."""
        return max(1, min(images, self.pixels // pixels))

    def passes(self, images: int, pixels: int) -> int:
        """Number of images that are predicted in about the time of a step."""
        return BACKWARD * self.used(images, pixels)


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


def adapt(
    network: CountsNetwork,
    counts: Counts,
    training: Training,
    denoised: Callable[[torch.nn.Module, Counts], torch.Tensor],
    *,
    seed: int,
    report: Report | None = None,
) -> float:
    """Train ``network`` on ``counts``, and leave it in the best state for the held-out counts.

    Its original state is kept unless another one is significantly better. ``denoised`` returns the
    image by which a state is tested. Return the gain of the log-likelihood of the held-out counts
    per pixel.
    """
    generator = torch.Generator().manual_seed(seed)
    seen, held_out = split(counts, 1 - training.held_out, generator)
    kept = held_out.predicted()
    ratio = training.held_out / (1 - training.held_out)
    first = denoised(network, seen) * ratio
    best, highest, waited = copy.deepcopy(network), 0.0, 0
    average = copy.deepcopy(network)
    network.arranged(counts.images.device, to_train=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=training.learning_rate, weight_decay=0)
    every = max(training.steps // training.checks, 1)
    passes = training.passes(len(counts.wanted()), counts.images[0].numel())
    for step in range(training.steps):
        for group in optimizer.param_groups:
            group["lr"] = training.learning_rate * _schedule(step, training)
        loss = _step(network, seen, training, generator)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_LIMIT)
        optimizer.step()
        keep = min(training.average, (step + 1) / (step + 10))
        with torch.no_grad():
            for mean, weight in zip(average.parameters(), network.parameters(), strict=True):
                mean.lerp_(weight, 1 - keep)
        if (step + 1) % every == 0 or step + 1 == training.steps:
            better, error = gained(denoised(average, seen) * ratio, first, kept)
            waited += 1
            if better > max(highest, training.significance * error):
                best, highest, waited = copy.deepcopy(average), better, 0
        ended = waited == training.patience
        if report:
            left = training.steps - step if ended else 1
            report(left * passes, float(loss.detach()) if step % 10 == 0 else None)
        if ended:
            break
    network.load_state_dict(best.state_dict())
    network.arranged(counts.images.device, to_train=False)
    return highest


def _schedule(step: int, training: Training) -> float:
    warm = min(1.0, (step + 1) / training.warm_up)
    return warm * 0.5 * (1 + math.cos(math.pi * step / training.steps))


def _step(
    network: CountsNetwork,
    counts: Counts,
    training: Training,
    generator: torch.Generator,
) -> torch.Tensor:
    """Loss of one split of (some of) the images, turned over at random."""
    fraction = training.least + (training.most - training.least) * _uniform(generator)
    height, width = counts.images.shape[-2:]
    wanted = counts.wanted()
    used = training.used(len(wanted), height * width)
    order = torch.randperm(len(wanted), generator=generator, device="cpu")
    chosen = wanted[order[:used].to(wanted.device)]
    needed, index = _window(counts, chosen)
    first, second = split(needed, fraction, generator)
    dims = [dim for dim in (-2, -1) if _uniform(generator) < 0.5]
    first, second = first.flipped(dims), second.flipped(dims)
    rate = network(first.images[index], first.valid[index], first.alike(index))
    rate = rate * ((1 - fraction) / fraction)
    target, mask = second.images[index], second.valid[index]
    return -(_log_likelihood(rate, target) * mask).sum() / mask.sum().clamp(min=1)


def _window(counts: Counts, chosen: torch.Tensor) -> tuple[Counts, torch.Tensor]:
    """The chosen images with those around them, and where the chosen ones are among these."""
    if not counts.reach:
        return replace(counts, images=counts.images[chosen], valid=counts.valid[chosen]), (
            torch.arange(len(chosen), device=chosen.device)
        )
    # Images of a series stay in their places; only those that are needed are split.
    away = torch.arange(-counts.reach, counts.reach + 1, device=chosen.device)
    around = (chosen[:, None] + away).unique()
    around = around[(around >= 0) & (around < len(counts))]
    images = torch.zeros_like(counts.images)
    images[around] = counts.images[around]
    return replace(counts, images=images), chosen


def _uniform(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator, dtype=torch.float32, device="cpu"))


def _log_likelihood(rate: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Poisson, without the term that no rate changes."""
    return torch.xlogy(counts, rate.clamp(min=DARKEST)) - rate


def gained(rate: torch.Tensor, other: torch.Tensor, counts: Counts) -> tuple[float, float]:
    """Gain of the log-likelihood of ``counts`` per pixel from ``other`` to ``rate``; its error."""
    difference = _log_likelihood(rate, counts.images) - _log_likelihood(other, counts.images)
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
