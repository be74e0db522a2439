"""``decompose_pcp``: split an image into a low-rank and a sparse part."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import xarray as xr

from arpes_ml_plugins.labelled.apply import Image, ImageBatch, Output, Scalar, map_images
from arpes_ml_plugins.labelled.devices import small_batch_size
from arpes_ml_plugins.labelled.progress import ProgressOption
from arpes_ml_plugins.methods.denoising_docstrings import BLOCKS
from arpes_ml_plugins.parameters import (
    check_choice,
    check_count,
    check_image,
    check_positive,
    documented,
    warn_unconverged,
)

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["decompose_pcp"]


@documented(**BLOCKS)
def decompose_pcp(
    data: xr.DataArray | xr.Dataset,
    *,
    sparsity: float | None = None,
    solver: str = "alm",
    tolerance: float = 1e-5,
    iterations: int = 500,
    device: str = "auto",
    rng: int | np.random.Generator | torch.Generator | None = None,
    progress: ProgressOption = "auto",
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.Dataset:
    """Split an image into a low-rank and a sparse part by principal component pursuit.

    This is the convex decomposition of [2]_. The low-rank part contains what many EDCs (or MDCs)
    have in common, the sparse part what is specific to few pixels. It is the first stage of
    :func:`denoise_pcp_unet`; by itself it removes hot pixels.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        Intensities with an energy and a momentum (or angle) axis. Other dimensions are a batch;
        each image is decomposed separately. NaN pixels are filled from their surroundings and are
        NaN again in the result.
    sparsity : float, optional
        Weight λ of the sparse part (eq. 2 of [1]_). A larger value leaves more in the low-rank
        part. The default, ``1 / sqrt(max(image shape))``, suits images of low rank. A narrow bright
        band that runs diagonally is not of low rank, and much of it then appears in ``sparse``.
        Check both parts, and raise ``sparsity`` if you see a band in the sparse one.
    solver : {"alm", "admm"}
        ``"alm"``: inexact augmented Lagrangian with a growing penalty, about 50 iterations.
        ``"admm"``: fixed penalty (eqs. S2-S7 of [1]_), exact but sometimes very slow.
    tolerance : float
        Relative error (Frobenius norm) of the sum of the parts at which the iteration stops. A
        smaller value takes more iterations.
    iterations : int
        Upper limit on the iterations. If an image has not converged by then, a warning is issued.
    {device}
    {unused_rng}
    {progress}
    {dims}

    Returns
    -------
    xarray.Dataset
        ``low_rank`` and ``sparse``, in the shape and unit of the data; ``iterations``,
        ``residual`` (relative error of their sum) and ``converged``, one value per image.

    Raises
    ------
    {unusable}

    Warns
    -----
    ConvergenceWarning
        An image has not converged within ``iterations``.

    References
    ----------
    .. [1] Huang, Liu, Qian and Weng, "Training-set-free two-stage deep learning for
       spectroscopic data de-noising" (2024), eqs. 2 and S1-S7.
    .. [2] Candès, Li, Ma and Wright, J. ACM 58, 11 (2011).

    Examples
    --------
    >>> import numpy as np, xarray as xr, arpes_ml_plugins
    >>> image = np.outer(np.hanning(20), np.hanning(30))
    >>> image[4, 7] += 5  # a hot pixel
    >>> cut = xr.DataArray(image, dims=("phi", "eV"))
    >>> parts = cut.S.decompose_pcp()
    >>> bool(parts.sparse[4, 7] > 4)
    True
    """
    from arpes_ml_plugins.denoising.pcp import SOLVERS

    array, image = check_image(data, dims, 2)
    check_positive("sparsity", sparsity, optional=True)
    check_choice("solver", solver, SOLVERS)
    check_positive("tolerance", tolerance)
    check_count("iterations", iterations)
    algorithm = partial(
        _decompose,
        sparsity=sparsity,
        solver=solver,
        tolerance=tolerance,
        iterations=iterations,
    )
    outputs: dict[str, Output] = {
        "low_rank": Image(),
        "sparse": Image(),
        "iterations": Scalar("int64"),
        "residual": Scalar(),
        "converged": Scalar("bool"),
    }
    arrays = map_images(
        array,
        image,
        algorithm,
        outputs,
        method="decompose_pcp",
        device=device,
        progress=progress,
        batch_size=small_batch_size(device, math.prod(array.sizes[dim] for dim in image)),
    )
    result = xr.Dataset(arrays)
    warn_unconverged(result, "decompose_pcp", "raise iterations or tolerance")
    return result


def _decompose(
    batch: ImageBatch, *, sparsity: float | None, solver: str, tolerance: float, iterations: int
) -> dict[str, torch.Tensor]:
    from arpes_ml_plugins.denoising.pcp import principal_component_pursuit

    result = principal_component_pursuit(
        batch.images,
        sparsity=sparsity,
        solver=solver,
        tolerance=tolerance,
        iterations=iterations,
    )
    if batch.report:
        batch.report(len(batch.images), None)
    return {name: getattr(result, name) for name in result.__dataclass_fields__}
