"""Map each component to a family of spectra, all on the same axes."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Literal, Self

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import AxisError, DataError
from arpes_ml_plugins.labelled.axes import listed, numbers_along
from arpes_ml_plugins.spectrum_families import SAMPLE, checked_family, same_axes

__all__ = ["FamilyMapping"]

CUBIC = 4  # points of an axis that a cubic spline needs


class FamilyMapping(Mapping[str, xr.DataArray]):
    """Name to DataArray ``(sample, energy, ...)``; spectra have length 1."""

    def __init__(
        self, families: Mapping[str, xr.DataArray], *, channels: Sequence[str] | None = None
    ) -> None:
        if not families:
            raise DataError("a library needs at least one component, got none")
        self._families: dict[str, xr.DataArray] = {}
        for name, family in families.items():
            checked = checked_family(str(name), family, channels)
            if self._families and not same_axes(checked, self._first):
                raise AxisError(
                    f"all components of a library need the same axes, but {name!r} differs from "
                    f"{next(iter(self._families))!r}; interpolate one: .interp(...)"
                )
            self._families[str(name)] = checked

    @property
    def _first(self) -> xr.DataArray:
        return next(iter(self._families.values()))

    @property
    def energy(self) -> xr.DataArray:
        """The common energy axis."""
        return self._first[self._first.dims[1]]

    @property
    def channels(self) -> tuple[Hashable, ...]:
        """Dimensions beside energy that belong to the spectra."""
        return self._first.dims[2:]

    @property
    def fixed(self) -> tuple[str, ...]:
        """Components whose spectrum is known exactly: those of one spectrum."""
        return tuple(name for name, family in self.items() if family.sizes[SAMPLE] == 1)

    def __getitem__(self, name: str) -> xr.DataArray:
        return self._families[name].copy()  # a library does not change

    def __iter__(self) -> Iterator[str]:
        return iter(self._families)

    def __len__(self) -> int:
        return len(self._families)

    def __or__(self, other: Mapping[str, xr.DataArray]) -> Self:
        """The components of both; for a name in both, that of ``other``."""
        if not isinstance(other, Mapping):
            return NotImplemented
        return type(self)({**self, **other})

    def __repr__(self) -> str:
        families = ", ".join(
            f"{n}: fixed" if n in self.fixed else f"{n}: {f.sizes[SAMPLE]} spectra"
            for n, f in self.items()
        )
        axes = ", ".join(
            f"{axis.name}: {axis.size} points, {float(axis.min()):g} to {float(axis.max()):g}"
            for axis in (self._first[dim] for dim in self._first.dims[1:])
        )
        return f"{type(self).__name__}({families}; {axes})"

    def on(self, energy: xr.DataArray, *channels: xr.DataArray) -> Self:
        """The same library on other axes, by cubic splines.

        Parameters
        ----------
        energy : xarray.DataArray
            Coordinate of the data: ``data.eV``.
        *channels : xarray.DataArray
            Coordinates of the other dimensions of the spectra, if they have any: ``data.kx``.

        Raises
        ------
        AxisError
            An axis reaches beyond that of the library or does not hold numbers, or the library has
            other axes.
        """
        if {axis.name for axis in channels} != set(self.channels):
            raise AxisError(
                f"the spectra of the library have the dimensions {listed(self._first.dims[1:])}, "
                f"those of the data {listed([axis.name for axis in (energy, *channels)])}, but "
                f"must have the same; name those beside energy with channels="
            )
        moved = {name: _interpolated(family, self.energy, energy) for name, family in self.items()}
        for axis in channels:
            moved = {name: _interpolated(one, one[axis.name], axis) for name, one in moved.items()}
        order = (SAMPLE, energy.name, *(axis.name for axis in channels))
        return type(self)({name: one.transpose(*order) for name, one in moved.items()})


def _interpolated(family: xr.DataArray, own: xr.DataArray, axis: xr.DataArray) -> xr.DataArray:
    """``family`` on another axis in the place of ``own``, by cubic splines: linear ones would
    broaden narrow lines.
    """
    if own.name == axis.name and np.array_equal(own.values, axis.values):
        return family
    numbers_along(axis)
    low, high = float(own.min()), float(own.max())
    step = float(np.abs(np.diff(own.values)).max(initial=0.0))
    if float(axis.min()) < low - step or float(axis.max()) > high + step:
        remedy = _remedy(axis, low - step, high + step)
        raise AxisError(
            f"the data reach from {float(axis.min()):g} to {float(axis.max()):g} along "
            f"{axis.name!r}, the library only from {low:g} to {high:g}; {remedy}"
        )
    inside = axis.clip(low, high)
    method: Literal["cubic", "linear"] = "cubic" if own.size >= CUBIC else "linear"
    moved = family.interp({own.name: inside.values}, method=method).rename({own.name: axis.name})
    return moved.clip(min=float(family.min())).assign_coords({axis.name: axis.values})


def _remedy(axis: xr.DataArray, low: float, high: float) -> str:
    """What to do if a library, from ``low`` to ``high``, does not cover the data."""

    def covered(factor: float) -> bool:
        ends = sorted((factor * float(axis.min()), factor * float(axis.max())))
        return low <= ends[0] and ends[1] <= high

    def alike(factor: float) -> bool:
        return covered(factor) and 2 * factor * float(axis.max() - axis.min()) > high - low

    name = axis.name
    if covered(-1):
        return (
            f"their signs are opposite; turn one of both: data.assign_coords({name}=-data.{name})"
        )
    if alike(1000):
        return "the numbers of the library are 1000 times as large: give both in the same unit"
    if alike(0.001):
        return "the numbers of the data are 1000 times as large: give both in the same unit"
    return "make the library on the axis of the data, or select the part it covers"
