"""Put every registered method on the class that owns ``.S``, and on ``.arpes_ml``.

If PyARPES is imported, it owns ``.S``: its accessor classes get the methods as attributes, also on
existing instances. Before that, or without PyARPES, a small ``.S`` of our own takes its place. It
is hidden from ``hasattr(xarray.DataArray, "S")``, so that PyARPES registers its own without a
warning, and caches nothing on the objects, so that PyARPES's takes over at once.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import wrapt
import xarray as xr

from arpes_ml_plugins.bound_methods import BoundMethods, Data
from arpes_ml_plugins.errors import PluginWarning
from arpes_ml_plugins.frames import warn
from arpes_ml_plugins.labelled.provenance import history
from arpes_ml_plugins.plugins.call import public_function
from arpes_ml_plugins.plugins.manager import plugins
from arpes_ml_plugins.plugins.registry import Method

__all__ = ["MethodsAccessor", "attach"]

OBJECTS = (xr.DataArray, xr.Dataset)
REGISTER: dict[type, Callable[[str], Any]] = {
    xr.DataArray: xr.register_dataarray_accessor,
    xr.Dataset: xr.register_dataset_accessor,
    xr.DataTree: xr.register_datatree_accessor,
}
MARK = "_from_arpes_ml_plugins"
PYARPES_ACCESSORS = "arpes.xarray_extensions"
"""The module that registers ``.S`` in every distribution of PyARPES."""


class MethodsAccessor(BoundMethods[Data]):
    """Methods of arpes_ml_plugins and its plugins, bound to an array, dataset or tree."""

    def __init__(self, obj: Data) -> None:
        self._obj = obj

    @property
    def history(self) -> list[Any]:
        """Records of all steps, the last one first, as in PyARPES."""
        return history(self._obj)

    def short_history(self, key: str = "by") -> list[Any]:
        """One entry of each record, by default the name of the method."""
        records = [step.get("record") if isinstance(step, dict) else step for step in self.history]
        return [one.get(key) if isinstance(one, dict) else one for one in records]

    if not TYPE_CHECKING:  # type checkers know the methods, and refuse all other names

        def __getattr__(self, name: str) -> Any:
            """Refuse a name that is not known, and suggest similar ones."""
            raise AttributeError(_unknown(name), name=name, obj=self)

    def __repr__(self) -> str:
        methods = ", ".join(method.name for method in plugins().methods)
        return f"<methods of arpes_ml_plugins: {methods}>"

    def _repr_html_(self) -> str:
        """HTML for notebooks: the record of a result, or the available methods."""
        from arpes_ml_plugins.html_repr import html_of

        return html_of(self._obj, repr(self))


def _unknown(name: str) -> str:
    """What to say of a name that the accessor lacks; private ones, which tools try, get no hint."""
    known = [method.name for method in plugins().methods] if not name.startswith("_") else []
    close = difflib.get_close_matches(name, [*known, "history", "short_history"], n=3, cutoff=0.6)
    if not close:
        hint = "; arpes_ml_plugins.methods_available() lists the methods" if known else ""
    else:
        hint = f"; did you mean {' or '.join(map(repr, close))}?"
    return f"arpes_ml_plugins has no method {name!r}{hint}"


class _ShyAccessor:
    """Descriptor of our own ``.S``: present on objects, hidden on the class, never cached."""

    def __get__(self, obj: Any, owner: type) -> MethodsAccessor[Any]:
        if obj is None:
            raise AttributeError("PyARPES is not imported: no accessor class owns .S")
        return MethodsAccessor(obj)


def attach() -> None:
    """Make ``.S`` and ``.arpes_ml`` work now, and after later imports of PyARPES."""
    for cls, register in REGISTER.items():
        if "arpes_ml" not in vars(cls):
            register("arpes_ml")(MethodsAccessor)
    for cls in OBJECTS:
        if not hasattr(cls, "S"):
            cls.S = _ShyAccessor()  # type: ignore[union-attr]
    plugins().methods.listen(_put_everywhere, _take_away)
    wrapt.register_post_import_hook(_pyarpes_imported, PYARPES_ACCESSORS)


def _pyarpes_imported(module: object) -> None:
    for method in plugins().methods:
        _put_everywhere(method)


def _put_everywhere(method: Method) -> None:
    """Add a method to our own accessor, and to the class that owns ``.S``."""
    _put(MethodsAccessor, method)
    for cls in OBJECTS:
        owner = getattr(cls, "S", None)
        if isinstance(owner, type) and owner is not MethodsAccessor:
            _put(owner, method)


def _take_away(method: Method) -> None:
    for cls in OBJECTS:
        for owner in (MethodsAccessor, getattr(cls, "S", None)):
            if isinstance(owner, type) and hasattr(getattr(owner, method.name, None), MARK):
                delattr(owner, method.name)


def _put(owner: type, method: Method) -> None:
    existing = getattr(owner, method.name, None)
    if existing is not None and not hasattr(existing, MARK):
        warn(
            f"{owner.__name__} has its own method {method.name!r}, which is not replaced; call "
            f"that of plugin {method.owner!r} as .arpes_ml.{method.name}",
            PluginWarning,
        )
        return
    setattr(owner, method.name, _bound(method))


def _bound(method: Method) -> Callable[..., Any]:
    """The public function as a method: same docstring, signature with ``self`` for ``data``."""
    public = public_function(method)

    def call(self: Any, *misplaced: Any, **parameters: Any) -> Any:
        return public(self._obj, *misplaced, **parameters)

    call.__name__ = method.name
    call.__qualname__ = f"{MethodsAccessor.__name__}.{method.name}"
    call.__doc__ = method.function.__doc__
    call.__module__ = method.function.__module__
    first, *others = method.signature.parameters.values()
    itself = first.replace(name="self", annotation=inspect.Parameter.empty)
    call.__signature__ = method.signature.replace(parameters=[itself, *others])  # type: ignore[attr-defined]
    setattr(call, MARK, True)
    return call
