"""Find ``beta`` and the unit of the imaginary axis, and refuse data that contradict them."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arpes_ml_plugins.constants import BOLTZMANN
from arpes_ml_plugins.errors import AxisError, ParameterError
from arpes_ml_plugins.labelled.energy_units import EnergyUnit, energy_unit, time_unit, unit_text
from arpes_ml_plugins.methods.continuation_conventions import SLACK
from arpes_ml_plugins.parameters import check_positive

__all__ = ["axis_unit", "inverse_temperature", "plain_axis"]

ROUNDED = 5e-3  # relative error of a temperature that was rounded to three digits


def plain_axis(data: xr.DataArray, dim: Hashable) -> xr.DataArray:
    """The data with bare numbers as coordinate: a unit of pint becomes the attribute ``units``."""
    quantity: Any = data.coords[dim].variable._data if dim in data.coords else None
    if not hasattr(quantity, "magnitude"):
        return data
    attrs = {**data[dim].attrs, "units": str(quantity.units)}
    plain = xr.Variable(data[dim].dims, np.asarray(quantity.magnitude), attrs)
    return data.drop_vars([dim]).assign_coords({dim: plain})


def axis_unit(data: xr.DataArray, dim: Hashable, axis: str) -> EnergyUnit | None:
    """The unit of real frequencies that fits the imaginary axis; None if nothing is known of it."""
    text = unit_text(data[dim])
    inverse, energy = time_unit(text), energy_unit(text)
    if axis == "tau" and energy is not None:
        raise AxisError(
            f"{dim!r} is in {text!r}, an energy, but imaginary times are inverse energies or times "
            f"(1/eV, 1/meV, fs); correct data[{str(dim)!r}].attrs['units'], or the values"
        )
    frequencies = axis.endswith("matsubara")
    if frequencies and energy is None and inverse and inverse.electron_volts is not None:
        raise AxisError(
            f"{dim!r} is in {text!r}, but Matsubara frequencies are energies (eV, meV); correct "
            f"data[{str(dim)!r}].attrs['units'], or the values"
        )
    return energy if frequencies else inverse


def inverse_temperature(
    data: xr.DataArray,
    times: NDArray[np.floating],
    axis: str,
    statistics: str,
    unit: EnergyUnit | None,
    given: float | None,
) -> float:
    """The inverse temperature, from the user or from the data, which must agree."""
    check_positive("beta", given, optional=True)
    stated = list(_stated_betas(data, times, axis, statistics, unit))
    if given is None and stated:
        given = stated[0][1]
    elif given is None and axis.endswith("matsubara"):
        return _betas_of(times, statistics)[0]
    if given is None:
        raise ParameterError(
            "beta, the inverse temperature in the unit of tau, is needed: pass beta=..., which is "
            "11604.5 over the temperature in K if tau is in 1/eV. Instead, the data may have a "
            "coordinate or attribute named 'beta', or one named 'temperature' in K if tau has an "
            "attribute 'units' such as 1/eV, 1/meV or fs. It cannot be taken from tau, whose last "
            "point need not be beta"
        )
    for name, value in stated:
        if abs(value / given - 1) > ROUNDED:
            raise ParameterError(
                f"beta is {given:.6g}, but the {name} of the data gives {value:.6g} (in the unit "
                f"of the imaginary axis); pass the right one, correct what is wrong in the data "
                f"(data.assign_coords, data.assign_attrs) or remove it (data.drop_vars), and "
                f"continue data of several temperatures one by one"
            )
    return float(given)


def _stated_betas(
    data: xr.DataArray,
    times: NDArray[np.floating],
    axis: str,
    statistics: str,
    unit: EnergyUnit | None,
) -> Iterator[tuple[str, float]]:
    """Every ``beta`` that coordinates and attributes of the data contain, with their names."""
    size = None if unit is None else unit.electron_volts
    for name in ("beta", "temperature"):
        if name == "temperature" and size is None:
            continue
        for where, value, own in _numbers(data, name):
            if name == "beta":
                scale = 1.0 if own is None or size is None else size / (own.electron_volts or size)
                yield where, value * scale
            elif size is not None:
                yield where, _settled(size / (BOLTZMANN * value), times, axis, statistics)


def _numbers(data: xr.DataArray, name: str) -> Iterator[tuple[str, float, EnergyUnit | None]]:
    """Positive numbers that a coordinate and an attribute hold, where, and their inverse unit."""
    found: list[tuple[str, Any, EnergyUnit | None]] = []
    if name in data.coords:
        coordinate = plain_axis(data, name)[name]
        own = time_unit(unit_text(coordinate))
        if coordinate.dtype.kind in "iuf":
            values = np.unique(coordinate.values)
            found += [(f"coordinate {name!r}", value, own) for value in values]
    if name in data.attrs:
        found.append((f"attribute {name!r}", data.attrs[name], None))
    for where, value, own in found:
        if isinstance(value, np.ndarray) and value.size == 1:  # as some readers of files return it
            value = value.item()
        if isinstance(value, (int, float, np.number)) and 0 < value < math.inf:
            yield where, float(value), own


def _settled(rough: float, times: NDArray[np.floating], axis: str, statistics: str) -> float:
    """``beta`` of a temperature that may be rounded: that of the times, if they agree so far."""
    if axis.endswith("matsubara"):
        candidates = _betas_of(times, statistics)
    elif not axis:
        candidates = []
    else:
        last, spacing = float(times[-1]), float(times[-1] - times[-2])
        at_the_end = times[0] <= SLACK * rough and rough - last < spacing / 4
        candidates = [last] if last > rough or at_the_end else []
    near = [beta for beta in candidates if abs(beta / rough - 1) <= ROUNDED]
    return near[0] if near else rough


def _betas_of(times: NDArray[np.floating], statistics: str) -> list[float]:
    """``beta`` from Matsubara frequencies: from the first one of fermions, and their spacing."""
    spaced = 2 * math.pi / float(np.diff(times).min())
    positive = times[times > 0]
    if statistics == "fermion" and len(positive):
        return [math.pi / float(positive[0]), spaced]
    return [spaced]
