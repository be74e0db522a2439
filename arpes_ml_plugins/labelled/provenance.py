"""Provenance in PyARPES's format: the method, its parameters and data, as needed for replay.

PyARPES keeps ``attrs["id"]`` and ``attrs["provenance"]``, a dict with the ``record`` of the last
step and the provenance of the parent nested inside. Its releases disagree on the spelling of the
parents' key, so both are written, and its history then shows in all of them.
"""

from __future__ import annotations

import copy
import datetime
import functools
import hashlib
import json
import numbers
import os
import platform
import uuid
from collections.abc import Hashable, Mapping
from importlib import metadata
from typing import Any

import numpy as np
import xarray as xr

from arpes_ml_plugins.labelled.recording import (
    Arrays,
    arrays_as_text,
    arrays_from_text,
    written,
)

__all__ = [
    "JsonDict",
    "Provenance",
    "axes_fingerprint",
    "current_versions",
    "fingerprint",
    "history",
    "make_record",
    "provenance_of",
    "read_provenance",
    "stamp",
]

ARRAYS = "arrays"
"""Key of the arrays in the JSON text."""
PARENTS_KEYS = ("parents_provenance", "parents_provanence")
CONDITIONS = ("beta", "temperature")  # attributes that methods read
VERSIONED = ("arpes-ml-plugins", "torch", "numpy", "scipy", "xarray")


class JsonDict(dict[Any, Any]):
    """A dict that netCDF writers store as JSON text.

    PyARPES reads provenance as a dict, but a dict cannot be a netCDF attribute, and a result that
    cannot be saved with ``to_netcdf`` is of little use. xarray lets numbers and anything that
    numpy makes an array of pass to the writers; this dict does so as one string. Should a writer
    not follow, it refuses the attribute as it refuses any dict.
    """

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(json.dumps(self._content(), default=str).encode(), dtype=dtype)

    def _content(self) -> Any:
        return _with_text_keys(self)


class Provenance(JsonDict):
    """A provenance dict with the large arrays among the parameters of its record."""

    arrays: Arrays

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.arrays = {}

    def _content(self) -> Any:
        arrays = {ARRAYS: arrays_as_text(self.arrays)} if self.arrays else {}
        return _with_text_keys(self) | arrays


numbers.Number.register(JsonDict)


def _with_text_keys(value: Any) -> Any:
    """Mappings all the way down with keys that JSON has."""
    if isinstance(value, Mapping):
        return {str(key): _with_text_keys(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_text_keys(item) for item in value]
    return value


def make_record(
    method: str,
    parameters: Mapping[str, Any],
    *,
    owner: str,
    roles: Mapping[str, Hashable],
    parent_hash: str | None,
    parent_axes: str,
    found: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], Arrays]:
    """The ``record`` of one step, enough to run it again, and the large arrays among it."""
    arrays: Arrays = {}
    record = {
        "what": f"Applied {method} ({owner})",
        "by": method,
        "time": _now(),
        "version": _version("arpes-ml-plugins"),
        "plugin": owner,
        "parameters": written(parameters, arrays),
        "axes": {role: str(dim) for role, dim in roles.items()},
        "parent_hash": parent_hash,
        "parent_axes": parent_axes,
        "found": written(found or {}, arrays),
        "environment": {"versions": current_versions(), "threads": _threads()},
    }
    return record, arrays


def current_versions() -> dict[str, str | None]:
    """Return the versions of the packages that affect results."""
    return {name: _version(name) for name in VERSIONED} | _python()


def stamp(
    result: Any,
    parent: xr.DataArray | xr.Dataset,
    record: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
) -> None:
    """Give ``result`` (made by us, in place) the parent's attributes, a new id and provenance."""
    parent_provenance = read_provenance(parent) or parent.attrs.get("provenance")
    if isinstance(parent_provenance, dict):
        # Both spellings at every level would double the record with every step; the first one,
        # which all releases read, is enough further down.
        second = PARENTS_KEYS[1] if PARENTS_KEYS[0] in parent_provenance else None
        parent_provenance = {k: v for k, v in parent_provenance.items() if k != second}
    both = {**parent.attrs, **{k: v for k, v in result.attrs.items() if k not in parent.attrs}}
    attrs = _writable({k: v for k, v in both.items() if k not in ("id", "provenance")})
    attrs["id"] = str(uuid.uuid1())
    provenance = Provenance(
        record=dict(record),
        jupyter_context=[],
        parent_id=parent.attrs.get("id"),
        time=record["time"],
        version=record["version"],
        **dict.fromkeys(PARENTS_KEYS, _copied(parent_provenance)),
    )
    provenance.arrays = dict(arrays)
    attrs["provenance"] = provenance
    result.attrs = attrs


def _writable(attrs: Mapping[Any, Any]) -> dict[Any, Any]:
    """A copy of attributes that ``to_netcdf`` can write: no None, and booleans as 0 and 1.

    Dicts stay dicts and are written as JSON. Other objects are the user's own and stay as they are.
    """
    copied = {key: _copied(value) for key, value in attrs.items() if value is not None}
    for key, value in copied.items():
        if isinstance(value, (bool, np.bool_)):
            copied[key] = int(value)
        elif type(value) is dict:
            copied[key] = JsonDict(value)
    return copied


def read_provenance(data: xr.DataArray | xr.Dataset) -> dict[str, Any] | None:
    """The provenance of ``data`` as a dict, also after a round trip through a file."""
    provenance = data.attrs.get("provenance")
    if isinstance(provenance, str):
        return provenance_of(provenance)
    return provenance if isinstance(provenance, dict) else None


def provenance_of(text: str) -> Provenance | None:
    """The provenance that a netCDF writer stored as text; None for any other text."""
    try:
        content = json.loads(text)
        if not isinstance(content, dict):
            return None
        arrays = arrays_from_text(content.pop(ARRAYS, {}))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    provenance = Provenance(content)
    provenance.arrays = arrays
    return provenance


def history(data: xr.DataArray | xr.Dataset) -> list[Any]:
    """All steps, the last one first, each without its parents: as PyARPES's ``S.history``."""
    layers: list[Any] = []
    rest: Any = read_provenance(data) or data.attrs.get("provenance")
    while rest:
        if not isinstance(rest, Mapping):
            return [*layers, rest]
        parents = [rest[key] for key in PARENTS_KEYS if rest.get(key)]
        layers.append({k: v for k, v in rest.items() if k not in PARENTS_KEYS})
        rest = parents[0] if parents else None
        if isinstance(rest, list):  # of several parents the first, as PyARPES does
            rest = rest[0] if rest else None
    return layers


def fingerprint(data: xr.DataArray) -> str | None:
    """Hash of the values, to recognise a parent later; ``None`` for lazy data."""
    if data.chunks is not None:
        return None
    values = np.ascontiguousarray(data.values)
    return hashlib.blake2b(values.tobytes(), digest_size=16).hexdigest()


def axes_fingerprint(data: xr.DataArray) -> str:
    """Hash of the dimensions, of their coordinates and single numbers, and of a ``beta`` or
    ``temperature`` among the attributes: results depend on these, too.

    Other coordinates may be lazy, and results do not depend on them.
    """
    found = hashlib.blake2b(repr([*map(str, data.dims), *data.shape]).encode(), digest_size=16)
    for name in sorted(data.coords, key=str):
        coordinate = data.coords[name]
        if coordinate.chunks is None and (coordinate.ndim == 0 or name in data.dims):
            found.update(f"{name} {coordinate.dims}".encode())
            found.update(_as_bytes(coordinate.values))
    stated = {key: str(data.attrs[key]) for key in CONDITIONS if key in data.attrs}
    found.update(repr(stated).encode())
    return found.hexdigest()


def _as_bytes(values: np.ndarray) -> bytes:
    """The same for numbers, times and texts that went through a file."""
    if values.dtype.kind in "iufb":
        return np.ascontiguousarray(values, np.float64).tobytes()
    if values.dtype.kind in "mM":
        return values.astype(f"{values.dtype.kind}8[ns]").tobytes()
    return repr([str(value) for value in values.ravel()]).encode()


def _copied(value: Any) -> Any:
    """A deep copy; objects that cannot be copied are shared with the parent."""
    try:
        return copy.deepcopy(value)
    except Exception:  # open files, locks: whatever users keep in attrs
        return value


def _now() -> str:
    return datetime.datetime.now().isoformat()


@functools.cache
def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _python() -> dict[str, str]:
    return {"python": platform.python_version(), "machine": platform.machine()}


def _threads() -> int | None:
    """Number of torch's threads: sums in another order differ in the last bits."""
    import sys

    torch = sys.modules.get("torch")
    return torch.get_num_threads() if torch is not None else os.cpu_count()
