"""Denoise data of which each image, or each line of pixels, was divided by a number of its own.

python benchmarks/normalised.py      about eight minutes on one core

Two scenes that were not used to choose the method's constants, three seeds each, the network as it
is (adapt=False), 10 electrons per pixel. Stacks are six images with exposures that differ by up to
the given ratio. The Gaussian filter has the best width for each image, chosen with the truth. "not
divided": the same data are denoised before the division and divided afterwards.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import warnings
from collections.abc import Callable

import numpy as np
import xarray as xr
from detectors import SCENES, gaussian_oracle
from tables import write

from arpes_ml_plugins import simulate_scene

COUNTS, IMAGES, SMALL, LARGE = 10.0, 6, 96, 160
GAIN, READ_OUT = 5.0, 10.0  # of a camera, in its unit
Divisor = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Function from values and exposures to what the values are divided by."""


def highest(values: np.ndarray, _: np.ndarray) -> np.ndarray:
    return values.max((-2, -1), keepdims=True)


def mean(values: np.ndarray, _: np.ndarray) -> np.ndarray:
    return values.mean((-2, -1), keepdims=True)


def time(_: np.ndarray, exposures: np.ndarray) -> np.ndarray:
    return exposures


def highest_of_columns(values: np.ndarray, _: np.ndarray) -> np.ndarray:
    return values.max(-2, keepdims=True)


def mean_of_rows(values: np.ndarray, _: np.ndarray) -> np.ndarray:
    return values.mean(-1, keepdims=True)


def smooth_along_rows(values: np.ndarray, _: np.ndarray) -> np.ndarray:
    """The sensitivity of a detector, along one axis; the counts are already less by it."""
    return np.exp(-((np.linspace(-1.2, 1.0, values.shape[-2])[:, None]) ** 2))


KINDS: dict[str, tuple[Divisor, float, bool]] = {
    "stack over its maxima, 1 : 3": (highest, 3, False),
    "stack over its means, 1 : 10": (mean, 10, False),
    "the same with read-out noise": (mean, 10, True),
    "stack over the time, 1 : 10, with read-out noise": (time, 10, True),
    "columns over their maxima": (highest_of_columns, 1, False),
    "the same, with read-out noise": (highest_of_columns, 1, True),
    "rows over their means": (mean_of_rows, 1, False),
    "smooth sensitivity along one axis": (smooth_along_rows, 1, False),
}


def scene(number: int, size: int) -> np.ndarray:
    rate = simulate_scene((size, size), counts=1, rng=31).truth.values
    if number == 0:
        whole = SCENES["dark tail" if size == SMALL else "replica of 2 %"]()
        start = (len(whole) - size) // 2
        rate = whole[start : start + size, start : start + size]
    return rate / rate.mean()


def measured(
    divisor: Divisor, ratio: float, read_out: bool, number: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values before the division, their expectation, and what they are divided by."""
    if ratio > 1:
        rate = scene(number, SMALL)
        tilt = np.linspace(-0.3, 0.3, IMAGES)[:, None, None] * np.linspace(-1, 1, SMALL)[:, None]
        exposures = np.exp(np.log(ratio) * rng.uniform(-0.5, 0.5, (IMAGES, 1, 1)))
        rate = COUNTS * rate * (1 + tilt) * exposures / exposures.mean()
    else:
        rate, exposures = COUNTS * scene(number, LARGE), np.ones(())
        if divisor is smooth_along_rows:
            rate = rate * divisor(rate, exposures)
    values = rng.poisson(rate).astype(float)
    if read_out:
        values, rate = GAIN * values + READ_OUT * rng.standard_normal(rate.shape), GAIN * rate
    return values, rate, divisor(values, exposures)


def psnr(images: np.ndarray, truth: np.ndarray) -> float:
    """Mean over the images."""
    pairs = zip(*(x.reshape(-1, *x.shape[-2:]) for x in (images, truth)), strict=True)
    return float(
        np.mean([10 * np.log10(np.ptp(t) ** 2 / np.square(i - t).mean()) for i, t in pairs])
    )


def one(kind: tuple[Divisor, float, bool], number: int, seed: int) -> tuple[float, ...]:
    values, rate, divided_by = measured(*kind, number, np.random.default_rng(10 * number + seed))
    dims = ("delay", "phi", "eV")[-values.ndim :]
    # Values over their own mean are expected to be what the expected values over theirs are.
    known = rate.mean(-1, keepdims=True) if kind[0] is mean_of_rows else divided_by
    truth, data = rate / known, xr.DataArray(values / divided_by, dims=dims)
    noise = data.S.estimate_noise()
    inside = np.nan
    if values.ndim == 2:
        found = data.S.decompose_pretrained(adapt=False, rng=0)
        clean = found["clean"].values
        inside = float(((found["lower"] <= truth) & (truth <= found["upper"])).mean())
    else:
        clean = data.S.denoise(adapt=False, rng=0).values
    before = xr.DataArray(values, dims=dims).S.denoise(adapt=False, rng=0).values / divided_by
    filtered = [
        gaussian_oracle(image, true)
        for image, true in zip(
            data.values.reshape(-1, *values.shape[-2:]),
            truth.reshape(-1, *values.shape[-2:]),
            strict=True,
        )
    ]
    scales = (float(noise[f"{name}_scale"]) for name in ("image", "energy", "momentum"))
    return (
        psnr(data.values, truth),
        psnr(np.stack(filtered), truth),
        psnr(before, truth),
        psnr(clean, truth),
        inside,
        float(any(scale > 1 for scale in scales)),
    )


def main() -> None:
    warnings.simplefilter("ignore")
    rows: list[dict[str, object]] = []
    for name, kind in KINDS.items():
        numbers = [one(kind, number, seed) for number in (0, 1) for seed in range(3)]
        average = np.mean(numbers, 0)
        names = ("data, dB", "Gaussian, dB", "not divided, dB", "divided, dB")
        row: dict[str, object] = {"values": name}
        row |= {key: f"{value:.1f}" for key, value in zip(names, average[:4], strict=True)}
        row["68 % bars hold"] = "" if np.isnan(average[4]) else f"{average[4]:.2f}"
        row["scale found"] = f"{average[5]:.0%}"
        rows.append(row)
        print(row, flush=True)
    write("normalised.csv", rows)


if __name__ == "__main__":
    main()
