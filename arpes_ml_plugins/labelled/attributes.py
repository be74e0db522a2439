"""Attributes of any kind as text, and back: what netCDF cannot hold, JSON with type tags can."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from arpes_ml_plugins.labelled.provenance import JsonDict, Provenance, provenance_of

__all__ = ["pack", "unpack"]

PACKED = "arpes_ml_attributes"
"""Name of the one netCDF attribute that holds all that netCDF would lose or misread."""
TAG = "__type__"
# Names to which xarray, netCDF or HDF5 give a meaning of their own.
RESERVED = {
    *("calendar", "dtype", "coordinates", "scale_factor", "add_offset", "missing_value"),
    *("grid_mapping", "bounds", "_FillValue", "_Unsigned", "NAME", "CLASS", "DIMENSION_LIST"),
    *("REFERENCE_LIST", "DIMENSION_LABELS"),
}


def pack(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Attributes that netCDF stores as they are, and all others in one JSON text."""
    plain = {key: value for key, value in attrs.items() if _is_plain(key, value)}
    rest = [[_encode(k), _encode(v)] for k, v in attrs.items() if k not in plain]
    order = [_encode(key) for key in attrs]
    if not rest:
        return plain
    return plain | {PACKED: json.dumps({"attributes": rest, "order": order})}


def unpack(attrs: Mapping[Any, Any]) -> dict[Any, Any]:
    """What :func:`pack` was given; attributes from elsewhere are returned as they are."""
    text = attrs.get(PACKED)
    if not isinstance(text, str):
        return _with_provenance(attrs)
    found = {key: value for key, value in attrs.items() if key != PACKED}
    try:
        packed = json.loads(text)
        rest = {_decode(key): _decode(value) for key, value in packed["attributes"]}
        order = [_decode(key) for key in packed["order"]]
    except (json.JSONDecodeError, KeyError, TypeError, ValueError):
        return dict(attrs)
    found |= rest
    if isinstance(found.get("provenance"), dict):
        found["provenance"] = Provenance(found["provenance"])
    return {key: found[key] for key in order if key in found}


def _with_provenance(attrs: Mapping[Any, Any]) -> dict[Any, Any]:
    """Attributes that plain ``to_netcdf`` wrote: provenance was a dict and is JSON text."""
    text = attrs.get("provenance")
    provenance = provenance_of(text) if isinstance(text, str) else None
    return {**attrs, "provenance": provenance} if provenance else dict(attrs)


def _is_plain(key: Any, value: Any) -> bool:
    """Whether netCDF gives it back as it is, and reads nothing into it."""
    if not isinstance(key, str) or not key.isidentifier() or key in RESERVED | {PACKED}:
        return False
    if key.startswith("_") or (key == "units" and _looks_like_time(value)):
        return False
    if type(value) is str:
        return "\0" not in value and bool(value)
    if type(value) is int:
        return -(2**63) <= value < 2**63
    return type(value) is float and math.isfinite(value)


def _looks_like_time(unit: Any) -> bool:
    """Units on which xarray turns numbers into dates or durations."""
    return " since " in str(unit) or str(unit).endswith(("seconds", "minutes", "hours", "days"))


def _encode(value: Any) -> Any:
    """Into what JSON holds; anything without a form becomes its ``repr``."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) is list:
        return [_encode(item) for item in value]
    if isinstance(value, Mapping):
        kind = "json dict" if isinstance(value, JsonDict) else "dict"
        return {TAG: kind, "items": [[_encode(k), _encode(v)] for k, v in value.items()]}
    if type(value) is tuple:
        return {TAG: "tuple", "items": [_encode(item) for item in value]}
    if isinstance(value, bytes):
        return {TAG: "bytes", "text": base64.b64encode(value).decode()}
    if isinstance(value, complex):
        return {TAG: "complex", "parts": [value.real, value.imag]}
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biufcmMSU":
        array = np.ascontiguousarray(value)
        return {
            TAG: "scalar" if isinstance(value, np.generic) else "array",
            "dtype": array.dtype.str,
            "shape": list(np.shape(value)),
            "text": base64.b64encode(array.tobytes()).decode(),
        }
    if isinstance(value, str):
        return str(value)
    return {TAG: "repr", "text": repr(value)}


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value[TAG]
    if kind in ("dict", "json dict"):
        items = {_decode(k): _decode(v) for k, v in value["items"]}
        return items if kind == "dict" else JsonDict(items)
    if kind == "tuple":
        return tuple(_decode(item) for item in value["items"])
    if kind == "bytes":
        return base64.b64decode(value["text"])
    if kind == "complex":
        return complex(*value["parts"])
    if kind == "repr":
        return value["text"]
    array = np.frombuffer(base64.b64decode(value["text"]), dtype=np.dtype(value["dtype"]))
    array = array.reshape(value["shape"]).copy()
    return array[()] if kind == "scalar" else array
