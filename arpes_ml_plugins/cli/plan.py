"""Decide which files are read and written, and check them, before any work starts."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from arpes_ml_plugins.labelled.file_check import HDF5, NETCDF3

__all__ = ["STREAM", "Job", "is_zarr", "plan"]

STREAM = Path("-")
"""Standard input or output instead of a file."""
SUFFIXES = (".nc", ".nc4", ".cdf", ".netcdf", ".h5", ".hdf5", ".nxs")
SIGNATURES = (HDF5, *NETCDF3)


@dataclass(frozen=True)
class Job:
    """A file to read, and the file for its result."""

    source: Path
    target: Path


def is_zarr(path: Path) -> bool:
    """Whether this is, or will be, a folder of zarr, which counts as one file."""
    return path.suffix.lower() == ".zarr" and (path.is_dir() or not path.exists())


def plan(paths: Sequence[Path], out: Path | None) -> tuple[list[Job], bool]:
    """The jobs, and whether their results are collected in a folder.

    Raises
    ------
    click.UsageError
        Outputs are missing, collide, or would replace inputs.
    """
    if out is None:
        if len(paths) < 2:
            raise click.UsageError(
                "expected IN... OUT or IN... --out FOLDER; the output is missing"
            )
        *sources, target = paths
        if not target.is_dir() or is_zarr(target):
            return [_single(_expanded(sources), target)], False
        out = target
    else:
        sources = list(paths)
    if not sources:
        raise click.UsageError("expected files or folders to read")
    if STREAM in sources:
        raise click.UsageError("data from stdin (-) need a file as output, or - for stdout")
    if out == STREAM or (out.exists() and not out.is_dir()):
        raise click.UsageError(f"--out must be a folder, got {out}; one file: IN OUT")
    jobs = list(_jobs(_expanded(sources), out))
    _check(jobs)
    return jobs, True


def _expanded(sources: Sequence[Path]) -> list[Path]:
    """Patterns such as ``*.nc``, which shells on Windows leave to the program."""
    if os.name != "nt":
        return list(sources)
    return [
        path
        for source in sources
        for path in (map(Path, sorted(glob.glob(str(source)))) if not source.exists() else [source])
    ]


def _single(sources: Sequence[Path], target: Path) -> Job:
    if len(sources) != 1 or _is_searched(sources[0]):
        raise click.UsageError(
            f"{target} is not a folder, which the results of several files need; pass --out FOLDER"
        )
    if target != STREAM and not target.resolve().parent.is_dir():
        raise FileNotFoundError(f"cannot write {target}: not a file in an existing folder")
    if target != STREAM and target.exists() and not (target.is_file() or is_zarr(target)):
        raise click.UsageError(f"{target} is a device or pipe; write - for stdout")
    return Job(sources[0], target)


def _jobs(sources: Sequence[Path], out: Path) -> Iterator[Job]:
    folders = sum(map(_is_searched, sources))
    for source in sources:
        if not _is_searched(source):
            yield Job(source, out / _output_name(source))
            continue
        found = [path for path in _readable(source) if not _is_result(path, source, out)]
        if not found:
            raise FileNotFoundError(f"the folder {source} holds no file that could be read")
        base = out / source.resolve().name if folders > 1 else out
        for path in found:
            inside = path.relative_to(source)
            yield Job(path, base / inside.with_name(_output_name(inside)))


def _is_searched(source: Path) -> bool:
    """Whether this is a folder of files, and not one of zarr."""
    return source.is_dir() and not is_zarr(source)


def _readable(folder: Path) -> Iterator[Path]:
    """Files at any depth that are netCDF or HDF5 by name or content, and folders of zarr; hidden
    ones excepted.
    """
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir() and not is_zarr(path):
            if not path.is_symlink():
                yield from _readable(path)
        elif path.is_dir() or (
            path.is_file() and (path.suffix.lower() in SUFFIXES or _signed(path))
        ):
            yield path


def _is_result(path: Path, source: Path, out: Path) -> bool:
    """Whether the output folder lies in the one that is searched, and this file in it."""
    results = out.resolve()
    return source.resolve() in results.parents and results in path.resolve().parents


def _signed(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(8).startswith(SIGNATURES)
    except OSError:
        return False


def _output_name(source: Path) -> str:
    name = source.stem if source.suffix.lower() in (*SUFFIXES, ".zarr") else source.name
    return f"{name}.nc"


def _check(jobs: Sequence[Job]) -> None:
    inputs = {job.source.resolve() for job in jobs}
    outputs: dict[Path, Job] = {}
    for job in jobs:
        target = job.target.resolve()
        if target in inputs:
            raise click.UsageError(
                f"the result of {job.source} would replace {job.target}, which is an input; "
                f"choose another folder"
            )
        if target in outputs:
            raise click.UsageError(
                f"the results of {outputs[target].source} and {job.source} would both be "
                f"{job.target}; give their folder instead, or run them apart"
            )
        outputs[target] = job
