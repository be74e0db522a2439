"""A sample of a large image: square tiles, evenly spaced and where spectra differ most.

Tiles keep the neighbours of their pixels, so that noise and wavelets can be taken from them. Tiles
that are merely evenly spaced may all miss a component that lies in one small grain.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Hashable, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arpes_ml_plugins.labelled.outputs import result_dtype

__all__ = ["TILE_DIMS", "is_large", "sampled"]

TILES, SIDE = 64, 32
OUTSTANDING = 16  # of the tiles, chosen by their mean spectra
MANY = 2  # times the pixels of a sample
TILE_DIMS = ("tile of the sample", "row of the tile", "column of the tile")
FLOOR = 0.05  # of the mean intensity: darker channels have no more weight
EVENLY = (0.7548776662466927, 0.5698402909980532)
"""Steps along rows and columns whose multiples fill an area evenly (M. Roberts, R2 sequence)."""


def is_large(data: xr.DataArray, channels: Sequence[Hashable]) -> bool:
    """Whether there are many more pixels than in a sample, in images that tiles fit into."""
    shape = [data.sizes[dim] for dim in data.dims if dim not in channels]
    tile = math.prod(_sides((1, *shape)[-2:]))
    return math.prod(shape) > MANY * TILES * SIDE**2 and tile >= SIDE**2 // 2


def sampled(
    data: xr.DataArray, channels: Sequence[Hashable], used: NDArray[np.bool_] | None = None
) -> xr.DataArray:
    """Tiles of ``data`` along ``channels`` and :data:`TILE_DIMS`; NaN beyond the edges.

    Lazy data give a lazy sample, for which they are read twice. It does not depend on their chunks.

    Parameters
    ----------
    data
        Real numbers with at least one dimension beside ``channels``, that of space.
    used
        Pixels to use, along the dimensions of space in their order.
    """
    space = [dim for dim in data.dims if dim not in channels]
    bare = data.variable.transpose(*channels, *space)
    bare = bare.astype(result_dtype(data.dtype), copy=False)
    if used is not None:
        bare = bare.where(xr.Variable(space, used))
    values: Any = bare.data
    if len(space) == 1:
        values = values[..., None, :]
    first, sides = len(channels), _sides(values.shape[-2:])
    shape = (*values.shape[:first], TILES, *sides)
    if data.chunks is None:
        picks = _picked(_means(values, sides=sides), first)
        inside = _inside(values, (0,) * values.ndim, picks, sides)
        tiles: Any = _joined([inside], shape, values.dtype)
    else:
        tiles = _lazily(values, shape, sides)
    kept = data.drop_vars([name for name, c in data.coords.items() if set(c.dims) & set(space)])
    coords = kept.isel(dict.fromkeys(space, 0)).coords
    return xr.DataArray(tiles, coords, (*channels, *TILE_DIMS), name=data.name)


def _sides(shape: Sequence[int]) -> tuple[int, int]:
    """Rows and columns of a tile: more columns if there are few rows."""
    rows = min(SIDE, shape[0])
    return rows, min(SIDE * SIDE // rows, shape[1])


def _means(values: NDArray[Any], sides: tuple[int, int]) -> NDArray[np.floating]:
    """Mean over each tile ``(*channels, *space, rows, columns)``; NaN where all is missing."""
    starts = [np.arange(0, size, side) for size, side in zip(values.shape[-2:], sides, strict=True)]
    valid = ~np.isnan(values)

    def summed(part: NDArray[Any]) -> NDArray[np.floating]:
        rows = np.add.reduceat(part, starts[0], axis=-2, dtype=np.float64)
        return np.add.reduceat(rows, starts[1], axis=-1)

    number = summed(valid)
    total = summed(values if valid.all() else np.where(valid, values, 0))
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _picked(means: NDArray[np.floating], channels: int) -> NDArray[np.integer]:
    """Indices of ``TILES`` tiles along space, rows and columns, ``(tiles, axes)``."""
    grid = means.shape[channels:]
    places = np.stack([axis.ravel() for axis in np.indices(grid)], 1)
    spectra = means.reshape(-1, len(places))
    known = np.flatnonzero(~np.isnan(spectra).all(0))
    rows = np.ravel_multi_index(tuple(places[:, :-1].T), grid[:-1])
    order = (rows * EVENLY[0] + places[:, -1] * EVENLY[1]) % 1
    first = known[_outstanding(np.nan_to_num(spectra[:, known]))]
    evenly = known[np.argsort(order[known], kind="stable")]
    picks = list(dict.fromkeys([*first.tolist(), *evenly.tolist()]))[:TILES]
    return places[picks]


def _outstanding(spectra: NDArray[np.floating]) -> NDArray[np.integer]:
    """Indices of columns that are farthest from the span of those before (successive projection).

    Intensities are divided by their root, as noise of counts would be.
    """
    level = np.abs(spectra).mean(1, keepdims=True)
    left = spectra / np.sqrt(np.maximum(level, FLOOR * level.mean()) + np.finfo(float).tiny)
    found: list[int] = []
    for _ in range(min(OUTSTANDING, *left.shape)):
        size = np.einsum("ij,ij->j", left, left)
        found.append(int(size.argmax()))
        direction = left[:, found[-1]] / max(np.sqrt(size.max()), 1e-300)
        left = left - direction[:, None] * (direction @ left)
    return np.array(found, dtype=np.intp)


def _inside(
    values: NDArray[Any],
    start: Sequence[int],
    picks: NDArray[np.integer],
    sides: tuple[int, int],
) -> dict[int, NDArray[Any]]:
    """Number of each tile that lies in a block of the data, and its values.

    ``start``: where the block begins, in values.
    """
    axes, scale = picks.shape[1], np.ones(picks.shape[1], dtype=np.intp)
    scale[-2:] = sides
    own = picks * scale - np.array(start[-axes:])
    lies = ((own >= 0) & (own < np.array(values.shape[-axes:]))).all(1)
    parts = {}
    for number in np.flatnonzero(lies):
        *outer, row, column = own[number].tolist()
        space = (*outer, slice(row, row + sides[0]), slice(column, column + sides[1]))
        parts[int(number)] = np.array(values[(..., *space)])
    return parts


def _joined(
    blocks: Sequence[dict[int, NDArray[Any]]], shape: Sequence[int], dtype: np.dtype
) -> NDArray[Any]:
    """``(*channels, TILES, rows, columns)``, NaN for what is missing."""
    tiles = np.full(shape, np.nan, dtype)
    for block in blocks:
        for number, tile in block.items():
            tiles[..., number, : tile.shape[-2], : tile.shape[-1]] = tile
    return tiles


def _lazily(values: Any, shape: tuple[int, ...], sides: tuple[int, int]) -> Any:
    """The same of a dask array, read once for the means and once for the tiles."""
    import dask.array as da
    from dask.delayed import delayed

    channels = len(shape) - len(TILE_DIMS)
    whole = dict.fromkeys(range(channels), -1)
    edges = {
        axis: _aligned(values.chunks[axis], side)
        for axis, side in zip((values.ndim - 2, values.ndim - 1), sides, strict=True)
    }
    passes = [_again(values, number).rechunk(whole | edges) for number in (1, 2)]
    counts = [
        tuple(-(-size // side) for size in chunks)
        for chunks, side in zip(passes[0].chunks[-2:], sides, strict=True)
    ]
    means = da.map_blocks(
        partial(_means, sides=sides),
        passes[0],
        chunks=(*passes[0].chunks[:-2], *counts),
        dtype=np.float64,
        meta=np.empty((0,) * values.ndim),
    )
    picks = delayed(_picked)(means, channels)
    starts = [np.cumsum([0, *chunks[:-1]]) for chunks in passes[1].chunks]
    blocks = passes[1].to_delayed()
    parts = [
        delayed(_inside)(
            blocks[index],
            [int(start[i]) for start, i in zip(starts, index, strict=True)],
            picks,
            sides,
        )
        for index in np.ndindex(blocks.shape)
    ]
    joined = delayed(_joined)(parts, shape, values.dtype)
    return da.from_delayed(joined, shape, values.dtype)


class _Source:
    """Values of a dask array, computed for every reader anew."""

    def __init__(self, values: Any) -> None:
        self._values = values
        self.shape, self.dtype, self.ndim = values.shape, values.dtype, values.ndim

    def __getitem__(self, index: Any) -> NDArray[Any]:
        found: NDArray[Any] = self._values[index].compute(scheduler="synchronous")
        return found


def _again(values: Any, number: int) -> Any:
    """The same dask array with tasks of its own.

    With common tasks all chunks would stay in memory from the first pass to the last one. Data that
    a cluster holds in memory are left as they are.
    """
    import dask.array as da

    distributed = sys.modules.get("distributed")
    if distributed is not None and distributed.futures_of(values):
        return values
    name = f"pass-{number}-{values.name}"
    return da.from_array(
        _Source(values), values.chunks, name=name, asarray=False, meta=values._meta
    )


def _aligned(chunks: Sequence[int], side: int) -> tuple[int, ...]:
    """Sizes of chunks whose ends are those of tiles, about where they were."""
    size = sum(chunks)
    ends = {round(end / side) * side for end in np.cumsum(chunks)[:-1].tolist()}
    whole = [0, *sorted(end for end in ends if 0 < end < size), size]
    return tuple(int(step) for step in np.diff(whole))
