"""The linear model of eq. 5: gradients, what descent finds, and Proposition 1."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from arpes_ml_plugins.denoising.pcp import principal_component_pursuit

STUDY = Path(__file__).parent.parent / "benchmarks" / "overparameterised.py"


def study():
    """The module of the benchmarks, which are no package."""
    spec = importlib.util.spec_from_file_location("overparameterised", STUDY)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.descend, module.gradients, module.objective


descend, gradients, objective = study()


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_gradients_are_those_of_the_objective():
    image = normal(5, 5)
    parts = [normal(5, 3, seed=1), normal(5, 5, seed=2), normal(5, 5, seed=3)]
    leaves = [part.clone().requires_grad_() for part in parts]
    expected = torch.autograd.grad(objective(*leaves, image), leaves)
    for got, true in zip(gradients(*parts, image), expected, strict=True):
        torch.testing.assert_close(got, true)


def test_descent_finds_principal_component_pursuit():
    size = 40
    factor = normal(size, 2) / size**0.25
    outliers = torch.where(normal(size, size, seed=1) > 1.8, 2.0, 0.0)
    image = factor @ factor.mT + (outliers + outliers.mT) / 2
    ratio = size**-0.5
    exact = principal_component_pursuit(
        image[None], sparsity=ratio, solver="admm", tolerance=1e-8, iterations=20_000
    )
    low_rank, _ = descend(image, ratio=ratio, rank=size, step=0.02, iterations=15_000, start=1e-6)
    error = (low_rank - exact.low_rank[0]).norm() / exact.low_rank[0].norm()
    coarse, _ = descend(image, ratio=ratio, rank=size, step=0.02, iterations=15_000, start=0.1)
    assert error < 0.03
    assert (coarse - exact.low_rank[0]).norm() > 2 * error * exact.low_rank[0].norm()


@pytest.mark.parametrize("seed", range(5))
def test_critical_points_with_a_residual_are_strict_saddles(seed):
    """Proposition 1, where some pixels are fitted exactly and others not at all."""
    size = 4
    image = normal(size, size, seed=seed)
    fitted = normal(size, size, seed=seed + 100) > 0
    point = torch.stack(
        [
            torch.zeros_like(image),
            (image.clamp(min=0) * fitted).sqrt(),
            ((-image).clamp(min=0) * fitted).sqrt(),
        ]
    )
    assert max(float(g.abs().max()) for g in gradients(*point, image)) < 1e-12

    def flat(values):
        return objective(*values.reshape(3, size, size), image)

    curvature = torch.autograd.functional.hessian(flat, point.flatten())
    residual = (image * ~fitted).abs().max()
    assert torch.linalg.eigvalsh(curvature)[0] <= -residual + 1e-9
