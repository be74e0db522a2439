"""What a clean image may lack that no simulated measurement of it can show.

Simulated measurements are made of the clean image, so what the denoiser has removed from the truth
is in none of them. Three comparisons of the image with the data estimate it, each against the same
comparison of the simulations with their clean images, or against the noise:

- a faint ridge that is significant in the data along a short straight piece, and weaker in the
  image (:func:`faint_ridges`);
- more or less contrast over a region than the data have (:attr:`Misfit.contrast`), as beside a hard
  edge;
- larger residuals where the image is sharp (:attr:`Misfit.sharp`), as on a line of a pixel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product

import torch
import torch.nn.functional as F

from arpes_ml_plugins.denoising.gaussian_means import gaussian_mean
from arpes_ml_plugins.denoising.noise_model import NoiseModel

__all__ = ["Misfit", "faint_ridges"]

FLOOR = 0.03  # of the mean intensity, added to the variance of a pixel
CONTRAST = 8.0  # pixels; width of the mean to which contrast refers, and over which it is compared
CHANCE = 2.5  # times the squared contrast of the simulations, below which it may be chance
SHARP = 1.5  # pixels; what is narrower is sharp
PIXEL = 0.7  # pixels, over which squared sharp structure is averaged
SHARP_REGION = 10.0  # pixels, in which the residual is compared with sharp structure
LOUD = 1.2  # variance over that assumed, from which on the noise is not as assumed
RIDGES = (1.2, 2.0)  # pixels, widths of the Gaussians that ridges are compared with
PIECES = ((8.0, 2.2), (16.0, 2.6))
"""Lengths in pixels of the pieces of a ridge, and standard deviations of one that does not count.
Long ones see fainter ridges, if these are straight."""
SPOTS, SPOT = (2.0, 3.0), 3.0  # the same of round ones
BESIDE = 2.5  # widths, of the Gaussian that is taken off as the background of a ridge
DIRECTIONS = 12
CERTAIN = 0.2  # standard deviations more: a ridge that counts in full
FAINT, CLEAR = 6.0, 8.0  # standard deviations of ridges in the image: the network knows the latter
MARGIN = 32  # pixels


class Misfit:
    """Compares residuals with the structure of the clean image, in electrons, ``(n, h, w)``."""

    def __init__(self, clean: torch.Tensor, valid: torch.Tensor, draws: int) -> None:
        self.mask = valid.to(clean)[:, None]
        image = clean.clamp(min=0)[:, None]
        mean = (image * self.mask).mean((-2, -1), keepdim=True)
        self.variance = (image + FLOOR * mean).clamp(min=torch.finfo(clean.dtype).tiny)
        self.structure = image - gaussian_mean(image, self.mask, CONTRAST)
        sharp = (image - gaussian_mean(image, self.mask, SHARP)).square()
        self.sharpness = gaussian_mean(sharp, self.mask, PIXEL) / self.variance
        information = self.structure.square() / self.variance, self.sharpness.square()
        contrast, sharp = self._regions(*information)
        self.information = contrast.clamp(min=1e-12), sharp.clamp(min=1e-12)
        self.seen = clean.new_empty((draws, 2, *clean.shape))

    def compare(self, residual: torch.Tensor) -> torch.Tensor:
        """Overlap of the residual with the structure, and of its square with sharpness, per unit of
        either, ``(2, n, h, w)``.
        """
        residual = residual[:, None] * self.mask
        first = residual * self.structure / self.variance
        second = residual.square() / self.variance * self.sharpness
        pairs = zip(self._regions(first, second), self.information, strict=True)
        return torch.stack([(overlap / norm)[:, 0] for overlap, norm in pairs])

    def contrast(self, residual: torch.Tensor, louder: torch.Tensor) -> torch.Tensor:
        """Contrast that the clean image has too little or too much, beyond chance; no sign."""
        usual = louder * self.seen[:, 0].square().mean(0)
        excess = (self.compare(residual)[0].square() - CHANCE * usual).clamp(min=0)
        return (excess * self.mask[:, 0]).sqrt() * self.structure[:, 0]

    def sharp(self, residual: torch.Tensor, louder: torch.Tensor) -> torch.Tensor:
        """Variance of what is missing of sharp structure, beyond one standard deviation.

        Zero where the noise is louder: bright and sharp places then have more of it.
        """
        usual = self.seen[:, 1]
        excess = self.compare(residual / louder.sqrt())[1] - usual.mean(0) - usual.std(0)
        excess = torch.where(louder < LOUD, excess.clamp(min=0), 0)
        return (excess[:, None] * self.sharpness * self.variance * self.mask)[:, 0]

    def _regions(
        self, first: torch.Tensor, second: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return (
            gaussian_mean(first, self.mask, CONTRAST),
            gaussian_mean(second, self.mask, SHARP_REGION),
        )


def faint_ridges(
    counts: torch.Tensor,
    clean: torch.Tensor,
    valid: torch.Tensor,
    noise: NoiseModel,
    louder: torch.Tensor,
) -> torch.Tensor:
    """Intensity that the clean image lacks on ridges that are faint but significant in the data.

    Short straight pieces of all directions are compared with the data, less the background on both
    sides. Where the image itself has a clear ridge, nothing is returned: it is in the simulated
    measurements.

    Parameters
    ----------
    counts, clean, valid
        Shape ``(n, height, width)``, in electrons.
    noise
        Model of the noise.
    louder
        Variance of the noise over that of the model, ``(n, height, width)``.

    Returns
    -------
    torch.Tensor
        Shape of ``clean``, not negative.
    """
    image = clean.clamp(min=0)
    residual = F.pad(torch.where(valid, counts.to(clean) - clean, 0), (MARGIN,) * 4)
    spectra = [torch.fft.rfft2(_wider(image)), torch.fft.rfft2(residual)]
    rate = torch.fft.rfft2(_wider(image * louder))
    shape = (residual.shape[-2], residual.shape[-1])
    transfer = 1 if noise.white else noise.transfer(shape, clean.device).to(clean).sqrt()
    lacking, clear = torch.zeros((2, *clean.shape), dtype=clean.dtype, device=clean.device)
    for response, least in (*_ridges(shape, clean), *_spots(shape, clean)):
        kernel = torch.fft.irfft2(response * transfer, s=shape)
        power = torch.fft.rfft2(kernel.square())
        # One electron more: where fewer are expected than one, a single one means nothing.
        variance = _filtered(rate, power, shape).clamp(min=0) + kernel.square().max()
        standard = variance.sqrt()
        shown, left = (_filtered(spectrum, response, shape) for spectrum in spectra)
        sure = ((shown + left) / standard - least) / CERTAIN
        lacking = torch.maximum(lacking, sure.clamp(0, 1) * left)
        clear = torch.maximum(clear, shown / standard)  # not a trough beside a bright band
    faint = ((CLEAR - clear) / (CLEAR - FAINT)).clamp(0, 1)
    return torch.where(valid, lacking * faint, 0)


def _wider(images: torch.Tensor) -> torch.Tensor:
    """Continued beyond the borders."""
    return F.pad(images[:, None], (MARGIN,) * 4, mode="replicate")[:, 0]


def _filtered(
    spectrum: torch.Tensor, response: torch.Tensor, shape: tuple[int, int]
) -> torch.Tensor:
    filtered = torch.fft.irfft2(spectrum * response, s=shape)
    return filtered[..., MARGIN:-MARGIN, MARGIN:-MARGIN]


def _ridges(shape: tuple[int, int], like: torch.Tensor) -> Iterator[tuple[torch.Tensor, float]]:
    """Filters for pieces of ridges, and from how many standard deviations on they count."""
    for width, (length, least), turn in product(RIDGES, PIECES, range(DIRECTIONS)):
        yield _ridge(width, length, math.pi * turn / DIRECTIONS, shape, like), least


def _spots(shape: tuple[int, int], like: torch.Tensor) -> Iterator[tuple[torch.Tensor, float]]:
    """The same for round spots."""
    rows, columns = _frequencies(shape, like)
    square = rows.square() + columns.square()
    for width in SPOTS:
        narrow, wide = (_gaussian(size, square) for size in (width, BESIDE * width))
        yield (narrow - wide) / (1 / 2 - 1 / (1 + BESIDE**2)), SPOT


def _ridge(
    width: float, length: float, angle: float, shape: tuple[int, int], like: torch.Tensor
) -> torch.Tensor:
    """Filter that gives the height of a straight Gaussian ridge at its top: a Gaussian along it,
    and across it the difference of one of the same width and a wider one.
    """
    rows, columns = _frequencies(shape, like)
    across = math.cos(angle) * rows + math.sin(angle) * columns
    along = math.cos(angle) * columns - math.sin(angle) * rows
    narrow, wide = (_gaussian(size, across.square()) for size in (width, BESIDE * width))
    height = 1 / math.sqrt(2) - 1 / math.sqrt(1 + BESIDE**2)
    return (narrow - wide) * _gaussian(length, along.square()) / height


def _frequencies(shape: tuple[int, int], like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of rows and columns in a real Fourier transform, in cycles per pixel."""
    rows = torch.fft.fftfreq(shape[0], device=like.device, dtype=like.dtype)[:, None]
    return rows, torch.fft.rfftfreq(shape[1], device=like.device, dtype=like.dtype)[None]


def _gaussian(size: float, square: torch.Tensor) -> torch.Tensor:
    """Transfer function of a Gaussian of ``size`` pixels at squared frequencies."""
    return torch.exp(-2 * (math.pi * size) ** 2 * square)
