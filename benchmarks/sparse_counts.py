"""Images of much less than one count per pixel: the network beside filters tuned on the truth.

    python benchmarks/sparse_counts.py        about four minutes on one core

A map of 32 cuts of 96 x 96 pixels, and one cut of 160 x 160 pixels. BM4D is compared where it is
installed (its licence is not free: never a dependency).
"""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import torch
import xarray as xr
from scenes import kink_rate, map_rate
from scipy.ndimage import gaussian_filter
from stabilised import anscombe, inverse_anscombe
from tables import read, write

import arpes_ml_plugins  # noqa: F401
from arpes_ml_plugins.errors import CountsWarning
from arpes_ml_plugins.scoring import psnr

torch.set_num_threads(1)
COUNTS = (1.0, 0.1, 0.02)
ALONG = (0, 0.5, 1, 1.5, 2, 3, 5)
ACROSS = (1, 1.5, 2, 3, 4, 6, 8)
SCENES = {
    "map": lambda counts: map_rate(counts).transpose(0, 2, 1),
    "kink": lambda counts: kink_rate(counts, 160)[None],
}


def best_gaussian(noisy: np.ndarray, rate: np.ndarray) -> float:
    """PSNR of the Gaussian filter whose widths were chosen with the truth."""
    along = ALONG if len(noisy) > 1 else (0,)
    return max(
        psnr(gaussian_filter(noisy, (between, width, width)), rate)
        for between, width in itertools.product(along, ACROSS)
    )


def bm4d_score(noisy: np.ndarray, rate: np.ndarray) -> str:
    try:
        from bm4d import bm4d
    except ImportError:
        return ""
    return (
        f"{psnr(inverse_anscombe(bm4d(anscombe(noisy), 1.0)), rate):.2f}" if len(noisy) > 1 else ""
    )


def denoised(data: xr.DataArray, **options: Any) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CountsWarning)
        clean = data.S.denoise_pretrained(adapt=False, gain=1, mesh=None, rng=0, **options)
    return clean.transpose(*data.dims).values


def main() -> None:
    rows = []
    before = {
        (r["scene"], str(float(r["counts per pixel"]))): r["BM4D"]
        for r in read("sparse_counts.csv")
    }
    for (name, make), counts in itertools.product(SCENES.items(), COUNTS):
        rate = make(counts)
        noisy = np.random.default_rng(1).poisson(rate).astype(float)
        data = xr.DataArray(noisy, dims=("ky", "phi", "eV"))
        clean = denoised(data)
        bm4d = bm4d_score(noisy, rate) or before.get((name, str(counts)), "")
        row: dict[str, object] = {
            "scene": name,
            "counts per pixel": counts,
            "Gaussian, oracle": f"{best_gaussian(noisy, rate):.2f}",
            "BM4D": bm4d,
            "denoise_pretrained, adapt=False": f"{psnr(clean, rate):.2f}",
            "its counts over the true ones": f"{clean.sum() / rate.sum():.3f}",
        }
        if len(noisy) > 1:
            row["mean of two series"] = f"{psnr(denoised(data, series=('ky', 'phi')), rate):.2f}"
        rows.append(row)
        write("sparse_counts.csv", rows)


if __name__ == "__main__":
    main()
