"""The methods of this package, registered through the same hooks as everybody else's."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from arpes_ml_plugins.labelled.axes import find_axis
from arpes_ml_plugins.labelled.devices import resolve_device
from arpes_ml_plugins.methods.fixed_input import denoise_fixed_input
from arpes_ml_plugins.methods.pcp import decompose_pcp
from arpes_ml_plugins.methods.pcp_unet import decompose_pcp_unet, denoise_pcp_unet
from arpes_ml_plugins.plugins.hookspecs import hookimpl

if TYPE_CHECKING:
    import xarray as xr

    from arpes_ml_plugins.plugins.registry import MethodCall, MethodRegistry

IMAGE = ("energy", "momentum")


@hookimpl
def register_methods(registry: MethodRegistry) -> None:
    for function in (decompose_pcp, decompose_pcp_unet, denoise_fixed_input, denoise_pcp_unet):
        registry.add(function, roles=IMAGE)


@hookimpl(trylast=True)
def resolve_axis(data: xr.DataArray, role: str) -> Hashable | None:
    return find_axis(data, role)


@hookimpl(trylast=True)
def select_device(call: MethodCall) -> str | None:
    return resolve_device("auto")


@hookimpl(trylast=True)
def run_method(call: MethodCall) -> Any:
    return call.run()
