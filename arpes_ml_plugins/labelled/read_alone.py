"""Read an HDF5 file as a test: ``python -P read_alone.py FILE LIMIT``, in a process of its own.

The HDF5 library can crash or hang on a file that is damaged or malicious. In a separate process
this does no harm. The process prints one JSON text with the problem, if there is one.
"""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import h5netcdf
import h5py

__all__ = ["problem_of"]

SLAB = 2**26
"""Bytes that are read at once."""
DEEPEST = 20  # groups in groups
LENGTH_ONLY = b"This is a netCDF dimension but not a netCDF variable"
"""Arrays without values, which nobody reads, stand for dimensions without coordinates."""
ELSEWHERE = "load it with trusted=True if it may read other files"
REFERENCES = {"DIMENSION_LIST", "REFERENCE_LIST"}


def problem_of(path: str, limit: int) -> str | None:
    """Read everything in the file; return the problem, if there is one."""
    with h5py.File(path, "r") as file:
        end = file.id.get_filesize()
        datasets: list[h5py.Dataset] = []
        problem = _walk(file, datasets, end, 0)
        if problem:
            return problem
        declared = sum(_bytes_of(dataset) for dataset in datasets)
        if declared > limit:
            return (
                f"its arrays are declared to hold {declared:,} bytes, and the file has "
                f"{end:,}; expected at most {limit:,}; pass max_bytes= if that is right"
            )
        for dataset in datasets:
            problem = _read(dataset, limit, end)
            if problem:
                return f"array {dataset.name!r}: {problem}"
    _read_as_netcdf(path)
    return None


def _walk(group: Any, datasets: list[Any], end: int, depth: int) -> str | None:
    """Collect the datasets of a group and of those in it; what is wrong on the way, if anything."""
    if depth > DEEPEST:
        return f"its groups are nested more than {DEEPEST} deep"
    problem = _check_attributes(group, end)
    for name in group if problem is None else ():
        if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
            return f"{name!r} lies in another file; {ELSEWHERE}"
        item = group[name]
        if isinstance(item, h5py.Group):
            problem = _walk(item, datasets, end, depth + 1)
        elif isinstance(item, h5py.Dataset):
            datasets.append(item)
            problem = _check_attributes(item, end)
        if problem:
            return problem
    return problem


def _check_attributes(item: Any, end: int) -> str | None:
    for name in item.attrs:
        attribute = item.attrs.get_id(name)
        if math.prod(attribute.shape or ()) * attribute.dtype.itemsize > end:
            return f"attribute {name!r} is declared to be larger than the file"
        if name not in REFERENCES:
            item.attrs[name]
    return None


def _bytes_of(dataset: Any) -> int:
    """Memory that it takes; a chunk is unpacked as a whole."""
    if _title(dataset).startswith(LENGTH_ONLY):
        return 0
    size = max(math.prod(dataset.shape or ()), math.prod(dataset.chunks or ()))
    return int(size) * int(dataset.dtype.itemsize)


def _title(dataset: Any) -> bytes:
    title = dataset.attrs.get("NAME", b"")
    return title if isinstance(title, bytes) else str(title).encode(errors="replace")


def _read(dataset: Any, limit: int, end: int) -> str | None:
    if dataset.is_virtual or dataset.external:
        return f"its values lie in another file; {ELSEWHERE}"
    if not dataset.shape or not dataset.size:
        dataset[()]
        return None
    numbers = dataset.dtype.kind in "iufb"
    if dataset.chunks is None and numbers:
        start = dataset.id.get_offset()
        if start is not None and start + dataset.nbytes > end:
            return "its values end beyond the end of the file"
        return None
    rows = max(1, SLAB // max(1, dataset.nbytes // len(dataset)))
    for row in range(0, len(dataset), rows):
        dataset[row : row + rows]
    return None


def _read_as_netcdf(path: str) -> None:
    """Whatever is looked up when the file is opened."""
    with h5netcdf.File(path, "r", decode_vlen_strings=True, phony_dims="access") as file:
        for group in (file, *file.groups.values()):
            dict(group.attrs)
            for variable in group.variables.values():
                _ = variable.dimensions, variable.shape, variable.dtype, dict(variable.attrs)


def _limit_memory(limit: int) -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    most = limit + 2**32
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (most if hard < 0 else min(most, hard), hard))


def main(path: str, limit: int) -> None:
    """Print the problem of the file."""
    _limit_memory(limit)
    try:
        problem = problem_of(path, limit)
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
    sys.stdout.write(json.dumps({"problem": problem}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
