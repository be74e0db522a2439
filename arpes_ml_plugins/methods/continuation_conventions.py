"""Check conventions of data in imaginary time: range and unit of the times, sign of the values,
and negative Matsubara frequencies.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arpes_ml_plugins.errors import AxisError, DataError, DistributionWarning, ParameterError
from arpes_ml_plugins.frames import warn
from arpes_ml_plugins.labelled.energy_units import unit_text
from arpes_ml_plugins.methods.continuation_errors import BIN, check_aligned

if TYPE_CHECKING:
    from arpes_ml_plugins.continuation.problem import Problem

__all__ = [
    "SLACK",
    "check_convention",
    "check_decay",
    "check_frequencies",
    "check_numbers",
    "check_sign",
    "check_times",
    "folded",
]

SLACK = 1e-6  # of beta: how far tau may reach beyond [0, beta]
SCALED = 0.9  # last of times that look like tau / beta
STEADY = 0.1  # relative spread of real parts at high frequencies that tend to a constant
ABOVE = 1.5  # times what a Green's function may have at the highest frequency
WHOLE = 1e-3  # how far frequencies may be from those of whole numbers n
CERTAIN = 10.0  # beta over the last time, above which data that rise again have the wrong beta
RISE, CLEAR_RISE = 0.05, 0.3  # of the largest value; the latter where a spectrum may do so too
UNITY = 0.02  # deviation from 1 of values that add up to it
UNITY_SHARE = 0.5  # of the slices
OPPOSITE = 0.3  # cosine between data and those of a flat spectrum, more than noise can cause
COPIES = 1e-6  # relative difference of values that were copied
CONTRADICTION = 2.0  # differences between +w and -w over what their errors explain
UNCONJUGATED = 0.2  # the same over the data, if the errors are unknown


def check_times(
    data: xr.DataArray,
    dim: Hashable,
    times: NDArray[np.floating],
    beta: float,
    *,
    even: bool,
    signed: bool,
) -> None:
    """Refuse imaginary times that contradict ``beta``; warn of those that probably do."""
    first, last = float(times[0]), float(times[-1])
    unit = unit_text(data[dim])
    hint = f"; beta has to be in the unit of {dim!r}, {unit}" if unit else ""
    if first < -SLACK * beta or last > beta * (1 + SLACK):
        raise AxisError(
            f"imaginary times must lie in [0, beta] = [0, {beta:.6g}], but {dim!r} runs from "
            f"{first:.6g} to {last:.6g}; check beta, or fold G(tau) into this range{hint}"
        )
    rise = 0.0 if signed or data.chunks is not None else _rise(data, dim)
    scaled = beta > 2 and first < 1 - SCALED and SCALED < last <= 1 + SLACK
    if scaled and rise > RISE and beta >= CERTAIN:
        raise AxisError(
            f"{dim!r} runs from {first:.6g} to {last:.6g} at beta = {beta:.6g}, and the data rise "
            f"again at its end, which no spectrum can do so far from beta: it holds tau / beta; "
            f"multiply it: data.assign_coords({dim}=data[{str(dim)!r}] * {beta:.6g})"
        )
    if scaled:
        _warn(
            f"{dim!r} runs from {first:.6g} to {last:.6g} at beta = {beta:.6g}: it looks like "
            f"tau / beta; if so, multiply it: data.assign_coords({dim}=data[{str(dim)!r}] * beta)"
        )
        return
    if rise > CLEAR_RISE and beta >= CERTAIN * last:
        raise AxisError(
            f"{dim!r} ends at {last:.6g}, far from beta = {beta:.6g}, and the data rise again at "
            f"its end, which no spectrum can do there; check beta and its unit{hint}"
        )
    half = last <= beta / 2 * (1 + SLACK)
    if half and rise > RISE and even:
        raise AxisError(
            f"{dim!r} ends at {last:.6g}, not beyond half of beta = {beta:.6g}, but the data rise "
            f"again at its end; those of an even spectrum rise beyond beta / 2 only; check beta"
            f"{hint}"
        )
    if half and rise > (RISE if _adds_up(data, dim) else CLEAR_RISE):
        _warn(
            f"{dim!r} ends at {last:.6g}, not beyond half of beta = {beta:.6g}, but the data fall "
            f"and rise again as if they ended at beta; if so, beta is wrong, and so will be the "
            f"spectrum{hint}"
        )
        return
    short = not half and last < beta - 1.5 * np.diff(times).max()
    if first <= SLACK * beta and short:
        _warn(
            f"{dim!r} begins at 0 and ends at {last:.6g}, short of beta = {beta:.6g}; if it was to "
            f"end at beta, beta is wrong, and so will be the spectrum{hint}"
        )


def _adds_up(data: xr.DataArray, dim: Hashable) -> bool:
    """Whether first and last values add up to 1, as those at 0 and beta do of fermions."""
    ends = data.isel({dim: 0}) + data.isel({dim: -1})
    return bool((abs(ends - 1) < UNITY).mean() > UNITY_SHARE)


def _warn(message: str) -> None:
    warn(message, DistributionWarning)


def _rise(data: xr.DataArray, dim: Hashable) -> float:
    """Depth by which the data of all slices fall and rise again, over their largest value."""
    others = [other for other in data.dims if other != dim]
    size = abs(data).mean(others).values
    if not size.max() > 0:
        return 0.0
    few, third = max(1, len(size) // 20), len(size) // 3
    lowest = np.median(size[third:-third])
    return float((min(size[:few].mean(), size[-few:].mean()) - lowest) / size.max())


def check_frequencies(
    times: NDArray[np.floating], statistics: str, beta: float, dim: Hashable
) -> None:
    """Refuse values that are not Matsubara frequencies at ``beta``."""
    odd = int(statistics == "fermion")
    numbers = (times * beta / math.pi - odd) / 2
    if np.abs(numbers - np.round(numbers)).max() <= WHOLE:
        return
    raise AxisError(
        f"{dim!r} must hold Matsubara frequencies of a {statistics} at beta = {beta:.6g}, "
        f"that is {'(2n + 1)' if odd else '2n'} pi / beta, but the first are "
        f"{', '.join(f'{time:.6g}' for time in times[:3])}; "
        f"{_frequencies_meant(times, odd, beta, dim)}"
    )


def check_numbers(data: xr.DataArray, dim: Hashable, statistics: str) -> None:
    """Refuse numbers n instead of the frequencies of fermions, which are never zero."""
    values = data[dim].values if dim in data.coords else np.ones(1)
    if statistics == "fermion" and values.dtype.kind in "iuf" and (values == 0).any():
        raise AxisError(
            f"the coordinate {dim!r} contains 0, but Matsubara frequencies of fermions, "
            f"(2n + 1) pi / beta, are never zero; "
            f"{_from_numbers(dim, f'(2 * data[{str(dim)!r}] + 1)')}, or pass statistics='boson'"
        )


def check_decay(
    data: xr.DataArray, dim: Hashable, times: NDArray[np.floating], norm: float
) -> None:
    """Warn of data of fermions that tend to a constant, as self-energies do.

    Green's functions fall like one over the frequency: none is above its norm over the frequency.
    """
    if data.chunks is not None:
        return
    values = data.transpose(..., dim).values.reshape(-1, len(times))
    upper = values[:, len(times) // 2 :].real
    constant, spread = upper.mean(1), upper.std(1)
    level = (spread < STEADY * np.abs(constant)) & (np.abs(values[:, -1].imag) < np.abs(constant))
    found = level & (np.abs(constant) * times[-1] > ABOVE * norm)
    if found.any():
        which = int(np.argmax(found))
        _warn(
            f"in {int(found.sum())} of {len(found)} slices the data tend to a constant at high "
            f"frequencies ({constant[which]:.3g}), as those of a self-energy do, and not to zero "
            f"like those of a Green's function; if so, use continue_self_energy"
        )


def _frequencies_meant(times: NDArray[np.floating], odd: int, beta: float, dim: Hashable) -> str:
    """What to do about values that are no Matsubara frequencies at ``beta``."""
    if np.abs(times - np.round(times)).max() <= WHOLE:
        twice = (np.round(times) % 2 == odd).all()
        name = f"data[{str(dim)!r}]"
        return _from_numbers(dim, name if twice else f"(2 * {name} + 1)" if odd else f"2 * {name}")
    step = float(times[0]) if odd else float(np.diff(times).min()) / 2
    fit = (times / step - odd) / 2 if step > 0 else np.full(1, np.inf)
    if np.abs(fit - np.round(fit)).max() <= WHOLE:
        return f"they fit beta = {math.pi / step:.6g}; check beta and its unit"
    return "check beta and statistics"


def _from_numbers(dim: Hashable, numbers: str) -> str:
    return (
        f"if it holds whole numbers instead, convert them: "
        f"data.assign_coords({dim}={numbers} * numpy.pi / beta)"
    )


def check_sign(data: xr.DataArray, dim: Hashable, problem: Problem) -> None:
    """Refuse data that clearly contradict the stated sign; lazy data are not checked."""
    import torch

    stated = problem.convention
    if problem.signed or data.chunks is not None or stated is None:
        return
    wide = np.result_type(data.dtype, np.float64)
    values = data.transpose(..., dim).values.reshape(-1, data.sizes[dim]).astype(wide)
    rows = problem.rows(torch.from_numpy(np.ascontiguousarray(values)))
    flat = problem.kernel.sum(-1)
    lengths = (rows.norm(dim=-1) * flat.norm()).clamp(min=1e-300)
    cosine = stated * (rows @ flat) / lengths
    wrong = int((cosine < -OPPOSITE).sum())
    if wrong:
        said = "positive" if stated == 1 else "negative"
        what = "-Im G(i w_n) is" if problem.axis == "matsubara" else "the data are"
        raise DataError(
            f"sign={stated} means that {what} {said}, but in {wrong} of {len(rows)} "
            f"slices it is the opposite; pass sign={-stated}, or sign=None to take it "
            f"from the data"
        )


def folded(
    data: xr.DataArray, dim: Hashable, stderr: Any, covariance: Any
) -> tuple[xr.DataArray, Any, Any]:
    """Fold negative Matsubara frequencies onto positive ones, as complex conjugates.

    If both signs are there, take their mean, weighted by their errors if these differ. The errors
    become those of the mean, which are smaller unless one half is a copy of the other.
    """
    if dim not in data.coords or data[dim].dtype.kind not in "iuf":
        return data, stderr, covariance  # told of later
    values = data[dim].values.astype(np.float64)
    if not (np.isfinite(values).all() and (values < 0).any()):
        return data, stderr, covariance
    if isinstance(stderr, xr.DataArray):
        check_aligned("stderr", stderr, data)
    above, below = _pairs(values)
    both = (above >= 0) & (below >= 0) & (above != below)
    upper = data.isel({dim: np.where(above >= 0, above, below)})
    lower = data.isel({dim: np.where(below >= 0, below, above)}).conj()
    at = np.abs(values[np.where(above >= 0, above, below)])
    alone = xr.DataArray(~both, dims=[dim])
    upper = upper.assign_coords({dim: data[dim][: len(at)].copy(data=at)})
    upper = upper.where(xr.DataArray(above >= 0, dims=[dim]), upper.conj())
    lower = lower.assign_coords({dim: upper[dim]})
    errors = [_errors_at(stderr, data, dim, index) for index in (above, below)]
    copies = _compare(upper, lower, both, dim, errors, covariance)
    share: Any = 0.5
    if errors[0] is not None and errors[1] is not None:
        share = errors[1] ** 2 / (errors[0] ** 2 + errors[1] ** 2)
        mean = (errors[0] + errors[1]) / 2
        better = mean if copies else errors[0] * share**0.5
        stderr = xr.where(alone, mean, better)
    if covariance is not None:
        covariance = _folded_covariance(np.asarray(covariance), len(values), above, below)
    result = (upper * share + lower * (1 - share)).where(~alone, upper)
    return result.transpose(*data.dims).assign_attrs(data.attrs), stderr, covariance


def _pairs(values: NDArray[np.floating]) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """Positions of each absolute value with the one and the other sign; -1 where it has not."""
    near = 1e-6 * float(np.abs(values).max())
    order = np.argsort(np.abs(values), kind="stable")
    group = np.concatenate([[0], (np.diff(np.abs(values)[order]) > near).cumsum()])
    above, below = (np.full(group[-1] + 1, -1) for _ in range(2))
    for position, number in zip(order, group, strict=True):
        if values[position] >= 0:
            above[number] = position
        else:
            below[number] = position
    return above, below


def _errors_at(
    stderr: Any, data: xr.DataArray, dim: Hashable, index: NDArray[np.integer]
) -> xr.DataArray | None:
    """Errors at positions of the imaginary axis; None if there are none of a form we know."""
    if isinstance(stderr, xr.DataArray):
        if dim not in stderr.dims:
            return stderr
        if stderr.sizes[dim] != data.sizes[dim]:
            return None  # told of later
        return stderr.drop_vars([dim], errors="ignore").isel({dim: np.maximum(index, 0)})
    if stderr is None or np.ndim(stderr) == 0:
        return None if stderr is None else xr.DataArray(stderr)
    if np.shape(stderr) != (data.sizes[dim],):
        return None
    return xr.DataArray(np.asarray(stderr)[np.maximum(index, 0)], dims=[dim])


def _compare(
    upper: xr.DataArray,
    lower: xr.DataArray,
    both: NDArray[np.bool_],
    dim: Hashable,
    errors: list[xr.DataArray | None],
    covariance: Any,
) -> bool:
    """Whether one half is a copy of the other; refuse halves that contradict each other."""
    if upper.chunks is not None or not both.any():
        return True
    apart, size = (part.isel({dim: both}) for part in (upper - lower, upper))
    if float(abs(apart).max()) <= COPIES * float(abs(size).max()):
        return True
    if BIN in apart.dims:
        apart, size = apart.mean(BIN), size.mean(BIN)
    if errors[0] is not None and errors[1] is not None:
        expected = 2 * (errors[0] ** 2 + errors[1] ** 2)  # of real and imaginary part together
        if dim in expected.dims:
            expected = expected.isel({dim: both})
        ratio = float((abs(apart) ** 2 / expected).mean()) ** 0.5
        wrong = ratio > CONTRADICTION
        told = f"they differ by {ratio:.3g} times what their errors explain"
    else:
        ratio = float((abs(apart) ** 2).mean() / (abs(size) ** 2).mean()) ** 0.5
        wrong = covariance is None and ratio > UNCONJUGATED
        told = f"they differ by {ratio:.2g} of their size"
    if wrong:
        raise DataError(
            f"the values at negative frequencies {dim!r} are not the complex conjugates of those "
            f"at positive ones: {told}; for off-diagonal elements G_ij(-i w_n) is the conjugate of "
            f"G_ji(i w_n), so continue G_ij + G_ji; or keep the positive frequencies: "
            f"data.sel({dim}=slice(0, None))"
        )
    return False


def _folded_covariance(
    matrix: NDArray[Any], points: int, above: NDArray[np.integer], below: NDArray[np.integer]
) -> NDArray[Any]:
    """Of means over both signs, from that of real and imaginary parts at all frequencies."""
    if matrix.shape[-2:] != (2 * points, 2 * points) or matrix.dtype.kind not in "iuf":
        return matrix  # told of later
    count = len(above)
    fold = np.zeros((2 * count, 2 * points))
    rows = np.arange(count)
    for index, conjugate in ((above, 1.0), (below, -1.0)):
        there = index >= 0
        fold[rows[there], index[there]] += 1
        fold[count + rows[there], points + index[there]] += conjugate
    found = (above >= 0).astype(float) + (below >= 0)
    fold /= np.concatenate([found, found])[:, None]
    result: NDArray[Any] = fold @ matrix @ fold.T
    return result


def check_convention(sign: Any) -> None:
    """Refuse a sign that is neither 1 nor -1 nor None."""
    if sign is None:
        return
    if isinstance(sign, bool) or sign not in (1, -1):
        raise ParameterError(f"sign must be 1, -1 or None (from the data), got {sign!r}")
