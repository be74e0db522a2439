"""Errors of data in imaginary time: stated per point, as a covariance, or from bins."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arpes_ml_plugins.errors import DataError, ParameterError

__all__ = [
    "BIN",
    "averaged",
    "by_slice",
    "check_aligned",
    "stated_covariance",
    "stated_errors",
]

EXACT = 1e-12  # of the largest eigenvalue of a covariance: less variance is none
LEFT_OUT = 1e2  # times the largest eigenvalue: the variance of what is not to count
SIZES = 1e-75, 1e75  # of errors: data over errors are squared
BIN = "bin"
"""Dimension of Monte Carlo bins."""


def by_slice(stderr: Any, data: xr.DataArray, dim: Hashable) -> Any:
    """Errors as they are, but plain ones of one number for each slice with their dimensions."""
    batch = [name for name in data.dims if name != dim]
    if isinstance(stderr, xr.DataArray) or not batch:
        return stderr
    sizes = tuple(data.sizes[name] for name in batch)
    if np.shape(stderr) != sizes or sizes == (data.sizes[dim],):
        return stderr
    return xr.DataArray(np.asarray(stderr), dims=batch)


def stated_errors(
    data: xr.DataArray, dim: Hashable, stderr: Any, axis: str
) -> NDArray[np.floating] | None:
    """Standard error of every real row of every slice, ``(slices, rows)``."""
    if stderr is None:
        return None
    shell = xr.DataArray(np.empty(data.shape, bool), dims=data.dims)
    if isinstance(stderr, xr.DataArray):
        strange = set(stderr.dims) - set(data.dims)
        if strange:
            raise ParameterError(
                f"stderr has the dimensions {sorted(map(str, strange))}, which the data lack; "
                f"expected some of {list(map(str, data.dims))}"
            )
        check_aligned("stderr", stderr, data)
        plain = stderr.drop_vars(list(stderr.coords))
    elif np.ndim(stderr) == 0:
        plain = xr.DataArray(stderr)
    elif np.shape(stderr) == (data.sizes[dim],):
        plain = xr.DataArray(np.asarray(stderr), dims=[dim])
    else:
        raise ParameterError(
            f"stderr must be a number, one number for each of the {data.sizes[dim]} points of "
            f"{dim!r}, one for each slice, or a DataArray with dimensions of the data; got shape "
            f"{np.shape(stderr)}"
        )
    if plain.dtype.kind not in "iuf":
        raise ParameterError(f"stderr must hold real numbers, got dtype {plain.dtype}")
    for name, size in plain.sizes.items():
        if size != data.sizes[name]:
            raise ParameterError(
                f"stderr has {size} points along {name!r}, the data have {data.sizes[name]}"
            )
    values = np.asarray(plain.values, dtype=np.float64)
    unknown = int((~np.isfinite(values)).sum())
    if unknown:
        raise ParameterError(
            f"stderr must be finite, but {unknown} of {values.size} values are not; for data that "
            "are not to count, give a large error, or leave them out"
        )
    if (values <= 0).any():
        raise ParameterError(
            "stderr must be positive everywhere (its smallest value is "
            f"{values.min():.3g}); for an exact point give a small error, not zero"
        )
    _check_sizes("stderr", values)
    full = plain.astype(np.float64).broadcast_like(shell).transpose(..., dim)
    rows = full.values.reshape(-1, data.sizes[dim]).copy()  # broadcast views are read-only
    return rows if axis != "matsubara" else np.concatenate([rows, rows], -1)


def _check_sizes(name: str, errors: NDArray[np.floating]) -> None:
    if errors.min() < SIZES[0] or errors.max() > SIZES[1]:
        raise ParameterError(
            f"{name} holds standard errors from {errors.min():.3g} to {errors.max():.3g}; expected "
            f"{SIZES[0]:g} to {SIZES[1]:g}, because data over errors are squared"
        )


def check_aligned(name: str, array: xr.DataArray, data: xr.DataArray) -> None:
    """Refuse an array whose coordinates are not those of the data, in the same order."""
    for dim in array.dims:
        both = dim in array.coords and dim in data.coords
        if both and not np.array_equal(array[dim].values, data[dim].values):
            raise ParameterError(
                f"the coordinate {dim!r} of {name} is not that of the data; make them agree first, "
                f"for example {name}.reindex_like(data)"
            )


def averaged(data: xr.DataArray, dim: Hashable) -> tuple[xr.DataArray, Any, int]:
    """The mean over Monte Carlo bins, the covariance of its errors by slice, and bins merged."""
    from arpes_ml_plugins.continuation.monte_carlo import FEWEST_BINS, mean_and_covariance

    if data.chunks is not None:
        raise DataError(
            f"the errors come from the dimension {BIN!r}, but the data are lazy; load them first: "
            f"data.load()"
        )
    if data.sizes[BIN] < FEWEST_BINS:
        raise DataError(
            f"the dimension {BIN!r} has {data.sizes[BIN]} bins, too few to measure errors from; "
            f"expected {FEWEST_BINS} or more, or their mean with stderr="
        )
    mean = data.mean(BIN, keep_attrs=True)
    batch = [name for name in mean.dims if name != dim]
    values = data.transpose(*batch, BIN, dim).values.reshape(-1, data.sizes[BIN], data.sizes[dim])
    if values.dtype.kind == "c":
        values = np.concatenate([values.real, values.imag], -1)
    if not np.isfinite(values).all():
        raise DataError(f"the bins along {BIN!r} hold NaN or infinite values; leave those out")
    found = [mean_and_covariance(bins.astype(np.float64)) for bins in values]
    matrices = np.stack([covariance for _, covariance, _ in found])
    shape = (*(mean.sizes[name] for name in batch), *matrices.shape[1:])
    return mean.transpose(*batch, dim), matrices.reshape(shape), max(m for *_, m in found)


def stated_covariance(
    covariance: Any, data: xr.DataArray, dim: Hashable, axis: str, stderr: Any
) -> NDArray[np.floating] | None:
    """Of the errors of all slices, ``(rows, rows)``, or of each, ``(slices, rows, rows)``."""
    if covariance is None:
        return None
    points = data.sizes[dim]
    if stderr is not None:
        raise ParameterError("pass stderr or covariance, not both; a covariance holds the errors")
    matrix = np.asarray(covariance)
    rows = points if axis != "matsubara" else 2 * points
    what = "" if axis != "matsubara" else " (real parts, then imaginary parts)"
    batch = tuple(size for name, size in data.sizes.items() if name != dim)
    if matrix.shape not in ((rows, rows), (*batch, rows, rows)) or matrix.dtype.kind not in "iuf":
        raise ParameterError(
            f"covariance must be a real {rows} x {rows} matrix{what}, or one for every slice, "
            f"{(*batch, rows, rows)}; got shape {matrix.shape} of dtype {matrix.dtype}"
        )
    if matrix.ndim == 2:
        return _without_exact(matrix)
    return np.stack([_without_exact(each) for each in matrix.reshape(-1, rows, rows)])


def _without_exact(matrix: NDArray[Any]) -> NDArray[np.floating]:
    """A covariance in which directions without variance get a large one, and so no weight."""
    rows = len(matrix)
    matrix = matrix.astype(np.float64)
    if not np.isfinite(matrix).all():
        wrong = int((~np.isfinite(matrix)).sum())
        raise ParameterError(
            f"covariance must be finite, but {wrong} of {matrix.size} elements are not"
        )
    if not np.allclose(matrix, matrix.T, rtol=1e-6, atol=0):
        raise ParameterError(
            f"covariance must be symmetric, but elements (i, j) and (j, i) differ by up to "
            f"{np.abs(matrix - matrix.T).max():.3g}, where the largest is "
            f"{np.abs(matrix).max():.3g}; pass (c + c.T) / 2 if that is rounding"
        )
    matrix = (matrix + matrix.T) / 2
    values = np.linalg.eigvalsh(matrix)
    exact = values <= EXACT * values[-1]
    if values[0] < -EXACT * values[-1] or exact.sum() > max(1, rows // 10) or values[-1] <= 0:
        raise ParameterError(
            f"covariance must be positive definite, but its eigenvalues run from {values[0]:.3g} "
            f"to {values[-1]:.3g}, and {exact.sum()} of {rows} are zero; with fewer samples than "
            f"points it never is: pass the samples themselves (a dimension {BIN!r}), or its "
            f"diagonal as stderr"
        )
    _check_sizes("covariance", np.sqrt(values[~exact]))
    if not exact.any():
        return matrix
    # A sum rule that holds in every sample (G(0) + G(beta) = 1) contains no noise.
    values, vectors = np.linalg.eigh(matrix)
    values[exact] = LEFT_OUT * values[-1]
    return (vectors * values) @ vectors.T
