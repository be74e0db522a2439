"""``estimate_noise``: what kind of noise the data have, in numbers and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import xarray as xr

from arpes_ml_plugins.labelled.progress import ProgressOption
from arpes_ml_plugins.methods.denoising_input import BLOCKS, noise_of
from arpes_ml_plugins.parameters import check_image, documented

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["SMALLEST_IMAGE", "estimate_noise"]

SMALLEST_IMAGE = 8


@documented(**BLOCKS)
def estimate_noise(
    data: xr.DataArray | xr.Dataset,
    *,
    device: str = "auto",
    rng: int | np.random.Generator | torch.Generator | None = None,
    progress: ProgressOption = False,
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.Dataset:
    """Estimate the noise: its gain, whether the data are counts, and what is wrong with them.

    Counting electrons gives noise whose variance is the mean; a detector or a unit multiplies
    both, and variance over mean is then the gain. The spatial frequencies at which no structure is
    left show it at any number of counts, and show whether the noise is white: after interpolation,
    smoothing or conversion to momentum, or behind a camera, it is not. Such counts cannot be split
    at random, and the gain is that of long wavelengths.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        Intensities with an energy and a momentum (or angle) axis, at least 8 x 8 pixels. All
        images are assumed to come from one detector. Of large data, evenly spread windows are
        used, of 110 000 pixels in all, and up to a million pixels of whole images to find uneven
        lines, ceilings and missing or negative values; the time is then the same whatever the size.
    {device}
    {unused_rng}
    {progress}
    {dims}

    Returns
    -------
    xarray.Dataset
        Single numbers for the whole array:

        - ``gain``: variance over mean, in the unit of the data; NaN if there is no such
          number. ``gain_error``: its standard deviation. If the values are whole multiples of a
          step and the noise agrees with it, the gain is that step;
        - ``step``: the number that all values are multiples of (1 for integers), or NaN;
        - ``shift``: the variance is ``gain * (mean + shift)``; above zero for read-out noise or a
          subtracted constant, below zero for a pedestal, zero if neither shows;
        - ``energy_correlation``, ``momentum_correlation``: of the noise of neighbouring pixels
          along either axis, 0 for counts;
        - ``hot_fraction``, ``missing_fraction``, ``negative_fraction``: fractions of the pixels;
        - ``mean_counts``: electrons per pixel, intensity over gain;
        - ``energy_jitter``, ``momentum_jitter``: relative standard deviation by which all pixels
          of one energy (momentum) are brighter or darker than those beside it, 0 if that is no
          more than noise; ``energy_alternation``, ``momentum_alternation``: by how much every
          second one is brighter, 0 if they do not take turns;
        - ``clipped_fraction``: pixels at a ceiling of the detector;
        - ``kind``: ``"counts"`` (variance = step), ``"scaled counts"`` (white, another gain),
          ``"correlated"``, ``"offset"`` (variance and intensity are not proportional),
          ``"negative"`` (something was subtracted) or ``"unknown"`` (too few pixels or counts);
        - ``verdict``: a sentence.

    Raises
    ------
    {unusable}

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
