"""Hooks, registry and third-party plugins: good, late, broken, duplicate, misspelt, disabled."""

from __future__ import annotations

import inspect
from importlib import metadata
from pathlib import Path

import pytest
import xarray as xr

import arpes_ml_plugins
from arpes_ml_plugins import hookimpl
from arpes_ml_plugins.errors import ParameterError, PluginWarning, RegistrationError
from arpes_ml_plugins.networks.stored import stored_weights
from arpes_ml_plugins.plugins.hookspecs import HookSpecs
from arpes_ml_plugins.plugins.manager import DISABLE_VARIABLE, Plugins, plugins
from arpes_ml_plugins.plugins.registry import LibraryRegistry, MethodRegistry


def denoise_double(data, *, device="auto", rng=None, progress=False, dims=None):
    """Double the intensity."""
    return data * 2.0


class Doubling:
    @hookimpl
    def register_methods(self, registry):
        registry.add(denoise_double, roles=("energy",))


@pytest.fixture
def registered():
    """Register plugins for one test, and take them out again."""
    names = []

    def register(plugin, name=None):
        names.append(arpes_ml_plugins.register(plugin, name))
        return names[-1]

    yield register
    for name in names:
        arpes_ml_plugins.unregister(name)


class Entry:
    """Stands in for an installed entry point."""

    value = "somewhere:plugin"

    def __init__(self, name, load):
        self.name, self.load = name, load


@pytest.fixture
def installed(monkeypatch):
    """A fresh plugin system that finds the given entry points."""

    def system(*entries):
        monkeypatch.setattr(metadata, "entry_points", lambda group: list(entries))
        fresh = Plugins()
        fresh.load_entry_points()
        return fresh

    return system


class TestHooks:
    def test_register_methods_is_historic(self, cut, registered):
        assert not hasattr(cut.S, "denoise_double")
        registered(Doubling())
        result = cut.S.denoise_double()
        assert (result.values == 2 * cut.values).all()
        assert result.attrs["provenance"]["record"]["plugin"] == "Doubling"
        assert arpes_ml_plugins.denoise_double(cut).identical(result) is False  # a new id
        assert "denoise_double" in arpes_ml_plugins.methods_available()

    def test_unregistering_removes_the_method(self, cut):
        name = arpes_ml_plugins.register(Doubling())
        arpes_ml_plugins.unregister(name)
        assert not hasattr(cut.S, "denoise_double")
        assert not hasattr(arpes_ml_plugins, "denoise_double")

    def test_register_libraries(self, registered):
        loads = []

        class Library:
            @hookimpl
            def register_libraries(self, registry):
                registry.add("gold", lambda: loads.append(1) or "spectra")

        registered(Library())
        libraries = plugins().libraries
        assert not loads
        assert libraries["gold"] == libraries["gold"] == "spectra"
        assert loads == [1]
        assert "gold" in list(libraries)
        with pytest.raises(ParameterError, match="silver.*gold"):
            arpes_ml_plugins.library("silver")

    def test_weights_can_be_changed_without_harm(self):
        name = "refine.leave.weight"
        arpes_ml_plugins.library("denoiser")[name].zero_()
        assert stored_weights("denoiser")[name].any()

    def test_resolve_axis(self, cut, registered):
        class Laboratory:
            @hookimpl
            def resolve_axis(self, data, role):
                return {"energy": "E_korr"}.get(role)

        named = cut.rename(eV="E_korr")
        with pytest.raises(ValueError, match="resolve_axis"):
            named.assign_coords(x=0).expand_dims("b").S.decompose_pcp()
        registered(Laboratory())
        assert named.expand_dims("b").S.decompose_pcp().low_rank.dims == ("b", "phi", "E_korr")
        figure = arpes_ml_plugins.plotting.compare(named.rename(phi="det"), named.rename(phi="det"))
        assert "E_korr" in {axes.get_ylabel() for axes in figure.axes}

    def test_select_device(self, cut, registered):
        seen = []

        class Scheduler:
            @hookimpl
            def select_device(self, call):
                seen.append((call.name, call.data.shape, call.parameters["sparsity"]))
                return "cpu"

        registered(Scheduler())
        result = cut.S.decompose_pcp(sparsity=0.5)
        assert seen == [("decompose_pcp", cut.shape, 0.5)]
        assert result.attrs["provenance"]["record"]["parameters"]["device"] == "cpu"
        cut.S.decompose_pcp(device="cpu")
        assert len(seen) == 1

    def test_run_method_wrapper(self, cut, registered):
        calls = []

        class Timer:
            @hookimpl(wrapper=True)
            def run_method(self, call):
                calls.append((call.name, call.parameters["rng"], call.parameters["dims"]))
                return (yield)

        registered(Timer())
        cut.S.decompose_pcp(rng=3)
        assert calls == [("decompose_pcp", 3, ("eV", "phi"))]

    def test_run_method_can_answer_and_veto(self, cut, registered):
        class Veto:
            @hookimpl
            def run_method(self, call):
                raise PermissionError("not on this machine")

        registered(Veto())
        with pytest.raises(PermissionError):
            cut.S.decompose_pcp()

    def test_parameters_cannot_be_changed_by_a_hook(self, cut, registered):
        class Meddler:
            @hookimpl(tryfirst=True)
            def run_method(self, call):
                call.parameters["rng"] = 0

        registered(Meddler())
        with pytest.raises(TypeError):
            cut.S.decompose_pcp()

    def test_every_hook_is_tested_here(self):
        hooks = [name for name in vars(HookSpecs) if not name.startswith("_")]
        assert len(hooks) == 5
        for hook in hooks:
            assert f"test_{hook}" in " ".join(dir(type(self)))

    def test_every_hook_is_documented(self):
        page = (Path(__file__).parents[1] / "docs" / "plugins.md").read_text()
        for name, hook in vars(HookSpecs).items():
            if not name.startswith("_"):
                assert inspect.getdoc(hook)
                arguments = list(inspect.signature(hook).parameters)[1:]
                assert f"`{name}({', '.join(arguments)})`" in page


def bad(**changes):
    """A function that the registry refuses, by what is wrong with it."""
    namespace = {}
    source = changes.get(
        "source", "def denoise_x(data, *, device, rng, progress, dims):\n    'Doc.'"
    )
    exec(source, namespace)
    return namespace["denoise_x"]


class TestRegistry:
    @pytest.mark.parametrize(
        ("source", "words"),
        [
            ("def denoise_x(data, *, device, rng, progress, dims): pass", "no docstring"),
            ("def denoise_x(image, *, device, rng, progress, dims):\n 'D.'", "must be 'data'"),
            ("def denoise_x(data, size, *, device, rng, progress, dims):\n 'D.'", "'size'.*'\\*'"),
            ("def denoise_x(data, *a, device, rng, progress, dims):\n 'D.'", r"'\*a'"),
            ("def denoise_x(data, *, device, rng, progress):\n 'D.'", "lacks dims"),
            ("def denoise_x():\n 'D.'", "must be 'data', not none"),
            ("denoise_x = lambda data: 0", "lower_case"),
        ],
    )
    def test_refuses_by_name(self, source, words):
        registry = MethodRegistry()
        registry.owned_by("theirs")
        with pytest.raises(RegistrationError, match=words) as caught:
            registry.add(bad(source=source))
        assert "theirs" in str(caught.value)

    def test_refuses_unknown_roles(self):
        with pytest.raises(RegistrationError, match="spin"):
            MethodRegistry().add(denoise_double, roles=("spin",))

    def test_duplicate_names_both_owners(self):
        registry = MethodRegistry()
        registry.owned_by("first")
        registry.add(denoise_double)
        registry.owned_by("second")
        with pytest.raises(RegistrationError, match=r"'second'.*'first'"):
            registry.add(denoise_double)

    def test_duplicate_library_names_both_owners(self):
        registry = LibraryRegistry()
        registry.owned_by("first")
        registry.add("gold", dict)
        registry.owned_by("second")
        with pytest.raises(RegistrationError, match=r"'second'.*'first'"):
            registry.add("gold", dict)
        with pytest.raises(RegistrationError, match="expected a function"):
            registry.add("silver", 3)

    def test_wrong_return_type_is_refused(self, cut, registered):
        def separate_wrong(data, *, device="auto", rng=None, progress=False, dims=None):
            """Return an array where a Dataset is due."""
            return data

        class Wrong:
            @hookimpl
            def register_methods(self, registry):
                registry.add(separate_wrong)

        registered(Wrong())
        with pytest.raises(TypeError, match="expected Dataset"):
            cut.S.separate_wrong()


class TestEntryPoints:
    def test_good(self, installed):
        system = installed(Entry("doubling", Doubling))
        assert "denoise_double" in system.methods
        assert system.methods["denoise_double"].owner == "doubling"

    def test_broken_import(self, installed):
        def explode():
            raise ImportError("no module named cupy")

        with pytest.warns(PluginWarning, match=r"'broken'.*cupy"):
            system = installed(Entry("broken", explode), Entry("doubling", Doubling))
        assert "denoise_double" in system.methods

    def test_exit_at_import(self, installed):
        def leave():
            raise SystemExit("licence expired")

        with pytest.warns(PluginWarning, match="licence expired"):
            installed(Entry("leaving", leave))

    def test_broken_registration_leaves_nothing(self, installed):
        class Half:
            @hookimpl
            def register_methods(self, registry):
                registry.add(denoise_double)
                raise KeyError("half way")

        with pytest.warns(PluginWarning, match="'half'.*half way"):
            system = installed(Entry("half", Half))
        assert "denoise_double" not in system.methods
        assert "half" not in system.names()

    def test_duplicate(self, installed):
        with pytest.warns(PluginWarning, match=r"'second'.*'first'"):
            system = installed(Entry("first", Doubling), Entry("second", Doubling))
        assert system.methods["denoise_double"].owner == "first"

    def test_misspelt_hook(self, installed):
        class Misspelt:
            @hookimpl
            def register_method(self, registry):
                raise AssertionError("never called")

        with pytest.warns(PluginWarning, match="did you mean 'register_methods'"):
            installed(Entry("misspelt", Misspelt))

    def test_misspelt_argument(self, installed):
        class Misspelt:
            @hookimpl
            def resolve_axis(self, dataset, role):
                return None

        with pytest.warns(PluginWarning, match="dataset"):
            installed(Entry("misspelt", Misspelt))

    @pytest.mark.parametrize("value", ["doubling", " doubling , other", "all"])
    def test_disabled(self, installed, monkeypatch, value):
        monkeypatch.setenv(DISABLE_VARIABLE, value)
        assert len(installed(Entry("doubling", Doubling)).methods) == 0

    def test_registering_twice_is_refused(self, installed):
        system = installed(Entry("doubling", Doubling))
        with pytest.raises(RegistrationError, match="already registered"):
            system.register(Doubling(), "doubling")
        assert "denoise_double" in system.methods


def test_useless_plugins_are_refused():
    for plugin, words in (
        (Doubling, "an instance of it, Doubling"),
        (object(), "implements no hook"),
        ("median", "implements no hook"),
    ):
        with pytest.raises(RegistrationError, match=words):
            arpes_ml_plugins.register(plugin)


def test_one_plugin_under_two_names(registered):
    plugin = Doubling()
    registered(plugin, "first")
    with pytest.raises(RegistrationError):
        arpes_ml_plugins.register(plugin, "second")
    assert "denoise_double" in arpes_ml_plugins.methods_available()


def test_missing_values_are_refused_for_methods_that_cannot(cut, registered):
    class Fragile:
        @hookimpl
        def register_methods(self, registry):
            registry.add(denoise_double, roles=("energy",), accepts_nan=False)

    registered(Fragile())
    holed = cut.astype(float).where(cut > 0)
    with pytest.raises(ValueError, match="are NaN, which this method does not handle"):
        holed.S.denoise_double()


def test_a_result_of_another_shape_is_refused(cut, registered):
    class Cutter:
        @hookimpl
        def run_method(self, call):
            return call.data.isel(eV=slice(3)).astype(float)

    registered(Cutter())
    with pytest.raises(ValueError, match="returned the shape"):
        cut.S.denoise_pcp_unet(iterations=1)


def test_unknown_method_lists_the_known():
    with pytest.raises(ParameterError, match="decompose_pcp"):
        plugins().methods["denoise_nothing"]


def test_hook_sees_a_data_array_also_for_a_dataset(cut, registered):
    seen = []

    class Spy:
        @hookimpl
        def run_method(self, call):
            seen.append(type(call.data))

    registered(Spy())
    cut.to_dataset().S.decompose_pcp()
    assert seen == [xr.DataArray]
