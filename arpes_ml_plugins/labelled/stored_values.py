"""Convert values of any type to types that netCDF has, and back."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import DataTypeError
from arpes_ml_plugins.labelled.attributes import (
    RESERVED,
    decode,
    encode,
    has_form,
    is_text,
    pack,
    unpack,
)

__all__ = ["is_as_stored", "restored", "stored"]

TIME_UNITS = {
    "W": "weeks",
    "D": "days",
    "h": "hours",
    "m": "minutes",
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
}
"""Words that other programs know; other units of numpy are only known to us."""
STORED_AS = {
    "plain": "iufb",
    "complex": "f",
    "datetime": "i",
    "timedelta": "i",
    "time steps": "i",
    "bytes": "u",
    "text": "OUT",
    "json": "OUT",
    "categories": "i",
}
"""Kinds of dtype in the file."""
PLAIN, TIMES = "plain", ("datetime", "timedelta")


def stored(
    variable: xr.Variable, dims: Sequence[str], name: str, shown: Hashable
) -> tuple[xr.Variable, dict[str, Any]]:
    """The variable in types of netCDF along ``dims``, and what it was.

    ``name`` is unique in the file, and ``shown`` what the user calls it.
    """
    dtype = variable.dtype
    if not isinstance(dtype, np.dtype):
        values, kind = _of_pandas(variable, shown)
    else:
        values, kind = _of_numpy(np.asarray(variable.values), shown)
    extra = [f"size of {name}"] if values.ndim > len(dims) else []
    attrs = pack(variable.attrs, never_plain=("units",) if kind["kind"] in TIMES else ())
    attrs |= _time_attributes(kind)
    kind["dims"] = [*dims, *extra]
    return xr.Variable(kind["dims"], values, attrs, _encoding(variable, values)), kind


def _time_attributes(kind: Mapping[str, Any]) -> dict[str, str]:
    """Attributes from which other programs know the meaning of the numbers."""
    word = TIME_UNITS.get(kind.get("unit", ""))
    if word and kind["kind"] == "datetime":
        return {"units": f"{word} since 1970-01-01", "calendar": "proleptic_gregorian"}
    return {"units": word} if word else {}


def is_as_stored(variable: xr.Variable, kind: Mapping[str, Any]) -> bool:
    """Whether the variable of a file can be what :func:`stored` returned with ``kind``."""
    if list(variable.dims) != kind["dims"]:
        return False
    if variable.size and variable.dtype.kind not in STORED_AS[kind["kind"]]:
        return False  # arrays without values are of any type
    return all(variable.attrs.get(k) == v for k, v in _time_attributes(kind).items())


def _encoding(variable: xr.Variable, values: np.ndarray) -> dict[str, Any]:
    """No fill value, which would read meaning into numbers; compression as it was."""
    encoding: dict[str, Any] = {"_FillValue": None}
    if variable.encoding.get("zlib") is True and values.dtype.kind in "iuf" and values.size:
        level = variable.encoding.get("complevel", 4)
        encoding |= {"zlib": True, "complevel": level if level in range(1, 10) else 4}
    return encoding


def _of_numpy(values: np.ndarray, name: Hashable) -> tuple[np.ndarray, dict[str, Any]]:
    dtype, letter = values.dtype, values.dtype.kind
    kind: dict[str, Any] = {"kind": PLAIN, "dtype": dtype.str}
    if letter in "iub" or (letter == "f" and dtype.itemsize in (4, 8)):
        return values, kind
    if dtype == np.float16:
        return values.astype(np.float32), kind
    if letter == "c" and dtype.itemsize in (8, 16):
        native = np.ascontiguousarray(values).reshape(values.shape)
        pairs = np.stack([native.real, native.imag], axis=-1)
        return pairs, kind | {"kind": "complex"}
    if letter in "mM":
        unit, step = np.datetime_data(dtype)
        if step == 1 and unit != "generic":
            kind |= {"kind": TIMES["Mm".index(letter)], "unit": unit}
        else:
            kind |= {"kind": "time steps"}
        native = values.astype(dtype.newbyteorder("="))
        return native.view(np.int64), kind
    if letter == "S":
        return _bytes_of(values), kind | {"kind": "bytes"}
    if letter == "U" and all(map(_is_stored_text, values.flat)):
        return values.astype(object), kind | {"kind": "text"}
    if letter == "U":
        return _json_of(values, name), kind | {"kind": "json"}
    if letter == "O":
        texts = all(type(item) is str and _is_stored_text(item) for item in values.flat)
        if texts and values.size:
            return values, kind | {"kind": "text"}
        return _json_of(values, name), kind | {"kind": "json"}
    raise DataTypeError(
        f"{name!r} has values of type {dtype}, which a file of netCDF cannot hold; convert them "
        f"before you save, for instance data.astype({'complex' if letter == 'c' else 'float'})"
    )


def _of_pandas(variable: xr.Variable, name: Hashable) -> tuple[np.ndarray, dict[str, Any]]:
    """Types of pandas: categories, and text."""
    import pandas as pd

    if isinstance(variable.dtype, pd.CategoricalDtype):
        # pandas takes a dimension that is called by a tuple for several names.
        index = pd.CategoricalIndex(xr.Variable(["along"], variable._data).to_index())
        categories = list(index.categories)
        if all(map(has_form, categories)):
            form = [encode(item) for item in categories]
            kind = {"kind": "categories", "categories": form, "ordered": bool(index.ordered)}
            return np.asarray(index.codes, np.int64), kind
    elif isinstance(variable.dtype, pd.StringDtype):
        return _of_numpy(np.asarray(variable.values, dtype=object), name)
    raise DataTypeError(
        f"{name!r} has values of the pandas type {variable.dtype}, which a file of netCDF cannot "
        f"hold; convert them before you save, for instance with .astype(float) or .astype(str)"
    )


def _bytes_of(values: np.ndarray) -> np.ndarray:
    size = values.dtype.itemsize
    return np.frombuffer(values.tobytes(), np.uint8).reshape(*values.shape, size)


def _is_stored_text(text: str) -> bool:
    return "\0" not in text and is_text(text)


def _json_of(values: np.ndarray, name: Hashable) -> np.ndarray:
    texts = np.empty(values.shape, object)
    for place, item in np.ndenumerate(values):
        plain = str(item) if isinstance(item, np.str_) and values.dtype.kind == "U" else item
        if not has_form(plain):
            raise DataTypeError(
                f"{name!r} has values of type {type(item).__name__}, which a file cannot hold; "
                f"convert them to numbers or text before you save"
            )
        texts[place] = json.dumps(encode(plain))
    return texts


def restored(variable: xr.Variable, kind: Mapping[str, Any]) -> xr.Variable:
    """The inverse of :func:`stored`."""
    attrs = {k: v for k, v in variable.attrs.items() if k not in RESERVED}
    if kind["kind"] in TIMES:
        attrs.pop("units", None)
    values, dims = _values(np.asarray(variable.values), kind), variable.dims
    return xr.Variable(dims[: values.ndim], values, unpack(attrs), fastpath=False)


def _values(values: np.ndarray, kind: Mapping[str, Any]) -> Any:
    what = kind["kind"]
    if what == "categories":
        return _categories(values, kind)
    dtype = np.dtype(kind["dtype"])
    if what == "complex":
        joined = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
        return joined.view(np.result_type(joined.dtype, np.complex64))[..., 0].astype(dtype)
    if what in ("datetime", "timedelta", "time steps"):
        native = np.ascontiguousarray(values, np.int64).reshape(values.shape)
        return native.view(dtype.newbyteorder("=")).astype(dtype)
    if what == "bytes":
        return np.frombuffer(values.astype(np.uint8).tobytes(), dtype).reshape(values.shape[:-1])
    if what == "json":
        items = np.empty(values.shape, object)
        for place, text in np.ndenumerate(values):
            items[place] = decode(json.loads(text))
        return items if dtype.kind == "O" else items.astype(dtype)
    if what == "text":  # numpy's own type of text does not turn bytes around
        values = values.astype(object)
    return values if values.dtype == dtype else values.astype(dtype)


def _categories(values: np.ndarray, kind: Mapping[str, Any]) -> Any:
    import pandas as pd

    categories = [decode(item) for item in kind["categories"]]
    return pd.Categorical.from_codes(values.tolist(), categories, ordered=bool(kind["ordered"]))
