"""Series: choices and training once for all data, on a sample, and lazy chunks each by itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from arpes_ml_plugins.labelled.apply import ImageBatch, Output, Scalar, Trace, map_images
from arpes_ml_plugins.labelled.progress import ProgressOption
from arpes_ml_plugins.labelled.series import RUN, runs
from arpes_ml_plugins.methods.counts_like import counts_like
from arpes_ml_plugins.methods.denoising_input import rounded
from arpes_ml_plugins.methods.recorded_run import recorded

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.denoising.adapting import Training
    from arpes_ml_plugins.denoising.choices import Choices
    from arpes_ml_plugins.denoising.counts_network import CountsNetwork

__all__ = [
    "choices_in",
    "network_of",
    "sampled_images",
    "steps_before",
    "together_or_in_chunks",
]

REACH, FILTER = "neighbours of the choice", "filter of the choice"
WEIGHTS = "weights of the network"
ENOUGH = 480_000
"""Pixels to train on, unless the least number of runs has more."""


def together_or_in_chunks(
    array: xr.DataArray,
    image: tuple[Hashable, Hashable],
    series: Sequence[Hashable],
    exposures: Sequence[Hashable],
    numbers: dict[str, xr.DataArray],
    make: Callable[[int], CountsNetwork],
    training: Training | None,
    *,
    once: bool,
    alone: bool,
    gain: float | None,
    precision: str,
    method: str,
    device: str,
    seed: int,
    progress: ProgressOption = False,
) -> dict[str, Any]:
    """Arguments of :func:`map_images`: each series as a whole, or its chunks separately.

    With ``once`` the choices are made and the network is trained once for all data, on a sample of
    them. Chunks of lazy data are then denoised separately if ``alone`` is True: no random numbers
    are drawn for the whole series.
    """
    if not once or exposures or len(series) != 1:
        return {"series": (*series, *exposures), "numbers": numbers}
    found = _prepared(
        array,
        image,
        series[0],
        numbers,
        make,
        training,
        gain=gain,
        precision=precision,
        method=method,
        device=device,
        seed=seed,
        progress=progress,
    )
    separately = alone and array.chunks is not None
    return found | ({"beside": series[0]} if separately else {"series": series})


def sampled_images(
    array: xr.DataArray,
    image: tuple[Hashable, Hashable],
    series: Hashable,
    training: Training | None,
) -> xr.DataArray:
    """Indices of the images from which choices are made and on which the network is trained.

    All images of a small data set; otherwise runs of five along the series: five runs, or more of
    small images if there is a training.
    """
    batch = [dim for dim in array.dims if dim not in image]
    shape = [array.sizes[dim] for dim in batch]
    index = xr.DataArray(np.arange(math.prod(shape)).reshape(shape), dims=batch)
    return _sample_of(index, array, image, series, training)


def _sample_of(
    of: xr.DataArray,
    array: xr.DataArray,
    image: tuple[Hashable, Hashable],
    series: Hashable,
    training: Training | None,
) -> xr.DataArray:
    from arpes_ml_plugins.denoising.choices import RUN as LENGTH
    from arpes_ml_plugins.denoising.choices import RUNS, TRAINED

    pixels = math.prod(array.sizes[dim] for dim in image)
    number = RUNS if training is None else max(RUNS, ENOUGH // (TRAINED * pixels))
    return runs(of, image, series, LENGTH, number)


def _prepared(
    array: xr.DataArray,
    image: tuple[Hashable, Hashable],
    series: Hashable,
    numbers: Mapping[str, xr.DataArray],
    make: Callable[[int], CountsNetwork],
    training: Training | None,
    *,
    gain: float | None,
    precision: str,
    method: str,
    device: str,
    seed: int,
    progress: ProgressOption = False,
) -> dict[str, Any]:
    """Arguments of :func:`map_images` with the choices for all data, and the trained weights.

    They are lazy if ``array`` is: one task for the sample.
    """
    index = sampled_images(array, image, series, training)
    sample = _sample_of(array, array, image, series, training)
    outputs: dict[str, Output] = {REACH: Scalar(), FILTER: Scalar()}
    if training is not None:
        outputs[WEIGHTS] = Trace(WEIGHTS, len(_vector(make(0))))
    found = map_images(
        sample,
        image,
        partial(
            _prepare,
            make=make,
            training=training,
            gain=gain,
            precision=precision,
            run=sample.sizes[series],
            complete=_is_complete(index, array, image),
        ),
        outputs,
        method=method,
        device=device,
        seed=seed,
        steps=steps_before(array, image, series, training),
        progress=progress,
        series=[RUN, series],
        numbers=numbers,
        index=index,
    )
    weights = {"weights": found.pop(WEIGHTS)} if training is not None else {}
    return {"numbers": {**numbers, **found}, **weights}


def steps_before(
    array: xr.DataArray,
    image: tuple[Hashable, Hashable],
    series: Hashable,
    training: Training | None,
) -> int:
    """Number of steps that :func:`together_or_in_chunks` reports if it prepares."""
    from arpes_ml_plugins.denoising.plan import steps_to_prepare

    index = sampled_images(array, image, series, training)
    return steps_to_prepare(
        training,
        index.size,
        math.prod(array.sizes[dim] for dim in image),
        run=index.sizes[series],
        complete=_is_complete(index, array, image),
    )


def _is_complete(
    index: xr.DataArray, array: xr.DataArray, image: tuple[Hashable, Hashable]
) -> bool:
    """Whether a sample consists of all images."""
    return index.size == math.prod(array.sizes[dim] for dim in array.dims if dim not in image)


def _prepare(
    batch: ImageBatch,
    *,
    make: Callable[[int], CountsNetwork],
    training: Training | None,
    gain: float | None,
    precision: str,
    run: int,
    complete: bool,
) -> dict[str, torch.Tensor]:
    import torch

    from arpes_ml_plugins.denoising.counts_denoiser import prepare

    reach, width = 0.0, math.nan
    network = make(batch.seeds[0])
    if gain is not None or batch.numbers["served"]:
        batch = recorded(batch, gain).batch
        like = counts_like(batch, batch.images, batch.valid, gain)
        found = prepare(
            like.images,
            batch.valid,
            like.noise,
            network,
            training if like.split else None,
            run=run,
            complete=complete,
            seed=batch.seeds[0],
            bfloat16=rounded(precision, batch.images.device.type),
            report=batch.report,
            brightness=like.brightness,
        )
        reach = float(found.reach)
        width = math.nan if found.filtered is None else found.filtered
    results = {
        name: torch.tensor([number], dtype=torch.float64, device="cpu")
        for name, number in ((REACH, reach), (FILTER, width))
    }
    return results if training is None else results | {WEIGHTS: _vector(network)[None]}


def _vector(network: CountsNetwork) -> torch.Tensor:
    """All weights of the network, one after another."""
    import torch

    return torch.cat([weight.detach().flatten() for weight in network.parameters()])


def network_of(batch: ImageBatch, make: Callable[[int], CountsNetwork]) -> CountsNetwork:
    """The network that was trained before, if one was; otherwise a new one."""
    import torch

    network = make(batch.seeds[0])
    if batch.weights is not None:
        with torch.no_grad():
            known = torch.from_numpy(np.array(batch.weights))
            sizes = [weight.numel() for weight in network.parameters()]
            for weight, values in zip(network.parameters(), known.split(sizes), strict=True):
                weight.copy_(values.view_as(weight))
    return network


def choices_in(numbers: Mapping[str, float]) -> Choices | None:
    """The choices contained in the numbers of an algorithm, if they were made before."""
    from arpes_ml_plugins.denoising.choices import Choices

    if REACH not in numbers:
        return None
    width = numbers[FILTER]
    return Choices(int(numbers[REACH]), None if math.isnan(width) else width)
