"""The sparse-noise term of the published model, taken apart (the docs' page on it).

python benchmarks/sparse_noise.py           all of it (half an hour on one core)
python benchmarks/sparse_noise.py network   how g and h are trained, on the cut at 2 %
python benchmarks/sparse_noise.py linear    eq. 5 against principal component pursuit
python benchmarks/sparse_noise.py saddles   Proposition 1: the Hessian at critical points
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import torch
from denoising_methods import SLOW_SCENES
from overparameterised import descend, gradients, objective
from scenes import make_scene
from tables import write

from arpes_ml_plugins.denoising.pcp import principal_component_pursuit
from arpes_ml_plugins.denoising.recipes import PUBLISHED, ROBUST, Recipe
from arpes_ml_plugins.denoising.two_stage import bfloat16_is_fast, fit

ITERATIONS = 400
SGD = replace(PUBLISHED, sparse_optimizer="sgd", sparse_start=1e-5)

NETWORK_RUNS: dict[str, tuple[Recipe, float]] = {
    "no sparse term, squared error": (replace(PUBLISHED, sparse_term=False), 0.5),
    "AdamW, ratio 0.5 (published)": (PUBLISHED, 0.5),
    "AdamW, ratio 0.5, without weight decay": (replace(PUBLISHED, weight_decay=0.0), 0.5),
    "AdamW, g and h exactly zero": (replace(PUBLISHED, sparse_start=0.0), 0.5),
    "gradient descent, ratio 0.5": (SGD, 0.5),
    "gradient descent, ratio 2": (SGD, 2.0),
    "Huber loss, no sparse term": (replace(ROBUST, headroom=1.0, jitter=0.0), 0.5),
}


def network() -> None:
    """PSNR, and how much of the image the sparse term has taken, after 400 iterations."""
    rows = []
    for run, (recipe, ratio) in NETWORK_RUNS.items():
        row: dict[str, object] = {"sparse term": run}
        for name in SLOW_SCENES[:1]:
            scene = make_scene(name)
            images = torch.from_numpy(scene.noisy)[None]
            best: list[float] = []

            def observe(iteration: int, image: torch.Tensor, scene=scene, best=best) -> None:
                if (iteration + 1) % 20 == 0:
                    best.append(scene.score(image[0].numpy()))

            result = fit(
                images,
                torch.ones_like(images, dtype=torch.bool),
                principal_component_pursuit(images).low_rank,
                replace(recipe, iterations=ITERATIONS, networks=1),
                seeds=[0],
                noise_ratio=ratio,
                bfloat16=bfloat16_is_fast("cpu"),
                observe=observe,
            )
            share = result.sparse.square().sum() / (images - result.clean).square().sum()
            row |= {
                f"{name}: end (dB)": f"{best[-1]:.2f}",
                f"{name}: best (dB)": f"{max(best):.2f}",
                f"{name}: residual in S": f"{float(share):.2f}",
            }
        rows.append(row)
        print(row, flush=True)
        write("sparse_network.csv", rows)


def linear() -> None:
    """Gradient descent on eq. 5, and ADMM on eq. 2 with λ = η_a / η_s, on one random matrix."""
    generator = torch.Generator().manual_seed(0)
    size, rank = 50, 3

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    factor = normal(size, rank) / size**0.25
    outliers = torch.where(torch.rand(size, size, generator=generator) < 0.05, 3.0, 0.0)
    outliers = outliers * normal(size, size)
    image = factor @ factor.mT + (outliers + outliers.mT) / 2
    rows = []
    for multiple in (0.5, 1.0, 2.0):
        ratio = multiple / size**0.5
        exact = principal_component_pursuit(
            image[None], sparsity=ratio, solver="admm", tolerance=1e-9, iterations=20_000
        )
        for start in (1e-2, 1e-4, 1e-6):
            started = time.process_time()
            low_rank, sparse = descend(
                image, ratio=ratio, rank=size, step=0.02, iterations=40_000, start=start
            )
            rows.append(
                {
                    "λ √n": multiple,
                    "start": start,
                    "L, from ADMM's": _relative(low_rank, exact.low_rank[0]),
                    "S, from ADMM's": _relative(sparse, exact.sparse[0]),
                    "L, from the truth": _relative(low_rank, factor @ factor.mT),
                    "residual": _relative(low_rank + sparse, image),
                    "CPU s": f"{time.process_time() - started:.1f}",
                }
            )
            print(rows[-1], flush=True)
    write("sparse_linear.csv", rows)


def _relative(found: torch.Tensor, expected: torch.Tensor) -> str:
    return f"{float((found - expected).norm() / expected.norm()):.4f}"


def saddles() -> None:
    """Smallest eigenvalue of the Hessian of eq. 5 at critical points with a residual."""
    rows = []
    for what, points in critical_points().items():
        steepest, largest_gradient, bounds = [], 0.0, []
        for image, factor, plus, minus in points:
            value = torch.linalg.eigvalsh(hessian(image, factor, plus, minus))[0]
            residual = factor @ factor.mT + plus.square() - minus.square() - image
            steepest.append(float(value))
            bounds.append(float(value + residual.abs().max()))
            gradient = gradients(factor, plus, minus, image)
            largest_gradient = max(largest_gradient, *(float(g.abs().max()) for g in gradient))
        rows.append(
            {
                "critical points": what,
                "how many": len(steepest),
                "largest gradient": f"{largest_gradient:.0e}",
                "highest of their lowest eigenvalues": f"{max(steepest):.3f}",
                "never above -max |r| by more than": f"{max(bounds):.0e}",
            }
        )
        print(rows[-1], flush=True)
    write("sparse_saddles.csv", rows)


Point = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def critical_points(size: int = 6, draws: int = 50) -> dict[str, list[Point]]:
    """Points with zero gradient that do not fit: (image, U, g, h).

    Where r is not zero, g and h must be; elsewhere they may be anything that keeps r at zero.
    """
    generator = torch.Generator().manual_seed(0)
    found: dict[str, list[Point]] = {
        "U = g = h = 0": [],
        "U of some eigenvectors of I, g = h = 0": [],
        "U = 0, g and h fit some pixels": [],
    }
    zero = torch.zeros(size, size, dtype=torch.float64)
    for _ in range(draws):
        image = torch.randn(size, size, generator=generator, dtype=torch.float64)
        values, vectors = torch.linalg.eigh((image + image.mT) / 2)
        kept = (values > 0) & (torch.rand(size, generator=generator) < 0.7)
        factor = vectors * (values.clamp(min=0) * kept).sqrt()
        fitted = torch.rand(size, size, generator=generator) < 0.5
        plus = (image.clamp(min=0) * fitted).sqrt()
        minus = ((-image).clamp(min=0) * fitted).sqrt()
        found["U = g = h = 0"].append((image, zero, zero, zero))
        found["U of some eigenvectors of I, g = h = 0"].append((image, factor, zero, zero))
        found["U = 0, g and h fit some pixels"].append((image, zero, plus, minus))
    return found


def hessian(
    image: torch.Tensor, factor: torch.Tensor, plus: torch.Tensor, minus: torch.Tensor
) -> torch.Tensor:
    """Second derivatives of the objective in all entries of U, g and h."""
    size = len(image)

    def flat(point: torch.Tensor) -> torch.Tensor:
        parts = point.reshape(3, size, size)
        return objective(parts[0], parts[1], parts[2], image)

    point = torch.stack([factor, plus, minus]).flatten()
    return torch.autograd.functional.hessian(flat, point)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parts = {"saddles": saddles, "linear": linear, "network": network}
    parser.add_argument("part", nargs="?", choices=("all", *parts), default="all")
    chosen = parser.parse_args().part
    for name, run in parts.items():
        if chosen in ("all", name):
            run()
