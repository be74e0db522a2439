"""Remove the unit of values (pint, as in peaks) and restore it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import xarray as xr

__all__ = ["as_attribute", "strip_unit"]


def strip_unit(array: xr.DataArray) -> tuple[xr.DataArray, Callable[[xr.DataArray], xr.DataArray]]:
    """The array with bare values, and the function that gives a result the same unit.

    xarray computes lazy quantities and other lazy arrays of one object only apart, so that a lazy
    result beside others has its unit as the attribute ``units``: see :func:`as_attribute`.
    """
    quantity: Any = array.variable._data
    if not _has_unit(quantity):
        return array, lambda result: result
    make, unit = type(quantity), quantity.units

    def restore(result: xr.DataArray) -> xr.DataArray:
        return result.copy(data=make(result.data, unit))

    return array.copy(data=quantity.magnitude), restore


def as_attribute(array: xr.DataArray) -> xr.DataArray:
    """A lazy quantity as a lazy array with the attribute ``units``; others as they are."""
    quantity: Any = array.variable._data
    if array.chunks is None or not _has_unit(quantity):
        return array
    return array.copy(data=quantity.magnitude).assign_attrs(units=str(quantity.units))


def _has_unit(values: Any) -> bool:
    return hasattr(values, "magnitude") and hasattr(values, "units")
