"""Tell spectra that go on beyond the frequencies of the user from a wrong ``beta``.

Both make the integral of a spectrum on these frequencies differ from the norm. If the frequencies
are the cause, a spectrum on many times wider ones has the norm and explains the data as well, and
most of what lies beyond is near. Weight that a wrong ``beta`` would need is far away, where it
moves the data least.

Solutions may have weight beyond these frequencies although the data do not demand it: a narrow
peak near their end comes out wider than it is, or a little weight far away makes up for an error of
the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from arpes_ml_plugins.continuation.maxent import maxent
from arpes_ml_plugins.continuation.observation import Observation, observed
from arpes_ml_plugins.continuation.problem import WIDER, Problem

__all__ = ["Tails", "explains_as_well", "find_tails", "nearest_chi2"]

WIDEST = 16 * WIDER  # times the largest frequency of the user
ERROR = 1e-5  # relative, of the norm
WORSE = 10.0  # chi^2 that the norm may cost
CLEAR, POSSIBLE = 0.32, 0.41
"""Largest part of the weight beyond omega that lies beyond ``WIDER`` times omega, if tails are the
cause for certain, and if they may be. A Lorentzian has 1 / ``WIDER`` of it there."""
DEMANDED = 2.5  # chi^2 that weight beyond omega, or another norm, has to gain


@dataclass(frozen=True)
class Tails:
    """Spectra of a given norm on wide frequencies, ``(b, n)``, and whether they explain data."""

    problem: Problem
    weights: torch.Tensor
    explain: torch.Tensor
    possible: torch.Tensor
    """Whether they may be the cause, but a wrong ``beta`` too."""


def find_tails(seen: Observation, norm: torch.Tensor) -> Tails:
    """Continue data on much wider frequencies, with norms ``(b,)``, by maximum entropy."""
    wide = observed(
        seen.problem.extended(WIDEST),
        seen.rows,
        seen.errors,
        seen.covariance,
        seen.used,
        alike=seen.whitener.ndim == 2,
    )
    omega = wide.problem.omega
    default = seen.data.new_full((len(omega),), float(norm.mean()) / len(omega))
    free = maxent(wide.kernel(), wide.data, default, rule="classic")
    fixed = wide.with_moments((0,), norm[:, None], ERROR * norm[:, None])
    found = maxent(fixed.kernel(), fixed.data, default, rule="classic").spectrum
    misfit = (fixed.data - fixed.kernel().data(found)).square().sum(-1)
    fits = misfit < (free.least + WORSE) * (1 + WORSE / fixed.count)
    beyond = (found * wide.problem.beyond()).sum(-1)
    far = (found * (omega.abs() > WIDER * seen.problem.half_width)).sum(-1)
    explain, possible = (fits & (far < limit * beyond) for limit in (CLEAR, POSSIBLE))
    return Tails(wide.problem, found, explain, possible)


def explains_as_well(one: Observation, other: Observation) -> torch.Tensor:
    """Whether data with more knowledge beside them, or on fewer frequencies, are explained as well
    as the ``other`` ones, ``(b,)``: compares the nearest positive spectra, without regularisation.
    """
    return nearest_chi2(one) < nearest_chi2(other) + DEMANDED


def nearest_chi2(seen: Observation) -> torch.Tensor:
    """chi^2 of the positive spectra that are nearest to data, ``(b,)``; infinite if not found."""
    found = [_nearest_chi2(seen, item) for item in range(len(seen.which))]
    return seen.data.new_tensor(found)


def _nearest_chi2(seen: Observation, item: int) -> float:
    from scipy.optimize import nnls

    kernel, data = seen.kernel().each(item).cpu().numpy(), seen.data[item].cpu().numpy()
    try:
        return float(nnls(kernel, data)[1]) ** 2
    except RuntimeError:  # it did not converge
        return math.inf
