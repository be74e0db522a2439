"""Denoise images to whose lines of pixels different constants were added, or behind a pedestal.

python benchmarks/line_constants.py      about three minutes on one core

Two scenes that were not used to choose the method's constants (160 x 160 pixels), three seeds each,
the network as it is (adapt=False), 10 electrons per pixel. The constants are part of the truth. The
Gaussian filter has the best width for each image, chosen with the truth. "without": the same counts
without the constants.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import warnings
from collections.abc import Callable

import numpy as np
import xarray as xr
from detectors import gaussian_oracle
from normalised import COUNTS, LARGE, psnr, scene
from tables import write

SPREAD = 3.0  # standard deviation of constants, in electrons; that of the counts is 3.2
CAMERA_PEDESTAL = 200.0
FEW = 8  # pixels from which a background is estimated
Constants = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""Function from counts ``(energy, momentum)`` to what is added to them."""


def energies(counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return SPREAD * rng.standard_normal((len(counts), 1))


def momenta(counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return SPREAD * rng.standard_normal((1, counts.shape[1]))


def camera(counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return CAMERA_PEDESTAL + energies(counts, rng) + rng.standard_normal(counts.shape)


def background_of_edcs(counts: np.ndarray, _: np.random.Generator) -> np.ndarray:
    return -counts[-FEW:].mean(0, keepdims=True)


def background_of_mdcs(counts: np.ndarray, _: np.random.Generator) -> np.ndarray:
    return -counts[:, :FEW].mean(1, keepdims=True)


def minimum_of_mdcs(counts: np.ndarray, _: np.random.Generator) -> np.ndarray:
    return -np.sort(counts, axis=1)[:, :3].mean(1, keepdims=True)


KINDS: dict[str, Constants] = {
    "a constant for each energy": energies,
    "a constant for each momentum": momenta,
    "a constant for each energy, pedestal, read-out noise": camera,
    "background of each EDC, from 8 pixels, subtracted": background_of_edcs,
    "background of each MDC, from 8 pixels, subtracted": background_of_mdcs,
    "mean of the three lowest values of each MDC subtracted": minimum_of_mdcs,
}


def one(constants: Constants, number: int, seed: int) -> tuple[float, ...]:
    rng = np.random.default_rng(10 * number + seed)
    rate = COUNTS * scene(number, LARGE)
    counts = rng.poisson(rate).astype(float)
    added = constants(counts, rng)
    read_out = added - np.median(added, axis=1, keepdims=True) if constants is camera else 0.0
    truth = rate + added - read_out
    data, plain = (xr.DataArray(x, dims=("eV", "phi")) for x in (counts + added, counts))
    found = data.S.decompose_pretrained(adapt=False, rng=0)
    inside = float(((found["lower"] <= truth) & (truth <= found["upper"])).mean())
    return (
        psnr(data.values, truth),
        psnr(gaussian_oracle(data.values, truth), truth),
        psnr(found["clean"].values, truth),
        psnr(plain.S.denoise(adapt=False, rng=0).values, rate),
        inside,
    )


def main() -> None:
    warnings.simplefilter("ignore")
    rows: list[dict[str, object]] = []
    for name, constants in KINDS.items():
        average = np.mean([one(constants, n, seed) for n in (0, 1) for seed in range(3)], 0)
        names = ("data, dB", "Gaussian, dB", "network, dB", "without, dB")
        row: dict[str, object] = {"values": name}
        row |= {key: f"{value:.1f}" for key, value in zip(names, average[:4], strict=True)}
        row["68 % bars hold"] = f"{average[4]:.2f}"
        rows.append(row)
        print(row, flush=True)
    write("line_constants.csv", rows)


if __name__ == "__main__":
    main()
