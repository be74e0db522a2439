"""Which part of a spectrum the imaginary times, or Matsubara frequencies, resolve at all.

At ``|w|`` a spectrum moves the data like ``exp(-t |w|)`` with the distance ``t`` from 0 (positive
frequencies) or ``beta`` (negative ones). If this is small at all times but the one at the end, the
data contain the weight of all larger frequencies but hardly where it lies, whatever their errors.
The same holds for frequencies above the largest Matsubara frequency. Where the lowest ones are
missing, the data hardly resolve a spectrum below those that are there.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from arpes_ml_plugins.continuation.problem import Problem

__all__ = ["below_lowest", "closer_times", "lack_odd", "lack_zero", "unresolved"]

DECAYED = 2.0
"""Second distance from the end times frequency, above which a frequency is not resolved."""
WELL = 0.5  # the same, for times that resolve a spectrum well
MISSING = 1.6
"""Lowest Matsubara frequency over the spacing, above which lower ones are missing: with one missing
(that at zero of bosons often is) results are as good."""
UNMOVED = 1e-6  # of the largest value of the kernel
MOST = 0.95  # part of the weight that closer times should resolve


def unresolved(problem: Problem, used: torch.Tensor, decayed: float = DECAYED) -> torch.Tensor:
    """Frequencies whose weight the data do not locate, ``(b, n)`` bool.

    Parameters
    ----------
    used
        Data that are not left out, ``(b, rows)`` bool.
    decayed
        A smaller value counts more frequencies.
    """
    return _decay(problem, used) > decayed


def closer_times(problem: Problem, used: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Factor by which times have to be closer to 0 and ``beta`` (or Matsubara frequencies have to
    reach higher) to resolve spectra ``(b, n)`` well, ``(b,)``.
    """
    decay, order = _decay(problem, used).expand_as(weights).sort()
    sizes = weights.abs().gather(-1, order).cumsum(-1)
    reached = (sizes < MOST * sizes[:, -1:]).sum(-1, keepdim=True).clamp(max=order.shape[-1] - 1)
    return decay.gather(-1, reached)[:, 0] / WELL


def below_lowest(problem: Problem, used: torch.Tensor) -> torch.Tensor:
    """Frequencies below the lowest Matsubara frequency of the data, if lower ones are missing,
    ``(b, n)`` bool.
    """
    size = problem.omega.abs().expand(len(used), -1)
    if problem.coefficients or problem.axis == "tau":
        return torch.zeros_like(size, dtype=torch.bool)
    kept = used[:, : len(problem.times)]
    lowest = torch.where(kept, problem.times.abs(), torch.inf).amin(-1, keepdim=True)
    return (size < lowest) & (lowest > MISSING * 2 * math.pi / problem.beta)


def lack_zero(problem: Problem, used: torch.Tensor) -> torch.Tensor:
    """Whether data of bosons lack the value at zero frequency, ``(b,)`` bool.

    At ``nu`` the weight at ``w`` counts as ``w^2 / (w^2 + nu^2)``: only zero shows all of it.
    """
    bosons = problem.statistics == "boson" and problem.axis.endswith("matsubara")
    zero = problem.times.abs() * problem.beta < math.pi  # below half of the first frequency
    return ~(used[:, : len(problem.times)] & zero).any(-1) & bosons


def lack_odd(problem: Problem, used: torch.Tensor) -> torch.Tensor:
    """Whether coefficients show the even part of a spectrum only, ``(b,)`` bool: those of even
    Legendre polynomials are the same for ``A(w)`` and ``A(-w)``.
    """
    if not problem.coefficients or problem.even or problem.symmetric:
        return torch.zeros(len(used), dtype=torch.bool, device=used.device)
    both = replace(problem, bins=False, moments=())
    rows = both.on(problem.omega.abs()).kernel - both.on(-problem.omega.abs()).kernel
    moved = rows.abs().amax(-1) > UNMOVED * both.kernel.abs().max()
    return ~(used[:, : len(moved)] & moved).any(-1)


def _decay(problem: Problem, used: torch.Tensor) -> torch.Tensor:
    """Frequencies in units of those that the data resolve, ``(b, n)``; 0 for coefficients."""
    size = problem.omega.abs().expand(len(used), -1)
    if problem.coefficients:
        return torch.zeros_like(size)
    times, kept = problem.times, used[:, : len(problem.times)]
    if problem.axis != "tau":
        return DECAYED * size / torch.where(kept, times, 0.0).amax(-1, keepdim=True)
    above, below = (
        torch.where(kept, t, problem.beta).sort(-1).values[:, 1:2]
        for t in (times, problem.beta - times)
    )
    if problem.even or problem.symmetric:
        above = below = torch.minimum(above, below)
    return size * torch.where(problem.omega < 0, below, above)
