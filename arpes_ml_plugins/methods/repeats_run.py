"""Repeated exposures: their dimension, and whether they agree with each other."""

from __future__ import annotations

import math
from collections.abc import Hashable

import xarray as xr

from arpes_ml_plugins.errors import AxisError, CountsWarning
from arpes_ml_plugins.frames import warn
from arpes_ml_plugins.labelled.axes import plain_name
from arpes_ml_plugins.labelled.outputs import result_dtype
from arpes_ml_plugins.labelled.series import one_of

__all__ = ["REPEATS", "check_drift", "repeated_dim", "together"]

REPEATS = ("sweep", "sweeps", "repeat", "repeats", "repetition", "exposure")
"""Names of dimensions along which the same scene is measured again."""
SURE = 5.0  # standard deviations
MATTERS = 1.5  # times the variance of the noise: smaller drifts lie within it


def repeated_dim(
    array: xr.DataArray, image: tuple[Hashable, Hashable], repeats: Hashable | None
) -> Hashable | None:
    """The dimension of the exposures, or ``None``; ``"auto"`` goes by the names in ``REPEATS``."""
    batch = [dim for dim in array.dims if dim not in image]
    if repeats is None:
        return None
    if repeats == "auto":
        named = [dim for dim in batch if plain_name(dim) in REPEATS and array.sizes[dim] > 1]
        return named[0] if len(named) == 1 else None
    if repeats not in batch or array.sizes[repeats] < 2:
        raise AxisError(
            f"repeats={repeats!r} is not a dimension with at least two exposures; {one_of(batch)}"
        )
    return repeats


def together(array: xr.DataArray, repeats: Hashable) -> xr.DataArray:
    """The mean over the exposures; NaN where one of them is."""
    mean = array.mean([repeats], skipna=False, keep_attrs=True)
    return mean.astype(result_dtype(array.dtype), copy=False)


def check_drift(noise: xr.Dataset, repeats: Hashable, count: int) -> str:
    """Compare the exposures in a sentence; warn if the scene changed between them."""
    drift, error = float(noise["drift"]), float(noise["drift_error"])
    if math.isnan(drift):  # too few counts
        return f"There are {count} exposures along {repeats}, with too few counts to compare them."
    if drift > max(1 + SURE * error, MATTERS):
        said = (
            f"the {count} exposures along {repeats} differ by {drift:.3g} times the variance of "
            f"their noise, so the scene changed between them"
        )
        warn(
            f"{said}; their mean is denoised. Pass repeats=None to see the change.",
            CountsWarning,
        )
        return f"{said[0].upper()}{said[1:]}."
    return (
        f"The {count} exposures along {repeats} agree within their noise (they differ by "
        f"{drift:.2f} times its variance)."
    )
