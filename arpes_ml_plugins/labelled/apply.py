"""Apply an algorithm to labelled arrays: to every image, or to all data as one mixture.

Both go through one block runner, so that batches, lack of memory, seeds, progress and missing
values are handled alike. An algorithm never sees names, NaN, units, chunks or dtypes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arpes_ml_plugins.errors import DataError
from arpes_ml_plugins.labelled.border import (
    Cube,
    ImageBatch,
    as_cube,
    as_images,
    as_numpy,
    plain_torch,
)
from arpes_ml_plugins.labelled.devices import default_batch_size, run_in_batches
from arpes_ml_plugins.labelled.forks import check_fork
from arpes_ml_plugins.labelled.magnitudes import check_magnitudes, narrowed
from arpes_ml_plugins.labelled.outputs import (
    Image,
    Output,
    Part,
    Scalar,
    Trace,
    axes_of,
    check_names,
    dtype_of,
    labelled,
    new_dimension,
    room,
)
from arpes_ml_plugins.labelled.overlap import Overlap, own_images, true_index
from arpes_ml_plugins.labelled.progress import ProgressOption, counted, reporter
from arpes_ml_plugins.labelled.seeds import slice_seed
from arpes_ml_plugins.report import Report

__all__ = [
    "COMPONENT",
    "Cube",
    "Image",
    "ImageBatch",
    "Output",
    "Scalar",
    "Trace",
    "map_images",
    "map_mixture",
]

COMPONENT = "component"
LONGEST_TEXT = 1500

Algorithm = Callable[[ImageBatch], Mapping[str, Any]]
MixtureAlgorithm = Callable[[Cube], Mapping[str, Any]]
Numbers = Mapping[str, float]
Step = Callable[
    [np.ndarray, np.ndarray, str, "Report | None", Numbers, "NDArray[Any] | None"],
    Mapping[str, Any],
]
"""Function from items ``(n, *core)``, their indices, the device, a report, their numbers and the
weights to outputs ``(n, ...)``."""


@dataclass(frozen=True)
class Task:
    """Settings of the block runner, the same for every block."""

    step: Step
    outputs: Mapping[str, Output]
    method: str
    device: str
    steps: int
    """Progress steps per item."""
    progress: ProgressOption
    batch_size: int
    skips_empty: bool
    """Whether items without any value are left out, and their outputs empty."""


def map_images(
    data: xr.DataArray,
    dims: tuple[Hashable, ...],
    algorithm: Algorithm,
    outputs: Mapping[str, Output],
    *,
    method: str,
    device: str,
    seed: int = 0,
    steps: int = 1,
    progress: ProgressOption = False,
    batch_size: int | None = None,
    series: Sequence[Hashable] = (),
    beside: Hashable | None = None,
    numbers: Mapping[str, xr.DataArray] | None = None,
    weights: xr.DataArray | None = None,
    index: xr.DataArray | None = None,
) -> dict[str, xr.DataArray]:
    """Apply ``algorithm`` to every image of ``data``; lazily if ``data`` is backed by dask.

    Parameters
    ----------
    data
        Numbers; NaN is allowed in images. Lazy data are checked for infinities when computed.
    dims
        The two dimensions of the image, rows first, or that of a curve. All others are a batch.
    algorithm
        Function from an :class:`ImageBatch` to one tensor per output, ``(n, ...)``.
    outputs
        Name and kind of each output.
    steps
        Iterations per image (or per series), for the progress bar. Lazy data report nothing: use
        dask's bar.
    series
        Dimensions along which all images go to the algorithm together, as one batch in order.
    beside
        Dimension of lazy data whose chunks stay as they are. The algorithm gets the images of a
        chunk and :data:`~arpes_ml_plugins.labelled.overlap.DEPTH` more on either side, for which it
        returns nothing (``ImageBatch.own``). All outputs are images.
    numbers
        Numbers, lazy or not, that are passed to every call of the algorithm: scalars, or one per
        item, along dimensions of the batch.
    weights
        Numbers of a network along one dimension, lazy or not, that are passed to every call.
    index
        Indices of the images, from which their seeds are derived; counted by default. For a
        selection of images of a larger array, pass their indices in that array.

    Returns
    -------
    dict of xarray.DataArray
        The outputs, with the dimension order, coordinates and name of ``data``; attributes empty.
    """
    task = Task(
        partial(_on_images, algorithm, seed, len(dims)),
        dict(outputs),
        method,
        device,
        steps,
        progress,
        batch_size=1 if series else batch_size or default_batch_size(device),
        skips_empty=True,
    )
    core = (*series, *dims) if beside is None else (beside, *dims)
    return _apply(
        data,
        core,
        task,
        series=series,
        beside=beside,
        numbers=numbers or {},
        weights=weights,
        index=index,
    )


def map_mixture(
    data: xr.DataArray,
    channels: Sequence[Hashable],
    algorithm: MixtureAlgorithm,
    outputs: Mapping[str, str],
    *,
    components: Sequence[str] | NDArray[np.integer],
    method: str,
    device: str,
    steps: int,
    progress: ProgressOption = False,
    dimension: str = COMPONENT,
    used: NDArray[np.bool_] | None = None,
) -> xr.Dataset:
    """Give all of ``data`` to ``algorithm`` at once; lazily if ``data`` is backed by dask.

    Parameters
    ----------
    data
        Real numbers; NaN is allowed.
    channels
        Dimensions that make up a spectrum, flattened in this order; all others are space.
    algorithm
        Function from a :class:`Cube` to arrays or text, one per output.
    outputs
        Name to kind: "spectra" ``(component, *channels)``, "maps" ``(component, *space)``, "data",
        "space", "component" (of numbers), "number" (a whole one), "text", "object" (any one).
    components
        Coordinate of the new dimension.
    steps
        Number of steps, for the progress bar.
    dimension
        Name of the new dimension.
    used
        Pixels that the algorithm may see, along the dimensions of space in their order; all
        others are missing to it. Default: all.
    """
    space = [dim for dim in data.dims if dim not in channels]
    new = Trace(dimension, len(components), None, xr.Variable(dimension, np.asarray(components)))
    kinds: dict[str, Output] = {
        "spectra": Part(tuple(channels), new),
        "maps": Part(tuple(space), new),
        "data": Image(),
        "space": Part(tuple(space)),
        "component": new,
        "number": Scalar("int64"),
        "object": Scalar("object"),
        "text": Scalar(f"<U{LONGEST_TEXT}"),
    }
    task = Task(
        partial(_on_mixture, algorithm, len(channels), used),
        {name: kinds[kind] for name, kind in outputs.items()},
        method,
        device,
        steps,
        progress,
        batch_size=1,
        skips_empty=False,
    )
    found = xr.Dataset(_apply(data, (*channels, *space), task))
    for name, kind in outputs.items():
        if kind == "text" and found[name].chunks is None:
            found[name] = xr.DataArray(str(found[name].item()))  # as long as the text
    return found


def _apply(
    data: xr.DataArray,
    core: tuple[Hashable, ...],
    task: Task,
    series: Sequence[Hashable] = (),
    beside: Hashable | None = None,
    numbers: Mapping[str, xr.DataArray] | None = None,
    weights: xr.DataArray | None = None,
    index: xr.DataArray | None = None,
) -> dict[str, xr.DataArray]:
    """Run ``task`` on all blocks of ``data``; an item is what lies along ``core``."""
    check_names(data, task.outputs)
    # Inside, dimensions go by numbers: names may be anything hashable, or clash with an output's.
    names = {dim: f"axis {number}" for number, dim in enumerate(data.dims)}
    bare = xr.DataArray(data.variable.data, dims=list(names.values()))
    inner = [names[dim] for dim in core if dim != beside]
    together = [names[dim] for dim in series]
    images = [dim for dim in bare.dims if dim not in inner or dim in together]
    if beside is not None:  # the last of the batch: blocks see it before the image
        images = [*(dim for dim in images if dim != names[beside]), names[beside]]
        bare = bare.transpose(*images, *inner)
    index = _counted_up(bare, images) if index is None else _along(index, names).transpose(*images)
    extra = {name: _along(number, names) for name, number in (numbers or {}).items()}
    own: Overlap | None = None
    if data.chunks is not None:
        bare = bare.chunk(dict.fromkeys(inner, -1))
        if beside is not None:
            own = Overlap.of(bare, names[beside])
            bare, index = own.widened(bare), own.marked(index)
        index = index.chunk({dim: bare.chunksizes[dim] for dim in images})
        chunks = {dim: bare.chunksizes[dim] for dim in images}
        extra = {k: v.chunk({d: chunks[d] for d in v.dims}) for k, v in extra.items()}
        task = replace(task, progress=False, steps=0)
    new = [output for output in map(new_dimension, task.outputs.values()) if output]
    state = [] if weights is None else [weights.drop_vars(weights.coords)]
    raw = xr.apply_ufunc(
        partial(_run_block, task=task, names=tuple(extra), core=core, beside=beside is not None),
        bare,
        index,
        *extra.values(),
        *state,
        input_core_dims=[inner, together, *([] for _ in extra), *(array.dims for array in state)],
        output_core_dims=[
            [names.get(dim, dim) for dim in axes_of(output, core) if dim != beside]
            for output in task.outputs.values()
        ],
        dask="parallelized",
        # Not output_dtypes, for which dask casts the input, with a warning if it is complex.
        dask_gufunc_kwargs={
            "output_sizes": {output.dim: output.size for output in new},
            "meta": tuple(
                np.empty(0, dtype_of(output, data.dtype)) for output in task.outputs.values()
            ),
        },
    )
    arrays = raw if isinstance(raw, tuple) else (raw,)
    arrays = arrays if own is None else tuple(own.trimmed(array) for array in arrays)
    return {
        name: labelled(array, output, data, names, core)
        for (name, output), array in zip(task.outputs.items(), arrays, strict=True)
    }


def _counted_up(array: xr.DataArray, images: Sequence[Hashable]) -> xr.DataArray:
    """A number for each image, in the order in which the array has them."""
    batch = [dim for dim in array.dims if dim in images]
    shape = [array.sizes[dim] for dim in batch]
    return xr.DataArray(np.arange(math.prod(shape)).reshape(shape), dims=batch).transpose(*images)


def _along(number: xr.DataArray, names: Mapping[Hashable, str]) -> xr.DataArray:
    """Without coordinates, along dimensions by their numbers."""
    return number.drop_vars(number.coords).rename({dim: names[dim] for dim in number.dims})


def _run_block(
    values: np.ndarray,
    index: np.ndarray,
    *numbers: Any,
    task: Task,
    names: tuple[str, ...],
    core: tuple[Hashable, ...],
    beside: bool,
) -> Any:
    """Numpy in, numpy out: one chunk, ``(*batch, *core)``; this runs in a thread of dask's."""
    weights = np.ravel(numbers[-1]) if len(numbers) > len(names) else None
    numbers = numbers[: len(names)]
    outer = values.ndim - len(core)
    batch, shape = values.shape[:outer], values.shape[outer:]
    items = values.reshape(-1, *shape)
    slices = np.reshape(index, (len(items), -1))
    # Numbers have an axis for the images of a chunk beside others, along which they do not vary.
    numbers = tuple(x[..., 0] if beside and np.ndim(x) else x for x in numbers)
    known = {
        name: np.broadcast_to(number, batch).ravel()
        for name, number in zip(names, numbers, strict=True)
    }
    if np.isinf(items).any():  # lazy data are only seen here
        raise DataError("the data contain infinite values; replace them by NaN before computing")
    for item in items:  # one by one: an image of nothing but rounding may lie among others
        check_magnitudes(item)
    empty = np.isnan(items).reshape(len(items), -1).all(-1)
    seen = np.flatnonzero(~empty if task.skips_empty else np.ones_like(empty))
    filled = {
        name: room(output, len(items), dict(zip(core, shape, strict=True)), values.dtype)
        for name, output in task.outputs.items()
    }
    check_fork()  # lazy data may be computed in a fork
    with reporter(task.progress, task.method, task.steps * len(seen)) as report:

        def run(part: slice, device: str) -> None:
            chosen = seen[part]
            with plain_torch(), counted(report) as count:
                first = chosen[0]  # numbers of items differ only where items go one by one
                here = {name: float(number[first]) for name, number in known.items()}
                found = task.step(items[chosen], slices[chosen], device, count, here, weights)
                for name, value in found.items():
                    room_there = filled[name]
                    found_there = narrowed(as_numpy(value), room_there.dtype)
                    room_there[chosen] = found_there.reshape(room_there[chosen].shape)

        run_in_batches(len(seen), run, device=task.device, batch_size=task.batch_size)
    for name, output in task.outputs.items():
        if isinstance(output, Image):
            lost = tuple(1 + core.index(dim) for dim in output.averaged)
            filled[name][np.isnan(items).any(lost)] = np.nan
    results = [array.reshape((*batch, *array.shape[1:])) for array in filled.values()]
    return results[0] if len(results) == 1 else tuple(results)


def _on_images(
    algorithm: Algorithm,
    seed: int,
    inner: int,
    items: np.ndarray,
    slices: np.ndarray,
    device: str,
    report: Report | None,
    numbers: Numbers,
    weights: NDArray[Any] | None,
) -> Mapping[str, Any]:
    """Items are images, or series of images."""
    own, index = own_images(slices.ravel()), true_index(slices.ravel())
    seeds = [slice_seed(seed, int(i)) for i in index]
    images = items.reshape(-1, *items.shape[items.ndim - inner :])
    batch = replace(as_images(images, seeds, index, device, report, numbers), weights=weights)
    if own.all():
        return algorithm(batch)
    results = {}
    for name, values in algorithm(replace(batch, own=np.flatnonzero(own))).items():
        values = as_numpy(values)
        results[name] = np.full((len(own), *values.shape[1:]), np.nan, values.dtype)
        results[name][own] = values
    return results


def _on_mixture(
    algorithm: MixtureAlgorithm,
    channels: int,
    used: NDArray[np.bool_] | None,
    items: np.ndarray,
    slices: np.ndarray,
    device: str,
    report: Report | None,
    numbers: Numbers,
    weights: NDArray[Any] | None,
) -> Mapping[str, Any]:
    """The only item is all data."""
    return algorithm(as_cube(items[0], channels, device, report, used))
