"""Convert the parameters of a step to JSON and back, so that it can be run again.

Small arrays are written as lists. Larger ones are kept beside the text, each under the hash of its
content: the text stays readable, and what several records share is kept once.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
import xarray as xr

__all__ = [
    "Arrays",
    "Recordable",
    "arrays_as_text",
    "arrays_from_text",
    "hashes_in",
    "read_back",
    "unrecorded",
    "written",
]

ARRAY = "__array__"
KEPT = "__kept__"
NOT_RECORDED = "not_recorded"
INLINE = 200  # numbers
LARGEST_NUMBER = 32  # bytes
NUMBERS, LABELS = "iufcb", "U"  # kinds of dtype

Arrays = dict[str, np.ndarray]
"""Numbers under the hash of their content."""


@runtime_checkable
class Recordable(Protocol):
    """A parameter made of plain values, which its method takes in its place when replayed."""

    def recorded(self) -> Mapping[str, Any]:
        """Numbers, text, arrays and mappings from which the same object can be made."""
        ...


def written(value: Any, arrays: Arrays) -> Any:
    """A form of ``value`` for JSON; large arrays go to ``arrays``.

    What has no such form is described, and cannot be read back.
    """
    if isinstance(value, (str, bool, type(None), int, float)):
        return value
    if isinstance(value, np.generic) and value.dtype.kind in "iufbU":
        return value.item()
    if isinstance(value, Recordable):
        return written(value.recorded(), arrays)
    if isinstance(value, Mapping):
        return {str(key): written(item, arrays) for key, item in value.items()}
    if isinstance(value, pd.Index):
        value = value.to_numpy()
    if isinstance(value, (list, tuple, range)):
        return [written(item, arrays) for item in value]
    if isinstance(value, np.ndarray) and value.dtype.kind in NUMBERS + LABELS:
        return _array(value, arrays)
    if isinstance(value, xr.DataArray) and value.chunks is None and value.dtype.kind in NUMBERS:
        return _labelled(value, arrays)
    return {NOT_RECORDED: repr(value)[:200]}


def _labelled(value: xr.DataArray, arrays: Arrays) -> dict[str, Any]:
    coords = {str(k): c for k, c in value.coords.items() if c.dtype.kind in NUMBERS + LABELS}
    return _array(value.values, arrays) | {
        "dims": [str(dim) for dim in value.dims],
        "name": None if value.name is None else str(value.name),
        "attrs": {k: v for k, v in written(value.attrs, arrays).items() if not _is_described(v)},
        "coords": {
            k: _array(c.values, arrays) | {"dims": [str(d) for d in c.dims]}
            for k, c in coords.items()
        },
    }


def _is_described(form: Any) -> bool:
    """Whether something in it cannot be read back."""
    if isinstance(form, dict):
        return NOT_RECORDED in form or any(map(_is_described, form.values()))
    return isinstance(form, list) and any(map(_is_described, form))


def _array(values: np.ndarray, arrays: Arrays) -> dict[str, Any]:
    kind = {"dtype": values.dtype.newbyteorder("=").name, "shape": list(values.shape)}
    if values.dtype.kind == LABELS:
        return {ARRAY: values.tolist(), "dtype": "str", "shape": kind["shape"]}
    native = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    real = _real(native)
    if real.size <= INLINE:
        return {ARRAY: real.tolist(), **kind}
    content = hashlib.blake2b(repr(kind).encode() + real.tobytes(), digest_size=16).hexdigest()
    arrays.setdefault(content, real.copy())
    return {ARRAY: {KEPT: content}, **kind}


def _real(values: np.ndarray) -> np.ndarray:
    """Integers or floating-point numbers with the same content, which every file format holds."""
    if values.dtype.kind == "c":
        return values.reshape(-1).view(values.real.dtype)
    return values.reshape(-1).astype(np.uint8 if values.dtype.kind == "b" else values.dtype)


def read_back(form: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """The parameter that was :func:`written`; mappings are dicts and sequences lists now."""
    if isinstance(form, list):
        return [read_back(item, arrays) for item in form]
    if not isinstance(form, Mapping):
        return form
    if ARRAY not in form:
        return {key: read_back(item, arrays) for key, item in form.items()}
    values = _values(form, arrays)
    if "dims" not in form:
        return values
    coords = {k: (c["dims"], _values(c, arrays)) for k, c in form["coords"].items()}
    attrs = read_back(form["attrs"], arrays)
    return xr.DataArray(values, coords, form["dims"], form["name"], attrs)


def _values(form: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    content, dtype = form[ARRAY], np.dtype(str(form["dtype"]))
    if dtype.kind not in NUMBERS + LABELS or dtype.itemsize > LARGEST_NUMBER:
        raise ValueError(f"arrays of type {dtype} are not recorded")
    if isinstance(content, Mapping):
        content = arrays[content[KEPT]]
    if dtype.kind == LABELS:
        return np.array(content, dtype=str).reshape(form["shape"])
    if dtype.kind == "c":
        real = np.asarray(content, np.zeros(0, dtype).real.dtype)
        return real.view(dtype).reshape(form["shape"])
    return np.array(content, dtype).reshape(form["shape"])


def unrecorded(form: Any, arrays: Mapping[str, np.ndarray]) -> str | None:
    """The part of a parameter that could not be recorded or has been lost, if there is one."""
    if isinstance(form, Mapping) and NOT_RECORDED in form:
        return str(form[NOT_RECORDED])
    if isinstance(form, Mapping) and KEPT in form and form[KEPT] not in arrays:
        return "an array whose numbers are no longer beside the record"
    items = form.values() if isinstance(form, Mapping) else form if isinstance(form, list) else ()
    return next(filter(None, (unrecorded(item, arrays) for item in items)), None)


def hashes_in(form: Any) -> Iterator[str]:
    """Hashes of the arrays that a form refers to."""
    if isinstance(form, Mapping):
        if KEPT in form:
            yield form[KEPT]
        for item in form.values():
            yield from hashes_in(item)
    elif isinstance(form, list):
        for item in form:
            yield from hashes_in(item)


def arrays_as_text(arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, str]]:
    """Arrays as text, for a file without a place for them."""
    return {
        key: {"dtype": a.dtype.str, "base64": base64.b64encode(a.tobytes()).decode()}
        for key, a in arrays.items()
    }


def arrays_from_text(text: Mapping[str, Mapping[str, str]]) -> Arrays:
    """The inverse of :func:`arrays_as_text`."""
    return {
        key: np.frombuffer(base64.b64decode(a["base64"]), np.dtype(a["dtype"])).copy()
        for key, a in text.items()
    }
