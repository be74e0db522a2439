"""Estimate noise from repeated exposures: the scene cancels in their differences."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from arpes_ml_plugins.denoising.gaussian_means import gaussian_mean
from arpes_ml_plugins.denoising.noise_model import NoiseModel

__all__ = ["differences", "drift", "every_second"]

SMOOTH = 4.0  # pixels, over which the mean is averaged
NEAR = 1.0  # pixels; the noise follows the mean at this resolution
DARKEST = 1e-3  # of the mean
LARGEST = 1000.0  # correction of a variance
BLOCK = 16  # pixels, whose sums are compared between exposures
FEWEST = 30.0  # counts of such a block


def differences(exposures: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Images without structure, with the mean and the noise of a single exposure, and their mask.

    Parameters
    ----------
    exposures, valid
        Shape ``(n, repeats, height, width)``; of an odd number the last one is left out.

    Returns
    -------
    tuple of torch.Tensor
        Shape ``(n * (repeats // 2), height, width)``.
    """
    repeats = exposures.shape[1]
    first, second = (exposures[:, k : repeats - repeats % 2 : 2] for k in (0, 1))
    both = (valid.all(1, keepdim=True)).expand_as(first).flatten(0, 1)
    mean = torch.where(valid, exposures, 0).mean(1, keepdim=True).expand_as(first).flatten(0, 1)
    mask = both.to(mean)[:, None]
    smooth, near = (gaussian_mean(mean[:, None], mask, width)[:, 0] for width in (SMOOTH, NEAR))
    # Exposures of unlike length are brought to each other's, and their noise to that of the mean.
    sums = torch.where(valid.all(1, keepdim=True), exposures, 0).sum((-2, -1), keepdim=True)
    length = sums / sums.mean(1, keepdim=True)
    length = torch.where((length > 0) & length.isfinite(), length, 1)
    one, two = (length[:, k : repeats - repeats % 2 : 2] for k in (0, 1))
    scale = (one * two * (one + two)).sqrt()
    noise = torch.where(both, ((two * first - one * second) / scale).flatten(0, 1), 0)
    # On a sharp line there is more noise than the smooth mean says, beside it less.
    share = torch.where(smooth > 0, smooth / near.clamp(min=DARKEST * mean.mean().abs()), 1)
    evened = noise * share.clamp(max=LARGEST).sqrt()
    ratio = (noise.square().sum() / (mean * both).sum()) / (
        evened.square().sum() / (smooth * both).sum()
    )  # variance over mean stays what it was
    ratio = torch.where(ratio.isfinite() & (ratio > 0), ratio, 1)
    return smooth + evened * ratio.sqrt(), both


def every_second(
    exposures: torch.Tensor, valid: torch.Tensor, noise: NoiseModel
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Electrons of every second exposure and of the others, each ``(n, height, width)``, and the
    intensity of the latter over that of the former, ``(n, 1, 1)``.

    ``noise`` is that of the sum of the ``exposures``, ``(n, repeats, height, width)``.
    """
    electrons = (exposures + noise.shift / exposures.shape[1]) / noise.gain
    halves = [electrons[:, k::2].sum(1) for k in (0, 1)]
    sums = [torch.where(valid, half, 0).sum((-2, -1), keepdim=True) for half in halves]
    ratio = sums[1] / sums[0]
    by_number = (exposures.shape[1] // 2) / ((exposures.shape[1] + 1) // 2)
    known = (sums[0] > 0) & (sums[1] > 0)
    return halves[0], halves[1], torch.where(known, ratio, by_number)


def drift(
    exposures: torch.Tensor, valid: torch.Tensor, gain: torch.Tensor, shift: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Differences of exposures in shape relative to their noise (1 if equal), and the error.

    Their total intensities may differ, because a beam decays. NaN if there are too few counts.
    """
    together = valid.all(1, keepdim=True).to(exposures)
    sums, pixels = (
        F.avg_pool2d(x.flatten(0, 1)[:, None], BLOCK, ceil_mode=True, divisor_override=1)
        .reshape(*x.shape[:2], -1)
        .double()
        for x in (torch.where(together > 0, exposures, 0), together)
    )
    share = sums.sum(-1, keepdim=True) / sums.sum((1, 2), keepdim=True)
    expected = share * sums.sum(1, keepdim=True)
    variance = gain * (expected + shift.clamp(min=0) * pixels)
    used = (expected > FEWEST * gain).all(1, keepdim=True).expand_as(sums)
    freedom = used.sum() * (1 - 1 / exposures.shape[1])
    chi2 = ((sums - expected).square() / variance)[used].sum() / freedom
    return chi2, (2 / freedom).sqrt()
