"""``separate_palm`` and ``separate_lpalm``: spectral images into component spectra and maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import xarray as xr

from arpes_ml_plugins.errors import DataError, ParameterError
from arpes_ml_plugins.labelled.progress import ProgressOption, Report
from arpes_ml_plugins.methods.separation_run import prior_of, run, seed_of, setup_of
from arpes_ml_plugins.networks.lpalm import (
    LPALM_RECIPES,
    PIXELS,
    SeparationNetwork,
    train_on,
)
from arpes_ml_plugins.parameters import check_choice, check_count, check_positive
from arpes_ml_plugins.spectrum_library import SpectrumLibrary

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.separation.chain import Separated
    from arpes_ml_plugins.separation.whitened import Whitened

__all__ = ["separate_lpalm", "separate_palm"]

SNR_STEP, SNR_SPAN = 5.0, 5.0  # dB: networks are trained for ranges on a grid, not for one value
SNR_LIMITS = (0.0, 60.0)


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
    >>> import numpy as np, xarray as xr, arpes_ml_plugins
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
    _one_of(library, n_components)
    setup = setup_of(data, dims, channels, library, n_components, transform, noise, nonnegative)

    seed = seed_of(rng)

    def estimate(ready: Whitened, report: Report | None) -> Separated:
        from arpes_ml_plugins.separation.chain import palm_spectra

        found = palm_spectra(
            ready,
            prior_of(ready, setup, seed).start,
            sparsity=sparsity,
            iterations=iterations,
            refined=refine,
        )
        if report:
            report(iterations, None)
        return found

    return run("separate_palm", setup, estimate, iterations, device, seed, progress)


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
        ``"published"``: trained as in Appendix A, one noise for all
        channels, no refinement, no matching, any sign.
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
    >>> import numpy as np, xarray as xr, arpes_ml_plugins
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
    _one_of(library, n_components)
    setup = setup_of(data, dims, channels, library, n_components, transform, noise, nonnegative)
    published = recipe == "published"
    if published:
        setup = replace(setup, common_noise=True)
    from arpes_ml_plugins.training.lpalm import RECIPES

    steps = RECIPES[recipe].steps if training_steps is None else training_steps

    seed = seed_of(rng)

    def estimate(ready: Whitened, report: Report | None) -> Separated:
        from arpes_ml_plugins.separation.chain import learned_spectra

        prior = prior_of(ready, setup, seed)
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

    return run("separate_lpalm", setup, estimate, steps, device, seed, progress)


def _one_of(library: Any, n_components: int | None) -> None:
    if (library is None) == (n_components is None):
        raise ParameterError(
            "give either library=, what is known of the spectra of the components, or "
            "n_components=, how many there are where nothing is known"
        )


def _of_network(network: Any, library: Any) -> SpectrumLibrary:
    if not isinstance(network, SeparationNetwork):
        raise ParameterError(f"network must come from train_lpalm, got {type(network).__name__}")
    if library is not None:
        raise ParameterError("give network= or library=, not both: a network has its own library")
    return network.library


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
