"""A call whose result goes to a folder of zarr as it is computed, and that can be resumed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import FileError, MissingPackageError
from arpes_ml_plugins.labelled.progress import check_progress, reporter
from arpes_ml_plugins.labelled.provenance import fingerprint, read_provenance
from arpes_ml_plugins.labelled.seeds import seed_from
from arpes_ml_plugins.labelled.spectrum import check_array, select_spectrum
from arpes_ml_plugins.labelled.unfinished import Unfinished, opened, run_of
from arpes_ml_plugins.labelled.units import as_attribute, strip_unit
from arpes_ml_plugins.labelled.whole import check_target
from arpes_ml_plugins.plugins.axes import resolved_dims
from arpes_ml_plugins.plugins.registry import Method

__all__ = ["OUT", "into_store", "stores_of_nodes"]

OUT = "out"
"""Parameter of methods whose result can go to a store."""
CHUNK = 8
"""Images along the longest axis in a chunk of data that are in memory."""
CHANGEABLE = ("device", "progress", OUT)
"""Parameters that may differ when a run goes on."""


def into_store(
    method: Method,
    data: Any,
    given: Mapping[str, Any],
    call: Callable[[Method, Any, Mapping[str, Any]], Any],
) -> Any:
    """Do what ``call`` does, and write the result to ``given["out"]`` as it is computed.

    A run that was interrupted goes on where it stopped, if data and parameters are the same.
    """
    parameters = {name: value for name, value in given.items() if name != OUT}
    check_progress(parameters.get("progress", False))
    target = _checked(given[OUT])
    array, name = select_spectrum(data, method.example_dims)
    check_array(array)
    unfinished = Unfinished(target)
    before = run_of(target) if target.exists() else unfinished.run()
    if target.exists() and before is None:
        raise FileError(
            f"cannot write {target}: it exists and is not the result of such a run; choose another "
            f"name, or delete it"
        )
    known = before["parameters"].get("rng") if before else None
    rng = parameters.get("rng")
    parameters["rng"] = seed_from(known if rng is None else rng)
    lazy = _in_chunks(as_attribute(array), method, parameters.get("dims"))
    result = call(
        method,
        lazy if name is None else data.assign({name: lazy}),
        parameters | {"progress": False},
    )
    spectrum = result if name is None else result[name]
    if array.chunks is None:
        for one in (result, spectrum):
            one.attrs["provenance"]["record"]["parent_hash"] = fingerprint(strip_unit(array)[0])
    run = _run(spectrum, lazy)
    if before is not None:
        _check_same(before, run, target if target.exists() else unfinished.folder)
    if not target.exists():
        if before is None:
            unfinished.create(spectrum, run)
        values = spectrum.data
        with reporter(parameters.get("progress", False), method.name, values.npartitions) as report:
            unfinished.write(values, report)
        unfinished.finish()
    stored = opened(target)
    if array.chunks is None:
        stored = stored.load()
    return stored if name is None else result.assign({name: stored})


@contextmanager
def stores_of_nodes(
    method: Method, given: Mapping[str, Any]
) -> Iterator[Callable[[str], Mapping[str, Any]]]:
    """Parameters for the node at a path of a tree: its store is in the folder that was named."""
    if not method.resumable or given.get(OUT) is None:
        yield lambda path: given
        return
    folder = _checked(given[OUT])
    if folder.exists() and run_of(folder) is not None:
        raise FileError(
            f"cannot write {folder}: it is the result for a single scan; for a tree, choose a new "
            f"folder, or that of an earlier call for this tree"
        )
    folder.mkdir(exist_ok=True)
    try:
        yield lambda path: {**given, OUT: folder / f"{_name_of(path)}.zarr"}
    finally:
        with suppress(OSError):
            folder.rmdir()  # if it is empty


def _name_of(path: str) -> str:
    return path.strip("/").replace("%", "%25").replace(".", "%2E").replace("/", ".") or "root"


def _checked(path: Any) -> Path:
    """The folder to write to, refused before any work if that is impossible."""
    for package in ("zarr", "dask"):
        if find_spec(package) is None:
            raise MissingPackageError(
                f"out= writes a folder of zarr with dask, and the package {package} is not "
                f"installed: pip install zarr 'dask[array]'. Or leave out= out, and save the result"
            )
    return check_target(os.fspath(path), folder=True)


def _in_chunks(array: xr.DataArray, method: Method, dims: Any) -> xr.DataArray:
    """``array`` in regular chunks of whole images; results do not depend on chunks."""
    core = resolved_dims(array, method.roles, dims)
    batch = [dim for dim in array.dims if dim not in core]
    if array.chunks is not None:
        sizes = {dim: max(array.chunksizes[dim]) for dim in batch}
    else:
        longest = max(batch, key=lambda dim: array.sizes[dim], default=None)
        sizes = {dim: CHUNK if dim == longest else 1 for dim in batch}
    return array.chunk({**sizes, **dict.fromkeys(core, -1)})


def _run(result: xr.DataArray, data: xr.DataArray) -> dict[str, Any]:
    """What is run on which data, to recognise it: two equal ones have the same result."""
    provenance = read_provenance(result) or {}
    record = provenance["record"]
    core = list(record["axes"].values())
    return {
        "method": record["by"],
        "parameters": {k: v for k, v in record["parameters"].items() if k not in CHANGEABLE},
        "axes": record["axes"],
        "version": record["version"],
        "weights": record["found"].get("weights"),
        "data": _digest(data, [dim for dim in data.dims if str(dim) in core]),
        "chunks": list(result.data.chunksize),
    }


def _digest(data: xr.DataArray, core: Sequence[Hashable]) -> str:
    """A hash of values and axes that does not depend on chunks; lazy data are read once."""
    bare = data.drop_vars(data.coords)
    each = xr.apply_ufunc(
        _hashes, bare, input_core_dims=[list(core)], dask="parallelized", output_dtypes=[np.uint64]
    ).compute()
    whole = hashlib.blake2b(digest_size=16)
    whole.update(repr((data.dims, data.shape, data.dtype.str)).encode())
    whole.update(each.transpose(*(dim for dim in data.dims if dim not in core)).values.tobytes())
    for name in sorted(data.coords, key=str):
        values = data.coords[name].values
        text = repr(values.tolist()).encode() if values.dtype.kind == "O" else values.tobytes()
        whole.update(repr(name).encode() + text)
    return whole.hexdigest()


def _hashes(values: np.ndarray) -> np.ndarray:
    """A hash for each image in the last two axes."""
    images = values.reshape(-1, *values.shape[-2:])
    digests = [hashlib.blake2b(image.tobytes(), digest_size=8).digest() for image in images]
    return np.frombuffer(b"".join(digests), np.uint64).reshape(values.shape[:-2])


def _check_same(before: Mapping[str, Any], run: Mapping[str, Any], place: Path) -> None:
    """Refuse to go on with a run of something else."""
    differences = [
        f"{name} (there {before.get(name)!r}, here {run[name]!r})"
        for name in run
        if name not in ("data", "parameters") and before.get(name) != run[name]
    ]
    old, new = before.get("parameters", {}), run["parameters"]
    differences += [
        f"{name}={new.get(name)!r} (there {old.get(name)!r})"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]
    if before.get("data") != run["data"]:
        differences.append("the data (values or axes)")
    if differences:
        raise FileError(
            f"{place} holds the result of another run; different are: {'; '.join(differences)}. "
            f"Pass the same data and parameters to go on, choose another name with out=, or delete "
            f"{place} to begin anew"
        )
