"""Estimate the error of a denoised image: simulate measurements of it, and denoise them again.

How far the results scatter shows the noise that got through; how far their mean is from the clean
image shows what the denoiser smooths away: what it does to the clean image it has done to the
truth. Structure that the clean image lacks altogether shows in neither, but in a comparison of the
clean image with the data (``missed.py``), and in the residual of the data, as more variance over a
few pixels than the repetitions have there. If single pixels have as much more, it is no structure:
the noise is stronger than assumed, as with over-dispersed counts, and all deviations are scaled. If
single pixels alone have more everywhere, and the noise is correlated, its spectrum is another.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch

from arpes_ml_plugins.denoising.gaussian_means import gaussian_mean
from arpes_ml_plugins.denoising.lines_left import variance_left
from arpes_ml_plugins.denoising.missed import Misfit, faint_ridges
from arpes_ml_plugins.denoising.noise_model import NoiseModel
from arpes_ml_plugins.denoising.splitting import Counts
from arpes_ml_plugins.denoising.streams import normal

__all__ = ["Deviations", "measured_again"]

SCALE = 0.97  # of errors over deviations: 68 % bars then hold 75 % of simulated scenes
SMOOTH = 1.5  # pixels over which squared deviations are averaged
REGION = 8.0  # pixels, in which the residual is compared with those of the repetitions
SHARED = 12.0  # pixels, over which structure that is missing is missing together
COARSE = 1.5  # pixels; what the network misses is wider than one
CERTAIN = 3.0  # standard deviations of a misfit that is no chance
LEAST = 1e-3  # misfit that says anything
DARK = 1e-3  # counts per pixel; keeps quotients finite
FLOOR = 0.1  # of the mean intensity: below it a misfit counts less


@dataclass(frozen=True)
class Deviations:
    """Deviations of repeated measurements from the clean image that they repeat, in electrons."""

    clean: torch.Tensor  # (n, height, width)
    repeated: torch.Tensor
    """Repetitions less the clean image, ``(draws, n, height, width)``."""
    missing: torch.Tensor
    """Variance of what the clean image lacks in single pixels, ``(n, height, width)``."""
    shared: torch.Tensor
    """Structure that it lacks or has too much, of either sign, ``(kinds, n, height, width)``."""
    scale: float = SCALE
    """Factor from these deviations to errors."""
    lines: torch.Tensor = field(default_factory=lambda: torch.zeros(2, 1))
    """Relative variance of the brightness of rows and of columns that it lacks, ``(2, n)``."""

    def spread(self) -> torch.Tensor:
        """Standard deviation of the clean image, ``(n, height, width)``."""
        # In units of the intensity, or a bright band would lend its deviations to the dark around.
        intensity = self.clean + DARK
        relative = (self.repeated.square().mean(0) / intensity)[:, None]
        smooth = gaussian_mean(relative, torch.ones_like(relative), SMOOTH)[:, 0] * intensity
        lines = self.lines.sum(0)[:, None, None] * self.clean.square()
        return self.scale * (smooth + self.missing + self.shared.square().sum(0) + lines).sqrt()

    def samples(self, generator: torch.Generator) -> torch.Tensor:
        """Samples of the true image, ``(draws, n, height, width)``; their mean is the clean one.

        The bias, known in size, has one sign in all of a sample: it is shared by all pixels of a
        fit. Structure that the clean image lacks has a factor that changes slowly over the image.
        What it lacks in single pixels is different in every one. These three move intensity from
        place to place within a region.
        """
        draws = len(self.repeated)
        bias = self.repeated.mean(0)
        # The mean of a few repetitions scatters, too: what it adds is taken off the scatter.
        scatter = (self.repeated - bias) * (1 - 1 / draws) ** 0.5
        signs = normal(scatter, generator, [draws])
        signs = (signs - signs.mean()) / signs.std()
        unseen = normal(scatter, generator)
        hidden = signs[:, None, None, None] * bias
        hidden += (unseen - unseen.mean(0)) * self.missing.sqrt()
        for structure in self.shared:
            factor = normal(scatter, generator)
            factor = gaussian_mean(factor, torch.ones_like(factor), SHARED)
            factor = (factor - factor.mean(0)) / factor.std(0).clamp(min=1e-12)
            hidden += factor * structure
        deviation = scatter + self._redistributed(hidden)
        for axis, variance in zip((-1, -2), self.lines, strict=True):
            factor = normal(scatter.narrow(axis, 0, 1), generator)
            factor = (factor - factor.mean(0)) * variance.sqrt()[:, None, None]
            deviation += factor * self.clean
        return (self.clean + self.scale * deviation).clamp(min=0)

    def _redistributed(self, hidden: torch.Tensor) -> torch.Tensor:
        """Deviations without a change of the total of any region, which the data determine."""
        shares = self.clean[:, None] + DARK
        everywhere = torch.ones_like(shares)
        region = gaussian_mean(shares, everywhere, REGION)
        return torch.stack(
            [
                one - (shares * gaussian_mean(one[:, None], everywhere, REGION) / region)[:, 0]
                for one in hidden
            ]
        )


def measured_again(
    denoised: Callable[[Counts], torch.Tensor],
    counts: Counts,
    clean: torch.Tensor,
    noise: NoiseModel,
    draws: int,
    generator: torch.Generator,
) -> Deviations:
    """Simulate ``draws`` measurements of ``clean`` and denoise each as the data were."""
    repeated = clean.new_empty((draws, *clean.shape))
    fine, coarse = clean.new_empty((2, draws, *clean.shape))
    misfit = Misfit(clean, counts.valid, draws)
    lines = clean.new_empty((draws, 2, len(clean)))
    for draw in range(draws):
        drawn = noise.measured(clean, generator)
        again = denoised(replace(counts, images=drawn))
        repeated[draw] = again - clean
        fine[draw], coarse[draw] = _misfits(drawn, again, counts.valid)
        misfit.seen[draw] = misfit.compare(drawn - again)
        lines[draw] = variance_left(drawn - again, again, counts.valid)
    seen_fine, seen_coarse = _misfits(counts.images, clean, counts.valid)
    # More noise than was assumed is alike at all wavelengths; missing structure is not.
    usual, usual_coarse = (_or_nan(part.mean(0)) for part in (fine, coarse))
    all_pixels, everywhere = clean.new_ones((2, len(clean), 1, 1))
    if not noise.white:
        all_pixels, everywhere = _levels(seen_fine / usual, seen_coarse / usual_coarse)
    here = _beyond_chance(seen_fine / (all_pixels * usual) - 1, fine / usual).nan_to_num()
    louder = everywhere * (1 + here)
    spectrum = all_pixels / everywhere
    missing = _beyond_chance(seen_coarse - louder * coarse.mean(0), louder * coarse).clamp(min=0)
    share = 1 / (4 * math.pi * COARSE**2)
    residual = counts.images.to(clean) - clean
    # Ridges are as narrow as single pixels nearly, so all of their noise may pass for some.
    ridges = faint_ridges(counts.images, clean, counts.valid, noise, spectrum * louder)
    return Deviations(
        clean,
        repeated * louder.sqrt(),
        missing * clean * share + spectrum * misfit.sharp(residual / spectrum.sqrt(), louder),
        torch.stack([misfit.contrast(residual, louder), ridges]),
        lines=_lines_beyond(
            variance_left(residual, clean, counts.valid), louder.mean((-2, -1)) * lines
        ),
    )


def _or_nan(usual: torch.Tensor) -> torch.Tensor:
    """NaN for no misfit, where the data themselves are returned."""
    return torch.where(usual > LEAST, usual, torch.nan)


def _levels(fine: torch.Tensor, coarse: torch.Tensor) -> torch.Tensor:
    """Variance of single pixels over the usual one, and what of it longer wavelengths share, both
    over whole images, ``(2, n, 1, 1)``.

    Interpolation and the pixels of a detector leave other spectra than a Gaussian cloud of the same
    correlation. Pixels have more noise then than in the repetitions, but what passes a denoiser is
    no more, nor is structure missing. ``fine`` and ``coarse`` are misfits over the usual ones.
    """
    of_pixels, of_both = (x.flatten(1).nanmedian(1).values for x in (fine, coarse))
    shared = torch.minimum(of_both, of_pixels.clamp(min=1))
    shared = torch.maximum(shared, of_pixels.clamp(max=1))
    return torch.stack([of_pixels, shared]).nan_to_num(1.0)[..., None, None]


def _lines_beyond(left: torch.Tensor, repeated: torch.Tensor) -> torch.Tensor:
    """The variance of lines beyond that of the repetitions, if it is no chance."""
    excess = left - repeated.mean(0)
    return torch.where(excess > CERTAIN * repeated.std(0), excess, 0)


def _beyond_chance(excess: torch.Tensor, repeated: torch.Tensor) -> torch.Tensor:
    """The part of ``excess`` beyond the scatter of ``repeated``, of either sign."""
    chance = CERTAIN * repeated.std(0).nanmean((-2, -1), keepdim=True)
    return excess.sign() * (excess.abs() - chance).clamp(min=0)


def _misfits(
    images: torch.Tensor, clean: torch.Tensor, valid: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Squared residual over its expectation, averaged over a region around each pixel.

    Of single pixels, and of the residual averaged over a few of them.
    """
    mask = valid[:, None].to(clean)
    floor = FLOOR * clean.mean((-2, -1), keepdim=True)
    standard = ((images - clean) / (clean + floor).clamp(min=1e-12).sqrt())[:, None] * mask
    smooth = gaussian_mean(standard, mask, COARSE) * mask
    expected = (clean / (clean + floor).clamp(min=1e-12))[:, None] * mask
    parts = torch.cat([standard.square(), smooth.square() * 4 * math.pi * COARSE**2, expected], 1)
    fine, coarse, level = gaussian_mean(parts, torch.ones_like(parts), REGION).unbind(1)
    return fine / level.clamp(min=1e-12), coarse / level.clamp(min=1e-12)
