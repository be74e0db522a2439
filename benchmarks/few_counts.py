"""Blind separation of maps with about one count per value: angles, and what the status says.

python benchmarks/few_counts.py       about three minutes on one core

The search for shifts, which a method begins with, is left out.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import itertools

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from scipy.optimize import linear_sum_assignment
from tables import write

from arpes_ml_plugins.separation.blind_start import blind_start
from arpes_ml_plugins.separation.solvers import Gmca, Nmf, Palm, Prior, Solver
from arpes_ml_plugins.separation.value_noise import value_noise
from arpes_ml_plugins.separation.whiten import Whitened, whiten

SEEDS = 2  # of each kind of spectra and maps
COUNTS = (1, 3, 10, 30)
LIMIT, SMALL = 5, 2  # degrees
ENERGY = np.linspace(-3, 3, 60)
SIZE = 40


def peak(centre: float, width: float) -> np.ndarray:
    return np.exp(-(((ENERGY - centre) / width) ** 2))


def drawn_spectra(kind: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """``(count, energies)``: lines, doublets, or lines on steps; all with a background."""
    width = rng.uniform(0.2, 0.4, count)
    if kind == "doublets":
        centre = np.linspace(-0.6, 1.9, count) + rng.uniform(-0.15, 0.15, count)
        ratio, apart = rng.uniform(0.5, 0.9, count), rng.uniform(0.9, 1.7)
        each = zip(centre, width, ratio, strict=True)
        return np.stack([peak(c, w) + r * peak(c - apart, w) + 0.1 for c, w, r in each])
    centre = np.linspace(-1.8, 1.8, count) + rng.uniform(-0.25, 0.25, count)
    each = zip(centre, width, strict=True)
    if kind == "lines":
        return np.stack([peak(c, w) + 0.05 for c, w in each])
    return np.stack(
        [0.6 / (1 + np.exp((ENERGY - c) / 0.12)) + 0.8 * peak(c - 0.35, w) + 0.05 for c, w in each]
    )


def drawn_maps(kind: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """``(count, y, x)``: regions of one state each, the same with a grain of 2 to 5 % of the
    pixels, or smooth gradients in which states overlap.
    """
    y, x = np.mgrid[:SIZE, :SIZE]
    if kind == "gradients":
        smooth = gaussian_filter(rng.standard_normal((count, SIZE, SIZE)), (0, 6, 6))
        smooth /= smooth.std((1, 2), keepdims=True)
        return (smooth + 0.3).clip(0) * rng.uniform(0.6, 1, (count, 1, 1))
    if kind == "grain":
        others, radius = drawn_maps("regions", count - 1, rng), SIZE * rng.uniform(0.08, 0.126)
        grain = np.hypot(*(a - rng.uniform(radius, SIZE - radius) for a in (y, x))) < radius
        return np.concatenate([others * ~grain, rng.uniform(0.6, 1) * grain[None]])
    sites, owner = rng.uniform(0, SIZE, (3 * count, 2)), np.arange(3 * count) % count
    near = np.hypot(y[..., None] - sites[:, 0], x[..., None] - sites[:, 1]).argmin(-1)
    return (owner[near] == np.arange(count)[:, None, None]) * rng.uniform(0.5, 1, (count, 1, 1))


def largest_angle(found: np.ndarray, truth: np.ndarray) -> float:
    """Between true spectra and found ones, one to one, in degrees."""
    found, truth = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (found, truth))
    cosine = (truth @ found.T).clip(-1, 1)
    return float(np.degrees(np.arccos(cosine[linear_sum_assignment(-cosine)])).max())


def whitened(counts: np.ndarray) -> Whitened:
    """Of ``(y, x, energies)``."""
    cube = torch.from_numpy(counts).permute(2, 0, 1).contiguous()
    whole = torch.ones(SIZE, SIZE, dtype=torch.bool)
    noise = value_noise(cube, whole.expand_as(cube))
    return whiten(cube, whole, by_value=noise, summed=True)


def solvers(count: int) -> dict[str, Solver]:
    """With the defaults of the methods."""

    def prior(data: Whitened) -> Prior:
        start = blind_start(data.pixels, count, nonnegative=data.nonnegative, seed=0)
        return Prior(start, [], blind=True)

    return {"GMCA": Gmca(count), "PALM": Palm(prior, 3.0, 200), "NMF": Nmf(count, 0.0, 0)}


def separated(solver: Solver, data: Whitened, truth: np.ndarray) -> tuple[float, bool]:
    """Largest angle, and whether there is no note on it."""
    result = solver.separate(data)
    found = torch.zeros(len(data.noise), len(truth), dtype=data.pixels.dtype)
    found[data.kept] = result.spectra * data.noise[data.kept][:, None]
    return largest_angle(found.mT.numpy(), truth), not result.notes


def main() -> None:
    kinds = list(
        itertools.product(
            ("lines", "doublets", "steps"), ("regions", "gradients", "grain"), (3, 4), range(SEEDS)
        )
    )
    rows = []
    for counts in COUNTS:
        results: dict[str, list[tuple[float, bool]]] = {}
        for number, (spectrum, space, count, _) in enumerate(kinds):
            rng = np.random.default_rng(number)
            truth = drawn_spectra(spectrum, count, rng)
            rate = np.einsum("kyx,ke->yxe", drawn_maps(space, count, rng), truth)
            data = whitened(rng.poisson(counts * rate / rate.max()) * 1.0)
            for method, solver in solvers(count).items():
                results.setdefault(method, []).append(separated(solver, data, truth))
        rows += [_row(counts, method, found) for method, found in results.items()]
        write("few_counts.csv", rows)


def _row(counts: float, method: str, found: list[tuple[float, bool]]) -> dict[str, object]:
    ok = [angle for angle, fine in found if fine]
    small = [fine for angle, fine in found if angle < SMALL]
    return {
        "counts": counts,
        "method": method,
        "median angle": f"{np.median([angle for angle, _ in found]):.1f}",
        "status ok": f"{len(ok)} of {len(found)}",
        "largest angle with status ok": f"{max(ok):.1f}" if ok else "",
        f"of these above {LIMIT} degrees": sum(angle > LIMIT for angle in ok),
        f"below {SMALL} degrees, but not ok": f"{small.count(False)} of {len(small)}",
    }


if __name__ == "__main__":
    main()
