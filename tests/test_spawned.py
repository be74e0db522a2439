"""Methods run in processes that are spawned, and that start without anything loaded."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from arpes_ml_plugins import simulate_scene

OPTIONS = {"adapt": False, "rng": 0, "mesh": None}


def denoised(data):
    """What a user's script does in each process; there ``.S`` is what the import makes it."""
    import arpes_ml_plugins  # noqa: F401

    return data.S.denoise(**OPTIONS)


@pytest.fixture(scope="module")
def pool():
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        yield executor


@pytest.fixture(scope="module")
def cut():
    return simulate_scene((64, 64), counts=20, rng=1).spectrum


@pytest.fixture(scope="module")
def expected(cut):
    return denoised(cut)


def test_a_cut_goes_there_and_back(pool, cut, expected):
    """With axes and history, although attributes of its own class hold the latter."""
    result = pool.submit(denoised, cut).result(timeout=120)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-6 * float(expected.max()))
    records = [one.attrs["provenance"]["record"] for one in (result, expected)]
    assert records[0]["parameters"] == records[1]["parameters"]
    assert result.coords.identical(expected.coords)


@pytest.mark.slow
def test_dask_computes_there(pool, cut, expected):
    """The scheduler "processes", whose workers are spawned."""
    dask = pytest.importorskip("dask")
    lazy = cut.chunk().S.denoise(**OPTIONS)
    with dask.config.set(scheduler="processes", pool=pool):
        result = lazy.compute()
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-6 * float(expected.max()))
    assert str(result.denoise_method.values) == "denoise_pretrained"
