"""Families of a spectrum library as tensors, for networks and manifolds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arpes_ml_plugins.errors import ParameterError
from arpes_ml_plugins.spectrum_library import SpectrumLibrary

if TYPE_CHECKING:
    import torch

__all__ = ["as_library", "families_of", "rows_of"]


def as_library(library: Any) -> SpectrumLibrary:
    """A SpectrumLibrary, also from a mapping of families, as in provenance."""
    if isinstance(library, SpectrumLibrary):
        return library
    if isinstance(library, Mapping):
        return SpectrumLibrary(library)
    raise ParameterError(
        f"library must be a SpectrumLibrary, got {type(library).__name__}; make one, for example "
        f"with SpectrumLibrary.from_spectra(...) or SpectrumLibrary.from_lmfit(...)"
    )


def rows_of(family: xr.DataArray) -> NDArray[np.floating]:
    """Spectra ``(samples, m)``, all their channels in a row."""
    return family.values.reshape(len(family), -1)


def families_of(
    library: SpectrumLibrary, noise: np.ndarray, kept: np.ndarray | None = None
) -> list[torch.Tensor]:
    """Whitened families ``(samples, m)``, rows of length 1."""
    import torch

    chosen = np.ones(len(noise), dtype=bool) if kept is None else kept
    found = []
    for family in library.values():
        rows = torch.from_numpy(rows_of(family)[:, chosen] / noise[chosen])
        found.append(rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-12))
    return found
