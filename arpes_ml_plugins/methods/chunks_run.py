"""Lazy series in chunks: choices are made once per series, each chunk is denoised by itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from arpes_ml_plugins.labelled.apply import ImageBatch, Scalar, map_images
from arpes_ml_plugins.methods.denoising_input import rounded

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.denoising.choices import Choices
    from arpes_ml_plugins.denoising.counts_network import CountsNetwork
    from arpes_ml_plugins.denoising.noise_model import NoiseModel

__all__ = ["choices_in", "noise_model", "together_or_in_chunks"]

NEIGHBOURS, FILTER = "neighbours of the choice", "filter of the choice"


def together_or_in_chunks(
    array: xr.DataArray,
    image: tuple[Hashable, Hashable],
    series: Sequence[Hashable],
    exposures: Sequence[Hashable],
    numbers: dict[str, xr.DataArray],
    make: Callable[[int], CountsNetwork],
    *,
    alone: bool,
    gain: float | None,
    precision: str,
    method: str,
    device: str,
    seed: int,
) -> dict[str, Any]:
    """Arguments of :func:`map_images`: the series as a whole, or its chunks separately.

    Chunks are denoised separately if ``alone`` is True: no network is trained and no random numbers
    are drawn for the whole series. The choices that it shares are then made before.
    """
    if array.chunks is None or not alone or exposures or len(series) != 1:
        return {"series": (*series, *exposures), "numbers": numbers}
    choices = _choices_of(
        array,
        image,
        series[0],
        numbers,
        make,
        gain=gain,
        precision=precision,
        method=method,
        device=device,
        seed=seed,
    )
    return {"beside": series[0], "numbers": numbers | choices}


def _choices_of(
    array: xr.DataArray,
    image: tuple[Hashable, Hashable],
    series: Hashable,
    numbers: Mapping[str, xr.DataArray],
    make: Callable[[int], CountsNetwork],
    *,
    gain: float | None,
    precision: str,
    method: str,
    device: str,
    seed: int,
) -> dict[str, xr.DataArray]:
    """The choices made on held-out data for each series, as numbers for the algorithm."""
    from arpes_ml_plugins.denoising.choices import looked_at

    batch = [dim for dim in array.dims if dim not in image]
    shape = [array.sizes[dim] for dim in batch]
    index = xr.DataArray(np.arange(math.prod(shape)).reshape(shape), dims=batch)
    some = {series: looked_at(array.sizes[series])}
    return map_images(
        array.drop_vars(array.coords).isel(some),
        image,
        partial(_choose, make=make, gain=gain, precision=precision, of=array.sizes[series]),
        {NEIGHBOURS: Scalar(), FILTER: Scalar()},
        method=method,
        device=device,
        seed=seed,
        series=[series],
        numbers=numbers,
        index=index.isel(some),
    )


def _choose(
    batch: ImageBatch,
    *,
    make: Callable[[int], CountsNetwork],
    gain: float | None,
    precision: str,
    of: int,
) -> dict[str, torch.Tensor]:
    import torch

    from arpes_ml_plugins.denoising.counts_denoiser import choose

    beside, width = 0.0, math.nan
    if gain is not None or batch.numbers["served"]:
        found = choose(
            batch.images,
            batch.valid,
            noise_model(batch.numbers, gain),
            make(batch.seeds[0]),
            of=of,
            seed=batch.seeds[0],
            bfloat16=rounded(precision, batch.images.device.type),
        )
        beside = float(found.neighbours)
        width = math.nan if found.filtered is None else found.filtered
    return {
        name: torch.tensor([number], dtype=torch.float64, device="cpu")
        for name, number in ((NEIGHBOURS, beside), (FILTER, width))
    }


def choices_in(numbers: Mapping[str, float]) -> Choices | None:
    """The choices contained in the numbers of an algorithm, if they were made before."""
    from arpes_ml_plugins.denoising.choices import Choices

    if NEIGHBOURS not in numbers:
        return None
    width = numbers[FILTER]
    return Choices(bool(numbers[NEIGHBOURS]), None if math.isnan(width) else width)


def noise_model(numbers: Mapping[str, float], gain: float | None, exposures: int = 1) -> NoiseModel:
    """Model of the noise of a sum of exposures."""
    from arpes_ml_plugins.denoising.noise_model import NoiseModel

    return NoiseModel(
        gain=gain or numbers["gain"],
        shift=0.0 if gain else numbers["shift"] * exposures,
        row_correlation=numbers["rows"],
        column_correlation=numbers["columns"],
    )
