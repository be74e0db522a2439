"""One call of a method, from the user's arguments to the finished result.

Comes in by the front door: the spectrum is taken out of the Dataset, units come off, axes, seed
and device are settled, the hooks run the method, and the result leaves dressed as the input was.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import xarray as xr

from arpes_ml_plugins.errors import DataTypeError, ParameterError, ReplayWarning
from arpes_ml_plugins.labelled.axes import resolve_dims
from arpes_ml_plugins.labelled.devices import resolve_device
from arpes_ml_plugins.labelled.provenance import make_record, read_provenance, stamp
from arpes_ml_plugins.labelled.seeds import seed_from
from arpes_ml_plugins.labelled.spectrum import (
    check_array,
    check_values,
    replace_spectrum,
    select_spectrum,
)
from arpes_ml_plugins.labelled.units import strip_unit
from arpes_ml_plugins.plugins.manager import plugins
from arpes_ml_plugins.plugins.registry import Method

__all__ = ["MethodCall", "public_function", "replay"]


@dataclass(frozen=True)
class MethodCall:
    """A method about to run, as the hooks see it. All parameters are settled."""

    method: Method
    data: xr.DataArray
    parameters: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.method.name

    def run(self) -> Any:
        """The result, without metadata yet."""
        return self.method.function(self.data, **self.parameters)


def public_function(method: Method) -> Callable[..., Any]:
    """What users call: the method with everything that is common to all methods around it."""

    @functools.wraps(method.function)
    def call(data: Any, **parameters: Any) -> Any:
        return _call(method, data, parameters)

    return call


def replay(
    result: xr.DataArray | xr.Dataset, parent: xr.DataArray | xr.Dataset
) -> xr.DataArray | xr.Dataset:
    """Run the last step of ``result`` again on ``parent``, as its provenance records it.

    On the same machine's CPU the values are the same, bit for bit.

    Parameters
    ----------
    result : xarray.DataArray or xarray.Dataset
        What a method of this package returned, also after saving and loading.
    parent : xarray.DataArray or xarray.Dataset
        What the method was applied to.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        A new result.

    Raises
    ------
    ParameterError
        ``result`` has no provenance of a registered method, or one that cannot be repeated.

    Warns
    -----
    ReplayWarning
        ``parent`` is not the recorded one, or versions of the software differ.
    """
    provenance = read_provenance(result) or {}
    record = provenance.get("record")
    if not isinstance(record, Mapping) or "parameters" not in record:
        raise ParameterError(
            "result carries no provenance of a method of this package; expected what one of its "
            "methods returned, with attrs['provenance'] intact"
        )
    recorded = provenance.get("parent_id")
    if recorded != parent.attrs.get("id"):
        warnings.warn(
            f"the result was made from data with id {recorded}, the parent given has id "
            f"{parent.attrs.get('id')}",
            ReplayWarning,
            stacklevel=2,
        )
    parameters = dict(record["parameters"])
    for key, value in parameters.items():
        if isinstance(value, Mapping) and "not_recorded" in value:
            raise ParameterError(
                f"parameter {key!r} was {value['not_recorded']}, which provenance cannot hold; "
                f"call {record['by']} again yourself"
            )
    with _recorded_threads(record["environment"]):
        _compare_versions(record["environment"]["versions"], parent, record)
        return _call(plugins().methods[record["by"]], parent, parameters)


def _call(method: Method, data: Any, given: Mapping[str, Any]) -> Any:
    array, name = select_spectrum(data)
    bare, restore_unit = strip_unit(array)
    check_array(bare)
    parameters = _bind(method, given)
    hook = plugins().hook
    parameters["dims"] = resolve_dims(
        bare,
        method.roles,
        parameters["dims"],
        lambda data, role: hook.resolve_axis(data=data, role=role),
    )
    check_values(bare, parameters["dims"])
    parameters["rng"] = seed_from(parameters["rng"])
    parameters["device"] = _device(method, bare, parameters)
    call = MethodCall(method, bare, MappingProxyType(parameters))
    result = hook.run_method(call=call)
    record = make_record(
        method.name,
        {k: v for k, v in parameters.items() if k != "progress"},
        owner=method.owner,
        roles=dict(zip(method.roles, parameters["dims"], strict=True)),
    )
    return _dress(method, result, data, array, name, restore_unit, record)


def _bind(method: Method, given: Mapping[str, Any]) -> dict[str, Any]:
    """All parameters with their defaults; a misspelt one is refused by name."""
    signature = method.signature
    known = [name for name in signature.parameters if name != "data"]
    for name in given:
        if name not in known:
            raise TypeError(
                f"{method.name}() has no parameter {name!r}; it takes {', '.join(known)}"
            )
    bound = signature.bind(None, **given)
    bound.apply_defaults()
    return {name: value for name, value in bound.arguments.items() if name != "data"}


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
    name: str | None,
    restore_unit: Callable[[xr.DataArray], xr.DataArray],
    record: Mapping[str, Any],
) -> xr.DataArray | xr.Dataset:
    """Units, attributes and provenance back on; never on the objects that the method returned."""
    expected = xr.DataArray if method.returns_array else xr.Dataset
    if not isinstance(result, expected):
        raise DataTypeError(
            f"method {method.name!r} of plugin {method.owner!r} returned "
            f"{type(result).__name__}, expected {expected.__name__}; its author must correct that"
        )
    if isinstance(result, xr.DataArray):
        dressed = restore_unit(result.copy(deep=False))
        stamp(dressed, array, record)
        if isinstance(data, xr.DataArray):
            return dressed
        replaced = replace_spectrum(data, str(name), dressed)
        stamp(replaced, data, record)
        return replaced
    result = result.copy(deep=False)
    for variable in list(result.data_vars):
        if set(array.dims) <= set(result[variable].dims):
            image = restore_unit(result[variable])
            stamp(image, array, record)
            result[variable] = image
    stamp(result, array, record)
    return result


def _recorded_threads(environment: Mapping[str, Any]) -> Any:
    """Torch with as many threads as then; sums in another order differ in the last bits."""
    import contextlib

    import torch

    @contextlib.contextmanager
    def threads() -> Any:
        before = torch.get_num_threads()
        torch.set_num_threads(environment.get("threads") or before)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    return threads()


def _compare_versions(
    recorded: Mapping[str, Any], parent: xr.DataArray | xr.Dataset, record: Mapping[str, Any]
) -> None:
    fresh = make_record(record["by"], {}, owner="", roles={})["environment"]["versions"]
    changed = [
        f"{name} {recorded[name]} -> {fresh[name]}"
        for name in fresh
        if name in recorded and recorded[name] != fresh[name]
    ]
    if changed:
        warnings.warn(
            f"replaying with other versions than recorded ({', '.join(changed)}); the values may "
            f"differ",
            ReplayWarning,
            stacklevel=3,
        )
