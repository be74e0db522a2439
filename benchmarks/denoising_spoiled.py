"""What detectors do to counts: defects, gaps, gains and a mesh."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import xarray as xr
from scenes import Scene, make_scene
from tables import write

import arpes_ml_plugins  # noqa: F401


def defects() -> None:
    """PSNR of "kink 10" when the detector is not perfect; away from what is missing."""
    scene = make_scene("kink 10", 0)
    rng = np.random.default_rng(5)
    rows = []
    for what, values, kept, unit in spoiled(scene, rng):
        line: dict[str, object] = {"data": what}
        for method, options in (
            ("denoise_pretrained", {"adapt": False}),
            ("denoise_pretrained", {}),
            ("denoise_pcp_unet", {}),
        ):
            if unit != 1 and method == "denoise_pcp_unet":
                continue  # it knows no unit
            cut = xr.DataArray(values, dims=("phi", "eV"))
            clean = getattr(cut.S, method)(rng=0, **options).values / unit
            peak = np.percentile(scene.reference, 99.9)
            error = np.mean((clean - scene.reference)[kept] ** 2)
            name = method + (", adapt=False" if options else "")
            line[name] = f"{10 * np.log10(peak**2 / error):.2f}"
        rows.append(line)
        print(line, flush=True)
        write("denoising_defects.csv", rows)


def crossed(counts: np.ndarray) -> np.ndarray:
    """With straight tracks, 1 to 3 times as bright as the brightest pixel."""
    rng = np.random.default_rng(6)
    values = counts.astype(float)
    for _ in range(20):
        row, column = (rng.integers(9, size - 9) for size in counts.shape)
        angle, along = rng.uniform(0, np.pi), np.arange(rng.integers(3, 9))
        rows = row + (np.sin(angle) * along).round().astype(int)
        columns = column + (np.cos(angle) * along).round().astype(int)
        values[rows, columns] = rng.uniform(1, 3, len(along)) * counts.max()
    return values


def spoiled(
    scene: Scene, rng: np.random.Generator
) -> Iterable[tuple[str, np.ndarray, np.ndarray, float]]:
    """What is wrong, the values, which pixels are judged, and the unit."""
    counts, everywhere = scene.noisy, np.ones(scene.noisy.shape, dtype=bool)
    yield "nothing", counts, everywhere, 1.0
    hot = rng.random(counts.shape) < 0.005
    yield (
        "0.5 % hot pixels, up to 3 times the maximum",
        np.where(hot, rng.uniform(0, 3 * counts.max(), counts.shape), counts),
        everywhere,
        1.0,
    )
    yield "20 tracks of cosmic rays, 3 to 8 pixels", crossed(counts), everywhere, 1.0
    dead = counts.copy()
    dead[77] = dead[:, 120] = 0
    yield "a dead row and a dead column", dead, everywhere, 1.0
    row, column = np.indices(counts.shape)
    wedge = (row + column < 100) | (row - column > 150)
    yield "NaN wedges", np.where(wedge, np.nan, counts), ~wedge, 1.0
    rim = ~wedge & ((row + column < 106) | (row - column > 144))
    yield "NaN wedges: their rim of 6 pixels", np.where(wedge, np.nan, counts), rim, 1.0
    yield "nothing: the same rim", counts, rim, 1.0
    yield "counts times 25", counts * 25, everywhere, 25.0
    yield "normalised to 1", counts / counts.max(), everywhere, 1 / counts.max()
    yield (
        "25 units an electron, each of another size (variance / mean 30)",
        np.rint(rng.gamma(counts * 5, 5.0)),
        everywhere,
        25.0,
    )


def crossed_wires(shape: tuple[int, int], period: float, degrees: float) -> np.ndarray:
    """Transmission of two crossed sets of wires with soft edges, 25 % deep, over its mean."""
    row, column = np.indices(shape)
    angle = np.deg2rad(degrees)
    flat = np.ones(shape)
    for along in (
        np.cos(angle) * row + np.sin(angle) * column,
        np.cos(angle) * column - np.sin(angle) * row,
    ):
        distance = np.abs((along / period + 0.5) % 1 - 0.5)
        flat *= 1 - 0.25 / (1 + np.exp((distance - 0.125) / 0.03))
    return flat / flat.mean()


def mesh() -> None:
    """A detector mesh: left in, found in the data, and known."""
    scene = make_scene("kink 10", 0)
    pattern = crossed_wires(scene.noisy.shape, 11.7, 3)
    rows = []
    for counts in (1, 10, 100):
        truth = scene.reference * counts / 10
        seen = np.random.default_rng(1).poisson(truth * pattern).astype(float)
        for what, values, options in (
            ("left in", seen, {"mesh": None}),
            ("found in the data", seen, {}),
            ("known", seen / pattern, {"mesh": None, "gain": 1.0}),
        ):
            cut = xr.DataArray(values, dims=("phi", "eV"))
            line: dict[str, object] = {"counts per pixel": counts, "mesh": what}
            for adapt in (False, True):
                start = time.process_time()
                clean = cut.S.denoise_pretrained(rng=0, adapt=adapt, **options).values
                name = "adapted" if adapt else "adapt=False"
                line[name] = f"{replace(scene, reference=truth).score(clean):.2f}"
                line[f"CPU s, {name}"] = f"{time.process_time() - start:.1f}"
            rows.append(line)
            print(line, flush=True)
    write("denoising_mesh.csv", rows)
