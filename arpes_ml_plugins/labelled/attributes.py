"""Convert attributes of any kind to text and back, as JSON with type tags if netCDF lacks them."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from arpes_ml_plugins.errors import DataTypeError
from arpes_ml_plugins.labelled.provenance import JsonDict, Provenance, provenance_of

__all__ = ["LONGEST", "RESERVED", "decode", "encode", "has_form", "is_text", "pack", "unpack"]

PACKED = "arpes_ml_attributes"
"""Name of the one netCDF attribute that holds all that netCDF would lose or misread."""
TAG = "__type__"
LONGEST = 200  # bytes in a name; netCDF has 256
# Names to which xarray, netCDF or HDF5 give a meaning of their own.
RESERVED = {
    *("calendar", "dtype", "coordinates", "scale_factor", "add_offset", "missing_value"),
    *("grid_mapping", "bounds", "_FillValue", "_Unsigned", "NAME", "CLASS", "DIMENSION_LIST"),
    *("REFERENCE_LIST", "DIMENSION_LABELS"),
}


def pack(attrs: Mapping[Any, Any], never_plain: Collection[str] = ()) -> dict[str, Any]:
    """Attributes that netCDF stores as they are, and all others in one JSON text.

    Names in ``never_plain`` are needed for something else and go into the text.
    """
    plain = {k: v for k, v in attrs.items() if k not in never_plain and _is_plain(k, v)}
    try:
        rest = [[encode(k), encode(v)] for k, v in attrs.items() if k not in plain]
        order = [encode(key) for key in attrs]
        text = json.dumps({"attributes": rest, "order": order})
    except RecursionError:
        raise DataTypeError(
            "an attribute holds itself, or lists and dicts nested too deeply to be written; "
            f"remove it before you save; there are {', '.join(map(repr, list(attrs)))[:500]}"
        ) from None
    return plain | {PACKED: text} if rest else plain


def unpack(attrs: Mapping[Any, Any]) -> dict[Any, Any]:
    """The inverse of :func:`pack`; other attributes are returned unchanged."""
    text = attrs.get(PACKED)
    if not isinstance(text, str):
        return _with_provenance(attrs)
    found = {key: value for key, value in attrs.items() if key != PACKED}
    try:
        packed = json.loads(text)
        rest = {decode(key): decode(value) for key, value in packed["attributes"]}
        order = [decode(key) for key in packed["order"]]
        found |= rest
        found = {key: found[key] for key in order if key in found} | found  # and new ones
    except Exception:  # the text is from somebody else, or damaged, in whatever way
        return dict(attrs)
    if isinstance(found.get("provenance"), dict):
        found["provenance"] = Provenance(found["provenance"])
    return found


def _with_provenance(attrs: Mapping[Any, Any]) -> dict[Any, Any]:
    """Attributes that plain ``to_netcdf`` wrote: provenance was a dict and is JSON text."""
    text = attrs.get("provenance")
    provenance = provenance_of(text) if isinstance(text, str) else None
    return {**attrs, "provenance": provenance} if provenance else dict(attrs)


def _is_plain(key: Any, value: Any) -> bool:
    """Whether netCDF gives it back as it is, and reads nothing into it."""
    if type(key) is not str or not key.isidentifier() or key in RESERVED | {PACKED}:
        return False
    if not is_text(key) or len(key.encode()) > LONGEST:
        return False
    if key.startswith("_") or (key == "units" and _looks_like_time(value)):
        return False
    if type(value) is str:
        return "\0" not in value and bool(value) and is_text(value)
    if type(value) is int:
        return -(2**63) <= value < 2**63
    return type(value) is float and math.isfinite(value)


def _looks_like_time(unit: Any) -> bool:
    """Units on which xarray turns numbers into dates or durations."""
    return " since " in str(unit) or str(unit).endswith(("seconds", "minutes", "hours", "days"))


def is_text(text: str) -> bool:
    """Whether UTF-8 can hold it: text with half of a surrogate pair comes from broken names."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def has_form(value: Any) -> bool:
    """Whether :func:`decode` gives back what :func:`encode` is given."""
    try:
        again = decode(json.loads(json.dumps(encode(value))))
    except (TypeError, ValueError, RecursionError):
        return False
    return type(again) is type(value) and bool(
        np.all(again == value) or (again != again and value != value)
    )


def encode(value: Any) -> Any:
    """Convert to a form for JSON; objects without one become their ``repr``."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) is list:
        return [encode(item) for item in value]
    if isinstance(value, Mapping):
        kind = "json dict" if isinstance(value, JsonDict) else "dict"
        return {TAG: kind, "items": [[encode(k), encode(v)] for k, v in value.items()]}
    if type(value) is tuple:
        return {TAG: "tuple", "items": [encode(item) for item in value]}
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


def decode(value: Any) -> Any:
    """The inverse of :func:`encode`."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value[TAG]
    if kind in ("dict", "json dict"):
        items = {decode(k): decode(v) for k, v in value["items"]}
        return items if kind == "dict" else JsonDict(items)
    if kind == "tuple":
        return tuple(decode(item) for item in value["items"])
    if kind == "bytes":
        return base64.b64decode(value["text"])
    if kind == "complex":
        return complex(*value["parts"])
    if kind == "repr":
        return value["text"]
    array = np.frombuffer(base64.b64decode(value["text"]), dtype=np.dtype(value["dtype"]))
    array = array.reshape(value["shape"]).copy()
    return array[()] if kind == "scalar" else array
