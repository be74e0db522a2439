"""Common part of the two-stage methods: from checked parameters to fitted images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import xarray as xr

from arpes_ml_plugins.labelled.apply import ImageBatch, Output, map_images
from arpes_ml_plugins.labelled.progress import ProgressOption
from arpes_ml_plugins.methods.denoising_input import PRECISIONS, SMALLEST_IMAGE, rounded
from arpes_ml_plugins.parameters import check_choice, check_count, check_image, check_positive

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.denoising.recipes import Recipe

__all__ = ["chosen_recipe", "fit_each", "fit_images"]


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
    """Check the parameters that all methods share, then fit every image of ``data``."""
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


def chosen_recipe(name: str, iterations: int | None, networks: int | None) -> Recipe:
    """The recipe called ``name``, with the user's numbers of iterations and networks."""
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
    """Run both stages on a batch."""
    from arpes_ml_plugins.denoising.defects import dead_lines
    from arpes_ml_plugins.denoising.noise_floor import variance_over_mean
    from arpes_ml_plugins.denoising.pcp import principal_component_pursuit
    from arpes_ml_plugins.denoising.two_stage import denoise_images

    valid = batch.valid
    if recipe.loss == "huber":  # it clips hot pixels by itself, but not a whole line
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
        bfloat16=rounded(precision, batch.images.device.type),
        report=batch.report,
    )
    parts = {
        "clean": result.clean,
        "sparse": result.sparse,
        "residual": batch.images - result.clean - result.sparse,
        "loss": result.loss,
    }
    if low_rank is not None:
        parts["prior"] = low_rank
    return {name: parts[name] for name in outputs}


def fit_each(batch: ImageBatch) -> dict[str, torch.Tensor]:
    """Denoise as :func:`denoise_pcp_unet` does by default, one image at a time."""
    import torch

    recipe = chosen_recipe("robust", None, None)
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
        parts = _fit(
            one,
            outputs=("clean",),
            recipe=recipe,
            prior=True,
            noise_ratio=0.5,
            sparsity=None,
            precision="auto",
        )
        clean[index] = parts["clean"][0]
    return {"clean": clean}
