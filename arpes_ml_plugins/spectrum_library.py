"""What is known of the components beforehand: a family of spectra for each."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import AxisError, DataError, ParameterError
from arpes_ml_plugins.spectrum_families import (
    SAMPLE,
    Range,
    checked_family,
    drawn_spectrum,
    family_of,
    leaky,
    same_axes,
    varied,
)

__all__ = ["SpectrumLibrary"]

COUNT = 300  # spectra of a family that is drawn


class SpectrumLibrary(Mapping[str, xr.DataArray]):
    """One family of spectra per component: name to DataArray ``(sample, eV)``.

    A component may look like any spectrum of its family, and a little like its neighbours. Only
    shapes matter: spectra are scaled to length 1. A family of one spectrum is fixed: it is known
    exactly, and only its map is looked for. Libraries are joined by ``one | other``.

    Parameters
    ----------
    families : mapping of str to xarray.DataArray
        Along ``sample`` and an energy axis with coordinates; all on the same axis. Further
        dimensions, such as momentum, belong to the spectra.
    channels : sequence of str, optional
        The dimensions beside energy that belong to the spectra; all others are samples. Default:
        all, if there is a dimension ``sample``; otherwise none.

    Raises
    ------
    AxisError, DataError, DataTypeError
        No energy axis, different axes, spectra that are empty, zero or not finite.

    Examples
    --------
    >>> energy = np.linspace(-1, 1, 50)
    >>> peaks = [np.exp(-((energy - p) ** 2) / 0.02) for p in (-0.3, -0.28, -0.26)]
    >>> family = xr.DataArray(peaks, coords={"eV": energy}, dims=("sample", "eV"))
    >>> SpectrumLibrary({"4f": family})
    SpectrumLibrary(4f: 3 spectra; eV: 50 points, -1 to 1)
    >>> SpectrumLibrary({"4f": family}) | SpectrumLibrary({"gold": family[1]})
    SpectrumLibrary(4f: 3 spectra, gold: fixed; eV: 50 points, -1 to 1)
    """

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
        return self._families[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._families)

    def __len__(self) -> int:
        return len(self._families)

    def __or__(self, other: Mapping[str, xr.DataArray]) -> SpectrumLibrary:
        """The components of both; those of ``other`` where a name is in both."""
        if not isinstance(other, Mapping):
            return NotImplemented
        return SpectrumLibrary({**self, **other})

    def __repr__(self) -> str:
        families = ", ".join(
            f"{n}: fixed" if n in self.fixed else f"{n}: {f.sizes[SAMPLE]} spectra"
            for n, f in self.items()
        )
        axes = ", ".join(
            f"{axis.name}: {axis.size} points, {float(axis.min()):g} to {float(axis.max()):g}"
            for axis in (self._first[dim] for dim in self._first.dims[1:])
        )
        return f"SpectrumLibrary({families}; {axes})"

    def on(self, energy: xr.DataArray, *channels: xr.DataArray) -> SpectrumLibrary:
        """The same library on other axes, by linear interpolation.

        Parameters
        ----------
        energy : xarray.DataArray
            Coordinate of the data: ``data.eV``.
        *channels : xarray.DataArray
            Coordinates of the other dimensions of the spectra, if they have any: ``data.kx``.

        Raises
        ------
        AxisError
            An axis reaches beyond that of the library, or the library has others.
        """
        if {axis.name for axis in channels} != set(self.channels):
            raise AxisError(
                f"the spectra of the library have the dimensions {_listed(self._first.dims[1:])}, "
                f"those of the data {_listed([axis.name for axis in (energy, *channels)])}: they "
                f"must be the same; channels= names those beside energy"
            )
        moved = {name: _interpolated(family, self.energy, energy) for name, family in self.items()}
        for axis in channels:
            moved = {name: _interpolated(one, one[axis.name], axis) for name, one in moved.items()}
        order = (SAMPLE, energy.name, *(axis.name for axis in channels))
        return SpectrumLibrary({name: one.transpose(*order) for name, one in moved.items()})

    @classmethod
    def from_lmfit(
        cls,
        models: Mapping[str, tuple[Any, Mapping[str, float | Range]]],
        energy: xr.DataArray,
        *,
        count: int = COUNT,
        rng: int | np.random.Generator | None = 0,
    ) -> SpectrumLibrary:
        """Families from fit models and the ranges of their parameters.

        Parameters
        ----------
        models : mapping
            Name of the component to ``(model, ranges)``: an lmfit model and, for each of its
            parameters, a number or ``(lowest, highest)``. Parameters that are left out keep their
            default or, with finite bounds in their hints, are drawn between them.
        energy : xarray.DataArray
            Coordinate of the data: ``data.eV``.
        count : int
            Spectra of each family.
        rng : int or numpy.random.Generator, optional
            Seed.

        Raises
        ------
        ParameterError
            A range for a parameter that the model lacks, or none for one without a default.

        Examples
        --------
        >>> from lmfit.models import GaussianModel
        >>> energy = xr.DataArray(np.linspace(-2, 2, 80), dims="eV", name="eV")
        >>> energy = energy.assign_coords(eV=energy.values)
        >>> ranges = {"center": (-0.2, 0.2), "sigma": (0.1, 0.2), "amplitude": 1.0}
        >>> SpectrumLibrary.from_lmfit({"peak": (GaussianModel(), ranges)}, energy.eV, count=20)
        SpectrumLibrary(peak: 20 spectra; eV: 80 points, -2 to 2)
        """
        draw = np.random.default_rng(rng)
        families = {}
        for name, (model, ranges) in models.items():
            variables = model.independent_vars
            known = model.make_params()
            for parameter in ranges:
                if parameter not in known:
                    raise ParameterError(
                        f"component {name!r}: the model has no parameter {parameter!r}; it has "
                        f"{', '.join(known)}"
                    )
            spectra = [
                drawn_spectrum(name, model, ranges, {variables[0]: energy.values}, draw)
                for _ in range(count)
            ]
            families[name] = family_of(np.stack(spectra), energy)
        return cls(families)

    @classmethod
    def from_spectra(
        cls,
        spectra: Mapping[str, xr.DataArray] | Sequence[xr.DataArray],
        *,
        shift: float = 0.0,
        broaden: float = 0.0,
        strength: float = 0.0,
        count: int = COUNT,
        channels: Sequence[str] = (),
        rng: int | np.random.Generator | None = 0,
    ) -> SpectrumLibrary:
        """Families from measured references, or from simulated families as they are.

        Without variation a single reference is fixed: known exactly, and only its map is looked
        for. If it is not quite what the data hold, ``status`` says so, and the reference stays.

        Parameters
        ----------
        spectra : mapping or sequence of xarray.DataArray
            One spectrum per component, or already several along another dimension.
        shift : float
            Largest shift either way, in the unit of the energy axis.
        broaden : float
            Largest additional broadening (Gaussian, full width at half maximum), same unit.
        strength : float
            Largest relative change of a linear background under the spectrum: 0.1 tilts and lifts
            by up to 10 % of the maximum.
        channels : sequence of str
            Dimensions beside energy that belong to the spectra: ``("kx",)`` for cuts. Variations
            are along energy.
        count, rng
            As for :meth:`from_lmfit`; families stay as they are if nothing is varied.

        Examples
        --------
        >>> energy = np.linspace(-1, 1, 50)
        >>> peak = xr.DataArray(np.exp(-(energy**2) / 0.02), coords={"eV": energy}, dims="eV")
        >>> SpectrumLibrary.from_spectra({"4f": peak}, shift=0.1, broaden=0.05, count=10)
        SpectrumLibrary(4f: 10 spectra; eV: 50 points, -1 to 1)
        >>> SpectrumLibrary.from_spectra({"gold": peak})
        SpectrumLibrary(gold: fixed; eV: 50 points, -1 to 1)
        """
        if not isinstance(spectra, Mapping):
            spectra = {f"component {i + 1}": one for i, one in enumerate(spectra)}
        for label, value in (("shift", shift), ("broaden", broaden), ("strength", strength)):
            if not np.isfinite(value) or value < 0:
                raise ParameterError(f"{label} must be a number of at least 0, got {value!r}")
        draw = np.random.default_rng(rng)
        changes = shift > 0 or broaden > 0 or strength > 0
        families = {}
        for name, given in spectra.items():
            family = checked_family(str(name), given, channels)
            if changes:
                energy = family[family.dims[1]]
                steps = np.diff(energy.values)
                if (shift or broaden) and np.ptp(steps) > 1e-3 * abs(steps.mean()):
                    raise AxisError(f"component {name!r}: shifts need an evenly spaced axis")
                source = family.values[draw.integers(family.sizes[SAMPLE], size=count)]
                changed = [
                    varied(one, abs(steps.mean()), shift, broaden, strength, draw) for one in source
                ]
                family = family_of(np.stack(changed), *(family[d] for d in family.dims[1:]))
            families[str(name)] = family
        return cls(families)

    @classmethod
    def from_blind(
        cls,
        result: xr.Dataset,
        *,
        leak: float = 0.3,
        shift: float = 0.0,
        broaden: float = 0.0,
        count: int = COUNT,
        rng: int | np.random.Generator | None = 0,
    ) -> SpectrumLibrary:
        """Families around the spectra that a blind separation found.

        Blindly found spectra are wrong mostly by a share of each other, and by noise: families
        vary by both. Rename components (``result.assign_coords(component=[...])``), drop or
        correct some, and separate again with what you then know.

        Parameters
        ----------
        result : xarray.Dataset
            Of a ``separate_*`` method; spectra along energy and other channels, if they have any.
        leak : float
            Largest share of each other component, either way, by length.
        shift, broaden, count, rng
            As for :meth:`from_spectra`.

        Raises
        ------
        DataError
            Not such a result.

        Examples
        --------
        >>> import arpes_ml_plugins
        >>> noise, energy = np.random.default_rng(0), np.linspace(-1, 1, 30)
        >>> peaks = np.stack([np.exp(-((energy - p) ** 2) / 0.02) for p in (-0.3, 0.2)])
        >>> values = 100 * (noise.random((9, 9, 2)) < 0.3) @ peaks
        >>> values += noise.normal(size=values.shape)
        >>> image = xr.DataArray(values, {"eV": energy}, ("y", "x", "eV"))
        >>> SpectrumLibrary.from_blind(image.S.separate_palm(n_components=2), count=10)
        SpectrumLibrary(1: 10 spectra, 2: 10 spectra; eV: 30 points, -1 to 1)
        """
        have = getattr(result, "data_vars", {})
        missing = [name for name in ("spectra", "spectra_stderr") if name not in have]
        if missing:
            raise DataError(
                f"expected the Dataset of a separate_* method; it lacks {', '.join(missing)}"
            )
        draw = np.random.default_rng(rng)
        spectra = result["spectra"].transpose("component", ...).astype(np.float64)
        error = result["spectra_stderr"].transpose(*spectra.dims).fillna(0).values
        shape = spectra.shape[1:]
        rows, error = (part.reshape(len(spectra), -1) for part in (spectra.values, error))
        length = np.linalg.norm(rows, axis=1, keepdims=True)
        unit, error = rows / length, error / length
        axes = [spectra[dim] for dim in spectra.dims[1:]]
        families = {}
        names = spectra["component"].values
        for name, family in zip(names, leaky(unit, error, leak, count, draw), strict=True):
            families[str(name)] = family_of(family.reshape(count, *shape), *axes)
        if shift or broaden:
            inner = tuple(map(str, spectra.dims[2:]))
            return cls.from_spectra(
                families, shift=shift, broaden=broaden, count=count, channels=inner, rng=draw
            )
        return cls(families)


def _interpolated(family: xr.DataArray, own: xr.DataArray, axis: xr.DataArray) -> xr.DataArray:
    """``family`` on another axis in the place of ``own``."""
    if own.name == axis.name and np.array_equal(own.values, axis.values):
        return family
    low, high = float(own.min()), float(own.max())
    step = float(np.abs(np.diff(own.values)).max(initial=0.0))
    if float(axis.min()) < low - step or float(axis.max()) > high + step:
        raise AxisError(
            f"the data reach from {float(axis.min()):g} to {float(axis.max()):g} along "
            f"{axis.name!r}, the library only from {low:g} to {high:g}; make the library on the "
            f"axis of the data, or select the part it covers"
        )
    inside = axis.clip(low, high)
    moved = family.interp({own.name: inside.values}).rename({own.name: axis.name})
    return moved.assign_coords({axis.name: axis.values})


def _listed(names: Sequence[Hashable]) -> str:
    return ", ".join(map(repr, names))
