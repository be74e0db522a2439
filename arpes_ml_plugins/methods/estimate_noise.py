"""``estimate_noise``: what kind of noise the data have, in numbers and in words."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from arpes_ml_plugins.labelled.apply import ImageBatch, Output, Scalar, map_images
from arpes_ml_plugins.labelled.progress import ProgressOption
from arpes_ml_plugins.labelled.series import sampled
from arpes_ml_plugins.parameters import check_image

if TYPE_CHECKING:
    import torch

__all__ = ["SMALLEST_IMAGE", "estimate_noise", "noise_of"]

SMALLEST_IMAGE = 8
IMAGES = 32
"""Of a large data set so many images are looked at."""

NUMBERS = (
    "gain",
    "gain_error",
    "step",
    "energy_correlation",
    "momentum_correlation",
    "hot_fraction",
    "missing_fraction",
    "negative_fraction",
    "mean_counts",
)


def estimate_noise(
    data: xr.DataArray | xr.Dataset,
    *,
    device: str = "auto",
    rng: int | torch.Generator | None = None,
    progress: ProgressOption = False,
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.Dataset:
    """Tell what kind of noise the data have: the gain, whether they are counts, what is wrong.

    Counting electrons gives noise whose variance is the mean; a detector or a unit multiplies
    both, and variance over mean is then the gain. The spatial frequencies at which no structure is
    left show it at any number of counts, and show whether the noise is white: after interpolation,
    smoothing or conversion to momentum it is not, and methods that rely on counts must not be used.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        Intensities with an energy and a momentum (or angle) axis, at least 8 x 8 pixels. All
        images are taken to come from one detector; of more than 32 images, 32 are looked at.
    device : str
        ``"auto"`` (CUDA, then MPS, then CPU) or the name of a torch device.
    rng : int or torch.Generator, optional
        Not used: there is nothing random. All methods take it.
    progress : bool or callable
        Show a bar, or call a function with a :class:`~arpes_ml_plugins.Progress`.
    dims : mapping or sequence of str, optional
        The energy and the momentum axis where names do not tell, ``("eV", "phi")`` or
        ``{"momentum": "phi"}``.

    Returns
    -------
    xarray.Dataset
        Single numbers for the whole array:

        - ``gain``: variance over mean, in the unit of the data; NaN where there is no such
          number. ``gain_error``: its standard deviation. Where the values are whole multiples of a
          step and the noise agrees with it, the gain is that step;
        - ``step``: the number that all values are multiples of (1 for integers), or NaN;
        - ``energy_correlation``, ``momentum_correlation``: of the noise of neighbouring pixels
          along either axis, 0 for counts;
        - ``hot_fraction``, ``missing_fraction``, ``negative_fraction``: of the pixels;
        - ``mean_counts``: electrons a pixel, intensity over gain;
        - ``kind``: ``"counts"`` (variance = step), ``"scaled counts"`` (white, another gain),
          ``"correlated"``, ``"offset"`` (variance and intensity are not proportional),
          ``"negative"`` (something was subtracted) or ``"unknown"`` (too little to tell);
        - ``verdict``: a sentence.

    Raises
    ------
    AxisError, DataError, DataTypeError, DeviceError
        Unusable input; the message says what to do.

    See Also
    --------
    arpes_ml_plugins.plotting.diagnose : the same as a picture.

    Examples
    --------
    >>> import numpy as np, xarray as xr, arpes_ml_plugins
    >>> electrons = np.random.default_rng(0).poisson(4.0, size=(64, 64))
    >>> cut = xr.DataArray(electrons * 2.5, dims=("phi", "eV"))
    >>> noise = cut.S.estimate_noise()
    >>> float(noise.gain), str(noise.kind.values)
    (2.5, 'counts')
    """
    array, image = check_image(data, dims, SMALLEST_IMAGE)
    return noise_of(array, image, device, progress)


def noise_of(
    array: xr.DataArray,
    image: tuple[Hashable, Hashable],
    device: str,
    progress: ProgressOption = False,
) -> xr.Dataset:
    """The estimate for an array whose axes are settled; lazy if the array is."""
    outputs: dict[str, Output] = {name: Scalar() for name in NUMBERS}
    outputs["kind"] = Scalar("int64")
    some = sampled(array, image, IMAGES)
    some = some.drop_vars(some.coords)  # of single numbers no coordinate is left
    batch = [dim for dim in some.dims if dim not in image]
    found = map_images(
        some,
        image,
        _estimate,
        outputs,
        method="estimate_noise",
        device=device,
        progress=progress,
        series=batch,
    )
    result = xr.Dataset(found)
    words = xr.apply_ufunc(
        partial(_words, dims=image),
        *(result[name] for name in ("kind", *NUMBERS)),
        dask="parallelized",
        output_core_dims=[[], []],
        output_dtypes=[np.dtype("<U16"), np.dtype("<U400")],
    )
    result["kind"], result["verdict"] = words
    return result


def _estimate(batch: ImageBatch) -> dict[str, torch.Tensor]:
    from arpes_ml_plugins.denoising.noise import estimate

    found = estimate(batch.images, batch.valid)
    if batch.report:
        batch.report(1, None)
    numbers = (
        found.gain,
        found.gain_error,
        found.step,
        found.row_correlation,
        found.column_correlation,
        found.hot,
        found.missing,
        found.negative,
        found.counts,
    )
    return dict(zip(NUMBERS, numbers, strict=True)) | {"kind": found.kind}


def _words(
    kind: int,
    gain: float,
    error: float,
    step: float,
    energy: float,
    momentum: float,
    hot: float,
    missing: float,
    negative: float,
    counts: float,
    *,
    dims: tuple[Hashable, Hashable],
) -> tuple[np.ndarray, np.ndarray]:
    from arpes_ml_plugins.denoising.noise import KINDS

    name = "unknown" if np.isnan(missing) else KINDS[int(kind)]  # nothing but NaN
    along = " and ".join(
        f"{value:.2f} along {dim}" for value, dim in zip((energy, momentum), dims, strict=True)
    )
    sentence = {
        "counts": f"Counts of {step:.4g} each: {counts:.3g} electrons a pixel.",
        "scaled counts": f"White noise of gain {gain:.4g} ± {error:.2g}: {counts:.3g} electrons a "
        f"pixel.",
        "correlated": f"The noise of neighbouring pixels is correlated ({along}), as after "
        f"interpolation, smoothing or conversion to momentum: these are not counts. Denoise before "
        f"such steps where you can.",
        "offset": f"The variance is not proportional to the intensity (about {gain:.3g} of it), as "
        f"with a pedestal, a division by uneven numbers or electronic noise: these are not "
        f"counts.",
        "negative": f"{negative:.1%} of the pixels are negative, so something was subtracted "
        f"(or interpolation overshot): these are not counts. Denoise before such steps where you "
        f"can.",
        "unknown": "There are too few pixels or counts to tell the gain; pass gain= if you know "
        "it.",
    }[name]
    if hot > 0:
        sentence += f" {hot:.2%} of the pixels are hot."
    if missing > 0:
        sentence += f" {missing:.1%} are missing."
    return np.array(name), np.array(sentence)
