"""Networks behind ``continue_*``: trained, kept, and the same whatever the scheduler."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch
import xarray as xr
from greens import BETA, OMEGA, SPECTRA, green, missed

import arpes_ml_plugins
from arpes_ml_plugins.errors import (
    DistributionWarning,
    ParameterError,
)
from arpes_ml_plugins.networks import cache
from arpes_ml_plugins.networks import rlista as stored
from arpes_ml_plugins.simulation.spectra import centres

OPTIONS = {"beta": BETA, "omega": OMEGA, "stderr": 1e-4}


@pytest.mark.parametrize(
    ("recipe", "norm"),
    [("trained", 1.0), ("trained", 1.5), ("published", 1.0), ("published", 1.08)],
)
def test_networks_of_ones_own(recipe, norm, own_cache, quick_training):
    """The network alone, after a short training, is better than a flat spectrum."""
    before = set(own_cache.iterdir())
    g = norm * green(SPECTRA["metal"])
    result = g.S.continue_rlista(
        recipe=recipe, layers=4, refine=False, norm="any", **{**OPTIONS, "stderr": norm * 1e-4}
    )
    flat = 1.0 / 6.0
    a = result.spectral_function / norm
    truth = SPECTRA["metal"](OMEGA)
    assert np.abs(a - truth).integrate("omega") < 0.8 * np.abs(flat - truth).mean() * 6
    if recipe == "trained":
        assert float(a.integrate("omega")) == pytest.approx(1, abs=2e-3)
    (file,) = set(own_cache.iterdir()) - before
    assert file.name.startswith("rlista-")


def test_training_for_data_outside_the_range(quick_training):
    g = green(SPECTRA["metal"], tau=np.linspace(0, BETA, 15))
    options = {**OPTIONS, "training_seed": 1}
    with pytest.warns(DistributionWarning, match="outside the training range of the network"):
        fallen = g.S.continue_rlista(**options)
    with pytest.warns(DistributionWarning, match="a network was trained"):
        trained = g.S.continue_rlista(outside="train", training_steps=200, **options)
    assert missed(trained, SPECTRA["metal"]) < 1.5 * missed(fallen, SPECTRA["metal"])


def test_train_rlista_fills_the_cache(own_cache, quick_training):
    """What it trains is what ``recipe="trained"`` uses, and nothing is trained twice."""
    g = green(SPECTRA["metal"])
    told = []
    options = {"training_steps": 100, "layers": 3}
    network = arpes_ml_plugins.train_rlista(
        g.tau.values, beta=BETA, stderr=1e-4, window=3.0, steps=100, layers=3, progress=told.append
    )
    assert told[-1].done == told[-1].total == 100
    files = set(own_cache.iterdir())
    bare = g.S.continue_rlista(
        beta=BETA,
        stderr=1e-4,
        omega=centres().numpy() * 3,
        recipe="trained",
        refine=False,
        **options,
    )
    assert set(own_cache.iterdir()) == files
    with torch.inference_mode():
        direct = network(torch.from_numpy(g.values)[None])[0]
    # The method measures the norm, which is 1 up to the noise.
    np.testing.assert_allclose(bare.spectral_function * 6 / 49, direct, atol=1e-4)
    for wrong in ({"beta": 0.0}, {"stderr": -1.0}, {"prior": "flat"}, {"recipe": "best"}):
        with pytest.raises(ParameterError):
            arpes_ml_plugins.train_rlista(
                g.tau.values, **{"beta": BETA, "stderr": 1e-4, "window": 3.0, **wrong}
            )


def test_double_precision_by_default_changes_nothing(quick_training, monkeypatch):
    g = green(SPECTRA["gap"])

    def everything():
        stored.continuation_network.cache_clear()
        network = arpes_ml_plugins.train_rlista(
            g.tau.values, beta=BETA, stderr=1e-4, window=3.0, steps=20, layers=2
        )
        return network.entry, g.S.continue_rlista(
            omega=np.linspace(-2.7, 2.7, 51),
            **{name: value for name, value in OPTIONS.items() if name != "omega"},
        )

    monkeypatch.setattr(cache, "cache_folder", lambda: None)
    expected = everything()
    torch.set_default_dtype(torch.float64)
    try:
        entry, result = everything()
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(entry, expected[0])
    for name in ("spectral_function", "lower", "upper", "chi2"):
        xr.testing.assert_equal(result[name], expected[1][name])


def many(count):
    return xr.concat([green(SPECTRA["gap"], seed=seed) for seed in range(count)], "k")


METHOD_OPTIONS = [
    ("continue_rlista", {}),
    ("continue_rlista", {"recipe": "trained", "layers": 2, "training_steps": 5}),
    ("continue_lista", {"layers": 2, "training_steps": 5}),
    ("continue_maxent", {}),
    ("continue_ista", {}),
]


@pytest.mark.parametrize(("method", "options"), METHOD_OPTIONS)
def test_threads_change_nothing(method, options, quick_training, monkeypatch):
    """Four threads, chunks of one slice, twice, each time with networks made anew."""
    g = many(4)
    run = getattr(arpes_ml_plugins, method)
    eager = run(g, **OPTIONS, **options)
    monkeypatch.setattr(cache, "cache_folder", lambda: None)
    before = torch.get_rng_state(), torch.get_default_dtype(), torch.get_num_threads()
    for _ in range(2):
        stored.continuation_network.cache_clear()
        lazy = run(g.chunk(k=1), **OPTIONS, **options)
        result = lazy.compute(scheduler="threads", num_workers=4)
        assert (result.status == eager.status).all()
        for name in ("spectral_function", "lower", "upper", "back_transform", "chi2"):
            scale = float(np.abs(eager[name]).max())
            xr.testing.assert_allclose(result[name], eager[name], rtol=0, atol=2e-5 * scale)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (torch.get_default_dtype(), torch.get_num_threads()) == before[1:]


@pytest.mark.parametrize(("method", "options"), METHOD_OPTIONS)
def test_nothing_global_is_touched(method, options, quick_training, monkeypatch):
    """Not even for a moment, which other threads could see."""

    def refused(*_, **__):
        raise AssertionError("the state of the process is set")

    importlib.import_module("torch._dynamo")  # which optimizers load, and which lists functions
    stored.continuation_network.cache_clear()
    monkeypatch.setattr(cache, "cache_folder", lambda: None)
    for name in ("manual_seed", "seed", "set_rng_state", "set_default_dtype", "set_num_threads"):
        monkeypatch.setattr(torch, name, refused)
    monkeypatch.setattr(torch.random, "fork_rng", refused)
    state = torch.get_rng_state()
    getattr(arpes_ml_plugins, method)(many(2), **OPTIONS, **options)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path / "file" / "networks")
    with pytest.warns(UserWarning, match="could not be kept"):
        arpes_ml_plugins.train_rlista(
            np.linspace(0, BETA, 20), beta=BETA, stderr=1e-3, window=3.0, steps=2, layers=1
        )
