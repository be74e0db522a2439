"""Draw images before and after denoising, samples of them, and the loss of a fit."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import AxisError, ParameterError
from arpes_ml_plugins.fitting import DRAW
from arpes_ml_plugins.labelled.axes import IMAGE, numbers_along
from arpes_ml_plugins.labelled.spectrum import check_array, check_values, select_spectrum
from arpes_ml_plugins.labelled.units import strip_unit
from arpes_ml_plugins.parameters import check_choice
from arpes_ml_plugins.plotting.derivatives import DERIVATIVES, bent
from arpes_ml_plugins.plotting.figures import check_drawable, closed_on_error
from arpes_ml_plugins.plotting.labels import (
    aspect_of,
    axis_label,
    curve_title,
    derivative_label,
    drawn_dims,
    readable_ticks,
)
from arpes_ml_plugins.plotting.limits import colour_limits
from arpes_ml_plugins.plotting.results import check_result
from arpes_ml_plugins.plugins.axes import resolved_dims

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.figure import Figure

__all__ = [
    "IMAGE_CMAP",
    "compare",
    "draws",
    "image_of",
    "loss_curve",
    "show_image",
]

IMAGE_CMAP = "magma"
DERIVATIVE_CMAP = "Greys"
EDGE = 0.05  # fraction of each axis at either end, where no curve is taken by default


@closed_on_error
def compare(
    raw: xr.DataArray | xr.Dataset,
    clean: xr.DataArray | xr.Dataset,
    reference: xr.DataArray | xr.Dataset | None = None,
    *,
    energy: float | None = None,
    momentum: float | None = None,
    derivative: str = "second",
    dims: Mapping[str, Hashable] | Sequence[Hashable] | None = None,
) -> Figure:
    """Draw the raw and the denoised image, their second derivatives, an MDC and an EDC.

    Parameters
    ----------
    raw, clean : xarray.DataArray or xarray.Dataset
        Two-dimensional data with an energy and a momentum (or angle) axis, or a map at constant
        energy or in space, whose curves are named after its axes. If ``clean`` is the result of a
        ``decompose_*`` method, its error bars are drawn in the MDC and the EDC; if it is that of
        ``sample_posterior``, the mean and the standard deviation of the samples.
    reference : xarray.DataArray or xarray.Dataset, optional
        A third image on the same intensity scale, for example a longer measurement.
    energy, momentum : float, optional
        Energy of the MDC and momentum of the EDC, in the units of the axes. By default they are
        those of the brightest pixel of the clean image, except within 5 % of each edge.
    derivative : {"second", "curvature"}
        Derivative along energy in the second row, after smoothing with a Gaussian of 4 pixels (the
        same for all images): the negative second derivative, or the curvature [1]_, which also
        shows weak bands. In maps without energy it is that along both axes, in their unit: the
        negative Laplacian, or the two-dimensional curvature.
    dims : mapping or sequence, optional
        Energy and momentum axis, if their names are not recognised, as for the methods.

    Returns
    -------
    matplotlib.figure.Figure
        Figure in which all images share one colour scale, and bands are dark in the derivatives.
        ``kx`` and ``x`` are horizontal, ``ky`` and ``y`` vertical, whatever the order of the
        dimensions.

    References
    ----------
    .. [1] Zhang et al., Rev. Sci. Instrum. 82, 043712 (2011).

    Examples
    --------
    >>> import numpy as np, xarray as xr, arpes_ml_plugins.plotting as plotting
    >>> cut = xr.DataArray(np.random.default_rng(0).poisson(5.0, (20, 30)), dims=("phi", "eV"))
    >>> figure = plotting.compare(cut, cut.astype(float).rolling(phi=3, min_periods=1).mean())
    """
    import matplotlib.pyplot as plt

    from arpes_ml_plugins.plotting.notebook_figure import NotebookFigure

    check_choice("derivative", derivative, tuple(DERIVATIVES))
    clean = _with_bars(clean)
    named = {"raw": raw, "denoised": clean}
    if reference is not None:
        named["reference"] = reference
    images = {title: image_of(data, dims) for title, data in named.items()}
    band = _error_band(clean, dims)
    first = images["denoised"]
    where = _point(first, energy, momentum)

    figure = plt.figure(
        FigureClass=NotebookFigure,
        figsize=(3.6 * max(len(images), 2) + 0.6, 9.5),
        layout="constrained",
    )
    grid = figure.add_gridspec(3, 6, height_ratios=(1, 1, 0.8))
    span = 6 // len(images)
    label = derivative_label(first) if derivative == "second" else derivative
    limits = colour_limits(first)
    bands = {title: bent(image, derivative) for title, image in images.items()}
    bands_limits = colour_limits(bands["denoised"])
    vertical, _ = drawn_dims(first)
    for column, (title, image) in enumerate(images.items()):
        place = slice(column * span, (column + 1) * span)
        axes = figure.add_subplot(grid[0, place])
        shown = show_image(axes, image, IMAGE_CMAP, limits)
        axes.set_title(title)
        for dim, position in zip(first.dims, where, strict=True):
            line = axes.axhline if dim == vertical else axes.axvline
            line(position, color="white", linewidth=0.6, linestyle=":")
        below = figure.add_subplot(grid[1, place])
        show_image(below, bands[title], DERIVATIVE_CMAP, bands_limits)
        below.set_title(f"{title}, {label}")
    figure.colorbar(shown, ax=figure.axes[0::2], label=_value_label(first), shrink=0.9, pad=0.01)
    for axis, place in ((0, slice(0, 3)), (1, slice(3, 6))):
        _curves(figure.add_subplot(grid[2, place]), images, band, axis, where[axis])
    return figure


@closed_on_error
def draws(
    samples: xr.DataArray | xr.Dataset,
    raw: xr.DataArray | xr.Dataset | None = None,
    *,
    energy: float | None = None,
    momentum: float | None = None,
    dims: Mapping[str, Hashable] | Sequence[Hashable] | None = None,
) -> Figure:
    """Draw an MDC and an EDC of every sample of ``sample_posterior``.

    Parameters
    ----------
    samples : xarray.DataArray or xarray.Dataset
        Samples with a dimension ``draw``, an energy and a momentum (or angle) axis.
    raw : xarray.DataArray or xarray.Dataset, optional
        Data to draw as dots.
    energy, momentum : float, optional
        Energy of the MDC and momentum of the EDC. By default they are those of the brightest pixel
        of the mean, except within 5 % of each edge.
    dims : mapping or sequence, optional
        Energy and momentum axis, if their names are not recognised.

    Returns
    -------
    matplotlib.figure.Figure
        Thin lines are the samples, the thick line is their mean. If samples shift as a whole, up
        and down or sideways, the errors of neighbouring pixels are correlated.

    Examples
    --------
    >>> import arpes_ml_plugins, arpes_ml_plugins.plotting as plotting
    >>> cut = arpes_ml_plugins.simulate_scene((48, 48), counts=2, rng=1).spectrum
    >>> figure = plotting.draws(cut.S.sample_posterior(draws=4, adapt=False, rng=0), cut)
    """
    import matplotlib.pyplot as plt

    from arpes_ml_plugins.plotting.notebook_figure import NotebookFigure

    array, _ = select_spectrum(samples)
    if DRAW not in array.dims:
        raise AxisError(f"expected samples with a dimension {DRAW!r}, got {array.dims}")
    images = {"denoised": image_of(array.mean(DRAW), dims)}
    if raw is not None:
        images = {"raw": image_of(raw, dims)} | images
    each = [image_of(one, dims) for one in array.transpose(DRAW, ...)]
    where = _point(images["denoised"], energy, momentum)
    figure, both = plt.subplots(
        1, 2, FigureClass=NotebookFigure, figsize=(8.4, 3.2), layout="constrained"
    )
    for fixed, axes in enumerate(both):
        for image in each:
            curve = _curve(image, fixed, where[fixed])
            axes.plot(curve.coords[curve.dims[0]], curve, color="C3", alpha=0.5, linewidth=0.7)
        _curves(axes, images, None, fixed, where[fixed])
    return figure


@closed_on_error
def loss_curve(result: xr.Dataset) -> Figure:
    """Draw the loss against the iteration, from the result of a ``decompose_*`` method.

    Parameters
    ----------
    result : xarray.Dataset
        Result with a variable ``loss`` along ``iteration``.

    Returns
    -------
    matplotlib.figure.Figure
        One curve per image. It is flat at the end if the fit has converged.
    """
    import matplotlib.pyplot as plt

    from arpes_ml_plugins.plotting.notebook_figure import NotebookFigure

    check_result(result, ("loss",), "a decompose_* method")
    figure, axes = plt.subplots(FigureClass=NotebookFigure, layout="constrained")
    curves = np.atleast_2d(result["loss"].transpose(..., "iteration").values)
    for curve in curves.reshape(-1, curves.shape[-1]):
        axes.semilogy(result["iteration"], curve, linewidth=1)
    axes.set(xlabel="iteration", ylabel="loss")
    return figure


def image_of(
    data: xr.DataArray | xr.Dataset, dims: Mapping[str, Hashable] | Sequence[Hashable] | None
) -> xr.DataArray:
    """The image, energy by momentum, without unit; the clean one of a ``decompose_*`` result."""
    if isinstance(data, xr.Dataset) and "clean" in data:
        data = data["clean"]
    array, _ = select_spectrum(data)
    array, _ = strip_unit(array)
    array = array.squeeze(drop=True)
    if array.ndim != 2:
        raise AxisError(
            f"expected a two-dimensional image, got the dimensions "
            f"{', '.join(map(str, array.dims))}; select one first, for example with .isel"
        )
    check_array(array)
    axes = resolved_dims(array, IMAGE, dims)
    array = array.transpose(*axes).compute().astype(float)
    check_values(array, axes)
    for dim in axes:
        if dim not in array.coords:
            array = array.assign_coords({dim: np.arange(array.sizes[dim])})
        numbers_along(array[dim])
        check_drawable(array[dim])
    return array


def _with_bars(clean: xr.DataArray | xr.Dataset) -> xr.DataArray | xr.Dataset:
    """Replace samples by their mean, with error bars of one standard deviation."""
    if not isinstance(clean, xr.Dataset):
        select_spectrum(clean)  # refuses what is not labelled
    if DRAW not in clean.dims:
        return clean
    array, _ = select_spectrum(clean)
    mean, spread = array.mean(DRAW, keep_attrs=True), array.std(DRAW, ddof=1)
    return xr.Dataset({"clean": mean, "lower": mean - spread, "upper": mean + spread})


def _error_band(
    clean: xr.DataArray | xr.Dataset, dims: Mapping[str, Hashable] | Sequence[Hashable] | None
) -> tuple[xr.DataArray, xr.DataArray] | None:
    if isinstance(clean, xr.Dataset) and {"lower", "upper"} <= set(clean.data_vars):
        return image_of(clean["lower"], dims), image_of(clean["upper"], dims)
    return None


def _point(
    image: xr.DataArray, energy: float | None, momentum: float | None
) -> tuple[float, float]:
    """Energy and momentum of the curves: as given, or those of the brightest pixel."""
    brightest = np.unravel_index(int(np.nanargmax(_without_edges(image.values))), image.shape)
    found = []
    for dim, asked, index, name in zip(
        image.dims, (energy, momentum), brightest, ("energy", "momentum"), strict=True
    ):
        values = image.coords[dim].values
        if asked is not None and not values.min() <= asked <= values.max():
            raise ParameterError(
                f"{name}={asked} is outside the data, which range from {values.min():.4g} to "
                f"{values.max():.4g}"
            )
        found.append(float(values[index]) if asked is None else float(asked))
    return found[0], found[1]


def _without_edges(values: np.ndarray) -> np.ndarray:
    """The image with NaN at the edges, unless all other values are NaN."""
    inner = tuple(
        slice(edge, size - edge) for size in values.shape for edge in [round(EDGE * size)]
    )
    if np.isnan(values[inner]).all():
        return values
    kept = np.full_like(values, np.nan)
    kept[inner] = values[inner]
    return kept


def show_image(
    axes: Axes,
    image: xr.DataArray,
    cmap: str,
    limits: tuple[float, float],
) -> QuadMesh:
    """Draw an image with labelled axes and colours between ``limits``."""
    image = image.transpose(*drawn_dims(image))
    rows, columns = (image.coords[dim] for dim in image.dims)
    shown = axes.pcolormesh(
        columns, rows, image, cmap=cmap, vmin=limits[0], vmax=limits[1], rasterized=True
    )
    axes.set(xlabel=axis_label(columns), ylabel=axis_label(rows))
    axes.set_aspect(aspect_of(image))
    readable_ticks(axes)
    return shown


def _curves(
    axes: Axes,
    images: dict[str, xr.DataArray],
    band: tuple[xr.DataArray, xr.DataArray] | None,
    fixed: int,
    value: float,
) -> None:
    """MDCs (``fixed`` 0: at one energy) or EDCs (1: at one momentum)."""
    styles: dict[str, dict[str, Any]] = {
        "raw": {"marker": ".", "linestyle": "", "color": "0.7"},
        "denoised": {"color": "C3", "linewidth": 2, "zorder": 3},
        "reference": {"color": "black", "linewidth": 0.8},
    }

    for title, image in images.items():
        row = _curve(image, fixed, value)
        axes.plot(row.coords[row.dims[0]], row, label=title, **styles[title])
    if band is not None:
        lower, upper = (_curve(image, fixed, value) for image in band)
        axes.fill_between(
            lower.coords[lower.dims[0]],
            lower,
            upper,
            color="C3",
            alpha=0.25,
            linewidth=0,
            label="68 % interval",
        )
    first = next(iter(images.values()))
    axes.set(xlabel=axis_label(first.coords[first.dims[1 - fixed]]), ylabel=_value_label(first))
    axes.set_title(curve_title(first, fixed, value))
    readable_ticks(axes)
    axes.legend(frameon=False, fontsize="small")


def _curve(image: xr.DataArray, fixed: int, value: float) -> xr.DataArray:
    """The curve nearest to ``value`` on the axis ``fixed``."""
    values = image.coords[image.dims[fixed]].values
    return image.isel({image.dims[fixed]: int(np.abs(values - value).argmin())})


def _value_label(image: xr.DataArray) -> str:
    unit = image.attrs.get("units", "")
    return f"intensity ({unit})" if unit else "intensity"
