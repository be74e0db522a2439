"""Second derivatives and curvatures of images, in which bands stand out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arpes_ml_plugins.labelled.missing import fill_missing
from arpes_ml_plugins.plotting.labels import has_energy

__all__ = ["DERIVATIVES", "bent"]

DERIVATIVES = ("second", "curvature")
SMOOTHING = 4.0  # pixels, before the derivatives; the same for all images
FLOOR = 0.05  # of the squared largest slope; a smaller one shows weak bands and noise


def bent(image: xr.DataArray, derivative: str) -> xr.DataArray:
    """Negative second derivative or curvature, zero where the image curves upwards.

    Along energy (the first axis), or along both axes of a map that has none, which have one unit:
    the negative Laplacian, or the curvature of a surface.

    Parameters
    ----------
    image
        Values with NaN or without, and a coordinate along either axis.
    derivative
        One of :data:`DERIVATIVES`.
    """
    missing = np.isnan(image.values)
    values = np.nan_to_num(fill_missing(image.values[None])[0])
    along = (0,) if has_energy(image) else (0, 1)
    steps = [_step(image[dim].values) for dim in image.dims]
    widths = [SMOOTHING, SMOOTHING]
    if len(along) == 2:  # equally wide along both axes, in their unit
        widths = [SMOOTHING * float(np.sqrt(np.prod(steps))) / step for step in steps]
    derived = partial(_derived, values, widths, steps)
    second = {axis: derived((axis, axis)) for axis in along}
    result = -np.sum(list(second.values()), axis=0)
    if derivative == "curvature":
        result = _curvature(second, derived)
    result[missing] = np.nan
    for axis in along:
        _without_edges(result, axis, math.ceil(widths[axis]))
    return image.copy(data=np.clip(result, 0, None))


def _curvature(
    second: Mapping[int, NDArray[np.floating]],
    derived: Callable[[tuple[int, ...]], NDArray[np.floating]],
) -> NDArray[np.floating]:
    """Eq. 8 (one axis) or 11 (both) of Zhang et al., up to a factor."""
    slopes = {axis: derived((axis,)) for axis in second}
    steepness = np.sum([slope**2 for slope in slopes.values()], axis=0)
    level = FLOOR * float(steepness.max()) or 1.0
    top = -level * np.sum(list(second.values()), axis=0)
    if len(second) > 1:
        mixed = derived((0, 1))
        top -= slopes[0] ** 2 * second[1] + slopes[1] ** 2 * second[0]
        top += 2 * slopes[0] * slopes[1] * mixed
    return top / (level + steepness) ** 1.5


def _derived(
    values: NDArray[np.floating],
    widths: Sequence[float],
    steps: Sequence[float],
    axes: tuple[int, ...],
) -> NDArray[np.floating]:
    """Derivative along each of the axes, of the image after smoothing."""
    from scipy.ndimage import gaussian_filter

    orders = tuple(axes.count(axis) for axis in (0, 1))
    derived: NDArray[np.floating] = gaussian_filter(values, widths, order=orders, mode="nearest")
    return derived / np.prod([steps[axis] for axis in axes])


def _step(axis: NDArray[np.floating]) -> float:
    """Mean distance of two points, 1 if there is none."""
    return abs(float(axis[-1] - axis[0])) / max(1, len(axis) - 1) or 1.0


def _without_edges(image: NDArray[np.floating], axis: int, width: int) -> None:
    """Put NaN at both ends of an axis: images curve there without bands."""
    if image.shape[axis] > 4 * width:
        ends = np.moveaxis(image, axis, 0)
        ends[:width] = ends[-width:] = np.nan
