"""Results on disk: netCDF files that hold every attribute, and appear whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import DataTypeError
from arpes_ml_plugins.labelled.provenance import Provenance

__all__ = ["load", "save", "whole_file"]

JSON_MARK = "json:"
PLAIN_NAME = "__arpes_ml_name__"


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside ``path`` that replaces it when the block ends without error.

    Whatever interrupts the block, ``path`` is either as it was or complete.
    """
    target = Path(path)
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
    They are stored as JSON text, and :func:`load` gives them back. Attributes without a JSON form
    (open files, modules) are stored as their ``repr``. The file appears whole or not at all.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        Not changed.
    path : path-like
        Replaced if it exists.

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
        plain = data.to_dataset(name="values" if data.name is None else str(data.name))
        plain.attrs[PLAIN_NAME] = "" if data.name is None else str(data.name)
    elif isinstance(data, xr.Dataset):
        plain = data.copy(deep=False)
    else:
        raise DataTypeError(f"expected a DataArray or Dataset to save, got {type(data).__name__}")
    plain.attrs = _encode(plain.attrs)
    for name in plain.variables:
        plain[name].attrs = _encode(plain[name].attrs)
    with whole_file(path) as temporary:
        plain.to_netcdf(temporary, engine="h5netcdf")


def load(path: str | os.PathLike[str]) -> xr.DataArray | xr.Dataset:
    """Read what :func:`save` wrote: the same object, its attributes as they were.

    Parameters
    ----------
    path : path-like
        Any netCDF-4 file; files not written by :func:`save` load as a Dataset.
    """
    with xr.open_dataset(path, engine="h5netcdf") as opened:
        data = opened.load()
    for name in data.variables:
        data[name].attrs = _decode(data[name].attrs)
    name = data.attrs.pop(PLAIN_NAME, None)
    data.attrs = _decode(data.attrs)
    if name is None:
        return data
    array = data[name or "values"]
    return array.rename(name or None)


def _encode(attrs: dict[Any, Any]) -> dict[str, Any]:
    return {str(key): _storable(value) for key, value in attrs.items()}


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return JSON_MARK + json.dumps(value) if value.startswith(JSON_MARK) else value
    if isinstance(value, (int, float, np.number)) and not isinstance(value, bool):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "iuf" and value.size:
        return value
    return JSON_MARK + json.dumps(value, default=_describe)


def _describe(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return repr(value)


def _decode(attrs: dict[Any, Any]) -> dict[Any, Any]:
    return {key: _restored(key, value) for key, value in attrs.items()}


def _restored(key: Any, value: Any) -> Any:
    if not (isinstance(value, str) and value.startswith(JSON_MARK)):
        return value
    decoded = json.loads(value[len(JSON_MARK) :])
    return Provenance(decoded) if key == "provenance" and isinstance(decoded, dict) else decoded
