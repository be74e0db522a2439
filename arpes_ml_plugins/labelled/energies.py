"""Read energies relative to the chemical potential, as Fermi edges need them."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arpes_ml_plugins.errors import AxisError
from arpes_ml_plugins.labelled.axes import is_binding, numbers_along

__all__ = ["energies_along"]


def energies_along(array: xr.DataArray, dim: Hashable) -> NDArray[np.float64]:
    """The energies of an axis, if they are given and increase with the kinetic energy.

    Raises
    ------
    AxisError
        There is no coordinate, it holds no finite numbers, or its name is that of binding energies.

    Examples
    --------
    >>> energies_along(xr.DataArray([1.0, 2], {"omega": [-0.5, 0.5]}, "omega"), "omega")
    array([-0.5,  0.5])
    """
    if dim not in array.coords:
        raise AxisError(
            f"the axis {dim!r} has no coordinate, so its energies are unknown; assign them: "
            f"data.assign_coords({{{dim!r}: energies}})"
        )
    if is_binding(dim):
        raise AxisError(
            f"expected energies relative to the chemical potential, negative in occupied states, "
            f"got binding energies along {dim!r}; if they are negative in occupied states, "
            f"data.rename({{{dim!r}: 'eV'}}), otherwise data.assign_coords({{{dim!r}: "
            f"-data[{dim!r}]}}).rename({{{dim!r}: 'eV'}})"
        )
    return numbers_along(array[dim])
