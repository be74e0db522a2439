"""``separate_sgmca`` with what is known of spectra, ``separate_gmca``, ``separate_nmf`` without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import AxisError, DataError, ParameterError
from arpes_ml_plugins.labelled.progress import ProgressOption, Report
from arpes_ml_plugins.methods.separation_run import run, seed_of, setup_of
from arpes_ml_plugins.networks.iae import (
    MANIFOLDS,
    RECIPE_NAMES,
    SpectrumManifolds,
    manifolds_of,
)
from arpes_ml_plugins.networks.lpalm import as_library
from arpes_ml_plugins.parameters import check_choice, check_count
from arpes_ml_plugins.spectrum_library import SpectrumLibrary

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.separation.chain import Separated
    from arpes_ml_plugins.separation.whitened import Whitened

__all__ = ["separate_gmca", "separate_nmf", "separate_sgmca"]

PUBLISHED_SCALES = 2  # of the starlet (paper, Section 4)


def separate_sgmca(
    data: xr.DataArray | xr.Dataset,
    *,
    manifolds: SpectrumLibrary | SpectrumManifolds | Mapping[str, xr.DataArray],
    n_components: int | None = None,
    manifold: str | None = None,
    recipe: str = "robust",
    transform: str = "starlet",
    match: bool = True,
    refine: bool = True,
    noise: float | xr.DataArray | None = None,
    nonnegative: bool | None = None,
    training_steps: int | None = None,
    training_seed: int = 0,
    device: str = "auto",
    rng: int | torch.Generator | None = None,
    progress: ProgressOption = False,
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.Dataset:
    """Separate a spectral image whose spectra lie on known manifolds, some or all (sGMCA).

    Alternates between sparse maps and spectra, and puts each spectrum that a manifold is known for
    back onto it. Which component belongs to which manifold is found out. Nothing is trained, unless
    manifolds are autoencoders.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        As for :func:`separate_palm`.
    manifolds : SpectrumLibrary or SpectrumManifolds
        A family of spectra for each known component, or what :func:`~arpes_ml_plugins.train_iae`
        made of one.
    n_components : int, optional
        In all. Those beyond the manifolds are free: nothing is known of their spectra. Default: no
        free ones.
    manifold : {"simplex", "nearest", "iae"}, optional
        What lies between the spectra of a family: mixtures of the six nearest; nothing; or what an
        interpolatory autoencoder makes of them, trained in some 15 s a family and kept. The first
        is the default.
    recipe : {"robust", "published"}
        ``"published"``: the paper's algorithm alone, with autoencoders, two wavelet scales, one
        noise for all channels, thresholds from the sources themselves, no matching, any sign.
    transform, noise, nonnegative
        As for :func:`separate_palm`.
    match : bool
        Take known spectra at last where their manifold meets the signal space of the data: exact
        also for weak components and correlated maps, and off the manifold only where noise does
        not explain the distance. Else those of sGMCA stay, which are always on the manifold.
    refine : bool
        Polish free spectra by alternating least squares.
    training_steps, training_seed
        Of autoencoders that are trained, as for :func:`~arpes_ml_plugins.train_iae`.
    device, rng, progress, dims
        As for :func:`separate_palm`.

    Returns
    -------
    xarray.Dataset
        As of :func:`separate_lpalm`. Known components come first, in the order of the library;
        free ones are named "free 1", ... by falling intensity.

    Raises
    ------
    AxisError, DataError, DataTypeError, ParameterError, DeviceError
        Unusable input; the message says what to do.

    Warns
    -----
    DistributionWarning
        ``status`` is not "ok", as for :func:`separate_lpalm`.

    References
    ----------
    Carloni Gertosio, Bobin and Acero, "Semi-blind source separation with learned constraints",
    Signal Process. 202, 108776 (2023), Algorithms 1 and 2.

    Examples
    --------
    >>> import numpy as np, xarray as xr, arpes_ml_plugins
    >>> rng, energy = np.random.default_rng(0), np.linspace(-1, 1, 40)
    >>> peaks = np.stack([np.exp(-((energy - p) ** 2) / 0.02) for p in (-0.3, 0.2)])
    >>> maps = 100 * (rng.random((24, 24, 2)) < 0.3)
    >>> image = xr.DataArray(
    ...     maps @ peaks + rng.normal(size=(24, 24, 40)), {"eV": energy}, ("y", "x", "eV")
    ... )
    >>> peak = xr.DataArray(np.exp(-((energy + 0.25) ** 2) / 0.02), {"eV": energy}, "eV")
    >>> library = SpectrumLibrary.from_spectra({"left": peak}, shift=0.1)
    >>> result = image.S.separate_sgmca(manifolds=library, n_components=2)
    >>> result.component.values.tolist(), result.status.item()
    (['left', 'free 1'], 'ok')
    >>> result.spectra.idxmax("eV").round(1).values.tolist()
    [-0.3, 0.2]
    """
    check_choice("recipe", recipe, RECIPE_NAMES)
    check_count("training_steps", training_steps, optional=True)
    published = recipe == "published"
    trained = manifolds if isinstance(manifolds, SpectrumManifolds) else None
    kind = _kind(manifold, published, trained)
    library = manifolds.library if isinstance(manifolds, SpectrumManifolds) else manifolds
    setup = setup_of(
        data, dims, (), as_library(library), n_components, transform, noise, nonnegative
    )
    if trained is not None and setup.library is not trained.library:
        raise AxisError(
            f"the manifolds were trained on other energies than those of the data along "
            f"{dims[0]!r}; train them on library.on(data.{dims[0]})"  # type: ignore[index]
        )
    if published:
        setup = replace(setup, common_noise=True, scales=PUBLISHED_SCALES)
    steps = _training(kind, recipe, training_steps, trained) * len(setup.library or ())
    count = len(setup.components)

    def estimate(ready: Whitened, report: Report | None) -> Separated:
        from arpes_ml_plugins.separation.semi_blind import sgmca_spectra

        assert setup.library is not None
        known = manifolds_of(
            setup.library,
            kind,
            trained,
            ready.noise,
            recipe=recipe,
            steps=training_steps,
            seed=training_seed,
            report=report,
        )
        found = sgmca_spectra(
            ready,
            known,
            count,
            match=match and not published,
            refined=refine and not published,
            published=published,
        )
        if report:
            report(1, None)
        return found

    return run("separate_sgmca", setup, estimate, steps + 1, device, seed_of(rng), progress)


def _kind(manifold: str | None, published: bool, trained: SpectrumManifolds | None) -> str:
    if trained is not None:
        if manifold not in (None, "iae"):
            raise ParameterError(
                f'manifolds are trained autoencoders, so manifold must be "iae", got {manifold!r}; '
                f"give their library instead: manifolds.library"
            )
        return "iae"
    if manifold is None:
        return "iae" if published else "simplex"
    check_choice("manifold", manifold, MANIFOLDS)
    return manifold


def _training(kind: str, recipe: str, steps: int | None, trained: SpectrumManifolds | None) -> int:
    """Steps of training a component, for the progress bar."""
    if kind != "iae" or trained is not None:
        return 0
    from arpes_ml_plugins.training.autoencoder import AUTOENCODERS

    return AUTOENCODERS[recipe].steps if steps is None else steps


def separate_gmca(
    data: xr.DataArray | xr.Dataset,
    *,
    n_components: int,
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
    """Separate a spectral image blindly, by the sparsity of its maps in wavelets (GMCA).

    Right for maps of grains, flakes and edges, whose details tell components apart. Smooth maps
    have no details: there :func:`separate_nmf` is the better start.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        As for :func:`separate_palm`.
    n_components : int
        Number of components: see :func:`choose_components`.
    transform : {"starlet", "none"}
        Look for spectra in the wavelet details of the maps along the last two spatial axes, or in
        the pixels themselves: right for pixels in no order.
    refine : bool
        Polish spectra by alternating least squares on coefficients and pixels, non-negative where
        the data are.
    noise, nonnegative, channels, device, rng, progress, dims
        As for :func:`separate_palm`.

    Returns
    -------
    xarray.Dataset
        As of :func:`separate_palm`; components by falling intensity.

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
    Bobin, Starck, Fadili and Moudden, IEEE Trans. Image Process. 16, 2662 (2007); thresholds as
    in Carloni Gertosio, Bobin and Acero, Signal Process. 202, 108776 (2023), Section 3.3.

    Examples
    --------
    >>> import numpy as np, xarray as xr, arpes_ml_plugins
    >>> rng, energy = np.random.default_rng(0), np.linspace(-1, 1, 40)
    >>> peaks = np.stack([np.exp(-((energy - p) ** 2) / 0.02) for p in (-0.3, 0.2)])
    >>> maps = 100 * (rng.random((24, 24, 2)) < 0.3)
    >>> image = xr.DataArray(
    ...     maps @ peaks + rng.normal(size=(24, 24, 40)), {"eV": energy}, ("y", "x", "eV")
    ... )
    >>> result = image.S.separate_gmca(n_components=2)
    >>> sorted(result.spectra.idxmax("eV").round(1).values.tolist())
    [-0.3, 0.2]
    """
    check_count("n_components", n_components)
    setup = setup_of(data, dims, channels, None, n_components, transform, noise, nonnegative)

    def estimate(ready: Whitened, report: Report | None) -> Separated:
        from arpes_ml_plugins.separation.semi_blind import gmca_spectra

        found = gmca_spectra(ready, n_components, refined=refine)
        if report:
            report(1, None)
        return found

    return run("separate_gmca", setup, estimate, 1, device, seed_of(rng), progress)


def separate_nmf(
    data: xr.DataArray | xr.Dataset,
    *,
    n_components: int,
    sparsity: float = 0.0,
    noise: float | xr.DataArray | None = None,
    channels: Sequence[str] = (),
    device: str = "auto",
    rng: int | torch.Generator | None = None,
    progress: ProgressOption = False,
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.Dataset:
    """Separate a spectral image blindly into non-negative spectra and maps (NMF).

    scikit-learn's factorisation (coordinate descent, HALS) of the data over their noise, from the
    principal components.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        As for :func:`separate_palm`, not negative beyond noise.
    n_components : int
        Number of components: see :func:`choose_components`.
    sparsity : float
        l1 penalty of maps and spectra, in units of the noise. Larger values give emptier maps.
    noise, channels, device, rng, progress, dims
        As for :func:`separate_palm`.

    Returns
    -------
    xarray.Dataset
        As of :func:`separate_palm`; components by falling intensity.

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
    Gillis and Glineur, Neural Comput. 24, 1085 (2012).

    Examples
    --------
    >>> import numpy as np, xarray as xr, arpes_ml_plugins
    >>> rng, energy = np.random.default_rng(0), np.linspace(-1, 1, 40)
    >>> peaks = np.stack([np.exp(-((energy - p) ** 2) / 0.02) for p in (-0.3, 0.2)])
    >>> maps = 100 * (rng.random((12, 12, 2)) < 0.3)
    >>> image = xr.DataArray(
    ...     maps @ peaks + rng.normal(size=(12, 12, 40)), {"eV": energy}, ("y", "x", "eV")
    ... )
    >>> result = image.S.separate_nmf(n_components=2)
    >>> sorted(result.spectra.idxmax("eV").round(1).values.tolist())
    [-0.3, 0.2]
    """
    check_count("n_components", n_components)
    number = isinstance(sparsity, (int, float, np.number)) and not isinstance(sparsity, bool)
    if not number or not np.isfinite(sparsity) or sparsity < 0:
        raise ParameterError(f"sparsity must be a number of at least 0, got {sparsity!r}")
    setup = setup_of(data, dims, channels, None, n_components, "none", noise)
    seed = seed_of(rng)

    def estimate(ready: Whitened, report: Report | None) -> Separated:
        from arpes_ml_plugins.separation.semi_blind import nmf_spectra

        if not ready.nonnegative:
            raise DataError(
                "the data are negative beyond their noise, which this factorisation cannot "
                "describe; use separate_gmca, or do not subtract a background beforehand"
            )
        found = nmf_spectra(ready, n_components, sparsity=sparsity, seed=seed)
        if report:
            report(1, None)
        return found

    return run("separate_nmf", setup, estimate, 1, device, seed, progress)
