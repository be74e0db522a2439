"""Feasible bands of blind separations: whether the truth is inside, how wide they are, and times.

python benchmarks/feasible_bands.py       about four minutes on one core
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import time
import warnings

import numpy as np
import xarray as xr
from scipy.optimize import linear_sum_assignment
from tables import write

import arpes_ml_plugins  # noqa: F401
from arpes_ml_plugins.errors import DistributionWarning

ENERGY = np.linspace(-1, 1, 40)
COUNTS = 100
DARK = 1.0  # counts per value that were subtracted, of pure materials: empty channels have no noise
MIXTURES = 10
SIZE = 40


def overlapping(rng: np.random.Generator, count: int) -> np.ndarray:
    """Two lines per spectrum on a constant ``(count, energies)``; cosines below 0.93."""
    while True:
        spectra = []
        for centre in rng.uniform(-0.6, 0.6, count):
            second = rng.uniform(0, 0.6) * np.exp(
                -((ENERGY - rng.uniform(-0.8, 0.8)) ** 2) / 2 / 0.25**2
            )
            spectra.append(np.exp(-((ENERGY - centre) ** 2) / 2 / 0.2**2) + second + 0.05)
        found = np.stack(spectra)
        unit = found / np.linalg.norm(found, axis=1, keepdims=True)
        if np.triu(unit @ unit.T, 1).max() < 0.93:
            return found


def apart(count: int) -> np.ndarray:
    """One narrow line per spectrum: each has energies of its own."""
    centres = np.linspace(-0.6, 0.6, count)[:, None]
    return np.exp(-((ENERGY - centres) ** 2) / 2 / 0.06**2)


def smooth(rng: np.random.Generator, count: int, size: int) -> np.ndarray:
    """Maps of three hills each ``(count, y, x)``, without their lowest part: no pixel is pure."""
    y, x = np.mgrid[:size, :size] / size
    maps = []
    for _ in range(count):
        total = np.zeros((size, size))
        for _ in range(3):
            at, width = rng.random(2), rng.uniform(0.1, 0.4)
            total += np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / 2 / width**2)
        maps.append(np.maximum(total - 0.3 * total.mean(), 0))
    return np.stack(maps)


def grains(rng: np.random.Generator, count: int, size: int) -> np.ndarray:
    """Maps of grains of one material, with sides of eight pixels."""
    number = rng.permutation(np.arange((size // 8) ** 2) % count).reshape(size // 8, size // 8)
    number = number.repeat(8, 0).repeat(8, 1)
    return np.stack([(number == k) * 1.0 for k in range(count)])


def judged(
    spectra: np.ndarray, maps: np.ndarray, seed: int, method: str, dark: float = 0.0
) -> dict[str, float]:
    count = len(spectra)
    rate = np.einsum("ke,kyx->yxe", spectra, maps)
    scale = COUNTS / rate.max()
    data = np.random.default_rng(seed).poisson(scale * rate + dark) - dark
    image = xr.DataArray(data, {"eV": ENERGY}, ("y", "x", "eV"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DistributionWarning)
        result = getattr(image.S, f"separate_{method}")(n_components=count, rng=0)
        start = time.process_time()
        bands = image.S.feasible_bands(spectra=result.spectra)
        seconds = time.process_time() - start
    found = bands.spectra.values
    one, other = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (found, spectra))
    order = linear_sum_assignment(-one @ other.T)[1]
    area = found.sum(1) / spectra[order].sum(1)
    truth = spectra[order] * area[:, None]
    images = scale * maps[order] / area[:, None, None]
    lower, upper = bands.spectra_lower.values, bands.spectra_upper.values
    inside = (truth >= lower - 1e-6) & (truth <= upper + 1e-6)
    images_inside = (images >= bands.maps_lower.values) & (images <= bands.maps_upper.values)
    return {
        "whole": float(inside.all(1).mean()),
        "values": float(inside.mean()),
        "maps": float(images_inside.mean()),
        "width": float(np.median(bands.width.values)),
        "blind": float(np.median(np.abs(found - truth).max(1))),
        "open": float("not determined" in bands.status.item()),
        "seconds": seconds,
    }


def row(name: str, count: int, size: int, runs: list[dict[str, float]]) -> dict[str, object]:
    mean = {key: float(np.mean([run[key] for run in runs])) for key in runs[0]}
    return {
        "data": name,
        "components": count,
        "pixels": f"{size} x {size}",
        "mixtures": len(runs),
        "true spectra inside everywhere": f"{mean['whole']:.0%}",
        "values inside, spectra": f"{mean['values']:.1%}",
        "values inside, maps": f"{mean['maps']:.1%}",
        "width of the bands": round(float(np.median([run["width"] for run in runs])), 3),
        "error of the blind spectra": round(float(np.median([run["blind"] for run in runs])), 3),
        "not determined": f"{int(sum(run['open'] for run in runs))} of {len(runs)}",
        "CPU s": round(mean["seconds"], 2),
    }


def main() -> None:
    rows = []
    for count in (2, 3):
        runs = []
        for seed in range(MIXTURES):
            rng = np.random.default_rng(seed)
            mixture = overlapping(rng, count), smooth(rng, count, SIZE)
            runs.append(judged(*mixture, seed, "nmf"))
        rows.append(row("overlapping", count, SIZE, runs))
        write("feasible_bands.csv", rows)
    for count in (2, 3):
        runs = []
        for seed in range(5):
            maps = grains(np.random.default_rng(seed), count, SIZE)
            runs.append(judged(apart(count), maps, seed, "nmf", DARK))
        rows.append(row("pure", count, SIZE, runs))
        write("feasible_bands.csv", rows)
    for count in (3, 4):
        rng = np.random.default_rng(0)
        runs = [judged(overlapping(rng, count), smooth(rng, count, 100), 0, "nmf")]
        rows.append(row("overlapping", count, 100, runs))
        write("feasible_bands.csv", rows)


if __name__ == "__main__":
    main()
