"""The plugin manager: built-in plugins, entry points and plugins registered by hand."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pluggy

from arpes_ml_plugins.errors import RegistrationError
from arpes_ml_plugins.plugins.entry_points import DISABLE_VARIABLE, load_all, message_of
from arpes_ml_plugins.plugins.hookspecs import PROJECT, HookSpecs
from arpes_ml_plugins.plugins.offers import LibraryOffers, MethodOffers
from arpes_ml_plugins.plugins.registry import LibraryRegistry, MethodRegistry

__all__ = ["DISABLE_VARIABLE", "Plugins", "plugins"]


class Plugins:
    """pluggy's manager together with what the plugins have registered."""

    def __init__(self) -> None:
        self.methods = MethodRegistry()
        self.libraries = LibraryRegistry()
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(HookSpecs)
        self.hook = self._manager.hook
        methods, libraries = MethodOffers(self.methods), LibraryOffers(self.libraries)
        self.hook.register_methods.call_historic(kwargs={"registry": methods})
        self.hook.register_libraries.call_historic(kwargs={"registry": libraries})

    def register(self, plugin: object, name: str | None = None) -> str:
        """Register a plugin (a module or any object with hook implementations).

        Returns
        -------
        str
            The name it is registered under.

        Raises
        ------
        RegistrationError
            The plugin implements a hook that does not exist, or offers something that the registry
            refuses. Nothing of the plugin is kept then.
        """
        owner = _checked_name(plugin, name)
        if self._manager.has_plugin(owner):
            raise RegistrationError(
                f"a plugin named {owner!r} is already registered; unregister it first"
            )
        try:
            with self._adding(owner):
                self._manager.register(plugin, owner)
            self._check_hooks(plugin, owner)
        except (pluggy.PluginValidationError, ValueError) as error:
            self._discard(owner)
            if isinstance(error, RegistrationError):
                raise
            raise RegistrationError(f"plugin {owner!r}: {message_of(error)}") from error
        except BaseException:
            self._discard(owner)
            raise
        return owner

    def unregister(self, name: str) -> None:
        """Remove a plugin with its methods and libraries.

        Raises
        ------
        RegistrationError
            The plugin is the built-in one of this package, or none of this name is registered.
        """
        if name == PROJECT:
            raise RegistrationError("the methods of arpes_ml_plugins itself cannot be unregistered")
        if not self._manager.has_plugin(name):
            known = sorted(n for n, _ in self._manager.list_name_plugin() if n != PROJECT)
            raise RegistrationError(
                f"no plugin named {name!r} is registered; registered are: "
                f"{', '.join(known) or 'none'}"
            )
        self._discard(name)

    @contextmanager
    def _adding(self, owner: str) -> Iterator[None]:
        """Assign what hooks add in the block to ``owner``; blocks may be nested."""
        registries = (self.methods, self.libraries)
        before = [registry.owned_by(owner) for registry in registries]
        try:
            yield
        finally:
            for registry, previous in zip(registries, before, strict=True):
                registry.owned_by(previous)

    def _discard(self, name: str) -> None:
        self.methods.discard(name)
        self.libraries.discard(name)
        if self._manager.has_plugin(name):
            self._manager.unregister(name=name)

    def load_entry_points(self) -> None:
        """Register every installed plugin; warn about broken ones by name and skip them."""
        load_all(self.register)

    def names(self) -> list[str]:
        """Names of all registered plugins."""
        return [name for name, _ in self._manager.list_name_plugin()]

    def _check_hooks(self, plugin: object, owner: str) -> None:
        known = [name for name in vars(HookSpecs) if not name.startswith("_")]
        callers = self._manager.get_hookcallers(plugin) or []
        if not callers:
            raise RegistrationError(
                f"plugin {owner!r} implements no hook; mark functions named "
                f"{', '.join(known)} with @arpes_ml_plugins.hookimpl"
            )
        for caller in callers:
            if not caller.has_spec():
                close = difflib.get_close_matches(caller.name, known, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"hooks are {', '.join(known)}"
                raise RegistrationError(
                    f"plugin {owner!r} implements {caller.name!r}, which is no hook; {hint}"
                )


def _checked_name(plugin: object, name: object) -> str:
    """The name to register ``plugin`` under; refuse objects that cannot be plugins."""
    if inspect.isclass(plugin):
        raise RegistrationError(
            f"expected a module or an object, got the class {plugin.__name__}; register an "
            f"instance of it, {plugin.__name__}()"
        )
    own = getattr(plugin, "__name__", None)
    owner = name or (own if isinstance(own, str) and own else type(plugin).__name__)
    if not isinstance(owner, str):
        raise RegistrationError(f"the name of a plugin must be a str, got {owner!r}")
    nothing = plugin is None or isinstance(plugin, (dict, list, tuple, set))
    if nothing or (plugin == object()) is not False:
        raise RegistrationError(
            f"plugin {owner!r}: expected a module or an object with hooks, got "
            f"{type(plugin).__name__}"
        )
    return owner


_system: Plugins | None = None


def plugins() -> Plugins:
    """The plugin system of this process, with built-in plugins and entry points loaded.

    It exists before the entry points are loaded, so that a plugin may use it while it is imported.
    If loading is interrupted by Ctrl-C, the next call starts again.
    """
    global _system
    if _system is None:
        _system = Plugins()
        try:
            _system.register(_builtin(), PROJECT)
            _system.load_entry_points()
        except BaseException:
            _system = None
            raise
    return _system


def _builtin() -> ModuleType | Any:
    from arpes_ml_plugins.plugins import builtin

    return builtin
