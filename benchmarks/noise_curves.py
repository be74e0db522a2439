"""Denoise white noise that is not that of counts times a gain, and test the error bars.

python benchmarks/noise_curves.py      about four minutes on one core

Four scenes that were not used to choose the method's constants, three seeds each, the network as it
is (adapt=False). The Gaussian filter has the best width for each image, chosen with the truth.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import warnings
from collections.abc import Callable, Iterator

import numpy as np
import xarray as xr
from detectors import SCENES, gaussian_oracle
from tables import write

from arpes_ml_plugins import simulate_scene

Values = tuple[np.ndarray, np.ndarray]
Detector = Callable[[np.ndarray, np.random.Generator], Values]


def modes(number: int) -> Detector:
    def measured(rate: np.ndarray, rng: np.random.Generator) -> Values:
        return rng.poisson(rng.gamma(number, rate / number)), rate

    return measured


def unequal(spread: float) -> Detector:
    def measured(rate: np.ndarray, rng: np.random.Generator) -> Values:
        return rng.poisson(rate * (1 + spread * rng.standard_normal(rate.shape)).clip(0)), rate

    return measured


def saturating(most: float) -> Detector:
    """A response x / (1 + x / most), with ``most`` in units of the mean."""

    def measured(rate: np.ndarray, rng: np.random.Generator) -> Values:
        def response(x: np.ndarray) -> np.ndarray:
            return x / (1 + x / (most * rate.mean()))

        return response(rng.poisson(rate)), response(rate)

    return measured


def striped(rate: np.ndarray, rng: np.random.Generator) -> Values:
    """A beam that fluctuates by 10 % from row to row: the stripes are part of the truth."""
    rate = rate * np.exp(0.1 * rng.standard_normal((len(rate), 1)))
    return rng.poisson(rate), rate


def logarithm(rate: np.ndarray, rng: np.random.Generator) -> Values:
    """The mean of the logarithm is not the logarithm of the mean: that is expected of many."""
    draws = np.random.default_rng(1).poisson(rate, (400, *rate.shape))
    return np.log1p(rng.poisson(rate)), np.log1p(draws).mean(0)


DETECTORS: dict[str, Detector] = {
    "counts": lambda rate, rng: (rng.poisson(rate), rate),
    "2 modes": modes(2),
    "5 modes": modes(5),
    "20 modes": modes(20),
    "pixels differ by 15 %": unequal(0.15),
    "saturates at 5 times the mean": saturating(5),
    "saturates at 20 times the mean": saturating(20),
    "logarithm of counts + 1": logarithm,
    "rows fluctuate by 10 %": striped,
}


def scenes() -> Iterator[np.ndarray]:
    for counts in (5, 20):
        yield SCENES["dark tail"]()[20:180, 20:180]
        yield simulate_scene((160, 160), counts=counts, rng=31).truth.values


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    return float(10 * np.log10(np.ptp(truth) ** 2 / np.square(image - truth).mean()))


def main() -> None:
    warnings.simplefilter("ignore")
    rows: list[dict[str, object]] = []
    for name, detector in DETECTORS.items():
        numbers: list[tuple[float, ...]] = []
        for place, (scene, counts) in enumerate(zip(scenes(), (5, 5, 20, 20), strict=True)):
            for seed in range(3):
                rng = np.random.default_rng(10 * place + seed)
                values, truth = detector(scene * counts / scene.mean(), rng)
                cut = xr.DataArray(np.asarray(values, float), dims=("phi", "eV"))
                found = cut.S.decompose_pretrained(adapt=False, rng=0)
                inside = (found["lower"] <= truth) & (truth <= found["upper"])
                numbers.append(
                    (
                        psnr(cut.values, truth),
                        psnr(gaussian_oracle(cut.values, truth), truth),
                        psnr(found["clean"].values, truth),
                        float(inside.mean()),
                        float(found["clean"].sum() / cut.sum()),
                        float(cut.S.estimate_noise()["curvature"] != 0),
                    )
                )
        mean = np.mean(numbers, 0)
        row: dict[str, object] = {"noise": name}
        row |= {
            "data, dB": f"{mean[0]:.1f}",
            "Gaussian, dB": f"{mean[1]:.1f}",
            "network, dB": f"{mean[2]:.1f}",
            "68 % bars hold": f"{mean[3]:.2f}",
            "total over that of the data": f"{mean[4]:.3f}",
            "curvature found": f"{mean[5]:.0%}",
        }
        rows.append(row)
        print(row, flush=True)
    write("noise_curves.csv", rows)


if __name__ == "__main__":
    main()
