"""``separate_sgmca``: separate spectral images some or all of whose spectra are known roughly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import xarray as xr

from arpes_ml_plugins.errors import AxisError, ParameterError
from arpes_ml_plugins.labelled.progress import ProgressOption
from arpes_ml_plugins.methods.separation_input import (
    SEPARATION,
    Setup,
    own_manifolds,
    seed_of,
    setup_of,
)
from arpes_ml_plugins.methods.separation_run import run
from arpes_ml_plugins.methods.shift_run import SHIFT, check_shift
from arpes_ml_plugins.networks.iae import RECIPE_NAMES, SpectrumManifolds, manifolds_of
from arpes_ml_plugins.parameters import check_choice, check_count, check_flag, documented
from arpes_ml_plugins.report import Report
from arpes_ml_plugins.spectrum_library import SpectrumLibrary

if TYPE_CHECKING:
    import numpy as np
    import torch

    from arpes_ml_plugins.separation.projection import Manifold
    from arpes_ml_plugins.separation.whiten import Whitened

__all__ = ["separate_sgmca"]

PUBLISHED_SCALES = 2  # of the starlet (Carloni Gertosio et al., Section 4)


@documented(**SEPARATION, shift=SHIFT)
def separate_sgmca(
    data: xr.DataArray | xr.Dataset,
    *,
    library: SpectrumLibrary
    | SpectrumManifolds
    | Mapping[str, xr.DataArray]
    | Mapping[str, Manifold]
    | Sequence[Manifold],
    n_components: int | None = None,
    manifold: str | None = None,
    recipe: str = "robust",
    transform: str = "starlet",
    match: bool = True,
    refine: bool = True,
    noise: float | xr.DataArray | None = None,
    nonnegative: bool | None = None,
    shift: str | bool | float = "auto",
    channels: Sequence[str] | None = None,
    mask: xr.DataArray | None = None,
    training_steps: int | None = None,
    training_seed: int = 0,
    device: str = "auto",
    rng: int | np.random.Generator | torch.Generator | None = None,
    progress: ProgressOption = "auto",
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.Dataset:
    """Separate a spectral image whose spectra lie on known manifolds, some or all (sGMCA).

    Alternates between sparse maps and spectra, and projects each spectrum whose manifold is known
    onto it [1]_. A manifold holds all spectra that a component may have. Which component belongs to
    which manifold is determined from the data. Nothing is trained, unless manifolds are
    autoencoders.

    Parameters
    ----------
    {data}
    library : SpectrumLibrary, SpectrumManifolds, or mapping or sequence of Manifold
        What is known of the spectra: a family of spectra for each known component; or the
        manifolds that :func:`~arpes_ml_plugins.train_iae` trained on such a library; or objects of
        your own class, derived from ``arpes_ml_plugins.separation.manifolds.Manifold``, by name or
        in a list, on the energies of the data. The old name ``manifolds`` works until version 0.4,
        with a FutureWarning.
    n_components : int, optional
        Number of all components. Those beyond the library are free: their spectra are not
        constrained. Default: no free components.
    manifold : {"simplex", "nearest", "iae"}, optional
        How to interpolate between the spectra of a family. ``"simplex"``: mixtures of the six
        nearest. ``"nearest"``: not at all, the nearest spectrum is taken. ``"iae"``: by an
        interpolatory autoencoder, which is trained in about 15 s per family and kept in the cache.
        Default: ``"simplex"``, or ``"iae"`` for the published recipe and trained autoencoders.
    recipe : {"robust", "published"}
        ``"robust"``: before the first projection, subtract from each column the interference that
        Algorithm 2 of [1]_ finds in it (Algorithm 1 projects the column itself); thresholds are
        three standard deviations of the measured noise. ``"published"``: the algorithm of [1]_
        alone, with autoencoders, two wavelet scales, one noise for all channels, thresholds from
        the sources themselves, no matching, any sign. The maps are the algorithm's own sources:
        thresholded details, and the coarse scale by least squares. Differences from the paper: the
        spectra of all components have length 1 (their sources take the scale); both signs of a
        column are tried for a manifold; the projection onto autoencoders is by Levenberg-Marquardt
        instead of Adam; and a cycle, which the paper describes, ends the iteration.
    {transform}
    match : bool
        Finally replace known spectra by the point where their manifold meets the signal space of
        the data. This is exact also for weak components and correlated maps, and leaves the
        manifold only if noise does not explain the distance. If False, keep the spectra of sGMCA,
        which are always on the manifold.
    refine : bool
        Whether to polish free spectra by alternating least squares.
    {noise}
    {nonnegative}
    {shift}
    {channels}
    {mask}
    training_steps, training_seed
        Steps and seed of the training of autoencoders, as in
        :func:`~arpes_ml_plugins.train_iae`.
    {device}
    {rng}
    {progress}
    {dims}

    Returns
    -------
    xarray.Dataset
        {parts}

        Known components come first, in the order of the library; free ones are named "free 1", ...
        in the order of decreasing intensity.

    Raises
    ------
    {raises}

    Warns
    -----
    DistributionWarning
        ``status`` is not "ok", as in :func:`separate_lpalm`.

    References
    ----------
    .. [1] Carloni Gertosio, Bobin and Acero, "Semi-blind source separation with learned
       constraints", Signal Process. 202, 108776 (2023), Algorithms 1 and 2.

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
    >>> result = image.S.separate_sgmca(library=library, n_components=2)
    >>> result.component.values.tolist(), result.status.item()
    (['left', 'free 1'], 'ok')
    >>> result.spectra.idxmax("eV").round(1).values.tolist()
    [-0.3, 0.2]
    """
    from arpes_ml_plugins.separation.solvers import Sgmca

    check_choice("recipe", recipe, RECIPE_NAMES)
    check_count("training_steps", training_steps, optional=True)
    check_count("training_seed", training_seed, least=0)
    check_flag("match", match)
    check_flag("refine", refine)
    published = recipe == "published"
    if isinstance(library, Mapping) and "networks" in library:
        library = SpectrumManifolds.from_record(library)  # in a replay
    own = own_manifolds(library)
    trained = library if isinstance(library, SpectrumManifolds) else None
    kind = _kind(manifold, published, trained, own)
    setup = setup_of(
        data,
        dims,
        channels,
        n_components,
        transform,
        noise,
        nonnegative,
        library=None if own else _families(library),
        manifolds=own,
        mask=mask,
        each_value=not published,
    )
    if trained is not None and setup.library is not trained.library:
        raise AxisError(
            f"the manifolds were trained on other energies than those of the data along "
            f"{dims[0]!r}; train them on library.on(data.{dims[0]})"  # type: ignore[index]
        )
    check_shift(shift, setup)
    setup = replace(setup, shift=False if published and shift == "auto" else shift)
    if published:
        setup = replace(setup, common_noise=True, scales=PUBLISHED_SCALES)
    training = {"recipe": recipe, "steps": training_steps, "seed": training_seed}
    solver = Sgmca(
        partial(_seen, own=own)
        if own
        else partial(_made, setup=setup, kind=kind, trained=trained, training=training),
        len(setup.components),
        match=match,
        refine=refine,
        published=published,
    )
    steps = _training(kind, recipe, training_steps, trained) * setup.known
    return run("separate_sgmca", setup, solver, steps + 1, device, seed_of(rng), progress)


def _families(library: Any) -> Any:
    if isinstance(library, SpectrumManifolds):
        return library.library
    if library is None:
        raise ParameterError("library must be a SpectrumLibrary, got NoneType")
    return library


def _seen(data: Whitened, report: Report | None, *, own: Mapping[str, Manifold]) -> list[Manifold]:
    """The user's manifolds, in units of the noise."""
    return [manifold.weighted(data.weights) for manifold in own.values()]


def _made(
    data: Whitened,
    report: Report | None,
    *,
    setup: Setup,
    kind: str,
    trained: SpectrumManifolds | None,
    training: dict[str, Any],
) -> list[Manifold]:
    """Manifolds of the library's families, in units of the noise."""
    assert setup.library is not None
    made = manifolds_of(setup.library, kind, trained, report=report, **training)
    return [manifold.weighted(data.weights) for manifold in made]


def _kind(
    manifold: str | None,
    published: bool,
    trained: SpectrumManifolds | None,
    own: Mapping[str, Manifold] | None,
) -> str:
    """How to interpolate between the spectra of a family."""
    from arpes_ml_plugins.separation.manifolds import MANIFOLDS

    if own is not None:
        if manifold is not None:
            raise ParameterError(
                f"manifold is an option for families of spectra, but library holds Manifold "
                f"objects, which define it themselves; got manifold={manifold!r}; leave it out"
            )
        return "own"
    if trained is not None:
        if manifold not in (None, "iae"):
            raise ParameterError(
                f'library holds trained autoencoders, so manifold must be "iae", got '
                f"{manifold!r}; for another kind, pass the families that they were trained on: "
                f"library=trained.library"
            )
        return "iae"
    if manifold is None:
        return "iae" if published else "simplex"
    check_choice("manifold", manifold, tuple(MANIFOLDS))
    return manifold


def _training(kind: str, recipe: str, steps: int | None, trained: SpectrumManifolds | None) -> int:
    """Training steps per component, for the progress bar."""
    if kind != "iae" or trained is not None:
        return 0
    from arpes_ml_plugins.training.autoencoder import AUTOENCODERS

    return AUTOENCODERS[recipe].steps if steps is None else steps
