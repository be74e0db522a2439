"""Save and load results with every attribute; files are written completely or not at all."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import ArpesMLError, DataTypeError, FileError, FileWarning
from arpes_ml_plugins.frames import warn
from arpes_ml_plugins.labelled.attributes import unpack
from arpes_ml_plugins.labelled.file_check import (
    check_alone,
    check_zarr,
    format_of,
    is_signed,
    limit_for,
    signature,
)
from arpes_ml_plugins.labelled.layout import (
    ARRAYS_GROUP,
    LAYOUT,
    dataset_from,
    dataset_rewritten,
    flat,
    layout_of,
)
from arpes_ml_plugins.labelled.provenance import Provenance
from arpes_ml_plugins.labelled.recording import hashes_in
from arpes_ml_plugins.labelled.whole import check_target, whole_file, whole_folder
from arpes_ml_plugins.parameters import check_count, check_flag

__all__ = ["checked_suffix", "load", "save", "whole_file"]

KIND = "arpes_ml_array"
"""Attribute that marked a file that holds a single DataArray, before there were layouts."""
ZARR = ".zarr"
OTHERS = {
    *(".csv", ".txt", ".dat", ".json", ".npy", ".npz", ".mat", ".pkl", ".pickle", ".parquet"),
    *(".png", ".jpg", ".tif", ".tiff", ".pdf", ".svg", ".xlsx", ".zip", ".gz", ".bz2", ".xz"),
    *(".ibw", ".pxt", ".pxp", ".itx", ".fits", ".sp2", ".krx", ".py", ".ipynb", ".md"),
}
"""Suffixes of other formats."""


def save(data: xr.DataArray | xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Write ``data`` to a file that :func:`load` reads back as the same object.

    The suffix determines the format: ``.zarr`` a folder of zarr, any other netCDF-4 (HDF5), which
    every netCDF reader opens. PyARPES's data have ``None``, dicts and booleans in ``attrs``, for
    which ``to_netcdf`` fails; here they are stored as JSON text. Attributes without a JSON form
    (open files, functions) are stored as their ``repr``. Names, types and indexes that netCDF lacks
    are stored in the nearest form, and restored by :func:`load`: names that are not text, a
    MultiIndex, categories, complex numbers, times in any unit, booleans, float16.

    The file is written completely or not at all, even if the disk is full or the process is killed.
    A netCDF-4 file ends with a checksum, by which :func:`load` detects damage.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        Data to save, which are not changed. Lazy data are computed. Units of pint are stored as the
        attribute ``units``, unless there is one.
    path : path-like
        File to write. An existing regular file is replaced and keeps its permissions. Pipes,
        devices and suffixes of other formats, such as ``.csv``, are refused. The file is assembled
        in memory, which takes as much memory again as the data.

    Raises
    ------
    DataTypeError
        ``data`` are not labelled data, or contain values that cannot be stored; the message says
        which, and how to convert them.
    FileError
        The folder does not exist or cannot be written to, the disk is full, or the path is not
        that of a regular file. It is an OSError.

    Examples
    --------
    >>> import tempfile, pathlib, xarray as xr
    >>> cut = xr.DataArray([[1.0, 2.0]], dims=("phi", "eV"), attrs={"sample": None})
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "cut.nc"
    >>> save(cut, file)
    >>> load(file).identical(cut)
    True
    """
    if not isinstance(data, (xr.DataArray, xr.Dataset)):
        raise DataTypeError(f"expected a DataArray or Dataset to save, got {type(data).__name__}")
    suffix = checked_suffix(path)
    target = check_target(path, folder=suffix == ZARR)
    if suffix == ZARR:
        _need_zarr(target)
    arrays = _arrays_of(data)
    with _named_errors("written", target):
        plain = flat(data.compute())  # all at once: variables may come from the same work
        if suffix == ZARR:
            _write_zarr(plain, arrays, target)
        else:
            _write_netcdf(plain, arrays, target)


def checked_suffix(path: str | os.PathLike[str]) -> str:
    """The suffix of a file to write; those of other formats are refused."""
    suffix = Path(path).suffix.lower()
    if suffix in OTHERS:
        raise FileError(
            f"cannot write {os.fspath(path)}: {suffix} is the suffix of another format; expected "
            f".nc (netCDF-4) or .zarr"
        )
    return suffix


def _write_netcdf(plain: xr.Dataset, arrays: xr.Dataset, target: Path) -> None:
    """Assemble the file in memory: HDF5 does not survive errors of writing, such as a full disk."""
    import h5netcdf

    np.empty(plain.nbytes + arrays.nbytes, np.uint8)  # refused now rather than inside HDF5
    memory = io.BytesIO()
    with h5netcdf.File(memory, "w") as file:
        plain.dump_to_store(xr.backends.H5NetCDFStore(file))
        if arrays:
            group = file.create_group(ARRAYS_GROUP)
            arrays.dump_to_store(xr.backends.H5NetCDFStore(group))
    with (
        memory.getbuffer() as content,
        whole_file(target) as temporary,
        temporary.open("wb") as out,
    ):
        out.write(content)
        out.write(signature(content))


def _write_zarr(plain: xr.Dataset, arrays: xr.Dataset, target: Path) -> None:
    with whole_folder(target) as temporary:
        plain.to_zarr(temporary, mode="w", consolidated=False)
        if arrays:
            arrays.to_zarr(temporary, mode="a", group=ARRAYS_GROUP, consolidated=False)


def _need_zarr(path: Path) -> None:
    from importlib.util import find_spec

    if find_spec("zarr") is None:
        raise FileError(
            f"{path} is a folder of zarr, and the package zarr is not installed; install it, or "
            f"use netCDF, with a name that ends with .nc"
        )


@contextmanager
def _named_errors(done: str, path: Path) -> Iterator[None]:
    """Errors of other libraries become one of ours that names the file."""
    try:
        yield
    except (ArpesMLError, Warning):
        raise
    except OSError as error:
        raise FileError(f"{path} cannot be {done}: {error.strerror or error}") from None
    except Exception as error:
        raise FileError(f"{path} cannot be {done}: {type(error).__name__}: {error}") from error


def _arrays_of(data: xr.DataArray | xr.Dataset) -> xr.Dataset:
    """The large parameters of all records, each once, under their hashes."""
    found: dict[str, np.ndarray] = {}
    for attrs in _holders(data):
        found |= getattr(attrs.get("provenance"), "arrays", {})
    return xr.Dataset({key: (f"size of {key}", values) for key, values in found.items()})


def _holders(data: xr.DataArray | xr.Dataset) -> list[dict[Any, Any]]:
    variables = data.coords if isinstance(data, xr.DataArray) else data.variables
    return [data.attrs, *(variable.attrs for variable in variables.values())]


def _give_arrays(data: xr.DataArray | xr.Dataset, arrays: dict[str, np.ndarray]) -> None:
    """Put the large parameters back beside the records that refer to them, in place."""
    found = (attrs.get("provenance") for attrs in _holders(data))
    for record in (record for record in found if isinstance(record, Provenance)):
        needed = set(hashes_in(record.get("record")))
        if needed - set(record.arrays):  # what is not there, replay names
            record.arrays = {key: values for key, values in arrays.items() if key in needed}


def load(
    path: str | os.PathLike[str], *, max_bytes: int | None = None, trusted: bool = False
) -> xr.DataArray | xr.Dataset:
    """Read what :func:`save` wrote: the same object, its attributes as they were.

    Any other file of netCDF or zarr is read as xarray reads it. Files are not trusted: damaged ones
    are refused. A file without the checksum of :func:`save` is first read in a separate process,
    because damaged files can crash the HDF5 library or make it hang.

    Parameters
    ----------
    path : path-like
        File of netCDF-4 (HDF5) or netCDF-3, or folder of zarr. The format is recognised by the
        content, not by the suffix. A file not written by :func:`save` loads as a Dataset.
    max_bytes : int, optional
        Upper limit on the memory that the arrays of the file take, in bytes. Default: 256 MiB, or
        100 times the size of the file if that is more. Raise it for data that compress better.
    trusted : bool
        Whether to skip the separate process, which takes about half a second and the time to read
        compressed values once. Use True only for files whose origin you know.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        Data in memory; the file is closed.

    Raises
    ------
    FileError
        The file does not exist, is damaged or of another format, or needs more memory than
        ``max_bytes``. The error is an OSError.

    Warns
    -----
    FileWarning
        Units of time or scale factors in the file cannot be decoded; the values are returned as
        they are stored.
    """
    check_count("max_bytes", max_bytes, optional=True)
    check_flag("trusted", trusted)
    place = Path(path)
    kind = format_of(place)
    with _named_errors("read", place):
        limit = limit_for(place, max_bytes)
        _check(place, kind, limit, trusted)
        with _opened(place, kind) as (raw, arrays):
            size = raw.nbytes + arrays.nbytes
            if size > limit:
                raise FileError(
                    f"{place} cannot be read: it asks for {size:,} bytes, expected at most "
                    f"{limit:,}; pass max_bytes= if that is right"
                )
            data = _decoded(raw, place)
            _give_arrays(data, {str(k): values.values for k, values in arrays.data_vars.items()})
    return data


def _check(place: Path, kind: str, limit: int, trusted: bool) -> None:
    if kind == "zarr":
        _need_zarr(place)
        check_zarr(place)
    elif kind == "hdf5" and not trusted:
        if not is_signed(place):
            check_alone(place, limit)
            return
        # The checksum detects damage, not intent.
        from arpes_ml_plugins.labelled.read_alone import problem_of

        problem = problem_of(str(place), limit)
        if problem:
            raise FileError(f"{place} cannot be read: {problem}")


@contextmanager
def _opened(place: Path, kind: str) -> Iterator[tuple[xr.Dataset, xr.Dataset]]:
    """The file as it is stored, and the large parameters of its records."""
    if kind == "netcdf3":
        memory = io.BytesIO(place.read_bytes())
        with xr.open_dataset(memory, engine="scipy", decode_cf=False) as raw:
            yield raw, xr.Dataset()
        return
    if kind == "zarr":
        options: dict[str, Any] = {"consolidated": False, "decode_cf": False, "chunks": None}
        with xr.open_zarr(place, **options) as raw:
            inside = (place / ARRAYS_GROUP).is_dir()
            yield (
                raw,
                xr.open_zarr(place, group=ARRAYS_GROUP, **options) if inside else xr.Dataset(),
            )
        return
    import h5netcdf

    with h5netcdf.File(place, "r", decode_vlen_strings=True, phony_dims="access") as file:
        stores = [file, *([file[ARRAYS_GROUP]] if ARRAYS_GROUP in file.groups else [])]
        opened = [
            xr.open_dataset(xr.backends.H5NetCDFStore(store), decode_cf=False) for store in stores
        ]
        yield opened[0], opened[1] if len(opened) > 1 else xr.Dataset()


AS_STORED: dict[str, dict[str, Any]] = {
    "times": {"decode_times": False},
    "units of time, scale factors or fill values": {
        "decode_times": False,
        "mask_and_scale": False,
        "concat_characters": False,
        "decode_coords": False,
    },
}
"""Decoding options to drop, step by step, if another program's file cannot be decoded."""


def _decoded(raw: xr.Dataset, place: Path) -> xr.DataArray | xr.Dataset:
    layout = layout_of(raw)
    if layout is not None:
        return dataset_from(raw.load(), layout)
    data = _decoded_of_others(raw, place)
    for name in data.variables:
        data[name].attrs = unpack(data[name].attrs)
    data.attrs = unpack(data.attrs)
    if LAYOUT in data.attrs:
        return dataset_rewritten(data)
    return data["values"].rename(data.attrs[KIND]) if KIND in data.attrs else data


def _decoded_of_others(raw: xr.Dataset, place: Path) -> xr.Dataset:
    try:
        return xr.decode_cf(raw).load()
    except (ValueError, TypeError, OverflowError, KeyError, AttributeError) as error:
        problem = error
    for what, options in AS_STORED.items():
        try:
            data = xr.decode_cf(raw, **options).load()
        except (ValueError, TypeError, OverflowError, KeyError, AttributeError):
            continue
        warn(
            f"{place}: {what} cannot be decoded ({problem}); the values are as they are stored",
            FileWarning,
        )
        return data
    raise problem
