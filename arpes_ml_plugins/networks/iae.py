"""``train_iae``: train interpolatory autoencoders of families, and keep them in the cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import ParameterError
from arpes_ml_plugins.labelled.progress import ProgressOption, reporter
from arpes_ml_plugins.networks import cache
from arpes_ml_plugins.networks.families import as_library, rows_of
from arpes_ml_plugins.networks.numbers import numbers_of, with_numbers
from arpes_ml_plugins.parameters import check_choice, check_count
from arpes_ml_plugins.report import Report
from arpes_ml_plugins.spectrum_library import SpectrumLibrary

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.separation.iae import InterpolatoryAutoencoder
    from arpes_ml_plugins.separation.manifolds import Manifold

__all__ = ["SpectrumManifolds", "cached_autoencoder", "manifolds_of", "train_iae"]

RECIPE_NAMES = ("robust", "published")
LAYERS = 4
FEWEST_SPECTRA = 5


@dataclass(frozen=True)
class SpectrumManifolds:
    """Trained autoencoders, one for each component of a library."""

    networks: Mapping[str, InterpolatoryAutoencoder]
    library: SpectrumLibrary

    def recorded(self) -> dict[str, Any]:
        """All that defines the manifolds, for the record of results obtained with them."""
        networks = {name: numbers_of(network) for name, network in self.networks.items()}
        return {"networks": networks, "library": self.library}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> SpectrumManifolds:
        """The manifolds that were :meth:`recorded`."""
        networks = {name: _autoencoder(kept) for name, kept in record["networks"].items()}
        return cls(networks, as_library(record["library"]))

    def __repr__(self) -> str:
        anchors = ", ".join(
            f"{name}: {len(n.anchors)} anchors" for name, n in self.networks.items()
        )
        return f"SpectrumManifolds({anchors}; {self.library!r})"


def _autoencoder(kept: Mapping[str, np.ndarray]) -> InterpolatoryAutoencoder:
    import torch

    from arpes_ml_plugins.separation.iae import InterpolatoryAutoencoder

    layers = sum(key.startswith("encoder.") and key.endswith(".weight") for key in kept)
    anchors = torch.from_numpy(kept["anchors"])
    return with_numbers(InterpolatoryAutoencoder(anchors, layers), kept)


def train_iae(
    library: SpectrumLibrary | Mapping[str, xr.DataArray],
    *,
    anchors: int | Mapping[str, int] | None = None,
    layers: int = LAYERS,
    recipe: str = "robust",
    steps: int | None = None,
    seed: int = 0,
    progress: ProgressOption = "auto",
) -> SpectrumManifolds:
    """Train an interpolatory autoencoder for each family, or take it from the user's cache.

    Each learns to interpolate within its family [1]_, between a few anchor spectra and in a space
    where the family is flat. ``separate_sgmca(manifold="iae")`` does this automatically.

    Parameters
    ----------
    library : SpectrumLibrary
        A family of spectra for each component; a hundred spectra per family are enough.
    anchors : int or mapping, optional
        Number of anchor spectra per family: one more than the family has parameters. Default: two
        or three, depending on the shape of neighbourhoods in the family.
    layers : int
        Number of fully connected layers of the encoder, and of the decoder.
    recipe : {"robust", "published"}
        ``"robust"``: 5000 batches of 64 with a decreasing rate, about 15 s per family on one core.
        ``"published"``: 240 000 batches of 25 at a rate of 1e-4, as in Table 1 of [1]_.
    steps : int, optional
        Number of batches, if not that of the recipe.
    seed : int
        Seed of the training; the same seed gives the same autoencoder.
    progress : {"auto"}, bool or callable
        Show a bar, or call a function with a :class:`~arpes_ml_plugins.Progress`. "auto" shows a
        bar in a terminal or a notebook if the training will take more than five seconds.

    Returns
    -------
    SpectrumManifolds
        For ``separate_sgmca(library=...)``.

    Raises
    ------
    AxisError, DataError, ParameterError
        The library or a parameter cannot be used; the message says why.

    References
    ----------
    .. [1] Carloni Gertosio, Bobin and Acero, "Semi-blind source separation with learned
       constraints", Signal Process. 202, 108776 (2023), Table 1 and Appendix B.

    Examples
    --------
    >>> energy = np.linspace(-1, 1, 40)
    >>> peak = xr.DataArray(np.exp(-(energy**2) / 0.02), {"eV": energy}, "eV")
    >>> library = SpectrumLibrary.from_spectra({"4f": peak}, shift=0.1, count=50)
    >>> train_iae(library, steps=5)
    SpectrumManifolds(4f: 2 anchors; SpectrumLibrary(4f: 50 spectra; eV: 40 points, -1 to 1))
    """
    library = as_library(library)
    check_choice("recipe", recipe, RECIPE_NAMES)
    check_count("layers", layers)
    check_count("steps", steps, optional=True)
    counts = _anchor_counts(anchors, library)
    from arpes_ml_plugins.training.autoencoder import AUTOENCODERS

    each = AUTOENCODERS[recipe].steps if steps is None else steps
    with reporter(progress, "train_iae", each * len(library)) as report:
        networks = _trained(library, counts, layers, recipe, steps, seed, report)
    return SpectrumManifolds(networks, library)


def manifolds_of(
    library: SpectrumLibrary,
    kind: str,
    trained: SpectrumManifolds | None = None,
    *,
    recipe: str = "robust",
    steps: int | None = None,
    seed: int = 0,
    report: Report | None = None,
) -> list[Manifold]:
    """The manifold ``kind`` of each component, in the order of the library."""
    import torch

    from arpes_ml_plugins.separation.manifolds import (
        MANIFOLDS,
        AutoencoderManifold,
        NearestSpectrum,
    )

    families = {name: torch.from_numpy(rows_of(family)) for name, family in library.items()}
    if kind != "iae":
        return [MANIFOLDS[kind](family) for family in families.values()]
    if trained is None:
        counts = dict.fromkeys(library, None)
        networks = _trained(library, counts, LAYERS, recipe, steps, seed, report)
    else:
        networks = dict(trained.networks)
    return [
        AutoencoderManifold(networks[name], family) if name in networks else NearestSpectrum(family)
        for name, family in families.items()
    ]


def _trained(
    library: SpectrumLibrary,
    anchors: Mapping[str, int | None],
    layers: int,
    recipe: str,
    steps: int | None,
    seed: int,
    report: Report | None,
) -> dict[str, InterpolatoryAutoencoder]:
    import torch

    from arpes_ml_plugins.training.autoencoder import AUTOENCODERS

    varied = {n: rows_of(family) for n, family in library.items() if n not in library.fixed}
    if report:  # what is fixed is not trained
        each = AUTOENCODERS[recipe].steps if steps is None else steps
        report(each * len(library.fixed), None)
    for name, rows in varied.items():
        different = len(np.unique(rows.round(12), axis=0))
        if different < FEWEST_SPECTRA:
            raise ParameterError(
                f"component {name!r} has {different} different spectra, too few to train on: "
                f'expected at least {FEWEST_SPECTRA}; use manifold="nearest", or vary them with '
                f"SpectrumLibrary.from_spectra(..., shift=, broaden=)"
            )
    return {
        name: cached_autoencoder(
            torch.from_numpy(rows),
            recipe,
            anchors=anchors[name],
            layers=layers,
            steps=steps,
            seed=seed,
            folder=cache.cache_folder(),
            report=report,
        )
        for name, rows in varied.items()
    }


def _anchor_counts(
    anchors: int | Mapping[str, int] | None, library: SpectrumLibrary
) -> dict[str, int | None]:
    given = anchors if isinstance(anchors, Mapping) else dict.fromkeys(library, anchors)
    unknown = [name for name in given if name not in library]
    if unknown:
        raise ParameterError(
            f"anchors names {', '.join(map(repr, unknown))}; the library has {', '.join(library)}"
        )
    counts = {name: given.get(name) for name in library}
    for name, count in counts.items():
        check_count("anchors", count, optional=True)
        most = len(np.unique(rows_of(library[name]), axis=0))
        if count is not None and not 2 <= count <= most:
            raise ParameterError(
                f"anchors must be from 2 to the number of spectra, {most} for {name!r}, got {count}"
            )
    return counts


def cached_autoencoder(
    samples: torch.Tensor,
    recipe: str,
    *,
    anchors: int | None,
    layers: int,
    steps: int | None,
    seed: int,
    folder: Path | None,
    report: Report | None,
) -> InterpolatoryAutoencoder:
    """An autoencoder of a family, from the cache if it is there."""
    import torch

    from arpes_ml_plugins.separation.iae import InterpolatoryAutoencoder, farthest_points
    from arpes_ml_plugins.training.autoencoder import (
        AUTOENCODERS,
        VERSION,
        dimension_of,
        train_autoencoder,
    )

    chosen = AUTOENCODERS[recipe] if steps is None else replace(AUTOENCODERS[recipe], steps=steps)
    samples = samples.float().cpu()
    count = dimension_of(samples) + 1 if anchors is None else anchors
    corners = farthest_points(samples, count)
    key = cache.content_key(
        version=VERSION, samples=samples, recipe=asdict(chosen), layers=layers, seed=seed, n=count
    )

    def empty() -> InterpolatoryAutoencoder:
        return InterpolatoryAutoencoder(corners, layers, seed)

    def train() -> InterpolatoryAutoencoder:
        network, draw = empty(), torch.Generator().manual_seed(seed)
        train_autoencoder(network, samples, chosen, draw, report)
        return network

    return cache.kept_network(folder, f"iae-{key}", empty, train, report, chosen.steps)
