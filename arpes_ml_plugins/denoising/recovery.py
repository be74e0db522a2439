"""Add back what the network left in the residual: a third stage.

A network that stops early misses fine structure if the noise is low. This structure is still in the
residual. Divided by its standard deviation, the noise of counts (with any gain) is white, so that
spatial frequencies with more power than the highest ones contain structure. A Wiener filter with
the noise power of the highest frequencies recovers it. Interpolated or smoothed data have
correlated noise, which this filter would take for structure; they are recognised by their power,
which falls towards the highest frequencies, and not filtered. Structure that is significant in
single places, as at edges and sharp lines, is recovered with any correlation.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch

from arpes_ml_plugins.denoising.gaussian_means import gaussian_mean
from arpes_ml_plugins.denoising.neighbourhoods import sum_around
from arpes_ml_plugins.denoising.noise_model import mean_power
from arpes_ml_plugins.denoising.robust import median_spread

__all__ = [
    "WINDOWS",
    "conserve",
    "detail_power",
    "recover_locally",
    "recover_structure",
    "share_of_data",
    "windowed_mean",
]

CORRELATION_LENGTH = 6.0  # pixels; structure of shorter range is found, and averaged over
SIGNIFICANCE = 3.0  # standard deviations of the estimated power above which it is structure
REGION = 12.0  # pixels, width of the Gaussian within which counts are conserved
SURROUNDINGS = 8.0  # pixels, over which the variance is averaged
ROUNDS = 3  # clipping at zero and the shrinkage leave something for the next
CHANCE = 2.0  # variances that a mean residual must exceed to be significant
CLIP = 3.0  # standard deviations; outliers must not come back
SKEWED = (CLIP**2 - 1) / 6  # counts more: the upper tail of a Poisson distribution
HIGH = 0.7  # of the Nyquist frequency: beyond it, along both axes, only noise is expected
MIDDLE = 0.4
WINDOWS = (0.0, 0.7, 1.4, 2.8)  # pixels, widths of the Gaussians whose differences are looked at
LOCAL_SIGNIFICANCE = 4.5  # standard deviations, of one place at one width; 3 would let noise in
SKEW = (LOCAL_SIGNIFICANCE**2 - 1) / 6  # counts more: the upper tail of a Poisson distribution
AGREEING = 3  # pixels of 3 x 3 that deviate to the same side: a line or an edge, no single one
MANY = 0.01  # of the pixels: so many that deviate are bands of single pixels, not hot ones
PLACE = 4.0  # pixels, over which squared residuals are averaged
FEW = 10.0  # counts; the noise of fewer is skew
FAR_MORE = 1.7  # times the noise
WHITE = 1.25  # largest power at middle frequencies, over that at the highest, of white noise


def recover_structure(
    images: torch.Tensor,
    clean: torch.Tensor,
    valid: torch.Tensor,
    *,
    floor: float,
    counted: bool = False,
) -> torch.Tensor:
    """``clean`` plus the significant structure of ``images - clean``.

    Images with correlated noise are returned unchanged.

    Parameters
    ----------
    images, clean
        Shape ``(n, height, width)``.
    valid
        Same shape; False pixels are left out and left alone.
    floor
        Fraction of the mean intensity: the variance is taken as proportional to
        ``clean + floor * mean``.
    counted
        Whether the images are counts, of which there may be few: most pixels may hold none, and
        the median deviation then says nothing about single counts, which are no outliers.
    """
    total = torch.where(valid, clean.abs(), 0).sum((-2, -1), keepdim=True)
    mean = total / valid.sum((-2, -1), keepdim=True)
    standard = (clean.clamp(min=0) + floor * mean).sqrt().clamp(min=torch.finfo(clean.dtype).tiny)
    residual = torch.where(valid, (images - clean) / standard, 0)
    lowest = highest = CLIP * median_spread(residual, valid)
    if counted:
        lowest = torch.maximum(lowest, CLIP * clean.clamp(min=0).sqrt() / standard)
        highest = lowest + SKEWED / standard
    residual = torch.minimum(residual.maximum(-lowest), highest)
    spectrum = torch.fft.fft2(residual)
    power, spread = _smooth_power(spectrum)
    noise, white = _noise_power(spectrum)
    level = noise * (1 + SIGNIFICANCE * spread)
    gain = torch.where(power > level, 1 - level / power, 0)
    structure = torch.fft.ifft2(spectrum * gain).real * standard
    return torch.where(white & valid, clean + structure, clean)


def recover_locally(
    counts: torch.Tensor,
    clean: torch.Tensor,
    valid: torch.Tensor,
    transfer: torch.Tensor | None = None,
) -> torch.Tensor:
    """``clean`` plus significant structure of the residual in single places: edges, lines, spots.

    The residual is split into differences of Gaussian means (an undecimated wavelet transform).
    Coefficients far beyond their standard deviation are added, if those of pixels beside are as
    well, or if they are many: single ones are noise, of which there is one in every fourth image.

    Parameters
    ----------
    counts, clean, valid
        As in :func:`conserve`.
    transfer
        Squared transfer function of the noise, ``(height, width // 2 + 1)``, 1 at frequency zero;
        white noise by default.
    """
    mask = valid.to(clean)[:, None]
    residual = torch.where(valid, counts.to(clean) - clean, 0)[:, None]
    returned = torch.zeros_like(residual)
    windows = WINDOWS if transfer is None else WINDOWS[1:]  # neighbours agree by correlation
    means = [windowed_mean(residual, mask, width) for width in windows]
    for (width, wide), fine, coarse in zip(pairwise(windows), means, means[1:], strict=False):
        power, area = detail_power(width, wide, transfer, clean)
        expected = windowed_mean(clean[:, None], mask, max(width, WINDOWS[1])) + 1 / area
        detail = fine - coarse
        standard = (expected.clamp(min=0) * power).sqrt()
        measured = median_spread((detail / standard)[:, 0], mask[:, 0])[:, None]
        limit = LOCAL_SIGNIFICANCE * standard * measured.clamp(min=1) + SKEW / area
        beyond = (detail.abs() > limit) & valid[:, None]
        common = beyond.to(detail).mean((-2, -1), keepdim=True) > MANY
        returned += torch.where(beyond & (common | _agreed(detail, limit)), detail, 0)
    return torch.where(valid, clean + returned[:, 0], clean)


def share_of_data(counts: torch.Tensor, clean: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """How far to move ``clean`` towards the counts, whose noise is white, where far more than noise
    is left of them over a region: on a core level of so many counts that no filter is as good as
    the data. That of a Wiener filter; zero elsewhere.

    Noise that is stronger in all of the image is no structure. Shapes as in
    :func:`recover_structure`.

    Examples
    --------
    >>> truth = torch.full((1, 60, 60), 1e4)
    >>> counts = torch.poisson(truth, generator=torch.Generator().manual_seed(0))
    >>> wrong = truth + 300 * (torch.arange(60) < 20) * (-1.0) ** torch.arange(60)
    >>> [round(float(share), 1) for share in share_of_data(counts, wrong, truth > 0)[0, 9, [9, 50]]]
    [0.9, 0.0]
    """
    mask = valid.to(clean)[:, None]
    residual = torch.where(valid, counts.to(clean) - clean, 0)[:, None]
    power = gaussian_mean(residual.square() / clean[:, None].clamp(min=FEW), mask, PLACE)[:, 0]
    usual = power.masked_fill(~valid, torch.nan).flatten(1).nanmedian(1).values
    power = power / usual.clamp(min=1)[:, None, None]
    return torch.where((power > FAR_MORE) & (clean > FEW) & valid, 1 - 1 / power, 0)


def _agreed(detail: torch.Tensor, limit: torch.Tensor) -> torch.Tensor:
    """Mask of the pixels around which enough deviate beyond ``limit`` to the same side."""
    sides = torch.stack([detail > limit, detail < -limit]).to(detail)
    above, below = sum_around(sides, 3)
    return torch.where(detail > 0, above, below) > AGREEING - 0.5


def windowed_mean(values: torch.Tensor, mask: torch.Tensor, width: float) -> torch.Tensor:
    """Gaussian mean of ``width`` pixels; the values themselves for 0."""
    return values * mask if width == 0 else gaussian_mean(values, mask, width)


def detail_power(
    narrow: float, wide: float, transfer: torch.Tensor | None, like: torch.Tensor
) -> tuple[float, float]:
    """Variance of the difference of two Gaussian means of unit noise; area of the narrow one."""
    height, width = like.shape[-2:]
    rows = torch.fft.fftfreq(height, device=like.device, dtype=like.dtype)[:, None]
    columns = torch.fft.rfftfreq(width, device=like.device, dtype=like.dtype)[None]
    square = (2 * math.pi) ** 2 * (rows**2 + columns**2)
    response = torch.exp(-square * narrow**2 / 2) - torch.exp(-square * wide**2 / 2)
    power = response.square() * (1 if transfer is None else transfer)
    return mean_power(power, (height, width)), 1 + 4 * math.pi * narrow**2


def conserve(counts: torch.Tensor, clean: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """``clean`` plus the smooth intensity that it lacks (or less what it has too much).

    The residual, averaged over the image and then over regions with the inverse variance as weight,
    so that the dark parts of a region decide; shrunk towards zero where it is no more than chance.
    Shapes as in :func:`recover_structure`; the images must be counts.
    """
    mask = valid.to(clean)[:, None]
    counts = torch.where(valid, counts.to(clean), 0)[:, None]
    weight = mask / _around(counts, clean[:, None], mask)
    everywhere, tiny = torch.ones_like(mask).expand(-1, 2, -1, -1), torch.finfo(clean.dtype).tiny
    for rounds, region in enumerate((math.inf, *[REGION] * ROUNDS)):
        residual = torch.cat([(counts - clean[:, None]) * weight, weight], 1)
        if rounds:
            total, area = gaussian_mean(residual, everywhere, region), 4 * math.pi * region**2
        else:  # what is chance in every region may be none in all of them together
            total, area = residual.mean((-2, -1), keepdim=True), residual[0, 0].numel()
        found, weights = total.unbind(1)
        missing = found / weights.clamp(min=tiny)
        variance = 1 / (area * weights).clamp(min=tiny)
        sure = (1 - CHANCE * variance / missing.square().clamp(min=tiny)).clamp(min=0)
        clean = torch.where(valid, clean + sure * missing, clean).clamp(min=0)
    return clean


def _around(counts: torch.Tensor, clean: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Intensity around each pixel, to which the variance of the noise is proportional.

    That of ``clean``: few counts around a pixel would raise the weight of just these counts. Where
    ``clean`` has lost intensity, it is at least what the counts are certain of.
    """
    area = 4 * math.pi * SURROUNDINGS**2
    expected, seen = (gaussian_mean(image, mask, SURROUNDINGS) for image in (clean, counts))
    certain = seen - CLIP * (seen.clamp(min=0) / area).sqrt() - CLIP / area
    return torch.maximum(expected, certain) + 1 / area


def _frequencies(size: int, like: torch.Tensor) -> torch.Tensor:
    """Frequencies in cycles per pixel, with any default dtype."""
    return torch.fft.fftfreq(size, device=like.device, dtype=torch.float32)


def _smooth_power(spectrum: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Power spectrum averaged over neighbouring frequencies, and its relative standard deviation.

    Blackman and Tukey's estimate: the autocorrelation is cut off at the correlation length.
    """
    height, width = spectrum.shape[-2:]
    rows = _frequencies(height, spectrum)[:, None] * height
    columns = _frequencies(width, spectrum)[None, :] * width
    window = torch.exp(-(rows**2 + columns**2) / (2 * CORRELATION_LENGTH**2))
    correlation = torch.fft.ifft2(spectrum.abs().square() / (height * width))
    power = torch.fft.fft2(correlation * window).real
    averaged = height * width / (2 * math.pi * CORRELATION_LENGTH**2)  # independent frequencies
    return power, averaged**-0.5


def _noise_power(spectrum: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean power where both frequencies are high, and whether the noise is white; ``(n, 1, 1)``."""
    height, width = spectrum.shape[-2:]
    power = spectrum.abs().square() / (height * width)
    rows, columns = (_frequencies(size, spectrum).abs() * 2 for size in (height, width))

    def mean(row_band: torch.Tensor, column_band: torch.Tensor) -> torch.Tensor:
        return power[..., row_band, :][..., column_band].mean((-2, -1), keepdim=True)

    high = mean(rows > HIGH, columns > HIGH)
    middle_rows = (rows > MIDDLE) & (rows <= HIGH)
    middle_columns = (columns > MIDDLE) & (columns <= HIGH)
    middle = torch.stack(
        [
            mean(middle_rows, columns > HIGH),
            mean(rows > HIGH, middle_columns),
            mean(middle_rows, middle_columns),
        ]
    ).amax(0)
    return high, (middle <= WHITE * high) & (high > 0)
