"""Denoise counts with a network, say how sure the result is, and never trust it blindly."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch

from arpes_ml_plugins.denoising.calibration import Calibration, Half, halves, judged
from arpes_ml_plugins.denoising.counts_network import CountsNetwork, gaussian_mean
from arpes_ml_plugins.denoising.defects import dead_lines, hot_pixels
from arpes_ml_plugins.denoising.noise_model import NoiseModel
from arpes_ml_plugins.denoising.posterior import measured_again
from arpes_ml_plugins.denoising.recovery import conserve, recover_locally, recover_structure
from arpes_ml_plugins.denoising.replicas import recover_replicas, replica_strengths
from arpes_ml_plugins.denoising.residual import Residual, residual_of
from arpes_ml_plugins.denoising.splitting import (
    Counts,
    Training,
    adapt,
    predict,
    whole_counts,
)
from arpes_ml_plugins.denoising.trials import Trial, repeated_trial, trial
from arpes_ml_plugins.errors import CountsWarning
from arpes_ml_plugins.frames import warn

__all__ = ["ADAPTED", "SCRATCH", "CountsResult", "denoise_counts_images", "new_network", "steps_of"]

ADAPTED = Training(steps=30, learning_rate=2e-4)
"""Of a network that has been trained before: a touch."""
SCRATCH = Training(steps=120, learning_rate=4e-3, average=0.97, warm_up=20, checks=10)
"""Of a network that knows nothing yet."""
SMALL = (32, 48, 64)
PLAIN_WIDTHS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Pixels, of Gaussian filters that a network must not lose to; 0 is the data themselves."""
FILLING = 1.0  # pixels, of the filter that fills in where the data themselves are returned

CERTAIN = 2.0  # standard deviations by which a filter must be better than the network
FLOOR = 0.1  # of the mean intensity: below it the recovery takes the noise as constant
GROUP_PIXELS = 250_000  # worked on at a time
FLIPS = 2
ALL_FLIPS = 4


@dataclass(frozen=True)
class CountsResult:
    """In the unit of the images."""

    clean: torch.Tensor  # (n, height, width)
    spread: torch.Tensor | None
    """Standard deviation of ``clean``, where asked for."""
    samples: torch.Tensor | None
    """Images that the truth may be, ``(draws, n, height, width)``, where asked for."""
    improvement: float
    """Held-out log-likelihood a pixel, gained by training; 0 if the first state was kept."""
    filtered: float | None
    """Width in pixels of the Gaussian filter that took the network's place, if one did."""
    calibration: Calibration | None
    """Of the errors, where asked for."""
    residual: Callable[[], Residual]
    """What ``clean`` leaves of the images."""
    replicas: Callable[[], torch.Tensor]
    """Strengths of the replicas that were added, ``(n,)``; NaN without."""


def _in_groups(
    function: Callable[..., torch.Tensor], images: torch.Tensor, *others: torch.Tensor
) -> torch.Tensor:
    """``function`` of a few images at a time, so that memory does not grow with their number."""
    size = max(1, GROUP_PIXELS // (images.shape[-2] * images.shape[-1]))
    groups = zip(images.split(size), *(other.split(size) for other in others), strict=True)
    return torch.cat([function(*group) for group in groups])


def _flawless(images: torch.Tensor, valid: torch.Tensor, gains: torch.Tensor) -> torch.Tensor:
    """Which pixels are to be believed."""
    return valid & ~hot_pixels(images, valid, gains) & ~dead_lines(images, valid, gains)


Denoiser = Callable[..., torch.Tensor]


def new_network(
    seed: int, widths: tuple[int, int, int] = SMALL, *, refined: bool = False
) -> CountsNetwork:
    """An untrained network, drawn by a generator of its own."""
    generator = torch.Generator().manual_seed(seed)
    return CountsNetwork(widths, refined=refined, generator=generator)


def denoise_counts_images(
    images: torch.Tensor,
    valid: torch.Tensor,
    noise: NoiseModel,
    network: CountsNetwork,
    training: Training | None,
    *,
    series: bool,
    seed: int,
    draws: int = 0,
    sampled: bool = False,
    bfloat16: bool = False,
    report: Callable[[int, float | None], None] | None = None,
    exposures: torch.Tensor | None = None,
    calibrate: bool = False,
) -> CountsResult:
    """Denoise images ``(n, height, width)`` whose noise is that of ``noise``.

    One network serves all of them. With ``series`` it also sees the images before and after. Hot
    pixels and dead lines are left out and filled in. Correlated noise cannot be split, so the
    network is not trained further on such images. If the images are sums of ``exposures``, ``(n,
    repeats, height, width)``, one half of them is the held-out data for the other. Error bars,
    and samples if ``sampled``, come from ``draws`` simulated measurements, if there are any; with
    ``calibrate`` they are stretched if one half of the data says so of the other.
    """
    gains = images.new_full((len(images), 1, 1), noise.gain)
    good = _in_groups(_flawless, images + noise.shift, valid, gains)
    generator = torch.Generator().manual_seed(seed)
    electrons = noise.electrons(images)
    counts = Counts(electrons.float(), good, series)
    # Only splitting needs whole numbers; rounding at random adds noise that the network would see.
    parts = replace(counts, images=whole_counts(electrons, generator)) if noise.white else counts
    network = network.to(  # type: ignore[call-overload]
        images.device, torch.float32, memory_format=torch.channels_last
    )
    network.rounded = bfloat16
    network.correlation = (0.0, 0.0) if noise.white else noise.correlation

    def recovered(state: torch.nn.Module, data: Counts, flips: int = 1) -> torch.Tensor:
        rate = predict(state, data, flips=flips, pixels=GROUP_PIXELS)
        return _in_groups(partial(_recovered, noise=noise), data.images, rate, data.valid)

    def denoised(state: torch.nn.Module, data: Counts, flips: int = 1) -> torch.Tensor:
        image = recovered(state, data, flips)
        return _in_groups(recover_replicas, data.images, image, data.valid)

    if series and not _neighbours_help(network, parts, noise, denoised, generator):
        counts, parts = replace(counts, series=False), replace(parts, series=False)
    untouched = copy.deepcopy(network) if calibrate else network
    improvement = 0.0
    if training is not None and noise.white:
        training = _lengthened(training, counts.images.numel())
        improvement = adapt(network, parts, training, denoised, seed=seed, report=report)
    best: torch.nn.Module = network
    again = torch.Generator().manual_seed(seed)  # the split by which adapt() judged
    if exposures is None:
        held_out = trial(parts, noise, again)
    else:
        held_out = repeated_trial(counts, exposures, noise)
    width = _safer_filter(network, held_out, denoised)
    if width is not None:
        plain = f"a Gaussian filter of {width:g} pixels" if width else "the data themselves"
        warn(
            f"held-out data prefer {plain} to the network's image, which is not to be trusted; "
            f"{'the filtered image is' if width else 'the data are'} returned. Is the gain of "
            f"{noise.gain:.3g} right?",
            CountsWarning,
        )
        best = _Gaussian(width)
    without = recovered(best, counts, FLIPS if training is None else ALL_FLIPS)
    clean = _in_groups(recover_replicas, counts.images, without, good)
    if report:
        report(1, None)
    spread = samples = calibration = None
    if draws:
        deviations = measured_again(
            lambda data: denoised(best, data, FLIPS), counts, clean, noise, draws, generator
        )
        if calibrate:
            half = halves(parts, noise, generator, exposures)
            if training is not None and noise.white and width is None:
                adapt(untouched, half.seen, training, denoised, seed=seed)
            state = untouched if width is None else best
            calibration = _calibration(
                half, lambda data: denoised(state, data, FLIPS), noise, draws, generator
            )
            deviations = replace(deviations, scale=deviations.scale * calibration.stretch)
        spread = deviations.spread().to(images) * noise.gain
        if sampled:
            samples = noise.values(deviations.samples(generator).to(images))
        if report:
            report(1, None)
    return CountsResult(
        noise.values(clean.to(images)),
        spread,
        samples,
        improvement,
        width,
        calibration,
        partial(residual_of, counts.images, clean, good, noise),
        partial(_in_groups, replica_strengths, counts.images, without, good),
    )


def _recovered(
    counts: torch.Tensor, rate: torch.Tensor, valid: torch.Tensor, noise: NoiseModel
) -> torch.Tensor:
    """The network's image with what it has missed."""
    recovered = recover_structure(counts, rate, valid, floor=FLOOR).clamp(min=0)
    shape = (rate.shape[-2], rate.shape[-1])
    transfer = None if noise.white else noise.transfer(shape, rate.device)
    recovered = recover_locally(counts, recovered, valid, transfer).clamp(min=0)
    return conserve(counts, recovered, valid)


def _calibration(
    half: Half,
    denoised: Callable[[Counts], torch.Tensor],
    noise: NoiseModel,
    draws: int,
    generator: torch.Generator,
) -> Calibration:
    """Of errors that are stated for one half of the data as they are for all."""
    clean = denoised(half.seen)
    return judged(half, measured_again(denoised, half.seen, clean, noise, draws, generator), noise)


class _Gaussian(torch.nn.Module):
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


def _safer_filter(network: torch.nn.Module, held_out: Trial, denoised: Denoiser) -> float | None:
    """Width of a Gaussian filter that predicts held-out data better than the network, if any."""
    ours = denoised(network, held_out.seen)
    best, highest = None, 0.0
    for width in PLAIN_WIDTHS:
        plain = predict(_Gaussian(width), held_out.seen, flips=1, pixels=GROUP_PIXELS)
        better, error = held_out.gained(plain, ours)
        if better > max(highest, CERTAIN * error):
            best, highest = width, better
    return best


def steps_of(training: Training | None, pixels: int, errors: bool) -> int:
    """How many steps :func:`denoise_counts_images` reports for ``pixels`` in all its images."""
    trained = _lengthened(training, pixels).steps if training else 0
    return trained + 1 + errors


def _lengthened(training: Training, pixels: int) -> Training:
    """More images, more steps: with the square root, four times as many at most."""
    factor = math.sqrt(pixels / training.pixels)
    return replace(training, steps=round(training.steps * min(max(factor, 1.0), 4.0)))


def _neighbours_help(
    network: torch.nn.Module,
    counts: Counts,
    noise: NoiseModel,
    denoised: Denoiser,
    generator: torch.Generator,
) -> bool:
    """Whether held-out data are likelier when the neighbouring images are looked at."""
    held_out = trial(counts, noise, generator)
    alone = denoised(network, replace(held_out.seen, series=False))
    return held_out.gained(denoised(network, held_out.seen), alone)[0] >= 0
