"""Draw the noise of data as it is measured: hot pixels, variance against mean, spectra."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from arpes_ml_plugins.labelled.axes import IMAGE
from arpes_ml_plugins.labelled.missing import fill_missing
from arpes_ml_plugins.labelled.series import sampled
from arpes_ml_plugins.labelled.spectrum import check_array, check_values, select_spectrum
from arpes_ml_plugins.labelled.units import strip_unit
from arpes_ml_plugins.methods.denoising_input import IMAGES, noise_of
from arpes_ml_plugins.methods.estimate_noise import SMALLEST_IMAGE
from arpes_ml_plugins.methods.scales_run import SCALING, scaling_from
from arpes_ml_plugins.parameters import check_image
from arpes_ml_plugins.plotting.figures import closed_on_error
from arpes_ml_plugins.plotting.images import IMAGE_CMAP, image_of, show_image
from arpes_ml_plugins.plotting.labels import readable_ticks, status_title
from arpes_ml_plugins.plotting.limits import colour_limits
from arpes_ml_plugins.plugins.axes import resolved_dims

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from arpes_ml_plugins.denoising.noise_spectrum import NoiseSpectrum

__all__ = ["diagnose"]

ROUNDING, LEAST = 1e-12, 1e-300  # relative to the mean, and absolute: less noise is rounding
MOST_BLOCKS = 0.98  # fraction of the blocks that the panel shows; structure is in the others


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
        Three panels, titled by the verdict of ``estimate_noise``:

        - the (middle) image with its hot pixels marked;
        - variance of the noise against mean intensity, in blocks, and the line ``gain * (mean +
          shift)`` of ``estimate_noise``, which goes through zero for counts, or the curve if there
          is a ``curvature``. Blocks with sharp structure lie above it. If neighbouring pixels are
          correlated, the variance is that of sums over many pixels, per pixel. Values below zero
          have no such line;
        - power of the noise against spatial frequency along each axis, and the fitted curve: flat
          for independent pixels, falling if neighbours are correlated.

    Examples
    --------
    >>> import numpy as np, xarray as xr, arpes_ml_plugins.plotting as plotting
    >>> cut = xr.DataArray(np.random.default_rng(0).poisson(5.0, (64, 64)), dims=("phi", "eV"))
    >>> figure = plotting.diagnose(cut)
    """
    import matplotlib.pyplot as plt

    from arpes_ml_plugins.plotting.notebook_figure import NotebookFigure

    array, _ = select_spectrum(data)
    array, _ = strip_unit(array)
    image_dims = resolved_dims(array, IMAGE, dims)
    check_array(array)
    check_values(array, image_dims)
    array, axes_pair = check_image(array, image_dims, SMALLEST_IMAGE)
    noise = noise_of(array, axes_pair, "cpu").compute()
    some = sampled(array, axes_pair, IMAGES).transpose(..., *image_dims)
    seen = _seen(some, noise)
    figure, panels = plt.subplots(
        1, 3, FigureClass=NotebookFigure, figsize=(12.5, 4.2), layout="constrained"
    )
    _image(panels[0], some, seen.hot, image_dims, dims)
    if float(seen.spectrum.gain) > max(ROUNDING * abs(seen.mean), LEAST):
        _photon_transfer(panels[1], seen.spectrum, seen.shift, noise)
        _spectrum(panels[2], seen.spectrum, image_dims)
    else:
        for axes in panels[1:]:
            axes.text(0.5, 0.5, "There is no noise.", ha="center", transform=axes.transAxes)
    panels[1].set(
        xlabel="mean intensity, multiplied by its scale" if seen.scaled else "mean intensity",
        ylabel="variance of the noise",
        title="Variance: for counts, a line through zero",
    )
    panels[2].set(
        xlabel="frequency / Nyquist frequency",
        ylabel="noise power / power at frequency zero",
        title="Power: flat for independent pixels",
    )
    status_title(figure, str(noise["verdict"].item()))
    return figure


@dataclass(frozen=True)
class _Seen:
    spectrum: NoiseSpectrum
    hot: NDArray[np.bool_]
    """Mask of the hot pixels, ``(n, height, width)``."""
    shift: float
    mean: float
    scaled: bool
    """Whether images are divided by scales of their lines."""


def _seen(some: xr.DataArray, noise: xr.Dataset) -> _Seen:
    """Measure again what ``estimate_noise`` sees in some images of the data."""
    import torch

    from arpes_ml_plugins.denoising import noise as statistics
    from arpes_ml_plugins.denoising.defects import hot_pixels
    from arpes_ml_plugins.denoising.gain_scales import relative_scales
    from arpes_ml_plugins.denoising.line_offsets import line_offsets
    from arpes_ml_plugins.denoising.noise_clouds import behind_clouds
    from arpes_ml_plugins.denoising.noise_floor import variance_over_mean
    from arpes_ml_plugins.denoising.noise_model import NoiseModel
    from arpes_ml_plugins.denoising.noise_spectrum import noise_spectrum
    from arpes_ml_plugins.denoising.repeated_lines import distinct_lines

    values = some.values.astype(np.float64).reshape(-1, *some.shape[-2:])
    images = torch.from_numpy(fill_missing(values)).nan_to_num()
    mask = torch.from_numpy(~np.isnan(values))
    images = float(noise["sign"]) * images
    repeated = max(float(noise[f"{name}_repeats"]) for name in ("energy", "momentum")) > 1
    distinct = distinct_lines(images, mask) if repeated else None
    if distinct is not None:
        images, mask = distinct.chosen(images), distinct.chosen(mask)
    scaling = scaling_from({name: float(noise[name]) for name in SCALING})
    scales = relative_scales(images, mask, scaling)
    along, across = (bool(noise[f"{name}_baseline"] > 0) for name in ("energy", "momentum"))
    offsets = line_offsets(images, mask, rows=along, columns=across)
    images = images if offsets is None else images - offsets.values
    images = images if scales is None else images / scales
    estimate = statistics.estimate(images, mask, several=len(images) > 1)
    gain = estimate.gain if estimate.gain.isfinite() else variance_over_mean(images, mask)
    model = NoiseModel(float(gain), curvature=float(estimate.curvature))
    counts, scale = model.proportional(images)
    hot = hot_pixels(counts, mask, counts.new_full((len(counts), 1, 1), scale))
    known = bool(np.isfinite(noise["gain"]))
    shift = float(noise["shift"] if known else -images[mask].min())
    # Above a pedestal, and with the noise of the read-out added, counts and their noise agree.
    spectrum = noise_spectrum(images + shift, estimate.used)
    if noise["kind"] == "correlated":
        spectrum = behind_clouds(images + shift, estimate.used, spectrum, estimate.gain)
    return _Seen(spectrum, hot.numpy(), shift, float(images[mask].mean()), scales is not None)


def _image(
    axes: Axes,
    some: xr.DataArray,
    hot: NDArray[np.bool_],
    image_dims: tuple[Hashable, ...],
    dims: Mapping[str, Hashable] | Sequence[Hashable] | None,
) -> None:
    """Draw the middle image with its hot pixels."""
    batch = some.shape[:-2]
    middle = int(np.ravel_multi_index([size // 2 for size in batch], batch)) if batch else 0
    shown = image_of(
        some.isel({d: s // 2 for d, s in some.sizes.items() if d not in image_dims}), dims
    )
    show_image(axes, shown, IMAGE_CMAP, colour_limits(shown))
    rows, columns = np.nonzero(hot[middle])
    axes.plot(
        shown.coords[image_dims[1]].values[columns],
        shown.coords[image_dims[0]].values[rows],
        "o",
        color="cyan",
        markersize=4,
        markerfacecolor="none",
        linestyle="",
        label=f"{len(rows)} hot pixel{'s' * (len(rows) != 1)}",
    )
    if len(rows):
        axes.legend(loc="upper right", fontsize="small")
    axes.set_title("data")


def _photon_transfer(axes: Axes, spectrum: NoiseSpectrum, shift: float, noise: xr.Dataset) -> None:
    """Draw variance against mean of the noise, with the line of the noise estimate."""
    import torch

    from arpes_ml_plugins.denoising.noise_model import NoiseModel

    above = spectrum.mean.numpy()
    correlated = noise["kind"].item() == "correlated"
    power = spectrum.gain if correlated else spectrum.mean_power
    variance = float(power) * spectrum.ratio.numpy() * above
    mean, gain = above - shift, float(noise["gain"])
    axes.plot(
        mean,
        variance,
        ".",
        color="0.6",
        markersize=4,
        label=f"blocks of {spectrum.block} x {spectrum.block} pixels",
    )
    top = float(np.quantile(variance, MOST_BLOCKS))
    if np.isfinite(gain):  # values below zero have no line
        curvature = float(noise["curvature"])
        places = np.linspace(-shift, float(mean.max()), 200 if curvature else 2)
        line = NoiseModel(gain, shift, curvature=curvature).variance(torch.from_numpy(places))
        model = _model(gain, shift, curvature, correlated)
        axes.plot(places, line, color="C3", label=f"variance = {model}")
        axes.set_xlim(left=min(0.0, -shift))
        top = max(top, float(line.max()))
    axes.set_ylim(0, 1.15 * top)
    axes.legend(fontsize="small", loc="upper left")
    readable_ticks(axes)


def _model(gain: float, shift: float, curvature: float, correlated: bool) -> str:
    """The line, or the curve, in words."""
    if curvature > 0:
        return f"{gain:.3g} × mean + {curvature:.3g} × mean²"
    if curvature < 0:
        return f"{gain:.3g} × mean × exp(−mean / {-gain / curvature:.3g})"
    sign = "+" if shift > 0 else "−"
    mean = f"(mean {sign} {abs(shift):.3g})" if shift else "mean"
    return f"{gain:.3g} × {mean}" + (",\nat long wavelengths" if correlated else "")


def _spectrum(axes: Axes, spectrum: NoiseSpectrum, dims: Sequence[Hashable]) -> None:
    """Draw the measured and the fitted noise power along each axis."""
    frequency = spectrum.frequencies.numpy()
    axes.axhline(1, color="0.6", linewidth=0.8, linestyle="--")
    for (measured, fitted), dim, colour in zip(
        spectrum.along_axes(), dims, ("C0", "C1"), strict=True
    ):
        axes.plot(frequency, measured.numpy(), "o", color=colour, label=f"along {dim}")
        axes.plot(frequency, fitted.numpy(), color=colour)
    axes.set(xlim=(0, 1), ylim=(0, max(1.6, 1.3 * axes.dataLim.ymax)))  # the legend is above
    axes.legend(fontsize="small", loc="upper right")
