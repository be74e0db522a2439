"""The view of the registries that plugins get: they can add entries and read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from arpes_ml_plugins.plugins.registry import LibraryRegistry, Method, MethodRegistry

__all__ = ["LibraryOffers", "MethodOffers"]


class _Fixed:
    """Object whose attributes cannot be set or deleted."""

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is read-only; use add()")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is read-only; use add()")


class MethodOffers(_Fixed):
    """The ``registry`` of the hook ``register_methods``: call :meth:`add` for each method.

    ``name in registry``, ``registry[name]`` and iteration show what is registered.
    """

    __slots__ = ("__registry",)
    __registry: MethodRegistry

    def __init__(self, registry: MethodRegistry) -> None:
        object.__setattr__(self, "_MethodOffers__registry", registry)

    def add(
        self,
        function: Callable[..., Any],
        *,
        roles: Sequence[str] = (),
        accepts_nan: bool = True,
        accepts_complex: bool = False,
        beside: Sequence[str] = (),
        formerly: Mapping[str, tuple[str, str]] | None = None,
        resumable: bool = False,
    ) -> None:
        self.__registry.check_open()
        self.__registry.add(
            function,
            roles=roles,
            accepts_nan=accepts_nan,
            accepts_complex=accepts_complex,
            beside=beside,
            formerly=formerly,
            resumable=resumable,
        )

    add.__doc__ = MethodRegistry.add.__doc__

    def __getitem__(self, name: str) -> Method:
        return self.__registry[name]

    def __contains__(self, name: object) -> bool:
        return name in self.__registry

    def __iter__(self) -> Iterator[Method]:
        return iter(self.__registry)

    def __len__(self) -> int:
        return len(self.__registry)


class LibraryOffers(_Fixed):
    """The ``registry`` of the hook ``register_libraries``: call :meth:`add` for each library.

    ``name in registry`` and iteration over the names show what is registered.
    """

    __slots__ = ("__registry",)
    __registry: LibraryRegistry

    def __init__(self, registry: LibraryRegistry) -> None:
        object.__setattr__(self, "_LibraryOffers__registry", registry)

    def add(self, name: str, loader: Callable[[], Any]) -> None:
        self.__registry.check_open()
        self.__registry.add(name, loader)

    add.__doc__ = LibraryRegistry.add.__doc__

    def __contains__(self, name: object) -> bool:
        return name in self.__registry

    def __iter__(self) -> Iterator[str]:
        return iter(self.__registry)

    def __len__(self) -> int:
        return len(self.__registry)
