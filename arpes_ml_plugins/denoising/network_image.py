"""The network's image of counts, with what the network has missed.

Structure that the residual still holds is given back, of the whole image and locally, and replicas
of bands; a filter of similar patches can take a share of the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch

from arpes_ml_plugins.denoising.mixture import best_shares
from arpes_ml_plugins.denoising.noise_model import NoiseModel
from arpes_ml_plugins.denoising.plan import FLIPS
from arpes_ml_plugins.denoising.recovery import (
    conserve,
    recover_locally,
    recover_structure,
    share_of_data,
)
from arpes_ml_plugins.denoising.replicas import recover_replicas
from arpes_ml_plugins.denoising.similar_patches import filter_similar
from arpes_ml_plugins.denoising.splitting import Counts, predict
from arpes_ml_plugins.report import Report

__all__ = ["denoised", "in_groups", "mixed", "pixels_at_once", "recovered", "shares_of"]

FLOOR = 0.1  # of the mean intensity: below it the recovery takes the noise as constant
GROUP_PIXELS = 250_000  # worked on at a time by an accelerator; a CPU takes image by image


def denoised(
    noise: NoiseModel,
    report: Report | None,
    state: torch.nn.Module,
    data: Counts,
    flips: int = 1,
    shares: torch.Tensor | None = None,
) -> torch.Tensor:
    """The network's image of ``data``: the mean of ``flips`` mirror images, with these
    ``shares`` of one filtered by similar patches.
    """
    images = recovered(noise, report, state, data, flips)
    return (images if shares is None else mixed(images, data, noise, shares))[:, 1]


def recovered(
    noise: NoiseModel,
    report: Report | None,
    state: torch.nn.Module,
    data: Counts,
    flips: int,
) -> torch.Tensor:
    """The network's images with what it has missed, ``(n, 3, height, width)``: without replicas,
    with them, and the share of the data themselves.
    """
    rate = predict(state, data, flips=flips, pixels=pixels_at_once(data.images), report=report)
    seen = data.predicted()
    finished = partial(_finished, noise=noise, series=data.series)
    return in_groups(finished, seen.images, rate, seen.valid, report=report)


def shares_of(
    images_of: Callable[[Counts, int], torch.Tensor],
    counts: Counts,
    clean: torch.Tensor,
    noise: NoiseModel,
    seed: int,
) -> torch.Tensor | None:
    """How much of the image filtered by similar patches is to be taken at each pixel, if any.

    ``images_of`` is :func:`recovered` as a function of counts and the number of mirror images.
    """
    generator = torch.Generator(device="cpu").manual_seed(seed)
    return best_shares(
        lambda images: images_of(replace(counts, images=images), FLIPS)[:, 0],
        lambda images, image: filter_similar(images, image, counts.valid, noise),
        counts.images,
        clean,
        counts.valid,
        lambda image: noise.measured(image, generator),
    )


def mixed(
    images: torch.Tensor, counts: Counts, noise: NoiseModel, shares: torch.Tensor
) -> torch.Tensor:
    """The images of :func:`recovered` with these shares of one filtered by similar patches. The
    filter would remove replicas: they are those that were found without it.
    """
    clean, replicas = images[:, 0], images[:, 1] - images[:, 0]
    filtered = filter_similar(counts.images, clean, counts.valid, noise)
    mixture = clean + shares * (filtered - clean)
    conserved = in_groups(conserve, counts.images, mixture, counts.valid)
    return torch.stack([conserved, conserved + replicas, images[:, 2]], 1)


def _finished(
    counts: torch.Tensor,
    rate: torch.Tensor,
    valid: torch.Tensor,
    noise: NoiseModel,
    *,
    series: bool,
) -> torch.Tensor:
    """The network's image with what it has missed: without replicas and with them; and the share of
    the data themselves.
    """
    image = rate
    if noise.white:
        image = recover_structure(counts, rate, valid, floor=FLOOR, counted=True).clamp(min=0)
    shape = (rate.shape[-2], rate.shape[-1])
    transfer = None if noise.white else noise.transfer(shape, rate.device)
    image = recover_locally(counts, image, valid, transfer).clamp(min=0)
    share = share_of_data(counts, image, valid) if noise.white else torch.zeros_like(image)
    image = image + share * (counts.to(image) - image)
    without = conserve(counts, image, valid)
    both = recover_replicas(counts, without, valid, series=series)
    if not torch.equal(both, without):  # what replicas add was conserved without them
        both = conserve(counts, both, valid)
    return torch.stack([without, both, share], 1)


def in_groups(
    function: Callable[..., torch.Tensor],
    images: torch.Tensor,
    *others: torch.Tensor,
    report: Report | None = None,
) -> torch.Tensor:
    """``function`` of a few images at a time, so that memory does not grow with their number."""
    size = max(1, pixels_at_once(images) // (images.shape[-2] * images.shape[-1]))
    results = []
    for group in zip(images.split(size), *(other.split(size) for other in others), strict=True):
        results.append(function(*group))
        if report:
            report(len(group[0]), None)
    return torch.cat(results)


def pixels_at_once(images: torch.Tensor) -> int:
    """One image on a CPU, where more are not faster, and results would depend on the other images:
    functions round differently at the end of a tensor.
    """
    return 1 if images.device.type == "cpu" else GROUP_PIXELS
