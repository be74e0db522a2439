"""``sample_posterior``: samples of the true image, to propagate errors into a fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import xarray as xr

from arpes_ml_plugins.errors import AxisError
from arpes_ml_plugins.fitting import DRAW, FEWEST_DRAWS
from arpes_ml_plugins.labelled.progress import ProgressOption
from arpes_ml_plugins.methods.counts_run import adapting
from arpes_ml_plugins.methods.denoising_docstrings import BLOCKS
from arpes_ml_plugins.parameters import check_count, documented

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["sample_posterior"]


@documented(**BLOCKS)
def sample_posterior(
    data: xr.DataArray | xr.Dataset,
    *,
    draws: int = 16,
    adapt: bool = True,
    gain: float | None = None,
    mesh: str | None = "auto",
    series: str | None = "auto",
    repeats: str | None = "auto",
    calibrate: bool = False,
    precision: str = "auto",
    device: str = "auto",
    rng: int | np.random.Generator | torch.Generator | None = None,
    progress: ProgressOption = "auto",
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.DataArray | xr.Dataset:
    """Draw samples of the true image, given the data, around that of :func:`denoise_pretrained`.

    The errors of neighbouring pixels are correlated after denoising, so the error of a fitted
    position or width does not follow from error bars per pixel. Fit every sample instead
    (:func:`fit_draws`): the scatter of the results is their error, including both the noise of the
    data and the error of the denoiser.

    Parameters
    ----------
    {counts}
    draws : int
        Number of samples, at least 2. The scatter of 16 samples is accurate to 18 %, of 64 samples
        to 9 %; time and memory grow in proportion.
    adapt : bool
        Whether to train the network further on the data, as in :func:`denoise_pretrained`.
    {gain}
    {mesh}
    {series}
    {repeats}
    {calibrate}
    {precision}
    {device}
    {rng}
    {progress}
    {dims}

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        Samples of the same type as ``data``, with a first dimension ``draw``. Their mean is the
        clean image, clipped at zero.

    Raises
    ------
    {no_counts}

    Warns
    -----
    {contradicted}

    See Also
    --------
    fit_draws : fit a model to every sample.
    decompose_pretrained : clean image and error bars of single pixels.

    Notes
    -----
    This is a parametric bootstrap. Measurements of the clean image are simulated with the noise of
    the data, and denoised as the data were. The scatter of the results around their mean is the
    noise that passes the denoiser; the difference between their mean and the clean image estimates
    the bias, on the assumption that the denoiser has the same bias for the true image. A sample
    deviates from the clean image by one such scatter, and by the bias with a sign and size drawn
    for the whole sample. Structure that the clean image lacks or has too much, according to the
    data, is added too, with a sign and size that change over a dozen pixels: faint ridges, and the
    contrast of regions. Where the residual of
    the data is larger than those of the simulations, noise of that size is added; if single pixels
    show this too, the noise is stronger than assumed, and all deviations are scaled. Structure that
    neither the clean image nor the data show significantly is not included: the samples lack a
    faint band of less than two standard deviations per piece of 25 pixels.

    Examples
    --------
    >>> import arpes_ml_plugins
    >>> from arpes_ml_plugins import simulate_scene
    >>> scene = simulate_scene((32, 32), counts=5, rng=1)
    >>> samples = scene.spectrum.S.sample_posterior(draws=8, adapt=False, rng=0)
    >>> samples.dims, samples.sizes["draw"]
    (('draw', 'eV', 'phi'), 8)
    >>> total = samples.sum(("eV", "phi"))
    >>> bool(abs(total.mean() - scene.truth.sum()) < 4 * total.std())
    True
    """
    check_count("draws", draws, least=FEWEST_DRAWS)
    if isinstance(data, xr.DataArray) and DRAW in (*data.dims, *data.coords):
        raise AxisError(
            f"the data have a dimension or coordinate named {DRAW!r}, which is the name of the "
            f"dimension of the samples; rename it, for example data.rename({DRAW}='own_{DRAW}')"
        )
    arrays = adapting("sample_posterior", adapt).sampling(draws, calibrate)(
        data,
        dims=dims,
        gain=gain,
        mesh=mesh,
        series=series,
        repeats=repeats,
        precision=precision,
        device=device,
        rng=rng,
        progress=progress,
    )
    images = list(arrays.values())
    samples = xr.concat(images, DRAW, coords="minimal", compat="override", join="override")
    samples = samples.transpose(DRAW, *images[0].dims)
    samples.encoding = images[0].encoding
    samples.attrs = {"found": images[0].attrs["found"] | {"added": [DRAW]}}
    return samples
