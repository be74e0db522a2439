"""Images out of labelled arrays and back: the only border between numpy and torch.

Two dimensions of an array are the image (or one a curve), all others are a batch. An algorithm sees
a stack of finite images with a mask; it never sees names, NaN, units, chunks or dtypes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arpes_ml_plugins.errors import AxisError, DataError
from arpes_ml_plugins.labelled.devices import default_batch_size, run_in_batches
from arpes_ml_plugins.labelled.missing import fill_missing
from arpes_ml_plugins.labelled.progress import ProgressOption, Report, reporter
from arpes_ml_plugins.labelled.seeds import slice_seed

if TYPE_CHECKING:
    import torch

__all__ = ["Image", "ImageBatch", "Scalar", "Trace", "map_images"]


@dataclass(frozen=True)
class ImageBatch:
    """What an algorithm is given."""

    images: torch.Tensor  # (n, height, width) float64 (float32 on MPS), finite; NaN were filled
    valid: torch.Tensor  # (n, height, width) bool; False where a NaN was filled
    seeds: list[int]  # one an image, independent of the batching
    index: NDArray[np.integer]  # which slice of the whole array each image is, (n,)
    report: Report | None
    numbers: Mapping[str, float] = field(default_factory=dict)
    """What is known of the whole array, see ``map_images``."""


PACKING = {"dtype", "scale_factor", "add_offset", "_FillValue", "missing_value"}
"""Encodings under which saving a denoised float would quantise it."""

Algorithm = Callable[[ImageBatch], Mapping[str, "torch.Tensor"]]


@dataclass(frozen=True)
class Image:
    """An output of the size of the image, in the data's own dtype (integers become float32)."""


@dataclass(frozen=True)
class Scalar:
    """An output of one number an image (or a series)."""

    dtype: str = "float64"


@dataclass(frozen=True)
class Trace:
    """An output of ``size`` numbers an image along a new dimension, counted from 1 by default."""

    dim: str
    size: int
    dtype: str = "float32"
    coordinate: xr.Variable | None = None


Output = Image | Scalar | Trace


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
    numbers: Mapping[str, xr.DataArray] | None = None,
) -> dict[str, xr.DataArray]:
    """Apply ``algorithm`` to every image of ``data``; lazily if ``data`` is backed by dask.

    Parameters
    ----------
    data
        Numbers; NaN is allowed in images. Lazy data are checked for infinities when computed.
    dims
        The two dimensions of the image, rows first, or the one of a curve.
    algorithm
        From an :class:`ImageBatch` to one tensor an output, ``(n, ...)``.
    outputs
        Name and kind of each output.
    steps
        Iterations an image (or a series), for the progress bar. Lazy data report nothing: use
        dask's bar.
    series
        Dimensions along which all images go to the algorithm together, as one batch in order.
    numbers
        Single numbers, lazy or not, that every call of the algorithm is given.

    Returns
    -------
    dict of xarray.DataArray
        The outputs, with the dimension order, coordinates and name of ``data``; attributes empty.
    """
    _check_names(data, outputs)
    # Inside, dimensions go by numbers: names may be anything hashable, or clash with an output's.
    own = {dim: f"axis {number}" for number, dim in enumerate(data.dims)}
    together = [own[dim] for dim in series]
    image = [own[dim] for dim in dims]
    bare = xr.DataArray(data.variable.data, dims=list(own.values()))
    extra = dict(numbers or {})
    every = [dim for dim in bare.dims if dim not in image]
    shape = [bare.sizes[dim] for dim in every]
    index = xr.DataArray(np.arange(math.prod(shape)).reshape(shape), dims=[*every])
    lazy = data.chunks is not None
    block = partial(
        _run_block,
        algorithm=algorithm,
        outputs=dict(outputs),
        dtype=_result_dtype(data.dtype),
        method=method,
        device=device,
        seed=seed,
        steps=steps,
        progress=False if lazy else progress,
        batch_size=1 if together else batch_size or default_batch_size(device),
        names=list(extra),
        core=len(together) + len(image),
        inner=len(image),
    )
    if lazy:
        bare = bare.chunk(dict.fromkeys([*together, *image], -1))
        index = index.chunk({dim: bare.chunksizes[dim] for dim in every})
    raw = xr.apply_ufunc(
        block,
        bare,
        index,
        *extra.values(),
        input_core_dims=[[*together, *image], together, *([] for _ in extra)],
        output_core_dims=[_core_dims(output, [*together, *image]) for output in outputs.values()],
        dask="parallelized",
        output_dtypes=[_output_dtype(output, data.dtype) for output in outputs.values()],
        dask_gufunc_kwargs={
            "output_sizes": {o.dim: o.size for o in outputs.values() if isinstance(o, Trace)}
        },
    )
    arrays = raw if isinstance(raw, tuple) else (raw,)
    return {
        name: _dress(array, data, own, (*series, *dims), output)
        for (name, output), array in zip(outputs.items(), arrays, strict=True)
    }


def _run_block(
    values: np.ndarray,
    index: np.ndarray,
    *numbers: Any,
    algorithm: Algorithm,
    outputs: dict[str, Output],
    dtype: np.dtype,
    method: str,
    device: str,
    seed: int,
    steps: int,
    progress: ProgressOption,
    batch_size: int,
    names: list[str],
    core: int,
    inner: int,
) -> Any:
    """Numpy in, numpy out: one chunk, ``(*batch, *series, height, width)``."""
    import torch

    images = values.reshape(-1, *values.shape[-core:])
    known = {name: float(number) for name, number in zip(names, numbers, strict=True)}
    numbered = np.reshape(index, (len(images), -1))
    if np.isinf(images).any():  # lazy data are only seen here
        raise DataError("the data hold infinite values; replace them by NaN before computing")
    filled = {name: _empty(output, images, dtype) for name, output in outputs.items()}
    seen = np.flatnonzero(~np.isnan(images).reshape(len(images), -1).all(-1))
    with reporter(progress, method, steps * len(seen)) as report:

        def run(items: slice, where: str) -> None:
            chosen = seen[items]
            # Training needs gradients and plain tensors, whatever mode the caller has set.
            with (
                torch.inference_mode(False),
                torch.enable_grad(),
                torch.device("cpu"),
                _counted(report) as count,
            ):
                seeds = [slice_seed(seed, int(i)) for i in np.ravel(numbered[chosen])]
                own = images[chosen].reshape(-1, *images.shape[-inner:])
                batch = _to_torch(own, seeds, np.ravel(numbered[chosen]), where, count, known)
                for name, tensor in algorithm(batch).items():
                    found = tensor.detach().cpu().numpy()
                    filled[name][chosen] = found.reshape(filled[name][chosen].shape)

        run_in_batches(len(seen), run, device=device, batch_size=batch_size)
    for name, output in outputs.items():
        if isinstance(output, Image):
            filled[name][np.isnan(images)] = np.nan
    results = [a.reshape((*values.shape[:-core], *a.shape[1:])) for a in filled.values()]
    return results[0] if len(results) == 1 else tuple(results)


@contextmanager
def _counted(report: Report | None) -> Iterator[Report | None]:
    """``report``, whose steps are taken back if the batch fails and has to be done again."""
    if report is None:
        yield None
        return
    told = 0

    def count(steps: int, loss: float | None) -> None:
        nonlocal told
        told += steps
        report(steps, loss)

    try:
        yield count
    except Exception:
        report(-told, None)
        raise


def _empty(output: Output, images: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Room for one output; what stays unwritten (all-NaN images) is NaN, zero or False."""
    if isinstance(output, Image):
        return np.full(images.shape, np.nan, dtype)
    if isinstance(output, Trace):
        return np.full((len(images), output.size), np.nan, output.dtype)
    kind = np.dtype(output.dtype)
    return np.full(len(images), np.nan if kind.kind == "f" else 0, kind)


def _to_torch(
    images: np.ndarray,
    seeds: list[int],
    index: NDArray[np.integer],
    device: str,
    report: Report | None,
    numbers: Mapping[str, float],
) -> ImageBatch:
    """Across the border: finite, contiguous, native byte order, memory of its own."""
    import torch

    # float64 here so that large counts survive; MPS has none.
    wide = np.result_type(images.dtype, np.float64)
    single = np.complex64 if wide.kind == "c" else np.float32
    precision = single if device.startswith("mps") else wide
    images_wide = images.astype(wide)
    if images.ndim == 3:
        images_wide = fill_missing(images_wide)
    filled = np.nan_to_num(images_wide)  # empty images of a series; curves have no surroundings
    return ImageBatch(
        images=torch.from_numpy(np.ascontiguousarray(filled, dtype=precision)).to(device),
        valid=torch.from_numpy(~np.isnan(images)).to(device),
        seeds=seeds,
        index=index,
        report=report,
        numbers=numbers,
    )


def _result_dtype(dtype: np.dtype) -> np.dtype:
    return dtype if dtype.kind in "fc" else np.dtype(np.float32)


def _output_dtype(output: Output, dtype: np.dtype) -> np.dtype:
    if isinstance(output, Image):
        return _result_dtype(dtype)
    return np.dtype(output.dtype)


def _core_dims(output: Output, image: list[str]) -> list[str]:
    if isinstance(output, Image):
        return image
    return [output.dim] if isinstance(output, Trace) else []


def _check_names(data: xr.DataArray, outputs: Mapping[str, Output]) -> None:
    """Several results share a Dataset with the coordinates of the data: no name twice."""
    if len(outputs) == 1:
        return
    new = [*outputs, *(o.dim for o in outputs.values() if isinstance(o, Trace))]
    for name in (*data.coords, *data.dims):
        if name in new:
            raise AxisError(
                f"the data have a coordinate or dimension named {name!r}, which is the name of a "
                f"result ({', '.join(new)}); rename it, for example "
                f"data.rename({{{name!r}: 'own_{name}'}})"
            )


def _dress(
    array: xr.DataArray,
    data: xr.DataArray,
    own: Mapping[Hashable, str],
    dims: tuple[Hashable, ...],
    output: Output,
) -> xr.DataArray:
    """Give a bare result the dimension order, coordinates, name and encoding of the data."""
    if isinstance(output, Image):
        result = data.copy(deep=False, data=array.transpose(*own.values()).data)
        if np.dtype(data.encoding.get("dtype", data.dtype)) != result.dtype:
            result.encoding = {k: v for k, v in data.encoding.items() if k not in PACKING}
    else:
        beyond = [name for name, c in data.coords.items() if set(c.dims) & set(dims)]
        shell = data.drop_vars(beyond).isel(dict.fromkeys(dims, 0))
        extra = [output.dim] if isinstance(output, Trace) else []
        result = xr.DataArray(array.data, dims=[*shell.dims, *extra], coords=shell.coords)
        if isinstance(output, Trace):
            counted = xr.Variable(output.dim, np.arange(1, output.size + 1))
            along = counted if output.coordinate is None else output.coordinate
            result = result.assign_coords({output.dim: along})
    result.attrs = {}
    return result
