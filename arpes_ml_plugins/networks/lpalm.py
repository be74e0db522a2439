"""``train_lpalm``: train networks for source separation, and keep them in the cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import AxisError, ParameterError
from arpes_ml_plugins.labelled.progress import ProgressOption, reporter
from arpes_ml_plugins.networks import cache
from arpes_ml_plugins.networks.families import as_library, families_of
from arpes_ml_plugins.networks.numbers import numbers_of, with_numbers
from arpes_ml_plugins.parameters import check_choice, check_count
from arpes_ml_plugins.report import Report
from arpes_ml_plugins.spectrum_library import SpectrumLibrary

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.separation.lpalm import UnrolledSeparation

__all__ = [
    "LPALM_RECIPES",
    "SeparationNetwork",
    "cached_lpalm",
    "train_lpalm",
    "train_on",
]

LPALM_RECIPES = ("robust", "published")
PIXELS = 500


@dataclass(frozen=True)
class SeparationNetwork:
    """A trained LPALM network with its library and noise."""

    network: UnrolledSeparation
    library: SpectrumLibrary
    noise: np.ndarray
    """``(m,)``: noise of the channels, by which spectra were divided, up to a factor."""
    pixels: int
    recipe: str

    def recorded(self) -> dict[str, Any]:
        """All that defines the network, for the record of results obtained with it."""
        content = {field.name: getattr(self, field.name) for field in fields(self)}
        return content | {"network": numbers_of(self.network)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> SeparationNetwork:
        """The network that was :meth:`recorded`."""
        from arpes_ml_plugins.separation.lpalm import UnrolledSeparation

        layers, channels, sources = record["network"]["weight"].shape
        network = with_numbers(UnrolledSeparation(channels, sources, layers), record["network"])
        return cls(**{**record, "network": network, "library": as_library(record["library"])})

    def __repr__(self) -> str:
        return f"SeparationNetwork({self.recipe}, {self.network.layers} layers, {self.library!r})"


def train_lpalm(
    library: SpectrumLibrary | Mapping[str, xr.DataArray],
    *,
    noise: float | xr.DataArray = 1.0,
    snr: tuple[float, float] = (15.0, 35.0),
    pixels: int = PIXELS,
    layers: int = 25,
    recipe: str = "robust",
    steps: int | None = None,
    seed: int = 0,
    progress: ProgressOption = "auto",
) -> SeparationNetwork:
    """Train an LPALM network on mixtures of a library, or take it from the user's cache.

    ``separate_lpalm`` does this automatically, for the noise of its data. Train a network [1]_
    ahead of time to use it for many data sets: ``separate_lpalm(network=...)``.

    Parameters
    ----------
    library : SpectrumLibrary
        A family of spectra for each component.
    noise : float or xarray.DataArray
        Noise of the channels, along the energy axis of the library; only its shape matters.
        Channels with more noise get less weight.
    snr : tuple of float
        Lowest and highest signal-to-noise ratio of the training mixtures, in dB.
    pixels : int
        Number of pixels of a training mixture. The data may have any other number.
    layers : int
        Depth K. More than 25 layers gain little ([1]_, Fig. 10).
    recipe : {"robust", "published"}
        ``"robust"``: sources of random strength and sparsity, mixtures of norm 1, batches of 5, a
        cosine schedule, and early stopping by a tenth of the spectra that are held out; it takes
        half a minute on one core. ``"published"``: Appendix A of [1]_, with the loss of its eq. 9
        and all of its steps: sources of one sparsity and strength, one mixture at a time, a
        constant rate; it takes many minutes. Differences from the paper: mixtures are drawn anew at
        every step, where the paper goes 100 times through 750 of them, and thresholds are kept at
        zero or above.
    steps : int, optional
        Number of training steps; default 3000 (published: 75 000). The robust recipe stops earlier
        if the validation loss does not decrease any more.
    seed : int
        Seed of the training; the same seed gives the same network.
    progress : {"auto"}, bool or callable
        Show a bar, or call a function with a :class:`~arpes_ml_plugins.Progress`. "auto" shows a
        bar in a terminal or a notebook if the training will take more than five seconds.

    Returns
    -------
    SeparationNetwork
        For ``separate_lpalm(network=...)``; ``.network`` is the torch module.

    Raises
    ------
    AxisError, DataError, ParameterError
        The library or a parameter cannot be used; the message says why.

    References
    ----------
    .. [1] Fahes, Kervazo, Bobin and Tupin, "Unrolling PALM for sparse semi-blind source
       separation" (ICLR 2022), eqs. 8 and 9, Appendix A.

    Examples
    --------
    >>> energy = np.linspace(-1, 1, 40)
    >>> peaks = {
    ...     str(p): xr.DataArray(np.exp(-((energy - p) ** 2) / 0.02), {"eV": energy}, "eV")
    ...     for p in (-0.3, 0.2)
    ... }
    >>> library = SpectrumLibrary.from_spectra(peaks, shift=0.05, count=30)
    >>> trained = train_lpalm(library, steps=5, layers=4)
    >>> trained.network.layers, list(trained.library)
    (4, ['-0.3', '0.2'])
    """
    library = as_library(library)
    check_choice("recipe", recipe, LPALM_RECIPES)
    for name, value in (("layers", layers), ("pixels", pixels)):
        check_count(name, value)
    check_count("steps", steps, optional=True)
    low, high = map(float, snr)
    if not (np.isfinite([low, high]).all() and low <= high):
        raise ParameterError(f"snr must be the lowest and the highest ratio in dB, got {snr!r}")
    weights = _noise_along(noise, library)
    from arpes_ml_plugins.training.lpalm import RECIPES

    total = RECIPES[recipe].steps if steps is None else steps
    with reporter(progress, "train_lpalm", total) as report:
        network = train_on(
            families_of(library, weights),
            recipe=recipe,
            snr=(low, high),
            pixels=pixels,
            layers=layers,
            steps=steps,
            seed=seed,
            report=report,
        )
    return SeparationNetwork(network, library, weights, pixels, recipe)


def train_on(
    families: list[torch.Tensor],
    *,
    recipe: str,
    snr: tuple[float, float],
    pixels: int,
    layers: int,
    steps: int | None,
    seed: int,
    report: Report | None,
) -> UnrolledSeparation:
    """The network for these families, which may differ in size."""
    import torch

    count = max(len(family) for family in families)
    same = torch.stack(
        [family[torch.arange(count, device="cpu") % len(family)] for family in families]
    )
    return cached_lpalm(
        same,
        recipe,
        snr=snr,
        pixels=pixels,
        layers=layers,
        steps=steps,
        seed=seed,
        folder=cache.cache_folder(),
        report=report,
    )


def _noise_along(noise: float | xr.DataArray, library: SpectrumLibrary) -> np.ndarray:
    one = next(iter(library.values()))[0]
    if isinstance(noise, xr.DataArray):
        if noise.sizes != one.sizes:
            raise AxisError(
                f"noise must be a number or have the channels of the library, {dict(one.sizes)}, "
                f"got {dict(noise.sizes)}"
            )
        values = noise.transpose(*one.dims).values.astype(np.float64).reshape(-1)
    else:
        values = np.full(one.size, float(noise))
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise ParameterError("noise must be positive in every channel")
    return values


def cached_lpalm(
    families: torch.Tensor,
    recipe: str,
    *,
    snr: tuple[float, float],
    pixels: int,
    layers: int,
    steps: int | None,
    seed: int,
    folder: Path | None,
    report: Report | None,
) -> UnrolledSeparation:
    """A network for mixtures of ``families``, from the cache if it is there."""
    import torch

    from arpes_ml_plugins.separation.lpalm import UnrolledSeparation
    from arpes_ml_plugins.training.lpalm import RECIPES, VERSION, mixtures_like, train_network

    chosen = RECIPES[recipe] if steps is None else replace(RECIPES[recipe], steps=steps)
    families = families.float().cpu()
    n, _, channels = families.shape
    key = cache.content_key(
        version=VERSION,
        families=families,
        recipe=asdict(chosen),
        name=recipe,
        snr=snr,
        pixels=pixels,
        layers=layers,
        seed=seed,
    )

    def empty() -> UnrolledSeparation:
        return UnrolledSeparation(channels, n, layers)

    def train() -> UnrolledSeparation:
        generator = torch.Generator().manual_seed(seed)
        training, test = mixtures_like(families, recipe, snr=snr, pixels=pixels)
        network = empty()
        train_network(network, training, chosen, generator, report, test)
        return network

    return cache.kept_network(folder, f"lpalm-{key}", empty, train, report, chosen.steps)
