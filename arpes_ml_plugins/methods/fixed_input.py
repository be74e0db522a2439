"""``denoise_fixed_input``: the method that the paper improves on, as its baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import xarray as xr

from arpes_ml_plugins.labelled.apply import Image
from arpes_ml_plugins.labelled.progress import ProgressOption
from arpes_ml_plugins.methods.denoise_pcp_unet import fit_images
from arpes_ml_plugins.parameters import check_count, check_positive

if TYPE_CHECKING:
    import torch

__all__ = ["denoise_fixed_input"]


def denoise_fixed_input(
    data: xr.DataArray | xr.Dataset,
    *,
    iterations: int = 8000,
    learning_rate: float | None = None,
    noise_ratio: float = 0.5,
    precision: str = "auto",
    batch_size: int | None = None,
    device: str = "auto",
    rng: int | torch.Generator | None = None,
    progress: ProgressOption = False,
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.DataArray | xr.Dataset:
    """Denoise with a network whose input is fixed noise, trained by stochastic gradient descent.

    This is the previous method (reference 27 of the paper), here for comparison: same network and
    loss as ``denoise_pcp_unet(recipe="published")``, but a random input instead of the prior and
    plain gradient descent instead of AdamW. Prefer :func:`denoise_pcp_unet`.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        As in :func:`denoise_pcp_unet`.
    iterations : int
        Steps of gradient descent. The paper quotes 8000.
    learning_rate : float, optional
        Step of the network's weights; the sparse term's is this over ``noise_ratio``. The paper
        gives none for this method; the default is the largest that did not diverge on the
        benchmark sets.
    noise_ratio : float
        η_a / η_s of eq. 4: a larger value leaves less to the sparse term.
    precision, batch_size, device, rng, progress, dims
        As in :func:`denoise_pcp_unet`.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        As given, in the same unit. Integers become float32.

    Raises
    ------
    AxisError, DataError, DataTypeError, ParameterError, DeviceError
        Unusable input; the message says what to do.

    References
    ----------
    Huang, Liu, Qian and Yang, Sci. China Phys. Mech. Astron. 66, 267011 (2023), as described in
    Huang, Liu, Qian and Weng (2024), sections II and III B.

    Examples
    --------
    >>> import numpy as np, xarray as xr, arpes_ml_plugins
    >>> counts = np.random.default_rng(0).poisson(9.0, size=(16, 16))
    >>> cut = xr.DataArray(counts, dims=("phi", "eV"))
    >>> cut.S.denoise_fixed_input(iterations=5, rng=0).shape
    (16, 16)
    """
    from arpes_ml_plugins.denoising.recipes import FIXED_INPUT

    check_count("iterations", iterations)
    check_positive("learning_rate", learning_rate, optional=True)
    recipe = replace(
        FIXED_INPUT,
        iterations=int(iterations),
        learning_rate=learning_rate or FIXED_INPUT.learning_rate,
    )
    arrays = fit_images(
        "denoise_fixed_input",
        data,
        dims,
        {"clean": Image()},
        recipe=recipe,
        prior=False,
        noise_ratio=noise_ratio,
        sparsity=None,
        precision=precision,
        batch_size=batch_size,
        device=device,
        rng=rng,
        progress=progress,
    )
    return arrays["clean"]
