"""Read data in imaginary time or at Matsubara frequencies, and check all that comes with them.

Everything that can be wrong with the input of a continuation is found here, before any work starts.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arpes_ml_plugins.errors import (
    AxisError,
    DataError,
    DataTypeError,
    ParameterError,
)
from arpes_ml_plugins.labelled.axes import ROLES, SIZES
from arpes_ml_plugins.methods.continuation_basis import check_legendre, legendre_orders, read_basis
from arpes_ml_plugins.methods.continuation_beta import axis_unit, inverse_temperature, plain_axis
from arpes_ml_plugins.methods.continuation_conventions import (
    check_convention,
    check_decay,
    check_frequencies,
    check_numbers,
    check_sign,
    check_times,
    folded,
)
from arpes_ml_plugins.methods.continuation_errors import (
    BIN,
    averaged,
    by_slice,
    check_aligned,
    stated_covariance,
    stated_errors,
)
from arpes_ml_plugins.methods.continuation_frequencies import (
    check_reach,
    checked_frequencies,
    own_frequencies,
)
from arpes_ml_plugins.methods.continuation_moments import read_moments
from arpes_ml_plugins.parameters import check_choice, check_flag, check_positive

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.continuation.moments import Moments
    from arpes_ml_plugins.continuation.problem import Problem
    from arpes_ml_plugins.labelled.energy_units import EnergyUnit

__all__ = ["ImaginaryData", "check_aligned", "check_real", "read_imaginary"]

TAU_NAMES, MATSUBARA_NAMES, LEGENDRE_NAMES = ROLES["tau"]
FEWEST_DATA = 6
STATISTICS = ("fermion", "boson")
MOST_PARTS = 12  # of a cell
FINE_ENOUGH = 1.5  # beta times the widest part of a cell


@dataclass(frozen=True)
class ImaginaryData:
    """Checked input; ``errors`` and ``covariance`` are for real rows, see ``Problem.rows``."""

    array: xr.DataArray
    dim: Hashable
    problem: Problem
    parts: int
    """Number of parts into which the cells of ``omega`` are divided in the problem."""
    omega: xr.Variable
    errors: NDArray[np.floating] | None  # (slices, rows)
    covariance: NDArray[np.floating] | None  # (rows, rows), or (slices, rows, rows)
    norm: float | None
    any_norm: bool
    """Whether the norm of fermions may differ from 1 without notice."""
    moments: Moments | None
    merged: int | None
    """Number of Monte Carlo bins that were merged into one, if there are bins."""
    windows: NDArray[np.floating] | None = None
    """Half-width of the window of each slice, ``(slices,)``, if users name no frequencies."""
    common: float = 0.0
    """Size of an unknown constant in all real parts, beside ``errors``."""


def read_imaginary(
    data: xr.DataArray | xr.Dataset,
    dims: Any,
    *,
    beta: float | None,
    omega: Any,
    stderr: Any,
    covariance: Any,
    statistics: str,
    bins: bool | None,
    norm: float | str | None,
    sign: int | None = None,
    even: bool = False,
    basis: Any = None,
    moments: Any = None,
    signed: bool = False,
    extend: bool = False,
    constant: bool = False,
    causal: bool = False,
) -> ImaginaryData:
    """Determine all settings of a continuation, or refuse input that cannot be used.

    Parameters
    ----------
    signed
        Whether the spectrum may have either sign.
    extend
        Whether the spectrum may go on beyond ``omega``.
    constant
        Whether complex data hold an unknown real constant.
    causal
        Whether complex data of the negative convention are wrong, as ``status`` then says.
    """
    check_choice("statistics", statistics, STATISTICS)
    check_flag("bins", bins, optional=True)
    norm, any_norm = _read_norm(norm)
    check_convention(sign)
    check_flag("even", even)
    if not isinstance(data, xr.DataArray) or not isinstance(dims, tuple):
        raise DataTypeError(
            "this is the inner function of a method; call arpes_ml_plugins.<name>(data) instead"
        )
    stderr = by_slice(stderr, data, dims[0])
    given = _Given(plain_axis(data, dims[0]), dims[0], stderr, covariance)
    axis = _read_axis(given, basis, beta, statistics)
    if axis.transform is None:
        expected = None if any_norm else norm or 1.0
        _check_axis(axis, statistics, expected, moments, even=even, signed=signed)
    given, merged = axis.given, None
    if BIN in given.data.dims and given.stderr is None and given.covariance is None:
        averages, matrix, merged = averaged(given.data, given.dim)
        given = replace(given, data=averages, covariance=matrix)
    known = read_moments(moments, given.data, given.dim, norm, signed=signed)
    errors = stated_errors(given.data, given.dim, given.stderr, axis.kind)
    matrix = stated_covariance(given.covariance, given.data, given.dim, axis.kind, given.stderr)
    problem_on = partial(_problem, axis, statistics, bins, signed=signed, even=even, sign=sign)
    common = 0.0
    if constant and axis.kind == "matsubara":
        common = 1.0 if given.data.chunks is not None else float(abs(given.data).max())
    windows = None
    if omega is None:
        norms = _known_norms(norm, known, given.data.size // given.data.sizes[given.dim])
        omega, windows = own_frequencies(
            given.data, given.dim, statistics, problem_on, errors, matrix, common, norms
        )
    grid = checked_frequencies(omega, given.data, given.dim, axis.unit, statistics)
    frequencies = grid.values.astype(np.float64)
    check_reach(frequencies, axis.beta, given.dim)
    if even and statistics == "fermion" and frequencies[0] >= 0:
        raise ParameterError(
            f"an even spectrum of fermions needs frequencies of both signs, got omega from "
            f"{frequencies[0]:.3g} to {frequencies[-1]:.3g}"
        )
    parts = _parts(frequencies, axis.beta, statistics) if bins is None else 1
    problem = problem_on(frequencies, parts)
    if causal and axis.kind == "matsubara":
        problem = replace(problem, causal=True)
    if extend and not (known and max(known.orders) > 0):
        # A little weight far outside would make any higher moment.
        problem = problem.extended()
    if not problem.causal:
        check_sign(given.data, given.dim, problem)
    return ImaginaryData(
        given.data,
        given.dim,
        problem,
        parts,
        grid,
        errors,
        matrix,
        norm,
        any_norm,
        known,
        merged,
        windows,
        common,
    )


def _known_norms(
    norm: float | None, moments: Moments | None, slices: int
) -> NDArray[np.floating] | None:
    """Positive integral of each slice, if it is stated."""
    if norm is not None:
        return np.full(slices, float(norm))
    if moments is None or 0 not in moments.orders:
        return None
    stated = moments.values[:, moments.orders.index(0)]
    return stated.astype(np.float64) if (stated > 0).all() else None


@dataclass(frozen=True)
class _Given:
    """Data, the axis to continue, and the errors that are stated of them."""

    data: xr.DataArray
    dim: Hashable
    stderr: Any
    covariance: Any


@dataclass(frozen=True)
class _Axis:
    given: _Given
    """With frequencies below zero folded in."""
    kind: str
    times: NDArray[np.floating]
    beta: float
    unit: EnergyUnit | None
    transform: torch.Tensor | None
    """From values at ``times`` to coefficients of a given basis."""


def _read_axis(given: _Given, basis: Any, beta: float | None, statistics: str) -> _Axis:
    """What the points of the axis are, and the inverse temperature."""
    import torch

    data, dim = given.data, given.dim
    kind = "tau" if basis is not None else _axis(data, dim, statistics)
    coefficients = basis is not None or kind == "legendre"
    if coefficients and data.dtype.kind == "c":
        raise DataTypeError(
            f"expected real coefficients along {dim!r}, got complex values (dtype {data.dtype}); "
            f"take data.real"
        )
    if kind.endswith("matsubara"):
        check_numbers(data, dim, statistics)
        data, stderr, covariance = folded(data, dim, given.stderr, given.covariance)
        given = _Given(data, dim, stderr, covariance)
    times = legendre_orders(data, dim) if coefficients else _times(data, dim)
    _check_count(times, dim)
    unit = axis_unit(data, dim, kind)
    if beta is None and isinstance(getattr(basis, "beta", None), (int, float, np.number)):
        beta = float(basis.beta)
    role = "" if coefficients else kind
    beta = inverse_temperature(data, times, role, statistics, unit, beta)
    _check_size("beta", beta)
    if basis is None:
        return _Axis(given, kind, times, beta, unit, None)
    functions = read_basis(basis, data, dim, beta, statistics)
    transform = torch.from_numpy(functions.transform)
    return _Axis(given, kind, functions.times, beta, unit, transform)


def _check_axis(
    axis: _Axis, statistics: str, norm: float | None, moments: Any, *, even: bool, signed: bool
) -> None:
    """Refuse an axis that is not what it seems to be, of data with this ``norm`` if it is known."""
    data, dim, times, beta = axis.given.data, axis.given.dim, axis.times, axis.beta
    if axis.kind == "legendre":
        if statistics == "fermion" and moments is None and norm is not None and not signed:
            check_legendre(data, dim, times, beta, norm)
    elif axis.kind == "tau":
        check_times(data, dim, times, beta, even=even, signed=signed)
    elif axis.kind.endswith("matsubara"):
        check_frequencies(times, statistics, beta, dim)
        if statistics == "fermion" and norm is not None:
            check_decay(data, dim, times, norm)


def _parts(frequencies: NDArray[np.floating], beta: float, statistics: str) -> int:
    """Number of parts into which cells are divided: wider ones are integrated over."""
    if statistics == "boson" and frequencies[0] >= 0:
        return 1  # the half cell below zero belongs to the other half of the axis
    needed = math.ceil(beta * np.diff(frequencies).max() / FINE_ENOUGH)
    return min(max(1, needed), MOST_PARTS)


def _problem(
    axis: _Axis,
    statistics: str,
    bins: bool | None,
    frequencies: NDArray[np.floating],
    parts: int = 1,
    *,
    signed: bool,
    even: bool,
    sign: int | None,
) -> Problem:
    import torch

    from arpes_ml_plugins.continuation.problem import Problem, subdivided

    times = np.clip(axis.times, 0, axis.beta) if axis.kind == "tau" else axis.times
    return Problem(
        torch.from_numpy(times),
        subdivided(torch.from_numpy(frequencies), parts),
        axis.beta,
        statistics,
        axis.kind,
        bool(bins) or (bins is None and parts == MOST_PARTS),
        float(np.abs(frequencies).max()),
        signed=signed,
        symmetric=even,
        convention=sign,
        transform=axis.transform,
    )


def _read_norm(norm: float | str | None) -> tuple[float | None, bool]:
    """The norm, if it is stated, and whether any is right."""
    if isinstance(norm, str):
        if norm != "any":
            raise ParameterError(
                f"norm must be a positive number, 'any' or None (1 for fermions), got {norm!r}"
            )
        return None, True
    check_positive("norm", norm, optional=True)
    if norm is not None:
        _check_size("norm", norm)
    return norm, False


def _axis(data: xr.DataArray, dim: Hashable, statistics: str) -> str:
    """``tau``, ``matsubara`` (or ``real matsubara``) or ``legendre``: by the name, otherwise by the
    type of the values.
    """
    if dim in LEGENDRE_NAMES:
        return "legendre"
    if data.dtype.kind == "c":
        if dim in TAU_NAMES:
            raise DataTypeError(
                f"expected real G(tau), got complex values (dtype {data.dtype}) along {dim!r}; "
                f"take data.real, or name the axis 'iwn' if it holds Matsubara frequencies"
            )
        return "matsubara"
    if dim in MATSUBARA_NAMES and statistics == "boson":  # chi(i nu) of an even spectrum
        return "real matsubara"
    if dim in MATSUBARA_NAMES:
        raise DataTypeError(
            f"expected complex G(i w_n) along {dim!r}, got real values (dtype {data.dtype}); pass "
            f"real + 1j * imag, or name the axis 'tau' if it holds imaginary times"
        )
    return "tau"


def check_real(data: xr.DataArray, dim: Hashable) -> None:
    """Refuse an axis without a coordinate of finite real numbers."""
    if dim not in data.coords:
        raise AxisError(
            f"the axis {dim!r} has no coordinate, so its imaginary times are unknown; give it one: "
            f"data.assign_coords({dim}=...)"
        )
    times = np.asarray(data[dim].values)
    if times.dtype.kind == "c":
        raise AxisError(
            f"the coordinate {dim!r} must hold real numbers, got dtype {times.dtype}; if it holds "
            f"i w_n, take the frequencies w_n: data.assign_coords({dim}=data[{str(dim)!r}].imag)"
        )
    if times.dtype.kind not in "iuf" or not np.isfinite(times).all():
        raise AxisError(f"the coordinate {dim!r} must hold finite numbers, got dtype {times.dtype}")


def _times(data: xr.DataArray, dim: Hashable) -> NDArray[np.floating]:
    check_real(data, dim)
    times = np.asarray(data[dim].values).astype(np.float64)
    _check_count(times, dim)
    if (np.diff(times) <= 0).any():
        raise AxisError(
            f"the coordinate {dim!r} must rise from point to point; sort it: "
            f"data.sortby({str(dim)!r}), and drop repeated points"
        )
    return times


def _check_count(times: NDArray[np.floating], dim: Hashable) -> None:
    if len(times) < FEWEST_DATA:
        raise DataError(
            f"the axis {dim!r} has {len(times)} points, which is too small to continue; expected "
            f"at least {FEWEST_DATA}"
        )


def _check_size(name: str, value: float) -> None:
    if not SIZES[0] <= value <= SIZES[1]:
        raise ParameterError(
            f"{name} is {value:.3g}, beyond what can be squared; expected {SIZES[0]:g} to "
            f"{SIZES[1]:g}; choose another unit"
        )
