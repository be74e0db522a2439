"""Check the moments of the spectrum that users state: per slice, with errors or exact."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arpes_ml_plugins.errors import ParameterError
from arpes_ml_plugins.methods.continuation_errors import check_aligned

if TYPE_CHECKING:
    from arpes_ml_plugins.continuation.moments import Moments

__all__ = ["read_moments"]

HIGHEST = 6
FORM = (
    "moments must list the integral of the spectrum, of w times the spectrum, ..., or map orders "
    "to them: moments=[1.0, 0.3, None, 0.2] or moments={1: 0.3}; each a number, a DataArray along "
    "dimensions of the batch, or such a value and its standard error, (0.3, 0.01)"
)


def read_moments(
    moments: Any, data: xr.DataArray, dim: Hashable, norm: float | None, *, signed: bool
) -> Moments | None:
    """Checked moments for every slice; None if there are none."""
    from arpes_ml_plugins.continuation.moments import Moments

    if moments is None:
        return None
    given = _by_order(moments)
    if norm is not None and 0 in given:
        raise ParameterError("pass norm or a moment of order 0, not both: they are the same")
    if not given:
        return None
    values, errors = [], []
    for order, entry in given.items():
        paired = isinstance(entry, (tuple, list))
        if paired and len(entry) != 2:
            raise ParameterError(f"{FORM}; got {entry!r} for order {order}")
        value, error = entry if paired else (entry, None)
        values.append(_of_slices(value, order, data, dim))
        errors.append(_checked_error(error, order))
    table = np.stack(values, -1)
    if not signed:
        _check_possible(tuple(given), table, errors, norm)
    return Moments(tuple(given), table, tuple(errors))


def _by_order(moments: Any) -> dict[int, Any]:
    if isinstance(moments, Mapping):
        pairs = list(moments.items())
    elif isinstance(moments, Sequence) and not isinstance(moments, str):
        pairs = list(enumerate(moments))
    else:
        raise ParameterError(f"{FORM}; got {type(moments).__name__}")
    found: dict[int, Any] = {}
    for key, value in pairs:
        whole = isinstance(key, (int, np.integer, str)) and str(key).isdigit()  # text: replayed
        if not whole or int(key) > HIGHEST:
            raise ParameterError(
                f"the order of a moment must be a whole number from 0 to {HIGHEST}, got {key!r}"
            )
        if value is not None:
            found[int(key)] = value
    return dict(sorted(found.items()))


def _of_slices(value: Any, order: int, data: xr.DataArray, dim: Hashable) -> NDArray[np.floating]:
    """One number for each slice."""
    batch = [other for other in data.dims if other != dim]
    if isinstance(value, xr.DataArray):
        strange = set(value.dims) - set(batch)
        if strange:
            raise ParameterError(
                f"the moment of order {order} has the dimensions {sorted(map(str, strange))}; "
                f"expected some of {list(map(str, batch))}, those of the batch"
            )
        check_aligned(f"the moment of order {order}", value, data)
        array = value.drop_vars(list(value.coords))
    elif isinstance(value, (int, float, np.number)) and not isinstance(value, bool):
        array = xr.DataArray(float(value))
    else:
        raise ParameterError(f"{FORM}; got {value!r} for order {order}")
    if array.dtype.kind not in "iuf" or not np.isfinite(array.values).all():
        raise ParameterError(f"the moment of order {order} must be real and finite, got {value!r}")
    shell = xr.DataArray(np.empty([data.sizes[other] for other in batch], bool), dims=batch)
    whole = array.astype(np.float64).broadcast_like(shell)
    return whole.transpose(*batch).values.reshape(-1)


def _checked_error(error: Any, order: int) -> float | None:
    if error is None:
        return None
    number = isinstance(error, (int, float, np.number)) and not isinstance(error, bool)
    if not number or not np.isfinite(error) or error <= 0:
        raise ParameterError(
            f"the standard error of the moment of order {order} must be a number above zero, got "
            f"{error!r}; an exact moment is given without one"
        )
    return float(error)


def _check_possible(
    orders: tuple[int, ...],
    table: NDArray[np.floating],
    errors: list[float | None],
    norm: float | None,
) -> None:
    """Refuse moments that no positive spectrum has: even ones are positive, and m0 m2 >= m1^2."""
    exact = {order: table[:, k] for k, order in enumerate(orders) if errors[k] is None}
    if norm is not None:
        exact[0] = np.full(len(table), norm)
    for order, values in exact.items():
        if order % 2 == 0 and (values <= 0).any():
            raise ParameterError(
                f"the moment of order {order} must be above zero for a positive spectrum, got "
                f"{values.min():.6g}; spectra of either sign: continue_maxent(signed=True)"
            )
    if not {0, 1, 2} <= exact.keys():
        return
    width = exact[0] * exact[2] - exact[1] ** 2
    if (width <= 0).any():
        worst = int(width.argmin())
        raise ParameterError(
            f"no positive spectrum has the moments {exact[0][worst]:.6g}, {exact[1][worst]:.6g} "
            f"and {exact[2][worst]:.6g} of orders 0, 1 and 2: the square of the second must be "
            f"below the product of the others"
        )
