"""How much larger the errors of maps are if neighbouring channels share their noise.

Data that were interpolated along energy, and detectors whose image is blurred, have noise that is
alike in neighbouring channels. A line is then known as well as by fewer channels.
"""

from __future__ import annotations

import torch

from arpes_ml_plugins.separation.shared_noise import independent_every

__all__ = ["variance_by_sharing"]

MOST_CHANNELS, MOST_PIXELS = 256, 10_000  # that it is measured from


def variance_by_sharing(pixels: torch.Tensor, spectra: torch.Tensor) -> torch.Tensor:
    """Variance of maps of ``spectra (k, n)``, over that with independent channels, ``(n,)``.

    Parameters
    ----------
    pixels
        Data ``(k, t)`` of unit noise, channels in order.
    """
    some = _brightest(pixels)
    sample = pixels[some, :MOST_PIXELS]
    reach = independent_every(sample, sample.new_ones(len(sample)))
    if reach == 1:
        return spectra.new_ones(spectra.shape[1])
    basis = torch.linalg.qr(spectra[some])[0]
    left = sample - basis @ (basis.mT @ sample)
    alike = [float((left[k:] * left[: len(left) - k]).mean()) for k in range(reach)]
    weights = torch.linalg.pinv(spectra)
    once = weights.square().sum(1)
    more = sum(
        2 * max(alike[k] / alike[0], 0.0) * (weights[:, k:] * weights[:, :-k]).sum(1)
        for k in range(1, reach)
    )
    return (1 + more / once).clamp(min=1)


def _brightest(pixels: torch.Tensor) -> slice:
    """Neighbouring channels that hold most, of which there are not too many."""
    first = len(pixels) - MOST_CHANNELS
    if first <= 0:
        return slice(None)
    total = pixels.mean(1).clamp(min=0).cumsum(0)
    start = int((total[MOST_CHANNELS - 1 :] - total[: first + 1]).argmax())
    return slice(start, start + MOST_CHANNELS)
