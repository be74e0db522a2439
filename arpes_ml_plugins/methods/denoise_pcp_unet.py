"""The two-stage denoiser, and its predecessor with a fixed input (``denoise_fixed_input``)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import xarray as xr

from arpes_ml_plugins.labelled.apply import Image, Output, Trace
from arpes_ml_plugins.labelled.progress import ProgressOption
from arpes_ml_plugins.methods.denoising_docstrings import BLOCKS
from arpes_ml_plugins.methods.two_stage_run import chosen_recipe, fit_images
from arpes_ml_plugins.parameters import check_count, check_positive, documented

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["decompose_pcp_unet", "denoise_fixed_input", "denoise_pcp_unet"]

OWN = {
    "recipe": """
        recipe : {"robust", "published"}
            ``"robust"``: residuals are divided by their Poisson-like standard deviation and
            clipped at three standard deviations, the learning rate falls to zero, and the images of
            two networks are averaged. ``"published"``: the settings of [1]_ with the weight decay
            given there (λ = 0.02, eq. S32), kept for reference; its sparse term absorbs noise and
            signal together, after which the network learns nothing more. The documentation compares
            both.""",
    "iterations": """
        iterations : int, optional
            Steps of the optimiser; default 600 (robust) or 2000 (published). Fewer steps give a
            smoother image, more steps a noisier one.""",
    "networks": """
        networks : int, optional
            Number of networks that are fitted from different starts and averaged; default 2
            (robust) or 1 (published). More take proportionally longer and lower the error a
            little.""",
    "noise_ratio": """
        noise_ratio : float
            η_a / η_s of eq. 4 of [1]_, used only with a sparse term (``"published"``,
            :func:`denoise_fixed_input`). A larger value leaves less to the sparse term.""",
    "sparsity": """
        sparsity : float, optional
            Weight λ of the sparse part in the first stage, see :func:`decompose_pcp`. It affects
            only the input of the network.""",
    "paper": """
        .. [1] Huang, Liu, Qian and Weng, "Training-set-free two-stage deep learning for
           spectroscopic data de-noising" (2024).""",
}


@documented(**BLOCKS, **OWN)
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
    rng: int | np.random.Generator | torch.Generator | None = None,
    progress: ProgressOption = "auto",
    dims: Mapping[str, str] | Sequence[str] | None = None,
    out: str | os.PathLike[str] | None = None,  # handled by the call, see plugins.into_store
) -> xr.DataArray | xr.Dataset:
    """Denoise a cut without training data, by principal component pursuit and a network.

    A convolutional network is fitted to the noisy image itself, with its low-rank part as input
    (eq. 3 of [1]_). Such a network reproduces bands, edges and backgrounds long before it
    reproduces noise, so that a fit that is stopped in time is denoised.

    Parameters
    ----------
    {image}
    {recipe}
    {iterations}
    {networks}
    {noise_ratio}
    {sparsity}
    {precision}
    {batch_size}
    {device}
    {rng}
    {progress}
    {dims}
    {out}

    Returns
    -------
    {clean}
        Nothing is clipped or rescaled.

    Raises
    ------
    {unusable}

    See Also
    --------
    decompose_pcp_unet : the same, and residual, sparse part, prior and loss.

    References
    ----------
    {paper}

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
        recipe=chosen_recipe(recipe, iterations, networks),
        noise_ratio=noise_ratio,
        sparsity=sparsity,
        precision=precision,
        batch_size=batch_size,
        device=device,
        rng=rng,
        progress=progress,
    )
    return arrays["clean"]


@documented(**BLOCKS, **OWN)
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
    rng: int | np.random.Generator | torch.Generator | None = None,
    progress: ProgressOption = "auto",
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.Dataset:
    """Denoise as :func:`denoise_pcp_unet` does, and return all parts of the decomposition.

    Parameters
    ----------
    {image}
    {recipe}
    {iterations}
    {networks}
    {noise_ratio}
    {sparsity}
    {precision}
    {batch_size}
    {device}
    {rng}
    {progress}
    {dims}

    Returns
    -------
    xarray.Dataset
        The parts are in the unit of the data, and ``data = clean + sparse + residual``:

        - ``clean``: denoised image, as :func:`denoise_pcp_unet` returns it;
        - ``sparse``: outliers. ``recipe="robust"``: the part of the residual beyond three standard
          deviations; ``"published"``: the term ``g * g - h * h`` of eq. 3 of [1]_;
        - ``residual``: remainder. Structure in it is signal that was removed;
        - ``prior``: low-rank part from the first stage, the network's input;
        - ``loss`` (iteration): minimised function, averaged over the networks. It is flat at the
          end if the fit has converged.

    Raises
    ------
    {unusable}

    References
    ----------
    {paper}

    Examples
    --------
    >>> import numpy as np, xarray as xr, arpes_ml_plugins
    >>> counts = np.random.default_rng(0).poisson(9.0, size=(16, 16))
    >>> cut = xr.DataArray(counts, dims=("phi", "eV"))
    >>> parts = cut.S.decompose_pcp_unet(iterations=10, rng=0)
    >>> list(parts)
    ['clean', 'sparse', 'residual', 'prior', 'loss']
    """
    settings = chosen_recipe(recipe, iterations, networks)
    outputs: dict[str, Output] = {
        "clean": Image(),
        "sparse": Image(),
        "residual": Image(),
        "prior": Image(),
        "loss": Trace("iteration", settings.iterations, "float64"),
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


@documented(**BLOCKS, **OWN)
def denoise_fixed_input(
    data: xr.DataArray | xr.Dataset,
    *,
    iterations: int = 8000,
    learning_rate: float | None = None,
    noise_ratio: float = 0.5,
    precision: str = "auto",
    batch_size: int | None = None,
    device: str = "auto",
    rng: int | np.random.Generator | torch.Generator | None = None,
    progress: ProgressOption = "auto",
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.DataArray | xr.Dataset:
    """Denoise with a network whose input is fixed noise, trained by stochastic gradient descent.

    This is the earlier method of [2]_ as described in [1]_, included for comparison. It has the
    network and loss of ``denoise_pcp_unet(recipe="published")``, but a random input instead of the
    prior and plain gradient descent instead of AdamW. Prefer :func:`denoise_pcp_unet`.

    Parameters
    ----------
    {image}
    iterations : int
        Steps of gradient descent; 8000 in [1]_. Fewer steps give a smoother image, more steps a
        noisier one.
    learning_rate : float, optional
        Learning rate of the network's weights; that of the sparse term is this over
        ``noise_ratio``. [1]_ does not state one for this method; the default is the largest that
        did not diverge on the benchmark data.
    {noise_ratio}
    {precision}
    {batch_size}
    {device}
    {rng}
    {progress}
    {dims}

    Returns
    -------
    {clean}
        Nothing is clipped or rescaled.

    Raises
    ------
    {unusable}

    References
    ----------
    {paper}
    .. [2] Huang, Liu, Qian and Yang, Sci. China Phys. Mech. Astron. 66, 267011 (2023).

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
