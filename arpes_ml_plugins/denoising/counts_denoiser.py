"""Denoise counts with a network, estimate the error of the result, and test it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial

import torch

from arpes_ml_plugins.denoising.adapting import Training, adapt
from arpes_ml_plugins.denoising.alike import without_copies
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
    unforeseen_power,
)
from arpes_ml_plugins.denoising.counts_network import NEAR, REACH, CountsNetwork
from arpes_ml_plugins.denoising.defects import dead_lines, hot_pixels
from arpes_ml_plugins.denoising.network_image import (
    denoised,
    in_groups,
    mixed,
    pixels_at_once,
    recovered,
    shares_of,
)
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
from arpes_ml_plugins.denoising.replicas import replica_strengths
from arpes_ml_plugins.denoising.residual import Residual, residual_of
from arpes_ml_plugins.denoising.series_noise import shared_noise
from arpes_ml_plugins.denoising.similar_patches import SMALLEST
from arpes_ml_plugins.denoising.splitting import Counts, whole_counts
from arpes_ml_plugins.errors import CountsWarning
from arpes_ml_plugins.frames import warn
from arpes_ml_plugins.report import Report

__all__ = [
    "ADAPTED",
    "SCRATCH",
    "CountsResult",
    "denoise_counts_images",
    "new_network",
    "prepare",
]

ADAPTED = Training(steps=24, learning_rate=2e-4)
"""Training of a pre-trained network, which is short."""
SCRATCH = Training(steps=120, learning_rate=4e-3, average=0.97, warm_up=20, checks=10)
"""Training of a new network."""
SMALL = (32, 48, 64)
UNSEEN = 1.14  # counts in the whole image: 68 % limit on what was expected if there was none
STRENGTH = 1.4  # times: the residual may have more or less power than the noise that is assumed
LOST = (0.5, 0.1), (1.3, 0.2)
"""The same of correlated noise that was measured from place to place, and fraction of the pixels
around which more than noise is left: noise was measured together with structure if the power is
lower and the fraction higher than the first pair, or either is higher than the second."""


@dataclass(frozen=True)
class CountsResult:
    """Result in the unit of the images."""

    clean: torch.Tensor  # (n, height, width)
    used: torch.Tensor
    """Mask of the pixels without defects, same shape."""
    spread: torch.Tensor | None
    """Standard deviation of ``clean``, if requested."""
    samples: torch.Tensor | None
    """Samples of the true image, ``(draws, n, height, width)``, if requested."""
    filtered: float | None
    """Width in pixels of the Gaussian filter that took the network's place, if one did."""
    calibration: Calibration | None
    """Calibration of the errors, if requested."""
    residual: Callable[[], Residual]
    """Analyse the difference between the images and ``clean``."""
    shared: Callable[[], float]
    """Correlation of the noise of images that follow each other; NaN if the images are alone."""
    replicas: Callable[[], torch.Tensor]
    """Strengths of the replicas that were added, ``(n,)``; NaN without."""


def _large_enough(images: torch.Tensor) -> bool:
    """Whether images hold enough patches to compare."""
    return min(images.shape[-2:]) >= SMALLEST


def _as_assumed(counts: Counts, clean: torch.Tensor, noise: NoiseModel) -> bool:
    """Whether the residual is as strong as simulated measurements would say."""
    power = _residual(counts.images, clean, counts.valid, noise, None).power
    return not bool((power.log().abs() > math.log(STRENGTH)).any())


def _loses_structure(counts: Counts, clean: torch.Tensor, noise: NoiseModel) -> bool:
    """Whether more is left of the data than their noise, as it was measured with structure."""
    left = _residual(counts.images, clean, counts.valid, noise, None)
    power, places = left.power.nanmedian(), left.structure.nanmedian()
    weak = (power < LOST[0][0]) & (places > LOST[0][1])
    return bool(weak | (power > LOST[1][0]) | (places > LOST[1][1]))


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
    report: Report | None = None,
    exposures: torch.Tensor | None = None,
    choices: Choices | None = None,
    untouched: CountsNetwork | None = None,
    own: torch.Tensor | None = None,
    brightness: torch.Tensor | None = None,
    local: bool = False,
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
    others, ``(n, height or 1, width or 1)``. If the noise was measured from place to place
    (``local``), is correlated, and more than it is left, the images themselves are returned.
    """
    electrons = noise.electrons(images)
    counts = Counts(
        electrons.float(),
        _good(images, valid, noise),
        REACH if series else 0,
        places=without_copies(images, None) if series else None,
        own=own,
        brightness=brightness,
        series=series,
    )
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
    if training is not None and choices is None:
        training = lengthened(training, images.numel())
    work = _Work(noise, training, Plan(report, steps), seed)
    probe = None
    if choices is None:
        probe = Probe.of(counts, electrons, noise, seed, exposures)
        if series:
            probe = probe.reaching(best_reach(network, probe, work.denoised))
        counts = replace(counts, reach=probe.counts.reach)
    else:
        counts = replace(counts, reach=choices.reach)
    generator = torch.Generator(device="cpu").manual_seed(seed)
    # Only splitting needs whole numbers; rounding at random adds noise that the network would see.
    parts = counts
    if noise.white and (training is not None or draws):
        parts = replace(counts, images=whole_counts(electrons, generator))
    width = None if choices is None else choices.filtered
    if probe is not None:
        width = work.chosen(network, parts, probe)
    best = network if width is None else GaussianFilter(width)
    without, clean, from_data, shares = work.images(
        best, counts, alone=width is None and not series
    )
    unsure = local and width is None and not noise.white
    if unsure and _loses_structure(counts.predicted(), clean, noise):
        width, best = 0.0, GaussianFilter(0.0)
        without, clean, from_data, shares = work.images(best, counts, alone=False)
        _warn_of_structure()
    spread = samples = calibration = None
    if draws:
        denoise = partial(work.denoised, flips=FLIPS, shares=shares)
        deviations = measured_again(partial(denoise, best), counts, clean, noise, draws, generator)
        if untouched is not None:
            half = halves(parts, noise, generator, exposures)
            if width is None:
                work.adapt(untouched, half.seen, shares)
            other = partial(denoise, untouched if width is None else best)
            calibration = _calibration(half, other, noise, draws, generator)
            deviations = replace(deviations, scale=deviations.scale * calibration.stretch)
        known = counts.predicted().valid.sum((1, 2), keepdim=True).clamp(min=1)
        if width is not None:  # a filter sees no further than its width
            known = known.clamp(max=1 + 4 * math.pi * width**2)
        deviation = torch.maximum(deviations.spread(), UNSEEN / known)
        spread = noise.spread(clean.to(images), deviation.to(images))
        if sampled:
            samples = noise.values(deviations.samples(generator).to(images))
    work.plan.finish()
    seen = counts.predicted()
    return CountsResult(
        noise.values(clean.to(images), mean=width != 0),
        seen.valid,
        spread,
        samples,
        width,
        calibration,
        partial(_residual, seen.images, clean, seen.valid & (from_data == 0), noise, report),
        partial(shared_noise, seen.images, clean, seen.valid) if series else lambda: math.nan,
        partial(
            in_groups,
            partial(replica_strengths, series=series),
            seen.images,
            without,
            seen.valid,
        ),
    )


@dataclass(frozen=True)
class _Work:
    """Steps of denoising, with what they have in common."""

    noise: NoiseModel
    training: Training | None
    plan: Plan
    seed: int

    def denoised(
        self,
        state: torch.nn.Module,
        data: Counts,
        flips: int = 1,
        shares: torch.Tensor | None = None,
    ) -> torch.Tensor:
        return denoised(self.noise, self.plan, state, data, flips, shares)

    def adapt(
        self, network: CountsNetwork, parts: Counts, shares: torch.Tensor | None = None
    ) -> float:
        """Train ``network`` further on parts of the counts, if they can be split; the gain."""
        if self.training is None or not self.noise.white:
            return 0.0
        denoise = partial(self.denoised, flips=FLIPS, shares=shares)
        return adapt(network, parts, self.training, denoise, seed=self.seed, report=self.plan)

    def chosen(self, network: CountsNetwork, parts: Counts, probe: Probe) -> float | None:
        """Train the network; the width of the filter that serves better than it does.

        Parts of noise that is stronger than that of counts would teach it to let noise pass.
        """
        power = unforeseen_power(network, probe, self.denoised)
        if power is None:
            self.adapt(network, parts)
        pixels = pixels_at_once(parts.images)
        width = safer_filter(network, probe, self.denoised, pixels, power)
        if width is not None:
            _warn_of_filter(width, self.noise)
        return width

    def images(
        self, state: torch.nn.Module, counts: Counts, *, alone: bool
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Images without replicas and with them, the share of the data in them, and the shares of
        those filtered by similar patches, which only images ``alone`` have.
        """
        images_of = partial(recovered, self.noise, self.plan, state)
        images = images_of(counts, FLIPS if self.training is None else ALL_FLIPS)
        without, clean, from_data = images.unbind(1)
        if self.training is None or not alone or not _large_enough(counts.images):
            return without, clean, from_data, None
        if not _as_assumed(counts.predicted(), without, self.noise):
            return without, clean, from_data, None
        shares = shares_of(images_of, counts, without, self.noise, self.seed)
        if shares is not None:
            clean = mixed(images, counts, self.noise, shares)[:, 1]
        return without, clean, from_data, shares


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
    report: Report | None = None,
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
    own = tested(images) if complete else middles(counts, run)
    probe = Probe.from_chosen(replace(counts, own=own), electrons, noise, seed)
    parts = replace(probe.parts, own=None if complete else middles(counts, run, NEAR))
    if training is not None:
        training = lengthened(training, len(parts.wanted()) * images[0].numel())
    work = _Work(noise, training, Plan(report, steps), seed)
    reach = best_reach(network, probe, work.denoised)
    width = work.chosen(network, replace(parts, reach=reach), probe.reaching(reach))
    work.plan.finish()
    return Choices(reach, width)


def _warn_of_filter(width: float, noise: NoiseModel) -> None:
    plain = f"a Gaussian filter of {width:g} pixels" if width else "the data themselves"
    warn(
        f"{plain} predict{'s' if width else ''} held-out data better than the network does, so "
        f"{'the filtered image is' if width else 'the data are'} returned instead of the "
        f"network's image; check whether the gain of {noise.gain:.3g} is right",
        CountsWarning,
    )


def _warn_of_structure() -> None:
    warn(
        "the network removes more than the noise, as from derivatives of smoothed images, whose "
        "structure is as fine as their noise; the data are returned instead: denoise the measured "
        "intensity, and do everything else with the result",
        CountsWarning,
    )


def _good(images: torch.Tensor, valid: torch.Tensor, noise: NoiseModel) -> torch.Tensor:
    shown, gain = noise.proportional(images)
    return in_groups(_flawless, shown, valid, images.new_full((len(images), 1, 1), gain))


def _made_ready(
    network: CountsNetwork, device: torch.device, noise: NoiseModel, bfloat16: bool
) -> None:
    network.arranged(device, to_train=False)
    network.rounded = bfloat16
    network.correlation = (0.0, 0.0) if noise.white else noise.correlation


def _residual(
    images: torch.Tensor,
    clean: torch.Tensor,
    valid: torch.Tensor,
    noise: NoiseModel,
    report: Report | None,
) -> Residual:
    def numbers(*group: torch.Tensor) -> torch.Tensor:
        some, shown, known = group
        found = residual_of(some, shown, known, noise)
        return torch.stack([getattr(found, each.name) for each in fields(Residual)], 1)

    return Residual(*in_groups(numbers, images, clean, valid, report=report).unbind(1))


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
