"""The algorithms as solvers of one group of data sets, see ``answer``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from arpes_ml_plugins.continuation.answer import (
    OK,
    SURPRISE,
    TRAINED,
    UNLIKE,
    UNTRAINED,
    Solution,
    Solver,
    flat_model,
    maxent_solution,
    refined,
)
from arpes_ml_plugins.continuation.ista import ista
from arpes_ml_plugins.continuation.network_estimate import Estimate, regrid
from arpes_ml_plugins.continuation.observation import Observation
from arpes_ml_plugins.continuation.problem import cell_widths
from arpes_ml_plugins.continuation.rlista import UnrolledNetwork

__all__ = ["Ista", "MaxEnt", "Pretrained", "Trained"]


@dataclass(frozen=True)
class MaxEnt:
    """Maximum entropy with a flat default model, or one given as densities ``(slices, n)``."""

    rule: str
    model: Any = None

    def __call__(self, seen: Observation, view: Estimate | str) -> Solution:
        if self.model is None:
            return maxent_solution(seen, flat_model(seen, view), self.rule)
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
    flat_rule: str = "chi2kink"
    """With the flat default model, where the network is of no use."""

    def __call__(self, seen: Observation, view: Estimate | str) -> Solution:
        if isinstance(view, str):
            if self.fallback is not None:
                found = self.fallback()(seen, view)
                told = torch.where(found.status == OK, TRAINED, found.status)
                return replace(found, status=told)
            return maxent_solution(seen, flat_model(seen, view), self.flat_rule, status=UNTRAINED)
        if not self.refine:
            ok = torch.full_like(seen.which, OK)
            return Solution(view.density * cell_widths(seen.problem.omega), ok, fitted=False)
        found = refined(seen, view.density, rule=self.rule)
        unlike = view.surprise > SURPRISE
        if not unlike.any():
            return found
        flat = maxent_solution(seen, flat_model(seen, view), self.flat_rule, status=UNLIKE)
        pairs = zip(_parts(flat), _parts(found), strict=True)
        weights, lower, upper = (torch.where(unlike[:, None], a, b) for a, b in pairs)
        return Solution(weights, torch.where(unlike, flat.status, found.status), lower, upper)


@dataclass(frozen=True)
class Trained:
    """A network trained for these data: ``network(problem, stderr=...)`` makes it."""

    network: Callable[..., tuple[UnrolledNetwork, torch.Tensor]]
    """From the observation to the network and the frequencies of its output."""
    refine: bool

    def __call__(self, seen: Observation, view: Estimate | str) -> Solution:
        network, grid = self.network(seen)
        omega = seen.problem.omega
        norm = seen.norms[:, None]
        if isinstance(view, Estimate):  # which knows better where tau has no end points
            norm = (view.density * cell_widths(omega)).sum(-1, keepdim=True)
        with torch.inference_mode():
            weights = network.to(seen.data.device)(seen.rows / norm).to(seen.data)
        grid = grid.to(omega)
        density = regrid(weights.clamp(min=0) / cell_widths(grid), grid, omega) * norm
        if not self.refine:
            ok = torch.full_like(seen.which, OK)
            return Solution(density * cell_widths(omega), ok, fitted=False)
        return refined(seen, density)


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
        ok = torch.full_like(seen.which, OK)
        return Solution(found.spectrum * seen.scale, ok)


def _parts(found: Solution) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    assert found.lower is not None
    assert found.upper is not None
    return found.weights, found.lower, found.upper
