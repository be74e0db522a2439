"""Weak replicas of a band: how much of them denoising keeps, and how often it invents one.

    python benchmarks/replicas.py        (some minutes on one core)

A parabola on 192 x 192 pixels and its copy, shifted along the momentum axis; 20 realisations each,
``adapt=False``, one thread. "kept" is the amplitude of the copy in the denoised image (weighted
least squares with the true band and background), 1 being the truth; "without the search" is the
same network with the search for replicas turned off.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
import xarray as xr
from tables import write

import arpes_ml_plugins  # noqa: F401
from arpes_ml_plugins.denoising import counts_denoiser

torch.set_num_threads(1)

SIZE, SEEDS = 192, 20
ENERGY, MOMENTUM = np.meshgrid(
    np.linspace(-0.6, 0.1, SIZE), np.linspace(-1, 1, SIZE), indexing="ij"
)
FERMI = 1 / (1 + np.exp(ENERGY / 0.02))
Image = np.ndarray


def band(at: float) -> Image:
    return FERMI / (1 + ((ENERGY + 0.35 - 0.8 * (MOMENTUM - at) ** 2) / 0.02) ** 2)


def kept(image: Image, parts: tuple[Image, ...], rate: Image) -> float:
    """Amplitude of the last part in the image."""
    weight = 1 / np.sqrt(rate)
    design = np.stack([(part * weight).ravel() for part in parts], 1)
    return float(np.linalg.lstsq(design, (image * weight).ravel(), rcond=None)[0][-1])


@contextmanager
def search(on: bool) -> Iterator[None]:
    before = counts_denoiser.recover_replicas
    if not on:
        counts_denoiser.recover_replicas = lambda counts, clean, valid: clean
    try:
        yield
    finally:
        counts_denoiser.recover_replicas = before


def denoised(counts: Image, on: bool) -> tuple[Image, str]:
    data = xr.DataArray(counts, dims=("eV", "phi"))
    with search(on):
        clean = data.S.denoise_pretrained(adapt=False, gain=1, mesh=None, rng=0)
    return clean.values, clean.attrs["provenance"]["record"]["found"]["residual"]


def main() -> None:
    rows = []
    background = 0.05 * (0.2 + FERMI)
    for strength in (0.0, 0.015, 0.03):
        for counts in (1, 3, 10):
            parts = band(-0.25), background, strength * band(0.4)
            scale = counts / sum(parts).mean()
            parts = tuple(part * scale for part in parts)
            rate = sum(parts)
            found: dict[bool, list[float]] = {False: [], True: []}
            told = 0
            for seed in range(SEEDS):
                drawn = np.random.default_rng(seed).poisson(rate)
                for on in (False, True):
                    image, words = denoised(drawn, on)
                    if strength:
                        found[on].append(kept(image, parts, rate))
                    told += on and "replica of the bands" in words
            information = (parts[-1] ** 2 / rate).sum() ** 0.5
            row: dict[str, object] = {
                "intensity of the copy": f"{strength:.1%}",
                "counts per pixel": counts,
                "standard deviations in the data": f"{information:.1f}" if strength else "",
            }
            for on, name in ((False, "kept without the search"), (True, "kept")):
                values = found[on]
                spread = f"{np.mean(values):.2f} ± {np.std(values):.2f}" if values else ""
                row[name] = spread
            rows.append(row | {"copies added, of 20": told})
    write("replicas.csv", rows)


if __name__ == "__main__":
    main()
