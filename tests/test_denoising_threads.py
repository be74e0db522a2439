"""Denoising in many threads at once: the same numbers, and nothing global is touched."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import torch
import xarray as xr

RUNS = 2
THREADS = 8


@pytest.fixture(scope="module")
def stack():
    """16 slices of 32 x 32 counts."""
    rows, columns = np.meshgrid(np.linspace(-1, 1, 32), np.linspace(-1, 1, 32), indexing="ij")
    rate = 3 + 30 * np.exp(-(((rows - 0.4 * columns**2) / 0.2) ** 2))
    counts = np.random.default_rng(0).poisson(np.broadcast_to(rate, (16, 32, 32)))
    return xr.DataArray(counts, dims=("delay", "eV", "phi"))


def global_state():
    """What belongs to the user: random state, default dtype, threads."""
    numbers = np.random.get_state(legacy=False)["state"]["key"].tolist()  # noqa: NPY002
    random = torch.get_rng_state().tolist()
    return random, numbers, torch.get_default_dtype(), torch.get_num_threads()


@pytest.mark.filterwarnings("ignore::arpes_ml_plugins.errors.CountsWarning")
@pytest.mark.parametrize(
    ("method", "slices", "options"),
    [
        pytest.param(
            "denoise_counts",
            8,
            {"series": None, "iterations": 1, "gain": 1},
            marks=pytest.mark.slow,
        ),
        ("denoise_pretrained", 8, {"series": None, "gain": 1, "adapt": False}),
        ("denoise_pcp_unet", 8, {"iterations": 1, "networks": 1}),
        ("denoise_pcp_unet", 8, {"iterations": 1, "recipe": "published"}),
    ],
)
def test_threads_give_what_one_gives(stack, method, slices, options):
    stack = stack[:slices]
    options = options | {"rng": 0, "precision": "float32", "device": "cpu"}
    torch.manual_seed(1234)
    before = global_state()
    eager = getattr(stack.S, method)(**options)
    assert global_state() == before
    lazy = getattr(stack.chunk({"delay": 1}).S, method)(**options)
    scale = float(eager.max())
    for _ in range(RUNS):
        with dask.config.set(scheduler="threads", num_workers=THREADS):
            computed = lazy.compute()
        np.testing.assert_allclose(computed, eager, rtol=0, atol=1e-4 * scale)
        assert global_state() == before
