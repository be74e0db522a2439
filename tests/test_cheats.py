"""Each check of the conformance suite catches a method, or a call, that breaks its promise."""

from __future__ import annotations

import inspect
import itertools
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import arpes_ml_plugins
from arpes_ml_plugins.labelled.apply import Image, map_images
from arpes_ml_plugins.labelled.outputs import result_dtype
from arpes_ml_plugins.labelled.progress import reporter
from arpes_ml_plugins.labelled.units import strip_unit
from arpes_ml_plugins.testing import ConformanceSuite

DOCUMENTATION = """Double the intensity.

Parameters
----------
data : xarray.DataArray
    Anything.
device, progress, dims
    As usual.
{seed}
Returns
-------
xarray.DataArray
    Twice as much; rng does not matter.

Examples
--------
>>> data.S.denoise_cheat()
"""
SEED = "rng : int\n    Not used.\n"


def double(data: xr.DataArray) -> xr.DataArray:
    """What an honest method does."""
    return 2 * data.astype(result_dtype(data.dtype))


@dataclass(frozen=True)
class Cheat:
    """A method that does ``work``, and is called with parts of the call replaced."""

    work: Callable[[xr.DataArray], Any] = double
    replaced: dict[str, Any] = field(default_factory=dict)
    """Dotted names under arpes_ml_plugins."""
    returns: str = "denoise"
    silent: bool = False
    documentation: str = DOCUMENTATION.format(seed=SEED)

    def method(self) -> Callable[..., Any]:
        def cheat(data, *, device="auto", rng=None, progress=False, dims=None):
            if not self.silent:
                with reporter(progress, "cheat", 1) as report:
                    if report:
                        report(1, None)
            return self.work(data)

        cheat.__name__ = f"{self.returns}_cheat"
        cheat.__doc__ = self.documentation
        return cheat


@pytest.fixture
def suite(monkeypatch):
    """The suite for a cheat."""
    owners = []

    def make(cheat):
        monkeypatch.undo()
        method = cheat.method()

        class Plugin:
            @arpes_ml_plugins.hookimpl
            def register_methods(self, registry):
                registry.add(method, roles=("energy", "momentum"))

        while owners:
            arpes_ml_plugins.unregister(owners.pop())
        owners.append(arpes_ml_plugins.register(Plugin(), "cheats"))
        new = type("Suite", (ConformanceSuite,), {"method": method.__name__})()
        new.run(new.sample(batch=2))  # it works, but for the promise
        for name, value in cheat.replaced.items():
            monkeypatch.setattr(*place(f"arpes_ml_plugins.{name}"), value)
        return new

    yield make
    monkeypatch.undo()
    for owner in owners:
        arpes_ml_plugins.unregister(owner)


def place(name):
    """The module or class that holds what is called so, and its name there."""
    owner, _, attribute = name.rpartition(".")
    return (sys.modules[owner] if owner in sys.modules else getattr(*place(owner))), attribute


def without_coordinates(data):
    return xr.DataArray(double(data).values, dims=data.dims)


def without_batch(data):
    return xr.Dataset({"clean": double(data), "total": double(data).sum()})


def energy_first(data):
    return double(data).transpose("eV", ...)


def by_name(name):
    return lambda data: double(data) * (1 + (name in data.dims))


numbers = itertools.count()


def never_the_same(data):
    return double(data) + next(numbers)


def in_place(data):
    result = double(data)
    if data.chunks is None and data.values.flags.writeable:
        data.values[...] = 0
    return result


def shared_attributes(data):
    data.attrs["seen"] = True
    return double(data)


def reseeding(data):
    torch.manual_seed(0)
    return double(data)


def drawing(data):
    return double(data) + 0 * float(torch.rand(()))


def drawing_from_numpy(data):
    return double(data) + 0 * np.random.random()  # noqa: NPY002


def by_default_dtype(data):
    return double(data) * torch.get_default_dtype().itemsize


def by_memory(data):
    if data.chunks is not None:
        return double(data)
    flags = data.values.flags
    return double(data) * (1 + flags.c_contiguous + flags.writeable + data.dtype.isnative)


def by_what_others_left_behind(data):
    """State that blocks share: alone they find their own, side by side that of others."""
    shared = {}

    def algorithm(batch):
        shared["seed"] = batch.seeds[0]
        time.sleep(0.005)
        return {"clean": batch.images + shared["seed"] % 1000}

    options = {"method": "cheat", "device": "cpu"}
    return map_images(data, ("eV", "phi"), algorithm, {"clean": Image()}, **options)["clean"]


def seeded_for_everybody(data):
    """Right results, but other threads' random numbers change meanwhile."""

    def algorithm(batch):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(batch.seeds[0])
            return {"clean": batch.images}

    options = {"method": "cheat", "device": "cpu"}
    return map_images(data, ("eV", "phi"), algorithm, {"clean": Image()}, **options)["clean"]


def half_precision(data):
    return double(data).astype(np.float16)


def without_gaps(data):
    return double(data).fillna(0)


def centred(data):
    return double(data) - double(data).mean()


def eager(data):
    return double(data.compute())


def with_attribute(value):
    return lambda data: double(data).assign_attrs(extra=value)


def nothing(*args, **kwargs):
    """Instead of a check."""


def any_array(data, example=()):
    """Instead of the selection of the spectrum."""
    if isinstance(data, xr.DataArray):
        return data, None
    return xr.DataArray(np.ones((20, 18)), dims=("eV", "phi")), None


def keep_known(method, given):
    names = [name for name in method.signature.parameters if name != "data"]
    return {name: given.get(name, False if name == "progress" else None) for name in names}


UNCHECKED = {
    "plugins.call.select_spectrum": any_array,
    "plugins.call.check_array": nothing,
    "plugins.call.check_values": nothing,
    "plugins.call.resolved_dims": lambda data, roles, dims: ("eV", "phi"),
}

CHEATS = {
    "test_keeps_labels": [Cheat(without_coordinates)],
    "test_every_output_has_the_batch": [Cheat(without_batch, returns="decompose")],
    "test_dimension_order_is_kept": [Cheat(energy_first)],
    "test_dims_by_hand": [Cheat(by_name("eV"))],
    "test_two_momenta_are_an_image": [Cheat(by_name("kx"))],
    "test_dataset_in": [Cheat(never_the_same)],
    "test_input_is_unchanged": [Cheat(in_place), Cheat(shared_attributes)],
    "test_process_state_is_left_alone": [
        Cheat(reseeding),
        Cheat(drawing),
        Cheat(drawing_from_numpy),
        Cheat(seeded_for_everybody),
    ],
    "test_torchs_default_dtype_does_not_matter": [Cheat(by_default_dtype)],
    "test_memory_layouts": [Cheat(by_memory)],
    "test_dtypes": [Cheat(half_precision)],
    "test_nan_stays_where_it_was": [Cheat(without_gaps)],
    "test_empty_slices_do_not_disturb": [Cheat(centred)],
    "test_units_survive": [
        Cheat(replaced={"plugins.call.strip_unit": lambda a: (strip_unit(a)[0], lambda r: r)})
    ],
    "test_lazy_input_stays_lazy_and_agrees": [Cheat(eager), Cheat(never_the_same)],
    "test_threads_change_nothing": [
        Cheat(by_what_others_left_behind),
        Cheat(seeded_for_everybody),
    ],
    "test_slices_do_not_depend_on_company": [Cheat(centred)],
    "test_same_seed_same_result": [Cheat(never_the_same)],
    "test_generator_as_seed": [Cheat(never_the_same)],
    "test_provenance": [Cheat(replaced={"plugins.call.stamp": nothing})],
    "test_replay": [Cheat(never_the_same)],
    "test_netcdf_round_trip": [Cheat(with_attribute(print))],
    "test_plain_to_netcdf": [Cheat(with_attribute(print))],
    "test_pickle": [Cheat(with_attribute(lambda: None))],
    "test_progress_is_told": [Cheat(silent=True)],
    "test_bad_data": [Cheat(lambda data: double(data.astype(float)), replaced=UNCHECKED)],
    "test_plain_arrays_are_told_axes_that_would_do": [
        Cheat(replaced=UNCHECKED),
        Cheat(replaced={"plugins.registry.Method.example_dims": ("tau",)}),
    ],
    "test_single_number": [Cheat(replaced={"plugins.call.check_values": nothing})],
    "test_missing_axis": [Cheat(replaced=UNCHECKED)],
    "test_flags_are_true_or_false": [
        Cheat(silent=True, replaced={"plugins.call._check_flags": nothing})
    ],
    "test_unknown_device": [Cheat(replaced={"plugins.call._device": lambda *args: "cpu"})],
    "test_unknown_parameter": [Cheat(replaced={"plugins.call._bind": keep_known})],
    "test_bad_seed": [Cheat(replaced={"plugins.call.seed_from": lambda rng: 0})],
    "test_signature_and_docstring": [
        Cheat(documentation=DOCUMENTATION.format(seed="")),
        Cheat(documentation=DOCUMENTATION.format(seed=SEED + "strength : float\n    Unknown.\n")),
        Cheat(documentation=DOCUMENTATION.format(seed=SEED).replace("Returns", "Remarks")),
    ],
    "test_on_the_accessors": [
        Cheat(replaced={"accessor.MethodsAccessor.denoise_cheat": lambda self: None})
    ],
}


def checks():
    """Name and arguments of every check, one for each set of parameters."""
    for name, function in inspect.getmembers(ConformanceSuite, inspect.isfunction):
        if name.startswith("test_"):
            marks = [m for m in getattr(function, "pytestmark", []) if m.name == "parametrize"]
            for values in marks[0].args[1] if marks else [()]:
                yield name, values if isinstance(values, tuple) else (values,)


def failure(suite, check, arguments, tmp_path):
    """How the check fails, or None; a check that is skipped proves nothing."""
    function = getattr(suite, check)
    if "tmp_path" in inspect.signature(function).parameters:
        arguments = (*arguments, tmp_path)
    try:
        function(*arguments)
    except (Exception, pytest.fail.Exception) as error:
        return error
    return None


@pytest.mark.parametrize(("check", "arguments"), list(checks()))
def test_an_honest_method_passes(suite, tmp_path, check, arguments):
    assert failure(suite(Cheat()), check, arguments, tmp_path) is None


@pytest.mark.parametrize(("check", "arguments"), list(checks()))
def test_every_cheat_is_caught(suite, tmp_path, check, arguments):
    for cheat in CHEATS[check]:
        assert failure(suite(cheat), check, arguments, tmp_path) is not None, cheat


def test_the_table_names_checks_that_exist():
    assert set(CHEATS) == {name for name, _ in checks()}
