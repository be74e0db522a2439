"""Choose the real frequencies of a continuation: the user's, or as wide as the data require."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arpes_ml_plugins.errors import AxisError, DataError, ParameterError
from arpes_ml_plugins.labelled.energy_units import EnergyUnit, energy_unit, unit_text

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.continuation.problem import Problem

__all__ = ["POINTS", "check_reach", "checked_frequencies", "own_frequencies"]

POINTS = 101  # frequencies, if users name none
MOST_POINTS = 5000
MANY = 20  # a third number from here on is one of points, unless the frequencies are as large
MOST_UNEVEN = 1e12  # widest over narrowest step
ASYMMETRIC = 1.5
"""Scatter of data around those of even spectra over that around any, above which spectra of bosons
are not even."""
REACH = 1e-9, 1e9
"""Of ``beta`` times the largest frequency: beyond, exponentials are 0 or 1 on all of the grid."""


def checked_frequencies(
    omega: Any, data: xr.DataArray, dim: Hashable, unit: EnergyUnit | None, statistics: str
) -> xr.Variable:
    """The frequencies as a coordinate: ``eV`` if tau is in 1/eV, otherwise ``omega``."""
    name: Hashable = "omega" if unit is None or unit.name != "eV" else "eV"
    attrs: Mapping[Any, Any] = {}
    if statistics == "fermion":
        attrs = {"long_name": "energy relative to the chemical potential"}
    if unit is not None:
        attrs = {**attrs, "units": unit.name}
    if isinstance(omega, xr.DataArray):
        if omega.ndim != 1:
            raise ParameterError(f"omega must have one dimension, got {dict(omega.sizes)}")
        _check_unit(omega, dim, unit)
        name, attrs = omega.dims[0], dict(omega.attrs) or attrs
        omega = omega.values
    values = np.asarray(omega)
    if isinstance(omega, (tuple, list)) and _is_linspace(omega):
        raise ParameterError(
            f"omega has 3 frequencies, {', '.join(map(str, omega))}; expected all of them, perhaps "
            f"numpy.linspace({', '.join(map(str, omega))})"
        )
    if values.ndim != 1 or len(values) < 3 or values.dtype.kind not in "iuf":
        raise ParameterError(
            f"omega must be a row of at least 3 real frequencies, got shape {values.shape} of "
            f"dtype {values.dtype}; for example numpy.linspace(-3, 3, 101)"
        )
    values = values.astype(np.float64)
    if not np.isfinite(values).all() or (np.diff(values) <= 0).any():
        raise ParameterError(
            f"omega must be finite and rise from point to point, but it runs from {values[0]:.6g} "
            f"to {values[-1]:.6g} with {(~(np.diff(values) > 0)).sum()} steps that do not rise; "
            f"numpy.unique sorts it and drops repeated frequencies"
        )
    _check_grid(values)
    if name in data.dims:
        raise AxisError(
            f"the result has the dimension {name!r}, but so have the data; rename theirs, or pass "
            f"omega as a DataArray with a dimension of another name"
        )
    return xr.Variable((name,), values, attrs)


def _is_linspace(omega: Sequence[Any]) -> bool:
    """Whether these are the arguments of ``numpy.linspace`` instead of its result."""
    return len(omega) == 3 and isinstance(omega[2], int) and omega[2] >= MANY > 2 * abs(omega[1])


def _check_unit(omega: xr.DataArray, dim: Hashable, unit: EnergyUnit | None) -> None:
    """Refuse frequencies in another unit than that of the imaginary axis."""
    own = energy_unit(unit_text(omega))
    if unit is None or own is None or unit.electron_volts in (None, own.electron_volts):
        return
    raise ParameterError(
        f"omega is in {own.name}, but by its unit {dim!r} belongs to frequencies in {unit.name}; "
        f"convert one of them"
    )


def _check_grid(values: NDArray[np.float64]) -> None:
    """Refuse too many points, or too uneven ones."""
    if len(values) > MOST_POINTS:
        raise ParameterError(
            f"omega has {len(values)} points, expected at most {MOST_POINTS}: the data determine "
            f"a few dozen numbers, and many more points only take time; pass fewer"
        )
    steps = np.diff(values / np.abs(values).max())  # so that no difference overflows
    if steps.max() > MOST_UNEVEN * steps.min():
        ratio = steps.max() / max(steps.min(), 1e-300)
        raise ParameterError(
            f"the steps of omega differ by a factor of {ratio:.2g}, expected at most "
            f"{MOST_UNEVEN:g}; pass a more even grid"
        )


def check_reach(values: NDArray[np.float64], beta: float, dim: Hashable) -> None:
    """Refuse frequencies on a scale that does not fit the temperature."""
    reach = beta * float(np.abs(values).max())
    if not REACH[0] <= reach <= REACH[1]:
        raise ParameterError(
            f"beta times the largest frequency of omega is {reach:.3g}, expected {REACH[0]:g} to "
            f"{REACH[1]:g}; beta = {beta:.6g} has to be in the unit of {dim!r} and omega in its "
            f"inverse"
        )


def own_frequencies(
    data: xr.DataArray,
    dim: Hashable,
    statistics: str,
    problem_on: Callable[[NDArray[np.floating]], Problem],
    errors: NDArray[np.floating] | None,
    covariance: NDArray[np.floating] | None,
    common: float = 0.0,
    norms: NDArray[np.floating] | None = None,
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """A grid over the windows that the data make most likely, from zero up for bosons whose spectra
    ``A(w) / w`` are even; and the half-width of the window of each slice.

    Parameters
    ----------
    common
        Size of an unknown constant in all real parts, see
        :func:`~.continuation.self_energy.with_common_error`.
    norms
        Integral of the spectrum of each slice, if it is known.
    """
    import torch

    from arpes_ml_plugins.continuation.general_network import REACH
    from arpes_ml_plugins.continuation.network_estimate import suggest_windows, window_at_least
    from arpes_ml_plugins.continuation.observation import AT_ONCE
    from arpes_ml_plugins.continuation.outliers import estimate_error
    from arpes_ml_plugins.continuation.self_energy import with_common_error
    from arpes_ml_plugins.networks.rlista import continuation_network

    if data.chunks is not None:
        raise ParameterError(
            f"omega, the real frequencies of the result, is needed here (lazy data are not looked "
            f"at): pass for example omega=numpy.linspace(-3, 3, 101), in the inverse unit of "
            f"{dim!r}"
        )
    network = continuation_network("cpu")
    problem = problem_on(network.grid.numpy())
    problem = problem.on(problem.omega * (REACH[1] / problem.beta))
    wide = np.result_type(data.dtype, np.float64)
    values = data.transpose(..., dim).values.reshape(-1, data.sizes[dim]).astype(wide)
    rows = problem.rows(torch.from_numpy(np.ascontiguousarray(values)))
    if not rows.any():
        raise DataError(
            "all values are zero, so the data do not determine real frequencies; check the "
            "selection or conversion that made them, or pass omega"
        )
    matrix = None if covariance is None else torch.from_numpy(covariance)
    if errors is not None:
        used = torch.from_numpy(errors)
    elif matrix is not None:
        used = matrix.diagonal(dim1=-2, dim2=-1).sqrt().expand_as(rows)
    else:
        used = estimate_error(problem.kernel, rows)[:, None].expand_as(rows)
    rows = rows * problem.sign(rows, used)[:, None]
    windows = torch.zeros_like(rows[:, 0])
    alike = bool((used == used[:1]).all()) and (matrix is None or matrix.ndim == 2)
    needed = common > 0 or matrix is not None
    for which in torch.arange(len(rows)).split(len(rows) if alike or not needed else AT_ONCE):
        own = matrix[which] if matrix is not None and matrix.ndim == 3 else matrix
        if common:
            own = with_common_error(used[which], common)
        known = None if norms is None else torch.from_numpy(norms)[which]
        windows[which] = suggest_windows(network, problem, rows[which], used[which], own, known)
    # Two digits: the same grid for data that differ by their noise.
    half = float(f"{float(windows.max()):.1e}")
    even = statistics == "boson" and not bool(_asymmetric(problem, rows, used, half).any())
    grid = np.linspace(0 if even else -half, half, POINTS)
    return grid, window_at_least(problem.beta, windows).numpy()


def _asymmetric(
    problem: Problem, rows: torch.Tensor, errors: torch.Tensor, half: float
) -> torch.Tensor:
    """Which data even spectra do not explain, but others do, ``(b,)`` bool."""
    import torch

    from arpes_ml_plugins.continuation.outliers import scatter

    above = half * torch.logspace(-4, 0.5, 2 * POINTS, dtype=rows.dtype, device="cpu")
    above = torch.cat([above.new_zeros(1), above])
    whole = problem.on(torch.cat([-above[1:].flip(0), above]))
    return scatter(problem.on(above), rows, errors) > ASYMMETRIC * scatter(whole, rows, errors)
