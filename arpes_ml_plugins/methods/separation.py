"""``separate_palm`` and ``separate_lpalm``: spectral images into component spectra and maps."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arpes_ml_plugins.errors import (
    AxisError,
    DataError,
    DistributionWarning,
    ParameterError,
)
from arpes_ml_plugins.labelled.mixture import Cube, map_mixture
from arpes_ml_plugins.labelled.progress import ProgressOption, Report
from arpes_ml_plugins.methods.checks import check_choice, check_count, check_positive
from arpes_ml_plugins.methods.trained_separation import (
    LPALM_RECIPES,
    PIXELS,
    SeparationNetwork,
    as_library,
    families_of,
    train_on,
)
from arpes_ml_plugins.spectrum_library import SpectrumLibrary, leaky

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.separation.chain import Separated
    from arpes_ml_plugins.separation.whitened import Whitened

__all__ = ["separate_lpalm", "separate_palm"]

TRANSFORMS = ("starlet", "none")
SNR_STEP, SNR_SPAN = 5.0, 5.0  # dB: networks are trained for ranges on a grid, not for one value
SNR_LIMITS = (0.0, 60.0)
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

Estimate = Callable[["Whitened", "_Prior", "Report | None"], "Separated"]


def separate_palm(
    data: xr.DataArray | xr.Dataset,
    *,
    library: SpectrumLibrary | Mapping[str, xr.DataArray] | None = None,
    n_components: int | None = None,
    sparsity: float = 3.0,
    iterations: int = 200,
    transform: str = "starlet",
    refine: bool = True,
    noise: float | xr.DataArray | None = None,
    nonnegative: bool | None = None,
    channels: Sequence[str] = (),
    device: str = "auto",
    rng: int | torch.Generator | None = None,
    progress: ProgressOption = False,
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.Dataset:
    """Separate a spectral image into components by proximal alternating minimisation (PALM).

    Finds spectra and sparse maps of least squared misfit plus an l1 penalty on the maps, for
    falling penalties, each from the solution before. What comes out depends on the start and on
    ``sparsity``; :func:`separate_lpalm` has learned both.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        Intensities with an energy axis; all other dimensions are pixels, at least as many as
        components. Pixels with missing values are kept out and solved for at the end from the
        values that they have.
    library : SpectrumLibrary, optional
        Where to start from: the mean spectrum of each family.
    n_components : int, optional
        Number of components where there is no library: starts from non-negative matrix
        factorisation (independent components if the data are negative in places).
    sparsity : float
        Last penalty, in standard deviations of the noise: what is weaker counts as noise. Larger
        values give emptier maps, and lose weak components.
    iterations : int
        At most so many for each of eight penalties.
    transform : {"starlet", "none"}
        Look for spectra in the wavelet details of the maps along the last two spatial axes, where
        edges and grains are sparse, or in the pixels themselves: right for pixels in no order.
    refine : bool
        Polish the spectra by alternating least squares, without penalty on strong values.
    noise : float or xarray.DataArray, optional
        Standard error of the data, one number or one a channel. Default: measured for every
        channel, by differences of neighbouring pixels and by regression on the other channels.
    nonnegative : bool, optional
        Whether spectra and maps are never negative. Default: if the data are not, beyond noise.
    channels : sequence of str
        More dimensions that belong to the spectrum, not to space: ``("phi",)`` separates images of
        energy and angle. For these there is no library.
    device : str
        ``"auto"`` (CUDA, then MPS, then CPU) or the name of a torch device.
    rng : int or torch.Generator, optional
        Seed of the start without library and of the half-splits.
    progress : bool or callable
        Show a bar, or call a function with a :class:`~arpes_ml_plugins.Progress`.
    dims : mapping or sequence of str, optional
        The energy axis where names do not tell: ``("eV",)``.

    Returns
    -------
    xarray.Dataset
        ``spectra`` (component, energy), largest value 1; ``maps`` (component, space), in the unit
        of the data; ``spectra_stderr`` and ``maps_stderr``, from half-splits of the pixels and,
        for maps, the noise: errors of the measurement, not of a wrong model; ``reconstruction`` and
        ``residual``, shape of the data; ``residual_chi2`` (space), 1 where the residual is noise;
        ``library_distance`` (component), NaN here; ``status``: "ok", or what to mistrust.
        Components come in the order of the library, or by falling intensity.

    Raises
    ------
    AxisError, DataError, DataTypeError, ParameterError, DeviceError
        Unusable input; the message says what to do.

    Warns
    -----
    DistributionWarning
        ``status`` is not "ok".

    References
    ----------
    Bolte, Sabach and Teboulle, Math. Program. 146, 459 (2014); Fahes et al. (ICLR 2022), eq. 6.

    Examples
    --------
    >>> import arpes_ml_plugins
    >>> rng, energy = np.random.default_rng(0), np.linspace(-1, 1, 40)
    >>> peaks = np.stack([np.exp(-((energy - p) ** 2) / 0.02) for p in (-0.3, 0.2)])
    >>> maps = 100 * (rng.random((12, 12, 2)) < 0.3)
    >>> image = xr.DataArray(
    ...     maps @ peaks + rng.normal(size=(12, 12, 40)), {"eV": energy}, ("y", "x", "eV")
    ... )
    >>> result = image.S.separate_palm(n_components=2)
    >>> dict(result.maps.sizes), result.status.item()
    ({'component': 2, 'y': 12, 'x': 12}, 'ok')
    """
    check_positive("sparsity", sparsity)
    check_count("iterations", iterations)
    setup = _setup(data, dims, channels, library, n_components, transform, noise)

    def estimate(ready: Whitened, prior: _Prior, report: Report | None) -> Separated:
        from arpes_ml_plugins.separation.chain import palm_spectra

        found = palm_spectra(
            ready, prior.start, sparsity=sparsity, iterations=iterations, refined=refine
        )
        if report:
            report(iterations, None)
        return found

    return _run(
        "separate_palm", setup, estimate, iterations, nonnegative, device, _seed(rng), progress
    )


def separate_lpalm(
    data: xr.DataArray | xr.Dataset,
    *,
    library: SpectrumLibrary | Mapping[str, xr.DataArray] | None = None,
    n_components: int | None = None,
    network: SeparationNetwork | None = None,
    recipe: str = "robust",
    transform: str = "starlet",
    refine: bool = True,
    match: bool = True,
    noise: float | xr.DataArray | None = None,
    nonnegative: bool | None = None,
    channels: Sequence[str] = (),
    layers: int = 25,
    training_steps: int | None = None,
    training_seed: int = 0,
    device: str = "auto",
    rng: int | torch.Generator | None = None,
    progress: ProgressOption = False,
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.Dataset:
    """Separate a spectral image into components whose spectra are roughly known (LPALM).

    A network of 25 unrolled PALM iterations, trained on mixtures simulated from the library with
    the noise of these data (half a minute, then kept in the user's cache), finds the spectra; they
    are polished by least squares. Then the library is used a second time: all spectra of a
    mixture lie in the space of its strong principal components, whatever the maps, and where that
    space meets a family is the spectrum.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        As for :func:`separate_palm`. Any scale and number of pixels.
    library : SpectrumLibrary, optional
        A family of spectra for each component: from lmfit models with parameter ranges, measured
        references or simulations. It is interpolated to the energies of the data.
    n_components : int, optional
        Instead of a library: start blindly and take families of spectra around what is found. It
        tells components apart by their maps alone; check the result against physics.
    network : SeparationNetwork, optional
        From :func:`~arpes_ml_plugins.train_lpalm`, instead of a library; nothing is trained then.
    recipe : {"robust", "published"}
        ``"published"``: trained as in Appendix A, no whitening, no refinement, no matching.
    transform, noise, nonnegative, channels
        As for :func:`separate_palm`.
    refine : bool
        Polish the spectra by alternating least squares.
    match : bool
        Take spectra where the library meets the signal space of the data.
    layers, training_steps, training_seed
        Of the network that is trained, as for :func:`~arpes_ml_plugins.train_lpalm`.
    device, rng, progress, dims
        As for :func:`separate_palm`.

    Returns
    -------
    xarray.Dataset
        As of :func:`separate_palm`. ``library_distance`` is the sine of the angle between the
        family and the signal space of the data: well below 0.1 where the library holds.

    Raises
    ------
    AxisError, DataError, DataTypeError, ParameterError, DeviceError
        Unusable input; the message says what to do.

    Warns
    -----
    DistributionWarning
        ``status`` is not "ok": a component that the data do not show or that is not like its
        library, more in the data than the components explain, a network that diverged.

    References
    ----------
    Fahes, Kervazo, Bobin and Tupin, "Unrolling PALM for sparse semi-blind source separation"
    (ICLR 2022), eqs. 8-10, Appendix A.

    Examples
    --------
    >>> import arpes_ml_plugins
    >>> rng, energy = np.random.default_rng(0), np.linspace(-1, 1, 40)
    >>> peaks = np.stack([np.exp(-((energy - p) ** 2) / 0.02) for p in (-0.3, 0.2)])
    >>> maps = 100 * (rng.random((12, 12, 2)) < 0.3)
    >>> image = xr.DataArray(
    ...     maps @ peaks + rng.normal(size=(12, 12, 40)), {"eV": energy}, ("y", "x", "eV")
    ... )
    >>> known = {
    ...     name: xr.DataArray(np.exp(-((energy - p) ** 2) / 0.02), {"eV": energy}, "eV")
    ...     for name, p in (("left", -0.25), ("right", 0.25))
    ... }
    >>> library = SpectrumLibrary.from_spectra(known, shift=0.1, count=100)
    >>> result = image.S.separate_lpalm(library=library, training_steps=20, layers=10)
    >>> result.component.values.tolist(), result.status.item()
    (['left', 'right'], 'ok')
    >>> float(result.spectra.sel(component="left").idxmax().round(1))
    -0.3
    """
    check_choice("recipe", recipe, LPALM_RECIPES)
    check_count("layers", layers)
    check_count("training_steps", training_steps, optional=True)
    if network is not None:
        library, recipe = _of_network(network, library), network.recipe
    setup = _setup(data, dims, channels, library, n_components, transform, noise)
    published = recipe == "published"
    if published:
        setup = replace(setup, unweighted=True)
    from arpes_ml_plugins.training.lpalm import RECIPES

    steps = RECIPES[recipe].steps if training_steps is None else training_steps

    def estimate(ready: Whitened, prior: _Prior, report: Report | None) -> Separated:
        from arpes_ml_plugins.separation.chain import learned_spectra

        low, high = _snr_range(ready.snr, published)
        if network is None:
            trained = train_on(
                prior.families,
                recipe=recipe,
                snr=(low, high),
                pixels=PIXELS,
                layers=layers,
                steps=training_steps,
                seed=training_seed,
                report=report,
            )
        else:
            trained = network.network
            if report:
                report(steps, None)
        return learned_spectra(
            ready,
            trained.to(ready.pixels.device),
            pixels=PIXELS if network is None else network.pixels,
            weights=_weights(ready, network),
            fallback=prior.start,
            families=prior.families if match and not published and not prior.blind else None,
            refined=refine and not published,
        )

    return _run("separate_lpalm", setup, estimate, steps, nonnegative, device, _seed(rng), progress)


@dataclass(frozen=True)
class _Setup:
    """What is known before the values of the data are looked at."""

    data: xr.DataArray
    channels: tuple[Hashable, ...]
    library: SpectrumLibrary | None
    components: list[str] | NDArray[np.integer]
    transform: str
    noise: NDArray[np.floating] | None
    unweighted: bool = False


@dataclass(frozen=True)
class _Prior:
    """Knowledge of the spectra, on the usable channels and in units of their noise."""

    start: torch.Tensor  # (k, n)
    families: list[torch.Tensor]
    blind: bool


def _setup(
    data: Any,
    dims: Any,
    channels: Sequence[str],
    library: Any,
    n_components: int | None,
    transform: str,
    noise: float | xr.DataArray | None,
) -> _Setup:
    check_choice("transform", transform, TRANSFORMS)
    check_count("n_components", n_components, optional=True)
    if (library is None) == (n_components is None):
        raise ParameterError(
            "give either library=, what is known of the spectra of the components, or "
            "n_components=, how many there are where nothing is known"
        )
    spectrum = (*dims, *channels)
    for dim in channels:
        if dim not in data.dims or spectrum.count(dim) > 1:
            raise AxisError(
                f"channels names {dim!r}; expected further dimensions of the data beside "
                f"{dims[0]!r}: {', '.join(map(str, (d for d in data.dims if d not in dims)))}"
            )
    size = int(np.prod([data.sizes[dim] for dim in spectrum]))
    pixels = data.size // size
    if library is not None:
        if channels:
            raise ParameterError("a library has spectra along energy only; use n_components=")
        library = _on_axis(as_library(library), data, dims[0])
    components: Any = list(library) if library is not None else np.arange(1, n_components + 1)  # type: ignore[operator]
    for name, have in (("channels", size), ("pixels", pixels)):
        if have < len(components):
            raise DataError(
                f"the data are too small for {len(components)} components: they have {have} "
                f"{name}; expected at least as many"
            )
    return _Setup(
        data, spectrum, library, components, transform, _noise_values(noise, data, spectrum, size)
    )


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
        values = noise.transpose(*spectrum).values.astype(np.float64).reshape(-1)
    else:
        check_positive("noise", noise)
        values = np.full(size, float(noise))
    if len(values) != size or not (np.isfinite(values).all() and (values > 0).all()):
        raise ParameterError(f"noise must be positive in each of the {size} channels")
    return values


def _of_network(network: Any, library: Any) -> SpectrumLibrary:
    if not isinstance(network, SeparationNetwork):
        raise ParameterError(f"network must come from train_lpalm, got {type(network).__name__}")
    if library is not None:
        raise ParameterError("give network= or library=, not both: a network has its own library")
    return network.library


def _seed(rng: Any) -> int:
    return int(rng)  # the call has settled it


def _run(
    method: str,
    setup: _Setup,
    estimate: Estimate,
    steps: int,
    nonnegative: bool | None,
    device: str,
    seed: int,
    progress: ProgressOption,
) -> xr.Dataset:
    def algorithm(cube: Cube) -> dict[str, Any]:
        return _separate(cube, setup, estimate, nonnegative, seed)

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


def _separate(
    cube: Cube, setup: _Setup, estimate: Estimate, nonnegative: bool | None, seed: int
) -> dict[str, Any]:
    import torch

    from arpes_ml_plugins.separation.chain import maps_of, uncertainty
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
    given = None
    if setup.noise is not None:
        given = torch.from_numpy(setup.noise).to(values)
    elif setup.unweighted:
        given = values.new_ones(len(values))
    ready = whiten(
        values, complete, noise=given, transform=setup.transform, nonnegative=nonnegative
    )
    if int(ready.kept.sum()) < n:
        raise DataError(
            f"only {int(ready.kept.sum())} channels change from pixel to pixel, too few for {n} "
            f"components; check the selection"
        )
    prior = _prior(ready, setup, seed)
    found = estimate(ready, prior, cube.report)
    families = prior.families if found.match is not None else None
    sources = maps_of(ready, found.spectra)
    errors = uncertainty(ready, found.spectra, families, seed)
    return _in_units(cube, ready, found, sources, errors, complete, setup)


def _prior(ready: Whitened, setup: _Setup, seed: int) -> _Prior:
    import torch

    from arpes_ml_plugins.separation.blind import blind_start

    n = len(setup.components)
    if setup.library is not None:
        kept = ready.kept.cpu().numpy()
        noise = ready.noise.double().cpu().numpy()
        families = [f.to(ready.pixels) for f in families_of(setup.library, noise, kept)]
        start = torch.stack([family.mean(0) for family in families], 1)
        return _Prior(start, families, blind=False)
    start = blind_start(ready.pixels, n, nonnegative=ready.nonnegative, seed=seed)
    strength = (torch.linalg.pinv(start) @ ready.pixels).square().mean(1)
    start = start[:, strength.argsort(descending=True)]
    draw = np.random.default_rng(seed)
    around = leaky(start.mT.double().cpu().numpy(), 0.0, LEAK, LEAKY, draw)
    rows = torch.from_numpy(around / np.linalg.norm(around, axis=2, keepdims=True))
    return _Prior(start, [*rows.to(start)], blind=True)


def _weights(ready: Whitened, network: SeparationNetwork | None) -> torch.Tensor:
    import torch

    if network is None:
        return torch.ones_like(ready.noise[ready.kept])
    own = torch.from_numpy(network.noise).to(ready.noise)
    ratio = ready.noise / own
    if not bool(ready.kept.all()):
        raise DataError(
            f"{int((~ready.kept).sum())} channels of the data are constant, but the network needs "
            f"all of its channels; give library= instead of network="
        )
    return ratio / ratio.mean()


def _snr_range(snr: float, published: bool) -> tuple[float, float]:
    """Of the training mixtures: around that of the data, on a grid, so that the cache is used."""
    if published:
        return 30.0, 30.0
    centre = min(max(round(snr / SNR_STEP) * SNR_STEP, SNR_LIMITS[0]), SNR_LIMITS[1])
    return centre - SNR_SPAN, centre + SNR_SPAN


def _in_units(
    cube: Cube,
    ready: Whitened,
    found: Separated,
    sources: torch.Tensor,
    errors: tuple[torch.Tensor, torch.Tensor],
    complete: torch.Tensor,
    setup: _Setup,
) -> dict[str, Any]:
    """Spectra of largest value 1, maps in the unit of the data, and what is left."""
    import torch

    values, noise = cube.values, ready.noise[ready.kept][:, None]
    n, space = found.spectra.shape[1], complete.shape
    whole, flat = complete.flatten(), values.flatten(1)
    spectra = values.new_zeros(len(values), n)
    spectra[ready.kept] = found.spectra * noise
    constant = ~ready.kept
    if bool(constant.any()):  # no noise, no weight: what the maps explain of them
        fitted = torch.linalg.lstsq(sources.mT, flat[constant][:, whole].mT).solution
        spectra[constant] = fitted.mT
    top = spectra.gather(0, spectra.abs().argmax(0, keepdim=True))[0]
    top = torch.where(top == 0, 1.0, top)
    maps = values.new_full((n, whole.numel()), float("nan"))
    maps[:, whole] = sources * top[:, None]
    spectra = spectra / top
    _solve_incomplete(maps, cube, spectra, ready)
    spectra_error = torch.zeros_like(spectra)
    spectra_error[ready.kept] = errors[0] * noise / top.abs()
    maps_error = torch.full_like(maps, float("nan"))
    maps_error[:, whole] = errors[1] * top.abs()[:, None]

    order = _order(maps, spectra, setup)
    spectra, maps = spectra[:, order], maps[order]
    model = torch.where(cube.valid.flatten(1), spectra @ maps, float("nan"))
    residual = flat - model
    scaled = (residual[ready.kept] / noise).square()
    freedom = (scaled.isfinite().sum(0) - n).clamp(min=1)
    chi2 = torch.where(maps[0].isnan(), float("nan"), scaled.nansum(0) / freedom)
    distance = torch.full_like(top, float("nan"))
    if found.match is not None:
        distance = found.match.distance
    return {
        "spectra": spectra.mT,
        "spectra_stderr": spectra_error[:, order].mT,
        "maps": maps.reshape(n, *space),
        "maps_stderr": maps_error[order].reshape(n, *space),
        "reconstruction": model,
        "residual": residual,
        "residual_chi2": chi2,
        "library_distance": distance[order],
        "status": _status(found, float(chi2.nanmean()), ready, setup),
    }


def _solve_incomplete(
    maps: torch.Tensor, cube: Cube, spectra: torch.Tensor, ready: Whitened
) -> None:
    """Maps of pixels with some values missing, from those that they have; in place."""
    import torch

    from arpes_ml_plugins.separation.refine import nonnegative_sources

    values, valid = cube.values.flatten(1), cube.valid.flatten(1)
    noise = ready.noise
    for pixel in maps[0].isnan().nonzero()[:, 0].tolist():
        usable = valid[:, pixel] & ready.kept
        if int(usable.sum()) < spectra.shape[1]:
            # Too few values for a fit: nothing is known of this pixel but where it is measured.
            if not bool(valid[:, pixel].any()):
                continue
            usable = valid[:, pixel]
        weight = 1 / torch.where(noise > 0, noise, 1.0)[usable, None]
        left, right = spectra[usable] * weight, values[usable, pixel, None] * weight
        if ready.nonnegative:
            maps[:, pixel] = nonnegative_sources(right, left)[:, 0]
        else:
            maps[:, pixel] = (torch.linalg.pinv(left) @ right)[:, 0]


def _order(maps: torch.Tensor, spectra: torch.Tensor, setup: _Setup) -> list[int]:
    """The library's order, or falling intensity."""
    if setup.library is not None:
        return list(range(len(maps)))
    strength = maps.square().nansum(1) * spectra.square().sum(0)
    return [int(i) for i in strength.argsort(descending=True)]


def _status(found: Separated, chi2: float, ready: Whitened, setup: _Setup) -> str:
    notes = []
    if found.fallback:
        notes.append("the iteration diverged; alternating least squares was used instead")
    if found.match is not None:
        names = [str(name) for name in setup.components]
        absent = [name for name, p in zip(names, found.match.present, strict=True) if not p]
        if absent:
            notes.append(
                f"the data do not show {', '.join(map(repr, absent))}: the library's nearest "
                f"spectrum stands in"
            )
    if chi2 > TOO_MUCH:
        notes.append(
            f"chi^2 a value is {chi2:.2g}: the components do not explain the data within their "
            f"noise (more components, other families, or more noise than measured)"
        )
    dead = int((~ready.kept).sum())
    if dead:
        notes.append(f"{dead} constant channels were left out")
    return "; ".join(notes) or "ok"
