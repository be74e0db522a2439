"""Train a network on the counts that it is to denoise, and test it on counts that are held out.

A new network is used in the state under which the held-out counts are likeliest. One that is
trained already is moved only part of the way to its new weights: on that way the images are better
than at either end, and one test shows how far to go.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch

from arpes_ml_plugins.denoising.counts_network import CountsNetwork
from arpes_ml_plugins.denoising.splitting import Counts, gained, log_likelihood, split
from arpes_ml_plugins.report import Report

__all__ = ["Training", "adapt", "best_share"]

GRADIENT_LIMIT = 1.0
BACKWARD = 3  # time of a training step on an image over that of a prediction
HALFWAY = 0.5  # to the new weights, where these are tested
EXPECTED = 0.35  # share of the way that is best on average
SPREAD = 0.25  # its standard deviation
TESTED_STATES = 3  # the network before the training, halfway, and where it is left

Test = Callable[[CountsNetwork], tuple[float, float]]
"""Gain of the log-likelihood of all held-out counts, from the first state to this one; its
standard error."""


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
    checks: int = 0
    """Number of states of which the best one is used; 0 goes part of the way to the last one."""
    significance: float = 0.5
    """Standard errors by which a state must be better than the first one."""
    pixels: int = 60_000
    """Upper limit per step: a larger data set is visited slice by slice."""

    def used(self, images: int, pixels: int) -> int:
        """Number of images in a step, if each has this number of ``pixels``."""
        return max(1, min(images, self.pixels // pixels))

    def passes(self, images: int, pixels: int) -> int:
        """Number of images that are predicted in about the time of a step."""
        return BACKWARD * self.used(images, pixels)

    @property
    def tests(self) -> int:
        """How often the images are denoised on the way."""
        return 1 + self.checks if self.checks else TESTED_STATES


def adapt(
    network: CountsNetwork,
    counts: Counts,
    training: Training,
    denoised: Callable[[torch.nn.Module, Counts], torch.Tensor],
    *,
    seed: int,
    report: Report | None = None,
) -> float:
    """Train ``network`` on ``counts``, and leave it in the state that the held-out counts support.

    That may be its original one. ``denoised`` returns the image by which a state is tested. Return
    the gain of the log-likelihood of the held-out counts.
    """
    generator = torch.Generator().manual_seed(seed)
    seen, held_out = split(counts, 1 - training.held_out, generator)
    kept = held_out.predicted()
    ratio = training.held_out / (1 - training.held_out)
    first = denoised(network, seen) * ratio
    number = int(kept.valid.sum())

    def test(state: CountsNetwork) -> tuple[float, float]:
        gain, error = gained(denoised(state, seen) * ratio, first, kept)
        return gain * number, error * number

    original = copy.deepcopy(network)
    states = _states(network, seen, training, generator, report)
    choose = _best if training.checks else _part_of_the_way
    best, gain = choose(original, states, training, test)
    network.load_state_dict(best.state_dict())
    network.arranged(counts.images.device, to_train=False)
    return gain


def best_share(gain: float, error: float) -> float:
    r"""Share of the way to the new weights that is best, if halfway the log-likelihood gains so
    much, with this standard ``error``.

    At the share :math:`w` it gains :math:`a w - \sigma^2 w^2 / 2` to second order. The variance of
    counts is also their Fisher information, so :math:`\sigma` is the standard error of :math:`a`.
    What the best share of other data was is known beforehand.

    Examples
    --------
    >>> best_share(0.0, 0.0), round(best_share(16.0, 4.0), 2), best_share(-30.0, 4.0)
    (0.35, 0.67, 0.0)
    """
    if not math.isfinite(gain) or not math.isfinite(error):
        return 0.0
    slope, variance = (gain + error**2 / 2) / HALFWAY, (error / HALFWAY) ** 2
    share = (EXPECTED / SPREAD**2 + slope) / (1 / SPREAD**2 + variance)
    return min(max(share, 0.0), 1.0)


def _part_of_the_way(
    original: CountsNetwork, states: Iterator[CountsNetwork], training: Training, test: Test
) -> tuple[CountsNetwork, float]:
    """The state at the best share of the way to the last one, unless it predicts less."""
    for last in states:
        new = last
    share = best_share(*test(_between(original, new, HALFWAY)))
    state = _between(original, new, share)
    gain, error = test(state)
    return (state, gain) if gain > training.significance * error else (original, 0.0)


def _best(
    original: CountsNetwork, states: Iterator[CountsNetwork], training: Training, test: Test
) -> tuple[CountsNetwork, float]:
    """The best of several states; the original one unless another is significantly better."""
    best, highest = original, 0.0
    every = max(training.steps // training.checks, 1)
    for step, state in enumerate(states, 1):
        if step % every == 0 or step == training.steps:
            gain, error = test(state)
            if gain > max(highest, training.significance * error):
                best, highest = copy.deepcopy(state), gain
    return best, highest


@torch.no_grad()
def _between(original: CountsNetwork, new: CountsNetwork, share: float) -> CountsNetwork:
    state = copy.deepcopy(original)
    for weight, other in zip(state.parameters(), new.parameters(), strict=True):
        weight.lerp_(other, share)
    return state


def _states(
    network: CountsNetwork,
    seen: Counts,
    training: Training,
    generator: torch.Generator,
    report: Report | None,
) -> Iterator[CountsNetwork]:
    """Train the network; its running mean after each step."""
    average = copy.deepcopy(network)
    network.arranged(seen.images.device, to_train=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=training.learning_rate, weight_decay=0)
    passes = training.passes(len(seen.wanted()), seen.images[0].numel())
    for step in range(training.steps):
        for group in optimizer.param_groups:
            group["lr"] = training.learning_rate * _schedule(step, training)
        loss = _loss(network, seen, training, generator)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_LIMIT)
        optimizer.step()
        keep = min(training.average, (step + 1) / (step + 10))
        with torch.no_grad():
            for mean, weight in zip(average.parameters(), network.parameters(), strict=True):
                mean.lerp_(weight, 1 - keep)
        if report:
            report(passes, float(loss.detach()) if step % 10 == 0 else None)
        yield average


def _schedule(step: int, training: Training) -> float:
    warm = min(1.0, (step + 1) / training.warm_up)
    return warm * 0.5 * (1 + math.cos(math.pi * step / training.steps))


def _loss(
    network: CountsNetwork,
    counts: Counts,
    training: Training,
    generator: torch.Generator,
) -> torch.Tensor:
    """Of one split of (some of) the images, turned over at random."""
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
    return -(log_likelihood(rate, target) * mask).sum() / mask.sum().clamp(min=1)


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
