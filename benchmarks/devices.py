"""Time the methods on a GPU and on the processors of the same machine.

    python benchmarks/devices.py [WORD ...]        about five minutes beside one GPU

With words, only the methods whose names contain one of them are timed; the other rows stay.
Writes docs/measured/devices.csv: seconds of the second call of each method, with the name of the
card. Results of both devices are compared: the difference is a root mean square over that of the
result. CPU times are those of torch's default number of threads.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
import xarray as xr
from tables import read, write

import arpes_ml_plugins as ml

ENERGY = np.linspace(-3, 3, 40)
TAU = np.linspace(0, 20, 64)
OMEGA = np.linspace(-6, 6, 200)


def spectra(count: int) -> xr.DataArray:
    """Green's functions of two peaks, beta = 20, with errors of 1e-3."""
    rng = np.random.default_rng(0)
    places = rng.uniform(-2, 2, (count, 2, 1))
    dense = np.exp(-((OMEGA - places) ** 2) / 0.3).sum(1)
    dense /= dense.sum(1, keepdims=True)
    kernel = -np.exp(-TAU[:, None] * OMEGA) / (1 + np.exp(-20 * OMEGA))
    values = dense @ kernel.T + 1e-3 * rng.normal(size=(count, len(TAU)))
    return xr.DataArray(values, {"tau": TAU}, ("sample", "tau"))


def mixture(size: int) -> xr.DataArray:
    """Three lines on a map of counts, ``(y, x, eV)``."""
    y, x = np.mgrid[:size, :size] / size
    maps = np.stack([np.sin(3 * x) ** 2, np.cos(4 * y) ** 2, x * y], -1)
    lines = np.exp(-((ENERGY - np.array([[-1], [0.2], [1.1]])) ** 2) / 0.1) + 0.05
    counts = np.random.default_rng(0).poisson(30 * maps @ lines)
    return xr.DataArray(counts * 1.0, {"eV": ENERGY}, ("y", "x", "eV"))


def cases() -> dict[str, Callable[[str], xr.DataArray]]:
    """Each method on data of a size that users have."""
    cut = ml.simulate_scene((240, 240), counts=5, rng=0).spectrum
    large = ml.simulate_scene((1000, 1000), counts=5, rng=0).spectrum
    volume = ml.simulate_scene((96, 96), counts=5, slices=100, rng=0).spectrum
    greens, image = spectra(1000), mixture(300)

    def spectral(result: xr.Dataset) -> xr.DataArray:
        return result["spectral_function"]

    return {
        "denoise_pretrained, adapt=False, 240 x 240": lambda device: cut.S.denoise_pretrained(
            adapt=False, rng=0, device=device
        ),
        "denoise_pretrained, adapt=False, 1000 x 1000": lambda device: large.S.denoise_pretrained(
            adapt=False, rng=0, device=device
        ),
        "denoise_pretrained, adapt=False, 100 x 96 x 96": lambda device: (
            volume.S.denoise_pretrained(adapt=False, rng=0, device=device)
        ),
        "denoise_pretrained, 240 x 240": lambda device: cut.S.denoise_pretrained(
            rng=0, device=device
        ),
        "sample_posterior, 16 draws, 240 x 240": lambda device: ml.sample_posterior(
            cut, draws=16, rng=0, device=device
        ),
        "denoise_pcp_unet, 200 iterations, 240 x 240": lambda device: cut.S.denoise_pcp_unet(
            iterations=200, rng=0, device=device
        ),
        "continue_rlista, 1000 spectra": lambda device: spectral(
            greens.S.continue_rlista(omega=OMEGA, stderr=1e-3, beta=20.0, rng=0, device=device)
        ),
        "continue_maxent, 1000 spectra": lambda device: spectral(
            greens.S.continue_maxent(omega=OMEGA, stderr=1e-3, beta=20.0, rng=0, device=device)
        ),
        "separate_gmca, 40 x 300 x 300": lambda device: image.S.separate_gmca(
            n_components=3, rng=0, device=device
        )["maps"],
        "separate_palm, 40 x 300 x 300": lambda device: image.S.separate_palm(
            n_components=3, rng=0, device=device
        )["maps"],
    }


def seconds(run: Callable[[str], xr.DataArray], device: str) -> tuple[float, xr.DataArray]:
    """Of the second call: the first one loads the network and the libraries of the device."""
    run(device)
    start = time.perf_counter()
    result = run(device)
    return time.perf_counter() - start, result


def kept(chosen: list[str]) -> dict[str, dict[str, object]]:
    """Rows of an earlier run that this one does not replace, by method."""
    return {row["method"]: row for row in read("devices.csv") if row["method"] not in chosen}


def main(words: list[str]) -> None:
    warnings.simplefilter("ignore")
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    methods = cases()
    chosen = [name for name in methods if not words or any(word in name for word in words)]
    rows = kept(chosen)
    for name in chosen:
        run = methods[name]
        row: dict[str, object] = {"method": name, "card": card, "CPU threads": os.cpu_count()}
        row["CPU s"], reference = seconds(run, "cpu")
        if torch.cuda.is_available():
            row["GPU s"], result = seconds(run, "cuda")
            scale = float(np.sqrt((reference.values**2).mean()))
            row["difference"] = float(np.sqrt(((result - reference).values ** 2).mean())) / scale
        rows[name] = row
        write("devices.csv", [rows[each] for each in methods if each in rows])


if __name__ == "__main__":
    main(sys.argv[1:])
