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
    """What a plugin may implement."""

    @hookspec(historic=True)
    def register_methods(self, registry: MethodOffers) -> None:
        """Offer methods: call ``registry.add(function, roles=...)`` for each.

        Historic: a plugin registered late, even in a notebook, is heard at once, and its methods
        appear on ``.S``.
        """

    @hookspec(historic=True)
    def register_libraries(self, registry: LibraryOffers) -> None:
        """Offer spectrum libraries, manifolds or weights: ``registry.add(name, loader)``.

        Historic, as ``register_methods``. The loader runs when the library is first asked for.
        """

    @hookspec(firstresult=True)
    def resolve_axis(self, data: xr.DataArray, role: str) -> Hashable | None:
        """Name the dimension of ``data`` that plays ``role`` ("energy", "momentum", ...).

        For a laboratory's own axis names. The first answer that is not ``None`` counts; answer
        ``None`` for data that are not yours. The names of PyARPES, erlab and peaks are tried last,
        and where the answer is no dimension of ``data``.
        """

    @hookspec(firstresult=True)
    def select_device(self, call: MethodCall) -> str | None:
        """Name the torch device for ``call``, such as ``"cuda:1"``: scheduling on shared machines.

        Asked only where the user left ``device="auto"``.
        """

    @hookspec(firstresult=True)
    def run_method(self, call: MethodCall) -> Any:
        """Run ``call`` and return its result; ``None`` passes it on, the last one really runs it.

        With ``wrapper=True`` it goes around any method: caching, timing, logging, a veto (raise).
        The call's parameters are complete: axes, seed and device are settled.
        """
