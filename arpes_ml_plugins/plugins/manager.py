"""The plugin manager: built-ins, entry points and what is registered by hand."""

from __future__ import annotations

import difflib
import inspect
import os
from functools import cache
from importlib import metadata
from types import ModuleType
from typing import Any

import pluggy

from arpes_ml_plugins.errors import PluginWarning, RegistrationError
from arpes_ml_plugins.frames import warn
from arpes_ml_plugins.plugins.hookspecs import PROJECT, HookSpecs
from arpes_ml_plugins.plugins.registry import LibraryRegistry, MethodRegistry

__all__ = ["DISABLE_VARIABLE", "Plugins", "plugins"]

DISABLE_VARIABLE = "ARPES_ML_PLUGINS_DISABLE"
"""Environment variable: entry points to leave out, separated by commas, or ``all``."""


class Plugins:
    """pluggy's manager together with what the plugins have registered."""

    def __init__(self) -> None:
        self.methods = MethodRegistry()
        self.libraries = LibraryRegistry()
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(HookSpecs)
        self.hook = self._manager.hook
        self.hook.register_methods.call_historic(kwargs={"registry": self.methods})
        self.hook.register_libraries.call_historic(kwargs={"registry": self.libraries})

    def register(self, plugin: object, name: str | None = None) -> str:
        """Register a plugin (a module or any object with hook implementations).

        Returns
        -------
        str
            The name it is registered under.

        Raises
        ------
        RegistrationError
            It implements a hook that does not exist, or offers what the registry refuses. Nothing
            of it is kept then.
        """
        if inspect.isclass(plugin):
            raise RegistrationError(
                f"expected a module or an object, got the class {plugin.__name__}; register an "
                f"instance of it, {plugin.__name__}()"
            )
        owner = name or getattr(plugin, "__name__", None) or type(plugin).__name__
        if self._manager.has_plugin(owner):
            raise RegistrationError(
                f"a plugin named {owner!r} is already registered; unregister it first"
            )
        self.methods.owned_by(owner)
        self.libraries.owned_by(owner)
        try:
            self._manager.register(plugin, owner)
            self._check_hooks(plugin, owner)
        except (pluggy.PluginValidationError, ValueError) as error:
            self.unregister(owner)
            if isinstance(error, RegistrationError):
                raise
            raise RegistrationError(f"plugin {owner!r}: {error}") from error
        except BaseException:
            self.unregister(owner)
            raise
        return owner

    def unregister(self, name: str) -> None:
        """Take a plugin out, with its methods and libraries."""
        if self._manager.has_plugin(name):
            self._manager.unregister(name=name)
        self.methods.discard(name)
        self.libraries.discard(name)

    def load_entry_points(self) -> None:
        """Register every installed plugin; a broken one warns with its name and is left out."""
        disabled = {part.strip() for part in os.environ.get(DISABLE_VARIABLE, "").split(",")}
        for entry in metadata.entry_points(group=PROJECT):
            if entry.name in disabled or "all" in disabled:
                continue
            try:
                self.register(entry.load(), entry.name)
            except (Exception, SystemExit) as error:  # a stranger's code: anything may happen
                warn(
                    f"plugin {entry.name!r} ({entry.value}) is left out: "
                    f"{type(error).__name__}: {error}. Repair it, or silence this with "
                    f"{DISABLE_VARIABLE}={entry.name}",
                    PluginWarning,
                )

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


@cache
def plugins() -> Plugins:
    """The one plugin system of this process, with built-ins and entry points loaded."""
    system = Plugins()
    system.register(_builtin(), "arpes_ml_plugins")
    system.load_entry_points()
    return system


def _builtin() -> ModuleType | Any:
    from arpes_ml_plugins.plugins import builtin

    return builtin
