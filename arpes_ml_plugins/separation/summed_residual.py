"""Whether residuals summed over all pixels are noise, channel by channel.

Spectra that are slightly too narrow, or at slightly wrong energies, leave in each pixel less than
its noise, which chi^2 does not show. The same is left in all pixels, and in their sum the noise has
become smaller. How large it is there follows from sums over blocks of pixels, so that neither the
noise nor how it is shared by neighbouring pixels or channels has to be known.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

__all__ = ["Misfit", "summed_misfit"]

BLOCKS, FEWEST_BLOCKS, LEAST_PIXELS = 32, 12, 4
APART = 2  # blocks that are compared: noise shared by neighbours does not reach so far
CHANCE = 1e-5  # probability of more by noise
SMALL = 0.01  # of the intensity: spectra about half a degree off


@dataclass(frozen=True)
class Misfit:
    """What is left of the sum of all pixels."""

    chi2: float
    """Squares over those that noise explains."""
    share: float
    """Root of the squares without those of noise, over the same of the model."""
    channel: int
    """Where it is largest, in units of its noise."""


def summed_misfit(
    residual: torch.Tensor, model: torch.Tensor, spectra: torch.Tensor
) -> Misfit | None:
    """What sums of all pixels hold beside ``spectra (m, n)``; None if that may be noise, or is
    small.

    Parameters
    ----------
    residual, model
        ``(m, t)``, NaN where there are no values.
    """
    left, total = residual.nan_to_num(), model.nan_to_num().sum(1)
    count = min(BLOCKS, left.shape[1] // LEAST_PIXELS)
    unit = left.square().sum(1).sqrt()
    used = unit > 1e-6 * unit.max()
    channels = int(used.sum()) - spectra.shape[1]
    if count < FEWEST_BLOCKS or channels < 2:
        return None
    sums = [part.sum(1) for part in left.tensor_split(count, 1)]
    blocks = torch.stack(sums, 1)[used] / unit[used, None]
    basis, _ = torch.linalg.qr(spectra[used] / unit[used, None])  # left by bounds of the maps
    blocks = blocks - basis @ (basis.mT @ blocks)
    pairs = (blocks[:, APART:] - blocks[:, :-APART]) * (count / (count - APART) / 2) ** 0.5
    covariance = pairs @ pairs.mT  # of the sum of all
    noise, whole = float(covariance.trace()), blocks.sum(1)
    chi2 = float(whole.square().sum()) / max(noise, 1e-300)
    if chi2 < _limit(covariance, count - APART):
        return None
    share = unit[used].square() @ (whole.square() - covariance.diagonal()).clamp(min=0)
    share = (share / total.square().sum().clamp(min=1e-300)).sqrt()
    if float(share) < SMALL:
        return None
    channel = int(used.nonzero()[whole.abs().argmax(), 0])
    return Misfit(chi2, float(share), channel)


def _limit(covariance: torch.Tensor, samples: int) -> float:
    """Sum of squares over its expectation that chance hardly exceeds, of values whose
    ``covariance`` was measured with a number of ``samples``.
    """
    from scipy.stats import chi2

    whole = float(covariance.trace()) ** 2
    # As many independent values have such a spread; samples alone make the squares larger.
    squares = float(covariance.square().sum()) - whole / samples
    most = len(covariance)
    freedom = min(whole / max(squares, whole / most), most)
    return float(chi2.isf(CHANCE, freedom)) / freedom
