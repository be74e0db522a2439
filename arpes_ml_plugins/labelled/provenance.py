"""Provenance in PyARPES's own form: what was done, by what, to what, and enough to redo it.

PyARPES keeps ``attrs["id"]`` and ``attrs["provenance"]``, a dict with the ``record`` of the last
step and the provenance of the parent nested inside. Its releases disagree on the spelling of the
parents' key, so both are written, and its history then shows in all of them.
"""

from __future__ import annotations

import copy
import datetime
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

__all__ = [
    "Provenance",
    "current_versions",
    "fingerprint",
    "make_record",
    "read_provenance",
    "recorded",
    "stamp",
    "unrecorded",
]

NOT_RECORDED = "not_recorded"
ARRAY = "array"
LARGEST_RECORDED = 20_000  # numbers in an array that is a parameter
PARENTS_KEYS = ("parents_provenance", "parents_provanence")
VERSIONED = ("arpes-ml-plugins", "torch", "numpy", "scipy", "xarray")


class Provenance(dict[str, Any]):
    """A provenance dict that netCDF writers store as JSON text.

    PyARPES reads provenance as a dict, but a dict cannot be a netCDF attribute, and a result that
    cannot be saved with ``to_netcdf`` is of little use. xarray lets numbers and anything that
    numpy makes an array of pass to the writers; this dict does so as one string. Should a writer
    not follow, it refuses the attribute as it refuses any dict.
    """

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(json.dumps(self, default=str).encode(), dtype=dtype)


numbers.Number.register(Provenance)


def make_record(
    method: str,
    parameters: Mapping[str, Any],
    *,
    owner: str,
    roles: Mapping[str, Hashable],
    parent_hash: str | None,
    found: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The ``record`` of one step: enough to run it again, and what it found on the way."""
    return {
        "what": f"Applied {method} ({owner})",
        "by": method,
        "time": _now(),
        "version": _version("arpes-ml-plugins"),
        "plugin": owner,
        "parameters": {key: _plain(value) for key, value in parameters.items()},
        "axes": {role: _plain(dim) for role, dim in roles.items()},
        "parent_hash": parent_hash,
        "found": _plain(found or {}),
        "environment": {"versions": current_versions(), "threads": _threads()},
    }


def current_versions() -> dict[str, str | None]:
    """Of the software that results depend on."""
    return {name: _version(name) for name in VERSIONED} | _python()


def stamp(result: Any, parent: xr.DataArray | xr.Dataset, record: Mapping[str, Any]) -> None:
    """Give ``result`` (made by us, in place) the parent's attributes, a new id and provenance."""
    parent_provenance = read_provenance(parent) or parent.attrs.get("provenance")
    if isinstance(parent_provenance, dict) and PARENTS_KEYS[0] in parent_provenance:
        # Both spellings at every level would double the record with every step; the first one,
        # which all releases read, is enough further down.
        parent_provenance = {k: v for k, v in parent_provenance.items() if k != PARENTS_KEYS[1]}
    own = {k: v for k, v in parent.attrs.items() if k not in ("id", "provenance")}
    attrs = {key: _copied(value) for key, value in own.items()}
    attrs.update({k: v for k, v in result.attrs.items() if k not in attrs})
    attrs["id"] = str(uuid.uuid1())
    attrs["provenance"] = Provenance(
        record=dict(record),
        jupyter_context=[],
        parent_id=parent.attrs.get("id"),
        time=record["time"],
        version=record["version"],
        **dict.fromkeys(PARENTS_KEYS, _copied(parent_provenance)),
    )
    result.attrs = attrs


def read_provenance(data: xr.DataArray | xr.Dataset) -> dict[str, Any] | None:
    """The provenance of ``data`` as a dict, also after a round trip through a file."""
    provenance = data.attrs.get("provenance")
    if isinstance(provenance, str):
        try:
            provenance = json.loads(provenance)
        except json.JSONDecodeError:
            return None
    return provenance if isinstance(provenance, dict) else None


def fingerprint(data: xr.DataArray) -> str | None:
    """Hash of the values, to tell later whether a parent is the same; ``None`` for lazy data."""
    if data.chunks is not None:
        return None
    values = np.ascontiguousarray(data.values)
    return hashlib.blake2b(values.tobytes(), digest_size=16).hexdigest()


def unrecorded(value: Any) -> str | None:
    """What of a recorded parameter could not be written down, if anything."""
    if isinstance(value, Mapping):
        if NOT_RECORDED in value:
            return str(value[NOT_RECORDED])
        return next(filter(None, map(unrecorded, value.values())), None)
    if isinstance(value, list):
        return next(filter(None, map(unrecorded, value)), None)
    return None


def _copied(value: Any) -> Any:
    """A copy that shares nothing with the parent; what cannot be copied is shared after all."""
    try:
        return copy.deepcopy(value)
    except Exception:  # open files, locks: whatever users keep in attrs
        return value


def _plain(value: Any) -> Any:
    """A form of ``value`` that JSON holds; what has none is described and cannot be replayed."""
    if isinstance(value, (str, bool, type(None), int, float)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray) and _recordable(value):
        return {ARRAY: value.tolist()}
    if isinstance(value, xr.DataArray) and _recordable(value.variable._data):
        coords = {str(k): c for k, c in value.coords.items() if c.dtype.kind in "iufU"}
        bare = value.variable.to_dict()["data"]
        return {
            ARRAY: bare,
            "dims": [str(dim) for dim in value.dims],
            "attrs": {str(k): _plain(v) for k, v in value.attrs.items()},
            "coords": {
                k: {"dims": [str(d) for d in c.dims], "data": c.values.tolist()}
                for k, c in coords.items()
            },
        }
    return {NOT_RECORDED: repr(value)[:200]}


def _recordable(values: Any) -> bool:
    return (
        isinstance(values, np.ndarray)
        and values.dtype.kind in "iufb"
        and values.size <= LARGEST_RECORDED
    )


def recorded(value: Any) -> Any:
    """A parameter as it was before it was written down."""
    if isinstance(value, Mapping):
        if ARRAY in value and "dims" in value:
            coords = {k: (c["dims"], c["data"]) for k, c in value["coords"].items()}
            return xr.DataArray(
                np.asarray(value[ARRAY]),
                dims=value["dims"],
                coords=coords,
                attrs=value.get("attrs", {}),
            )
        if ARRAY in value:
            return np.asarray(value[ARRAY])
        return {key: recorded(item) for key, item in value.items()}
    return value


def _now() -> str:
    return datetime.datetime.now().isoformat()


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _python() -> dict[str, str]:
    return {"python": platform.python_version(), "machine": platform.machine()}


def _threads() -> int | None:
    """Threads of torch: sums in another order differ in the last bits."""
    import sys

    torch = sys.modules.get("torch")
    return torch.get_num_threads() if torch is not None else os.cpu_count()
