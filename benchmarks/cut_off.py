"""Denoise camera images of which negative values were set to zero.

python benchmarks/cut_off.py      about a minute on one core

Two scenes that were not used to choose the method's constants (160 x 160 pixels), three seeds each,
the network as it is (adapt=False); 5 units per electron, read-out noise of 8 units. "as measured":
the same values with the negative ones left in. The dark half are the pixels below the median.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import warnings

import numpy as np
import xarray as xr
from detectors import gaussian_oracle
from normalised import LARGE, psnr, scene
from tables import write

GAIN, READ_OUT = 5.0, 8.0
COUNTS = (0.5, 2.0, 8.0)


def one(electrons: float, number: int, seed: int) -> tuple[float, ...]:
    rng = np.random.default_rng(10 * number + seed)
    rate = electrons * scene(number, LARGE)
    truth = GAIN * rate
    values = GAIN * rng.poisson(rate) + READ_OUT * rng.standard_normal(rate.shape)
    cut = np.maximum(values, 0)
    plain, data = (xr.DataArray(x, dims=("eV", "phi")) for x in (values, cut))
    found = data.S.decompose_pretrained(adapt=False, rng=0)
    inside = ((found["lower"] <= truth) & (truth <= found["upper"])).values
    dark = truth < np.median(truth)
    return (
        psnr(gaussian_oracle(cut, truth), truth),
        psnr(found["clean"].values, truth),
        psnr(plain.S.denoise(adapt=False, rng=0).values, truth),
        float(inside.mean()),
        float(inside[dark].mean()),
        float((cut - truth)[dark].mean()),
        float((found["clean"].values - truth)[dark].mean()),
    )


def main() -> None:
    warnings.simplefilter("ignore")
    rows: list[dict[str, object]] = []
    for electrons in COUNTS:
        average = np.mean([one(electrons, n, seed) for n in (0, 1) for seed in range(3)], 0)
        names = ("Gaussian, dB", "network, dB", "as measured, dB")
        row: dict[str, object] = {"electrons per pixel": electrons}
        row |= {key: f"{value:.1f}" for key, value in zip(names, average[:3], strict=True)}
        names = ("68 % bars hold", "in the dark half", "too high there: data", "network")
        row |= {key: f"{value:.2f}" for key, value in zip(names, average[3:], strict=True)}
        rows.append(row)
        print(row, flush=True)
    write("cut_off.csv", rows)


if __name__ == "__main__":
    main()
