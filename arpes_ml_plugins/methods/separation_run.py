"""What all ``separate_*`` methods share: from labelled data to spectra and maps on their axes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arpes_ml_plugins.errors import AxisError, DataError, DistributionWarning, ParameterError
from arpes_ml_plugins.labelled.apply import Cube, map_mixture
from arpes_ml_plugins.labelled.progress import ProgressOption, Report
from arpes_ml_plugins.networks.lpalm import as_library, families_of
from arpes_ml_plugins.parameters import check_choice, check_count, check_positive
from arpes_ml_plugins.spectrum_library import SpectrumLibrary, leaky

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.separation.chain import Separated
    from arpes_ml_plugins.separation.whitened import Whitened

__all__ = [
    "OUTPUTS",
    "Estimate",
    "Prior",
    "Setup",
    "prior_of",
    "run",
    "seed_of",
    "setup_of",
    "whitened",
]

TRANSFORMS = ("starlet", "none")
UNLIKE = 0.1  # sine of the angle between a family and the data
TOO_MUCH = 1.3  # of chi^2 a value: something is left in the residual
LEAK, LEAKY = 0.3, 200  # blind spectra are taken to hold up to this share of each other
OUTPUTS = {
    "spectra": "spectra",
    "spectra_stderr": "spectra",
    "maps": "maps",
    "maps_stderr": "maps",
    "reconstruction": "data",
    "residual": "data",
    "residual_chi2": "space",
    "library_distance": "component",
    "status": "text",
}

Estimate = Callable[["Whitened", "Report | None"], "Separated"]


@dataclass(frozen=True)
class Setup:
    """What is known before the values of the data are looked at."""

    data: xr.DataArray
    channels: tuple[Hashable, ...]
    library: SpectrumLibrary | None
    components: list[str] | NDArray[np.integer]
    transform: str
    noise: NDArray[np.floating] | None
    nonnegative: bool | None = None
    common_noise: bool = False
    scales: int | None = None


@dataclass(frozen=True)
class Prior:
    """Knowledge of the spectra, on the usable channels and in units of their noise."""

    start: torch.Tensor  # (k, n)
    families: list[torch.Tensor]
    blind: bool


def setup_of(
    data: Any,
    dims: Any,
    channels: Sequence[str],
    library: Any,
    n_components: int | None,
    transform: str,
    noise: float | xr.DataArray | None,
    nonnegative: bool | None = None,
) -> Setup:
    """Check everything that can be checked before the values are looked at."""
    check_choice("transform", transform, TRANSFORMS)
    check_choice("nonnegative", nonnegative, (None, True, False))
    check_count("n_components", n_components, optional=True)
    spectrum = (*dims, *channels)
    for dim in channels:
        if dim not in data.dims or spectrum.count(dim) > 1:
            raise AxisError(
                f"channels names {dim!r}; expected further dimensions of the data beside "
                f"{dims[0]!r}: {', '.join(map(str, (d for d in data.dims if d not in dims)))}"
            )
    size = int(np.prod([data.sizes[dim] for dim in spectrum]))
    pixels = data.size // size
    if len(spectrum) == data.ndim:
        raise DataError(
            f"the data have no dimension beside {', '.join(map(repr, spectrum))}: one spectrum "
            f"cannot be separated; expected several, along space or any other axis"
        )
    if library is not None:
        if channels:
            raise ParameterError("a library has spectra along energy only; use n_components=")
        library = _on_axis(as_library(library), data, dims[0])
    components = _names(library, n_components)
    for name, have in (("channels", size), ("pixels", pixels)):
        if have < len(components):
            raise DataError(
                f"the data are too small for {len(components)} components: they have {have} "
                f"{name}; expected at least as many"
            )
    values = _noise_values(noise, data, spectrum, size)
    return Setup(data, spectrum, library, components, transform, values, nonnegative)


def _names(
    library: SpectrumLibrary | None, n_components: int | None
) -> list[str] | NDArray[np.integer]:
    """Of the components: those of the library, then free ones; numbers without a library."""
    if library is None:
        return np.arange(1, (n_components or 0) + 1)
    known, total = list(library), len(library) if n_components is None else n_components
    if total < len(known):
        raise ParameterError(
            f"n_components must be at least the {len(known)} components that are known, got {total}"
        )
    return [*known, *(f"free {i + 1}" for i in range(total - len(known)))]


def _on_axis(library: SpectrumLibrary, data: xr.DataArray, dim: Hashable) -> SpectrumLibrary:
    if dim not in data.coords:
        raise AxisError(
            f"the axis {dim!r} of the data has no coordinate, so the library cannot be put on it; "
            f"assign one, for example data.assign_coords({{{dim!r}: energies}})"
        )
    axis = data[dim]
    if np.array_equal(axis.values, library.energy.values) and axis.name == library.energy.name:
        return library
    return library.on(axis)


def _noise_values(
    noise: float | xr.DataArray | None,
    data: xr.DataArray,
    spectrum: tuple[Hashable, ...],
    size: int,
) -> NDArray[np.floating] | None:
    if noise is None:
        return None
    if isinstance(noise, xr.DataArray):
        if set(noise.dims) != set(spectrum):
            raise AxisError(
                f"noise must be one number or have the dimensions {spectrum}, got {noise.dims}"
            )
        for dim in spectrum:
            if dim in noise.coords and dim in data.coords and not noise[dim].equals(data[dim]):
                raise AxisError(
                    f"noise has other coordinates along {dim!r} than the data; give it on theirs, "
                    f"for example noise.interp({dim}=data.{dim})"
                )
        values = noise.transpose(*spectrum).values.astype(np.float64).reshape(-1)
    else:
        check_positive("noise", noise)
        values = np.full(size, float(noise))
    if len(values) != size or not (np.isfinite(values).all() and (values > 0).all()):
        raise ParameterError(f"noise must be positive in each of the {size} channels")
    return values


def seed_of(rng: Any) -> int:
    """What the call has settled ``rng=`` to."""
    return int(rng)


def run(
    method: str,
    setup: Setup,
    estimate: Estimate,
    steps: int,
    device: str,
    seed: int,
    progress: ProgressOption,
) -> xr.Dataset:
    """Separate with ``estimate``, dress the result, and warn of what its status says."""

    def algorithm(cube: Cube) -> dict[str, Any]:
        return _separate(cube, setup, estimate, seed)

    result = map_mixture(
        setup.data,
        setup.channels,
        algorithm,
        OUTPUTS,
        components=setup.components,
        method=method,
        device=device,
        steps=steps,
        progress=progress,
    )
    status = result["status"]
    if status.chunks is None and status.item() != "ok":
        warnings.warn(f"{method}: {status.item()}", DistributionWarning, stacklevel=2)
    return result


def _separate(cube: Cube, setup: Setup, estimate: Estimate, seed: int) -> dict[str, Any]:
    from arpes_ml_plugins.separation.chain import maps_of, uncertainty

    ready, complete = whitened(cube, setup)
    found = estimate(ready, cube.report)
    sources = maps_of(ready, found.spectra)
    errors = uncertainty(ready, found, seed)
    return _in_units(cube, ready, found, sources, errors, complete, setup)


def whitened(cube: Cube, setup: Setup) -> tuple[Whitened, torch.Tensor]:
    """The data over their noise, and which pixels are complete ``(*space)``."""
    import torch

    from arpes_ml_plugins.separation.whitened import whiten

    values, valid = cube.values, cube.valid
    seen = valid.flatten(1).any(1)  # channels with any value at all
    complete = valid[seen].all(0)
    n = len(setup.components)
    if int(complete.sum()) < max(n, 2):
        raise DataError(
            f"only {int(complete.sum())} pixels have values in all channels, too few for {n} "
            f"components; fill the missing values, or select channels without them"
        )
    given = None if setup.noise is None else torch.from_numpy(setup.noise).to(values)
    ready = whiten(
        values,
        complete,
        noise=given,
        transform=setup.transform,
        scales=setup.scales,
        common=setup.common_noise,
        nonnegative=False if setup.common_noise else setup.nonnegative,
    )
    if int(ready.kept.sum()) < n:
        raise DataError(
            f"only {int(ready.kept.sum())} channels change from pixel to pixel, too few for {n} "
            f"components; check the selection"
        )
    return ready, complete


def prior_of(ready: Whitened, setup: Setup, seed: int) -> Prior:
    """From the library, or around a blind start."""
    import torch

    from arpes_ml_plugins.separation.blind import blind_start

    n = len(setup.components)
    if setup.library is not None:
        kept = ready.kept.cpu().numpy()
        noise = ready.noise.cpu().double().numpy()
        families = [f.to(ready.pixels) for f in families_of(setup.library, noise, kept)]
        start = torch.stack([family.mean(0) for family in families], 1)
        return Prior(start, families, blind=False)
    start = blind_start(ready.pixels, n, nonnegative=ready.nonnegative, seed=seed)
    strength = (torch.linalg.pinv(start) @ ready.pixels).square().mean(1)
    start = start[:, strength.argsort(descending=True)]
    draw = np.random.default_rng(seed)
    around = leaky(start.mT.cpu().double().numpy(), 0.0, LEAK, LEAKY, draw)
    rows = torch.from_numpy(around / np.linalg.norm(around, axis=2, keepdims=True))
    return Prior(start, [*rows.to(start)], blind=True)


def _in_units(
    cube: Cube,
    ready: Whitened,
    found: Separated,
    sources: torch.Tensor,
    errors: tuple[torch.Tensor, torch.Tensor],
    complete: torch.Tensor,
    setup: Setup,
) -> dict[str, Any]:
    """Spectra of largest value 1, maps in the unit of the data, and what is left."""
    import torch

    values, noise = cube.values, ready.noise[ready.kept][:, None]
    n, space = found.spectra.shape[1], complete.shape
    whole, flat = complete.flatten(), values.flatten(1)
    spectra = values.new_zeros(len(values), n)
    spectra[ready.kept] = found.spectra * noise
    top = spectra.gather(0, spectra.abs().argmax(0, keepdim=True))[0]
    top = torch.where(top == 0, 1.0, top)
    seen = cube.valid.flatten(1).any(1)
    constant = ~ready.kept & seen
    if bool(constant.any()):  # no noise, no weight: what the maps explain of them
        spectra[constant] = flat[constant][:, whole] @ torch.linalg.pinv(sources)
    maps = values.new_full((n, whole.numel()), float("nan"))
    maps[:, whole] = sources * top[:, None]
    spectra = spectra / top
    _solve_incomplete(maps, cube, spectra, ready)
    spectra_error = torch.zeros_like(spectra)
    spectra_error[ready.kept] = errors[0] * noise / top.abs()
    maps_error = torch.full_like(maps, float("nan"))
    maps_error[:, whole] = errors[1] * top.abs()[:, None]

    spectra[~seen] = spectra_error[~seen] = float("nan")
    order = _order(maps, spectra, setup)
    spectra, maps = spectra[:, order], maps[order]
    model = torch.where(cube.valid.flatten(1), spectra @ maps, float("nan"))
    residual = flat - model
    scaled = (residual[ready.kept] / noise).square()
    freedom = (scaled.isfinite().sum(0) - n).clamp(min=1)
    chi2 = torch.where(maps[0].isnan(), float("nan"), scaled.nansum(0) / freedom)
    distance = torch.full_like(top, float("nan"))
    if found.match is not None:
        distance[: len(found.match.distance)] = found.match.distance
    return {
        "spectra": spectra.mT,
        "spectra_stderr": spectra_error[:, order].mT,
        "maps": maps.reshape(n, *space),
        "maps_stderr": maps_error[order].reshape(n, *space),
        "reconstruction": model,
        "residual": residual,
        "residual_chi2": chi2,
        "library_distance": distance[order],
        "status": _status(
            found, float(chi2.nanmean()), setup, int(constant.sum()), int((~seen).sum())
        ),
    }


def _solve_incomplete(
    maps: torch.Tensor, cube: Cube, spectra: torch.Tensor, ready: Whitened
) -> None:
    """Maps of pixels with some values missing, from those that they have, if these are as many as
    the components; in place.
    """
    import torch

    from arpes_ml_plugins.separation.least_squares import nonnegative_sources

    values, valid = cube.values.flatten(1), cube.valid.flatten(1)
    noise = ready.noise
    for pixel in maps[0].isnan().nonzero()[:, 0].tolist():
        usable = valid[:, pixel] & ready.kept
        if int(usable.sum()) < spectra.shape[1]:
            continue  # too few values for a fit
        weight = 1 / noise[usable, None]
        left, right = spectra[usable] * weight, values[usable, pixel, None] * weight
        if ready.nonnegative:
            maps[:, pixel] = nonnegative_sources(right, left)[:, 0]
        else:
            maps[:, pixel] = (torch.linalg.pinv(left) @ right)[:, 0]


def _order(maps: torch.Tensor, spectra: torch.Tensor, setup: Setup) -> list[int]:
    """The library's order, then the others by falling intensity."""
    known = 0 if setup.library is None else len(setup.library)
    strength = maps.square().nansum(1) * spectra.square().nansum(0)
    free = strength[known:].argsort(descending=True) + known
    return [*range(known), *(int(i) for i in free)]


def _status(found: Separated, chi2: float, setup: Setup, constant: int, empty: int) -> str:
    notes = list(found.notes)
    if found.match is not None:
        names = [str(name) for name in setup.components]
        absent = [name for name, p in zip(names, found.match.present, strict=False) if not p]
        if absent:
            notes.append(
                f"the data do not show {', '.join(map(repr, absent))}: the library's nearest "
                f"spectrum stands in"
            )
        for name, far in zip(names, found.match.distance.tolist(), strict=False):
            if far > UNLIKE and name not in absent:
                notes.append(
                    f"the data hold nothing quite like the family of {name!r} (distance {far:.2f})"
                )
    if chi2 > TOO_MUCH:
        notes.append(
            f"chi^2 a value is {chi2:.2g}: the components do not explain the data within their "
            f"noise (more components, other families, or more noise than measured)"
        )
    for count, what in ((constant, "constant channels"), (empty, "channels without values")):
        if count:
            notes.append(f"{count} {what} were left out")
    return "; ".join(notes) or "ok"
