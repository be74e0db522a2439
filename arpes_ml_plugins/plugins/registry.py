"""Registries of methods and libraries, which check what plugins add; and a call of a method.

Plugins get them as :mod:`arpes_ml_plugins.plugins.offers`, which can only add and read entries.
"""

from __future__ import annotations

import inspect
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from arpes_ml_plugins.errors import ParameterError, RegistrationError
from arpes_ml_plugins.labelled.axes import ROLES

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["LibraryRegistry", "Method", "MethodCall", "MethodRegistry", "Renamed"]

COMMON_PARAMETERS = ("device", "rng", "progress", "dims")
UNKNOWN = "unknown"
ARRAY_PREFIXES = ("denoise", "sample")
"""Methods of these families return the type of their input; all others return a Dataset."""


@dataclass(frozen=True)
class Renamed:
    """The present name of a parameter, and the version from which the old name is gone."""

    now: str
    gone_in: str


@dataclass(frozen=True)
class Method:
    """A registered method."""

    name: str
    function: Callable[..., Any]
    """Function as its author wrote it: ``function(data, *, ...)`` with ``data`` a DataArray."""
    roles: tuple[str, ...]
    """Axes the method needs, by role; the function gets them resolved as ``dims``."""
    owner: str
    accepts_nan: bool = True
    """Whether missing values may reach the function; otherwise they are refused."""
    accepts_complex: bool = False
    """Whether complex values may reach the function; otherwise they are refused."""
    beside: tuple[str, ...] = ()
    """Dimensions that the data usually have beside those of the roles."""
    formerly: Mapping[str, Renamed] = field(default_factory=dict, hash=False)
    """Old names of parameters, which still work."""
    resumable: bool = False
    """Whether its parameter ``out`` is handled by the caller: a folder to write the result to."""

    def with_present_names(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters under their present names; one that is given under both is refused."""
        for old, renamed in self.formerly.items():
            if old in given and renamed.now in given:
                raise ParameterError(
                    f"{self.name}() got both {renamed.now!r} and its old name {old!r}; pass "
                    f"{renamed.now}= alone"
                )
        now = {old: renamed.now for old, renamed in self.formerly.items()}
        return {now.get(name, name): value for name, value in given.items()}

    def renaming_of(self, old: str) -> str:
        """What to say when a parameter is given under its old name."""
        renamed = self.formerly[old]
        return (
            f"{self.name}: {old!r} is now called {renamed.now!r}; the old name works until "
            f"version {renamed.gone_in} of {self.owner}, which removes it"
        )

    @property
    def example_dims(self) -> tuple[str, ...]:
        """Dimensions as PyARPES names them of data that the method works on."""
        return (*self.beside, *(ROLES[role][0][0] for role in reversed(self.roles)))

    @property
    def signature(self) -> inspect.Signature:
        return inspect.signature(self.function)

    @property
    def returns_array(self) -> bool:
        return self.name.split("_")[0] in ARRAY_PREFIXES

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        first = (inspect.getdoc(self.function) or "").splitlines()[0]
        return re.sub(r":\w+:`([^`]*)`", r"\1", first)


@dataclass(frozen=True)
class MethodCall:
    """A method about to run, as the hooks see it. All parameters are resolved."""

    method: Method
    data: xr.DataArray
    parameters: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.method.name

    def run(self) -> Any:
        """The result, without metadata yet."""
        return self.method.function(self.data, **self.parameters)


class _Owned:
    """Entries belong to the plugin whose hook is running."""

    def __init__(self) -> None:
        self._owner: str | None = None

    def owned_by(self, owner: str | None) -> str | None:
        """Entries added from now on belong to the plugin ``owner``; returns whose they were."""
        before, self._owner = self._owner, owner
        return before

    def check_open(self) -> None:
        """Refuse entries that are added while no hook runs, because their owner is unknown."""
        if self._owner is None:
            raise RegistrationError(
                "the registry takes entries only while the hook runs that it was passed to; to add "
                "some later, use arpes_ml_plugins.register(plugin)"
            )


class MethodRegistry(_Owned):
    """All methods by name."""

    def __init__(self) -> None:
        super().__init__()
        self._methods: dict[str, Method] = {}
        self._listeners: list[tuple[Callable[[Method], None], Callable[[Method], None]]] = []

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
        """Register ``function`` as a method of its own name.

        Parameters
        ----------
        function : callable
            ``function(data, *, device, rng, progress, dims, ...)`` with a docstring. It gets a
            DataArray; ``dims`` as a tuple with one dimension for each of ``roles``, ``rng`` as an
            int, ``device`` as the name of an existing device. It must return a DataArray if its
            name begins with ``denoise``, a Dataset otherwise, and leave ``data`` as it is.
        roles : sequence of str
            Axes that it needs: "energy", "momentum", "time", "space", "tau".
        accepts_nan : bool
            False if it cannot handle missing values; they are then refused before it is called.
        accepts_complex : bool
            True if it can handle complex values; otherwise they are refused.
        beside : sequence of str
            Names of dimensions that the data usually have beside those of the roles, ``("y", "x")``
            for a spectral map: an error about plain arrays shows them.
        formerly : mapping of str to tuple of two str, optional
            Old names of parameters, each with the present name and the version that removes the
            old one, ``{"sigma": ("width", "2.0")}``. They still work, with a FutureWarning; records
            that hold them are replayed without one.
        resumable : bool
            True if it has a parameter ``out=None``, which the function need not handle: the caller
            passes a folder of zarr, to which the result is written chunk by chunk, and in which an
            interrupted call goes on. The function must work on lazy data chunk by chunk.

        Raises
        ------
        RegistrationError
            The function is not of this form, or the name is taken.
        """
        name = self._name_of(function)
        self._check(function, name)
        roles, beside = self._names(name, "roles", roles), self._names(name, "beside", beside)
        for role in roles:
            if role not in ROLES:
                raise RegistrationError(
                    f"{self._where(name)}: unknown role {role!r}; known: {', '.join(ROLES)}"
                )
        owner = self._owner or UNKNOWN
        method = Method(
            name,
            function,
            roles,
            owner,
            bool(accepts_nan),
            bool(accepts_complex),
            beside,
            self._renamings(name, function, formerly or {}),
            self._resumable(name, function, resumable),
        )
        self._methods[name] = method
        for added, _ in self._listeners:
            added(method)

    def _where(self, name: object) -> str:
        return f"method {name!r} of plugin {self._owner or UNKNOWN!r}"

    def _name_of(self, function: object) -> str:
        if not callable(function) or inspect.isclass(function):
            raise RegistrationError(
                f"plugin {self._owner or UNKNOWN!r}: expected a function, got {function!r}"
            )
        name = getattr(function, "__name__", repr(function))
        if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise RegistrationError(
                f"{self._where(name)}: expected a named function in lower_case letters"
            )
        return name

    def _names(self, method: str, what: str, given: Any) -> tuple[str, ...]:
        """The sequence of str that was expected, as a tuple."""
        names = tuple(given) if isinstance(given, (list, tuple)) else None
        if names is None or not all(isinstance(name, str) for name in names):
            raise RegistrationError(
                f"{self._where(method)}: {what} must be a tuple of str, got {given!r}"
            )
        return names

    def _renamings(
        self, method: str, function: Callable[..., Any], formerly: Any
    ) -> dict[str, Renamed]:
        """Old names of parameters, none of which the function still has."""
        known, checked = inspect.signature(function).parameters, {}
        for old, new in dict(formerly).items():
            pair = self._names(method, "formerly", new)
            if len(pair) != 2 or pair[0] not in known or old in known:
                raise RegistrationError(
                    f"{self._where(method)}: formerly must map an old name to a parameter of the "
                    f"function and the version that removes the old name, got {old!r}: {new!r}"
                )
            checked[old] = Renamed(*pair)
        return checked

    def _resumable(self, method: str, function: Callable[..., Any], given: bool) -> bool:
        """``given``, if it is possible."""
        known = inspect.signature(function).parameters
        if given and ("out" not in known or known["out"].default is not None):
            raise RegistrationError(
                f"{self._where(method)}: a resumable method takes a parameter out=None"
            )
        return bool(given)

    def _check(self, function: Callable[..., Any], name: str) -> None:
        where = self._where(name)
        if name in self._methods:
            raise RegistrationError(
                f"{where} is already registered by plugin {self._methods[name].owner!r}; rename it"
            )
        package = __name__.partition(".")[0]
        if name in vars(sys.modules[package]):
            raise RegistrationError(
                f"{where}: {package}.{name} is something else already; rename the method"
            )
        if not (inspect.getdoc(function) or "").strip():
            raise RegistrationError(f"{where} has no docstring; users will ask help() for it")
        try:
            parameters = [*inspect.signature(function).parameters.values()]
        except Exception as error:  # __signature__ may be a stranger's code
            raise RegistrationError(
                f"{where}: its signature cannot be read ({type(error).__name__}); wrap it in a "
                f"function written in Python"
            ) from error
        if not parameters or parameters[0].name != "data":
            got = parameters[0] if parameters else "none"
            raise RegistrationError(f"{where}: the first parameter must be 'data', not {got}")
        others = parameters[1:]
        for parameter in others:
            if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
                raise RegistrationError(
                    f"{where}: parameter {str(parameter)!r} must be keyword-only; put '*' after "
                    f"data"
                )
        missing = [key for key in COMMON_PARAMETERS if key not in {p.name for p in others}]
        if missing:
            raise RegistrationError(
                f"{where}: every method takes {', '.join(COMMON_PARAMETERS)}; this one lacks "
                f"{', '.join(missing)}"
            )

    def discard(self, owner: str) -> None:
        """Forget all methods of a plugin."""
        for method in [method for method in self if method.owner == owner]:
            del self._methods[method.name]
            for _, removed in self._listeners:
                removed(method)

    def listen(self, added: Callable[[Method], None], removed: Callable[[Method], None]) -> None:
        """Call back for every method, present or added later, and for those that are removed."""
        for method in self:
            added(method)
        self._listeners.append((added, removed))

    def __getitem__(self, name: str) -> Method:
        try:
            return self._methods[name]
        except KeyError:
            raise ParameterError(
                f"no method {name!r}; registered are {', '.join(sorted(self._methods))}"
            ) from None

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._methods

    def __iter__(self) -> Iterator[Method]:
        return iter(sorted(self._methods.values(), key=lambda method: method.name))

    def __len__(self) -> int:
        return len(self._methods)


class LibraryRegistry(_Owned):
    """Spectrum libraries, manifolds and weights by name, loaded when first asked for."""

    def __init__(self) -> None:
        super().__init__()
        self._loaders: dict[str, tuple[str, Callable[[], Any]]] = {}
        self._loaded: dict[str, Any] = {}
        self._loading = threading.RLock()  # a loader may ask for another library

    def add(self, name: str, loader: Callable[[], Any]) -> None:
        """Register ``loader()`` under ``name``; it runs once, at the first use."""
        owner = self._owner or UNKNOWN
        if not isinstance(name, str) or not name:
            raise RegistrationError(f"a library of plugin {owner!r}: expected a name, got {name!r}")
        if name in self._loaders:
            raise RegistrationError(
                f"library {name!r} of plugin {owner!r} is already registered by plugin "
                f"{self._loaders[name][0]!r}; rename it"
            )
        if not callable(loader):
            raise RegistrationError(
                f"library {name!r} of plugin {owner!r}: expected a function without "
                f"arguments, got {type(loader).__name__}"
            )
        self._loaders[name] = (owner, loader)

    def discard(self, owner: str) -> None:
        """Forget all libraries of a plugin."""
        for name in [name for name, (by, _) in self._loaders.items() if by == owner]:
            del self._loaders[name]
            self._loaded.pop(name, None)

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaders:
            known = ", ".join(sorted(self._loaders)) or "none"
            raise ParameterError(f"no library {name!r}; registered are: {known}")
        with self._loading:
            if name not in self._loaded:
                self._loaded[name] = self._loaders[name][1]()
            return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._loaders

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._loaders))

    def __len__(self) -> int:
        return len(self._loaders)
