"""Extend chunks of a lazy series by neighbouring images, so that it need not be a single chunk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

__all__ = ["DEPTH", "Overlap", "own_images", "true_index"]

DEPTH = 8
"""Images on either side of a chunk that algorithms may look at."""


@dataclass(frozen=True)
class Overlap:
    """Along one dimension, cut into chunks of these sizes."""

    dim: str
    chunks: tuple[int, ...]

    @property
    def depth(self) -> int:
        """``DEPTH``, or all images if there are fewer."""
        return min(DEPTH, sum(self.chunks))

    @classmethod
    def of(cls, array: xr.DataArray, dim: str) -> Overlap:
        """The chunks of ``array``; those smaller than ``DEPTH`` are joined."""
        from dask.array.overlap import ensure_minimum_chunksize

        own = cls(dim, tuple(array.chunksizes[dim]))
        if min(own.chunks) >= own.depth:
            return own
        return cls(dim, tuple(ensure_minimum_chunksize(own.depth, own.chunks)))

    def widened(self, array: xr.DataArray) -> xr.DataArray:
        """``array`` whose chunks hold ``DEPTH`` more images on either side, except at its ends."""
        from dask.array.overlap import overlap

        array = array.chunk({self.dim: self.chunks})
        depth = {array.get_axis_num(self.dim): self.depth}
        return xr.DataArray(overlap(array.data, depth, boundary="none"), dims=array.dims)

    def marked(self, index: xr.DataArray) -> xr.DataArray:
        """Numbers of images as :meth:`widened` arranges them, those beside a chunk below zero."""
        stops = np.cumsum(self.chunks)
        parts = []
        for stop, size in zip(stops, self.chunks, strict=True):
            start = stop - size
            around = np.arange(max(start - self.depth, 0), min(stop + self.depth, stops[-1]))
            part = index.isel({self.dim: around})
            own = xr.DataArray((around >= start) & (around < stop), dims=self.dim)
            parts.append(part.where(own, -1 - part))
        return xr.concat(parts, self.dim)

    def trimmed(self, array: xr.DataArray) -> xr.DataArray:
        """The inverse of :meth:`widened`."""
        from dask.array.overlap import trim_internal

        depth = {array.get_axis_num(self.dim): self.depth}
        return xr.DataArray(trim_internal(array.data, depth, boundary="none"), dims=array.dims)


def own_images(index: np.ndarray) -> np.ndarray:
    """Places of the images of the chunk itself among these numbers."""
    return index >= 0


def true_index(index: np.ndarray) -> np.ndarray:
    """Numbers of all images, whether of the chunk itself or beside it."""
    return np.where(index < 0, -1 - index, index)
