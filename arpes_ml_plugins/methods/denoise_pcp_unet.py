"""``denoise_pcp_unet`` and ``decompose_pcp_unet``: the two-stage denoiser of paper 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import xarray as xr

from arpes_ml_plugins.labelled.apply import Image, ImageBatch, Output, Trace, map_images
from arpes_ml_plugins.labelled.progress import ProgressOption
from arpes_ml_plugins.parameters import check_choice, check_count, check_image, check_positive

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.denoising.recipes import Recipe

__all__ = ["decompose_pcp_unet", "denoise_pcp_unet", "fit_each", "fit_images"]

SMALLEST_IMAGE = 16
PRECISIONS = ("auto", "float32", "bfloat16")


def denoise_pcp_unet(
    data: xr.DataArray | xr.Dataset,
    *,
    recipe: str = "robust",
    iterations: int | None = None,
    networks: int | None = None,
    noise_ratio: float = 0.5,
    sparsity: float | None = None,
    precision: str = "auto",
    batch_size: int | None = None,
    device: str = "auto",
    rng: int | torch.Generator | None = None,
    progress: ProgressOption = False,
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.DataArray | xr.Dataset:
    """Denoise a cut without any training data: principal component pursuit, then a network.

    A convolutional network is fitted to the one noisy image, with its low-rank part as input
    (eq. 3). Such a network takes up bands, edges and backgrounds long before it takes up noise.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        Counts or intensities with an energy and a momentum (or angle) axis, at least 16 x 16
        pixels. Other dimensions are a batch: each image is denoised by itself. A Dataset has its
        spectrum replaced. NaN pixels do not take part and stay NaN.
    recipe : {"robust", "published"}
        ``"robust"``: residuals are weighed by their Poisson-like standard deviation and clipped
        at three of them, the learning rate falls to zero, and two networks are averaged. 34.0 dB
        on PyARPES's cut at 7 counts a pixel (noisy 19.5, the best Gaussian 33.0).
        ``"published"``: the settings of the paper, kept for reference; its sparse term takes up
        noise and signal together, after which nothing more is learned. 17.4 dB on the same image;
        the documentation shows why.
    iterations : int, optional
        Steps of the optimiser; default 600 (robust) or 2000 (published). Fewer give a smoother,
        more a noisier image.
    networks : int, optional
        Networks fitted from different starts and averaged; default 2 (robust) or 1 (published).
        More cost proportionally more time and gain a little.
    noise_ratio : float
        η_a / η_s of eq. 4, for ``"published"`` only: a larger value leaves less to
        the sparse term.
    sparsity : float, optional
        λ of the first stage, see :func:`decompose_pcp`. It shapes the input of the
        network only.
    precision : {"auto", "float32", "bfloat16"}
        Of the convolutions. ``"auto"`` takes bfloat16 where the hardware multiplies it.
    batch_size : int, optional
        Images fitted together; default 1 on a CPU, 16 on a GPU, halved when memory runs out.
    device : str
        ``"auto"`` (CUDA, then MPS, then CPU) or the name of a torch device.
    rng : int or torch.Generator, optional
        Seed of the networks' first weights. The seed used is recorded in the provenance.
    progress : bool or callable
        Show a bar, or call a function with a :class:`~arpes_ml_plugins.Progress`.
    dims : mapping or sequence of str, optional
        The energy and the momentum axis where names do not tell, ``("eV", "phi")`` or
        ``{"momentum": "phi"}``.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        As given, in the same unit: nothing is clipped or rescaled. Integers become float32.

    Raises
    ------
    AxisError, DataError, DataTypeError, ParameterError, DeviceError
        Unusable input; the message says what to do.

    See Also
    --------
    decompose_pcp_unet : the same with residual, sparse part, prior and loss.

    References
    ----------
    Huang, Liu, Qian and Weng, "Training-set-free two-stage deep learning for spectroscopic data
    de-noising" (2024), eqs. 1-4 and Table I.

    Examples
    --------
    >>> import numpy as np, xarray as xr, arpes_ml_plugins
    >>> rate = 20 * np.outer(np.hanning(16), np.hanning(16))
    >>> counts = np.random.default_rng(0).poisson(rate)
    >>> cut = xr.DataArray(counts, dims=("phi", "eV"))
    >>> clean = cut.S.denoise_pcp_unet(iterations=20, rng=0)
    >>> clean.dims, clean.dtype
    (('phi', 'eV'), dtype('float32'))
    """
    arrays = fit_images(
        "denoise_pcp_unet",
        data,
        dims,
        {"clean": Image()},
        recipe=_recipe(recipe, iterations, networks),
        noise_ratio=noise_ratio,
        sparsity=sparsity,
        precision=precision,
        batch_size=batch_size,
        device=device,
        rng=rng,
        progress=progress,
    )
    return arrays["clean"]


def decompose_pcp_unet(
    data: xr.DataArray | xr.Dataset,
    *,
    recipe: str = "robust",
    iterations: int | None = None,
    networks: int | None = None,
    noise_ratio: float = 0.5,
    sparsity: float | None = None,
    precision: str = "auto",
    batch_size: int | None = None,
    device: str = "auto",
    rng: int | torch.Generator | None = None,
    progress: ProgressOption = False,
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.Dataset:
    """Denoise as :func:`denoise_pcp_unet` does, and return all that it found.

    Parameters
    ----------
    data, recipe, iterations, networks, noise_ratio, sparsity, precision, batch_size
        As in :func:`denoise_pcp_unet`.
    device, rng, progress, dims
        As in :func:`denoise_pcp_unet`.

    Returns
    -------
    xarray.Dataset
        In the unit of the data, with ``data = clean + sparse + residual``:

        - ``clean``: the network's image, what :func:`denoise_pcp_unet` returns;
        - ``sparse``: outliers. ``recipe="robust"``: what lies beyond three standard deviations;
          ``"published"``: the term ``g * g - h * h`` of eq. 3;
        - ``residual``: the rest. Structure in it is signal that was removed;
        - ``prior``: low-rank part from the first stage, the network's input;
        - ``loss`` (iteration): what was minimised, averaged over the networks. A fit that ended
          well ends flat.

    Raises
    ------
    AxisError, DataError, DataTypeError, ParameterError, DeviceError
        Unusable input; the message says what to do.

    References
    ----------
    Huang, Liu, Qian and Weng (2024), eqs. 1-4.

    Examples
    --------
    >>> import numpy as np, xarray as xr, arpes_ml_plugins
    >>> counts = np.random.default_rng(0).poisson(9.0, size=(16, 16))
    >>> cut = xr.DataArray(counts, dims=("phi", "eV"))
    >>> parts = cut.S.decompose_pcp_unet(iterations=10, rng=0)
    >>> list(parts)
    ['clean', 'sparse', 'residual', 'prior', 'loss']
    """
    settings = _recipe(recipe, iterations, networks)
    outputs: dict[str, Output] = {
        "clean": Image(),
        "sparse": Image(),
        "residual": Image(),
        "prior": Image(),
        "loss": Trace("iteration", settings.iterations),
    }
    arrays = fit_images(
        "decompose_pcp_unet",
        data,
        dims,
        outputs,
        recipe=settings,
        noise_ratio=noise_ratio,
        sparsity=sparsity,
        precision=precision,
        batch_size=batch_size,
        device=device,
        rng=rng,
        progress=progress,
    )
    return xr.Dataset(arrays)


def fit_images(
    method: str,
    data: xr.DataArray | xr.Dataset,
    dims: object,
    outputs: Mapping[str, Output],
    *,
    recipe: Recipe,
    prior: bool = True,
    noise_ratio: float,
    sparsity: float | None,
    precision: str,
    batch_size: int | None,
    device: str,
    rng: object,
    progress: ProgressOption,
) -> dict[str, xr.DataArray]:
    """Check the parameters that all variants share, then fit every image of ``data``."""
    array, image = check_image(data, dims, SMALLEST_IMAGE)
    check_positive("noise_ratio", noise_ratio)
    check_positive("sparsity", sparsity, optional=True)
    check_choice("precision", precision, PRECISIONS)
    check_count("batch_size", batch_size, optional=True)
    algorithm = partial(
        _fit,
        outputs=tuple(outputs),
        recipe=recipe,
        prior=prior,
        noise_ratio=noise_ratio,
        sparsity=sparsity,
        precision=precision,
    )
    return map_images(
        array,
        image,
        algorithm,
        outputs,
        method=method,
        device=device,
        seed=int(rng),  # type: ignore[call-overload]
        steps=recipe.iterations * recipe.networks,
        progress=progress,
        batch_size=batch_size,
    )


def _recipe(name: str, iterations: int | None, networks: int | None) -> Recipe:
    """The recipe called ``name``, with what the user wants otherwise."""
    from arpes_ml_plugins.denoising.recipes import recipe_named

    check_count("iterations", iterations, optional=True)
    check_count("networks", networks, optional=True)
    recipe = recipe_named(name)
    return replace(
        recipe,
        iterations=int(iterations or recipe.iterations),
        networks=int(networks or recipe.networks),
    )


def _fit(
    batch: ImageBatch,
    *,
    outputs: tuple[str, ...],
    recipe: Recipe,
    prior: bool,
    noise_ratio: float,
    sparsity: float | None,
    precision: str,
) -> dict[str, torch.Tensor]:
    """Both stages on a batch."""
    from arpes_ml_plugins.denoising.defects import dead_lines
    from arpes_ml_plugins.denoising.noise import variance_over_mean
    from arpes_ml_plugins.denoising.pcp import principal_component_pursuit
    from arpes_ml_plugins.denoising.two_stage import bfloat16_is_fast, denoise_images

    device = batch.images.device.type
    valid = batch.valid
    if recipe.loss == "huber":  # which clips hot pixels by itself, but not a whole line
        gain = variance_over_mean(batch.images, valid)
        valid = valid & ~dead_lines(batch.images, valid, gain.expand(len(valid))[:, None, None])
    low_rank = None
    if prior:
        low_rank = principal_component_pursuit(batch.images, sparsity=sparsity).low_rank
        low_rank = low_rank.to(batch.images)
    result = denoise_images(
        batch.images,
        valid,
        low_rank,
        recipe,
        seeds=batch.seeds,
        noise_ratio=noise_ratio,
        bfloat16=precision == "bfloat16" or (precision == "auto" and bfloat16_is_fast(device)),
        report=batch.report,
    )
    found = {
        "clean": result.clean,
        "sparse": result.sparse,
        "residual": batch.images - result.clean - result.sparse,
        "loss": result.loss,
    }
    if low_rank is not None:
        found["prior"] = low_rank
    return {name: found[name] for name in outputs}


def fit_each(batch: ImageBatch) -> dict[str, torch.Tensor]:
    """What :func:`denoise_pcp_unet` does by default, image by image, on a batch of any size."""
    import torch

    recipe = _recipe("robust", None, None)
    clean = torch.full_like(batch.images, torch.nan)
    for index in range(len(batch.images)):
        if not batch.valid[index].any():
            continue
        one = ImageBatch(
            batch.images[index : index + 1],
            batch.valid[index : index + 1],
            [batch.seeds[index]],
            batch.index[index : index + 1],
            batch.report,
        )
        found = _fit(
            one,
            outputs=("clean",),
            recipe=recipe,
            prior=True,
            noise_ratio=0.5,
            sparsity=None,
            precision="auto",
        )
        clean[index] = found["clean"][0]
    return {"clean": clean}
