"""Installed plugins with every kind of fault: the import survives, and the fault is named once."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import warnings
from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import arpes_ml_plugins
from arpes_ml_plugins import hookimpl
from arpes_ml_plugins.errors import PluginWarning, RegistrationError
from arpes_ml_plugins.plugins import builtin, manager
from arpes_ml_plugins.plugins.hookspecs import PROJECT
from arpes_ml_plugins.plugins.manager import Plugins

ROOT = str(Path(__file__).parents[1])


def denoise_good(data, *, device="auto", rng=None, progress=False, dims=None):
    """Do nothing."""
    return data.astype(float)


class Good:
    @hookimpl
    def register_methods(self, registry):
        registry.add(denoise_good, roles=("energy",))


class Entry:
    """Stands in for an installed entry point."""

    value = "somewhere:plugin"

    def __init__(self, name, load):
        self.name, self.load = name, load


def system_with(*entries):
    """A new plugin system with the built-ins, after loading the entry points; and the warnings."""
    system = Plugins()
    system.register(builtin, PROJECT)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        patch.setattr(metadata, "entry_points", lambda group: list(entries))
        system.load_entry_points()
    return system, [str(w.message) for w in caught if w.category is PluginWarning]


BUILT_IN = sorted(method.name for method in system_with()[0].methods)


class MuteError(Exception):
    """An exception whose message cannot be shown."""

    def __str__(self):
        raise (self.args or (RuntimeError,))[0]("no words")

    __repr__ = __str__


class Unequal:
    """An object that cannot be compared."""

    def __eq__(self, other):
        raise RuntimeError("incomparable")

    __hash__ = None

    @hookimpl
    def register_methods(self, registry):
        registry.add(denoise_good)


class Equal(Unequal):
    def __eq__(self, other):
        return True

    __hash__ = None


class Elusive:
    """An object that raises whatever it is asked."""

    def __getattribute__(self, name):
        raise MuteError


def hooks(**functions):
    """A plugin with these functions as hooks."""
    return type("Theirs", (), {k: hookimpl(v) for k, v in functions.items()})()


def adding(**offered):
    """A plugin that offers a method as given."""
    return hooks(register_methods=lambda self, registry: registry.add(**offered))


def changed(**attributes):
    """A good method with other attributes."""

    def denoise_changed(data, *, device="auto", rng=None, progress=False, dims=None):
        """Do nothing."""

    for name, value in attributes.items():
        setattr(denoise_changed, name, value)
    return denoise_changed


def raising(error):
    def load():
        raise error

    return load


def giving(plugin):
    return lambda: plugin


PLUGIN_ERRORS = (
    ImportError("no module named cupy"),
    SystemExit(3),
    SystemExit("licence expired"),
    GeneratorExit(),
    BaseException("anything"),
    MuteError(SystemExit),
    MemoryError(),
    RecursionError(),
    StopIteration(),
    MuteError(),
    BaseExceptionGroup("several", [SystemExit(1)]),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
)
FAULTS = {
    **{f"import raises {type(e).__name__} {i}": raising(e) for i, e in enumerate(PLUGIN_ERRORS)},
    **{
        f"hook raises {type(e).__name__} {i}": giving(
            hooks(register_methods=lambda self, registry, e=e: raising(e)())
        )
        for i, e in enumerate(PLUGIN_ERRORS)
    },
    **{
        f"the plugin is {type(p).__name__} {i}": giving(p)
        for i, p in enumerate(
            (None, 5, "text", b"bytes", 1.5, [], {}, (), object(), Good, type, len, Elusive(), ...)
        )
    },
    "cannot be compared": giving(Unequal()),
    "equals everything": giving(Equal()),
    "a hook without arguments it should have": giving(
        hooks(register_methods=lambda self, regsitry: None)
    ),
    "a hook with too many arguments": giving(
        hooks(register_methods=lambda self, registry, more: None)
    ),
    "a hook that does not exist": giving(hooks(register_method=lambda self, registry: None)),
    "a hook that is no function": giving(
        type("Theirs", (), {"register_methods": hookimpl(type("C", (), {}))})()
    ),
    "half a registration": giving(
        hooks(register_methods=lambda self, registry: (registry.add(denoise_good), 1 / 0))
    ),
    "no function": giving(adding(function=5)),
    "None": giving(adding(function=None)),
    "a class": giving(adding(function=Good)),
    "a builtin": giving(adding(function=max)),
    "name is a number": giving(adding(function=type("F", (), {"__call__": max, "__name__": 5})())),
    "name is odd": giving(adding(function=changed(__name__="Denoise it"))),
    "a built-in's name": giving(adding(function=changed(__name__="denoise"))),
    "signature unreadable": giving(adding(function=changed(__signature__=5))),
    "no docstring": giving(adding(function=changed(__doc__=5))),
    "blank docstring": giving(adding(function=changed(__doc__=" \n\t"))),
    "roles are text": giving(adding(function=denoise_good, roles="energy")),
    "roles are numbers": giving(adding(function=denoise_good, roles=(1, 2))),
    "roles are a number": giving(adding(function=denoise_good, roles=5)),
    "role is unknown": giving(adding(function=denoise_good, roles=("spin",))),
    "beside is a number": giving(adding(function=denoise_good, beside=7)),
    "an option that does not exist": giving(adding(function=denoise_good, role=("energy",))),
    **{
        f"library called {name!r}": giving(
            hooks(register_libraries=lambda self, registry, name=name: registry.add(name, dict))
        )
        for name in (5, None, [], "")
    },
    "library without loader": giving(
        hooks(register_libraries=lambda self, registry: registry.add("gold", 3))
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_once_and_stays_with_its_plugin(fault):
    system, told = system_with(
        Entry("before", lambda: hooks(resolve_axis=lambda self, data, role: None)),
        Entry("faulty", FAULTS[fault]),
        Entry("good", Good),
    )
    assert len(told) == 1
    assert "'faulty'" in told[0]
    assert "ARPES_ML_PLUGINS_DISABLE=faulty" in told[0]
    assert sorted(system.names()) == ["arpes_ml_plugins", "before", "good"]
    assert [m.name for m in system.methods] == sorted([*BUILT_IN, "denoise_good"])
    assert system.methods["denoise_good"].owner == "good"
    assert "gold" not in system.libraries


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.lists(st.sampled_from(sorted(FAULTS)), max_size=6))
def test_any_number_of_faults(faults):
    entries = [Entry(f"faulty{i}", FAULTS[fault]) for i, fault in enumerate(faults)]
    system, told = system_with(*entries, Entry("good", Good))
    assert len(told) == len(faults)
    assert [m.name for m in system.methods] == sorted([*BUILT_IN, "denoise_good"])


def test_ctrl_c_passes_and_says_where_it_was():
    with pytest.raises(KeyboardInterrupt) as caught:
        system_with(Entry("slow", raising(KeyboardInterrupt())))
    assert "'slow'" in caught.value.__notes__[0]


@pytest.fixture
def first_use(monkeypatch):
    """The plugin system of the process as at the first import, with these entry points."""

    def use(*entries):
        monkeypatch.setattr(metadata, "entry_points", lambda group: list(entries))
        return manager.plugins()

    monkeypatch.setattr(manager, "_system", None)
    return use


def test_after_ctrl_c_all_is_loaded_anew(first_use):
    with pytest.raises(KeyboardInterrupt):
        first_use(Entry("good", Good), Entry("slow", raising(KeyboardInterrupt())))
    assert first_use(Entry("good", Good)).names() == ["arpes_ml_plugins", "good"]


def test_a_plugin_may_use_the_package_while_it_is_imported(first_use):
    seen = []

    def load():
        seen.append(arpes_ml_plugins.methods_available())
        arpes_ml_plugins.register(hooks(resolve_axis=lambda self, data, role: None), "more")
        return Good()

    system = first_use(Entry("curious", load))
    assert sorted(seen[0]) == BUILT_IN
    assert sorted(system.names()) == ["arpes_ml_plugins", "curious", "more"]


MEDDLING = {
    "clear": lambda registry: registry.clear(),
    "discard": lambda registry: registry.discard("arpes_ml_plugins"),
    "pop": lambda registry: registry.pop("denoise"),
    "delete": lambda registry: registry.__delitem__("denoise"),
    "overwrite": lambda registry: registry.__setitem__("denoise", denoise_good),
    "claim": lambda registry: registry.owned_by("arpes_ml_plugins"),
    "listen": lambda registry: registry.listen(print, print),
    "table": lambda registry: registry._methods.clear(),
    "loaders": lambda registry: registry._loaders.clear(),
    "attribute": lambda registry: setattr(registry, "add", print),
    "new attribute": lambda registry: setattr(registry, "mine", 1),
    "delete attribute": lambda registry: delattr(registry, "add"),
    "namespace": lambda registry: vars(registry).clear(),
    "method": lambda registry: setattr(registry["denoise"], "function", denoise_good),
    "delete method": lambda registry: delattr(registry["denoise"], "function"),
}


@pytest.mark.parametrize("kind", ["register_methods", "register_libraries"])
@pytest.mark.parametrize("meddling", MEDDLING)
def test_the_registry_cannot_be_altered(meddling, kind):
    plugin = type(
        "Theirs", (), {kind: hookimpl(lambda self, registry: MEDDLING[meddling](registry))}
    )()
    system, told = system_with(Entry("meddler", lambda: plugin), Entry("good", Good))
    assert len(told) == 1
    assert "'meddler'" in told[0]
    assert [m.name for m in system.methods] == sorted([*BUILT_IN, "denoise_good"])
    assert {m.owner for m in system.methods} == {"arpes_ml_plugins", "good"}
    assert list(system.libraries) == list(system_with()[0].libraries)


def test_what_plugins_see_can_be_read():
    seen = {}

    class Reader:
        @hookimpl
        def register_methods(self, registry):
            seen.update(
                has="denoise" in registry, names=[m.name for m in registry], one=registry["denoise"]
            )
            assert len(registry) == len(seen["names"])

        @hookimpl
        def register_libraries(self, registry):
            seen.update(libraries=list(registry), few=len(registry), gold="gold" in registry)

    system, told = system_with(Entry("reader", Reader))
    assert not told
    assert seen["has"]
    assert seen["names"] == BUILT_IN
    assert seen["one"] is system.methods["denoise"]
    assert seen["libraries"] == list(system.libraries)
    assert (seen["few"], seen["gold"]) == (len(system.libraries), False)


def test_a_registry_that_is_kept_takes_nothing_later():
    kept = []
    plugin = hooks(register_methods=lambda self, registry: kept.append(registry))
    system, told = system_with(Entry("keeper", lambda: plugin))
    assert not told
    with pytest.raises(RegistrationError, match=r"arpes_ml_plugins\.register"):
        kept[0].add(denoise_good)
    assert "denoise_good" not in system.methods


def test_a_plugin_may_register_another():
    def register_methods(self, registry):
        registry_owner.append(system.register(Good(), "inner"))
        registry.add(changed(__name__="denoise_outer"))

    registry_owner = []
    system, _ = system_with()
    system.register(hooks(register_methods=register_methods), "outer")
    assert system.methods["denoise_good"].owner == "inner"
    assert system.methods["denoise_outer"].owner == "outer"


def test_built_ins_stay():
    with pytest.raises(RegistrationError, match="cannot be unregistered"):
        arpes_ml_plugins.unregister("arpes_ml_plugins")
    assert "denoise" in arpes_ml_plugins.methods_available()


@pytest.mark.parametrize("name", [5, b"bytes", ["list"], 1.5])
def test_names_of_plugins_are_text(name):
    with pytest.raises(RegistrationError, match="must be a str"):
        arpes_ml_plugins.register(Good(), name)


def test_the_subpackage_is_reached_by_its_name():
    assert inspect.ismodule(arpes_ml_plugins.plugins)
    assert arpes_ml_plugins.plugins.manager.Plugins is Plugins


def installed(folder, name, *, entry_points=b"", meta=None):
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_bytes(meta or b"Metadata-Version: 2.1\nName: %b\n" % name.encode())
    (info / "entry_points.txt").write_bytes(entry_points)


GROUP = b"[arpes_ml_plugins]\n"


@pytest.mark.parametrize(
    ("entry_points", "meta", "named"),
    [
        (b"\xff\xfe\x00nonsense", None, True),
        (GROUP + "grün = nowhere\n".encode("latin-1"), None, True),
        (GROUP + b"missing = nowhere_at_all\n", None, True),
        (GROUP + b"odd = not a reference\n", None, True),
        (GROUP + b"no equals sign\n", None, True),
        (b"[console_scripts]\nx = y:z\n", b"Name: caf\xe9\n\xff", False),
        (b"", b"", False),
    ],
)
def test_metadata_that_cannot_be_read(tmp_path, monkeypatch, entry_points, meta, named):
    """The real look-up, with a broken distribution beside a good plugin."""
    installed(tmp_path, "broken_thing", entry_points=entry_points, meta=meta)
    installed(tmp_path, "good_thing", entry_points=GROUP + b"good = good_thing_module:plugin\n")
    (tmp_path / "good_thing_module.py").write_text(
        "import arpes_ml_plugins\n"
        "def denoise_found(data, *, device='auto', rng=None, progress=False, dims=None):\n"
        "    'Do nothing.'\n"
        "class Plugin:\n"
        "    @arpes_ml_plugins.hookimpl\n"
        "    def register_methods(self, registry):\n"
        "        registry.add(denoise_found)\n"
        "plugin = Plugin()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    system = Plugins()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        system.load_entry_points()
    monkeypatch.delitem(sys.modules, "good_thing_module")
    told = [str(w.message) for w in caught if w.category is PluginWarning]
    assert "denoise_found" in system.methods
    assert len(told) == named
    if named:
        assert any(word in told[0] for word in ("broken-thing", "missing", "odd", "no equals"))


INTERRUPTED_IMPORT = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background ignore it
import numpy, pandas, pluggy, wrapt, xarray   # a half-imported numpy is beyond anybody's repair

HERE = os.path.join(sys.argv[1], "arpes_ml_plugins")

def interrupted_at(line):
    count = 0
    def local(frame, event, arg):
        nonlocal count
        count += event == "line"
        if count == line:
            sys.settrace(None)
            signal.raise_signal(signal.SIGINT)
        return local
    sys.settrace(lambda f, *_: local if f.f_code.co_filename.startswith(HERE) else None)
    try:
        import arpes_ml_plugins
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
    return count

def check():
    import arpes_ml_plugins
    import arpes_ml_plugins.labelled.files
    cut = xarray.DataArray(numpy.ones((4, 4)), dims=("phi", "eV"))
    assert len(arpes_ml_plugins.methods_available()) > 20
    assert hasattr(cut.S, "denoise") and hasattr(cut.arpes_ml, "denoise")
    assert callable(arpes_ml_plugins.denoise)
    assert arpes_ml_plugins.labelled.files.load is arpes_ml_plugins.load

def in_a_fork(work):
    child = os.fork()
    if not child:
        try:
            work()
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

def measure():
    os.write(pipe[1], str(interrupted_at(-1)).encode())

pipe = os.pipe()
in_a_fork(measure)
lines = int(os.read(pipe[0], 100))
assert lines > 1000
for part in (0.02, 0.6, 0.95):
    def work():
        assert interrupted_at(1 + int(part * (lines - 2))) is True
        check()
    in_a_fork(work)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the trials are forks of one process")
def test_an_interrupted_import_can_be_repeated():
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_IMPORT, ROOT],
        env=os.environ | {"PYTHONPATH": ROOT},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
