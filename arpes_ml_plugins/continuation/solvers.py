"""The algorithms as solvers of one group of data sets, see ``answer``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from arpes_ml_plugins.continuation.answer import (
    SURPRISE,
    UNLIKE,
    UNTRAINED,
    Solution,
    Solver,
    flat_model,
    maxent_solution,
    refined,
)
from arpes_ml_plugins.continuation.ista import ista
from arpes_ml_plugins.continuation.observation import Observation
from arpes_ml_plugins.continuation.pretrained import Estimate, regrid
from arpes_ml_plugins.continuation.problem import cell_widths
from arpes_ml_plugins.continuation.unrolled import UnrolledNetwork

__all__ = ["Ista", "MaxEnt", "Pretrained", "Trained"]


@dataclass(frozen=True)
class MaxEnt:
    """Maximum entropy with a flat default model, or one given as densities ``(slices, n)``."""

    rule: str
    model: Any = None

    def __call__(self, seen: Observation, view: Estimate | str) -> Solution:
        if self.model is None:
            return maxent_solution(seen, flat_model(seen), self.rule)
        own = torch.as_tensor(self.model[seen.slices], dtype=seen.data.dtype)
        widths = cell_widths(seen.problem.omega)
        return maxent_solution(seen, own.to(seen.data.device) * widths, self.rule)


@dataclass(frozen=True)
class Pretrained:
    """The general network, refined by maximum entropy or not."""

    refine: bool
    fallback: Callable[[], Solver] | None
    """What solves data outside the network's range; None is maximum entropy."""
    rule: str = "classic"

    def __call__(self, seen: Observation, view: Estimate | str) -> Solution:
        if isinstance(view, str):
            if self.fallback is not None:
                return self.fallback()(seen, view)
            return maxent_solution(seen, flat_model(seen), "chi2kink", status=UNTRAINED)
        if not self.refine:
            ok = torch.zeros(len(seen.data), dtype=torch.int64, device=seen.data.device)
            return Solution(view.density * cell_widths(seen.problem.omega), ok, fitted=False)
        found = refined(seen, view, rule=self.rule)
        unlike = view.surprise > SURPRISE
        if not unlike.any():
            return found
        flat = maxent_solution(seen, flat_model(seen), "chi2kink", status=UNLIKE)
        return Solution(
            torch.where(unlike[:, None], flat.weights, found.weights),
            torch.where(unlike, flat.status, found.status),
        )


@dataclass(frozen=True)
class Trained:
    """A network trained for these data: ``network(problem, stderr=...)`` makes it."""

    network: Callable[..., tuple[UnrolledNetwork, torch.Tensor]]
    """From the observation to the network and the frequencies of its output."""
    refine: bool

    def __call__(self, seen: Observation, view: Estimate | str) -> Solution:
        network, grid = self.network(seen)
        omega = seen.problem.omega
        with torch.inference_mode():
            weights = network.to(seen.data.device)(seen.rows / seen.scale).to(seen.data)
        grid = grid.to(omega)
        density = regrid(weights.clamp(min=0) / cell_widths(grid), grid, omega) * seen.scale
        if not self.refine:
            ok = torch.zeros(len(seen.data), dtype=torch.int64, device=seen.data.device)
            return Solution(density * cell_widths(omega), ok, fitted=False)
        return refined(seen, Estimate(density, density, density, density.new_zeros(len(density))))


@dataclass(frozen=True)
class Ista:
    """Basis pursuit."""

    sparsity: float
    iterations: int
    published: bool

    def __call__(self, seen: Observation, view: Estimate | str) -> Solution:
        if self.published:
            kernel, data = seen.problem.kernel, seen.rows
        else:
            typical = 1 / seen.whitener.norm(dim=1).mean()
            kernel, data = seen.kernel() * typical, seen.data * typical
        found = ista(
            kernel,
            data / seen.scale,
            self.sparsity,
            accelerated=not self.published,
            nonnegative=not self.published,
            iterations=self.iterations,
        )
        ok = torch.zeros(len(data), dtype=torch.int64, device=data.device)
        return Solution(found.spectrum * seen.scale, ok)
