"""Read spectra that a user passes for components: those of a result, or one for each name."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import DataError, ParameterError
from arpes_ml_plugins.methods.separation_input import Setup, setup_of
from arpes_ml_plugins.networks.families import rows_of
from arpes_ml_plugins.spectrum_library import SpectrumLibrary

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["given_spectra"]

COMPONENT = "component"


def given_spectra(
    data: Any,
    dims: Any,
    channels: Sequence[str] | None,
    noise: float | xr.DataArray | None,
    nonnegative: bool | None,
    mask: xr.DataArray | None,
    spectra: Any,
    *,
    least_pixels: int | None = None,
    each_value: bool = True,
) -> tuple[Setup, NDArray[np.floating], NDArray[Any] | list[str]]:
    """Checked parameters, the spectra ``(n, m)`` on the axis of the data with a largest value of 1,
    and the names of the components as they were given.
    """
    library, names = _known(spectra, channels)
    setup = setup_of(
        data,
        dims,
        channels,
        None,
        "none",
        noise,
        nonnegative,
        library=library,
        mask=mask,
        least_pixels=least_pixels,
        each_value=each_value,
    )
    assert setup.library is not None
    rows = np.concatenate([rows_of(family) for family in setup.library.values()])
    return setup, rows / np.abs(rows).max(1, keepdims=True), names


def _known(
    spectra: Any, channels: Sequence[str] | None
) -> tuple[SpectrumLibrary, NDArray[Any] | list[str]]:
    """A library of fixed spectra, and the names of the components as they were given."""
    if isinstance(spectra, Mapping):
        found = SpectrumLibrary.from_spectra(spectra, channels=tuple(channels or ()))
        loose = [name for name in found if name not in found.fixed]
        if loose:
            raise ParameterError(
                f"spectra must hold one spectrum per component, but {loose[0]!r} has "
                f"{found[loose[0]].sizes['sample']}; where they vary, use separate_sgmca(library="
                f"library)"
            )
        return found, list(found)
    if not isinstance(spectra, xr.DataArray) or COMPONENT not in spectra.dims:
        array = isinstance(spectra, xr.DataArray)
        got = f"the dimensions {spectra.dims}" if array else type(spectra).__name__
        raise ParameterError(
            f"spectra must be result.spectra of a separation, with a dimension {COMPONENT!r}, or "
            f"map names to spectra, got {got}; for example {{'a': xarray.DataArray(values, "
            f"{{'eV': energies}}, 'eV')}}"
        )
    if bool(spectra.isnull().any()):
        raise DataError(
            "spectra hold NaN: their channels had no values; drop these channels from both, for "
            "example data.sel(eV=spectra.dropna('eV').eV)"
        )
    names = spectra[COMPONENT].values
    if len({str(name) for name in names}) < len(names):
        raise ParameterError(
            f"spectra must have a name of its own for each component, got {names.tolist()}"
        )
    each = {str(name): one.drop_vars(COMPONENT, errors="ignore") for name, one in
            zip(names, spectra.transpose(COMPONENT, ...), strict=True)}  # fmt: skip
    beside: list[Hashable] = [dim for dim in spectra.dims if dim != COMPONENT]
    inner = beside[1:] if channels is None else channels
    return SpectrumLibrary.from_spectra(each, channels=tuple(map(str, inner))), names
