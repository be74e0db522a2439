"""Denoise differences and asymmetries, whose noise does not follow their values; test the bars.

python benchmarks/differences.py      about ten minutes on one core

Four simulated scenes of 128 x 128 pixels that were not used to choose the method's constants, at
two exposures. The Gaussian filter has the best width for each image, chosen with the truth; the
two-stage method, which served such data before, is run on the first scene alone, at 40 counts.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import time
import warnings
from collections.abc import Callable

import numpy as np
import xarray as xr
from detectors import gaussian_oracle
from scipy.ndimage import gaussian_filter
from tables import write

from arpes_ml_plugins import simulate_scene
from arpes_ml_plugins.scoring import psnr

Values = tuple[np.ndarray, np.ndarray]
Kind = Callable[[np.ndarray, np.random.Generator], Values]


def dichroism(rate: np.ndarray, rng: np.random.Generator) -> Values:
    """Two helicities that differ by up to 40 %, with the opposite sign on either side."""
    weight = 0.4 * np.linspace(-1, 1, rate.shape[1])
    return rng.poisson(rate * (1 + weight)) - rng.poisson(rate * (1 - weight)), 2 * rate * weight


def pumped(rate: np.ndarray, rng: np.random.Generator) -> Values:
    """The bands shift by two pixels and are broadened."""
    other = gaussian_filter(np.roll(rate, 2, 0), 1)
    return rng.poisson(other) - rng.poisson(rate), other - rate


def weak(rate: np.ndarray, rng: np.random.Generator) -> Values:
    """A change of 5 % that depends on energy."""
    other = rate * (1 + 0.05 * np.sin(np.arange(len(rate)) / 9))[:, None]
    return rng.poisson(other) - rng.poisson(rate), other - rate


def smoothed(rate: np.ndarray, rng: np.random.Generator) -> Values:
    """Pump-probe, filtered by a Gaussian of 0.8 pixels."""
    values, truth = pumped(rate, rng)
    return gaussian_filter(values.astype(float), 0.8), gaussian_filter(truth, 0.8)


KINDS: dict[str, Kind] = {
    "dichroism": dichroism,
    "pump-probe": pumped,
    "pump-probe, smoothed": smoothed,
    "weak change": weak,
}
SCENES = (20, 21, 22, 23)


def row(name: str, kind: Kind, counts: float) -> dict[str, object]:
    found: dict[str, list[float]] = {}
    for seed in SCENES:
        rate = simulate_scene((128, 128), counts=counts, rng=seed).truth.values
        values, truth = kind(rate, np.random.default_rng(seed))
        data = xr.DataArray(values.astype(float), dims=("eV", "phi"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some residuals vary from place to place
            start = time.process_time()
            result = data.S.decompose_pretrained(adapt=False, rng=0, progress=False)
            took = time.process_time() - start
            inside = (result.lower.values <= truth) & (truth <= result.upper.values)
            numbers = {
                "noisy, dB": psnr(values, truth),
                "Gaussian, dB": psnr(gaussian_oracle(values.astype(float), truth), truth),
                "network, dB": psnr(result.clean.values, truth),
                "68 % bars hold": float(inside.mean()),
                "CPU s": took,
            }
            if seed == SCENES[0] and counts > 10:
                numbers["first scene: network, dB"] = numbers["network, dB"]
                numbers["first scene: two stages, dB"] = psnr(
                    data.S.denoise_pcp_unet(rng=0).values, truth
                )
        for key, number in numbers.items():
            found.setdefault(key, []).append(number)
    means = {key: round(float(np.mean(numbers)), 2) for key, numbers in found.items()}
    return {"kind": name, "counts": counts, **means}


def main() -> None:
    write(
        "differences.csv",
        [row(name, kind, counts) for name, kind in KINDS.items() for counts in (4.0, 40.0)],
    )


if __name__ == "__main__":
    main()
