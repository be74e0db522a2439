"""Pictures: matplotlib figures of what went in and what came out."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import AxisError, DataError, ParameterError
from arpes_ml_plugins.labelled.axes import resolve_dims
from arpes_ml_plugins.labelled.spectrum import select_spectrum
from arpes_ml_plugins.labelled.units import strip_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.figure import Figure

__all__ = ["compare", "loss_curve"]

SMOOTHING = 4  # pixels, of the second derivative; the same for all images
IMAGE_CMAP = "magma"
DERIVATIVE_CMAP = "Greys"


def compare(
    raw: xr.DataArray | xr.Dataset,
    clean: xr.DataArray | xr.Dataset,
    reference: xr.DataArray | xr.Dataset | None = None,
    *,
    energy: float | None = None,
    dims: Mapping[str, Hashable] | Sequence[Hashable] | None = None,
) -> Figure:
    """Raw and denoised image side by side, their second derivatives, and MDCs at one energy.

    Parameters
    ----------
    raw, clean : xarray.DataArray or xarray.Dataset
        Two-dimensional, with an energy and a momentum (or angle) axis.
    reference : xarray.DataArray or xarray.Dataset, optional
        A third image, for example a longer measurement, on the same intensity scale.
    energy : float, optional
        Energy of the MDCs, in the unit of the energy axis; default is where the clean image is
        brightest.
    dims : mapping or sequence, optional
        The energy and the momentum axis where names do not tell, as for the methods.

    Returns
    -------
    matplotlib.figure.Figure
        Images share one colour scale. Of the second derivative along energy (Gaussian, 4 pixels,
        the same for all images) the negative part is shown: dark where a band is.

    Examples
    --------
    >>> import numpy as np, xarray as xr, arpes_ml_plugins.plotting as plotting
    >>> cut = xr.DataArray(np.random.default_rng(0).poisson(5.0, (20, 30)), dims=("phi", "eV"))
    >>> figure = plotting.compare(cut, cut.astype(float).rolling(phi=3, min_periods=1).mean())
    """
    import matplotlib.pyplot as plt

    named = {"raw": raw, "denoised": clean}
    if reference is not None:
        named["reference"] = reference
    images = {title: _image(data, dims) for title, data in named.items()}
    first = images["denoised"]
    energies = first.coords[first.dims[0]]
    if energy is None:
        energy = float(energies[int(np.nanargmax(first.mean(str(first.dims[1])).values))])

    figure = plt.figure(figsize=(3.6 * len(images) + 0.6, 9.0), layout="constrained")
    grid = figure.add_gridspec(3, len(images), height_ratios=(1, 1, 0.8))
    top = float(np.nanpercentile(first, 99.8)) or None
    bent_top = float(np.nanpercentile(_curved(first), 99.8)) or None
    for column, (title, image) in enumerate(images.items()):
        axes = figure.add_subplot(grid[0, column])
        shown = _show(axes, image, IMAGE_CMAP, top)
        axes.set_title(title)
        axes.axhline(energy, color="white", linewidth=0.6, linestyle=":")
        below = figure.add_subplot(grid[1, column])
        _show(below, _curved(image), DERIVATIVE_CMAP, bent_top)
        below.set_title(f"{title}, −d²I/dE²")
    figure.colorbar(shown, ax=figure.axes[0::2], label=_value_label(first), shrink=0.9, pad=0.01)
    _curves(figure.add_subplot(grid[2, :]), images, energy)
    return figure


def loss_curve(result: xr.Dataset) -> Figure:
    """Loss against iteration of a ``decompose_*`` result: a fit that ended well ends flat.

    Parameters
    ----------
    result : xarray.Dataset
        With a variable ``loss`` along ``iteration``; one curve for each image.

    Returns
    -------
    matplotlib.figure.Figure
    """
    import matplotlib.pyplot as plt

    if "loss" not in result:
        raise DataError(
            f"expected the Dataset of a decompose_* method with a variable 'loss', got the "
            f"variables {', '.join(map(str, result.data_vars)) or 'none'}"
        )
    figure, axes = plt.subplots(layout="constrained")
    curves = np.atleast_2d(result["loss"].transpose(..., "iteration").values)
    for curve in curves.reshape(-1, curves.shape[-1]):
        axes.semilogy(result["iteration"], curve, linewidth=1)
    axes.set(xlabel="iteration", ylabel="loss")
    return figure


def _image(
    data: xr.DataArray | xr.Dataset, dims: Mapping[str, Hashable] | Sequence[Hashable] | None
) -> xr.DataArray:
    """Energy by momentum, without unit; of a ``decompose_*`` result the clean image."""
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
    axes = resolve_dims(array, ("energy", "momentum"), dims)
    for dim in axes:
        if dim not in array.coords:
            array = array.assign_coords({dim: np.arange(array.sizes[dim])})
    return array.transpose(*axes).astype(float)


def _curved(image: xr.DataArray) -> xr.DataArray:
    """Negative second derivative along energy, zero where the image curves upwards."""
    from scipy.ndimage import gaussian_filter

    curvature = -gaussian_filter(
        np.nan_to_num(image.values), SMOOTHING, order=(2, 0), mode="nearest"
    )
    curvature[:SMOOTHING] = curvature[-SMOOTHING:] = np.nan  # the rim bends by itself
    return image.copy(data=np.clip(curvature, 0, None))


def _show(axes: Axes, image: xr.DataArray, cmap: str, top: float | None) -> QuadMesh:
    energies, momenta = (image.coords[dim] for dim in image.dims)
    shown = axes.pcolormesh(
        momenta, energies, image, cmap=cmap, vmin=0 if top else None, vmax=top, rasterized=True
    )
    axes.set(xlabel=_label(momenta), ylabel=_label(energies))
    return shown


def _curves(axes: Axes, images: dict[str, xr.DataArray], energy: float) -> None:
    """MDCs at the energy nearest to ``energy``."""
    styles: dict[str, dict[str, Any]] = {
        "raw": {"marker": ".", "linestyle": "", "color": "0.7"},
        "denoised": {"color": "C3", "linewidth": 2, "zorder": 3},
        "reference": {"color": "black", "linewidth": 0.8},
    }
    for title, image in images.items():
        values = image.coords[image.dims[0]].values
        if not values.min() <= energy <= values.max():
            raise ParameterError(
                f"energy={energy} lies outside the data ({values.min():.4g} to {values.max():.4g})"
            )
        row = image[int(np.abs(values - energy).argmin())]
        axes.plot(image.coords[image.dims[1]], row, label=title, **styles.get(title, {}))
    first = next(iter(images.values()))
    axes.set(xlabel=_label(first.coords[first.dims[1]]), ylabel=_value_label(first))
    axes.set_title(f"MDC at {first.dims[0]} = {energy:.3g}")
    axes.legend(frameon=False)


UNITS = {"eV": "eV", "kp": "1/Å", "kx": "1/Å", "ky": "1/Å", "kz": "1/Å"} | dict.fromkeys(
    ("phi", "theta", "psi", "chi"), "rad"
)


def _label(axis: xr.DataArray) -> str:
    unit = axis.attrs.get("units", UNITS.get(str(axis.name), ""))
    name = "energy" if axis.name == "eV" else str(axis.name)
    return f"{name} ({unit})" if unit else name


def _value_label(image: xr.DataArray) -> str:
    unit = image.attrs.get("units", "")
    return f"intensity ({unit})" if unit else "intensity"
