"""Time of many spectra with common errors or their own: a part of ``continuation.py``."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
import xarray as xr
from continuation_cases import SEED, quiet, timed
from tables import write

import arpes_ml_plugins
from arpes_ml_plugins.continuation.kernels import fermion
from arpes_ml_plugins.simulation.spectra import FINE, broad_spectra

BETA, WINDOW = 20.0, 5.0
OMEGA = np.linspace(-WINDOW, WINDOW, 200)
ERROR = 1e-3  # typical


def slices() -> None:
    """CPU ms per spectrum by the number of slices and of times, and by the kind of errors."""
    rows: list[dict[str, object]] = []
    for count, times in ((100, 101), (100, 201), (100, 401), (500, 201)):
        g, kinds = _case(count, times)
        for name in ("continue_maxent", "continue_rlista"):
            method = getattr(arpes_ml_plugins, name)
            # The first call loads the network.
            quiet(partial(method, g[:1], beta=BETA, omega=OMEGA, stderr=ERROR))
            row: dict[str, object] = {"method": name, "slices": count, "times": times}
            for kind, stated in kinds.items():
                run = partial(method, g, beta=BETA, omega=OMEGA, device="cpu", **stated)
                _, seconds = timed(partial(quiet, run))
                row[f"{kind}, ms per spectrum"] = 1e3 * seconds / count
            rows.append(row)
    write("continuation_slices.csv", rows)


def _case(count: int, times: int) -> tuple[xr.DataArray, dict[str, dict[str, object]]]:
    """Noisy data of broad spectra, and their errors: common, by slice and time, and correlated."""
    generator = torch.Generator().manual_seed(SEED)
    tau = torch.linspace(0, BETA, times, dtype=torch.float64)
    grid = torch.linspace(-WINDOW, WINDOW, 50, dtype=torch.float64)
    fine = torch.linspace(-WINDOW, WINDOW, 50 * FINE, dtype=torch.float64)
    truth = broad_spectra(count, generator, grid).double()
    draw = np.random.default_rng(SEED)
    size = (
        ERROR * draw.uniform(0.5, 2, (count, 1)) * np.exp(0.05 * draw.normal(size=(count, times)))
    )
    exact = (truth @ fermion(tau, fine, BETA).mT).numpy()
    dims = ("k", "tau")
    g = xr.DataArray(
        exact + size * draw.normal(size=size.shape), coords={"tau": tau.numpy()}, dims=dims
    )
    apart = np.abs(np.subtract.outer(tau.numpy(), tau.numpy()))
    correlation = 0.1 * np.exp(-apart) + 0.9 * np.eye(times)
    return g, {
        "common error": {"stderr": 2 * ERROR},
        "errors by slice and time": {"stderr": xr.DataArray(size, dims=dims)},
        "covariance by slice": {"covariance": size[:, :, None] * correlation * size[:, None]},
    }
