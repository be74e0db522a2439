"""One answer a data set, whatever the algorithm: spectrum, band, back-transform and verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from arpes_ml_plugins.continuation.general_network import GeneralNetwork
from arpes_ml_plugins.continuation.maxent import maxent
from arpes_ml_plugins.continuation.network_estimate import Estimate, estimate
from arpes_ml_plugins.continuation.observation import (
    Observation,
    estimate_error,
    find_outliers,
    observations,
)
from arpes_ml_plugins.continuation.problem import Problem, cell_widths

__all__ = [
    "BAND",
    "STATUSES",
    "Answer",
    "Solution",
    "answer",
    "flat_model",
    "maxent_solution",
    "refined",
]

STATUSES = (
    "no data",
    "ok",
    "errors raised: the data scatter more than stated",
    "outliers left out",
    "fell back to MaxEnt: outside what the network was trained for",
    "fell back to MaxEnt: unlike the spectra of the training",
    "a network was trained: outside what the stored one was trained for",
    "not converged",
)
NO_DATA, OK, RAISED, OUTLIERS, UNTRAINED, UNLIKE, TRAINED, UNCONVERGED = range(len(STATUSES))

SURPRISE = 15.0
"""Mean square of the resolved components over that of the prior: 1 in 100 of it is above."""
MOST_EXCESS = 4.0
"""Measured over stated errors: above this it is not the errors that are wrong."""
MISFIT = 6.0  # standard deviations of chi^2
LEAST_MISFIT = 2.0
"""chi^2 a data point that is always let pass: "chi2kink" stays above 1 on purpose."""
NEURAL_SHARE = 0.98  # of the default model; the rest is flat
BAND = 1.9
"""Half-width of MaxEnt's own 90 % band in standard deviations of its posterior. A Gaussian would
have 1.645, which holds 86 to 89 % of the truths: the posterior knows nothing of how ``alpha`` was
chosen, nor of what the default model misses."""


@dataclass(frozen=True)
class Solution:
    """What an algorithm found for one :class:`Observation`; weights ``(b, n)``."""

    weights: torch.Tensor
    status: torch.Tensor  # (b,) int64
    lower: torch.Tensor | None = None
    upper: torch.Tensor | None = None
    """A band of its own: used where the network's does not hold."""
    fitted: bool = True
    """Whether it is meant to agree with the data within their errors; a bare network is not."""


Solver = Callable[[Observation, "Estimate | str"], Solution]


@dataclass(frozen=True)
class Answer:
    """For ``b`` data sets: densities ``(b, n)``, data ``(b, m)``, the rest ``(b,)``."""

    spectral_function: torch.Tensor
    lower: torch.Tensor
    upper: torch.Tensor
    back_transform: torch.Tensor
    chi2: torch.Tensor
    out_of_distribution: torch.Tensor
    status: torch.Tensor
    sign: torch.Tensor
    stderr: torch.Tensor  # (b, m): at Matsubara frequencies of real and imaginary part


def answer(
    problem: Problem,
    data: torch.Tensor,
    errors: torch.Tensor | None,
    covariance: torch.Tensor | None,
    solver: Solver,
    network: GeneralNetwork,
    index: NDArray[np.integer] | None = None,
) -> Answer:
    """Continue ``b`` data sets.

    Parameters
    ----------
    data
        ``(b, m)``, complex at Matsubara frequencies.
    errors
        Standard errors of the real rows, ``(b, rows)``; measured if None.
    covariance
        Of the errors, ``(rows, rows)``, instead.
    solver
        The algorithm, called once for each group of data sets that share their errors.
    network
        For the error band and the warning, whatever the algorithm.
    index
        Positions of the data sets in the whole array, for solvers that know them, ``(b,)``.
    """
    rows = problem.rows(data)
    sign = problem.sign(rows)
    rows = rows * sign[:, None]
    stated = errors
    if covariance is not None:
        stated = covariance.diagonal().sqrt().expand_as(rows)
    used = estimate_error(problem, rows)[:, None].expand_as(rows) if stated is None else stated
    kept, excess = torch.ones_like(rows, dtype=torch.bool), rows.new_ones(len(rows))
    if covariance is None:
        kept, excess = find_outliers(problem, rows, used)
    raised = (excess > 1) if stated is not None else torch.zeros_like(excess).bool()
    used = torch.where(raised[:, None], used * _rounded_up(excess)[:, None], used)

    n = len(problem.omega)
    weights, lower, upper = (rows.new_zeros(len(rows), n) for _ in range(3))
    status = torch.zeros(len(rows), dtype=torch.int64, device=rows.device)
    strange = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
    for seen in observations(problem, rows, used, covariance, kept, index):
        view = estimate(network, seen)
        found = solver(seen, view)
        weights[seen.which], status[seen.which] = found.weights, found.status
        lower[seen.which], upper[seen.which] = _band(seen, view, found)
        misfit = (seen.data - found.weights @ seen.kernel().mT).square().mean(-1)
        limit = max(1 + MISFIT * (2 / seen.data.shape[1]) ** 0.5, LEAST_MISFIT)
        bad = (misfit > limit) & found.fitted
        if isinstance(view, Estimate):
            bad |= view.surprise > SURPRISE
        bad |= excess[seen.which] > MOST_EXCESS
        strange[seen.which] = bad
    back = weights @ problem.kernel.mT
    scatter = (rows - back) / (used if stated is None else stated)
    if covariance is not None:
        factor = torch.linalg.cholesky(covariance)
        scatter = torch.linalg.solve_triangular(factor, (rows - back).mT, upper=False).mT
    status = torch.where((status == OK) & raised, RAISED, status)
    status = torch.where((status <= RAISED) & ~kept.all(1), OUTLIERS, status)
    widths = cell_widths(problem.omega)
    return Answer(
        spectral_function=weights / widths,
        lower=lower,
        upper=upper,
        back_transform=problem.unrows(back * sign[:, None]),
        chi2=scatter.square().mean(-1),
        out_of_distribution=strange,
        status=status,
        sign=sign,
        stderr=problem.unrows(used.contiguous()),
    )


def flat_model(seen: Observation, view: Estimate | str = "") -> torch.Tensor:
    """Weights of the flat default model, with the norm of the data, ``(b, n)``."""
    widths = cell_widths(seen.problem.omega)
    norm = seen.norms
    if isinstance(view, Estimate):  # which knows better where tau has no end points
        norm = (view.density * widths).sum(-1)
    return norm[:, None] * widths / widths.sum()


def maxent_solution(
    seen: Observation, default: torch.Tensor, rule: str, *, status: int = OK
) -> Solution:
    """MaxEnt with its own error band, which is used where the network's is not to be had."""
    found = maxent(seen.kernel(), seen.data, default, rule=rule)
    widths = cell_widths(seen.problem.omega)
    half = BAND * found.deviation
    state = torch.where(found.converged, status, UNCONVERGED)
    return Solution(
        found.spectrum,
        state,
        ((found.spectrum - half) / widths).clamp(min=0),
        (found.spectrum + half) / widths,
    )


def refined(seen: Observation, density: torch.Tensor, *, rule: str = "classic") -> Solution:
    """RLISTA+: MaxEnt with the network's spectrum as default model (paper, Section III F)."""
    widths = cell_widths(seen.problem.omega)
    neural = density * widths
    flat = neural.sum(-1, keepdim=True) * widths / widths.sum()
    default = NEURAL_SHARE * neural + (1 - NEURAL_SHARE) * flat
    return maxent_solution(seen, default, rule)


def _band(
    seen: Observation, view: Estimate | str, found: Solution
) -> tuple[torch.Tensor, torch.Tensor]:
    """The network's band; where the network is not trusted, or sees nothing, MaxEnt's own."""
    if isinstance(view, Estimate):
        trusted = view.inside & (found.status != UNLIKE)[:, None]
        if bool(trusted.all()):
            return view.lower, view.upper
    own = found
    if own.lower is None or own.upper is None:
        own = maxent_solution(seen, flat_model(seen, view), "chi2kink")
    assert own.lower is not None
    assert own.upper is not None
    if isinstance(view, str):
        return own.lower, own.upper
    lower = torch.where(trusted, view.lower, own.lower)
    return lower, torch.where(trusted, view.upper, own.upper)


def _rounded_up(factor: torch.Tensor) -> torch.Tensor:
    return 2 ** (4 * factor.log2()).ceil().div(4)
