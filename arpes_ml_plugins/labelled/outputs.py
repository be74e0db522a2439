"""Outputs of algorithms: their shapes and types, and how they get their axes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import AxisError

__all__ = ["Image", "Output", "Part", "Scalar", "Trace", "check_names", "result_dtype", "room"]

PACKING = {"dtype", "scale_factor", "add_offset", "_FillValue", "missing_value"}
"""Encodings under which saving a denoised float would quantise it."""


def result_dtype(dtype: np.dtype) -> np.dtype:
    """Floating-point data keep their precision, integers become float32; in native byte order."""
    return dtype.newbyteorder("=") if dtype.kind in "fc" else np.dtype(np.float32)


@dataclass(frozen=True)
class Trace:
    """An output of ``size`` numbers along a new dimension, counted from 1 by default."""

    dim: str
    size: int
    dtype: str | None = "float32"
    """``None``: that of the data, where integers become float32; so for all kinds of output."""
    coordinate: xr.Variable | None = None

    def assign(self, array: xr.DataArray) -> xr.DataArray:
        """``array`` with the coordinate of the new dimension."""
        counted = xr.Variable(self.dim, np.arange(1, self.size + 1))
        return array.assign_coords(
            {self.dim: counted if self.coordinate is None else self.coordinate}
        )


@dataclass(frozen=True)
class Image:
    """An output of the size of the image (or of all data of a mixture)."""

    dtype: str | None = None
    averaged: tuple[Hashable, ...] = ()
    """Dimensions over which the output is averaged; a pixel that is missing once stays missing."""


@dataclass(frozen=True)
class Scalar:
    """An output of one number or text per image (or per series, or for all data)."""

    dtype: str | None = "float64"


@dataclass(frozen=True)
class Part:
    """An output along some dimensions of the image, and before them a new one if ``along``."""

    dims: tuple[Hashable, ...]
    along: Trace | None = None
    dtype: str | None = None


Output = Image | Scalar | Trace | Part
"""Any of them. What an algorithm returns for a batch has the batch first: ``(n, ...)``."""


def new_dimension(output: Output) -> Trace | None:
    """The dimension that the output has and the data have not."""
    if isinstance(output, Trace):
        return output
    return output.along if isinstance(output, Part) else None


def axes_of(output: Output, core: Sequence[Hashable]) -> list[Hashable]:
    """Dimensions of the output beyond the batch, if an algorithm is given ``core``."""
    if isinstance(output, Image):
        return [dim for dim in core if dim not in output.averaged]
    new = new_dimension(output)
    return [*([new.dim] if new else []), *(output.dims if isinstance(output, Part) else ())]


def dtype_of(output: Output, data: np.dtype) -> np.dtype:
    """Type of the output's numbers, for data of this type."""
    return result_dtype(data) if output.dtype is None else np.dtype(output.dtype)


def room(output: Output, items: int, sizes: Mapping[Hashable, int], data: np.dtype) -> np.ndarray:
    """Space for one output; what stays unwritten (all-NaN images) is NaN, zero or False."""
    dtype, new = dtype_of(output, data), new_dimension(output)
    known = dict(sizes)
    if new:
        known[new.dim] = new.size
    shape = (items, *(known[dim] for dim in axes_of(output, tuple(sizes))))
    return np.full(shape, np.nan if dtype.kind in "fc" else np.zeros((), dtype), dtype)


def check_names(data: xr.DataArray, outputs: Mapping[str, Output]) -> None:
    """Several results share a Dataset with the coordinates of the data: no name twice."""
    dims = [new.dim for new in map(new_dimension, outputs.values()) if new]
    new = list(dict.fromkeys([*(outputs if len(outputs) > 1 else ()), *dims]))
    for name in (*data.coords, *data.dims):
        if name in new:
            raise AxisError(
                f"the data have a coordinate or dimension named {name!r}, which is the name of a "
                f"result ({', '.join(new)}); rename it, for example "
                f"data.rename({{{name!r}: 'own_{name}'}})"
            )


def labelled(
    bare: xr.DataArray,
    output: Output,
    data: xr.DataArray,
    names: Mapping[Hashable, str],
    core: Sequence[Hashable],
) -> xr.DataArray:
    """``bare`` with the dimension order, coordinates, name and encoding of ``data``.

    ``names`` are those of the dimensions of ``data`` in ``bare``; an algorithm was given ``core``.
    """
    if isinstance(output, Image):
        data = data.isel(dict.fromkeys(output.averaged, 0), drop=True)
        result = data.copy(deep=False, data=bare.transpose(*(names[dim] for dim in data.dims)).data)
        if np.dtype(data.encoding.get("dtype", data.dtype)) != result.dtype:
            result.encoding = {k: v for k, v in data.encoding.items() if k not in PACKING}
        result.attrs = {}
        return result
    kept = output.dims if isinstance(output, Part) else ()
    lost = [dim for dim in core if dim not in kept]
    beyond = [name for name, c in data.coords.items() if set(c.dims) & set(lost)]
    shell = data.drop_vars(beyond).isel(dict.fromkeys(lost, 0))
    batch = [dim for dim in shell.dims if dim not in kept]
    result = xr.DataArray(bare.data, dims=[*batch, *axes_of(output, core)], coords=shell.coords)
    new = new_dimension(output)
    return new.assign(result) if new else result
