"""Fixtures that several test files share."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

# Before torch is loaded: its threads, dask's included, then all have the same number, and sums the
# same order. One each where tests run side by side.
beside = "PYTEST_XDIST_WORKER" in os.environ
os.environ.setdefault("OMP_NUM_THREADS", str(1 if beside else min(2, os.cpu_count() or 1)))

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, settings

from arpes_ml_plugins import SpectrumLibrary  # this import adds the methods to .S
from arpes_ml_plugins.testing import ConformanceSuite
from arpes_ml_plugins.testing.samples import sample_cut

mpl.use("Agg")

# Tests that generate their inputs: the same few at every run, or with
# --hypothesis-profile=fuzz many, which differ from seed to seed (make fuzz).
COMMON = {
    "deadline": None,
    "print_blob": True,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}
settings.register_profile("few", max_examples=25, derandomize=True, database=None, **COMMON)
settings.register_profile(
    "fuzz", max_examples=int(os.environ.get("FUZZ_EXAMPLES", "300")), **COMMON
)
settings.load_profile("few")


def pytest_addoption(parser):
    parser.addoption("--device", default="cpu", help="device of the conformance suites")


def pytest_configure(config):
    ConformanceSuite.device = config.getoption("--device")


@pytest.fixture
def cut():
    """A small cut of integer counts, 18 x 20."""
    return sample_cut()


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def example_cut():
    """PyARPES's real cut: a Dataset with 240 x 240 counts."""
    pytest.importorskip("arpes.xarray_extensions")
    from arpes.io import example_data

    return example_data.cut


@pytest.fixture(scope="session")
def examples():
    """All of PyARPES's example data."""
    pytest.importorskip("arpes.xarray_extensions")
    from arpes.io import example_data

    return example_data


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Trained networks go to a folder of the tests, not to the user's cache."""
    from arpes_ml_plugins.networks import cache

    folder = tmp_path_factory.mktemp("networks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "cache_folder", lambda: folder)
        yield folder


@pytest.fixture(scope="session")
def library():
    """Families of the peaks that are planted."""
    from planted import CENTRES, ENERGY, peak

    known = {name: xr.DataArray(peak(c), {"eV": ENERGY}, "eV") for name, c in CENTRES.items()}
    return SpectrumLibrary.from_spectra(known, shift=0.12, count=150)


@pytest.fixture
def quick_training(monkeypatch):
    """Networks of the continuation trained for a moment: what they score is not tested."""
    from dataclasses import replace

    from arpes_ml_plugins.training import rlista

    for name, recipe in rlista.RECIPES.items():
        short = replace(recipe, steps=100, batch=128, pool=5000)
        monkeypatch.setitem(rlista.RECIPES, name, short)


@pytest.fixture(autouse=True, scope="module")
def threads_of_a_new_thread():
    """OpenMP counts threads for each thread by itself, and numba, which PyARPES runs, changes that
    of its caller: sums in the main thread and in workers would then differ in rounding."""
    import torch

    with ThreadPoolExecutor(1) as pool:
        torch.set_num_threads(pool.submit(torch.get_num_threads).result())
