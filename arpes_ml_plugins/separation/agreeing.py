"""Pool scores of shifts of neighbouring pixels as far as these agree: shifts may have steps.

A score is twice a log-likelihood, up to a constant. A neighbour shifts alike, or, with a small
probability, by anything: what it adds to the score of a pixel has a floor, so that pixels beyond a
step, as at the border of two grains, only say that they lie beyond it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from scipy.ndimage import gaussian_filter

from arpes_ml_plugins.separation.shift_scan import at

__all__ = ["agreed", "agreed_variance", "neighbours_help"]

OTHERWISE = 0.1  # of the neighbours: those that may shift by anything
DRAWN = 2  # times that neighbours draw a shift: what was found is already drawn once


def agreed(scores: torch.Tensor, sides: Sequence[float], shape: tuple[int, ...]) -> torch.Tensor:
    """Scores ``(k, t)`` with those of neighbours, weighted with a Gaussian that is 1 in its middle.

    Parameters
    ----------
    scores
        Of ``k`` candidates; all equal in pixels that say nothing.
    sides
        Standard deviations of the Gaussian along the axes of the image.
    shape
        Of the image.
    """
    like = _likelihoods(scores)
    own = 2 * (like + _odds(like)).log()
    return scores + _sums(own, sides, shape) - own


def agreed_variance(
    scores: torch.Tensor,
    candidates: torch.Tensor,
    shift: torch.Tensor,
    bend: torch.Tensor,
    noise: torch.Tensor,
    sides: Sequence[float],
    shape: tuple[int, ...],
) -> torch.Tensor:
    """Variances ``(t,)`` of the ``shift (t,)`` at which :func:`agreed` scores are largest.

    They are due to noise, and to neighbours that agree but do not shift quite alike. ``bend``:
    curvature of half the score of each pixel; ``noise``: variance of its derivative.
    """
    like = _likelihoods(scores)
    share = like / (like + _odds(like))
    slope = torch.gradient(scores / 2, spacing=float(candidates[1] - candidates[0]), dim=0)[0]
    doubt = share * (1 - share) * slope.square()  # what is asked less has less of a maximum

    def total(own: torch.Tensor, images: torch.Tensor, power: int = 1) -> torch.Tensor:
        summed = _sums(images, [side / math.sqrt(power) for side in sides], shape) - images
        return own + at(summed, candidates, shift)

    known = torch.maximum(total(bend, share * bend - doubt), bend).clamp(min=1e-30)
    asked = total(bend, share * bend).clamp(min=1e-30)
    drawn = torch.zeros_like(shift)
    for _ in range(DRAWN):
        straight = shift - drawn
        drawn = total(bend * straight, share * bend * straight) / asked - straight
    return total(noise, share.square() * noise, 2) / known.square() + drawn.square()


def neighbours_help(
    free: Sequence[torch.Tensor], pooled: Sequence[torch.Tensor], used: torch.Tensor
) -> bool:
    """Whether shifts are nearer to the truth if neighbours are asked.

    Both kinds are given twice, ``(t,)`` each, from halves of the channels, whose noise is
    independent. Shifts from all channels have at most half the variance of those from one half.
    """

    def apart(one: torch.Tensor, other: torch.Tensor) -> float:
        return float((one - other).square()[used].median())

    noise = apart(free[0], free[1]) / 2
    off = (apart(pooled[0], free[1]) + apart(pooled[1], free[0])) / 2 - noise
    return off < noise / 2


def _likelihoods(scores: torch.Tensor) -> torch.Tensor:
    """Likelihoods ``(k, t)``, over the largest of each pixel."""
    return ((scores - scores.amax(0)) / 2).exp()


def _odds(like: torch.Tensor) -> torch.Tensor:
    """What a pixel ``(t,)`` that shifts by any candidate adds to its likelihoods."""
    return OTHERWISE / (1 - OTHERWISE) * like.mean(0)


def _sums(images: torch.Tensor, sides: Sequence[float], shape: tuple[int, ...]) -> torch.Tensor:
    """Sums over neighbours of images ``(k, t)``, each pixel with its own weight of 1."""
    values = images.reshape(len(images), *shape).cpu().numpy()
    number = math.prod(math.sqrt(2 * math.pi) * side for side in sides if side > 0)
    means = gaussian_filter(values, (0.0, *sides), truncate=3)
    return number * torch.from_numpy(means).flatten(1).to(images)
