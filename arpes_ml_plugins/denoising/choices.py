"""Choices made on held-out data: how far neighbouring images help, and whether a filter is better.

In a large data set the choices are made on a sample: runs of images that follow each other. They
then take the same time for any size, and can be made before the data are processed in parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from arpes_ml_plugins.denoising.alike import without_copies
from arpes_ml_plugins.denoising.counts_network import NEAR, REACH
from arpes_ml_plugins.denoising.gaussian_means import gaussian_mean
from arpes_ml_plugins.denoising.noise_model import NoiseModel
from arpes_ml_plugins.denoising.splitting import Counts, predict, whole_counts
from arpes_ml_plugins.denoising.trials import Trial, power_left, repeated_trial, trial

__all__ = [
    "PASSES",
    "REACHES",
    "RUN",
    "RUNS",
    "TRAINED",
    "Choices",
    "GaussianFilter",
    "Probe",
    "best_reach",
    "in_runs",
    "middles",
    "passes",
    "safer_filter",
    "tested",
    "tests",
    "unforeseen_power",
]

PLAIN_WIDTHS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Widths in pixels of the Gaussian filters to compare with; 0 is the data themselves."""
FILLING = 1.0  # pixels, of the filter that fills in where the data themselves are returned
CERTAIN = 2.0  # standard deviations by which neighbours, or a filter, must be better
HALF = 0.5  # of the counts: two images that are both not exact are compared with many counts
RUN = 2 * REACH + 1
"""Number of images in a run of a sample: one with its neighbours."""
TRAINED = 2 * NEAR + 1
"""Number of images in the middle of a run on which a network is trained."""
RUNS = 5
"""Least number of runs in a sample, and of images on which choices are tested."""
TESTED = 100_000
"""Pixels on which the choices for a series are tested, if that many images are at hand."""
REACHES = (REACH, NEAR, 0)
"""Numbers of neighbouring images on either side that are tried."""
PASSES = len(REACHES) + 1
"""How often each image of a sample is denoised: with each reach, and for the filters."""

Denoiser = Callable[..., torch.Tensor]


@dataclass(frozen=True)
class Choices:
    """Choices for all images of a series, or for one image."""

    reach: int
    """Neighbouring images on either side that are used."""
    filtered: float | None
    """Width in pixels of a Gaussian filter that takes the place of the network, if any."""


@dataclass(frozen=True)
class Probe:
    """Images on which choices are tested."""

    counts: Counts
    parts: Counts
    """The same in whole numbers, if counts can be split."""
    exposures: torch.Tensor | None
    noise: NoiseModel
    seed: int
    generator: torch.Generator

    @classmethod
    def of(
        cls,
        counts: Counts,
        electrons: torch.Tensor,
        noise: NoiseModel,
        seed: int,
        exposures: torch.Tensor | None = None,
    ) -> Probe:
        """The probe from all images, in electrons: runs of them if the series is long."""
        if counts.reach and len(counts) > RUN * RUNS:
            chosen = torch.tensor(_spread(len(counts)), device=counts.images.device)
            exposures = None if exposures is None else exposures[chosen]
            bright = None if counts.brightness is None else counts.brightness[chosen]
            sample = in_runs(counts.images[chosen], counts.valid[chosen], RUN)
            counts = replace(sample, own=middles(sample, RUN), brightness=bright)
            electrons = electrons[chosen]
        elif counts.reach and counts.own is None:
            counts = replace(counts, own=tested(counts.images))
        return cls.from_chosen(counts, electrons, noise, seed, exposures)

    @classmethod
    def from_chosen(
        cls,
        counts: Counts,
        electrons: torch.Tensor,
        noise: NoiseModel,
        seed: int,
        exposures: torch.Tensor | None = None,
    ) -> Probe:
        """The probe from exactly these images."""
        generator = torch.Generator(device="cpu").manual_seed(seed)
        # Only splitting needs whole numbers; rounding at random adds noise.
        whole = whole_counts(electrons, generator) if noise.white else counts.images
        return cls(counts, replace(counts, images=whole), exposures, noise, seed, generator)

    @property
    def exact(self) -> bool:
        """Whether these are whole numbers of counts, whose noise is known."""
        return self.noise.white and torch.equal(self.counts.images, self.parts.images)

    def reaching(self, reach: int) -> Probe:
        """The same with ``reach`` neighbours on either side."""
        counts, parts = (replace(x, reach=reach) for x in (self.counts, self.parts))
        return replace(self, counts=counts, parts=parts)


def _spread(images: int) -> list[int]:
    """Indices of the images of evenly spread runs in a long series."""
    starts = [round(k * (images - RUN) / (RUNS - 1)) for k in range(RUNS)]
    return [start + k for start in starts for k in range(RUN)]


def in_runs(images: torch.Tensor, valid: torch.Tensor, run: int) -> Counts:
    """Images ``(n, height, width)`` of which ``run`` at a time follow each other."""
    number = torch.arange(len(images), device=images.device)
    apart = number + number // run * RUN  # no image is a neighbour of one in another run
    places = apart if run < len(images) else None
    return Counts(images, valid, REACH, places=without_copies(images, places), series=True)


def middles(sample: Counts, run: int, beside: int = 0) -> torch.Tensor:
    """Indices of the images in the middle of each run, with some beside each."""
    number = torch.arange(len(sample), device=sample.images.device)
    return number[(number % run - run // 2).abs() <= beside]


def tested(images: torch.Tensor) -> torch.Tensor:
    """Indices of the images of a series on which choices are tested, evenly spread."""
    number = tests(len(images), images[0].numel())
    return torch.linspace(0, len(images) - 1, number, device=images.device).round().long()


def tests(images: int, pixels: int) -> int:
    """Number of ``images``, of ``pixels`` each, on which the choices are tested."""
    return min(images, max(RUNS, math.ceil(TESTED / pixels)))


def passes(images: int, pixels: int, series: bool) -> int:
    """Number of images that are denoised to make the choices."""
    if not series:
        return images
    return PASSES * (tests(images, pixels) if images <= RUN * RUNS else RUNS)


def best_reach(network: torch.nn.Module, probe: Probe, denoised: Denoiser) -> int:
    """How many neighbouring images on either side make held-out data likeliest; none, unless some
    are certain to help.
    """
    held_out = trial(probe.parts, probe.noise, probe.generator, shown=HALF)
    results = {reach: denoised(network, replace(held_out.seen, reach=reach)) for reach in REACHES}
    gains = {reach: held_out.gained(results[reach], results[0]) for reach in REACHES}
    certain = [reach for reach, (gain, error) in gains.items() if gain > CERTAIN * error]
    return max(certain, key=lambda reach: gains[reach][0], default=0)


def unforeseen_power(
    network: torch.nn.Module, probe: Probe, denoised: Denoiser
) -> torch.Tensor | None:
    """Power of the noise that the network's images leave, if it is not known to be as assumed."""
    if probe.exact or probe.exposures is not None:
        return None
    return power_left(probe.counts, denoised(network, probe.counts), probe.noise)


def safer_filter(
    network: torch.nn.Module,
    probe: Probe,
    denoised: Denoiser,
    pixels: int,
    power: torch.Tensor | None = None,
) -> float | None:
    """Width of a Gaussian filter that predicts held-out data better than the network, if any.

    ``power`` as in :func:`~arpes_ml_plugins.denoising.trials.trial`.
    """
    if not probe.counts.predicted().images.any():
        return None  # images without any count test nothing
    held_out = _held_out(probe, power)
    ours = denoised(network, held_out.seen)
    best, highest = None, 0.0
    for width in PLAIN_WIDTHS:
        plain = predict(GaussianFilter(width), held_out.seen, flips=1, pixels=pixels)
        better, error = held_out.gained(plain, ours)
        if better > max(highest, CERTAIN * error):
            best, highest = width, better
    return best


def _held_out(probe: Probe, power: torch.Tensor | None) -> Trial:
    if probe.exposures is not None:
        return repeated_trial(probe.counts, probe.exposures, probe.noise)
    again = torch.Generator(device="cpu").manual_seed(probe.seed)  # the split of the training
    return trial(probe.parts, probe.noise, again, power=power)


class GaussianFilter(torch.nn.Module):
    """A Gaussian filter in the place of a network; of width 0 the data themselves."""

    def __init__(self, width: float) -> None:
        super().__init__()
        self.width = width

    def forward(
        self, counts: torch.Tensor, valid: torch.Tensor, neighbours: torch.Tensor | None = None
    ) -> torch.Tensor:
        mask = valid[:, None].to(counts)
        smooth = gaussian_mean(counts[:, None], mask, self.width or FILLING)[:, 0]
        return smooth if self.width else torch.where(valid, counts, smooth)
