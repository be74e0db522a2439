"""Give back what the network left in the residual: a third stage for data that are counts.

A network that stops early misses fine structure when the counts are many. What it missed is still
in the residual, and there it stands out, because the noise of counts is white once it is divided
by its standard deviation: every spatial frequency that carries more power than the noise holds
structure. A Wiener filter whose noise power is known returns just that.
"""

from __future__ import annotations

import math

import torch

__all__ = ["recover_structure"]

CORRELATION_LENGTH = 6.0  # pixels; structure of shorter range is found, and averaged over
CORNER = 0.7  # of the Nyquist frequency along both axes: beyond it only noise is expected
SIGNIFICANCE = 3.0  # standard deviations of the estimated power above which it is structure
AGREEMENT = 0.3  # relative difference of measured and Poisson noise up to which data are counts
CLIP = 3.0  # standard deviations; outliers must not come back


def recover_structure(
    images: torch.Tensor, clean: torch.Tensor, valid: torch.Tensor, *, floor: float
) -> torch.Tensor:
    """``clean`` plus the significant structure of ``images - clean``.

    Images that are not Poisson counts (not integers, or with a noise power that does not fit) come
    back unchanged: correlated noise would look like structure.

    Parameters
    ----------
    images, clean
        Shape ``(n, height, width)``, in counts.
    valid
        Same shape; False pixels are left out and left alone.
    floor
        Fraction of the mean count: the variance is taken as ``clean + floor * mean``.
    """
    total = torch.where(valid, images, 0).sum((-2, -1), keepdim=True)
    mean = total / valid.sum((-2, -1), keepdim=True)
    standard = (clean.clamp(min=0) + floor * mean).sqrt().clamp(min=torch.finfo(clean.dtype).tiny)
    residual = torch.where(valid, (images - clean) / standard, 0)
    residual = residual.clamp(-CLIP, CLIP)
    spectrum = torch.fft.fft2(residual)
    power, spread = _smooth_power(spectrum)
    noise = _corner_power(spectrum)
    # What Poisson counts would show: variance = clean, seen through the floor and the mask.
    expected = torch.where(valid, clean.clamp(min=0) / standard.square(), 0)
    expected = expected.mean((-2, -1), keepdim=True)
    level = torch.maximum(noise, expected)
    gain = (1 - level * (1 + SIGNIFICANCE * spread) / power.clamp(min=1e-12)).clamp(min=0)
    structure = torch.fft.ifft2(spectrum * gain).real * standard

    whole = ((images == images.round()) & (images >= 0)) | ~valid
    counts = whole.all(-1).all(-1)[:, None, None] & (
        (noise - expected).abs() <= AGREEMENT * expected
    )
    return torch.where(counts & valid, clean + structure, clean)


def _smooth_power(spectrum: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Power spectrum averaged over neighbouring frequencies, and its relative standard deviation.

    Blackman and Tukey's estimate: the autocorrelation is cut off at the correlation length.
    """
    height, width = spectrum.shape[-2:]
    rows = torch.fft.fftfreq(height, device=spectrum.device)[:, None] * height
    columns = torch.fft.fftfreq(width, device=spectrum.device)[None, :] * width
    window = torch.exp(-(rows**2 + columns**2) / (2 * CORRELATION_LENGTH**2))
    correlation = torch.fft.ifft2(spectrum.abs().square() / (height * width))
    power = torch.fft.fft2(correlation * window).real
    averaged = height * width / (2 * math.pi * CORRELATION_LENGTH**2)  # independent frequencies
    return power, averaged**-0.5


def _corner_power(spectrum: torch.Tensor) -> torch.Tensor:
    """Mean power where both frequencies are high, ``(n, 1, 1)``."""
    height, width = spectrum.shape[-2:]
    rows = torch.fft.fftfreq(height, device=spectrum.device).abs() * 2 > CORNER
    columns = torch.fft.fftfreq(width, device=spectrum.device).abs() * 2 > CORNER
    power = spectrum.abs().square() / (height * width)
    return power[..., rows, :][..., columns].mean((-2, -1), keepdim=True)
