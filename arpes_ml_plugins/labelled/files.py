"""Results on disk: netCDF files that hold every attribute, and appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import DataTypeError
from arpes_ml_plugins.labelled.attributes import pack, unpack
from arpes_ml_plugins.labelled.provenance import Provenance
from arpes_ml_plugins.labelled.recording import hashes_in
from arpes_ml_plugins.labelled.units import strip_unit

__all__ = ["load", "save", "whole_file"]

KIND = "arpes_ml_array"
"""Attribute that marks a file that holds a single DataArray."""
ARRAYS_GROUP = "arpes_ml_parameters"
"""Group of a file that holds the large arrays among the parameters of records, under hashes."""


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside ``path`` that replaces it when the block ends without error.

    Whatever interrupts the block, ``path`` is either as it was or complete. Links are followed.
    """
    target = Path(os.path.realpath(path))
    handle, name = tempfile.mkstemp(
        prefix=f".{target.stem}-", suffix=target.suffix, dir=target.parent
    )
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes files private
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def save(data: xr.DataArray | xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Write ``data`` as netCDF with every attribute, also those that netCDF cannot hold.

    PyARPES's data carry ``None``, dicts and booleans in ``attrs``, on which ``to_netcdf`` fails.
    They are stored as JSON text, and :func:`load` gives them back, types included. Objects without
    such a form (open files, functions) are stored as their ``repr``. The file appears whole or not
    at all.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        Not changed. Units of pint are stored as the attribute ``units``, where there is none.
    path : path-like
        Replaced if it exists.

    Raises
    ------
    DataTypeError
        ``data`` is no labelled data.
    OSError
        The folder does not exist or cannot be written to.

    Examples
    --------
    >>> import tempfile, pathlib, xarray as xr
    >>> cut = xr.DataArray([[1.0, 2.0]], dims=("phi", "eV"), attrs={"sample": None})
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "cut.nc"
    >>> save(cut, file)
    >>> load(file).identical(cut)
    True
    """
    if isinstance(data, xr.DataArray):
        values = xr.DataArray(data.variable, coords=data.coords)
        plain = values.to_dataset(name="values")
        plain.attrs = {KIND: data.name}
    elif isinstance(data, xr.Dataset):
        plain = data.copy(deep=False)
    else:
        raise DataTypeError(f"expected a DataArray or Dataset to save, got {type(data).__name__}")
    arrays = _arrays_of(plain)
    plain = plain.assign({name: _without_unit(v) for name, v in plain.data_vars.items()})
    plain.attrs = pack(plain.attrs)
    for name in plain.variables:
        plain[name].attrs = pack(plain[name].attrs)
    with whole_file(path) as temporary:
        plain.to_netcdf(temporary, engine="h5netcdf")
        if arrays:
            arrays.to_netcdf(temporary, mode="a", group=ARRAYS_GROUP, engine="h5netcdf")


def _arrays_of(data: xr.Dataset) -> xr.Dataset:
    """The large parameters of all records, each once, under their hashes."""
    found: dict[str, np.ndarray] = {}
    for attrs in (data.attrs, *(variable.attrs for variable in data.variables.values())):
        found |= getattr(attrs.get("provenance"), "arrays", {})
    return xr.Dataset({key: (f"size of {key}", values) for key, values in found.items()})


def _give_arrays(data: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Put the large parameters back beside the records that refer to them, in place."""
    holders = (data.attrs, *(variable.attrs for variable in data.variables.values()))
    records = [a["provenance"] for a in holders if isinstance(a.get("provenance"), Provenance)]
    needed = {id(record): set(hashes_in(record.get("record"))) for record in records}
    if not any(needed[id(record)] - set(record.arrays) for record in records):
        return
    try:
        with xr.open_dataset(path, group=ARRAYS_GROUP, engine="h5netcdf") as group:
            arrays = {str(name): values.values for name, values in group.data_vars.items()}
    except (OSError, KeyError, ValueError):  # no such group: replay says what is missing
        return
    for record in records:
        record.arrays = {k: v for k, v in arrays.items() if k in needed[id(record)]}


def _without_unit(array: xr.DataArray) -> xr.DataArray:
    bare, _ = strip_unit(array)
    if bare is array or "units" in array.attrs:
        return bare
    quantity: Any = array.variable._data
    return bare.assign_attrs(units=str(quantity.units))


def load(path: str | os.PathLike[str]) -> xr.DataArray | xr.Dataset:
    """Read what :func:`save` wrote: the same object, its attributes as they were.

    Parameters
    ----------
    path : path-like
        A netCDF file; one not written by :func:`save` loads as a Dataset.

    Raises
    ------
    OSError
        There is no such file, or it is no netCDF file.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"there is no file {os.fspath(path)}")
    try:
        opened = xr.open_dataset(path, engine="h5netcdf")
    except (OSError, ValueError):
        try:
            opened = xr.open_dataset(path)  # netCDF-3, or what else xarray may know
        except (OSError, ValueError) as error:
            raise OSError(f"{os.fspath(path)} is no netCDF file ({error})") from None
    with opened:
        data = opened.load()
    for name in data.variables:
        data[name].attrs = unpack(data[name].attrs)
    data.attrs = unpack(data.attrs)
    _give_arrays(data, path)
    if KIND not in data.attrs:
        return data
    return data["values"].rename(data.attrs[KIND])
