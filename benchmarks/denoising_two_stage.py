"""The two-stage method: PSNR against iteration, recipes, and principal component pursuit."""

from __future__ import annotations

import time
from dataclasses import asdict, replace

import numpy as np
import torch
from denoising_methods import SLOW_SCENES, gaussian_oracle
from scenes import Scene, make_scene
from tables import RESULTS, read, write

from arpes_ml_plugins.denoising.recipes import FIXED_INPUT, PUBLISHED, ROBUST, Recipe


def curves(scenes: list[str]) -> None:
    """PSNR against iteration: input and learning-rate ratio (the paper's Figs. 3c and 4)."""
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


def recipes() -> None:
    """Settings of the two-stage recipes, as they are in the code."""
    named = {"published": PUBLISHED, "robust": ROBUST, "fixed input": FIXED_INPUT}
    columns = {name: asdict(recipe) for name, recipe in named.items()}
    write(
        "two_stage_recipes.csv",
        [
            {"setting": field} | {name: values[field] for name, values in columns.items()}
            for field in columns["published"]
        ],
    )
