"""The five hooks. A plugin implements any of them, marked with ``@arpes_ml_plugins.hookimpl``."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import xarray as xr

    from arpes_ml_plugins.plugins.offers import LibraryOffers, MethodOffers
    from arpes_ml_plugins.plugins.registry import MethodCall

__all__ = ["PROJECT", "HookSpecs", "hookimpl"]

PROJECT = "arpes_ml_plugins"
"""Name of the pluggy project and of the entry-point group."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class HookSpecs:
    """Hooks that a plugin may implement."""

    @hookspec(historic=True)
    def register_methods(self, registry: MethodOffers) -> None:
        """Offer methods: call ``registry.add(function, roles=...)`` for each.

        This hook is historic: it also runs for a plugin that is registered later, even in a
        notebook, and the methods appear on ``.S`` at once.
        """

    @hookspec(historic=True)
    def register_libraries(self, registry: LibraryOffers) -> None:
        """Offer spectrum libraries, manifolds or weights: ``registry.add(name, loader)``.

        This hook is historic, as ``register_methods``. The loader runs at the first use of the
        library.
        """

    @hookspec(firstresult=True)
    def resolve_axis(self, data: xr.DataArray, role: str) -> Hashable | None:
        """Name the dimension of ``data`` that plays ``role`` ("energy", "momentum", ...).

        This is for a laboratory's own axis names. The first answer that is not ``None`` counts;
        return ``None`` for other data. The names of PyARPES, erlab and peaks are tried last, and if
        the answer is not a dimension of ``data``.
        """

    @hookspec(firstresult=True)
    def select_device(self, call: MethodCall) -> str | None:
        """Name the torch device for ``call``, such as ``"cuda:1"``, to schedule shared machines.

        It is called only if the user left ``device="auto"``.
        """

    @hookspec(firstresult=True)
    def run_method(self, call: MethodCall) -> Any:
        """Run ``call`` and return its result, or ``None`` to leave it to the next plugin.

        With ``wrapper=True`` it wraps any method, for caching, timing, logging or a veto (raise).
        The parameters of the call are complete: axes, seed and device are resolved.
        """
