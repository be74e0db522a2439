"""Read the matrix of a Green's function: its independent real parts, with their errors."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arpes_ml_plugins.errors import AxisError, DataError, DataTypeError, ParameterError
from arpes_ml_plugins.labelled.axes import ROLES
from arpes_ml_plugins.methods.continuation_conventions import CONTRADICTION, COPIES, folded
from arpes_ml_plugins.methods.continuation_errors import (
    BIN,
    averaged,
    check_aligned,
    stated_covariance,
    stated_errors,
)
from arpes_ml_plugins.methods.continuation_input import ImaginaryData, read_imaginary
from arpes_ml_plugins.methods.continuation_moments import read_moments

if TYPE_CHECKING:
    from arpes_ml_plugins.continuation.moments import Moments

__all__ = ["MatrixData", "read_matrix"]

TAU_NAMES, _, LEGENDRE_NAMES = ROLES["tau"]


@dataclass(frozen=True)
class MatrixData:
    """Checked input: real parts along ``element``, first of the diagonal, then of those beside it
    (real parts above the diagonal, row by row, and then imaginary parts, if there are any).
    """

    diagonal: ImaginaryData
    array: xr.DataArray
    """All elements, ``(..., element, tau)``."""
    errors: NDArray[np.floating] | None  # (slices, elements beside the diagonal, rows)
    covariance: NDArray[np.floating] | None  # (rows, rows), or (slices, elements, rows, rows)
    moments: Moments | None
    """Of the elements beside the diagonal."""
    element: str
    orbitals: tuple[Hashable, Hashable]
    size: int
    complex_valued: bool

    def separated(self) -> tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.integer]]:
        """For each element of the matrix: where its real part is, where its imaginary part is, and
        the sign of the latter; ``(size, size)`` each.
        """
        pairs = list(combinations(range(self.size), 2))
        real, imaginary, sign = (np.zeros((self.size, self.size), int) for _ in range(3))
        np.fill_diagonal(real, np.arange(self.size))
        for number, (row, column) in enumerate(pairs, self.size):
            real[row, column] = real[column, row] = number
            imaginary[row, column] = imaginary[column, row] = number + len(pairs)
            sign[row, column], sign[column, row] = 1, -1
        return real, imaginary, sign


def read_matrix(
    data: xr.DataArray | xr.Dataset,
    dims: Any,
    orbitals: Any,
    stderr: Any,
    covariance: Any,
    **options: Any,
) -> MatrixData:
    """Determine all settings, as :func:`read_imaginary` does for single spectra."""
    if not isinstance(data, xr.DataArray) or not isinstance(dims, tuple):
        raise DataTypeError(
            "this is the inner function of a method; call arpes_ml_plugins.<name>(data) instead"
        )
    dim: Hashable = dims[0]
    names = _checked_orbitals(orbitals, data, dim)
    basis, moments = options["basis"], options["moments"]
    in_time = basis is not None or dim in (*TAU_NAMES, *LEGENDRE_NAMES) or data.dtype.kind != "c"
    parts = _Parts.of(data, dim, names, in_time)
    diagonal = parts.diagonal(data)
    options["moments"] = parts.of_moments(moments, diagonal=True)
    own = (
        parts.of_errors(stderr, data, diagonal=True),
        parts.of_covariance(covariance, data, diagonal=True),
    )
    source = read_imaginary(
        diagonal, dims, stderr=own[0], covariance=own[1], extend=True, **options
    )
    if in_time:
        _check_hermitian(data, parts, source, stderr, covariance)
    if parts.complex_valued and (source.problem.even or source.problem.symmetric):
        raise DataError(
            "the elements beside the diagonal have imaginary parts, whose spectra are not even; "
            "pass frequencies omega of both signs and even=False"
        )
    beside = parts.beside(data)
    errors = parts.of_errors(stderr, data, diagonal=False)
    matrix = parts.of_covariance(covariance, data, diagonal=False)
    axis = source.problem.axis
    if axis.endswith("matsubara"):
        beside, errors, matrix = folded(beside, dim, errors, matrix)
    if BIN in beside.dims and stderr is None and covariance is None:
        beside, matrix, _ = averaged(beside, dim)
    known = read_moments(parts.of_moments(moments, diagonal=False), beside, dim, None, signed=True)
    rows = stated_errors(beside, dim, errors, axis)
    matrix = stated_covariance(matrix, beside, dim, axis, errors)
    count = beside.sizes[parts.element]
    return MatrixData(
        diagonal=source,
        array=xr.concat([source.array, beside], dim=parts.element),
        errors=None if rows is None else rows.reshape(-1, count, rows.shape[-1]),
        covariance=matrix
        if matrix is None or matrix.ndim == 2
        else matrix.reshape(-1, count, *matrix.shape[1:]),
        moments=known,
        element=parts.element,
        orbitals=names,
        size=data.sizes[names[0]],
        complex_valued=parts.complex_valued,
    )


def _checked_orbitals(
    orbitals: Any, data: xr.DataArray, dim: Hashable
) -> tuple[Hashable, Hashable]:
    if isinstance(orbitals, str) or not isinstance(orbitals, Sequence) or len(orbitals) != 2:
        raise ParameterError(
            f"orbitals must name the two dimensions of the matrix, for example ('i', 'j'); got "
            f"{orbitals!r}"
        )
    row, column = orbitals
    others = [other for other in data.dims if other not in (dim, BIN)]
    if row == column or row not in others or column not in others:
        raise ParameterError(
            f"orbitals must be two of the dimensions {list(map(str, others))} of the data, got "
            f"{orbitals!r}"
        )
    sizes = data.sizes[row], data.sizes[column]
    if sizes[0] != sizes[1] or sizes[0] < 2:
        raise DataError(
            f"the matrix along {row!r} and {column!r} must be square, of two orbitals or more; got "
            f"{sizes[0]} x {sizes[1]}"
        )
    labels = [data[name].values for name in orbitals if name in data.coords]
    if len(labels) == 2 and not np.array_equal(labels[0], labels[1]):
        raise AxisError(
            f"the orbitals along {row!r} and {column!r} must be the same, in the same order; got "
            f"{labels[0]} and {labels[1]}"
        )
    return row, column


@dataclass(frozen=True)
class _Parts:
    """How independent real parts follow from the elements of a matrix, and their errors too."""

    dim: Hashable
    orbitals: tuple[Hashable, Hashable]
    size: int
    element: str
    in_time: bool
    """Whether the matrix is Hermitian at every point; at Matsubara frequencies it is not, but
    ``G_ij(-i w_n)`` is the conjugate of ``G_ji(i w_n)``."""
    copies: bool
    """Whether ``G_ji`` follows from ``G_ij`` to rounding, so that both have the same noise."""
    complex_valued: bool
    """Whether the elements beside the diagonal have imaginary parts."""

    @classmethod
    def of(
        cls, data: xr.DataArray, dim: Hashable, orbitals: tuple[Hashable, Hashable], in_time: bool
    ) -> _Parts:
        element = " ".join(map(str, orbitals))
        while element in data.dims:
            element += " "
        copies, symmetric = data.chunks is not None, data.dtype.kind != "c"
        if not copies:
            other = _transposed(data, orbitals)
            near = COPIES * float(abs(data).max())
            symmetric = symmetric or float(abs(data - other).max()) <= near
            copies = float(abs(data - (other.conj() if in_time else other)).max()) <= near
        size = data.sizes[orbitals[0]]
        return cls(dim, orbitals, size, element, in_time, copies, not symmetric)

    def diagonal(self, data: xr.DataArray) -> xr.DataArray:
        found = self._stacked([self._at(data, k, k) for k in range(self.size)], data)
        return found.real if self.in_time and found.dtype.kind == "c" else found

    def beside(self, data: xr.DataArray) -> xr.DataArray:
        """Real parts, and imaginary ones if there are any, above the diagonal."""
        both = [(self._at(data, i, j), self._at(data, j, i)) for i, j in self.pairs]
        real = [(one + other) / 2 for one, other in both]
        found = self._twice(real, [(one - other) / 2j for one, other in both])
        if self.in_time:
            found = [part.real for part in found]
        return self._stacked(found, data)

    def of_errors(self, stderr: Any, data: xr.DataArray, *, diagonal: bool) -> Any:
        """Errors of the parts, from those of the elements."""
        if isinstance(stderr, xr.DataArray) and set(stderr.dims) & set(self.orbitals):
            check_aligned("stderr", stderr, data)
            sizes = {name: stderr.sizes.get(name, self.size) for name in self.orbitals}
            if set(sizes.values()) != {self.size}:
                raise ParameterError(
                    f"stderr has the sizes {sizes} along the orbitals, the data have {self.size}"
                )
            full = stderr.expand_dims({k: v for k, v in sizes.items() if k not in stderr.dims})
            if diagonal:
                return self._stacked([self._at(full, k, k) for k in range(self.size)], full)
            squares = full.astype(np.float64) ** 2
            means = [(self._at(squares, i, j) + self._at(squares, j, i)) / 2 for i, j in self.pairs]
            return self._stacked(self._twice(means, means), full) ** 0.5 * self._share
        if stderr is None or diagonal:
            return stderr
        if isinstance(stderr, xr.DataArray):
            return stderr * self._share
        return np.multiply(stderr, self._share)

    @property
    def pairs(self) -> list[tuple[int, int]]:
        return list(combinations(range(self.size), 2))

    def _twice(self, real: list[Any], imaginary: list[Any]) -> list[Any]:
        """What belongs to real parts and, if there are any, to imaginary ones."""
        return [*real, *(imaginary if self.complex_valued else ())]

    @property
    def _share(self) -> float:
        """Error of the mean of two elements, over that of each."""
        return 1.0 if self.copies else 0.5**0.5

    def of_covariance(self, covariance: Any, data: xr.DataArray, *, diagonal: bool) -> Any:
        """Covariances of the parts, from those of the elements."""
        if covariance is None:
            return None
        matrix = np.asarray(covariance)
        if matrix.ndim == 2 and (diagonal or self.in_time or not self.complex_valued):
            return matrix if diagonal else matrix * self._share**2
        names = [name for name in data.dims if name != self.dim]
        shape = tuple(data.sizes[name] for name in names)
        if matrix.ndim == 2:
            matrix = np.broadcast_to(matrix, (*shape, *matrix.shape))
        if matrix.shape[:-2] != shape or matrix.dtype.kind not in "iuf":
            raise ParameterError(
                f"covariance must be a real matrix, or one for every slice and element, "
                f"{(*shape, 'rows', 'rows')}; got shape {matrix.shape} of dtype {matrix.dtype}"
            )
        full = xr.DataArray(matrix, dims=[*names, "row of errors", "column of errors"])
        if diagonal:
            found = [self._at(full, k, k) for k in range(self.size)]
        else:
            means = [(self._at(full, i, j) + self._at(full, j, i)) / 2 for i, j in self.pairs]
            found = [mean * self._share**2 for mean in means]
            found = self._twice(found, found if self.in_time else [_turned(one) for one in found])
        return self._stacked(found, full).transpose(..., *full.dims[-2:]).values

    def of_moments(self, moments: Any, *, diagonal: bool) -> Any:
        """Moments that are matrices, by elements; others are those of the diagonal."""
        if not isinstance(moments, (Mapping, Sequence)) or isinstance(moments, str):
            return moments if diagonal else None
        pairs = moments.items() if isinstance(moments, Mapping) else enumerate(moments)
        found: dict[Any, Any] = {}
        for order, entry in pairs:
            paired = isinstance(entry, (tuple, list)) and len(entry) == 2
            value = entry[0] if paired else entry
            matrix = isinstance(value, xr.DataArray) and set(self.orbitals) <= set(value.dims)
            if matrix:
                part = self.diagonal(value).real if diagonal else self.beside(value).real
                found[order] = (part, *entry[1:]) if paired else part
            elif diagonal:
                found[order] = entry
        return found

    def _at(self, data: xr.DataArray, row: int, column: int) -> xr.DataArray:
        lost = [name for name, c in data.coords.items() if set(c.dims) & set(self.orbitals)]
        return data.drop_vars(lost).isel(dict(zip(self.orbitals, (row, column), strict=True)))

    def _stacked(self, parts: list[xr.DataArray], like: xr.DataArray) -> xr.DataArray:
        found = xr.concat(parts, dim=self.element)
        others = [name for name in like.dims if name not in (*self.orbitals, self.dim)]
        last = [self.dim] if self.dim in like.dims else []
        return found.transpose(*others, self.element, *last).assign_attrs(like.attrs)


def _turned(covariance: xr.DataArray) -> xr.DataArray:
    """Covariance of real and imaginary part of ``z / i`` from that of ``z``."""
    values = covariance.values
    half = values.shape[-1] // 2
    order = np.r_[half : 2 * half, 0:half]
    sign = np.r_[np.ones(half), -np.ones(half)]
    turned = values[..., order, :][..., order] * sign * sign[:, None]
    return covariance.copy(data=turned)


def _transposed(data: xr.DataArray, orbitals: tuple[Hashable, Hashable]) -> xr.DataArray:
    """The transposed matrix, with the dimensions in the order of the data."""
    lost = [name for name, c in data.coords.items() if set(c.dims) & set(orbitals)]
    row, column = orbitals
    bare = data.drop_vars(lost)
    return bare.rename({row: column, column: row}).transpose(*bare.dims)


def _check_hermitian(
    data: xr.DataArray, parts: _Parts, source: ImaginaryData, stderr: Any, covariance: Any
) -> None:
    """Refuse a matrix whose element ``G_ji`` is not the conjugate of ``G_ij`` within its errors."""
    import torch

    from arpes_ml_plugins.continuation.outliers import estimate_error

    if parts.copies:
        return
    other = _transposed(data, parts.orbitals).conj()
    apart = (data - other).drop_vars(list(data.coords))
    if BIN in apart.dims:
        apart = apart.mean(BIN)
    apart = apart.transpose(..., parts.dim)
    expected: Any
    if isinstance(stderr, xr.DataArray):
        plain = stderr.drop_vars(list(stderr.coords))
        both = {name: parts.size for name in parts.orbitals if name not in plain.dims}
        plain = plain.expand_dims(both)
        expected = plain**2 + _transposed(plain, parts.orbitals) ** 2
    elif stderr is not None:
        dims = [parts.dim] if np.ndim(stderr) else []
        expected = 2 * xr.DataArray(np.asarray(stderr, float), dims=dims) ** 2
    elif covariance is not None:
        expected = 2 * float(np.median(np.diagonal(covariance, 0, -2, -1)))
    else:
        values = np.ascontiguousarray(apart.values.real.reshape(-1, apart.shape[-1]))
        error = estimate_error(source.problem.kernel, torch.from_numpy(values)).numpy()
        expected = float(np.median(error[error > 0])) ** 2
    scale = 1 if data.dtype.kind != "c" else 2
    ratio = float((abs(apart) ** 2 / expected / scale).mean()) ** 0.5
    if ratio > CONTRADICTION:
        row, column = parts.orbitals
        raise DataError(
            f"the matrix along {row!r} and {column!r} is not Hermitian: G_ij and the conjugate of "
            f"G_ji differ by {ratio:.3g} times what their errors explain; check the order of the "
            f"orbitals, or take the mean of both"
        )
