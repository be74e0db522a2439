"""Preblur: spectra of maximum entropy that are a Gaussian blur of a hidden one.

Skilling, in Maximum Entropy and Bayesian Methods (1991), p. 267; in continuation Kraberger et al.,
Phys. Rev. B 96, 155128 (2017): without it maximum entropy makes up structure that is as sharp as
the data allow, most of all near zero frequency.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch

from arpes_ml_plugins.continuation.maxent import MaxEntResult
from arpes_ml_plugins.continuation.observation import Observation
from arpes_ml_plugins.continuation.problem import Problem, cell_edges

__all__ = ["blurred", "mixing"]

CANDIDATES = (0.0, 1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4)
"""Widths that the evidence chooses from, over the largest frequency."""


def mixing(problem: Problem, width: float) -> torch.Tensor:
    """Weights of a blurred spectrum from those of the hidden one, ``(n, n)``; columns add up to 1.

    Parameters
    ----------
    width
        Standard deviation of the Gaussian.

    Examples
    --------
    >>> omega = torch.linspace(-2, 2, 5, dtype=torch.float64)
    >>> mixing(Problem(omega, omega, 1.0), 1.0)[:, 2].round(decimals=3)
    tensor([0.0610, 0.2450, 0.3880, 0.2450, 0.0610], dtype=torch.float64)
    """
    edges = cell_edges(problem.omega)

    def spread(centre: torch.Tensor) -> torch.Tensor:
        reached = torch.erf((edges[:, None] - centre) / (math.sqrt(2) * width))
        return reached.diff(dim=0) / 2

    matrix = spread(problem.omega)
    if problem.even:  # what goes below zero comes from there as well
        matrix = matrix + spread(-problem.omega)
    return matrix / matrix.sum(0)


def blurred(
    solve: Callable[..., MaxEntResult],
    seen: Observation,
    model: torch.Tensor,
    rule: str,
    preblur: float | None,
) -> tuple[MaxEntResult, torch.Tensor]:
    """The solution with a preblur of given width, or for each data set of the most probable one;
    and the widths, ``(b,)``.
    """
    widths = [preblur or 0.0]
    if preblur is None:
        widths = [share * seen.problem.half_width for share in CANDIDATES]
    found = []
    for width in widths:
        matrix = mixing(seen.problem, width) if width else None
        found.append(
            solve(seen.kernel(), seen.data, model, rule=rule, mixing=matrix, count=seen.count)
        )
    sizes = seen.data.new_tensor(widths)
    best = torch.stack([each.evidence for each in found]).argmax(0)
    item = torch.arange(len(best), device=best.device)

    def chosen(name: str) -> torch.Tensor:
        return torch.stack([getattr(each, name) for each in found])[best, item]

    # The rest is for the resolution: that of the least blurred one, to which the blur is added.
    result = replace(
        found[0],
        spectrum=chosen("spectrum"),
        deviation=chosen("deviation"),
        least=chosen("least"),
        converged=chosen("converged"),
    )
    return result, sizes[best]
