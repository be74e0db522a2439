"""Select the spectrum from the user's data, and put a new one back in its place."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from os import PathLike
from typing import Any

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import AxisError, DataError, DataTypeError
from arpes_ml_plugins.labelled.axes import plays
from arpes_ml_plugins.labelled.magnitudes import check_magnitudes

__all__ = ["check_array", "check_values", "replace_spectrum", "select_spectrum"]

SPECTRUM_NAMES = ("spectrum", "raw")
EXAMPLE = ("phi", "eV")


def select_spectrum(
    data: Any, example: Sequence[str] = EXAMPLE
) -> tuple[xr.DataArray, Hashable | None]:
    """The array to work on, and its variable name if ``data`` is a Dataset.

    ``example`` are dimensions that the caller could work on, for a message to those who come
    without any.

    In a Dataset this is the variable ``spectrum`` or ``raw`` (PyARPES's names); otherwise the only
    real variable with an energy axis, the only one with two dimensions or more, or the only numeric
    one, in this order.
    """
    if isinstance(data, xr.DataArray):
        return data, None
    if isinstance(data, (str, PathLike)):
        raise DataTypeError(
            f"expected an xarray.DataArray or xarray.Dataset, got {data!r}; if that is a file, "
            f"read it first, for example with arpes_ml_plugins.load"
        )
    if hasattr(data, "to_xarray"):  # a table or series of pandas
        raise DataTypeError(
            f"expected an xarray.DataArray or xarray.Dataset, got {type(data).__name__}; convert "
            f"it first, with names for its axes: xarray.DataArray(data, "
            f"dims={_example(example, getattr(data, 'ndim', 0))}), which keeps its labels as "
            f"coordinates"
        )
    if not isinstance(data, xr.Dataset):
        raise DataTypeError(
            f"expected an xarray.DataArray or xarray.Dataset, got {type(data).__name__}; give a "
            f"plain array names for its axes first, for example "
            f"xarray.DataArray(values, dims={_example(example, getattr(data, 'ndim', 0))})"
        )
    for name in SPECTRUM_NAMES:
        if name in data.data_vars:
            return data[name], name
    numbers = {k: v for k, v in data.data_vars.items() if v.ndim and v.dtype.kind in "iufc"}
    images = {k: v for k, v in numbers.items() if v.ndim >= 2 and v.dtype.kind in "iuf"}
    of_energy = {k: v for k, v in images.items() if any(plays(dim, "energy") for dim in v.dims)}
    for candidates in (of_energy, images, numbers):
        if len(candidates) == 1:
            return next((array, name) for name, array in candidates.items())
    if not data.data_vars:
        raise AxisError(
            "the Dataset has no variables, so there is no spectrum in it; check the selection or "
            "the node of the tree (arpes_ml_plugins.<name>(tree) works on all nodes that have one)"
        )
    variables = ", ".join(map(str, data.data_vars))
    raise AxisError(
        f"cannot tell which variable of the Dataset is the spectrum (variables: {variables}); "
        f"pass the one you mean, dataset['name'], or name it 'spectrum'"
    )


def _example(dims: Sequence[str], ndim: int) -> tuple[str, ...]:
    """The last ``ndim`` of the ``dims``, preceded by other names if the array has more."""
    further = tuple(f"axis_{i + 1}" for i in range(ndim - len(dims)))
    return (*further, *(dims[-ndim:] if ndim else dims))


def replace_spectrum(data: xr.Dataset, name: Hashable, result: xr.DataArray) -> xr.Dataset:
    """A new Dataset with ``result`` instead of the variable ``name``; all else as it was."""
    replaced = data.copy(deep=False)
    replaced[name] = result
    return replaced


def check_array(array: xr.DataArray, *, accepts_complex: bool = False) -> None:
    """Refuse arrays that no method accepts, without computing lazy values."""
    if array.dtype.kind not in ("iufc" if accepts_complex else "iuf"):
        remedy = {
            "c": "take the real part, the imaginary part or abs()",
            "O": "convert it with .astype(float)",
            "b": "convert it with .astype(float) if it really is an intensity",
        }.get(array.dtype.kind, "select the variable that holds the intensity")
        raise DataTypeError(
            f"expected real numbers (integer or floating point), got dtype {array.dtype}; {remedy}"
        )
    if np.isnan(array.shape).any():
        raise DataError(
            "the number of values along an axis is unknown, as after a selection of lazy data by "
            "lazy values; pass data.copy(data=data.data.compute_chunk_sizes()), or compute them"
        )
    if array.size == 0:
        sizes = ", ".join(f"{dim}: {size}" for dim, size in array.sizes.items())
        raise DataError(f"the array is empty ({sizes}); check the selection that made it")
    widest = {"f": "float64", "c": "complex128"}.get(array.dtype.kind)
    if widest and array.dtype.itemsize > np.dtype(widest).itemsize:
        raise DataTypeError(f"dtype {array.dtype} is wider than {widest}; use .astype({widest!r})")


def check_values(
    array: xr.DataArray, dims: Sequence[Hashable], *, accepts_nan: bool = True
) -> None:
    """Refuse values and axes that no method accepts, before any work starts.

    Lazy values are not checked here.
    """
    for dim in dims:
        if array.sizes[dim] < 2:
            raise DataError(
                f"the axis {dim!r} has a single point, which is too small; select a "
                f"range instead of a point, or name another axis with dims="
            )
    if array.dtype.kind not in "fc" or array.chunks is not None:
        return
    values = array.values
    if np.isinf(values).any():
        found = int(np.isinf(values).sum())
        instead = "replace them by NaN (they are then left out) or " if accepts_nan else ""
        raise DataError(
            f"{found} of {values.size} values are infinite; {instead}find the division that made "
            f"them"
        )
    if np.isnan(values).all():
        raise DataError("all values are NaN; check the selection or conversion that made the data")
    if not accepts_nan and np.isnan(values).any():
        raise DataError(
            f"{int(np.isnan(values).sum())} of {values.size} values are NaN, which this method "
            f"does not handle; leave them out (data.dropna along an axis), or fill them; for a "
            f"method with stderr=, any value with a large error does: data.fillna(0) and "
            f"stderr=xarray.where(data.isnull(), 1e3, stderr)"
        )
    check_magnitudes(values)
