"""An example plugin: a median filter as ``.S.denoise_median()``."""

from __future__ import annotations

import xarray as xr
from scipy.ndimage import median_filter

import arpes_ml_plugins


def denoise_median(data, *, size=3, device="auto", rng=None, progress=False, dims=None):
    """Replace every pixel by the median of its surroundings in the image.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        With an energy and a momentum axis; other dimensions are a batch.
    size : int
        Side of the surroundings, in pixels.
    device, rng, progress, dims
        As for all methods; the filter needs neither device nor seed.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        As given. Integers become float32.

    Examples
    --------
    >>> cut.S.denoise_median(size=5)  # doctest: +SKIP
    """
    floats = data if data.dtype.kind == "f" else data.astype("float32")
    return xr.apply_ufunc(
        lambda images: median_filter(images, size=(1,) * (images.ndim - 2) + (size, size)),
        floats,
        input_core_dims=[dims],
        output_core_dims=[dims],
        dask="parallelized",
        dask_gufunc_kwargs={"allow_rechunk": True},
        output_dtypes=[floats.dtype],
        keep_attrs=True,
    ).transpose(*data.dims)


@arpes_ml_plugins.hookimpl
def register_methods(registry):
    registry.add(denoise_median, roles=("energy", "momentum"), accepts_nan=False)
