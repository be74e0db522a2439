"""Blind separation of maps with about one count per value: angles, and what the status says.

python benchmarks/few_counts.py       about three minutes on one core
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import warnings

import numpy as np
import xarray as xr
from tables import write

import arpes_ml_plugins  # noqa: F401
from arpes_ml_plugins.errors import DistributionWarning

SEEDS = 10
ENERGY = np.linspace(-3, 3, 60)
SIZE = 40


def lines() -> np.ndarray:
    """Three doublets on a constant background, ``(3, energies)``."""

    def peak(centre: float) -> np.ndarray:
        return np.exp(-(((ENERGY - centre) / 0.3) ** 2))

    return np.stack([peak(c) + 0.75 * peak(c - 1.6) + 0.1 for c in (0.2, 1.0, 1.7)])


def regions() -> np.ndarray:
    """Maps ``(3, y, x)``: one state on each of three regions, of unequal brightness."""
    y, x = np.mgrid[:SIZE, :SIZE]
    return np.stack([x < 14, 0.8 * ((x >= 14) & (y < 20)), 0.6 * ((x >= 14) & (y >= 20))])


def largest_angle(found: np.ndarray, truth: np.ndarray) -> float:
    """Between each true spectrum and the nearest one found, in degrees."""
    found, truth = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (found, truth))
    return float(np.degrees(np.arccos((truth @ found.T).max(1).clip(-1, 1))).max())


def main() -> None:
    truth = lines()
    rate = np.einsum("kyx,ke->yxe", regions(), truth)
    rows = []
    for counts in (0.3, 1, 3, 10):
        row = {"counts": counts}
        for method in ("gmca", "palm", "nmf"):
            angles, told = [], 0
            for seed in range(SEEDS):
                data = np.random.default_rng(seed).poisson(counts * rate / rate.max()) * 1.0
                image = xr.DataArray(data, {"eV": ENERGY}, ("y", "x", "eV"))
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DistributionWarning)
                    result = getattr(image.S, f"separate_{method}")(n_components=3, rng=0)
                angles.append(largest_angle(result.spectra.values, truth))
                told += result.status.item() != "ok"
            row[method.upper()] = f"{np.median(angles):.1f} / {max(angles):.1f}"
            row[f"{method.upper()}, status not ok"] = f"{told} of {SEEDS}"
        rows.append(row)
        write("few_counts.csv", rows)


if __name__ == "__main__":
    main()
