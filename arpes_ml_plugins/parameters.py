"""Checks of parameters that several methods share; all run before any work starts."""

from __future__ import annotations

import math
import warnings
from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import (
    ConvergenceWarning,
    DataError,
    DataTypeError,
    ParameterError,
)

__all__ = ["check_choice", "check_count", "check_image", "check_positive", "warn_unconverged"]


def check_image(
    data: xr.DataArray | xr.Dataset, dims: Any, smallest: int
) -> tuple[xr.DataArray, tuple[Hashable, Hashable]]:
    """The array and its image dimensions, refused with fewer than ``smallest`` pixels along one.

    Both are as the call has settled them: the spectrum of a Dataset, one dimension a role.
    """
    if not isinstance(data, xr.DataArray) or not isinstance(dims, tuple):
        raise DataTypeError(
            "this is the inner function of a method; call arpes_ml_plugins.<name>(data) instead, "
            "which finds the spectrum and its axes"
        )
    sizes = [data.sizes[dim] for dim in dims]
    if min(sizes) < smallest:
        got = " x ".join(f"{dim}: {size}" for dim, size in zip(dims, sizes, strict=True))
        raise DataError(
            f"the image is too small: expected at least {smallest} x {smallest} pixels, got "
            f"{got}; select a larger region, or name other axes with dims="
        )
    return data, (dims[0], dims[1])


def check_positive(name: str, value: Any, *, optional: bool = False) -> None:
    """``value`` must be a finite number above zero (or None, where that means "choose")."""
    if value is None and optional:
        return
    number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value <= 0:
        choice = " or None" if optional else ""
        raise ParameterError(f"{name} must be a positive number{choice}, got {value!r}")


def check_count(name: str, value: Any, *, optional: bool = False) -> None:
    """``value`` must be a whole number above zero (or None, where that means "choose")."""
    if value is None and optional:
        return
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
        choice = " or None" if optional else ""
        raise ParameterError(f"{name} must be a whole number of at least 1{choice}, got {value!r}")


def check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    """``value`` must be one of ``choices``."""
    if value not in choices:
        raise ParameterError(
            f"unknown {name} {value!r}; expected one of {', '.join(map(repr, choices))}"
        )


def warn_unconverged(result: xr.Dataset, method: str, remedy: str) -> None:
    """Warn where ``result.converged`` is False; lazy results speak when they are looked at."""
    if result["converged"].chunks is not None:
        return
    failed = int((~result["converged"] & result["residual"].notnull()).sum())
    if failed:
        warnings.warn(
            f"{method}: {failed} of {result['converged'].size} images did not converge (largest "
            f"residual {float(result['residual'].max()):.2g}); {remedy}",
            ConvergenceWarning,
            stacklevel=2,
        )
