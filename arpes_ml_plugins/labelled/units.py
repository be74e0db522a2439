"""Values with a unit (pint, as peaks uses it): take the unit off, put it back on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import xarray as xr

__all__ = ["strip_unit"]


def strip_unit(array: xr.DataArray) -> tuple[xr.DataArray, Callable[[xr.DataArray], xr.DataArray]]:
    """The array with bare values, and the function that gives a result the same unit."""
    quantity: Any = array.variable._data
    if not (hasattr(quantity, "magnitude") and hasattr(quantity, "units")):
        return array, lambda result: result
    make, unit = type(quantity), quantity.units

    def restore(result: xr.DataArray) -> xr.DataArray:
        return result.copy(data=make(result.data, unit))

    return array.copy(data=quantity.magnitude), restore
