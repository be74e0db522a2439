"""Refuse values whose fourth power or whose result overflows or vanishes."""

from __future__ import annotations

import numpy as np

from arpes_ml_plugins.errors import DataError

__all__ = ["check_magnitudes", "narrowed"]

RANGES = {8: (1e-75, 1e75), 4: (1e-30, 1e30)}
"""Bytes per number to the smallest and the largest magnitude: variances of variances are fourth
powers, and results of float32 data are float32 again."""


def check_magnitudes(values: np.ndarray) -> None:
    """Refuse floating-point values in a unit in which squares overflow or vanish.

    The largest magnitude counts, and has to be zero or in range; NaN are left alone. Narrower types
    than float32 and integers cannot go so far.
    """
    if values.dtype.kind not in "fc" or values.size == 0:
        return
    width = values.dtype.itemsize // (2 if values.dtype.kind == "c" else 1)
    if width not in RANGES:
        return
    smallest, largest = RANGES[width]
    top = _largest(values)
    if top > largest:
        raise DataError(
            f"the largest value has the magnitude {top:.3g}; {values.dtype} data are accepted up "
            f"to {largest:g}, because their squares must not overflow. If it is an outlier, "
            f"replace it by NaN; otherwise choose another unit, for example data / {top:.0e}"
        )
    if 0 < top < smallest:
        raise DataError(
            f"no value is larger than {top:.3g} in magnitude; {values.dtype} data are accepted "
            f"from {smallest:g}, because their squares must not vanish. Choose another unit, "
            f"for example data / {top:.0e}, or replace values that are only rounding errors by 0"
        )


def _largest(values: np.ndarray) -> float:
    """The largest magnitude; 0 if all values are NaN."""
    if values.dtype.kind == "c":
        return max(_largest(values.real), _largest(values.imag))
    # fmax passes over NaN, and neither makes a copy.
    low, high = np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)
    return 0.0 if np.isnan(high) else max(abs(float(low)), abs(float(high)))


def narrowed(value: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A result in the precision of the data, refused where it does not fit.

    Examples
    --------
    >>> narrowed(np.array([0.5]), np.dtype("float16"))
    array([0.5], dtype=float16)
    """
    if value.dtype.kind not in "fc" or dtype.kind not in "fc":
        return value
    with np.errstate(over="ignore", under="ignore"):
        narrow = value.astype(dtype)
    if dtype.itemsize < value.dtype.itemsize and (np.isinf(narrow) & np.isfinite(value)).any():
        raise DataError(
            f"the result reaches {np.abs(value[np.isfinite(value)]).max():.3g}, beyond the range "
            f"of {dtype}; convert the data with .astype('float64') first"
        )
    return narrow
