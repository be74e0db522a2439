"""Prior knowledge of the components: a family of spectra for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arpes_ml_plugins.errors import AxisError, DataError, ParameterError
from arpes_ml_plugins.family_mapping import FamilyMapping
from arpes_ml_plugins.labelled.axes import numbers_along
from arpes_ml_plugins.labelled.spacing import even_step
from arpes_ml_plugins.parameters import check_choice, check_count, check_number, is_number
from arpes_ml_plugins.photoelectron_background import BACKGROUNDS, LOSSES, lost, polynomials
from arpes_ml_plugins.spectrum_families import (
    SAMPLE,
    Range,
    checked_family,
    drawn_spectrum,
    family_of,
    leaky,
    varied,
)

__all__ = ["SpectrumLibrary"]

COUNT = 300  # spectra drawn per family


class SpectrumLibrary(FamilyMapping):
    """Map the name of each component to a family of spectra, a DataArray ``(sample, eV)``.

    The spectrum of a component may be any spectrum of its family, or one between neighbouring ones.
    Only shapes matter: spectra are scaled to length 1. A family of one spectrum is fixed: it is
    taken as exact, and only its map is fitted. Libraries are joined by ``one | other``.

    Parameters
    ----------
    families : mapping of str to xarray.DataArray
        Spectra along ``sample`` and an energy axis with coordinates, the same axis for all. Further
        dimensions, such as momentum, belong to the spectra.
    channels : sequence of str, optional
        Dimensions beside energy that belong to the spectra; all others are samples. Default:
        all, if there is a dimension ``sample``; otherwise none.

    Raises
    ------
    AxisError, DataError, DataTypeError
        There is no energy axis, axes differ, or spectra are empty, zero or not finite.

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

    @classmethod
    def from_lmfit(
        cls,
        models: Mapping[str, tuple[Any, Mapping[str, float | Range]]],
        energy: xr.DataArray,
        *,
        count: int = COUNT,
        rng: int | np.random.Generator | None = 0,
    ) -> SpectrumLibrary:
        """Draw families from fit models and the ranges of their parameters.

        Parameters
        ----------
        models : mapping
            From names of components to ``(model, ranges)``: an lmfit model and, for each of its
            parameters, a number or ``(lowest, highest)``, between which it is drawn uniformly.
            Parameters that are left out are drawn between the bounds of their hints, if these are
            finite, and keep their default otherwise.
        energy : xarray.DataArray
            Energies of the data: ``data.eV``.
        count : int
            Number of spectra per family. More represent it more closely and take longer.
        rng : int or numpy.random.Generator, optional
            Seed of the draws.

        Raises
        ------
        ParameterError
            There is a range for a parameter that the model lacks, or none for a parameter without
            a default.

        Examples
        --------
        >>> from lmfit.models import GaussianModel
        >>> energy = xr.DataArray(np.linspace(-2, 2, 80), dims="eV", name="eV")
        >>> energy = energy.assign_coords(eV=energy.values)
        >>> ranges = {"center": (-0.2, 0.2), "sigma": (0.1, 0.2), "amplitude": 1.0}
        >>> SpectrumLibrary.from_lmfit({"peak": (GaussianModel(), ranges)}, energy.eV, count=20)
        SpectrumLibrary(peak: 20 spectra; eV: 80 points, -2 to 2)
        """
        check_count("count", count)
        numbers_along(energy)
        draw = np.random.default_rng(rng)
        families = {}
        for name, (model, ranges) in models.items():
            variables = model.independent_vars
            known = model.make_params()
            for parameter, given in ranges.items():
                _check_range(name, parameter, given)
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
        """Make families of measured references, or of simulated families as they are.

        Without variation a single reference is fixed: it is taken as exact, and only its map is
        fitted. If it differs from the spectrum in the data, ``status`` reports it, and the
        reference is kept.

        Parameters
        ----------
        spectra : mapping or sequence of xarray.DataArray
            One spectrum per component, or several along another dimension.
        shift : float
            Largest shift in either direction, in the unit of the energy axis. Families with larger
            variations fit more data, and are told apart less well.
        broaden : float
            Largest additional broadening (Gaussian, full width at half maximum), in the same unit.
        strength : float
            Largest relative change of a linear background under the spectrum: 0.1 tilts and lifts
            it by up to 10 % of the maximum.
        channels : sequence of str
            Dimensions beside energy that belong to the spectra: ``("kx",)`` for cuts. Spectra are
            shifted and broadened along energy only.
        count, rng
            As in :meth:`from_lmfit`; without effect if nothing is varied.

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
        check_count("count", count)
        for label, value in (("shift", shift), ("broaden", broaden), ("strength", strength)):
            check_number(label, value, least=0)
        draw = np.random.default_rng(rng)
        changes = shift > 0 or broaden > 0 or strength > 0
        families = {}
        for name, given in spectra.items():
            family = checked_family(str(name), given, channels)
            if changes:
                energy = family[family.dims[1]]
                step = even_step(energy.values)
                if (shift or broaden) and step is None:
                    raise AxisError(
                        f"component {name!r}: shifts need an evenly spaced axis of several points"
                    )
                source = family.values[draw.integers(family.sizes[SAMPLE], size=count)]
                width = 1.0 if step is None else abs(step)  # nothing moves on an uneven axis
                changed = [varied(one, width, shift, broaden, strength, draw) for one in source]
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
        """Make families around the spectra that a blind separation found.

        The errors of blind spectra are mostly leakage between components, and noise: families
        vary by both. Rename components (``result.assign_coords(component=[...])``), drop or
        correct some, and separate again with the library.

        Parameters
        ----------
        result : xarray.Dataset
            Result of a ``separate_*`` method, with spectra along energy and any other channels.
        leak : float
            Largest share of each other component that is added or subtracted, relative to the
            length of the spectrum. Larger values allow for more leakage.
        shift, broaden, count, rng
            As in :meth:`from_spectra`.

        Raises
        ------
        DataError
            ``result`` is not the Dataset of a ``separate_*`` method.

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
        check_count("count", count)
        check_number("leak", leak, least=0)
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

    @classmethod
    def background(
        cls,
        kind: str,
        of: xr.DataArray | Mapping[str, xr.DataArray],
        *,
        degree: int = 1,
        binding: bool | None = None,
        name: str = "background",
        count: int = COUNT,
        rng: int | np.random.Generator | None = 0,
    ) -> SpectrumLibrary:
        """Make a background as a component of its own, joined with ``library | background``.

        Parameters
        ----------
        kind : {"constant", "polynomial", "shirley", "tougaard"}
            A fixed and flat background; polynomials that are not negative; or the inelastic
            background of the library's lines at lower kinetic energy, as steps below each line
            (Shirley [1]_, [2]_) or by single losses with the universal cross section (Tougaard
            [3]_).
        of : xarray.DataArray or SpectrumLibrary
            Energies of the data, ``data.eV``, for the first two kinds; a library of lines without
            background for the others. The shares of the lines vary; if the background of each line
            belongs to it, use :meth:`with_background` instead.
        degree : int
            Degree of the polynomials. Those of larger degree fit more structure, also that of
            lines.
        binding : bool, optional
            Whether kinetic energy decreases along the axis, as with positive binding energies.
            Default: according to the name of the axis.
        name : str
            Name of the component.
        count, rng
            As in :meth:`from_lmfit`.

        Raises
        ------
        ParameterError
            The kind is unknown, or ``of`` is not of the type that it needs.

        References
        ----------
        .. [1] Shirley, Phys. Rev. B 5, 4709 (1972).
        .. [2] Proctor and Sherwood, Anal. Chem. 54, 13 (1982).
        .. [3] Tougaard, Surf. Interface Anal. 11, 453 (1988).

        Examples
        --------
        >>> energy = np.linspace(-1, 1, 50)
        >>> peak = xr.DataArray(np.exp(-(energy**2) / 0.02), coords={"eV": energy}, dims="eV")
        >>> lines = SpectrumLibrary.from_spectra({"4f": peak}, shift=0.1, count=10)
        >>> lines | SpectrumLibrary.background("constant", peak.eV)
        SpectrumLibrary(4f: 10 spectra, background: fixed; eV: 50 points, -1 to 1)
        >>> step = SpectrumLibrary.background("shirley", lines, count=20)
        >>> bool((step["background"].diff("eV") <= 1e-12).all())
        True
        """
        check_choice("kind", kind, BACKGROUNDS)
        check_count("degree", degree, least=0)
        check_count("count", count)
        draw = np.random.default_rng(rng)
        if (kind in LOSSES) != isinstance(of, Mapping):
            needed = "a SpectrumLibrary of lines" if kind in LOSSES else "energies, data.eV"
            raise ParameterError(f"of must be {needed}, for {kind!r}; got {type(of).__name__}")
        if not isinstance(of, Mapping):
            flat = kind == "constant" or degree == 0
            rows = np.ones((1, of.size)) if flat else polynomials(degree, of.values, count, draw)
            return cls({name: family_of(rows, of)})
        lines = cls(of)
        shares = draw.dirichlet(np.ones(len(lines)), count)
        shares[: len(lines)] = np.eye(len(lines))[:count]
        rows = sum(
            share.reshape(-1, *[1] * (family.ndim - 1))
            * lost(kind, _drawn(family, count, draw), lines.energy, binding)
            for share, family in zip(shares.T, lines.values(), strict=True)
        )
        return cls({name: family_of(rows, *_axes(lines))})

    def with_background(
        self,
        kind: str,
        share: tuple[float, float] = (0.0, 0.3),
        *,
        binding: bool | None = None,
        count: int = COUNT,
        rng: int | np.random.Generator | None = 0,
    ) -> SpectrumLibrary:
        """Add to each line of the library the background of its own inelastic electrons.

        A line and its background are proportional, so both are one component with one map.

        Parameters
        ----------
        kind : {"shirley", "tougaard"}
            As in :meth:`background`.
        share : (float, float)
            Lowest and highest background, relative to the height of the line.
        binding, count, rng
            As in :meth:`background`.

        Examples
        --------
        >>> energy = np.linspace(-1, 1, 50)
        >>> peak = xr.DataArray(np.exp(-(energy**2) / 0.02), coords={"eV": energy}, dims="eV")
        >>> library = SpectrumLibrary.from_spectra({"4f": peak})
        >>> one = library.with_background("shirley", (0.1, 0.1), count=1)["4f"][0]
        >>> round(float(one[0] / one.max()), 1)
        0.1
        """
        check_choice("kind", kind, LOSSES)
        check_count("count", count)
        low, high = map(float, share)
        if not (np.isfinite([low, high]).all() and 0 <= low <= high):
            raise ParameterError(f"share must be (lowest, highest), at least 0, got {share!r}")
        draw, families = np.random.default_rng(rng), {}
        for name, family in self.items():
            rows = _drawn(family, count, draw)
            inner = tuple(range(1, rows.ndim))
            size = draw.uniform(low, high, count).reshape(-1, *[1] * len(inner))
            size = size * np.abs(rows).max(inner, keepdims=True)
            both = rows + size * lost(kind, rows, self.energy, binding)
            families[name] = family_of(both, *_axes(self))
        return SpectrumLibrary(families)


def _drawn(family: xr.DataArray, count: int, draw: np.random.Generator) -> NDArray[np.floating]:
    """Spectra ``(count, ...)`` of a family: each once, as far as possible, before any repeats."""
    size = family.sizes[SAMPLE]
    return family.values[np.resize(draw.permutation(size), count)]


def _axes(library: SpectrumLibrary) -> list[xr.DataArray]:
    one = next(iter(library.values()))
    return [one[dim] for dim in one.dims[1:]]


def _check_range(name: str, parameter: str, given: Any) -> None:
    """Refuse what is neither a number nor two, the lower one first."""
    ends = [given] if np.ndim(given) == 0 else list(given)
    if len(ends) > 2 or not ends or not all(map(is_number, ends)) or ends[0] > ends[-1]:
        raise ParameterError(
            f"component {name!r}: {parameter!r} needs a number or (lowest, highest), got {given!r}"
        )
