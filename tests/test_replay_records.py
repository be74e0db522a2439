"""Records from strangers: malformed or too much work is refused before anything runs."""

from __future__ import annotations

import copy
import time
import warnings

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given

import arpes_ml_plugins
from arpes_ml_plugins.errors import ArpesMLError, ParameterError, ReplayWarning
from arpes_ml_plugins.labelled.provenance import Provenance
from arpes_ml_plugins.plugins import replay as module
from arpes_ml_plugins.plugins import replay_cost
from arpes_ml_plugins.plugins.manager import plugins
from arpes_ml_plugins.plugins.record_check import WORK_LIMITS
from arpes_ml_plugins.testing.samples import sample_cut


@pytest.fixture(scope="module")
def original():
    return sample_cut().S.decompose_pcp()


@pytest.fixture
def result(original):
    """A result whose provenance a test may change."""
    changed = original.copy()
    changed.attrs["provenance"] = copy.deepcopy(original.attrs["provenance"])
    return changed


@pytest.fixture
def record(result):
    return result.attrs["provenance"]["record"]


@pytest.fixture
def calls(monkeypatch):
    """Calls of methods, none of which runs."""
    made = []
    monkeypatch.setattr(module, "call_method", lambda *given: made.append(given))
    return made


def with_method(record, method):
    defaults = {
        name: None if parameter.default is parameter.empty else parameter.default
        for name, parameter in method.signature.parameters.items()
        if name not in ("data", "progress")
    }
    record.update(by=method.name, parameters=defaults | {"rng": 2**62, "device": "cpu"})


@pytest.mark.parametrize("method", plugins().methods, ids=lambda method: method.name)
@pytest.mark.parametrize("number", [10**9, 10**400, 1e15], ids=["1e9", "1e400", "1e15"])
def test_endless_work_is_refused(result, record, cut, calls, method, number):
    """Whatever a number is called: one of a seed is any, one with a point sets no work."""
    with_method(record, method)
    before = dict(record["parameters"])
    for name, default in before.items():
        word = name.rsplit("_", 1)[-1]
        if word in ("rng", "seed") or (isinstance(number, float) and word not in WORK_LIMITS):
            continue
        for value in (number, [number], {"a": number}):
            record["parameters"] = before | {name: value}
            if name == "device":
                continue
            with pytest.raises(ParameterError, match="trusted=True"):
                arpes_ml_plugins.replay(result, cut)
        assert default is None or not calls
    record["parameters"] = before
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReplayWarning)
        arpes_ml_plugins.replay(result, cut)
    assert len(calls) == 1  # the defaults are no endless work


def test_trusted_records_may_ask_for_much(result, record, cut):
    record["parameters"]["iterations"] = 100_001
    with pytest.raises(ParameterError, match="'iterations' is 100001, more than 100,000"):
        arpes_ml_plugins.replay(result, cut)
    again = arpes_ml_plugins.replay(result, cut, trusted=True)
    assert again.attrs["provenance"]["record"]["parameters"]["iterations"] == 100_001
    with pytest.raises(ParameterError, match="trusted must be"):
        arpes_ml_plugins.replay(result, cut, trusted="yes")


def test_hours_and_memory_are_estimated(result, record, cut, monkeypatch, calls):
    with_method(record, plugins().methods["denoise_pcp_unet"])
    record["parameters"]["iterations"] = 90_000
    large = xr.concat([cut] * 2000, "scan")
    with pytest.raises(ParameterError, match="h on one core, more than 6 h"):
        arpes_ml_plugins.replay(result, large)
    with_method(record, plugins().methods["sample_posterior"])
    record["parameters"]["draws"] = 900
    monkeypatch.setattr(replay_cost, "_memory", lambda: 1e6)
    with pytest.raises(ParameterError, match="GiB of memory"):
        arpes_ml_plugins.replay(result, cut)
    assert not calls


def test_arrays_without_end(result, record, cut):
    record["parameters"]["sparsity"] = {
        "__array__": {"__kept__": "a"},
        "dtype": "float64",
        "shape": [11_000_000],
    }
    result.attrs["provenance"].arrays = {"a": np.broadcast_to(0.0, 11_000_000)}
    with pytest.raises(ParameterError, match="its arrays is 11000000"):
        arpes_ml_plugins.replay(result, cut)


def test_threads_are_those_of_the_machine(result, record, cut, monkeypatch):
    used, before = [], torch.get_num_threads()
    monkeypatch.setattr(torch, "set_num_threads", used.append)
    record["environment"]["threads"] = 1000
    with pytest.warns(ReplayWarning, match="1000 threads, this machine has"):
        arpes_ml_plugins.replay(result, cut)
    assert used[0] < 1000
    arpes_ml_plugins.replay(result, cut, trusted=True)
    assert used[2:] == [1000, before]
    record["environment"]["threads"] = 100_000
    for trusted in (False, True):
        with pytest.raises(ParameterError, match="threads must lie from 1 to 1024"):
            arpes_ml_plugins.replay(result, cut, trusted=trusted)


STRANGE = [None, True, -1, float("nan"), "x", [1], {1: 2}, object()]


@pytest.mark.parametrize("value", STRANGE, ids=lambda value: repr(value)[:12])
@pytest.mark.parametrize(
    "field",
    [
        *(["record"], ["record", "by"], ["record", "parameters"], ["record", "environment"]),
        *(["record", "environment", "versions"], ["record", "environment", "threads"]),
        *(["record", "parent_hash"], ["record", "parent_axes"], ["parent_id"]),
        ["record", "environment", "versions", "torch"],
        *(["record", "parameters", name] for name in ("sparsity", "solver", "dims", "rng")),
        *(["record", "parameters", name] for name in ("device", "iterations", "no such", 5)),
    ],
    ids=lambda field: str(field[-1]),
)
def test_a_field_of_another_type(result, cut, field, value):
    """Replayed if it means something, refused by an error of ours if not."""
    holder = result.attrs["provenance"]
    for key in field[:-1]:
        holder = holder[key]
    holder[field[-1]] = value
    replay_or_refuse(result, cut)


def replay_or_refuse(result, parent):
    threads = torch.get_num_threads()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            arpes_ml_plugins.replay(result, parent)
        except ArpesMLError as error:
            assert len(str(error)) > 20  # noqa: PT017
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    "form",
    [
        {"__array__": [1.0], "dtype": "S999999999", "shape": [1]},
        {"__array__": [1.0], "dtype": "O", "shape": [1]},
        {"__array__": [1.0], "dtype": "f8,O", "shape": [1]},
        {"__array__": [1.0], "dtype": "float64", "shape": [10**15]},
        {"__array__": [1.0], "dtype": ["float64"]},
        {"__array__": [1.0]},
        {"__array__": [1.0], "dtype": "float64", "shape": [1], "dims": 3},
        {"__array__": {"__kept__": "gone"}, "dtype": "float64", "shape": [1]},
        {"__kept__": []},
        {"networks": {"a": 3}},
    ],
)
def test_malformed_parameters(result, record, cut, form):
    record["parameters"]["sparsity"] = form
    with pytest.raises(ParameterError):
        arpes_ml_plugins.replay(result, cut)


def test_records_nested_without_end(result, record, cut):
    deep: list[object] = []
    deep.append(deep)
    record["parameters"]["sparsity"] = deep
    with pytest.raises(ParameterError, match="nested too deeply"):
        arpes_ml_plugins.replay(result, cut)


def test_ids_of_any_kind(cut):
    for value in (5, np.int64(5), "5", 5.5):
        data = cut.assign_attrs(id=value)
        again = arpes_ml_plugins.replay(data.S.decompose_pcp(), data)
        assert again.low_rank.shape == cut.shape


plain = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6), st.binary()),
    st.sampled_from(
        ["decompose_pcp", "alm", "cpu", "cuda", "cuda:99", "auto", ("eV", "phi"), 10**9]
    ),
)
anything = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["__array__", "dtype", "shape", "dims", "__kept__", "a"]), inner
        ),
    ),
    max_leaves=5,
)


def places(holder, path=()):
    """Every place in nested dicts that holds something."""
    for key, value in holder.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from places(value, (*path, key))


@pytest.mark.fuzz
@given(data=st.data())
def test_hostile_records(original, data):
    """Some fields replaced, added or taken away, in memory; nothing runs for more than a moment."""
    provenance = Provenance(copy.deepcopy(dict(original.attrs["provenance"])))
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(list(places(provenance))))
        holder = provenance
        for key in path[:-1]:
            holder = holder[key]
        if data.draw(st.booleans()):
            holder[path[-1]] = data.draw(anything)
        elif data.draw(st.booleans()):
            del holder[path[-1]]
        else:
            holder[data.draw(st.text(max_size=5))] = data.draw(anything)
    result = original.assign_attrs(provenance=provenance)
    start = time.process_time()
    replay_or_refuse(result, sample_cut())
    assert time.process_time() - start < 20
