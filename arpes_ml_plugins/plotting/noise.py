"""Draw the noise of data as it is measured: hot pixels, variance against mean, spectra."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from arpes_ml_plugins.labelled.axes import resolve_dims
from arpes_ml_plugins.labelled.missing import fill_missing
from arpes_ml_plugins.labelled.series import sampled
from arpes_ml_plugins.labelled.spectrum import check_array, check_values, select_spectrum
from arpes_ml_plugins.labelled.units import strip_unit
from arpes_ml_plugins.methods.denoising_input import IMAGES, noise_of
from arpes_ml_plugins.methods.estimate_noise import SMALLEST_IMAGE
from arpes_ml_plugins.parameters import check_image
from arpes_ml_plugins.plotting.figures import closed_on_error
from arpes_ml_plugins.plotting.images import IMAGE_CMAP, image_of, show_image
from arpes_ml_plugins.plotting.labels import LONGEST_TITLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["diagnose"]


@closed_on_error
def diagnose(
    data: xr.DataArray | xr.Dataset,
    *,
    dims: Mapping[str, Hashable] | Sequence[Hashable] | None = None,
) -> Figure:
    """Draw the noise of the data as :func:`~arpes_ml_plugins.estimate_noise` measures it.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        Data as for :func:`~arpes_ml_plugins.estimate_noise`.
    dims : mapping or sequence, optional
        Energy and momentum axis, if their names are not recognised.

    Returns
    -------
    matplotlib.figure.Figure
        Three panels: the (middle) image with its hot pixels marked; variance against mean of the
        noise in blocks, a line through zero for counts; and the power of the noise against spatial
        frequency, which is constant for counts and falls if neighbouring pixels are correlated. The
        verdict of ``estimate_noise`` is the title.

    Examples
    --------
    >>> import numpy as np, xarray as xr, arpes_ml_plugins.plotting as plotting
    >>> cut = xr.DataArray(np.random.default_rng(0).poisson(5.0, (64, 64)), dims=("phi", "eV"))
    >>> figure = plotting.diagnose(cut)
    """
    import textwrap

    import matplotlib.pyplot as plt
    import torch

    from arpes_ml_plugins.denoising import noise as statistics
    from arpes_ml_plugins.denoising.defects import hot_pixels
    from arpes_ml_plugins.plotting.notebook_figure import NotebookFigure

    array, _ = select_spectrum(data)
    array, _ = strip_unit(array)
    image_dims = resolve_dims(array, ("energy", "momentum"), dims)
    check_array(array)
    check_values(array, image_dims)
    array, axes_pair = check_image(array, image_dims, SMALLEST_IMAGE)
    noise = noise_of(array, axes_pair, "cpu").compute()
    some = sampled(array, axes_pair, IMAGES).transpose(..., *image_dims)
    values = some.values.astype(np.float64).reshape(-1, *some.shape[-2:])
    images, valid = torch.from_numpy(fill_missing(values)).nan_to_num(), ~np.isnan(values)
    mask = torch.from_numpy(valid)
    found = statistics.estimate(images, mask)
    gain = float(
        found.gain if found.gain.isfinite() else statistics.variance_over_mean(images, mask)
    )
    hot = hot_pixels(images, mask, torch.full((len(images), 1, 1), gain, dtype=images.dtype))
    if not found.gain.isfinite():
        gain = float(statistics.variance_over_mean(images, mask & ~hot))

    figure, panels = plt.subplots(
        1, 3, FigureClass=NotebookFigure, figsize=(12.5, 4.2), layout="constrained"
    )
    batch = some.shape[:-2]
    middle = int(np.ravel_multi_index([size // 2 for size in batch], batch)) if batch else 0
    shown = image_of(
        some.isel({d: s // 2 for d, s in some.sizes.items() if d not in image_dims}), dims
    )
    show_image(panels[0], shown, IMAGE_CMAP, float(np.nanpercentile(shown, 99.8)) or None)
    rows, columns = np.nonzero(hot[middle].numpy())
    panels[0].plot(
        shown.coords[image_dims[1]].values[columns],
        shown.coords[image_dims[0]].values[rows],
        "o",
        color="cyan",
        markersize=4,
        markerfacecolor="none",
        linestyle="",
        label=f"{len(rows)} hot pixels",
    )
    if len(rows):
        panels[0].legend(loc="upper right", fontsize="small")
    panels[0].set_title("data")
    _photon_transfer(panels[1], *statistics.block_variances(images, mask & ~hot), gain, noise)
    spectra = statistics.noise_spectra(images, mask & ~hot)
    for spectrum, dim, colour in zip(spectra, image_dims, ("C0", "C1"), strict=True):
        _spectrum(panels[2], spectrum.numpy(), str(dim), colour)
    correlated = noise["kind"].item() == "correlated"
    wavelengths = "long wavelengths" if correlated else "high frequencies"
    if np.isfinite(gain):  # values below zero have none
        panels[2].axhline(
            gain, color="black", linewidth=1, linestyle="--", label=f"gain at {wavelengths}"
        )
        panels[2].set_ylim(0, 3 * gain)
    panels[2].set(
        xlabel="frequency / Nyquist frequency",
        ylabel="noise power",
        title="Noise power: flat if pixels are independent",
    )
    panels[2].legend(fontsize="small")
    figure.suptitle(textwrap.fill(str(noise["verdict"].item()), LONGEST_TITLE))
    return figure


def _photon_transfer(axes: Axes, mean: Any, variance: Any, gain: float, noise: xr.Dataset) -> None:
    """Draw variance against mean of the noise, which is a line through zero for counts."""
    from matplotlib.ticker import LogFormatter

    axes.loglog(mean, variance, ".", color="0.6", markersize=4, label="blocks of 16 x 16 pixels")
    if len(mean):
        ends = np.array([max(float(mean.min()), 1e-3 * float(mean.max())), float(mean.max())])
        named = float(noise["gain"]) if np.isfinite(noise["gain"]) else gain
        told = f"variance = {named:.3g} x mean"
        if noise["kind"].item() == "correlated":
            told += ",\nat long wavelengths"
        axes.loglog(ends, named * ends, color="C3", label=told)
        axes.legend(fontsize="small")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(LogFormatter())  # 20, not 2 x 10^1
        axis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.5)))
    axes.set(
        xlabel="mean",
        ylabel="variance of the noise",
        title="Variance: for counts, a line through zero",
    )


def _spectrum(axes: Axes, power: np.ndarray, dim: str, colour: str) -> None:
    """Draw the power, averaged over a few frequencies for legibility."""
    width = max(1, len(power) // 40)
    used = len(power) // width * width
    frequency = (np.arange(used).reshape(-1, width).mean(1) + 0.5) / len(power)
    axes.plot(
        frequency, power[:used].reshape(-1, width).mean(1), color=colour, label=f"along {dim}"
    )
