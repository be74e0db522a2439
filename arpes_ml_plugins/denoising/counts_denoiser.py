"""Denoise counts with a network, estimate the error of the result, and test it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial

import torch

from arpes_ml_plugins.denoising.calibration import Calibration, Half, halves, judged
from arpes_ml_plugins.denoising.choices import (
    Choices,
    GaussianFilter,
    Probe,
    best_reach,
    in_runs,
    middles,
    safer_filter,
    tested,
)
from arpes_ml_plugins.denoising.counts_network import NEAR, REACH, CountsNetwork
from arpes_ml_plugins.denoising.defects import dead_lines, hot_pixels
from arpes_ml_plugins.denoising.mixture import best_shares
from arpes_ml_plugins.denoising.noise_model import NoiseModel
from arpes_ml_plugins.denoising.plan import (
    ALL_FLIPS,
    FLIPS,
    Plan,
    lengthened,
    steps_of,
    steps_to_prepare,
)
from arpes_ml_plugins.denoising.posterior import measured_again
from arpes_ml_plugins.denoising.recovery import conserve, recover_locally, recover_structure
from arpes_ml_plugins.denoising.replicas import recover_replicas, replica_strengths
from arpes_ml_plugins.denoising.residual import Residual, residual_of
from arpes_ml_plugins.denoising.similar_patches import SMALLEST, filter_similar
from arpes_ml_plugins.denoising.splitting import (
    Counts,
    Training,
    adapt,
    predict,
    whole_counts,
)
from arpes_ml_plugins.errors import CountsWarning
from arpes_ml_plugins.frames import warn

__all__ = [
    "ADAPTED",
    "SCRATCH",
    "CountsResult",
    "denoise_counts_images",
    "new_network",
    "prepare",
]

ADAPTED = Training(steps=30, learning_rate=2e-4, patience=2)
"""Training of a pre-trained network, which is short; shorter still if it does not help."""
SCRATCH = Training(steps=120, learning_rate=4e-3, average=0.97, warm_up=20, checks=10)
"""Training of a new network."""
SMALL = (32, 48, 64)
STRENGTH = 1.4  # times: the residual may have more or less power than the noise that is assumed
FLOOR = 0.1  # of the mean intensity: below it the recovery takes the noise as constant
GROUP_PIXELS = 250_000  # worked on at a time by an accelerator; a CPU takes image by image


@dataclass(frozen=True)
class CountsResult:
    """Result in the unit of the images."""

    clean: torch.Tensor  # (n, height, width)
    spread: torch.Tensor | None
    """Standard deviation of ``clean``, if requested."""
    samples: torch.Tensor | None
    """Samples of the true image, ``(draws, n, height, width)``, if requested."""
    improvement: float
    """Gain of the held-out log-likelihood per pixel by training; 0 if the first state was kept."""
    filtered: float | None
    """Width in pixels of the Gaussian filter that took the network's place, if one did."""
    calibration: Calibration | None
    """Calibration of the errors, if requested."""
    residual: Callable[[], Residual]
    """Analyse the difference between the images and ``clean``."""
    replicas: Callable[[], torch.Tensor]
    """Strengths of the replicas that were added, ``(n,)``; NaN without."""


def _in_groups(
    function: Callable[..., torch.Tensor],
    images: torch.Tensor,
    *others: torch.Tensor,
    report: Callable[[int, float | None], None] | None = None,
) -> torch.Tensor:
    """``function`` of a few images at a time, so that memory does not grow with their number."""
    size = max(1, _pixels_at_once(images) // (images.shape[-2] * images.shape[-1]))
    results = []
    for group in zip(images.split(size), *(other.split(size) for other in others), strict=True):
        results.append(function(*group))
        if report:
            report(len(group[0]), None)
    return torch.cat(results)


def _large_enough(images: torch.Tensor) -> bool:
    """Whether images hold enough patches to compare."""
    return min(images.shape[-2:]) >= SMALLEST


def _as_assumed(counts: Counts, clean: torch.Tensor, noise: NoiseModel) -> bool:
    """Whether the residual is as strong as simulated measurements would say."""
    power = _residual(counts.images, clean, counts.valid, noise, None).power
    return not bool((power.log().abs() > math.log(STRENGTH)).any())


def _pixels_at_once(images: torch.Tensor) -> int:
    """One image on a CPU, where more are not faster, and results would depend on the other images:
    functions round differently at the end of a tensor.
    """
    return 1 if images.device.type == "cpu" else GROUP_PIXELS


def _flawless(images: torch.Tensor, valid: torch.Tensor, gains: torch.Tensor) -> torch.Tensor:
    """Mask of the pixels without defects."""
    return valid & ~hot_pixels(images, valid, gains) & ~dead_lines(images, valid, gains)


def new_network(
    seed: int, widths: tuple[int, int, int] = SMALL, *, refined: bool = False
) -> CountsNetwork:
    """An untrained network, whose weights are drawn with the seed."""
    generator = torch.Generator(device="cpu").manual_seed(seed)
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
    choices: Choices | None = None,
    untouched: CountsNetwork | None = None,
    own: torch.Tensor | None = None,
    brightness: torch.Tensor | None = None,
) -> CountsResult:
    """Denoise images ``(n, height, width)`` whose noise is that of ``noise``.

    One network serves all of them. With ``series`` it also sees the images before and after. Hot
    pixels and dead lines are left out and filled in. Correlated noise cannot be split, so the
    network is not trained further on such images. If the images are sums of ``exposures``, ``(n,
    repeats, height, width)``, one half of them is the held-out data for the other. Error bars,
    and samples if ``sampled``, come from ``draws`` simulated measurements, if there are any. They
    are stretched if one half of the data says so of the other, for which a network is needed that
    is still ``untouched`` by the data. If ``choices`` are given,
    :func:`prepare` made them and trained the network; otherwise both are done here, on all images.
    ``own`` are the images that results are wanted of, if the others are only their neighbours.
    ``brightness`` is how many counts each image has of one and the same scene, relative to the
    others, ``(n, height or 1, width or 1)``.
    """
    good = _good(images, valid, noise)
    generator = torch.Generator(device="cpu").manual_seed(seed)
    electrons = noise.electrons(images)
    reach = REACH if series else 0
    counts = Counts(electrons.float(), good, reach, own=own, brightness=brightness)
    for each in (network, untouched):
        if each is not None:
            _made_ready(each, images.device, noise, bfloat16)
    steps = steps_of(
        training,
        len(images) if own is None else len(own),
        images.shape[-2] * images.shape[-1],
        series=series,
        draws=draws,
        calibrate=untouched is not None,
        chosen=choices is not None,
    )
    plan = Plan(report, steps)
    denoised = partial(_denoised, noise, plan)
    if choices is None:
        probe = Probe.of(counts, electrons, noise, seed, exposures)
        if series:
            reach = best_reach(network, probe, denoised)
            probe, counts = probe.reaching(reach), replace(counts, reach=reach)
    else:
        counts = replace(counts, reach=choices.reach)
    # Only splitting needs whole numbers; rounding at random adds noise that the network would see.
    parts = counts
    if noise.white and (training is not None or draws):
        parts = replace(counts, images=whole_counts(electrons, generator))
    improvement = 0.0
    if training is not None and noise.white and choices is None:
        training = lengthened(training, counts.images.numel())
        improvement = adapt(network, parts, training, denoised, seed=seed, report=plan)
    best: torch.nn.Module = network
    if choices is None:
        width = safer_filter(network, probe, denoised, _pixels_at_once(images))
    else:
        width = choices.filtered
    if width is not None:
        if choices is None:
            _warn_of_filter(width, noise)
        best = GaussianFilter(width)
    flips = FLIPS if training is None else ALL_FLIPS
    without, clean = _recovered(noise, plan, best, counts, flips).unbind(1)
    seen = counts.predicted()
    comparable = width is None and not series and _large_enough(images)
    if training is not None and comparable and _as_assumed(seen, without, noise):
        recovered = partial(_recovered, noise, plan, best)
        shares = _shares(recovered, counts, without, noise, seed)
        if shares is not None:
            both = torch.stack([without, clean], 1)
            clean = _mixed(both, counts, noise, shares)[:, 1]
            denoised = partial(denoised, shares=shares)
    spread = samples = calibration = None
    if draws:
        deviations = measured_again(
            lambda data: denoised(best, data, FLIPS), counts, clean, noise, draws, generator
        )
        if untouched is not None:
            half = halves(parts, noise, generator, exposures)
            if training is not None and noise.white and width is None:
                adapt(untouched, half.seen, training, denoised, seed=seed, report=plan)
            state: torch.nn.Module = untouched if width is None else best
            calibration = _calibration(
                half, lambda data: denoised(state, data, FLIPS), noise, draws, generator
            )
            deviations = replace(deviations, scale=deviations.scale * calibration.stretch)
        spread = noise.spread(clean.to(images), deviations.spread().to(images))
        if sampled:
            samples = noise.values(deviations.samples(generator).to(images))
    plan.finish()
    return CountsResult(
        noise.values(clean.to(images), mean=width != 0),
        spread,
        samples,
        improvement,
        width,
        calibration,
        partial(_residual, seen.images, clean, seen.valid, noise, report),
        partial(_in_groups, replica_strengths, seen.images, without, seen.valid),
    )


def prepare(
    images: torch.Tensor,
    valid: torch.Tensor,
    noise: NoiseModel,
    network: CountsNetwork,
    training: Training | None,
    *,
    run: int,
    complete: bool,
    seed: int,
    bfloat16: bool = False,
    report: Callable[[int, float | None], None] | None = None,
    brightness: torch.Tensor | None = None,
) -> Choices:
    """Make the choices for a large data set from a sample of it, and train ``network`` on that.

    ``run`` images at a time follow each other in the sample ``(n, height, width)``. The choices are
    tested on the images in the middle of each run, or on some of all if the sample is ``complete``,
    because it consists of all data.
    """
    electrons = noise.electrons(images)
    counts = in_runs(electrons.float(), _good(images, valid, noise), run)
    counts = replace(counts, brightness=brightness)
    _made_ready(network, images.device, noise, bfloat16)
    steps = steps_to_prepare(training, len(images), images[0].numel(), run=run, complete=complete)
    plan = Plan(report, steps)
    denoised = partial(_denoised, noise, plan)
    own = tested(images) if complete else middles(counts, run)
    probe = Probe.from_chosen(replace(counts, own=own), electrons, noise, seed)
    pixels = _pixels_at_once(images)
    reach = best_reach(network, probe, denoised)
    probe = probe.reaching(reach)
    if training is not None and noise.white:
        parts = replace(probe.parts, own=None if complete else middles(counts, run, NEAR))
        longer = lengthened(training, len(parts.wanted()) * images[0].numel())
        adapt(network, parts, longer, denoised, seed=seed, report=plan)
    chosen = Choices(reach, safer_filter(network, probe, denoised, pixels))
    plan.finish()
    if chosen.filtered is not None:
        _warn_of_filter(chosen.filtered, noise)
    return chosen


def _warn_of_filter(width: float, noise: NoiseModel) -> None:
    plain = f"a Gaussian filter of {width:g} pixels" if width else "the data themselves"
    warn(
        f"{plain} predict{'s' if width else ''} held-out data better than the network does, so "
        f"{'the filtered image is' if width else 'the data are'} returned instead of the "
        f"network's image; check whether the gain of {noise.gain:.3g} is right",
        CountsWarning,
    )


def _denoised(
    noise: NoiseModel,
    report: Callable[[int, float | None], None] | None,
    state: torch.nn.Module,
    data: Counts,
    flips: int = 1,
    shares: torch.Tensor | None = None,
) -> torch.Tensor:
    both = _recovered(noise, report, state, data, flips)
    return (both if shares is None else _mixed(both, data, noise, shares))[:, 1]


def _recovered(
    noise: NoiseModel,
    report: Callable[[int, float | None], None] | None,
    state: torch.nn.Module,
    data: Counts,
    flips: int,
) -> torch.Tensor:
    """The network's images with what it has missed, ``(n, 2, height, width)``: without replicas
    and with them.
    """
    rate = predict(state, data, flips=flips, pixels=_pixels_at_once(data.images), report=report)
    seen = data.predicted()
    finished = partial(_finished, noise=noise)
    return _in_groups(finished, seen.images, rate, seen.valid, report=report)


def _shares(
    recovered: Callable[[Counts, int], torch.Tensor],
    counts: Counts,
    clean: torch.Tensor,
    noise: NoiseModel,
    seed: int,
) -> torch.Tensor | None:
    """How much of the image filtered by similar patches is to be taken, pixel by pixel."""
    generator = torch.Generator(device="cpu").manual_seed(seed)
    return best_shares(
        lambda images: recovered(replace(counts, images=images), FLIPS)[:, 0],
        lambda images, image: filter_similar(images, image, counts.valid, noise),
        counts.images,
        clean,
        lambda image: noise.measured(image, generator),
    )


def _mixed(
    both: torch.Tensor, counts: Counts, noise: NoiseModel, shares: torch.Tensor
) -> torch.Tensor:
    """The images of :func:`_recovered` with these shares of one filtered by similar patches. The
    filter would remove replicas: they are those that were found without it.
    """
    clean, replicas = both[:, 0], both[:, 1] - both[:, 0]
    filtered = filter_similar(counts.images, clean, counts.valid, noise)
    mixed = clean + shares * (filtered - clean)
    mixed = _in_groups(conserve, counts.images, mixed, counts.valid)
    return torch.stack([mixed, mixed + replicas], 1)


def _good(images: torch.Tensor, valid: torch.Tensor, noise: NoiseModel) -> torch.Tensor:
    shown, gain = noise.proportional(images)
    return _in_groups(_flawless, shown, valid, images.new_full((len(images), 1, 1), gain))


def _made_ready(
    network: CountsNetwork, device: torch.device, noise: NoiseModel, bfloat16: bool
) -> None:
    network.arranged(device, to_train=False)
    network.rounded = bfloat16
    network.correlation = (0.0, 0.0) if noise.white else noise.correlation


def _finished(
    counts: torch.Tensor, rate: torch.Tensor, valid: torch.Tensor, noise: NoiseModel
) -> torch.Tensor:
    """The network's image with what it has missed: without replicas and with them."""
    recovered = rate
    if noise.white:
        recovered = recover_structure(counts, rate, valid, floor=FLOOR, counted=True).clamp(min=0)
    shape = (rate.shape[-2], rate.shape[-1])
    transfer = None if noise.white else noise.transfer(shape, rate.device)
    recovered = recover_locally(counts, recovered, valid, transfer).clamp(min=0)
    without = conserve(counts, recovered, valid)
    return torch.stack([without, recover_replicas(counts, without, valid)], 1)


def _residual(
    images: torch.Tensor,
    clean: torch.Tensor,
    valid: torch.Tensor,
    noise: NoiseModel,
    report: Callable[[int, float | None], None] | None,
) -> Residual:
    def numbers(*group: torch.Tensor) -> torch.Tensor:
        some, shown, known = group
        found = residual_of(some, shown, known, noise)
        return torch.stack([getattr(found, each.name) for each in fields(Residual)], 1)

    return Residual(*_in_groups(numbers, images, clean, valid, report=report).unbind(1))


def _calibration(
    half: Half,
    denoised: Callable[[Counts], torch.Tensor],
    noise: NoiseModel,
    draws: int,
    generator: torch.Generator,
) -> Calibration:
    """Calibration of errors that are stated for one half of the data as for all of them."""
    clean = denoised(half.seen)
    return judged(half, measured_again(denoised, half.seen, clean, noise, draws, generator), noise)
