"""Check parameters, library, axes and noise before a ``separate_*`` method starts."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arpes_ml_plugins.errors import AxisError, DataError, ParameterError
from arpes_ml_plugins.labelled.axes import listed, plays, same_along
from arpes_ml_plugins.methods.given_noise import given_noise
from arpes_ml_plugins.networks.families import as_library, families_of
from arpes_ml_plugins.parameters import check_choice, check_count, check_flag
from arpes_ml_plugins.spectrum_families import leaky
from arpes_ml_plugins.spectrum_library import SpectrumLibrary

if TYPE_CHECKING:
    from arpes_ml_plugins.separation.projection import Manifold
    from arpes_ml_plugins.separation.solvers import Prior
    from arpes_ml_plugins.separation.whiten import Whitened

__all__ = [
    "SEPARATION",
    "Setup",
    "check_one_of",
    "own_manifolds",
    "prior_of",
    "seed_of",
    "setup_of",
]

TRANSFORMS = ("starlet", "none")
LEAK, LEAKY = 0.3, 200  # largest share of each other in blind spectra; spectra drawn

SEPARATION = {
    "data": """
        data : xarray.DataArray or xarray.Dataset
            Intensities with an energy axis; all other dimensions are pixels, at least as many as
            components. Pixels with missing values take no part in finding the spectra; if more than
            a tenth of the pixels have some, their gaps are filled for that purpose instead. Their
            maps are fitted at the end, to the values that are there. Single hot values are left
            out.""",
    "n_components": """
        n_components : int
            Number of components. :func:`choose_components` recommends one.""",
    "transform": """
        transform : {"starlet", "none"}
            ``"starlet"``: find spectra in the wavelet details of the maps along the last two
            spatial axes, where edges and grains are sparse. ``"none"``: in the pixels themselves,
            for pixels in no particular order.""",
    "noise": """
        noise : float or xarray.DataArray, optional
            Standard error of the data: one number, one per channel, or one per value (with the
            dimensions of the data), as from repeats: ``repeats.std("repeat") / repeats.sizes[
            "repeat"] ** 0.5``. Values with more noise have less weight. Default: estimated for
            every channel from differences of neighbouring pixels and from regression on the other
            channels. If the variance is proportional to the intensity, as for counts,
            ``residual_chi2``, ``status`` and the errors of maps use an estimate for every
            value.""",
    "nonnegative": """
        nonnegative : bool, optional
            Whether spectra and maps are forced not to be negative. Default: True unless the data
            are negative beyond their noise.""",
    "channels": """
        channels : sequence of str, optional
            Further dimensions that belong to the spectrum, not to space: ``("kx",)`` separates a
            map of cuts into images of energy and momentum. Default: those of the library, otherwise
            none. It is required for data with a momentum or angle beside ``x``, ``y`` or ``z``,
            which can be read both ways: pass ``()`` if each momentum is a pixel of its own.""",
    "mask": """
        mask : xarray.DataArray of bool, optional
            Pixels to use, along all or some of the spatial dimensions: False for the beam dump, a
            hole, vacuum beside a flake. Pixels that are False are treated as missing: they take no
            part and are NaN in every map. Default: all pixels are used. To map pixels that took no
            part, see :func:`unmix`.""",
    "rng": """
        rng : int, numpy.random.Generator or torch.Generator, optional
            Seed of the start without a library and of the splits of the pixels into halves.""",
    "dims": """
        dims : mapping or sequence of str, optional
            The energy axis, if its name does not show it: ``("eV",)``.""",
    "parts": """
        - ``spectra`` (component, energy): largest value 1;
        - ``maps`` (component, space): in the unit of the data;
        - ``spectra_stderr``, ``maps_stderr``: from a comparison of halves of the pixels and, for
          maps, the noise: errors of the measurement, not of a wrong model;
        - ``reconstruction``, ``residual``: shape of the data;
        - ``residual_chi2`` (space): chi^2 per degree of freedom, 1 where the residual is noise;
        - ``library_distance`` (component): sine of the angle between a family and the signal space
          of the data, well below 0.1 if the library holds, NaN for components that are not matched
          with a family;
        - ``shift``, ``shift_stderr`` (space, or component and space for ``shift="by component"``):
          in the unit of the energy axis, zero if no shift was found or looked for; only of methods
          with ``shift=``. The error is NaN where shifts were not looked for: on axes without even
          steps or with several dimensions, and in large maps whose sample shows no shifts;
        - ``status``: "ok", or the reasons for doubt.
        """,
    "raises": """
        AxisError, DataError, DataTypeError, ParameterError, DeviceError
            The input cannot be used; the message says why, and what to do.""",
    "warns": """
        DistributionWarning
            ``status`` is not "ok".""",
}
"""Blocks that the docstrings of all ``separate_*`` methods share."""


@dataclass(frozen=True)
class Setup:
    """Checked parameters, before any values of the data are read."""

    data: xr.DataArray
    channels: tuple[Hashable, ...]
    library: SpectrumLibrary | None
    components: list[str] | NDArray[np.integer]
    known: int
    """Number of components that are known beforehand; they come first."""
    transform: str
    noise: NDArray[np.floating] | None
    nonnegative: bool | None = None
    common_noise: bool = False
    scales: int | None = None
    shift: str | bool | float | None = None
    """Whether the energies of pixels may be shifted; None if the method does not know shifts."""
    used: NDArray[np.bool_] | None = None
    """Pixels to use, ``(*space)``; None for all."""
    each_noise: NDArray[np.floating] | None = None
    """``(m, *space)``: of every value, if it was given; ``noise`` is its root mean square."""


def setup_of(
    data: Any,
    dims: Any,
    channels: Sequence[str] | None,
    n_components: int | None,
    transform: str,
    noise: float | xr.DataArray | None,
    nonnegative: bool | None = None,
    *,
    library: Any = None,
    manifolds: Mapping[str, Manifold] | None = None,
    mask: xr.DataArray | None = None,
    least_pixels: int | None = None,
    each_value: bool = True,
) -> Setup:
    """Check everything that can be checked before the values are read.

    At least ``least_pixels`` are required, by default as many as there are components.
    ``each_value``: whether ``noise`` may have one number per value.
    """
    check_choice("transform", transform, TRANSFORMS)
    check_flag("nonnegative", nonnegative, optional=True)
    check_count("n_components", n_components, optional=True)
    library = None if library is None else as_library(library)
    spectrum = (*dims, *_channels(channels, library, data, dims))
    size = _size(data, dims, spectrum)
    if library is not None:
        library = _on_axes(library, data, spectrum)
    if manifolds is not None:
        _check_sizes(manifolds, size, dims[0])
    known = [*(library or ()), *(manifolds or ())]
    components = _names(known, n_components)
    used = _used_pixels(mask, data, spectrum)
    pixels = data.size // size if used is None else int(used.sum())
    least = len(components) if least_pixels is None else least_pixels
    for name, have, needed in (("channels", size, len(components)), ("pixels", pixels, least)):
        if have < needed:
            raise DataError(
                f"the data are too small for {len(components)} components: they have {have} "
                f"{name}{' that mask= selects' if used is not None and name == 'pixels' else ''}; "
                f"expected at least {needed}"
            )
    given = given_noise(noise, data, spectrum, used, each_value=each_value)
    return Setup(
        data,
        spectrum,
        library,
        components,
        len(known),
        transform,
        None if given is None else given.channels,
        nonnegative,
        used=used,
        each_noise=None if given is None else given.values,
    )


def _used_pixels(
    mask: xr.DataArray | None, data: xr.DataArray, spectrum: tuple[Hashable, ...]
) -> NDArray[np.bool_] | None:
    """``(*space)``, in the order of the data."""
    if mask is None:
        return None
    if not isinstance(mask, xr.DataArray) or mask.dtype != bool:
        array = isinstance(mask, xr.DataArray)
        got = f"numbers of type {mask.dtype}" if array else type(mask).__name__
        raise ParameterError(
            f"mask must be a DataArray of True (use the pixel) and False, got {got}; make one by a "
            f"comparison, for example data.sum({str(spectrum[0])!r}) > threshold"
        )
    space = {dim: data.sizes[dim] for dim in data.dims if dim not in spectrum}
    for dim in mask.dims:
        if dim not in space:
            raise AxisError(
                f"mask has the dimension {dim!r}; expected pixels, along "
                f"{', '.join(map(repr, space))}. Set single values that are wrong to NaN instead"
            )
        if not same_along(mask, data, dim):
            raise AxisError(
                f"mask has other coordinates along {dim!r} than the data; select the same part of "
                f"both"
            )
    if mask.chunks is not None:
        raise ParameterError("mask is lazy; compute it first: mask=mask.compute()")
    whole = mask.variable.set_dims(space)
    return np.ascontiguousarray(whole.transpose(*space).values)


def _size(data: xr.DataArray, dims: Any, spectrum: tuple[Hashable, ...]) -> int:
    """Number of channels of a spectrum."""
    for dim in spectrum[len(dims) :]:
        if dim not in data.dims or spectrum.count(dim) > 1:
            raise AxisError(
                f"channels names {dim!r}; expected further dimensions of the data beside "
                f"{dims[0]!r}: {', '.join(map(str, (d for d in data.dims if d not in dims)))}"
            )
    if len(spectrum) == data.ndim:
        raise DataError(
            f"the data have no dimension beside {', '.join(map(repr, spectrum))}: one spectrum "
            f"cannot be separated; expected several, along space or any other axis"
        )
    return int(np.prod([data.sizes[dim] for dim in spectrum]))


def _names(known: list[str], n_components: int | None) -> list[str] | NDArray[np.integer]:
    """Names of the known components, then of free ones; numbers if none is known."""
    if not known:
        return np.arange(1, (n_components or 0) + 1)
    total = len(known) if n_components is None else n_components
    if total < len(known):
        raise ParameterError(
            f"n_components must be at least the {len(known)} components that are known, got {total}"
        )
    return [*known, *(f"free {i + 1}" for i in range(total - len(known)))]


def _channels(
    channels: Sequence[str] | None,
    library: SpectrumLibrary | None,
    data: xr.DataArray,
    dims: tuple[Hashable, ...],
) -> tuple[Hashable, ...]:
    """Dimensions beside energy that belong to the spectra; an error if that is ambiguous."""
    if isinstance(channels, str):
        raise ParameterError(
            f"channels must be a sequence of names, got {channels!r}; give a tuple"
        )
    if channels is not None:
        return tuple(channels)
    if library is not None:
        return library.channels
    beside = [dim for dim in data.dims if dim not in dims and data.sizes[dim] > 1]
    momenta, space = ([d for d in beside if plays(d, role)] for role in ("momentum", "space"))
    if momenta and space:
        raise AxisError(
            f"the data have {listed(momenta)} beside the space {listed(space)}, which can be "
            f"read in two ways: pass channels={tuple(momenta)!r} if the components are images of "
            f"energy and momentum, or channels=() if each momentum is a pixel of its own"
        )
    return ()


def _on_axes(
    library: SpectrumLibrary, data: xr.DataArray, spectrum: tuple[Hashable, ...]
) -> SpectrumLibrary:
    if spectrum[0] not in data.coords:
        raise AxisError(
            f"the axis {spectrum[0]!r} of the data has no coordinate, so the library cannot be put "
            f"on it; assign one, for example data.assign_coords({{{spectrum[0]!r}: energies}})"
        )
    axes = [data[dim] for dim in spectrum]
    own = next(iter(library.values()))
    names = tuple(axis.name for axis in axes)
    if own.dims[1:] == names and all(np.array_equal(a.values, own[a.name].values) for a in axes):
        return library
    return library.on(*axes)


def own_manifolds(library: Any) -> dict[str, Manifold] | None:
    """Name to manifold, if ``library`` holds Manifold objects; None if it holds spectra."""
    from arpes_ml_plugins.separation.projection import Manifold

    if isinstance(library, Mapping):
        given = {str(name): one for name, one in library.items()}
    elif isinstance(library, Sequence) and not isinstance(library, str):
        given = {f"component {i + 1}": one for i, one in enumerate(library)}
    else:
        return None
    other = [name for name, one in given.items() if not isinstance(one, Manifold)]
    if len(other) == len(given) and isinstance(library, Mapping):
        return None
    if other or not given:
        what = f"{other[0]!r} is {type(given[other[0]]).__name__}" if other else "there is none"
        raise ParameterError(
            f"library must be a SpectrumLibrary, or hold objects of "
            f"arpes_ml_plugins.separation.manifolds.Manifold only; {what}"
        )
    return given


def _check_sizes(manifolds: Mapping[str, Manifold], size: int, dim: Hashable) -> None:
    for name, manifold in manifolds.items():
        have = manifold.samples.shape[1]
        if have != size:
            raise AxisError(
                f"the manifold of {name!r} has spectra of {have} channels, the data {size} along "
                f"{dim!r}; make it on the axis of the data"
            )


def check_one_of(library: Any, n_components: int | None) -> None:
    """Refuse both or neither of a library and a number of components."""
    if (library is None) == (n_components is None):
        raise ParameterError(
            "give either library=, with a family of spectra for each component, or n_components=, "
            "the number of components, if nothing is known of their spectra"
        )


def seed_of(rng: Any) -> int:
    """The seed that the call has made of ``rng=``."""
    return int(rng)


def prior_of(data: Whitened, setup: Setup, seed: int) -> Prior:
    """Prior knowledge of the spectra, from the library or around a blind start."""
    import torch

    from arpes_ml_plugins.separation.blind_start import blind_start
    from arpes_ml_plugins.separation.solvers import Prior

    if setup.library is not None:
        kept, noise = data.kept.cpu().numpy(), data.noise.cpu().double().numpy()
        families = [f.to(data.pixels) for f in families_of(setup.library, noise, kept)]
        start = torch.stack([family.mean(0) for family in families], 1)
        return Prior(start, families, blind=False)
    n = len(setup.components)
    start = blind_start(data.pixels, n, nonnegative=data.nonnegative, seed=seed)
    strength = (torch.linalg.pinv(start) @ data.pixels).square().mean(1)
    start = start[:, strength.argsort(descending=True)]
    draw = np.random.default_rng(seed)
    around = leaky(start.mT.cpu().double().numpy(), 0.0, LEAK, LEAKY, draw)
    norms = np.linalg.norm(around, axis=2, keepdims=True)
    rows = torch.from_numpy(around / np.where(norms > 0, norms, 1))
    return Prior(start, [*rows.to(start)], blind=True)
