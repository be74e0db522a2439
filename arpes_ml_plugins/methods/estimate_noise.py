"""``estimate_noise``: the kind of noise of the data, in numbers and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import xarray as xr

from arpes_ml_plugins.labelled.progress import ProgressOption
from arpes_ml_plugins.methods.denoising_docstrings import BLOCKS
from arpes_ml_plugins.methods.denoising_input import FOR_WORDS, INTERNAL, noise_of
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
    progress: ProgressOption = "auto",
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.Dataset:
    """Estimate the noise of the data: its gain, whether they are counts, and defects.

    The variance of counted electrons is their mean. If a detector or a unit multiplies the values,
    variance over mean is the gain. The gain is estimated from the spatial frequencies that contain
    no structure, which works at any number of counts. They also show whether the noise is white:
    it is not after interpolation, smoothing or conversion to momentum, or behind a camera. Such
    counts cannot be split at random, and their gain is that at long wavelengths. It is estimated
    twice: from the spectrum of the noise in blocks with little structure, compared with simulated
    clouds of charge, and from the variance of pixels against their mean, with the scene predicted
    from neighbouring rows.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        Intensities with an energy and a momentum (or angle) axis, at least 8 x 8 pixels. All
        images are assumed to come from one detector. From large data, evenly spread windows of
        about 110 000 pixels in total are used, and up to a million pixels of whole images to find
        uneven lines, saturation and missing or negative values, so that the time does not grow
        with the size.
    {device}
    {unused_rng}
    {progress}
    {dims}

    Returns
    -------
    xarray.Dataset
        Scalar variables for the whole array:

        - ``gain``: variance over mean, in the unit of the data; NaN if it cannot be estimated.
          ``gain_error``: its standard deviation. If the values are multiples of a step and the
          noise agrees with it, the gain is that step;
        - ``step``: number of which all values are multiples (1 for integers), or NaN;
        - ``shift``: the variance is ``gain * (mean + shift)``; positive for read-out noise or a
          subtracted constant, negative for a pedestal, zero if neither is significant.
          ``shift_error``: its standard deviation;
        - ``pedestal``: mean of pixels without electrons, in the unit of the data, if correlated
          noise and white read-out noise beside it tell it; ``gain * (shift + pedestal)`` is then
          the variance of the read-out. Negative: a constant was subtracted after the noise had
          become correlated. 0: not determined separately from ``shift``;
        - ``curvature``: of white noise that does not follow the intensity x by a line. If it is
          positive, the variance is ``gain * x + curvature * x**2`` (a fluctuating source, pixels of
          unequal sensitivity); if it is negative, ``gain * x * exp(curvature * x / gain)`` (a
          detector that saturates, logarithms). Otherwise 0;
        - ``energy_correlation``, ``momentum_correlation``: correlation of the noise of neighbouring
          pixels along each axis, 0 for counts; that of electrons alone, if ``shift`` stands for
          white read-out noise that was told from theirs by its spectrum;
        - ``hot_fraction``, ``missing_fraction``, ``negative_fraction``: fractions of the pixels;
        - ``mean_counts``: electrons per pixel, intensity over gain;
        - ``deviation``: standard deviation of the noise of a typical pixel, if ``kind`` is
          ``"local"``; otherwise NaN;
        - ``energy_jitter``, ``momentum_jitter``: relative standard deviation of the intensity from
          one energy (momentum) to the next beyond noise and structure, 0 if it is not significant;
          ``energy_alternation``, ``momentum_alternation``: relative excess of every second energy
          (momentum), 0 if they do not alternate;
          ``energy_baseline``, ``momentum_baseline``: standard deviation of constants that were
          added to each energy (momentum) by itself, 0 if it is not significant;
        - ``energy_repeats``, ``momentum_repeats``: how often each energy (momentum) is repeated on
          average, as after interpolation to the nearest neighbour, otherwise 1. All other variables
          then describe the data without the repetitions;
        - ``sign``: -1 if the values are intensities with a negative sign, as in a current,
          otherwise 1. All other variables then describe their magnitudes;
        - ``mark``: value that stands for missing data (the only negative one, by far the largest in
          whole regions, or zero around data that were interpolated or filtered before); NaN if
          there is none. Such pixels count as missing;
        - ``transform``: 1 to 4 if the values are a power, a square root (of counts plus a
          constant), a logarithm or an inverse hyperbolic sine of counts, otherwise 0. All other
          variables then describe these counts;
        - ``image_scale``, ``energy_scale``, ``momentum_scale``: if each image (or each energy, or
          each momentum) was divided by a number of its own, for example its maximum or the time of
          the exposure, the ratio of the largest and the smallest of these numbers, otherwise 1. All
          other variables then describe the noise after multiplication by these numbers, over their
          geometric mean;
        - ``clipped_fraction``: fraction of the pixels at which the detector saturates;
        - ``cut_off``: the lowest value, if all lower ones were set to it (negative ones to zero),
          and ``cut_off_noise``: the standard deviation of the noise in the dark before (NaN if a
          constant was subtracted from counts); otherwise both are NaN;
        - ``kind``: ``"counts"`` (variance = step), ``"scaled counts"`` (white, another gain),
          ``"correlated"``, ``"offset"`` (variance and intensity are not proportional), ``"local"``
          (something was subtracted, or there is hardly any noise: only the noise itself is known,
          from place to place),
          ``"negative"`` (the same, but the noise is not known), ``"derivative"`` (a second
          derivative along one axis, which :func:`denoise` refuses) or ``"unknown"`` (too few pixels
          or counts, or too little contrast to tell a pedestal from the gain);
        - ``status``: ``"ok"``, or ``"uncertain"`` if another shift, and with it another gain,
          explains the noise nearly as well, or if two estimates of the gain of correlated noise
          differ, because structure is as fine as the noise (``gain_error`` includes this), or if
          counts were cut off after a constant was subtracted;
        - ``verdict``: summary in words.

    Raises
    ------
    {unusable}

    See Also
    --------
    arpes_ml_plugins.plotting.diagnose : draw the noise and this verdict.

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
    return noise_of(array, image, device, progress).drop_vars([*INTERNAL, *FOR_WORDS])
