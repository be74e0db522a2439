"""Denoisers on sharp and weak structure, and behind detectors that correlate the noise.

    python benchmarks/detectors.py            all but files, about an hour on one core
    python benchmarks/detectors.py sharp      lines, doublets, edges, tails, replicas
    python benchmarks/detectors.py clouds     every electron a cloud of charge of random height
    python benchmarks/detectors.py correlated clouds and conversion to momentum, against white noise
    python benchmarks/detectors.py cameras    clouds, a gain, a pedestal and read-out noise, rounded
    python benchmarks/detectors.py files F    measured images in an .npz file: the noise, seconds,
                                              and the likelihood of a second measurement

Mean of three realisations of the noise (of 24 for differences), one thread. None of the scenes
was used in training.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import time
from collections.abc import Callable
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np
import torch
import xarray as xr
from scipy.ndimage import gaussian_filter, map_coordinates
from stabilised import bm3d_binned
from tables import read, write

import arpes_ml_plugins  # noqa: F401
from arpes_ml_plugins.scoring import psnr
from arpes_ml_plugins.simulation.detectors import clouds

torch.set_num_threads(1)

SEEDS = 3
OF_DIFFERENCES = 24  # realisations: differences of two means scatter more than these
SPREAD = 0.5  # relative, of the heights of pulses
GAIN, PEDESTAL, READ_OUT = 30, 100, 6  # of the camera, in its units
SIZE = 200
ROWS, COLUMNS = np.indices((SIZE, SIZE)) - (SIZE - 1) / 2


def line(sigma: float) -> np.ndarray:
    """A straight line across the image."""
    return np.exp(-(((ROWS - 0.27 * COLUMNS) / np.hypot(1, 0.27) / sigma) ** 2) / 2) + 0.02


def doublet(distance: float) -> np.ndarray:
    """Two curved lines side by side."""
    centre = 30 - 0.004 * COLUMNS**2
    pair = sum(
        np.exp(-(((ROWS - centre - side * distance / 2) / 0.9) ** 2) / 2) for side in (-1, 1)
    )
    return pair + 0.03


def edge() -> np.ndarray:
    """A band on a detector with a hard round edge."""
    band = 0.3 + 1 / (1 + ((ROWS + 20 - 0.006 * COLUMNS**2) / 5) ** 2)
    return band * (np.hypot(ROWS, 1.1 * COLUMNS) < 80) + 1e-4


def tail() -> np.ndarray:
    """Three decades between a band and the dark."""
    return 1 / (1 + ((ROWS - 40 + 0.002 * COLUMNS**2) / 2) ** 2) ** 1.5 + 5e-4


def replica() -> np.ndarray:
    """A band and its replica of 2 %."""
    band = [1 / (1 + ((COLUMNS + 40 - 0.012 * (ROWS - c) ** 2) / 4) ** 2) for c in (-25, 35)]
    return (band[0] + 0.02 * band[1]) / (1 + np.exp((COLUMNS - 80) / 3)) + 0.04


SCENES: dict[str, Callable[[], np.ndarray]] = {
    "line, sigma 0.7 px": lambda: line(0.7),
    "line, sigma 1.2 px": lambda: line(1.2),
    "doublet, 3 px": lambda: doublet(3),
    "doublet, 5 px": lambda: doublet(5),
    "hard edge": edge,
    "dark tail": tail,
    "replica of 2 %": replica,
}


def labelled(values: np.ndarray) -> xr.DataArray:
    return xr.DataArray(values, dims=("phi", "eV"))


def gaussian_oracle(values: np.ndarray, truth: np.ndarray) -> np.ndarray:
    widths = np.arange(0.3, 6, 0.1)
    return max((gaussian_filter(values, s) for s in widths), key=lambda image: psnr(image, truth))


def bm3d_oracle(counts: np.ndarray, truth: np.ndarray) -> float:
    """PSNR of BM3D with the better of no binning and 2 x 2 binning; NaN if it is not installed."""
    if importlib.util.find_spec("bm3d") is None:
        return np.nan
    return max(psnr(bm3d_binned(counts, factor), truth) for factor in (1, 2))


def scored(data: Callable[[int], tuple[np.ndarray, np.ndarray]]) -> dict[str, str]:
    """PSNR of the data, of the best Gaussian, of BM3D and of the network, and its seconds."""
    rows = []
    for seed in range(SEEDS):
        values, truth = data(seed)
        row = [psnr(values, truth), psnr(gaussian_oracle(values, truth), truth)]
        row.append(bm3d_oracle(values, truth))
        for adapt in (False, True):
            started = time.process_time()
            clean = labelled(values).S.denoise(adapt=adapt, rng=0)
            row += [psnr(clean.values, truth), time.process_time() - started]
        rows.append(row)
    names = ("noisy", "Gaussian, oracle", "BM3D, oracle binning")
    names += ("adapt=False", "CPU s", "denoise()", "CPU s, adapted")
    means = zip(names, np.mean(rows, axis=0), strict=True)
    return {name: f"{value:.1f}" for name, value in means if not np.isnan(value)}


def measured_before(name: str) -> list[dict[str, str]]:
    """Rows of a table, from which BM3D is taken where it is not installed."""
    return [{key: row[key] for key in row if key.startswith("BM3D")} for row in read(name)]


def sharp() -> None:
    rows: list[dict[str, object]] = []
    before = measured_before("denoising_sharp.csv")
    for name, make in SCENES.items():
        for counts in (3, 30):
            rate = make() * counts / make().mean()

            def data(seed: int, rate: np.ndarray = rate) -> tuple[np.ndarray, np.ndarray]:
                return np.random.default_rng(seed).poisson(rate).astype(float), rate

            kept = before[len(rows)]
            rows.append({"scene": name, "counts per pixel": counts} | kept | scored(data))
            print(rows[-1], flush=True)
            write("denoising_sharp.csv", rows)


def behind_clouds() -> None:
    rows: list[dict[str, object]] = []
    before = measured_before("denoising_clouds.csv")
    for counts in (1, 10, 100):
        rate = replica() * counts / replica().mean()
        for width in (0.0, 0.4, 0.8, 1.2):

            def data(
                seed: int, rate: np.ndarray = rate, width: float = width
            ) -> tuple[np.ndarray, np.ndarray]:
                rng = np.random.default_rng(seed)
                return clouds(rate, (width, width), SPREAD if width else 0.0, rng)

            row = {"counts per pixel": counts, "width of the cloud, px": width}
            rows.append(row | before[len(rows)] | scored(data))
            print(rows[-1], flush=True)
            write("denoising_clouds.csv", rows)


def converted(values: np.ndarray) -> np.ndarray:
    """An image of angle and energy, interpolated linearly at equal steps of momentum.

    The angle spans 30 degrees, the kinetic energy 2 to 4 eV, as with a laser.
    """
    places = _angles()
    places = np.stack([places, np.indices(places.shape)[1]])
    return map_coordinates(values, places, order=1, mode="nearest")


def _angles() -> np.ndarray:
    """Where the pixels of equal steps of momentum lie, in pixels of angle."""
    degrees, energies = np.linspace(-15, 15, SIZE), np.linspace(2, 4, SIZE)
    inside = np.sin(np.radians(15)) * np.sqrt(energies[0])  # in units of sqrt(2 m eV) / hbar
    momenta = np.linspace(-inside, inside, SIZE)
    angles = np.degrees(np.arcsin(momenta[:, None] / np.sqrt(energies)))
    return np.interp(angles, degrees, np.arange(SIZE))


def against_white() -> None:
    """PSNR without adapting, less that of the same scene with white noise of the same gain.

    The conversion stretches the image, so that an electron is in more than one pixel: its gain.
    """
    stretch = 1 / np.diff(_angles(), axis=0).mean()
    scenes = {"replica of 2 %": replica, "doublet, 5 px": lambda: doublet(5), "hard edge": edge}
    rows: list[dict[str, object]] = []
    for name, make in scenes.items():
        for counts in (1, 10, 100):
            rate = make() * counts / make().mean()
            row: dict[str, object] = {"scene": name, "counts per pixel": counts}
            row["counts, dB"] = (
                f"{_mean_psnr(lambda rng, rate=rate: (rng.poisson(rate), rate)):.1f}"
            )
            for width in (0.4, 0.8, 1.2):
                behind = _mean_psnr(lambda rng, r=rate, w=width: clouds(r, (w, w), SPREAD, rng))
                white = _mean_psnr(lambda rng, r=rate, w=width: _white(r, w, rng))
                row[f"clouds of {width} px"] = f"{behind - white:+.1f}"
            after = _mean_psnr(lambda rng, r=rate: (converted(1.0 * rng.poisson(r)), converted(r)))
            before = _mean_psnr(lambda rng, r=rate: _of_gain(stretch, converted(r), rng))
            row["converted to momentum"] = f"{after - before:+.1f}".replace("-0.0", "+0.0")
            rows.append(row)
            print(row, flush=True)
            write("denoising_correlated.csv", rows)


def _white(
    rate: np.ndarray, width: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The expectation behind clouds with white noise of as large a gain."""
    return _of_gain(1 + SPREAD**2, clouds(rate, (width, width), 0.0, rng)[1], rng)


def _of_gain(
    gain: float, expected: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    return gain * rng.poisson(expected / gain), expected


def _mean_psnr(data: Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]) -> float:
    found = []
    for seed in range(OF_DIFFERENCES):
        values, truth = data(np.random.default_rng(seed))
        clean = labelled(values.astype(float)).S.denoise(adapt=False, rng=0)
        found.append(psnr(clean.values, truth))
    return float(np.mean(found))


CAMERA = {
    "noisy": 1,
    "Gaussian, oracle": 1,
    "adapt=False": 1,
    "bars hold": 2,
    "gain / truth": 2,
    "pedestal": 0,
}
"""What is measured on images of a camera, and how many digits are written."""


def cameras() -> None:
    """The noise estimate, the best Gaussian filter and the network on images of a camera."""
    rows: list[dict[str, object]] = []
    for name in ("doublet, 5 px", "hard edge", "dark tail", "replica of 2 %"):
        for counts in (0.3, 1, 10):
            rate = SCENES[name]() * counts / SCENES[name]().mean()
            for width in (0.4, 0.8):
                found = np.mean([_camera(rate, width, seed) for seed in range(SEEDS)], axis=0)
                row = {"scene": f"{name}, clouds of {width} px", "counts per pixel": counts}
                results = zip(CAMERA.items(), found, strict=True)
                rows.append(row | {key: f"{value:.{digits}f}" for (key, digits), value in results})
                print(rows[-1], flush=True)
                write("denoising_cameras.csv", rows)


def _camera(rate: np.ndarray, width: float, seed: int) -> tuple[float, ...]:
    rng = np.random.default_rng(1000 + seed)
    charge, mean = clouds(rate, (width, width), SPREAD, rng)
    values = np.rint(GAIN * charge + PEDESTAL + rng.normal(0, READ_OUT, rate.shape))
    truth = GAIN * mean + PEDESTAL
    result = labelled(values).S.decompose_pretrained(adapt=False, rng=0)
    noise = labelled(values).S.estimate_noise()
    held = (result.lower.values <= truth) & (truth <= result.upper.values)
    pedestal = float(noise["pedestal"]) or max(-float(noise["shift"]), 0.0)
    return (
        psnr(values - PEDESTAL, truth - PEDESTAL),
        psnr(gaussian_oracle(values - PEDESTAL, truth - PEDESTAL), truth - PEDESTAL),
        psnr(result.clean.values - PEDESTAL, truth - PEDESTAL),
        float(held.mean()),
        float(noise["gain"]) / (GAIN * (1 + SPREAD**2)),
        pedestal,
    )


def files(path: Path) -> None:
    """Images of detectors; those called ..._even are judged by their ..._odd counterparts."""
    images = np.load(path)
    rows = []
    for name in images.files:
        values = images[name].astype(float)
        started = time.process_time()
        clean = labelled(values).S.denoise(adapt=False, rng=0)
        seconds = time.process_time() - started
        noise = clean.attrs["provenance"]["record"]["found"].get("noise", "")
        row = {"image": name, "pixels": " x ".join(map(str, values.shape)), "noise": noise}
        other = name.replace("even", "odd")
        if other != name and other in images.files:
            repeat = images[other].astype(float)
            best = max(
                _likelihood(gaussian_filter(values, s), repeat) for s in np.arange(0.3, 6, 0.1)
            )
            row["likelihood over the best Gaussian"] = (
                f"{_likelihood(clean.values, repeat) - best:+.4f}"
            )
        rows.append(row | {"CPU s": f"{seconds:.1f}"})
        print(rows[-1], flush=True)
    write("denoising_files.csv", rows)


def _likelihood(rate: np.ndarray, counts: np.ndarray) -> float:
    rate = np.maximum(rate, 0.01)
    return float(np.mean(counts * np.log(rate) - rate))


PARTS = {"sharp": sharp, "clouds": behind_clouds, "correlated": against_white, "cameras": cameras}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("part", nargs="?", choices=("all", *PARTS, "files"), default="all")
    parser.add_argument("file", nargs="?", type=Path)
    options = parser.parse_args()
    for part, measure in PARTS.items():
        if options.part in ("all", part):
            measure()
    if options.part == "files":
        files(options.file)
