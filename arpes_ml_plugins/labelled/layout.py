"""Convert labelled data of any kind to what netCDF can store, and back to the same object.

Names and types that netCDF has are written as they are, so that every program can read them. What
it lacks is written in the nearest form; a JSON text in the attributes of the file says what it was.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from xarray.indexes import PandasIndex, PandasMultiIndex

from arpes_ml_plugins.errors import DataTypeError
from arpes_ml_plugins.labelled.attributes import (
    LONGEST,
    RESERVED,
    decode,
    encode,
    has_form,
    is_text,
    pack,
    unpack,
)
from arpes_ml_plugins.labelled.stored_values import is_as_stored, restored, stored
from arpes_ml_plugins.labelled.units import strip_unit

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ARRAYS_GROUP", "LAYOUT", "dataset_from", "dataset_rewritten", "flat", "layout_of"]

LAYOUT = "arpes_ml_layout"
"""Attribute of the file that describes what netCDF cannot store."""
ARRAYS_GROUP = "arpes_ml_parameters"
"""Group of a file that holds the large arrays among the parameters of records, under hashes."""
VALUES = "values"
"""Name in the file of a DataArray without coordinates."""


def flat(data: xr.DataArray | xr.Dataset) -> xr.Dataset:
    """``data`` as netCDF can store them, and the layout that :func:`dataset_from` needs."""
    layout: dict[str, Any] = {}
    if isinstance(data, xr.DataArray):
        layout["array"] = _encoded_name(data.name, "the array")
        coords = data.coords.to_dataset()
        variables: dict[Any, xr.Variable] = {**coords.variables}
        attrs: Mapping[Any, Any] = {}
        main = data.variable
    else:
        coords, attrs, main = data, data.attrs, None
        variables = {**data.variables}
    levels = _levels(coords)
    variables = {k: v for k, v in variables.items() if k not in levels}
    names = _names_in_file(coords, [*variables, *(main.dims if main is not None else ())], main)
    layout["names"] = [[new, _encoded_name(old, "")] for old, new in names.items() if new != old]
    layout["coords"] = [names[name] for name in data.coords if name in variables]
    layout["levels"] = [
        [names.get(dim, str(dim)), [names[level] for level in each]] for dim, each in levels.items()
    ]
    kinds: dict[str, Any] = {}
    written = {}
    inside: list[tuple[str, Hashable, xr.Variable]] = [
        (names[name], name, variable) for name, variable in variables.items()
    ]
    if main is not None:
        inside.append((VALUES, data.name if isinstance(data, xr.DataArray) else None, main))
    for new, old, variable in inside:
        dims = [names[dim] for dim in variable.dims]
        written[new], kinds[new] = stored(_without_unit(variable), dims, new, old)
    layout["kinds"] = kinds
    # netCDF lists the names of coordinates with spaces between them.
    marked = {name for name in layout["coords"] if " " not in name}
    in_file = xr.Dataset({k: v for k, v in written.items() if k not in marked})
    in_file = in_file.assign_coords({k: written[k] for k in marked})
    in_file.attrs = pack(attrs, never_plain=(LAYOUT,)) | {LAYOUT: json.dumps(layout)}
    return in_file


def layout_of(raw: xr.Dataset) -> dict[str, Any] | None:
    """The layout of a file that was read without decoding, if it still describes the file.

    A program that reads the file and writes another one takes the text along as an attribute.
    """
    if LAYOUT not in raw.attrs:
        return None
    layout = json.loads(raw.attrs[LAYOUT])
    kinds = layout["kinds"]
    same = kinds.keys() == set(raw.variables) and all(
        is_as_stored(raw.variables[name], kind) for name, kind in kinds.items()
    )
    return layout if same else None


def _half_precision(dim: Hashable, variable: xr.Variable) -> xr.Coordinates:
    """A coordinate of float16. pandas has no such index, and xarray warns that it takes another."""
    wide = PandasIndex(variable.values.astype(np.float64), dim, coord_dtype=np.dtype(np.float16))
    return xr.Coordinates(wide.create_variables({dim: variable}), indexes={dim: wide})


def dataset_from(raw: xr.Dataset, layout: Mapping[str, Any]) -> xr.Dataset | xr.DataArray:
    """The inverse of :func:`flat`, for a file that was read without decoding."""
    old_names = {new: decode(old) for new, old in layout["names"]}
    variables = {}
    for name, kind in layout["kinds"].items():
        variable = restored(raw.variables[name], kind)
        variable.dims = tuple(old_names.get(dim, dim) for dim in variable.dims)
        variables[name] = variable
    coords = {old_names.get(k, k): variables[k] for k in layout["coords"]}
    others = {old_names.get(k, k): v for k, v in variables.items() if k not in layout["coords"]}
    if "array" in layout:
        main = others.pop(VALUES)
        others = {}
    levels = {
        old_names.get(dim, dim): [old_names.get(level, level) for level in each]
        for dim, each in layout["levels"]
    }
    halves = {k: v for k, v in coords.items() if v.dims == (k,) and v.dtype == np.float16}
    coords = {k: v for k, v in coords.items() if k not in halves}
    result: xr.Dataset | xr.DataArray = xr.Dataset(others, coords)
    if "array" in layout:
        result = xr.DataArray(main, coords, name=decode(layout["array"]))
    else:
        attrs = {k: v for k, v in raw.attrs.items() if k != LAYOUT and k not in RESERVED}
        result.attrs = unpack(attrs)
    for dim, variable in halves.items():
        result = result.assign_coords(_half_precision(dim, variable))
    for dim, each in levels.items():
        dtypes = {level: result[level].dtype for level in each}
        indexes: Any = {dim: each}
        result = result.set_index(indexes)
        if len(each) == 1:  # which xarray makes a plain index
            result = result.assign_coords(_single_level(result.indexes[dim], dim, dtypes))
    return result


def _single_level(index: pd.Index, dim: Hashable, dtypes: Mapping[Hashable, Any]) -> xr.Coordinates:
    """The coordinates of a MultiIndex of one level."""
    import pandas as pd

    levels = pd.MultiIndex.from_arrays([index], names=list(dtypes))
    return xr.Coordinates.from_xindex(PandasMultiIndex(levels, dim, level_coords_dtype=dtypes))


def dataset_rewritten(data: xr.Dataset) -> xr.Dataset | xr.DataArray:
    """The data that another program wrote from our file, decoded; an array if it still is one."""
    text = data.attrs[LAYOUT]
    data = data.assign_attrs()
    del data.attrs[LAYOUT]
    layout = json.loads(text)
    if "array" in layout and list(data.data_vars) == [VALUES]:
        return data[VALUES].rename(decode(layout["array"]))
    return data


def _levels(coords: xr.Dataset) -> dict[Hashable, list[Hashable]]:
    """Names of the levels of every MultiIndex, which netCDF does not have."""
    import pandas as pd

    found: dict[Hashable, list[Hashable]] = {}
    for name, index in coords.xindexes.items():
        pandas = getattr(index, "index", None)
        if isinstance(pandas, pd.MultiIndex) and coords[name].dims == (name,):
            found[name] = list(pandas.names)
    return found


def _names_in_file(
    coords: xr.Dataset, variables: Iterable[Hashable], main: xr.Variable | None
) -> dict[Hashable, str]:
    """Names that netCDF has, for all variables and dimensions; those that it has stay."""
    wanted = [*variables, *coords.dims]
    taken = {VALUES} if main is not None else set()
    taken.add(ARRAYS_GROUP)
    names: dict[Hashable, str] = {
        name: name
        for name in wanted
        if isinstance(name, str) and _is_name(name) and name not in taken
    }
    used = taken | set(names.values())
    for name in wanted:
        if name not in names:
            count = 1
            while f"name_{count}" in used:
                count += 1
            names[name] = f"name_{count}"
            used.add(names[name])
    return names


def _is_name(name: str) -> bool:
    return (
        bool(name)
        and is_text(name)
        and name.isprintable()
        and name == name.strip()
        and "/" not in name
        and not name.startswith((".", "_nc4_"))
        and len(name.encode()) <= LONGEST
    )


def _encoded_name(name: Hashable, what: str) -> Any:
    if not has_form(name):
        raise DataTypeError(
            f"{what or 'a variable or dimension'} has the name {name!r} of type "
            f"{type(name).__name__}, which no file can hold; rename it to text, data.rename(...)"
        )
    return encode(name)


def _without_unit(variable: xr.Variable) -> xr.Variable:
    quantity: Any = variable._data
    bare, _ = strip_unit(xr.DataArray(variable))
    if bare.variable._data is quantity or "units" in variable.attrs:
        return bare.variable
    return bare.assign_attrs(units=str(quantity.units)).variable
