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
DARK = 0.1  # of the largest noise: what channels without counts leave is not as certain as it looks
ROUNDING = 1e-12  # of the squares: less noise than that is rounding
SMALL = 0.015  # of the intensity: spectra about a degree off


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
    """Find what sums of all pixels contain that ``spectra (m, n)`` do not explain.

    None if that may be noise, or is small.

    Parameters
    ----------
    residual, model
        ``(m, t)``, NaN where there are no values.
    """
    left, total = residual.nan_to_num(), model.nan_to_num().sum(1)
    count = min(BLOCKS, left.shape[1] // LEAST_PIXELS)
    unit = left.square().sum(1).sqrt()
    used = unit > 1e-6 * unit.max()
    unit = unit.clamp(min=DARK * unit.max())
    spectra = spectra[:, (spectra != 0).any(0)]
    channels = int(used.sum()) - spectra.shape[1]
    if count < FEWEST_BLOCKS or channels < 2 or not bool((total != 0).any()):
        return None
    sums = [part.sum(1) for part in left.tensor_split(count, 1)]
    blocks = torch.stack(sums, 1)[used] / unit[used, None]
    basis, _ = torch.linalg.qr(spectra[used] / unit[used, None])  # left by bounds of the maps
    blocks = blocks - basis @ (basis.mT @ blocks)
    pairs = (blocks[:, APART:] - blocks[:, :-APART]) * (count / (count - APART) / 2) ** 0.5
    variance, whole = pairs.square().sum(1), blocks.sum(1)  # of the sum of all
    squares, tiny = float(whole.square().sum()), torch.finfo(whole.dtype).tiny
    noise = max(float(variance.sum()), ROUNDING * squares, tiny)
    chi2 = squares / noise
    if chi2 < _limit(pairs, noise):
        return None
    share = unit[used].square() @ (whole.square() - variance).clamp(min=0)
    share = (share / total.square().sum()).sqrt()
    if float(share) < SMALL:
        return None
    channel = int(used.nonzero()[whole.abs().argmax(), 0])
    return Misfit(chi2, float(share), channel)


def _limit(pairs: torch.Tensor, noise: float) -> float:
    """Sum of squares over its expectation, ``noise``, that chance hardly exceeds, of values whose
    covariance is that of ``pairs (values, samples)``.
    """
    from scipy.stats import chi2

    most, samples = pairs.shape
    whole = noise**2
    # As many independent values have such a spread; samples alone make the squares larger.
    squares = float((pairs.mT @ pairs).square().sum()) - whole / samples
    freedom = min(whole / max(squares, whole / most), most)
    return float(chi2.isf(CHANCE, freedom)) / freedom
