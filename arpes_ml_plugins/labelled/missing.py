"""Missing values: fill them for the algorithms, so that they neither leak nor mislead."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["fill_missing"]

FILL_WIDTH = 2.0  # pixels; the standard deviation of the normalised convolution


def fill_missing(images: NDArray[np.floating]) -> NDArray[np.floating]:
    """Images ``(n, height, width)`` with every NaN replaced from its surroundings.

    Near valid pixels it is their Gaussian-weighted mean (normalised convolution), farther away the
    nearest filled pixel. Images without NaN are returned as they are.
    """
    if not np.isnan(images).any():
        return images
    return np.stack([_fill(image) for image in images])


def _fill(image: NDArray[np.floating]) -> NDArray[np.floating]:
    from scipy.ndimage import distance_transform_edt, gaussian_filter

    missing = np.isnan(image)
    if not missing.any() or missing.all():
        return image
    weight = gaussian_filter((~missing).astype(np.float64), FILL_WIDTH)
    total = gaussian_filter(np.where(missing, 0.0, image).astype(np.float64), FILL_WIDTH)
    reached = weight > 1e-3
    smooth = np.where(missing & reached, total / np.where(reached, weight, 1.0), image)
    rows, columns = distance_transform_edt(
        missing & ~reached, return_distances=False, return_indices=True
    )
    return smooth[rows, columns].astype(image.dtype)
