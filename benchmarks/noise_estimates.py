"""Gain and shift that the noise estimate finds on dark scenes with sharp structure, and its errors.

python benchmarks/noise_estimates.py      about two minutes on one core
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

from collections.abc import Iterator

import numpy as np
import xarray as xr
from detectors import SCENES
from tables import write

from arpes_ml_plugins import simulate_scene
from arpes_ml_plugins.simulation.detectors import clouds

WRONG = 0.15  # relative error of the gain, and of the shift over the mean intensity
PULL = 3.0
GAIN = 5.2
DETECTORS = {  # pedestal, read-out noise, width of the clouds in pixels
    "gain only": (0.0, 0.0, 0.0),
    "read-out noise": (0.0, 4.0, 0.0),
    "pedestal": (60.0, 0.0, 0.0),
    "pedestal, read-out noise": (600.0, 2.5, 0.0),
    "clouds": (0.0, 0.0, 0.8),
    "clouds, pedestal": (200.0, 0.0, 0.8),
}


def scenes() -> Iterator[np.ndarray]:
    """Yield expected counts; none of the scenes was used to choose the method's constants."""
    for counts in (2, 12, 60):
        for make in SCENES.values():
            rate = make()[20:180, 20:180]
            yield rate * counts / rate.mean()
        for seed in range(21, 25):
            yield simulate_scene((144, 176), counts=counts, rng=seed).truth.values


def measured(
    rate: np.ndarray, pedestal: float, read: float, width: float, seed: int
) -> tuple[np.ndarray, float, float]:
    """Values, and the true gain and shift at long wavelengths."""
    rng = np.random.default_rng(seed)
    spread = 0.5 if width else 0.0
    electrons, _ = clouds(rate, (width, width), spread, rng)
    gain = GAIN * (1 + spread**2)
    values = GAIN * electrons + pedestal + read * rng.standard_normal(rate.shape)
    return values, gain, read**2 / gain - pedestal


def main() -> None:
    rows: list[dict[str, object]] = []
    for name, (pedestal, read, width) in DETECTORS.items():
        wrong, silent, uncertain, refused, pulls, cases = 0, 0, 0, 0, 0, 0
        for seed, rate in enumerate(scenes()):
            values, gain, shift = measured(rate, pedestal, read, width, seed)
            noise = xr.DataArray(values, dims=("phi", "eV")).S.estimate_noise()
            found, error = float(noise["gain"]), float(noise["gain_error"])
            allowed = max(WRONG * GAIN * rate.mean(), 3 * read)
            right = abs(found / gain - 1) < WRONG and abs(float(noise["shift"]) - shift) < allowed
            kind = str(noise["kind"].values)
            none = kind in ("unknown", "negative")
            told = none or str(noise.get("status", xr.DataArray("ok")).values) != "ok"
            cases += 1
            wrong += not right
            silent += not right and not told
            uncertain += told
            refused += none
            pulls += not none and kind != "counts" and abs(found - gain) > PULL * error
        rows.append(
            {
                "detector": name,
                "cases": cases,
                "wrong by 15 %": wrong,
                "silently": silent,
                "called uncertain": uncertain,
                "of these without a gain": refused,
                "gain beyond three stated errors": pulls,
            }
        )
        print(rows[-1], flush=True)
    write("noise_estimates.csv", rows)


if __name__ == "__main__":
    main()
