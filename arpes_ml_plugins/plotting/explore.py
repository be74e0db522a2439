"""Compare raw and denoised data with sliders, in a notebook."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING

import xarray as xr

from arpes_ml_plugins.errors import AxisError, MissingPackageError
from arpes_ml_plugins.labelled.axes import IMAGE
from arpes_ml_plugins.labelled.spectrum import select_spectrum
from arpes_ml_plugins.labelled.units import strip_unit
from arpes_ml_plugins.plotting.labels import drawn_dims
from arpes_ml_plugins.plugins.axes import resolved_dims

if TYPE_CHECKING:
    from arpes_ml_plugins.plotting.explorer import Explorer

__all__ = ["explore"]


def explore(
    raw: xr.DataArray | xr.Dataset,
    clean: xr.DataArray | xr.Dataset,
    *,
    dims: Mapping[str, Hashable] | Sequence[Hashable] | None = None,
) -> Explorer:
    """Compare raw and denoised data interactively, with sliders, an EDC and an MDC.

    This works in notebooks and needs ``ipywidgets``. :func:`compare` draws the same without
    sliders.

    Parameters
    ----------
    raw, clean : xarray.DataArray or xarray.Dataset
        Data of the same shape, with an energy and a momentum (or angle) axis, or a map at constant
        energy. Every further dimension (of a map or a series) gets a slider. If ``clean`` is the
        result of a ``decompose_*`` method, its clean image is shown. Lazy data are computed slice
        by slice, when they are shown.
    dims : mapping or sequence, optional
        Energy and momentum axis, if their names are not recognised, as for the methods.

    Returns
    -------
    ipywidgets.VBox
        Widget whose image shows ``raw`` left of the divider and ``clean`` right of it, on one
        colour scale; dotted lines mark the positions of the two curves. The attribute ``sliders``
        holds the sliders by name (the dimensions and ``"divider"``), with values in pixels, and
        ``figure`` the matplotlib figure.

    Raises
    ------
    MissingPackageError
        ``ipywidgets`` is not installed.
    AxisError
        The two differ in shape, or lack these axes.

    Examples
    --------
    >>> import numpy as np, xarray as xr, arpes_ml_plugins.plotting as plotting
    >>> cut = xr.DataArray(np.random.default_rng(0).poisson(5.0, (20, 30)), dims=("phi", "eV"))
    >>> view = plotting.explore(cut, cut.astype(float).rolling(phi=3, min_periods=1).mean())
    >>> view.sliders["eV"].value = 12
    """
    try:
        import ipywidgets  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(
            "explore needs ipywidgets, which is not installed; install it with pip install "
            "ipywidgets, or use compare, which does not need it"
        ) from error
    from arpes_ml_plugins.plotting.explorer import Explorer

    before, after = _values(raw), _values(clean)
    axes = resolved_dims(after, IMAGE, dims)
    if dict(before.sizes) != dict(after.sizes):
        raise AxisError(
            f"expected raw and clean of the same shape, got {dict(before.sizes)} and "
            f"{dict(after.sizes)}; select the same part of both, for example with .isel"
        )
    shown = after.isel({dim: 0 for dim in after.dims if dim not in axes}).transpose(*axes)
    return Explorer(before, after, drawn_dims(shown))


def _values(data: xr.DataArray | xr.Dataset) -> xr.DataArray:
    """The array without unit, and with a coordinate for every dimension."""
    if isinstance(data, xr.Dataset) and "clean" in data:
        data = data["clean"]
    array, _ = strip_unit(select_spectrum(data)[0])
    return array.assign_coords(
        {dim: range(array.sizes[dim]) for dim in array.dims if dim not in array.coords}
    )
