"""Draw separated components."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import AxisError, DataError
from arpes_ml_plugins.plotting.figures import check_drawable, closed_on_error
from arpes_ml_plugins.plotting.labels import (
    aspect_of,
    axis_label,
    readable_ticks,
    status_title,
    upright,
)
from arpes_ml_plugins.plotting.results import check_result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["components"]

NEEDED = ("spectra", "maps", "residual_chi2", "status")
ERRORS = ("spectra_stderr",)
BANDS = tuple(
    f"{what}_{end}" for what in ("spectra", "maps", "share") for end in ("lower", "upper")
)
MAP_CMAP, CHI2_CMAP = "magma", "viridis"
TOP = 99.5  # percentile of a map that is its brightest colour


@closed_on_error
def components(result: xr.Dataset) -> Figure:
    """Draw the spectrum and the map of each component, and a map of the misfit.

    Parameters
    ----------
    result : xarray.Dataset
        Result of a ``separate_*`` method, of ``unmix`` or of ``feasible_bands``, with spectra along
        one or two axes and maps along one or two.

    Returns
    -------
    matplotlib.figure.Figure
        Spectra with bands of three standard errors in either direction, or with their feasible
        bands (images, if they have two axes), above their maps. The last column shows all spectra
        together, along energy, above the map of χ² per degree of freedom (1 for noise alone). In
        maps ``x`` is horizontal and ``y`` vertical, whatever the order of the dimensions. The title
        shows the ``status`` in at most three lines, if it is a warning, and those of feasible bands
        the shares of the intensity that are possible.

    Raises
    ------
    AxisError, DataError
        The Dataset is not such a result, or has too many dimensions; the message says what to
        select.

    Examples
    --------
    >>> import numpy as np, xarray as xr, arpes_ml_plugins.plotting as plotting
    >>> rng, energy = np.random.default_rng(0), np.linspace(-1, 1, 30)
    >>> peaks = np.stack([np.exp(-((energy - p) ** 2) / 0.02) for p in (-0.3, 0.2)])
    >>> values = 100 * (rng.random((9, 9, 2)) < 0.3) @ peaks + rng.normal(size=(9, 9, 30))
    >>> image = xr.DataArray(values, {"eV": energy}, ("y", "x", "eV"))
    >>> figure = plotting.components(image.S.separate_palm(n_components=2))
    """
    import matplotlib.pyplot as plt

    from arpes_ml_plugins.plotting.notebook_figure import NotebookFigure

    bands = "spectra_lower" in getattr(result, "data_vars", {})
    spread = BANDS if bands else ERRORS
    check_result(result, (*NEEDED, *spread), "a separate_* method or of feasible_bands")
    along, space = result["spectra"].dims[1:], result["residual_chi2"].dims
    if len(along) not in (1, 2) or len(space) not in (1, 2):
        raise AxisError(
            f"expected spectra and maps along one or two axes each, got spectra along "
            f"{', '.join(map(str, along))} and maps along {', '.join(map(str, space))}; select "
            f"points along the others, for example with .isel"
        )
    result = result.compute()
    for dim in (*along, *space):
        if dim in result.coords:
            check_drawable(result[dim])
    if result["maps"].isnull().all():
        raise DataError("all values of the maps are NaN: there is nothing to draw")
    count = result.sizes["component"]
    figure, axes = plt.subplots(
        2,
        count + 1,
        FigureClass=NotebookFigure,
        figsize=(3.3 * (count + 1), 6.2),
        layout="constrained",
        squeeze=False,
    )
    together = axes[0, count]
    for i in range(count):
        one = result.isel(component=i)
        name, colour = _title(one), f"C{i}"
        if len(along) == 1:
            _curve(axes[0, i], one, along[0], colour)
        else:
            _map(axes[0, i], one["spectra"], along, MAP_CMAP, "spectrum (largest value 1)")
        axes[0, i].set_title(name, color=colour)
        together.plot(one["spectra"][along[0]], one["spectra"].mean(along[1:]), color=colour)
        if bands and len(space) == 1:
            _fill(axes[1, i], one["maps_lower"], one["maps_upper"], "0.2")
        _map(axes[1, i], one["maps"], space, MAP_CMAP, "intensity")
    together.set(xlabel=axis_label(result["spectra"][along[0]]), title="all")
    _map(axes[1, count], result["residual_chi2"], space, CHI2_CMAP, "χ² per degree of freedom")
    axes[1, count].set_title("residual", fontsize="medium")
    status = str(result["status"].item())
    if status != "ok":
        status_title(figure, status)
    return figure


def _title(one: xr.Dataset) -> str:
    name = one["component"].item()
    name = f"component {name}" if isinstance(name, int) else str(name)
    if "share_lower" not in one:
        return name
    low, high = (100 * float(one[f"share_{end}"]) for end in ("lower", "upper"))
    return f"{name}: {low:.0f} to {high:.0f} %"


def _curve(axes: Axes, one: xr.Dataset, along: Hashable, colour: str) -> None:
    spectrum = one["spectra"]
    energy = spectrum[along]
    if "spectra_lower" in one:
        _fill(axes, one["spectra_lower"], one["spectra_upper"], colour)
    else:
        spread = 3 * one["spectra_stderr"]
        _fill(axes, spectrum - spread, spectrum + spread, colour)
    axes.plot(energy, spectrum, color=colour)
    axes.axhline(0, color="0.6", linewidth=0.6)
    axes.set(xlabel=axis_label(energy), ylabel="spectrum (largest value 1)")


def _fill(axes: Axes, lower: xr.DataArray, upper: xr.DataArray, colour: str) -> None:
    axes.fill_between(lower[lower.dims[0]], lower, upper, color=colour, alpha=0.3, linewidth=0)


def _map(
    axes: Axes, values: xr.DataArray, space: tuple[Hashable, ...], cmap: str, label: str
) -> None:
    if len(space) == 1:
        axes.plot(values[space[0]], values, color="0.2")
        axes.set(xlabel=axis_label(values[space[0]]), ylabel=label)
        return
    low, high = np.nanpercentile(values, 100 - TOP), np.nanpercentile(values, TOP)
    vertical, horizontal = upright((space[0], space[1]))
    image = values.transpose(vertical, horizontal)
    for dim in space:
        if dim not in image.coords:
            image = image.assign_coords({dim: np.arange(image.sizes[dim])})
    shown = axes.pcolormesh(
        image[horizontal],
        image[vertical],
        image,
        cmap=cmap,
        vmin=min(low, 0.0) if cmap == MAP_CMAP else low,
        vmax=high if high > low else None,
        rasterized=True,
    )
    axes.set(xlabel=axis_label(image[horizontal]), ylabel=axis_label(image[vertical]))
    axes.set_aspect(aspect_of(image))
    readable_ticks(axes)
    axes.figure.colorbar(shown, ax=axes, label=label, shrink=0.85)
