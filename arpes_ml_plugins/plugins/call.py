"""One call of a method, from the user's arguments to the finished result.

The spectrum is selected from the Dataset and its unit removed; axes, seed and device are resolved;
the hooks run the method; and the result gets the labels, unit and history of the input.
"""

from __future__ import annotations

import difflib
import functools
import logging
import reprlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import ArpesMLError, DataError, DataTypeError
from arpes_ml_plugins.frames import users_traceback, warn
from arpes_ml_plugins.labelled.border import plain_torch
from arpes_ml_plugins.labelled.devices import resolve_device
from arpes_ml_plugins.labelled.forks import check_fork
from arpes_ml_plugins.labelled.progress import check_progress
from arpes_ml_plugins.labelled.provenance import (
    axes_fingerprint,
    fingerprint,
    make_record,
    stamp,
)
from arpes_ml_plugins.labelled.recording import Arrays
from arpes_ml_plugins.labelled.seeds import seed_from
from arpes_ml_plugins.labelled.spectrum import (
    check_array,
    check_values,
    replace_spectrum,
    select_spectrum,
)
from arpes_ml_plugins.labelled.units import as_attribute, strip_unit
from arpes_ml_plugins.parameters import check_flag
from arpes_ml_plugins.plugins.axes import resolved_dims
from arpes_ml_plugins.plugins.into_store import OUT, into_store, stores_of_nodes
from arpes_ml_plugins.plugins.manager import plugins
from arpes_ml_plugins.plugins.registry import Method, MethodCall
from arpes_ml_plugins.plugins.trees import is_tree, over_nodes

__all__ = ["FOUND", "call_method", "public_function"]

FOUND = "found"
"""Attribute under which a method may return a mapping of what it found and chose: it goes into the
provenance, and off the result."""

logger = logging.getLogger(__name__)


def public_function(method: Method) -> Callable[..., Any]:
    """The function that users call: the method with all that is common to all methods.

    The traceback of an error that is raised on purpose ends here, because inner frames do not help
    the reader of the message. With logging at the level DEBUG they are kept.
    """

    @functools.wraps(method.function)
    def call(data: Any, *misplaced: Any, **parameters: Any) -> Any:
        refuse_misplaced(method, misplaced)
        try:
            if is_tree(data):
                with stores_of_nodes(method, parameters) as of_node:
                    return over_nodes(
                        data, method, lambda node, path: call_method(method, node, of_node(path))
                    )
            return call_method(method, data, parameters)
        except ArpesMLError as error:
            if logger.isEnabledFor(logging.DEBUG):
                raise
            error.__traceback__ = users_traceback(error.__traceback__)
            raise error  # logging at the level DEBUG shows the frames further in

    return call


def refuse_misplaced(method: Method, values: Sequence[Any]) -> None:
    """Refuse parameters without names."""
    if values:
        names = [name for name in method.signature.parameters if name != "data"]
        example = next(iter(names), "name")
        raise TypeError(
            f"{method.name}() takes its parameters by name, for example {example}=..., got "
            f"{reprlib.repr(values[0])} without one"
        )


def call_method(method: Method, data: Any, given: Mapping[str, Any]) -> Any:
    """Run ``method`` on the user's data with the given parameters."""
    if method.resumable and given.get(OUT) is not None:
        return into_store(method, data, given, call_method)
    array, name = select_spectrum(data, method.example_dims)
    bare, restore_unit = strip_unit(array)
    check_array(bare, accepts_complex=method.accepts_complex)
    parameters = _bind(method, given)
    _check_flags(method, parameters)
    parameters["dims"] = resolved_dims(bare, method.roles, parameters["dims"])
    check_values(bare, parameters["dims"], accepts_nan=method.accepts_nan)
    parameters["rng"] = seed_from(parameters["rng"])
    parameters["device"] = _device(method, bare, parameters)
    call = MethodCall(method, bare, MappingProxyType(parameters))
    check_fork()
    with plain_torch():
        result = plugins().hook.run_method(call=call)
    unrecorded = ("progress", OUT) if method.resumable else ("progress",)
    record, arrays = make_record(
        method.name,
        {k: v for k, v in parameters.items() if k not in unrecorded},
        owner=method.owner,
        roles=dict(zip(method.roles, parameters["dims"], strict=True)),
        parent_hash=fingerprint(bare),
        parent_axes=axes_fingerprint(bare),
        found=getattr(result, "attrs", {}).get(FOUND),
    )
    return _dress(method, result, data, array, name, restore_unit, record, arrays)


def _bind(method: Method, given: Mapping[str, Any]) -> dict[str, Any]:
    """All parameters with their defaults; unknown names are refused."""
    present = method.with_present_names(given)
    for old in method.formerly:
        if old in given:
            warn(method.renaming_of(old), FutureWarning)
    given = present
    signature = method.signature
    known = [name for name in signature.parameters if name != "data"]
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"it takes {', '.join(known)}"
            raise TypeError(f"{method.name}() has no parameter {name!r}; {hint}")
    try:
        bound = signature.bind(None, **given)
    except TypeError as error:
        raise TypeError(f"{method.name}() is {error}") from None  # missing a required argument
    bound.apply_defaults()
    return {name: _number(value) for name, value in bound.arguments.items() if name != "data"}


def _number(value: Any) -> Any:
    """The number in an array without dimensions, such as ``gain=noise.gain``."""
    bare = value.variable._data if isinstance(value, xr.DataArray) else value
    if isinstance(bare, np.ndarray) and bare.ndim == 0 and bare.dtype.kind in "iufb":
        return bare.item()
    return value


def _check_flags(method: Method, parameters: Mapping[str, Any]) -> None:
    """Refuse other values than True or False for flags: the text "no" would count as True."""
    check_progress(parameters["progress"])
    for name, parameter in method.signature.parameters.items():
        if name != "progress" and (parameter.default is True or parameter.default is False):
            check_flag(name, parameters[name])


def _device(method: Method, data: xr.DataArray, parameters: Mapping[str, Any]) -> str:
    device = parameters["device"]
    if device == "auto":
        call = MethodCall(method, data, MappingProxyType(dict(parameters)))
        device = plugins().hook.select_device(call=call)
    return resolve_device(str(device))


def _dress(
    method: Method,
    result: Any,
    data: xr.DataArray | xr.Dataset,
    array: xr.DataArray,
    name: Hashable | None,
    restore_unit: Callable[[xr.DataArray], xr.DataArray],
    record: Mapping[str, Any],
    arrays: Arrays,
) -> xr.DataArray | xr.Dataset:
    """Restore units, attributes and provenance, on copies of what the method returned."""
    expected = xr.DataArray if method.returns_array else xr.Dataset
    if not isinstance(result, expected):
        raise DataTypeError(
            f"method {method.name!r} of plugin {method.owner!r} returned "
            f"{type(result).__name__}, expected {expected.__name__}; its author must correct that"
        )
    if isinstance(result, xr.DataArray):
        found = result.attrs.get("found", {})
        averaged, added = found.get("averaged", ()), found.get("added", ())
        wanted = {dim: size for dim, size in array.sizes.items() if dim not in averaged}
        if {dim: size for dim, size in result.sizes.items() if dim not in added} != wanted:
            raise DataError(
                f"method {method.name!r} of plugin {method.owner!r} returned the shape "
                f"{dict(result.sizes)} where {wanted} was expected for data of shape "
                f"{dict(array.sizes)}; its author must correct that"
            )
        dressed = restore_unit(_without_found(result))
        if any(coordinate.chunks is not None for coordinate in dressed.coords.values()):
            dressed = as_attribute(dressed)
        stamp(dressed, array, record, arrays)
        if isinstance(data, xr.DataArray) or name is None:
            return dressed
        replaced = replace_spectrum(data, name, dressed)
        stamp(replaced, data, record, arrays)
        return replaced
    result = _without_found(result)
    for name in list(result.data_vars):
        variable = _without_found(result[name])
        if set(array.dims) <= set(variable.dims):
            variable = as_attribute(restore_unit(variable))
            stamp(variable, array, record, arrays)
        # As a Variable: a DataArray would bring its coordinates again, levels of an index among
        # them, which xarray does not like to see replaced.
        result[name] = variable.variable
    stamp(result, data, record, arrays)
    return result


def _without_found(result: Any) -> Any:
    result = result.copy(deep=False)
    result.attrs = {key: value for key, value in result.attrs.items() if key != FOUND}
    return result
