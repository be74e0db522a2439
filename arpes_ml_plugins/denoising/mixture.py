"""Mix the images of two denoisers, each where it is nearer to the truth.

How near each comes is measured: measurements of the present image are simulated, and both denoisers
are applied to them. The share of the second one that leaves the smallest error there, region by
region, is the share that is used. An image that was smoothed by the first denoiser hides what this
one smooths, so the measurement is repeated with the mixed image.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from arpes_ml_plugins.denoising.gaussian_means import gaussian_mean

__all__ = ["DRAWS", "ROUNDS", "best_shares"]

ROUNDS = 2
DRAWS = 2  # simulated measurements of a round
REGION = 8.0  # pixels, width of the Gaussian over which errors are averaged
DARK = 1e-6  # electrons; keeps quotients finite
FLOOR = 0.1  # of the mean intensity: below it an error counts less
LEAST = 0.01  # of the squared error; what takes away less is not worth its time

Denoiser = Callable[[torch.Tensor], torch.Tensor]


def best_shares(
    first: Denoiser,
    second: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    images: torch.Tensor,
    clean: torch.Tensor,
    valid: torch.Tensor,
    measured: Denoiser,
) -> torch.Tensor | None:
    """Return the shares of the second denoiser, ``(n, height, width)``; None if it is of no use.

    Parameters
    ----------
    first
        The first denoiser, of images ``(n, height, width)``.
    second
        The second one, of images and of the first one's result.
    images, clean
        The images and what the first denoiser makes of them.
    valid
        Pixels that count, ``(n, height, width)`` bool.
    measured
        A simulated measurement of an image.
    """
    other = second(images, clean)
    shares = torch.zeros_like(clean)
    for _ in range(ROUNDS):
        truth = clean + shares * (other - clean)
        measurements = [measured(truth) for _ in range(DRAWS)]
        results = [first(again) for again in measurements]
        others = [second(*pair) for pair in zip(measurements, results, strict=True)]
        standard = (truth + FLOOR * truth.mean((-2, -1), keepdim=True)).clamp(min=DARK).sqrt()
        weight = valid / standard
        error = (torch.stack(results) - truth) * weight
        change = (torch.stack(others) - torch.stack(results)) * weight
        shares = _smallest_error(error, change)
        if (error + shares * change).square().sum() >= (1 - LEAST) * error.square().sum():
            return None
    return shares


def _smallest_error(error: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
    """Shares of ``change`` that minimise the squared error, ``(draws, n, height, width)``."""
    numbers = torch.stack([-error * change, change.square()], 2).sum(0)
    gain, square = gaussian_mean(numbers, torch.ones_like(numbers), REGION).unbind(1)
    tiny = torch.finfo(square.dtype).tiny
    return (gain / square.clamp(min=tiny)).clamp(0, 1)
