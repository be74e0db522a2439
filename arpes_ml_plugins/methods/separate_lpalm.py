"""``separate_lpalm``: separate spectral images by a learned iteration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import xarray as xr

from arpes_ml_plugins.errors import DataError, ParameterError
from arpes_ml_plugins.labelled.progress import ProgressOption
from arpes_ml_plugins.methods.separation_input import (
    SEPARATION,
    check_one_of,
    prior_of,
    seed_of,
    setup_of,
)
from arpes_ml_plugins.methods.separation_run import run
from arpes_ml_plugins.methods.shift_run import SHIFT, check_shift
from arpes_ml_plugins.networks.lpalm import (
    LPALM_RECIPES,
    PIXELS,
    SeparationNetwork,
    train_on,
)
from arpes_ml_plugins.parameters import check_choice, check_count, check_flag, documented
from arpes_ml_plugins.report import Report
from arpes_ml_plugins.spectrum_library import SpectrumLibrary

if TYPE_CHECKING:
    import numpy as np
    import torch

    from arpes_ml_plugins.separation.solvers import Prior, Trained
    from arpes_ml_plugins.separation.whiten import Whitened

__all__ = ["separate_lpalm"]

SNR_STEP, SNR_SPAN = 5.0, 5.0  # dB: networks are trained for ranges on a grid, not for one value
SNR_LIMITS = (0.0, 60.0)
PUBLISHED_SNR = (30.0, 30.0)


@documented(**SEPARATION, shift=SHIFT)
def separate_lpalm(
    data: xr.DataArray | xr.Dataset,
    *,
    library: SpectrumLibrary | Mapping[str, xr.DataArray] | None = None,
    n_components: int | None = None,
    network: SeparationNetwork | Mapping[str, Any] | None = None,
    recipe: str | None = None,
    transform: str = "starlet",
    refine: bool = True,
    match: bool = True,
    noise: float | xr.DataArray | None = None,
    nonnegative: bool | None = None,
    shift: str | bool | float = "auto",
    channels: Sequence[str] | None = None,
    mask: xr.DataArray | None = None,
    layers: int = 25,
    training_steps: int | None = None,
    training_seed: int = 0,
    device: str = "auto",
    rng: int | np.random.Generator | torch.Generator | None = None,
    progress: ProgressOption = "auto",
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.Dataset:
    """Separate a spectral image into components whose spectra are roughly known (LPALM).

    A network of 25 unrolled PALM iterations [1]_ finds the spectra. It is trained on mixtures
    simulated from the library with the noise of these data (half a minute, then kept in the user's
    cache). The spectra are polished by least squares. Then the library is used a second time: all
    spectra of a mixture lie in the space of its strong principal components, whatever the maps, and
    the spectrum of a component is the point where its family meets that space.

    Parameters
    ----------
    {data}
    library : SpectrumLibrary, optional
        A family of spectra for each component: from lmfit models with parameter ranges, measured
        references or simulations. It is interpolated to the energies of the data.
    n_components : int, optional
        Number of components, instead of a library: separate blindly first, and take families
        around the spectra found. Components are then told apart by their maps alone; check the
        result against physics.
    network : SeparationNetwork, optional
        A network from :func:`~arpes_ml_plugins.train_lpalm`, instead of a library; nothing is
        trained then.
    recipe : {"robust", "published"}, optional
        Default: ``"robust"``, or that of the network.
        ``"published"``: the algorithm of [1]_ alone, trained as in its Appendix A, with one noise
        for all channels, any sign, no refinement and no matching. The maps are the network's own
        sources for the wavelet details, completed by the coarse scale with the pseudo-inverse
        of the spectra. Differences from the paper: data are first brought to the scale and number
        of pixels that the network was trained for, because it is unusable at any other;
        ``transform`` has as many scales as the image allows; mixtures are drawn anew at every
        training step, where the paper goes 100 times through 750 of them; and if the network
        diverges, the mean of each family is shown instead, and ``status`` reports it.
    {transform}
    refine : bool
        Whether to polish the spectra by alternating least squares.
    match : bool
        Finally replace each spectrum by the point where its family meets the signal space of the
        data, if spectra are polished.
    {noise}
    {nonnegative}
    {shift}
    {channels}
    {mask}
    layers, training_steps, training_seed
        Depth, steps and seed of the training of the network, as in
        :func:`~arpes_ml_plugins.train_lpalm`.
    {device}
    {rng}
    {progress}
    {dims}

    Returns
    -------
    xarray.Dataset
        {parts}

        Components come in the order of the library, or of decreasing intensity.

    Raises
    ------
    {raises}

    Warns
    -----
    DistributionWarning
        ``status`` is not "ok": a component was not detected or is unlike its family, the components
        do not explain the data within their noise, or the network diverged.

    References
    ----------
    .. [1] Fahes, Kervazo, Bobin and Tupin, "Unrolling PALM for sparse semi-blind source
       separation" (ICLR 2022), eqs. 8-10, Appendix A.

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
    check_choice("recipe", recipe, (None, *LPALM_RECIPES))
    check_count("layers", layers)
    check_count("training_steps", training_steps, optional=True)
    check_count("training_seed", training_seed, least=0)
    check_flag("refine", refine)
    check_flag("match", match)
    if isinstance(network, Mapping):  # in a replay
        network = SeparationNetwork.from_record(network)
    if network is not None:
        library = _of_network(network, library)
        if recipe not in (None, network.recipe):
            raise ParameterError(
                f"network was trained by the recipe {network.recipe!r}, got recipe={recipe!r}; "
                f"leave it out"
            )
        recipe = network.recipe
    recipe = recipe or LPALM_RECIPES[0]
    check_one_of(library, n_components)
    setup = setup_of(
        data,
        dims,
        channels,
        n_components,
        transform,
        noise,
        nonnegative,
        library=library,
        mask=mask,
        each_value=recipe != "published",
    )
    published = recipe == "published"
    check_shift(shift, setup)
    setup = replace(setup, shift=False if published and shift == "auto" else shift)
    if published:
        setup = replace(setup, common_noise=True)
    from arpes_ml_plugins.separation.solvers import Lpalm
    from arpes_ml_plugins.training.lpalm import RECIPES

    seed = seed_of(rng)
    steps = RECIPES[recipe].steps if training_steps is None else training_steps
    training = {
        "recipe": recipe,
        "layers": layers,
        "steps": training_steps,
        "seed": training_seed,
    }
    solver = Lpalm(
        partial(prior_of, setup=setup, seed=seed),
        partial(_trained, training=training)
        if network is None
        else partial(_given, network=network, steps=steps),
        match=match,
        refine=refine,
        published=published,
    )
    return run("separate_lpalm", setup, solver, steps, device, seed, progress)


def _trained(
    data: Whitened, prior: Prior, report: Report | None, *, training: dict[str, Any]
) -> Trained:
    """A network trained for these families and the noise of the data, or taken from the cache."""
    import torch

    from arpes_ml_plugins.separation.solvers import Trained

    snr = _snr_range(data.snr, training["recipe"] == "published")
    network = train_on(prior.families, snr=snr, pixels=PIXELS, report=report, **training)
    weights = torch.ones_like(data.noise[data.kept])
    return Trained(network.to(data.pixels.device), PIXELS, weights)


def _given(
    data: Whitened, prior: Prior, report: Report | None, *, network: SeparationNetwork, steps: int
) -> Trained:
    """The user's network, and the ratio of the data's noise to that it was trained with."""
    import torch

    from arpes_ml_plugins.separation.solvers import Trained

    if report:
        report(steps, None)
    if not bool(data.kept.all()):
        raise DataError(
            f"{int((~data.kept).sum())} channels of the data are constant, but the network needs "
            f"all of its channels; give library= instead of network="
        )
    ratio = data.noise / torch.from_numpy(network.noise).to(data.noise)
    trained = network.network.to(data.pixels.device)
    return Trained(trained, network.pixels, ratio / ratio.mean())


def _of_network(network: Any, library: Any) -> SpectrumLibrary:
    if not isinstance(network, SeparationNetwork):
        raise ParameterError(f"network must come from train_lpalm, got {type(network).__name__}")
    if library is not None:
        raise ParameterError("give network= or library=, not both: a network has its own library")
    return network.library


def _snr_range(snr: float, published: bool) -> tuple[float, float]:
    """Range for training mixtures: around that of the data, on a grid, for use of the cache."""
    if published:
        return PUBLISHED_SNR
    centre = min(max(round(snr / SNR_STEP) * SNR_STEP, SNR_LIMITS[0]), SNR_LIMITS[1])
    return centre - SNR_SPAN, centre + SNR_SPAN
