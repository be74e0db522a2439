"""Read coefficients of G(tau) in a basis: Legendre polynomials, or functions from the user.

The kernel is expanded in the basis, like the data, which are not changed.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arpes_ml_plugins.errors import AxisError, DataError, ParameterError
from arpes_ml_plugins.methods.continuation_errors import check_aligned

__all__ = ["Basis", "check_legendre", "legendre_orders", "read_basis"]

HALVINGS = 20  # of beta / 2, towards each end, where functions of imaginary time change fastest
NODES = 24  # in each of the intervals between
CONVERGED = 5e-3  # of the norm: smaller terms of a sum over coefficients are left out
FITTING, UNFITTING = 0.03, 0.1  # relative deviation from the norm, of a convention that is meant
DEPENDENT = 1e-10  # smallest over largest singular value: the functions are not independent


def legendre_orders(data: xr.DataArray, dim: Hashable) -> NDArray[np.floating]:
    """The orders l of Legendre coefficients: the coordinate, or 0, 1, 2, ... without one."""
    if dim not in data.coords:
        return np.arange(data.sizes[dim], dtype=np.float64)
    orders = np.asarray(data[dim].values)
    whole = orders.dtype.kind in "iuf" and bool((orders == np.round(orders)).all())
    if not whole or orders.min() < 0 or (np.diff(orders) <= 0).any():
        raise AxisError(
            f"{dim!r} must hold the orders of Legendre coefficients, whole numbers from 0 up that "
            f"rise, got {orders[:4]}; coefficients of another basis need basis=, and imaginary "
            f"times a name like 'tau'"
        )
    return orders.astype(np.float64)


def check_legendre(
    data: xr.DataArray, dim: Hashable, orders: NDArray[np.floating], beta: float, norm: float
) -> None:
    """Refuse Legendre coefficients of fermions that have the norm in another convention only.

    ``G(0) + G(beta) = 2 / beta sum_l sqrt(2 l + 1) G_l`` over even l; lazy data, and those without
    the first coefficients, are not checked.
    """
    if data.chunks is not None or (orders != np.arange(len(orders))).any():
        return
    values = data.transpose(..., dim).values.reshape(-1, len(orders))[:, ::2]
    values = np.abs((values * np.sign(values[:, :1])).mean(0))
    even = orders[::2]
    root = np.sqrt(2 * even + 1)
    factors = {
        "": np.ones_like(root),
        f"int P_l G dtau, without sqrt(2 l + 1): multiply them, and their errors, by "
        f"numpy.sqrt(2 * l + 1), l = data[{str(dim)!r}]": root,
        f"G = sum_l G_l P_l: multiply them, and their errors, by beta / numpy.sqrt(2 * l + 1), "
        f"l = data[{str(dim)!r}]": beta / root,
        "those of functions that are normalised on [0, beta]: multiply them, and their errors, by "
        "beta ** 0.5": np.full_like(root, beta**0.5),
    }
    off = {}
    for name, factor in factors.items():
        terms = 2 / beta * root * factor * values / norm
        small = np.flatnonzero(terms < CONVERGED)  # noise follows, which grows
        off[name] = abs(terms[: small[0]].sum() - 1) if len(small) else 1.0
    fitting = [name for name, distance in off.items() if distance < FITTING]
    if off[""] < UNFITTING or len(fitting) != 1:
        return
    raise DataError(
        f"the coefficients along {dim!r} do not have the norm {norm:g} in the convention expected, "
        f"sqrt(2 l + 1) int P_l(2 tau / beta - 1) G dtau, but in that of {fitting[0]}; or pass the "
        f"norm of the spectrum, norm=, if it is another"
    )


@dataclass(frozen=True)
class Basis:
    """Functions ``(tau, l)`` on imaginary times with weights of an integral over them."""

    times: NDArray[np.floating]
    functions: NDArray[np.floating]
    weights: NDArray[np.floating]

    @cached_property
    def transform(self) -> NDArray[np.floating]:
        """From values at the times to coefficients, ``(l, tau)``: the expansion of least squares.

        For orthonormal functions these are the integrals with each of them.
        """
        root = np.sqrt(self.weights)
        left, values, right = np.linalg.svd(root[:, None] * self.functions, full_matrices=False)
        if values[-1] <= DEPENDENT * values[0]:
            raise ParameterError(
                f"the {len(values)} functions of the basis are not independent on its "
                f"{len(self.times)} imaginary times; give them on more times, or fewer functions"
            )
        solved: NDArray[np.floating] = (right.T / values) @ left.T * root
        return solved


def read_basis(
    basis: Any, data: xr.DataArray, dim: Hashable, beta: float, statistics: str
) -> Basis:
    """The functions of a basis, from an array along tau, a function of tau, or sparse-ir."""
    if isinstance(basis, xr.DataArray):
        found = _sampled(basis, dim, beta)
    else:
        functions = getattr(basis, "u", basis)
        _check_object(basis, beta, statistics)
        if not callable(functions):
            raise ParameterError(
                f"basis must be a DataArray along tau and {dim!r}, a function of tau or an object "
                f"with such a function u (like those of sparse-ir), got {type(basis).__name__}"
            )
        times, weights = _nodes(beta)
        found = Basis(times, _called(functions, times, data.sizes[dim]), weights)
    count = found.functions.shape[1]
    if count != data.sizes[dim]:
        raise ParameterError(
            f"basis has {count} functions, the data have {data.sizes[dim]} coefficients along "
            f"{dim!r}"
        )
    if isinstance(basis, xr.DataArray):
        check_aligned("basis", basis, data)
    return found


def _check_object(basis: Any, beta: float, statistics: str) -> None:
    """Refuse an object whose own temperature or statistics do not agree."""
    own = getattr(basis, "beta", None)
    if isinstance(own, (int, float, np.number)) and abs(own / beta - 1) > 1e-6:
        raise ParameterError(f"basis is for beta = {own:.6g}, the data are of beta = {beta:.6g}")
    known = str(getattr(basis, "statistics", ""))[:1].upper()
    if known in ("F", "B") and known != statistics[0].upper():
        raise ParameterError(
            f"basis is for {'fermions' if known == 'F' else 'bosons'}, but statistics is "
            f"{statistics!r}"
        )


def _sampled(basis: xr.DataArray, dim: Hashable, beta: float) -> Basis:
    others = [other for other in basis.dims if other != dim]
    if dim not in basis.dims or len(others) != 1 or others[0] not in basis.coords:
        raise ParameterError(
            f"basis must have the dimension {dim!r} of the data and one of imaginary time with its "
            f"coordinate, got {tuple(map(str, basis.dims))} with coordinates "
            f"{tuple(map(str, basis.coords))}"
        )
    values = basis.transpose(others[0], dim).values.astype(np.float64)
    times = basis[others[0]].values.astype(np.float64)
    inside = (np.diff(times) > 0).all() and times[0] >= -1e-6 * beta
    if not inside or times[-1] > beta * (1 + 1e-6) or not np.isfinite(values).all():
        raise ParameterError(
            f"basis must be finite, on imaginary times that rise within [0, beta] = [0, {beta:.6g}]"
        )
    if len(times) < values.shape[1]:
        raise ParameterError(
            f"basis holds {values.shape[1]} functions on {len(times)} imaginary times; expected at "
            f"least as many times"
        )
    borders = np.concatenate([[0.0], (times[1:] + times[:-1]) / 2, [beta]])
    return Basis(times.clip(0, beta), values, np.diff(borders))


def _called(functions: Any, times: NDArray[np.floating], count: int) -> NDArray[np.floating]:
    values = np.asarray(functions(times), dtype=np.float64)
    if values.ndim != 2 or len(times) not in values.shape or not np.isfinite(values).all():
        raise ParameterError(
            f"basis must return finite values of {count} functions at each of the times it is "
            f"given, ({count}, times) or (times, {count}); for {len(times)} times it returned "
            f"shape {values.shape}"
        )
    return values if values.shape[0] == len(times) else values.T


def _nodes(beta: float) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Points and weights of an integral from 0 to ``beta``, dense at both ends."""
    points, weights = np.polynomial.legendre.leggauss(NODES)
    half = np.concatenate([[0.0], beta / 2 * 2.0 ** -np.arange(HALVINGS, -1, -1.0)])
    edges = np.concatenate([half, beta - half[-2::-1]])
    size = np.diff(edges)
    times = edges[:-1, None] + size[:, None] * (points + 1) / 2
    return times.ravel(), (size[:, None] * weights / 2).ravel()
