"""Close figures whose drawing fails, and refuse axes that cannot be drawn."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import AxisError
from arpes_ml_plugins.labelled.axes import numbers_along

__all__ = ["check_drawable", "closed_on_error"]

P = ParamSpec("P")
R = TypeVar("R")


def closed_on_error(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator that closes the figures of ``function`` if it fails or is interrupted."""

    @functools.wraps(function)
    def draw(*args: P.args, **kwargs: P.kwargs) -> R:
        import matplotlib.pyplot as plt

        before = set(plt.get_fignums())
        try:
            return function(*args, **kwargs)
        except BaseException:
            for number in set(plt.get_fignums()) - before:
                plt.close(number)
            raise

    return draw


def check_drawable(axis: xr.DataArray) -> None:
    """Refuse a coordinate that cannot be an axis: text, NaN, values that are not monotonic."""
    name = axis.name
    if axis.dtype.kind == "M":
        if np.isnat(axis.values).any():
            raise AxisError(f"the coordinate {name!r} contains NaT; leave these points out")
        values = axis.values.astype(np.int64).astype(np.float64)
    else:
        values = numbers_along(axis)
    steps = np.diff(values)
    if not ((steps >= 0).all() or (steps <= 0).all()):
        raise AxisError(
            f"the coordinate {name!r} must rise or fall from point to point; sort it: "
            f"data.sortby({name!r})"
        )
