"""Draw spectral functions and how well they fit the data."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import AxisError, DataError, ParameterError
from arpes_ml_plugins.plotting.figures import check_drawable, closed_on_error
from arpes_ml_plugins.plotting.labels import axis_label
from arpes_ml_plugins.plotting.results import check_result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["spectrum"]

NEEDED = ("spectral_function", "lower", "upper", "back_transform", "stderr")


@closed_on_error
def spectrum(
    result: xr.Dataset,
    data: xr.DataArray | None = None,
    reference: xr.DataArray | None = None,
    *,
    at: Any = None,
) -> Figure:
    """Draw the spectral function with its credible interval, and the fit to the data.

    Parameters
    ----------
    result : xarray.Dataset
        Result of a ``continue_*`` method, with at most one dimension besides the frequency.
    data : xarray.DataArray, optional
        Data that were continued; they are drawn with the back-transform, and their residuals in
        standard errors.
    reference : xarray.DataArray, optional
        Spectral function to compare with, along the same axes.
    at : float or numpy.datetime64, optional
        Position of the curves along the other dimension; default its middle.

    Returns
    -------
    matplotlib.figure.Figure
        Image A(k, ω) if there is another dimension; A(ω) with its 90 % credible interval; data,
        back-transform and residuals. The title states χ² per data point, and the ``status`` if it
        is not ``"ok"``. Real parts of data at Matsubara frequencies are dashed.

    Examples
    --------
    >>> import numpy as np, xarray as xr, arpes_ml_plugins.plotting as plotting
    >>> tau, omega = np.linspace(0, 10, 50), np.linspace(-3, 3, 61)
    >>> kernel = np.exp(-tau[:, None] * omega) / (1 + np.exp(-10 * omega))
    >>> g = xr.DataArray(kernel @ np.exp(-8 * omega**2), coords={"tau": tau}, dims="tau")
    >>> g = g / (g[0] + g[-1])  # the norm is 1
    >>> figure = plotting.spectrum(g.S.continue_maxent(beta=10, stderr=1e-4, omega=omega), g)
    """
    import matplotlib.pyplot as plt

    from arpes_ml_plugins.plotting.notebook_figure import NotebookFigure

    check_result(result, NEEDED, "a continue_* method")
    density = result["spectral_function"]
    if density.dtype.kind == "c":
        raise DataError(
            "the spectral function is complex (an element off the diagonal); draw its parts: "
            "result.assign(spectral_function=result.spectral_function.real) or .imag"
        )
    frequency, imaginary = density.dims[-1], result["back_transform"].dims
    others = [dim for dim in density.dims if dim != frequency and density.sizes[dim] > 1]
    if len(others) > 1:
        raise AxisError(
            f"expected at most one dimension besides {frequency!r}, got "
            f"{', '.join(map(str, others))}; select points along the others, for example with .isel"
        )
    result = result.compute()
    density = result["spectral_function"]
    tau = next(dim for dim in imaginary if dim not in density.dims)
    for dim in (frequency, tau, *(other for other in others if other in density.coords)):
        check_drawable(result[dim])
    if density.isnull().all():
        raise DataError("all values of the spectral function are NaN: there is nothing to draw")
    panels = 3 if others else 2
    figure = plt.figure(FigureClass=NotebookFigure, figsize=(4.6 * panels, 4), layout="constrained")
    grid = figure.add_gridspec(2, panels, height_ratios=(3, 1))
    where: dict[Hashable, Any] = {}
    if others:
        where = _chosen(density, others[0], at)
        _image(figure.add_subplot(grid[:, 0]), density, others[0], frequency, where)
    one = result.isel(where).squeeze(drop=True)
    truth = None if reference is None else _nearest(reference, density, where)
    _curve(figure.add_subplot(grid[:, panels - 2]), one, truth, frequency)
    if data is not None:
        data = data.isel({k: v for k, v in where.items() if k in data.dims}).squeeze(drop=True)
        if data.shape != one["back_transform"].shape:
            raise AxisError(
                f"expected the data that were continued, with {one['back_transform'].size} points "
                f"along {tau!r}, got {dict(data.sizes)}"
            )
    upper = figure.add_subplot(grid[0, panels - 1])
    _fit(upper, figure.add_subplot(grid[1, panels - 1], sharex=upper), one, data, tau)
    return figure


def _chosen(density: xr.DataArray, dim: Hashable, at: Any) -> dict[Hashable, Any]:
    if at is None:
        return {dim: density.sizes[dim] // 2}
    values = density[dim].values  # without a coordinate 0, 1, ...
    try:
        at = np.datetime64(at) if values.dtype.kind == "M" else float(at)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"at must be a position along {dim!r}, got {at!r}") from error
    if not values.min() <= at <= values.max():
        raise ParameterError(
            f"at={at} is outside the data, which range from {values.min()} to {values.max()} along "
            f"{dim!r}"
        )
    return {dim: int(np.abs(values - at).argmin())}


def _nearest(
    reference: xr.DataArray, density: xr.DataArray, where: dict[Hashable, Any]
) -> xr.DataArray:
    """The spectrum of the reference that is closest to the one shown."""
    for dim, index in where.items():
        if dim not in reference.dims:
            continue
        if dim in reference.coords and dim in density.coords:
            reference = reference.sel({dim: density[dim][index].item()}, method="nearest")
        else:
            reference = reference.isel({dim: index})
    return reference.squeeze(drop=True)


def _image(
    axes: Axes,
    density: xr.DataArray,
    dim: Hashable,
    frequency: Hashable,
    where: dict[Hashable, Any],
) -> None:
    image = density.transpose(frequency, dim).squeeze(drop=True)
    if dim not in image.coords:
        image = image.assign_coords({dim: np.arange(image.sizes[dim])})
    negative = bool((image < 0).any())  # a spectral function of any sign
    largest = float(np.abs(image).max())
    shown = axes.pcolormesh(
        image[dim],
        image[frequency],
        image,
        cmap="RdBu_r" if negative else "magma",
        vmin=-largest if negative else 0,
        vmax=largest,
        rasterized=True,
    )
    axes.axvline(image[dim].values[where[dim]], color="white", linewidth=0.6, linestyle=":")
    axes.set(xlabel=axis_label(image[dim]), ylabel=axis_label(image[frequency]))
    axes.figure.colorbar(shown, ax=axes, label=_density_label(density))


def _curve(
    axes: Axes, one: xr.Dataset, reference: xr.DataArray | None, frequency: Hashable
) -> None:
    import textwrap

    omega = one[frequency]
    axes.fill_between(
        omega, one["lower"], one["upper"], color="C0", alpha=0.25, linewidth=0, label="90 %"
    )
    axes.plot(omega, one["spectral_function"], color="C0", label="A(ω)")
    if reference is not None:
        axes.plot(
            reference[reference.dims[-1]],
            reference,
            color="black",
            linewidth=0.8,
            label="reference",
        )
    axes.axvline(0, color="0.6", linewidth=0.6)
    axes.set(xlabel=axis_label(omega), ylabel=_density_label(one["spectral_function"]))
    if not bool((one["spectral_function"] < 0).any()):
        axes.set_ylim(bottom=0)
    status = str(one["status"].item())
    axes.set_title("" if status == "ok" else textwrap.fill(status, 50), fontsize="small")
    axes.legend(frameon=False, fontsize="small")


def _fit(
    axes: Axes, below: Axes, one: xr.Dataset, data: xr.DataArray | None, tau: Hashable
) -> None:
    back = one["back_transform"]
    times = back[tau]
    parts: dict[str, Any] = (
        {"imaginary": np.imag, "real": np.real} if np.iscomplexobj(back) else {"": np.real}
    )
    for style, (name, part) in zip(("-", "--"), parts.items(), strict=False):
        label = f"back-transform {name}".strip()
        if data is not None:
            axes.plot(
                times,
                part(data.values),
                ".",
                color="0.6",
                markersize=4,
                label=None if style == "--" else "data",
            )
            scatter = part(data.values - back.values) / part(one["stderr"].values)
            below.plot(times, scatter, ".", color="C3", markersize=3)
        axes.plot(times, part(back.values), style, color="C3", linewidth=1.2, label=label)
    axes.set_title(f"χ² per point: {float(one['chi2']):.2f}", fontsize="small")
    axes.legend(frameon=False, fontsize="small")
    axes.tick_params(labelbottom=False)
    axes.set_ylabel(str(back.name) if back.name != "back_transform" else "G")
    below.axhline(0, color="0.6", linewidth=0.6)
    below.set(xlabel=axis_label(times), ylabel="residual (σ)")


def _density_label(density: xr.DataArray) -> str:
    unit = density.attrs.get("units", "")
    return f"A ({unit})" if unit else "A(ω)"
