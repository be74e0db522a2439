"""Denoisers compared on images whose truth is known; every number in the docs comes from here.

    python benchmarks/denoising.py             all of it (an hour on one core)
    python benchmarks/denoising.py table       PSNR, CPU time and peak memory of every method
    python benchmarks/denoising.py curves      PSNR against iteration, as a figure
    python benchmarks/denoising.py pcp         time and convergence of principal component pursuit

Everything runs on one thread. Each entry of the table is a process of its own, so that its CPU time
and peak memory are its own; "oracle" means that the parameter was chosen with the truth. BM3D is
compared where it is installed (its licence is not free: never a dependency).
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np
import torch
import xarray as xr
from scenes import SCENES, Scene, make_scene
from scipy.ndimage import gaussian_filter

import arpes_ml_plugins  # noqa: F401
from arpes_ml_plugins.denoising.recipes import FIXED_INPUT, PUBLISHED, ROBUST, Recipe

torch.set_num_threads(1)
RESULTS = Path(__file__).parents[1] / "docs" / "measured"


def anscombe(counts: np.ndarray) -> np.ndarray:
    return 2 * np.sqrt(counts + 3 / 8)


def inverse_anscombe(stable: np.ndarray) -> np.ndarray:
    """Closed-form approximation of the unbiased inverse (Makitalo and Foi 2011)."""
    d = np.maximum(stable, 2 * np.sqrt(3 / 8))
    return d**2 / 4 - 1 / 8 + np.sqrt(1.5) / 4 / d - 11 / 8 / d**2 + 5 / 8 * np.sqrt(1.5) / d**3


def oracle(scene: Scene, images: Iterable[np.ndarray]) -> np.ndarray:
    return max(images, key=scene.score)


def gaussian(scene: Scene) -> np.ndarray:
    return gaussian_filter(scene.noisy, 2.0)


def gaussian_oracle(scene: Scene) -> np.ndarray:
    return oracle(scene, (gaussian_filter(scene.noisy, s) for s in np.arange(0.5, 8, 0.1)))


def tv_oracle(scene: Scene) -> np.ndarray:
    from skimage.restoration import denoise_tv_chambolle

    stable = anscombe(scene.noisy)
    weights = (0.5, 0.7, 1, 1.4, 2, 2.8, 4, 6)
    return oracle(scene, (inverse_anscombe(denoise_tv_chambolle(stable, w)) for w in weights))


def nlm_oracle(scene: Scene) -> np.ndarray:
    from skimage.restoration import denoise_nl_means

    stable = anscombe(scene.noisy)
    return oracle(
        scene,
        (
            inverse_anscombe(
                denoise_nl_means(stable, patch_size=7, patch_distance=11, h=h, sigma=1.0)
            )
            for h in (0.4, 0.6, 0.8, 1.0)
        ),
    )


def bm3d_oracle(scene: Scene) -> np.ndarray:
    """With the better of no binning and 2 x 2 binning."""
    import bm3d

    def binned(factor: int) -> np.ndarray:
        size = scene.noisy.shape[0] // factor
        counts = scene.noisy.reshape(size, factor, size, factor).sum((1, 3))
        clean = inverse_anscombe(bm3d.bm3d(anscombe(counts), 1.0))
        return np.kron(clean, np.ones((factor, factor))) / factor**2

    return oracle(scene, (binned(factor) for factor in (1, 2)))


def labelled(scene: Scene) -> xr.DataArray:
    return xr.DataArray(scene.noisy, dims=("phi", "eV"))


METHODS: dict[str, Callable[[Scene], np.ndarray]] = {
    "noisy": lambda scene: scene.noisy,
    "Gaussian, 2 pixels": gaussian,
    "Gaussian, oracle": gaussian_oracle,
    "total variation, oracle": tv_oracle,
    "non-local means, oracle": nlm_oracle,
    "BM3D, oracle binning": bm3d_oracle,
    "denoise_pcp_unet": lambda s: labelled(s).S.denoise_pcp_unet(rng=0).values,
}
SLOW_METHODS = {
    "denoise_pcp_unet, published": lambda s: (
        labelled(s).S.denoise_pcp_unet(rng=0, recipe="published").values
    ),
}
SLOW_SCENES = ("cut 2 %", "kink 10")


def measure(method: str, scene_name: str, seed: int) -> dict[str, object]:
    """One entry of the table, in a process of its own."""
    command = [sys.executable, __file__, "one", method, scene_name, str(seed)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        return {"method": method, "scene": scene_name, "error": "not available"}
    found = json.loads(output.splitlines()[-1])
    return {"method": method, "scene": scene_name, **found, "peak_mib": usage.ru_maxrss // 1024}


def run_one(method: str, scene_name: str, seed: int) -> None:
    scene = make_scene(scene_name, seed)
    started = time.process_time()
    image = (METHODS | SLOW_METHODS)[method](scene)
    seconds = time.process_time() - started
    print(json.dumps({"psnr": scene.score(image), "cpu_s": seconds}))


def table(seeds: int, methods: list[str]) -> None:
    """Measure ``methods`` (all if empty); rows of other methods stay as they are on file."""
    chosen = methods or list(METHODS | SLOW_METHODS)
    rows = [row for row in read("denoising_runs.csv") if row["method"] not in chosen]
    for method in chosen:
        for scene in SCENES:
            if method in SLOW_METHODS and scene not in SLOW_SCENES:
                continue
            repeats = 1 if method in SLOW_METHODS else seeds
            runs = [measure(method, scene, seed) for seed in range(repeats)]
            if "error" in runs[0]:
                continue
            scores = [float(run["psnr"]) for run in runs]
            rows.append(
                {
                    "method": method,
                    "scene": scene,
                    "psnr": f"{np.mean(scores):.2f}",
                    "spread": f"{np.ptp(scores) / 2:.2f}",
                    "seeds": repeats,
                    "cpu_s": f"{np.median([float(run['cpu_s']) for run in runs]):.1f}",
                    "peak_mib": max(int(run["peak_mib"]) for run in runs),
                }
            )
            print(rows[-1], flush=True)
            write("denoising_runs.csv", rows)
    summarise(rows)


def summarise(rows: list[dict[str, object]]) -> None:
    """One line a method: PSNR for every scene, then CPU seconds and memory for the first cut."""
    lines = []
    for method in METHODS | SLOW_METHODS:
        mine = {row["scene"]: row for row in rows if row["method"] == method}
        if not mine:
            continue
        any_row = mine["cut 2 %"]
        lines.append(
            {"method": method}
            | {scene: mine[scene]["psnr"] if scene in mine else "" for scene in SCENES}
            | {"CPU s": any_row["cpu_s"], "peak MiB": any_row["peak_mib"]}
        )
    write("denoising_table.csv", lines)


def curves(scenes: list[str]) -> None:
    """PSNR against iteration: input and learning-rate ratio (the paper's Figs. 3c and 4)."""
    from dataclasses import replace

    robust = replace(ROBUST, iterations=2000)
    runs = {
        "robust, PCP input": (robust, True, 0.5),
        "robust, fixed input": (robust, False, 0.5),
        "published, ratio 0.05": (PUBLISHED, True, 0.05),
        "published, ratio 0.5": (PUBLISHED, True, 0.5),
        "published, ratio 8": (PUBLISHED, True, 8.0),
        "published, ratio 200": (PUBLISHED, True, 200.0),
        "fixed input, gradient descent": (FIXED_INPUT, False, 0.5),
    }
    points = [row for row in read("denoising_points.csv") if row["scene"] not in scenes]
    for name in scenes:
        scene = make_scene(name)
        for run, settings in runs.items():
            for iteration, score in trace(scene, *settings):
                points.append(
                    {"scene": name, "run": run, "iteration": iteration, "psnr": f"{score:.3f}"}
                )
            print(points[-1], flush=True)
        write("denoising_points.csv", points)


def trace(scene: Scene, recipe: Recipe, prior: bool, ratio: float) -> list[tuple[int, float]]:
    """Iteration and PSNR during one fit of one network."""
    from arpes_ml_plugins.denoising.pcp import principal_component_pursuit
    from arpes_ml_plugins.denoising.two_stage import bfloat16_is_fast, fit

    images = torch.from_numpy(scene.noisy)[None]
    low_rank = principal_component_pursuit(images).low_rank if prior else None
    points = []

    def observe(iteration: int, image: torch.Tensor) -> None:
        if iteration < 20 or (iteration + 1) % (recipe.iterations // 100) == 0:
            points.append((iteration + 1, scene.score(image[0].numpy())))

    fit(
        images,
        torch.ones_like(images, dtype=torch.bool),
        low_rank,
        recipe,
        seeds=[0],
        noise_ratio=ratio,
        bfloat16=bfloat16_is_fast("cpu"),
        observe=observe,
    )
    return points


def draw_curves() -> None:
    """Figure and summary of the points on file."""
    from matplotlib import pyplot as plt

    points = read("denoising_points.csv")
    figure, panels = plt.subplots(1, 2, figsize=(11.5, 4.0), layout="constrained")
    rows = []
    for axes, name in zip(panels, SLOW_SCENES, strict=True):
        scene = make_scene(name)
        mine = [point for point in points if point["scene"] == name]
        for run in dict.fromkeys(point["run"] for point in mine):
            curve = np.array(
                [(int(p["iteration"]), float(p["psnr"])) for p in mine if p["run"] == run]
            )
            axes.semilogx(curve[:, 0], curve[:, 1], label=run, linewidth=1.2)
            best = curve[curve[:, 1].argmax()]
            rows.append(
                {
                    "scene": name,
                    "run": run,
                    "best PSNR": f"{best[1]:.2f}",
                    "at iteration": int(best[0]),
                    "last PSNR": f"{curve[-1, 1]:.2f}",
                    "iterations": int(curve[-1, 0]),
                }
            )
        axes.axhline(scene.score(scene.noisy), color="0.6", linestyle=":", label="noisy")
        axes.axhline(
            scene.score(gaussian_oracle(scene)), color="0.3", linestyle="--", label="best Gaussian"
        )
        axes.set(xlabel="iteration", ylabel="PSNR (dB)", title=name)
        axes.set_ylim(5, None)
    lines, labels = panels[0].get_legend_handles_labels()
    figure.legend(lines, labels, fontsize=8, loc="outside right center")
    figure.savefig(RESULTS / "denoising_curves.png", dpi=130)
    write("denoising_curves.csv", rows)


def pcp() -> None:
    """Both solvers at 240 x 240."""
    from arpes_ml_plugins.denoising.pcp import principal_component_pursuit

    rows = []
    for name in ("cut 2 %", "kink 10"):
        image = torch.from_numpy(make_scene(name).noisy)[None]
        for solver, limit in (("alm", 500), ("admm", 2000)):
            seconds = []
            for _ in range(5):
                started = time.process_time()
                result = principal_component_pursuit(image, solver=solver, iterations=limit)
                seconds.append(time.process_time() - started)
                if seconds[0] > 2:
                    break
            objective = torch.linalg.svdvals(
                result.low_rank[0]
            ).sum() + result.sparse.abs().sum() / (240**0.5)
            rows.append(
                {
                    "scene": name,
                    "solver": solver,
                    "iterations": int(result.iterations),
                    "residual": f"{float(result.residual):.1e}",
                    "converged": bool(result.converged),
                    "objective": f"{float(objective):.1f}",
                    "CPU s": f"{np.median(seconds):.2f}",
                }
            )
            print(rows[-1], flush=True)
    write("pcp.csv", rows)


def write(name: str, rows: list[dict[str, object]]) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    with (RESULTS / name).open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def read(name: str) -> list[dict[str, object]]:
    path = RESULTS / name
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "part", nargs="?", choices=("all", "table", "curves", "pcp", "one"), default="all"
    )
    parser.add_argument("one", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--seeds", type=int, default=3, help="noise realisations a table entry")
    parser.add_argument(
        "--methods", nargs="*", default=[], help="of the table; the others stay as on file"
    )
    parser.add_argument("--scenes", nargs="*", default=list(SLOW_SCENES), help="of the curves")
    options = parser.parse_args()
    if options.part == "one":
        method, scene, seed = options.one
        run_one(method, scene, int(seed))
        return
    if options.part in ("all", "pcp"):
        pcp()
    if options.part in ("all", "table"):
        table(options.seeds, options.methods)
    if options.part in ("all", "curves"):
        curves(options.scenes)
        draw_curves()


if __name__ == "__main__":
    main()
