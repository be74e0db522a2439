"""Find and load installed plugins one by one, so that a broken one does not affect the others."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any

from arpes_ml_plugins.errors import PluginWarning
from arpes_ml_plugins.frames import warn
from arpes_ml_plugins.plugins.hookspecs import PROJECT

__all__ = ["DISABLE_VARIABLE", "load_all", "message_of"]

DISABLE_VARIABLE = "ARPES_ML_PLUGINS_DISABLE"
"""Environment variable with the entry points to skip, separated by commas, or ``all``."""


def load_all(register: Callable[[object, str], object]) -> None:
    """Load every installed plugin and ``register(plugin, name)`` it; warn about those that fail.

    Ctrl-C passes through, with a note about the plugin that was being loaded: it cannot be told
    from a plugin that raises KeyboardInterrupt itself.
    """
    disabled = {part.strip() for part in os.environ.get(DISABLE_VARIABLE, "").split(",")}
    if "all" in disabled:
        return
    for entry in _entries():
        if entry.name in disabled:
            continue
        try:
            register(entry.load(), entry.name)
        except KeyboardInterrupt as stop:
            stop.add_note(
                f"while plugin {entry.name!r} was loaded; {DISABLE_VARIABLE}={entry.name} leaves "
                f"it out"
            )
            raise
        except BaseException as error:  # a stranger's code: anything may happen
            _warn(
                f"plugin {entry.name!r} ({entry.value}) is left out: {type(error).__name__}: "
                f"{message_of(error)}. Repair it, or silence this with "
                f"{DISABLE_VARIABLE}={entry.name}"
            )


def message_of(error: BaseException) -> str:
    """The message of an error, even if its class is broken.

    Examples
    --------
    >>> message_of(ValueError("too large"))
    'too large'
    """
    try:
        return str(error)
    except KeyboardInterrupt:
        raise
    except BaseException as second:
        return f"(a message that cannot be shown: {type(second).__name__})"


def _entries() -> Iterator[metadata.EntryPoint]:
    """Entry points of this package's group, even if the metadata of other packages are broken."""
    try:
        found = list(metadata.entry_points(group=PROJECT))
    except Exception:  # the metadata of one distribution break the look-up of all
        found = list(_one_by_one())
    yield from found


def _one_by_one() -> Iterator[metadata.EntryPoint]:
    """Entry points of each distribution by itself; the first one of a name hides later ones."""
    seen = set()
    for distribution in metadata.distributions():
        name = _name_of(distribution)
        if name in seen:
            continue
        seen.add(name)
        try:
            yield from [e for e in distribution.entry_points if e.group == PROJECT]
        except Exception as error:
            _warn(
                f"the entry points of the distribution {name!r} cannot be read, so any plugin in "
                f"it is left out: {type(error).__name__}: {message_of(error)}. Reinstall it"
            )


def _name_of(distribution: Any) -> str:
    """The name of a distribution, from its folder if possible, as its metadata may be broken."""
    folder = getattr(getattr(distribution, "_path", None), "name", "")
    stem, dot, _ = folder.rpartition(".")
    if dot:
        return str(stem).partition("-")[0].replace("_", "-").lower()
    try:
        return str(distribution.metadata["Name"])
    except Exception:
        return f"unknown distribution {id(distribution)}"


def _warn(message: str) -> None:
    warn(message, PluginWarning)
