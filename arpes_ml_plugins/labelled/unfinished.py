"""Write a large result to a folder of zarr chunk by chunk, so that an interrupted run can go on.

Until all chunks are written the result lies beside its final place, with a record of what it will
be and one empty file for each chunk that is complete.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import FileError
from arpes_ml_plugins.labelled.layout import VALUES, dataset_from, flat, layout_of
from arpes_ml_plugins.labelled.whole import whole_folder
from arpes_ml_plugins.report import Report

if TYPE_CHECKING:
    import dask.array

__all__ = ["RUN", "Unfinished", "opened", "run_of"]

RUN = "arpes_ml_run"
"""Attribute of a store: what was run on which data."""
EVERY = 0.5  # seconds between two looks at what is finished
OPTIONS: dict[str, Any] = {"consolidated": False, "decode_cf": False}


@dataclass(frozen=True)
class Unfinished:
    """The unfinished result of a run, whose place will be ``target``."""

    target: Path

    @property
    def folder(self) -> Path:
        return self.target.with_name(f"{self.target.name}.unfinished")

    @cached_property
    def store(self) -> Path:
        return self.folder / "result.zarr"

    @cached_property
    def done(self) -> Path:
        return self.folder / "done"

    def run(self) -> dict[str, Any] | None:
        """What is being run, if something is."""
        return run_of(self.store) if self.folder.is_dir() else None

    def create(self, result: xr.DataArray, run: Mapping[str, Any]) -> None:
        """Write all but the values of ``result``, which is lazy and has regular chunks."""
        import dask.array as da

        nothing = np.broadcast_to(np.zeros((), result.dtype), result.shape)
        plain = flat(result.copy(data=nothing))
        values = plain[VALUES]
        later = da.zeros(values.shape, dtype=values.dtype, chunks=result.data.chunksize)
        plain[VALUES] = values.copy(data=later)
        plain.attrs[RUN] = json.dumps(run)
        encoding = {VALUES: {"chunks": result.data.chunksize}}
        with whole_folder(self.folder) as folder:
            plain.to_zarr(
                folder / self.store.name,
                mode="w",
                compute=False,
                consolidated=False,
                encoding=encoding,
            )
            (folder / self.done.name).mkdir()

    def write(self, values: dask.array.Array, report: Report | None) -> None:
        """Compute and write the chunks that are missing, with the scheduler that dask would use."""
        import dask.array as da

        blocks, regions = [], []
        for place in np.ndindex(values.numblocks):
            region = tuple(
                slice(sum(sizes[:i]), sum(sizes[: i + 1]))
                for sizes, i in zip(values.chunks, place, strict=True)
            )
            if not _Chunks.mark(self.done, region).exists():
                blocks.append(values.blocks[place])
                regions.append(region)
        if report:
            report(values.npartitions - len(blocks), None)
        if blocks:
            chunks: list[Any] = [_Chunks(str(self.store), str(self.done))] * len(blocks)
            with self._watched(report):
                da.store(blocks, chunks, regions=regions, lock=False)

    @contextmanager
    def _watched(self, report: Report | None) -> Iterator[None]:
        """Report chunks when they are finished, whichever process finishes them."""
        if report is None:
            yield
            return
        told, over = self._finished(), threading.Event()

        def tell() -> None:
            nonlocal told
            finished = self._finished()
            if finished > told:
                report(finished - told, None)
                told = finished

        def watch() -> None:
            while not over.wait(EVERY):
                tell()

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            tell()

    def _finished(self) -> int:
        return sum(1 for _ in self.done.iterdir())

    def finish(self) -> None:
        """Move the complete result to its place."""
        if self.target.exists():
            raise FileError(
                f"cannot write {self.target}: it has been created in the meantime; the result is "
                f"complete in {self.store}"
            )
        self.store.rename(self.target)
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(frozen=True)
class _Chunks:
    """What dask writes chunks to, in any process: the array of a store, and marks of chunks."""

    store: str
    done: str

    def __setitem__(self, region: tuple[slice, ...], chunk: np.ndarray) -> None:
        import zarr

        zarr.open_array(self.store, path=VALUES, mode="r+")[region] = chunk
        self.mark(Path(self.done), region).touch()

    @staticmethod
    def mark(done: Path, region: tuple[slice, ...]) -> Path:
        return done / "_".join(str(part.start) for part in region)


def run_of(store: Path) -> dict[str, Any] | None:
    """What was run to get this store, if :class:`Unfinished` wrote it."""
    import zarr

    try:
        text = zarr.open_group(str(store), mode="r").attrs.get(RUN)
        run = json.loads(text) if isinstance(text, str) else None
    except (OSError, ValueError, KeyError):
        return None
    return run if isinstance(run, dict) else None


def opened(store: Path) -> xr.DataArray:
    """The result in a store; its values stay there until they are computed."""
    raw = xr.open_zarr(store, chunks={}, **OPTIONS)
    layout = layout_of(raw)
    if layout is None:
        raise FileError(f"{store} was changed by another program; delete it and run again")
    values = raw[VALUES].variable.data
    nothing = np.broadcast_to(np.zeros((), values.dtype), values.shape)
    raw[VALUES] = raw[VALUES].copy(data=nothing)
    result = dataset_from(raw.load(), layout)
    return result.copy(data=values.astype(result.dtype))  # type: ignore[return-value]
