"""What is known of the components beforehand: a family of spectra for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arpes_ml_plugins.constants import FWHM
from arpes_ml_plugins.errors import AxisError, DataError, DataTypeError, ParameterError
from arpes_ml_plugins.labelled.axes import numbers_along, resolve_dims

__all__ = ["SpectrumLibrary", "leaky"]

SAMPLE = "sample"
ROUNDING = 1e-14  # of the length of a spectrum of length 1
COUNT = 300  # spectra of a family that is drawn
TRIES = 50  # draws of a model before its parameter ranges are given up

Range = tuple[float, float]


class SpectrumLibrary(Mapping[str, xr.DataArray]):
    """One family of spectra per component: name to DataArray ``(sample, eV)``.

    A component may look like any spectrum of its family, and a little like its neighbours. Only
    shapes matter: spectra are scaled to length 1.

    Parameters
    ----------
    families : mapping of str to xarray.DataArray
        Two-dimensional, ``sample`` and an energy axis with coordinates; all on the same axis.

    Raises
    ------
    AxisError, DataError, DataTypeError
        No energy axis, different axes, spectra that are empty, constant or not finite.

    Examples
    --------
    >>> energy = np.linspace(-1, 1, 50)
    >>> peaks = [np.exp(-((energy - p) ** 2) / 0.02) for p in (-0.3, -0.28, -0.26)]
    >>> family = xr.DataArray(peaks, coords={"eV": energy}, dims=("sample", "eV"))
    >>> SpectrumLibrary({"4f": family})
    SpectrumLibrary(4f: 3 spectra; eV: 50 points, -1 to 1)
    """

    def __init__(self, families: Mapping[str, xr.DataArray]) -> None:
        if not families:
            raise DataError("a library needs at least one component, got none")
        self._families: dict[str, xr.DataArray] = {}
        for name, family in families.items():
            checked = _checked(str(name), family)
            if self._families and not _same_axis(checked, self._first):
                raise AxisError(
                    f"all components of a library need the same energy axis, but {name!r} differs "
                    f"from {next(iter(self._families))!r}; interpolate one: .interp(...)"
                )
            self._families[str(name)] = checked

    @property
    def _first(self) -> xr.DataArray:
        return next(iter(self._families.values()))

    @property
    def energy(self) -> xr.DataArray:
        """The common energy axis."""
        return self._first[self._first.dims[1]]

    def __getitem__(self, name: str) -> xr.DataArray:
        return self._families[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._families)

    def __len__(self) -> int:
        return len(self._families)

    def __repr__(self) -> str:
        families = ", ".join(f"{n}: {f.sizes[SAMPLE]} spectra" for n, f in self.items())
        axis = self.energy
        return (
            f"SpectrumLibrary({families}; {axis.name}: {axis.size} points, "
            f"{float(axis.min()):g} to {float(axis.max()):g})"
        )

    def on(self, energy: xr.DataArray) -> SpectrumLibrary:
        """The same library on another energy axis, by linear interpolation.

        Raises
        ------
        AxisError
            The axis reaches beyond that of the library, or does not hold numbers.
        """
        own = self.energy
        numbers_along(energy)
        low, high = float(own.min()), float(own.max())
        step = float(np.abs(np.diff(own.values)).max())
        if float(energy.min()) < low - step or float(energy.max()) > high + step:
            raise AxisError(
                f"the data reach from {float(energy.min()):g} to {float(energy.max()):g} along "
                f"{energy.name!r}, the library only from {low:g} to {high:g}; make the library on "
                f"the axis of the data, or select the energies it covers"
            )
        inside = energy.clip(low, high)
        return SpectrumLibrary(
            {
                name: family.interp({own.name: inside.values})
                .rename({own.name: energy.name})
                .assign_coords({energy.name: energy.values})
                for name, family in self.items()
            }
        )

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
                _drawn_spectrum(name, model, ranges, {variables[0]: energy.values}, draw)
                for _ in range(count)
            ]
            families[name] = _family(np.stack(spectra), energy)
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
        rng: int | np.random.Generator | None = 0,
    ) -> SpectrumLibrary:
        """Families from measured references, or from simulated families as they are.

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
        count, rng
            As for :meth:`from_lmfit`; families stay as they are if nothing is varied.

        Examples
        --------
        >>> energy = np.linspace(-1, 1, 50)
        >>> peak = xr.DataArray(np.exp(-(energy**2) / 0.02), coords={"eV": energy}, dims="eV")
        >>> SpectrumLibrary.from_spectra({"4f": peak}, shift=0.1, broaden=0.05, count=10)
        SpectrumLibrary(4f: 10 spectra; eV: 50 points, -1 to 1)
        """
        if not isinstance(spectra, Mapping):
            spectra = {f"component {i + 1}": one for i, one in enumerate(spectra)}
        for label, value in (("shift", shift), ("broaden", broaden), ("strength", strength)):
            if not np.isfinite(value) or value < 0:
                raise ParameterError(f"{label} must be a number of at least 0, got {value!r}")
        draw = np.random.default_rng(rng)
        varied = shift > 0 or broaden > 0 or strength > 0
        families = {}
        for name, given in spectra.items():
            family = _checked(str(name), given)
            if varied:
                energy = family[family.dims[1]]
                steps = np.diff(energy.values)
                if (shift or broaden) and np.ptp(steps) > 1e-3 * abs(steps.mean()):
                    raise AxisError(f"component {name!r}: shifts need an evenly spaced axis")
                source = family.values[draw.integers(family.sizes[SAMPLE], size=count)]
                changed = [
                    _varied(one, abs(steps.mean()), shift, broaden, strength, draw)
                    for one in source
                ]
                family = _family(np.stack(changed), energy)
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
            Of a ``separate_*`` method, with spectra along energy.
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
        if missing or result["spectra"].ndim != 2:
            raise DataError(
                "expected the Dataset of a separate_* method with spectra along energy"
                + (f"; it lacks {', '.join(missing)}" if missing else "")
            )
        draw = np.random.default_rng(rng)
        spectra = result["spectra"].transpose("component", ...).astype(np.float64)
        error = result["spectra_stderr"].transpose(*spectra.dims).fillna(0).values
        length = np.linalg.norm(spectra.values, axis=1, keepdims=True)
        unit, error = spectra.values / length, error / length
        families = {}
        names = spectra["component"].values
        for name, family in zip(names, leaky(unit, error, leak, count, draw), strict=True):
            families[str(name)] = _family(family, spectra[spectra.dims[1]])
        if shift or broaden:
            return cls.from_spectra(families, shift=shift, broaden=broaden, count=count, rng=draw)
        return cls(families)


def leaky(
    spectra: NDArray[np.floating],
    error: NDArray[np.floating] | float,
    leak: float,
    count: int,
    draw: np.random.Generator,
) -> NDArray[np.floating]:
    """Families ``(n, count, m)`` around spectra ``(n, m)`` of length 1, with shares of the others.

    Spectra without negative values stay so.
    """
    n, m = spectra.shape
    shares = draw.uniform(-leak, leak, (n, count, n))
    shares[np.arange(n), :, np.arange(n)] = 1
    spread = np.broadcast_to(error, spectra.shape)[:, None]
    varied = shares @ spectra + spread * draw.normal(size=(n, count, m))
    return varied.clip(min=0) if (spectra >= 0).all() else varied


def _checked(name: str, family: xr.DataArray) -> xr.DataArray:
    """Two-dimensional ``(sample, energy)``, finite, each spectrum of length 1."""
    if not isinstance(family, xr.DataArray):
        raise DataTypeError(
            f"component {name!r}: expected an xarray.DataArray, got {type(family).__name__}"
        )
    if family.dtype.kind not in "iuf":
        raise DataTypeError(f"component {name!r}: expected real numbers, got {family.dtype}")
    beside = [d for d in family.dims if d != SAMPLE]
    if family.ndim == 2 and len(beside) == 1:
        (dim,) = beside  # a family, whatever its axis is called
    else:
        (dim,) = resolve_dims(family, ("energy",))
    if dim not in family.coords:
        raise AxisError(f"component {name!r}: the axis {dim!r} has no coordinate")
    others = [d for d in family.dims if d != dim]
    if not others:
        family = family.expand_dims(SAMPLE)
    elif others != [SAMPLE]:
        family = family.stack({SAMPLE: others}, create_index=False)
    plain = family.transpose(SAMPLE, dim).astype(np.float64)
    values = plain.values
    if values.size == 0 or not np.isfinite(values).all():
        raise DataError(f"component {name!r}: spectra must be finite and not empty")
    if (np.ptp(values, axis=1) == 0).any():
        raise DataError(f"component {name!r}: a spectrum is constant; leave it out")
    return _family(values, plain[dim])


def _family(values: NDArray[np.floating], energy: xr.DataArray) -> xr.DataArray:
    length = np.linalg.norm(values, axis=1, keepdims=True)
    # A family that is a family already stays as it is, to the last bit.
    unit = values / np.where(np.abs(length - 1) < ROUNDING, 1.0, length)
    return xr.DataArray(
        unit, dims=(SAMPLE, energy.name), coords={energy.name: (energy.name, energy.values)}
    )


def _same_axis(one: xr.DataArray, other: xr.DataArray) -> bool:
    left, right = one[one.dims[1]], other[other.dims[1]]
    return left.name == right.name and np.array_equal(left.values, right.values)


def _drawn_spectrum(
    name: str,
    model: Any,
    ranges: Mapping[str, float | Range],
    variable: Mapping[str, NDArray[np.floating]],
    draw: np.random.Generator,
) -> NDArray[np.floating]:
    for _ in range(TRIES):
        parameters = model.make_params()
        for key, parameter in parameters.items():
            if key in ranges:
                given = ranges[key]
                value = float(draw.uniform(*given)) if np.ndim(given) else float(given)  # type: ignore[misc, arg-type]
                parameter.set(value=value)
            elif parameter.expr is None and np.isfinite([parameter.min, parameter.max]).all():
                parameter.set(value=float(draw.uniform(parameter.min, parameter.max)))
            elif parameter.expr is None and not np.isfinite(parameter.value):
                raise ParameterError(
                    f"component {name!r}: parameter {key!r} needs a number or a range "
                    f"(lowest, highest); the model has no default for it"
                )
        spectrum = np.asarray(model.eval(parameters, **variable), dtype=np.float64)
        if np.isfinite(spectrum).all() and np.ptp(spectrum) > 0:
            return spectrum
    raise ParameterError(
        f"component {name!r}: the model gives no finite, changing spectrum on this energy axis "
        f"with these ranges; check that peaks lie within it"
    )


def _varied(
    spectrum: NDArray[np.floating],
    step: float,
    shift: float,
    broaden: float,
    strength: float,
    draw: np.random.Generator,
) -> NDArray[np.floating]:
    """Shifted, broadened and tilted at random; the ends are repeated beyond the axis."""
    from scipy.ndimage import gaussian_filter1d
    from scipy.ndimage import shift as shifted

    moved = shifted(spectrum, draw.uniform(-shift, shift) / step, order=1, mode="nearest")
    width = draw.uniform(0, broaden) / FWHM / step
    smooth = gaussian_filter1d(moved, width, mode="nearest") if width > 0 else moved
    ramp = np.linspace(-1, 1, len(spectrum))
    lift, tilt = draw.uniform(-strength, strength, 2)
    result: NDArray[np.floating] = smooth + np.ptp(smooth) * (max(lift, 0) + tilt * ramp / 2)
    return result
