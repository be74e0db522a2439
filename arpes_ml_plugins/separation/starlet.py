"""The starlet transform: isotropic, undecimated wavelets, in which maps are sparse.

Every scale is the difference of two smoothings by the cubic B-spline (1, 4, 6, 4, 1) / 16 with
holes (Starck, Murtagh and Fadili, "Sparse image and signal processing", 2010); what is left is the
coarse scale. The sum of all scales is the image.
"""

from __future__ import annotations

from functools import lru_cache

import torch

__all__ = ["largest_scales", "starlet"]

SPLINE = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


def starlet(images: torch.Tensor, scales: int) -> torch.Tensor:
    """Details from fine to rough, then the coarse scale: ``(scales + 1, ..., h, w)``.

    The sum over the first axis is the image again.

    Parameters
    ----------
    images
        ``(..., h, w)``; an axis of one pixel is not transformed.
    scales
        Number of detail scales.

    Examples
    --------
    >>> image = torch.rand(8, 9, dtype=torch.float64)
    >>> bool(torch.allclose(starlet(image, 2).sum(0), image))
    True
    """
    found = []
    for scale in range(scales):
        smooth = _smooth(images, scale)
        found.append(images - smooth)
        images = smooth
    return torch.stack([*found, images])


def largest_scales(shape: tuple[int, int]) -> int:
    """Number of scales that an image is large enough for.

    Examples
    --------
    >>> largest_scales((346, 346)), largest_scales((51, 41)), largest_scales((1, 9))
    (4, 3, 1)
    """
    extent = max(min(size for size in shape if size > 1), 2) if max(shape) > 1 else 2
    return max(1, min(4, (extent // 4).bit_length() - 1))


def _smooth(images: torch.Tensor, scale: int) -> torch.Tensor:
    for axis in (-2, -1):
        size = images.shape[axis]
        if size == 1:
            continue
        sources = _sources(size, scale).to(images.device)
        images = sum(  # type: ignore[assignment]
            weight * images.index_select(axis, source)
            for weight, source in zip(SPLINE, sources, strict=True)
        )
    return images


@lru_cache(maxsize=64)
def _sources(size: int, scale: int) -> torch.Tensor:
    """Pixels under the five taps around each pixel, mirrored at the ends, ``(5, size)``."""
    period = 2 * (size - 1)
    taps = (torch.arange(len(SPLINE), device="cpu") - 2) * 2**scale
    source = (torch.arange(size, device="cpu") + taps[:, None]) % period
    return torch.where(source >= size, period - source, source)
