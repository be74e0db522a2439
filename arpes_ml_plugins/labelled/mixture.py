"""Labelled arrays as channels against pixels, and what is found there back on its axes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arpes_ml_plugins.errors import AxisError, DataError
from arpes_ml_plugins.labelled.missing import fill_missing
from arpes_ml_plugins.labelled.progress import ProgressOption, Report, reporter

if TYPE_CHECKING:
    import torch

__all__ = ["COMPONENT", "Cube", "map_mixture"]

COMPONENT = "component"
TEXT = "<U600"


@dataclass(frozen=True)
class Cube:
    """What an algorithm is given."""

    values: torch.Tensor  # (m, *space) float64, finite; NaN were filled
    valid: torch.Tensor  # (m, *space) bool; False where a NaN was filled
    report: Report | None


Algorithm = Callable[[Cube], Mapping[str, Any]]


def map_mixture(
    data: xr.DataArray,
    channels: Sequence[Hashable],
    algorithm: Algorithm,
    outputs: Mapping[str, str],
    *,
    components: Sequence[str] | NDArray[np.integer],
    method: str,
    device: str,
    steps: int,
    progress: ProgressOption = False,
    dimension: str = COMPONENT,
) -> xr.Dataset:
    """Give all of ``data`` to ``algorithm`` at once; lazily if ``data`` is backed by dask.

    Parameters
    ----------
    channels
        Dimensions that make up a spectrum, flattened in this order; all others are space.
    algorithm
        From a :class:`Cube` to arrays or text, one an output.
    outputs
        Name to kind: "spectra" ``(component, *channels)``, "maps" ``(component, *space)``, "data",
        "space", "component" (of numbers), "number" (a whole one), "text".
    components
        Coordinate of the new dimension.
    steps
        For the progress bar.
    dimension
        Name of the new dimension.
    """
    space = [dim for dim in data.dims if dim not in channels]
    _check_names(data, (*outputs, dimension))
    dims: dict[str, list[Hashable]] = {
        "spectra": [dimension, *channels],
        "maps": [dimension, *space],
        "data": [*channels, *space],
        "space": space,
        "component": [dimension],
        "number": [],
        "text": [],
    }
    number = data.dtype.newbyteorder("=") if data.dtype.kind == "f" else np.dtype("float32")
    special = {"text": TEXT, "number": np.dtype("int64")}
    types = [special.get(kind, number) for kind in outputs.values()]
    shapes = {dimension: len(components), **data.sizes}
    block = partial(
        _run_block,
        algorithm=algorithm,
        inner=len(channels),
        forms={
            name: (tuple(shapes[d] for d in dims[kind]), dtype)
            for (name, kind), dtype in zip(outputs.items(), types, strict=True)
        },
        method=method,
        device=device,
        steps=steps,
        progress=False if data.chunks is not None else progress,
    )
    bare = data.drop_vars(list(data.coords)).transpose(*channels, *space)
    found = xr.apply_ufunc(
        block,
        bare.chunk(-1) if data.chunks is not None else bare,
        input_core_dims=[[*channels, *space]],
        output_core_dims=[dims[kind] for kind in outputs.values()],
        dask="parallelized",
        output_dtypes=types,
        dask_gufunc_kwargs={"output_sizes": {dimension: len(components)}},
    )
    result = xr.Dataset(dict(zip(outputs, found, strict=True)))
    for name, kind in outputs.items():
        result[name] = _dressed(result[name], data, {dimension: components}, kind)
        result[name].attrs = {}
    return result


def _run_block(
    values: np.ndarray,
    *,
    algorithm: Algorithm,
    inner: int,
    forms: Mapping[str, tuple[tuple[int, ...], Any]],
    method: str,
    device: str,
    steps: int,
    progress: ProgressOption,
) -> Any:
    import torch

    if np.isinf(values).any():  # lazy data are only seen here
        raise DataError("the data hold infinite values; replace them by NaN before computing")
    cube = values.reshape(-1, *values.shape[inner:]).astype(np.float64)
    missing = np.isnan(cube)
    images = cube.reshape(-1, *([1] * max(0, 3 - cube.ndim)), *cube.shape[1:])
    images = images.reshape(-1, *images.shape[-2:])
    filled = np.nan_to_num(fill_missing(images)).reshape(cube.shape)
    if device.startswith("mps"):  # which has neither float64 nor the eigenvalues needed here
        device = "cpu"
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.device("cpu"),
        reporter(progress, method, steps) as report,
    ):
        found = algorithm(
            Cube(
                torch.from_numpy(np.ascontiguousarray(filled)).to(device),
                torch.from_numpy(~missing).to(device),
                report,
            )
        )
    results = []
    for name, (shape, dtype) in forms.items():
        value = found[name]
        array = value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)
        results.append(array.astype(dtype).reshape(shape))
    return tuple(results)


def _dressed(
    array: xr.DataArray,
    data: xr.DataArray,
    components: Mapping[str, Sequence[str] | NDArray[np.integer]],
    kind: str,
) -> xr.DataArray:
    if kind == "data":
        result = data.copy(deep=False, data=array.transpose(*data.dims).data)
        result.encoding = {}  # packing as small integers would quantise it
        return result
    if kind == "text":
        if array.chunks is None:
            return xr.DataArray(str(array.item()))
        return array
    along = set(array.dims)
    coords = {name: c for name, c in data.coords.items() if set(c.dims) <= along}
    array = array.assign_coords(coords)
    new = {name: np.asarray(labels) for name, labels in components.items() if name in array.dims}
    return array.assign_coords(new)


def _check_names(data: xr.DataArray, names: Sequence[str]) -> None:
    for name in (*data.coords, *data.dims):
        if name in names:
            raise AxisError(
                f"the data have a coordinate or dimension named {name!r}, which is the name of a "
                f"result; rename it, for example data.rename({{{name!r}: 'own_{name}'}})"
            )
