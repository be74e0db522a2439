"""Warnings point at the user's line, and tracebacks of our errors are short."""

from __future__ import annotations

import linecache
import logging
import traceback
import warnings

import numpy as np
import pytest
import torch
import xarray as xr

import arpes_ml_plugins
from arpes_ml_plugins.accessor import MethodsAccessor
from arpes_ml_plugins.errors import DataError, PluginWarning
from arpes_ml_plugins.labelled.apply import Image, map_images
from arpes_ml_plugins.labelled.progress import reporter
from arpes_ml_plugins.testing.samples import sample_cut

ACCELERATOR = "cpu:0"  # a name under which the CPU passes for an accelerator


def warned_lines(call):
    """Source lines that all warnings of ``call`` point at; all of them in this file."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    assert caught
    assert {warning.filename for warning in caught} == {__file__}
    return [linecache.getline(w.filename, w.lineno) for w in caught]


def counts():
    values = np.random.default_rng(0).poisson(9.0, (48, 48))
    return xr.DataArray(values, dims=("phi", "eV"), attrs={"id": "one"})


def green():
    tau, omega = np.linspace(0, 20, 30), np.linspace(-3, 3, 61)
    kernel = np.exp(-tau[:, None] * omega) / (1 + np.exp(-20 * omega))
    return xr.DataArray(kernel @ np.exp(-8 * omega**2) / 6, {"tau": tau}, "tau")


def continue_with_a_wrong_beta():
    green().S.continue_maxent(beta=25, stderr=1e-2, omega=np.linspace(-3, 3, 41))


def separate_without_components():
    noise = np.random.default_rng(0).normal(0, 1, (8, 8, 20)) ** 3
    image = xr.DataArray(noise, dims=("y", "x", "eV"))
    image.S.separate_palm(n_components=1)


def replay_of_another_parent():
    result = counts().S.decompose_pcp()
    arpes_ml_plugins.replay(result, counts() + 1)


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: counts().arpes_ml.decompose_pcp(iterations=2), "decompose_pcp(iterations=2)"),
        (lambda: arpes_ml_plugins.decompose_pcp(counts(), iterations=2), "(counts(), iterations"),
        (lambda: counts().pipe(arpes_ml_plugins.decompose_pcp, iterations=2), "counts().pipe"),
        (lambda: counts().S.denoise_pretrained(adapt=False, gain=3, rng=0), "gain=3"),
        (continue_with_a_wrong_beta, "continue_maxent"),
        (separate_without_components, "separate_palm"),
        (replay_of_another_parent, "replay("),
    ],
    ids=["accessor", "function", "pipe", "denoising", "continuation", "separation", "replay"],
)
def test_a_warning_points_at_the_line_of_the_user(call, line):
    assert all(line in text for text in warned_lines(call))


@pytest.mark.parametrize("scheduler", ["threads", "synchronous"])
def test_a_warning_from_within_dask_points_at_the_line_that_waits(scheduler):
    pytest.importorskip("dask")

    tries = []

    def algorithm(batch):
        tries.append(batch)
        if len(tries) == 1:
            raise torch.OutOfMemoryError("too much")
        return {"clean": batch.images}

    lazy = map_images(
        sample_cut().chunk(),
        ("eV", "phi"),
        algorithm,
        {"clean": Image()},
        method="test",
        device=ACCELERATOR,
        batch_size=1,
    )["clean"]
    lines = warned_lines(lambda: lazy.compute(scheduler=scheduler))
    assert all("lazy.compute" in text for text in lines)


def test_a_warning_about_a_plugin_points_at_the_line_that_registers_it(monkeypatch):
    class Clash:
        @arpes_ml_plugins.hookimpl
        def register_methods(self, registry):
            def decompose_twice(data, *, device="auto", rng=None, progress=False, dims=None):
                """Do nothing."""

            registry.add(decompose_twice)

    monkeypatch.setattr(MethodsAccessor, "decompose_twice", "taken", raising=False)
    try:
        with pytest.warns(PluginWarning) as caught:
            arpes_ml_plugins.register(Clash(), "clash")
        lines = {linecache.getline(w.filename, w.lineno).strip() for w in caught}
    finally:
        arpes_ml_plugins.unregister("clash")
    # The plugin's own line is the innermost one outside this package.
    assert lines == {"registry.add(decompose_twice)"}


def frames_of(error):
    return [frame.name for frame in traceback.extract_tb(error.value.__traceback__)]


def test_the_traceback_of_an_error_is_short_and_keeps_its_cause(cut):
    with pytest.raises(ValueError, match="iterations must be") as error:
        cut.S.denoise_pcp_unet(iterations=-1)
    name, *ours = frames_of(error)
    assert name == "test_the_traceback_of_an_error_is_short_and_keeps_its_cause"
    assert ours == ["call", "call"]


def test_debugging_shows_all_frames(cut, caplog):
    with (
        caplog.at_level(logging.DEBUG, "arpes_ml_plugins"),
        pytest.raises(ValueError, match="iterations must be") as error,
    ):
        cut.S.denoise_pcp_unet(iterations=-1)
    assert frames_of(error)[-1] == "check_count"


def test_frames_of_a_plugin_and_causes_stay(cut):
    class Broken:
        @arpes_ml_plugins.hookimpl
        def run_method(self, call):
            try:
                raise KeyError("inner")
            except KeyError as error:
                raise DataError("outer") from error

    arpes_ml_plugins.register(Broken(), "broken")
    try:
        with pytest.raises(DataError, match="outer") as error:
            cut.S.decompose_pcp()
    finally:
        arpes_ml_plugins.unregister("broken")
    assert frames_of(error)[-1] == "run_method"
    assert isinstance(error.value.__cause__, KeyError)


def test_errors_that_nobody_foresaw_keep_every_frame(cut):
    class Broken:
        @arpes_ml_plugins.hookimpl
        def run_method(self, call):
            return 1 / 0

    arpes_ml_plugins.register(Broken(), "broken")
    try:
        with pytest.raises(ZeroDivisionError) as error:
            cut.S.decompose_pcp()
    finally:
        arpes_ml_plugins.unregister("broken")
    assert {"call_method", "run_method"} <= set(frames_of(error))


def test_one_step_has_no_bar(capsys):
    with reporter(True, "one step", 1) as report:
        assert report is None
    assert capsys.readouterr().err == ""
    with reporter(True, "two steps", 2) as report:
        report(1, 0.5)
    assert "two steps" in capsys.readouterr().err
    told = []
    with reporter(told.append, "one step", 1) as report:
        report(1, None)
    assert [(step.done, step.total) for step in told] == [(1, 1)]
