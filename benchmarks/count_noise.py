"""chi^2 and errors of right answers where counts are near zero, and of one component too few.

python benchmarks/count_noise.py      about three minutes on one core
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

SEEDS = 20
ENERGY = np.linspace(-4, 2, 60)
SIZE = 40
DETECTORS = {"counts": (1, 0.0), "counts times 26": (26, 0.0), "with read noise 0.5": (1, 0.5)}


def lines() -> np.ndarray:
    """Three doublets on a constant background that ends at the Fermi level ``(3, energies)``."""

    def peak(centre: float) -> np.ndarray:
        return np.exp(-(((ENERGY - centre) / 0.3) ** 2))

    found = np.stack([peak(c) + 0.75 * peak(c - 1.6) + 0.1 for c in (-1.4, -0.6, 0.0)])
    return found / (1 + np.exp((ENERGY - 0.4) / 0.03))


def maps(empty: float) -> np.ndarray:
    """Three regions of unequal brightness; a part of the pixels is empty. ``(3, y, x)``."""
    y, x = np.mgrid[:SIZE, :SIZE]
    regions = np.stack([x < 14, 0.8 * ((x >= 14) & (y < 20)), 0.6 * ((x >= 14) & (y >= 20))])
    return regions * (np.random.default_rng(8).random((SIZE, SIZE)) >= empty)


def unmixed(data: np.ndarray, spectra: np.ndarray) -> xr.Dataset:
    known = {str(i): xr.DataArray(one, {"eV": ENERGY}, ("eV",)) for i, one in enumerate(spectra)}
    image = xr.DataArray(data, {"eV": ENERGY}, ("y", "x", "eV"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DistributionWarning)
        return image.S.unmix(spectra=known)


def main() -> None:
    spectra, rows = lines(), []
    for detector, (gain, read) in DETECTORS.items():
        for counts in (0.5, 1, 3, 10, 100, 1000):
            row = {"detector": detector, "counts": counts}
            for empty, name in ((0.0, ""), (0.2, ", a fifth empty")):
                rate = np.einsum("kyx,ke->yxe", maps(empty), spectra)
                scale = counts / rate.max()
                true = gain * scale * maps(empty) * spectra.max(1)[:, None, None]
                right, few, pulls, told = [], [], [], 0
                for seed in range(SEEDS):
                    rng = np.random.default_rng(seed)
                    data = gain * rng.poisson(scale * rate) + read * rng.standard_normal(rate.shape)
                    result = unmixed(data, spectra)
                    right.append(float(result.residual_chi2.mean()))
                    told += result.status.item() != "ok"
                    pulls.append(((result.maps - true) / result.maps_stderr).values[true > 0])
                    if not empty and seed < 5:
                        few.append(float(unmixed(data, spectra[:2]).residual_chi2.mean()))
                row[f"chi2{name}"] = f"{np.mean(right):.2f} ({min(right):.2f}-{max(right):.2f})"
                row[f"warned{name}"] = f"{told} of {SEEDS}"
                row[f"pull of maps{name}"] = f"{np.sqrt(np.mean(np.square(pulls))):.2f}"
                if few:
                    row["chi2, one component too few"] = f"{np.mean(few):.2f}"
            rows.append(row)
    write("count_noise.csv", rows)


if __name__ == "__main__":
    main()
