"""Draw a small picture of data or of a result, for HTML representations."""

from __future__ import annotations

import io
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from arpes_ml_plugins.fitting import DRAW
from arpes_ml_plugins.labelled.apply import COMPONENT
from arpes_ml_plugins.labelled.axes import IMAGE
from arpes_ml_plugins.labelled.spectrum import select_spectrum
from arpes_ml_plugins.labelled.units import strip_unit
from arpes_ml_plugins.plotting.limits import colour_limits
from arpes_ml_plugins.plugins.axes import resolved_dims

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["thumbnail"]

SIZE = (2.6, 1.9)  # inches
DPI = 100
MOST_PIXELS = 260  # of an image along one axis: about as many as the picture has
SHOWN = ("clean", "spectral_function", "spectra", "low_rank")
"""Variables of results to draw; the first one present is drawn."""


def thumbnail(
    data: xr.DataArray | xr.Dataset, dims: Sequence[Hashable] = ()
) -> tuple[bytes, str] | None:
    """Draw the middle image, the curve or the spectra of the components, without axes.

    Parameters
    ----------
    data
        Data or the result of a method. Lazy data are not computed.
    dims
        Dimensions of the rows and the columns of an image, if they are known.

    Returns
    -------
    tuple of bytes and str, or None
        A PNG file and a description of what it shows; None if there is nothing to draw.
    """
    from matplotlib.figure import Figure

    array = _chosen(data)
    if array.chunks is not None or array.dtype.kind not in "biufc" or not array.size:
        return None
    array = _reduced(array, dims)
    values = _thinned(np.asarray(array.values)).astype(float)
    if not np.isfinite(values).any() or not values.ndim:
        return None
    figure = Figure(figsize=SIZE, facecolor="none")  # not one of pyplot's: nothing to close
    axes = figure.add_axes((0.01, 0.01, 0.98, 0.98))
    axes.set_axis_off()
    draw = _lines if COMPONENT in array.dims or array.ndim == 1 else _image
    draw(axes, values)
    page = io.BytesIO()
    figure.savefig(page, format="png", dpi=DPI)
    return page.getvalue(), f"{array.name or 'values'} along {', '.join(map(str, array.dims))}"


def _chosen(data: xr.DataArray | xr.Dataset) -> xr.DataArray:
    if isinstance(data, xr.Dataset):
        for name in SHOWN:
            if name in data.data_vars:
                return strip_unit(data[name])[0]
    return strip_unit(select_spectrum(data)[0])[0]


def _reduced(array: xr.DataArray, dims: Sequence[Hashable]) -> xr.DataArray:
    """Rows by columns, components by curve, or a curve, with ascending coordinates."""
    if array.dtype.kind == "c":
        array = array.real
    if DRAW in array.dims:
        array = array.isel({DRAW: slice(0, 16)}).mean(DRAW)
    if COMPONENT in array.dims:
        kept: Sequence[Hashable] = (COMPONENT, *[d for d in array.dims if d != COMPONENT][:1])
        array = array.mean([dim for dim in array.dims if dim not in kept])
    else:
        long = [dim for dim in array.dims if array.sizes[dim] > 1]
        kept = long if len(long) < 2 else _image_dims(array, long, dims)
        array = array.isel({dim: n // 2 for dim, n in array.sizes.items() if dim not in kept})
    for dim in kept:
        if dim in array.indexes and len(array.indexes[dim]) and _falls(array[dim].values):
            array = array.isel({dim: slice(None, None, -1)})
    return array.transpose(*kept)


def _image_dims(
    array: xr.DataArray, long: Sequence[Hashable], dims: Sequence[Hashable]
) -> Sequence[Hashable]:
    if len(dims) == 2 and set(dims) <= set(long):
        return dims
    if len(long) == 2:
        return long[::-1] if array.name == "spectral_function" else long  # frequency upwards
    return resolved_dims(array, IMAGE)


def _falls(values: np.ndarray) -> bool:
    return bool(values[0] > values[-1])


def _thinned(values: np.ndarray) -> np.ndarray:
    """Every n-th value of an array that is larger than the picture."""
    return values[tuple(slice(None, None, -(-size // MOST_PIXELS)) for size in values.shape)]


def _image(axes: Axes, values: np.ndarray) -> None:
    low, high = colour_limits(values)
    axes.imshow(values, cmap="magma", vmin=low, vmax=high, aspect="auto", origin="lower")


def _lines(axes: Axes, values: np.ndarray) -> None:
    axes.axhline(0, color="0.5", linewidth=0.8)  # visible on white and on black
    for number, curve in enumerate(np.atleast_2d(values)):
        axes.plot(curve, color=f"C{number}", linewidth=1.6)
