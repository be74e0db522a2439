"""What else goes on in the process: threads, forks, modes of torch and numpy, lack of memory."""

from __future__ import annotations

import os
import signal
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import torch
import xarray as xr

import arpes_ml_plugins
from arpes_ml_plugins.testing.process_state import left_alone, many_switches
from arpes_ml_plugins.testing.samples import sample_cut

OMEGA = np.linspace(-3, 3, 31)


def green():
    tau = np.linspace(0, 10, 24)
    kernel = np.exp(-tau[:, None] * OMEGA) / (1 + np.exp(-10 * OMEGA))
    weights = np.exp(-4 * OMEGA**2)
    return xr.DataArray(kernel @ weights / weights.sum(), {"tau": tau}, "tau")


QUICK = {"precision": "float32", "rng": 5, "device": "cpu"}
CALLS = {
    "decompose_pcp": lambda: sample_cut().S.decompose_pcp(device="cpu"),
    "estimate_noise": lambda: sample_cut().S.estimate_noise(device="cpu"),
    "denoise_pretrained": lambda: sample_cut().S.denoise_pretrained(gain=1, adapt=False, **QUICK),
    "denoise_pcp_unet": lambda: sample_cut().S.denoise_pcp_unet(iterations=2, **QUICK),
    "continue_maxent": lambda: green().S.continue_maxent(
        beta=10, stderr=1e-3, omega=OMEGA, device="cpu"
    ),
    "separate_nmf": lambda: sample_cut(("energy", "space")).S.separate_nmf(
        n_components=2, rng=5, device="cpu"
    ),
}
pytestmark = pytest.mark.filterwarnings(
    "ignore:separate_:arpes_ml_plugins.errors.DistributionWarning"
)


@pytest.fixture(scope="module")
def expected():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {name: call() for name, call in CALLS.items()}


@pytest.mark.parametrize("threads", [4, pytest.param(8, marks=pytest.mark.slow)])
def test_threads_give_the_same_bits(expected, threads):
    jobs = [name for name in CALLS for _ in range(2)]
    with many_switches(), left_alone(), ThreadPoolExecutor(threads) as pool:
        results = list(pool.map(lambda name: CALLS[name](), jobs))
    for name, result in zip(jobs, results, strict=True):
        xr.testing.assert_equal(result, expected[name])


@contextmanager
def default_device(name):
    torch.set_default_device(name)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def default_dtype(dtype):
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


MODES = {
    "float64": lambda: default_dtype(torch.float64),
    "device": lambda: default_device("cpu"),
    "another device": lambda: default_device("meta"),  # a GPU's stand-in
    "no gradients": torch.no_grad,
    "inference": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "numpy raises": lambda: np.errstate(all="raise"),
}


@pytest.mark.parametrize("mode", list(MODES))
@pytest.mark.parametrize("name", list(CALLS))
def test_modes_of_the_caller_change_nothing(expected, name, mode):
    with MODES[mode]():
        before = np.geterr()
        result = CALLS[name]()
        assert np.geterr() == before
        assert torch.is_inference_mode_enabled() == (mode == "inference")
    xr.testing.assert_equal(result, expected[name])


def in_a_fork(work):
    """What ``work`` gives in a copy of this process: True, False, or the name of its error."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        child = os.fork()
    if child == 0:  # no pytest from here on
        signal.alarm(60)  # ends the child if it hangs
        try:
            os.write(writer, repr(work()).encode())
        except BaseException as error:
            os.write(writer, type(error).__name__.encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        text = answer.read().decode()
    os.waitpid(child, 0)
    return text


forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")


@forks
@pytest.mark.parametrize("name", ["decompose_pcp", "denoise_pretrained", "continue_maxent"])
def test_a_fork_with_one_thread(expected, name):
    def work():
        torch.set_num_threads(1)
        xr.testing.assert_allclose(CALLS[name](), expected[name])
        return True

    assert in_a_fork(work) == "True"


@forks
@pytest.mark.parametrize("lazy", [False, True])
def test_a_fork_that_would_hang_says_so(expected, lazy):
    data = sample_cut(batch=2).chunk(temperature=1)
    unfinished = arpes_ml_plugins.decompose_pcp(data, device="cpu")

    def work():
        torch.set_num_threads(2)
        unfinished.compute(scheduler="synchronous") if lazy else CALLS["decompose_pcp"]()

    assert in_a_fork(work) == "ForkError"


def test_memory_that_runs_out_is_told_with_advice(monkeypatch):
    from arpes_ml_plugins.denoising import pcp
    from arpes_ml_plugins.errors import OutOfMemoryError

    def solve(images, **options):
        raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes")

    monkeypatch.setattr(pcp, "principal_component_pursuit", solve)
    with pytest.raises(OutOfMemoryError, match="you tried to allocate 8 bytes.*data.coarsen"):
        arpes_ml_plugins.decompose_pcp(sample_cut(batch=4), device="cpu")
