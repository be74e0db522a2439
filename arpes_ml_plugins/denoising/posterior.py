"""How sure a denoised image is: the clean image measured again, many times, and denoised again.

How far the results scatter shows the noise that got through; how far their mean is from the clean
image shows what the denoiser smooths away: what it does to the clean image it has done to the
truth. Structure that the clean image lacks altogether shows in neither, but in the residual of the
data, as more variance than the repetitions have there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from arpes_ml_plugins.denoising.counts_network import gaussian_mean
from arpes_ml_plugins.denoising.noise_model import NoiseModel
from arpes_ml_plugins.denoising.splitting import Counts

__all__ = ["FEWEST_DRAWS", "Deviations", "measured_again"]

FEWEST_DRAWS = 2
SCALE = 1.1  # by which deviations are too small: 68 % of simulated scenes
SMOOTH = 3.0  # pixels over which squared deviations are averaged
REGION = 8.0  # pixels, in which the residual is compared with those of the repetitions
CERTAIN = 3.0  # standard deviations of a misfit that is no chance
DARK = 1e-3  # counts a pixel; keeps quotients finite
FLOOR = 0.1  # of the mean intensity: below it a misfit counts less


@dataclass(frozen=True)
class Deviations:
    """Of repeated measurements from the clean image that they repeat, in electrons."""

    clean: torch.Tensor  # (n, height, width)
    repeated: torch.Tensor
    """Repetitions less the clean image, ``(draws, n, height, width)``."""
    missing: torch.Tensor
    """Variance of what the clean image lacks, ``(n, height, width)``."""

    def spread(self) -> torch.Tensor:
        """Standard deviation of the clean image, ``(n, height, width)``."""
        # In units of the intensity, or a bright band would lend its deviations to the dark around.
        intensity = self.clean + DARK
        relative = (self.repeated.square().mean(0) / intensity)[:, None]
        smooth = gaussian_mean(relative, torch.ones_like(relative), SMOOTH)[:, 0] * intensity
        return SCALE * (smooth + self.missing).sqrt()

    def samples(self, generator: torch.Generator) -> torch.Tensor:
        """Images that the truth may be, ``(draws, n, height, width)``; their mean is the clean one.

        The bias, known in size, has one sign in all of a sample: it is shared by all pixels of a
        fit. What the clean image lacks is different in every pixel.
        """
        draws = len(self.repeated)
        bias = self.repeated.mean(0)
        scatter = (self.repeated - bias) * (draws / (draws - 1)) ** 0.5
        signs = torch.randn(draws, generator=generator, dtype=bias.dtype)
        signs = (signs - signs.mean()) / signs.std(correction=0)
        unseen = torch.randn(scatter.shape, generator=generator, dtype=bias.dtype).to(scatter)
        deviation = scatter + signs.to(scatter)[:, None, None, None] * bias
        deviation += (unseen - unseen.mean(0)) * self.missing.sqrt()
        return (self.clean + SCALE * deviation).clamp(min=0)


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
    misfits = clean.new_empty((draws, *clean.shape))
    for draw in range(draws):
        drawn = _measured(clean, noise, generator)
        again = denoised(replace(counts, images=drawn))
        repeated[draw] = again - clean
        misfits[draw] = _misfit(drawn, again, counts.valid)
    chance = misfits.std(0).mean((-2, -1), keepdim=True)
    excess = _misfit(counts.images, clean, counts.valid) - misfits.mean(0) - CERTAIN * chance
    return Deviations(clean, repeated, excess.clamp(min=0) * clean)


def _measured(clean: torch.Tensor, noise: NoiseModel, generator: torch.Generator) -> torch.Tensor:
    if noise.white:
        return torch.poisson(clean.cpu(), generator=generator).to(clean)
    return (clean + noise.drawn(clean, generator)).clamp(min=0)


def _misfit(images: torch.Tensor, clean: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Squared residual over its expectation, averaged over a region around each pixel."""
    weight = valid / (clean + FLOOR * clean.mean((-2, -1), keepdim=True)).clamp(min=1e-12)
    parts = torch.stack([(images - clean).square() * weight, clean * weight], 1)
    residual, expected = gaussian_mean(parts, torch.ones_like(parts[:, :1]), REGION).unbind(1)
    return residual / expected.clamp(min=1e-12)
