"""Power of small blocks of images against frequency, and white noise to compare it with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch

from arpes_ml_plugins.denoising.cosines import cosines
from arpes_ml_plugins.denoising.gaussian_means import gaussian_mean
from arpes_ml_plugins.denoising.streams import normal

__all__ = ["FEWEST", "QUIET", "Blocks", "blocks_of", "quantile", "smoothed", "white_noise"]

SMOOTH = 4.0  # pixels, over which the intensity is averaged
BLOCK, SMALL_BLOCK = 16, 8  # pixels
LARGE_ENOUGH = 48  # pixels along an axis, for the larger block
QUIET = 0.3  # quantile over the blocks
DARK = 0.05  # of the mean intensity: blocks with darker pixels are not used
COMPLETE = 0.8  # of the pixels of a block
FEWEST, MOST = 4, 1500  # blocks that are used
MOST_COUNTS = 1e12  # per pixel that are drawn: data without noise have no end of them
TINY = 1e-4  # of the mean intensity: keeps quotients finite


@dataclass(frozen=True)
class Blocks:
    """Half-overlapping blocks of a stack of images that are complete and bright enough."""

    size: int
    bright: torch.Tensor
    """Smooth intensity of the images, ``(n, height, width)``."""
    mask: torch.Tensor
    chosen: torch.Tensor  # (blocks,)
    level: torch.Tensor
    """Mean intensity of each block, ``(blocks,)``."""

    @classmethod
    def of(
        cls, images: torch.Tensor, valid: torch.Tensor, enough: torch.Tensor | None = None
    ) -> Blocks:
        """Choose blocks of ``images``, shape ``(n, height, width)``.

        Dark ones are left out, unless they contain ``enough`` intensity in total.
        """
        size = BLOCK if min(images.shape[-2:]) >= LARGE_ENOUGH else SMALL_BLOCK
        mask = valid.to(images)
        smooth = smoothed(torch.where(valid, images, 0), mask).clamp(min=0)
        mean = (smooth * mask).sum() / mask.sum()
        dark = DARK * mean
        if enough is not None:
            dark = torch.minimum(dark, enough / size**2)
        chosen = _chosen(smooth, mask, dark, size)
        bright = smooth + TINY * mean + torch.finfo(mean.dtype).tiny
        return cls(size, bright, mask, chosen, blocks_of(bright, size)[chosen].mean((-2, -1)))

    def power(self, noise: torch.Tensor) -> torch.Tensor:
        """Power over the intensity of groups of 2 x 2 modes, ``(blocks, size / 2, size / 2)``."""
        cut = blocks_of(noise * self.mask, self.size)[self.chosen]
        matrix, window = (part.to(cut) for part in _transform(self.size))
        modes = matrix @ ((cut - cut.mean((-2, -1), keepdim=True)) * window) @ matrix.mT
        half = self.size // 2
        groups = modes.square().reshape(-1, half, 2, half, 2).mean((2, 4))
        return groups / self.level[:, None, None]

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Mean of each block, weighted as its power is."""
        cut, kept = (blocks_of(x, self.size)[self.chosen] for x in (values * self.mask, self.mask))
        weight = _transform(self.size)[1].to(values).square()
        return (cut * weight).sum((-2, -1)) / (kept * weight).sum((-2, -1))

    def white(self, gain: torch.Tensor | None, generator: torch.Generator) -> torch.Tensor:
        """Power of simulated white noise of gain 1: that of counts of ``gain``, or Gaussian."""
        return self.power(white_noise(self.bright, gain, generator))


def smoothed(images: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Gaussian mean of the valid pixels, ``(n, height, width)``."""
    return gaussian_mean(images[:, None], mask[:, None], SMOOTH)[:, 0]


def white_noise(
    bright: torch.Tensor, gain: torch.Tensor | None, generator: torch.Generator
) -> torch.Tensor:
    """Noise of gain 1 around zero: that of counts of ``gain`` each, or Gaussian."""
    if gain is None:
        return normal(bright, generator) * bright.sqrt()
    expected = torch.nan_to_num(bright / gain).cpu().clamp(max=MOST_COUNTS)
    drawn = torch.poisson(expected, generator=generator) - expected
    return drawn.to(bright.device) * gain.sqrt()


def quantile(power: torch.Tensor, level: float = QUIET) -> torch.Tensor:
    """Over the blocks."""
    rank = round(level * (len(power) - 1)) + 1
    return power.flatten(1).mT.contiguous().kthvalue(rank, -1).values.reshape(power.shape[1:])


def blocks_of(values: torch.Tensor, size: int, step: int | None = None) -> torch.Tensor:
    """Blocks of images, ``(blocks, size, size)``: half-overlapping, or ``step`` pixels apart."""
    step = size // 2 if step is None else step
    return values.unfold(-2, size, step).unfold(-2, size, step).reshape(-1, size, size)


def _chosen(
    smooth: torch.Tensor, mask: torch.Tensor, dark: torch.Tensor, size: int
) -> torch.Tensor:
    """Indices of complete blocks that are bright enough, evenly spread; of any if they are few."""
    complete = blocks_of(mask, size).mean((-2, -1)) >= COMPLETE
    darkest = blocks_of(torch.where(mask > 0, smooth, torch.inf), size).amin((-2, -1))
    used = (complete & (darkest > dark)).nonzero()[:, 0]
    if len(used) < FEWEST:
        used = (blocks_of(mask, size).mean((-2, -1)) > 0).nonzero()[:, 0]
    return used[:: len(used) // MOST + 1]


@lru_cache
def _transform(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine transform and a window that fades towards the edges of a block."""
    one = torch.hann_window(size + 2, periodic=False, dtype=torch.float64, device="cpu")[1:-1]
    window = one[:, None] * one
    return cosines(size), window / window.square().mean().sqrt()
