"""Solve for each data set, with any algorithm: spectrum, interval, back-transform and status."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import pad

from arpes_ml_plugins.continuation.observation import Observation, observations
from arpes_ml_plugins.continuation.outliers import (
    correlated_excess,
    estimate_error,
    find_outliers,
    raised,
)
from arpes_ml_plugins.continuation.problem import Problem, cell_widths
from arpes_ml_plugins.continuation.status_numbers import numbers_of, with_factor, with_part

__all__ = [
    "STATUSES",
    "Answer",
    "Solution",
    "Solver",
    "answer",
    "chi2_per_datum",
    "in_words",
    "is_no_chance",
    "largest_misfit",
    "misses",
    "none_explains",
    "with_tails",
]

(
    ANSWERED,
    RAISED,
    OUTLIERS,
    UNTRAINED,
    UNLIKE,
    TRAINED,
    STRANGE,
    UNEXPLAINED,
    UNCONVERGED,
    NORMED,
    BEYOND,
    UNSURE,
    CONTRADICTED,
    INDEFINITE,
    UNNORMED,
    MISTIMED,
    OVERSTATED,
    SPARSE,
    UNNORMED_DATA,
    NARROW,
    LOWEST,
    NO_ZERO,
    CORRELATED,
    UNDERFITTED,
    OPEN_NORM,
    ACAUSAL,
    MIRRORED,
    COARSE,
    CONJUGATE,
    FERMIONIC,
    STATIC,
    OPPOSED,
) = (1 << bit for bit in range(32))
"""Bits of a status, below the numbers of ``status_numbers``. 0: there were no data."""

STATUSES = {
    RAISED: "errors raised: the data scatter more than stated",
    OVERSTATED: "the data scatter far less than stated: errors are too large, or correlated "
    "(pass the bins, or covariance=)",
    CORRELATED: "neighbouring data deviate alike: their errors are correlated (pass the bins, or "
    "covariance=), or omega or beta does not fit the data",
    OUTLIERS: "outliers left out",
    UNSURE: "sign uncertain: the data hardly differ from zero",
    NORMED: "norm 1 assumed: the data do not determine it",
    OPEN_NORM: "the data do not determine the integral of the spectrum, and its result depends on "
    "what the network was trained on (state it by norm= or moment=)",
    UNNORMED: "the norm is not 1: check beta, units and convention, or state it by norm=",
    MISTIMED: "the data look as if they ended at beta: check beta",
    BEYOND: "part of the spectrum lies beyond omega: about {beyond} % of its weight; make omega "
    "about {wider} times as wide",
    UNNORMED_DATA: "the norm is not 1: check units and convention, or state it by norm=",
    SPARSE: "the data do not resolve about {unresolved} % of the spectrum: they need imaginary "
    "times {closer} times closer to 0 and beta, or Matsubara frequencies as many times higher",
    LOWEST: "the lowest Matsubara frequencies are missing: the data hardly resolve the spectrum "
    "below those that are there",
    NO_ZERO: "the value at zero frequency is missing: the data do not show weight far below the "
    "first frequency (add it, or state the integral by norm=)",
    MIRRORED: "the data show the even part of the spectrum only, not on which side of zero a peak "
    "lies (add odd coefficients, or pass even=True if the spectrum is even)",
    NARROW: "the data determine position and weight of the narrow peaks (about {narrow} % of the "
    "spectrum), but not their width and height",
    STATIC: "the data do not tell the peak at zero frequency from a constant part of the response "
    "(a static one, in Matsubara data that at zero frequency alone): if there is one, subtract it",
    UNTRAINED: "fell back to MaxEnt: outside the training range of the network",
    UNLIKE: "fell back to MaxEnt: the data are unlike those of all training spectra",
    TRAINED: "a network was trained: outside the training range of the stored one",
    STRANGE: "the data are unlike those of all training spectra",
    ACAUSAL: "Im Sigma(i w_n) is positive for w_n > 0, like that of -Sigma or of the conjugate, "
    "which belongs to -w_n; the result is that of -Sigma, with the sign turned round",
    CONJUGATE: "Im G(i w_n) is positive for w_n > 0, and read as -G(i w_n); if it is that of the "
    "conjugate, G at -w_n, the spectrum comes out mirrored: pass data.conj()",
    FERMIONIC: "the data at 0 and beta are unequal and add up to 1, as those of fermions do: "
    "check statistics",
    CONTRADICTED: "data and the stated norm or moments contradict each other",
    INDEFINITE: "no positive semidefinite matrix explains the data",
    UNDERFITTED: "the result is smoother than the data allow: its chi^2 is more than 30 above "
    'that of the closest spectrum (try rule="classic")',
    COARSE: "omega is too coarse for its narrow peaks: finer frequencies around them explain the "
    "data (steps may be uneven)",
    OPPOSED: "many data have a sign that those of no positive spectrum have: check offsets; for "
    "off-diagonal elements pass signed=True to continue_maxent, or their matrix (orbitals=)",
    UNEXPLAINED: "the result does not explain the data",
    UNCONVERGED: "not converged",
}
"""Text of each bit, with the numbers of its fields; "ok" if none of them is set."""

WRONG = UNEXPLAINED | UNLIKE | STRANGE | CONTRADICTED | ACAUSAL
"""What makes a result one that is out of the distribution of the training."""
MOST_BEYOND = 0.01
"""Part of the spectrum beyond the frequencies of the result, above which it is reported."""
MOST_EXCESS = 4.0
"""Measured over stated errors, above which the errors are not the cause."""
MISFIT = 6.0  # standard deviations of chi^2
LEAST_MISFIT_OF_ALL = 3.0  # standard deviations of chi^2, where nothing is regularised
LEAST_MISFIT = 2.0
"""chi^2 per datum that is always accepted as an explanation, though not always as a fit."""
MOST_ABOVE = 30.0
"""chi^2 of a fit above the least of any positive spectrum. That of the truth is ten above it or
so, by the number of components that data resolve, and hardly ever twenty."""


def in_words(status: int) -> str:
    """Text of all bits of a status.

    Examples
    --------
    >>> in_words(ANSWERED), in_words(ANSWERED | OUTLIERS | UNCONVERGED)
    ('ok', 'outliers left out; not converged')
    """
    if status == 0:
        return "no data"
    known = [words for bit, words in STATUSES.items() if status & bit]
    return "; ".join(known).format(**numbers_of(status)) or "ok"


LONGEST = sum(map(len, STATUSES.values())) + 2 * len(STATUSES)
"""More characters than any status in words has."""


@dataclass(frozen=True)
class Solution:
    """The solution of an algorithm for one :class:`Observation`; weights ``(b, n)``."""

    weights: torch.Tensor
    status: torch.Tensor  # (b,) int64, bits
    lower: torch.Tensor | None = None
    upper: torch.Tensor | None = None
    """Credible interval, as densities ``(b, n)``."""
    least: torch.Tensor | None = None
    """chi^2 of the positive spectrum nearest to the data, ``(b,)``, where it is known."""
    stretch: torch.Tensor | None = None
    """Factor on the general network's interval around this solution, ``(b,)``."""
    resolution: torch.Tensor | None = None
    """``(b, n)``: width that a delta function would get at each frequency."""
    draws: torch.Tensor | None = None
    """Densities on the frequencies that the user named, ``(b, draws, n)``."""
    fitted: bool = True
    """Whether it should agree with the data within their errors; a bare network need not."""

    def taken(self, which: torch.Tensor, columns: slice) -> Solution:
        """Spectra, intervals and resolution of some data sets, at some of the frequencies."""
        names = ("weights", "lower", "upper", "resolution")
        parts = (getattr(self, name) for name in names)
        found: dict[str, Any] = {
            name: None if part is None else part[which][:, columns]
            for name, part in zip(names, parts, strict=True)
        }
        return Solution(status=self.status[which], **found)

    def replaced(
        self, other: Solution, which: torch.Tensor, named: tuple[int, int] | None = None
    ) -> Solution:
        """With those of ``other`` for some data sets, ``(b,)`` bool.

        Parameters
        ----------
        named
            Where the frequencies of the others begin and end; their weights are zero elsewhere.
        """
        first, last = named or (0, self.weights.shape[-1])
        changed: dict[str, Any] = {}
        for name in ("weights", "status", "lower", "upper", "least", "resolution", "draws"):
            value, part = getattr(self, name), getattr(other, name)
            if value is None or part is None:
                continue
            changed[name] = value.clone()
            if name in ("weights", "lower", "upper"):
                changed[name][which] = pad(part, (first, self.weights.shape[-1] - last))
            elif name == "resolution":
                changed[name][which, first:last] = part
            else:
                changed[name][which] = part
        return replace(self, **changed)


Solver = Callable[[Observation], Iterable[tuple[Observation, Solution]]]
"""Solves data sets, in parts if they differ in kind."""


@dataclass(frozen=True)
class Answer:
    """For ``b`` data sets: densities ``(b, n)``, data ``(b, m)``, the rest ``(b,)``."""

    spectral_function: torch.Tensor
    lower: torch.Tensor
    upper: torch.Tensor
    resolution: torch.Tensor
    back_transform: torch.Tensor
    chi2: torch.Tensor
    out_of_distribution: torch.Tensor
    status: torch.Tensor
    sign: torch.Tensor
    draws: torch.Tensor | None
    """``(b, draws, n)``, on the frequencies that the user named, if the solver draws."""
    stderr: torch.Tensor  # (b, m): at Matsubara frequencies of real and imaginary part
    used: torch.Tensor  # (b, rows) bool: False for outliers


def answer(
    problem: Problem,
    data: torch.Tensor,
    errors: torch.Tensor | None,
    covariance: torch.Tensor | None,
    solver: Solver,
    index: NDArray[np.integer] | None = None,
) -> Answer:
    """Continue ``b`` data sets.

    Parameters
    ----------
    data
        ``(b, m)``, complex at Matsubara frequencies.
    errors
        Standard errors of the real rows, ``(b, rows)``; estimated if None.
    covariance
        Of the errors, ``(rows, rows)``, or of each data set, ``(b, rows, rows)``, instead.
    solver
        The algorithm, called for groups of data sets.
    index
        Positions of the data sets in the whole array, for solvers that know them, ``(b,)``.
    """
    rows = problem.rows(data)
    stated = (
        errors
        if covariance is None
        else covariance.diagonal(dim1=-2, dim2=-1).sqrt().expand_as(rows)
    )
    sign = problem.sign(rows, stated)
    rows = rows * sign[:, None]
    errors = (
        estimate_error(problem.kernel, rows)[:, None].expand_as(rows) if stated is None else stated
    )
    used, excess = torch.ones_like(rows, dtype=torch.bool), rows.new_ones(len(rows))
    correlated = torch.zeros_like(used[:, 0])
    if covariance is None:
        used, excess, correlated = find_outliers(problem, rows, errors)
    elif covariance.ndim == 2:
        # Larger errors show in chi^2.
        excess = correlated_excess(problem, rows, covariance).clamp(max=1)
    if stated is None:
        excess = torch.ones_like(excess)
    final = raised(errors, excess)

    n = len(problem.omega)
    weights, lower, upper, resolution = (rows.new_full((len(rows), n), torch.nan) for _ in range(4))
    drawn: dict[int, torch.Tensor] = {}
    status = torch.zeros(len(rows), dtype=torch.int64, device=rows.device)
    for seen in observations(problem, rows, final, covariance, used, index):
        for part, solution in solver(seen):
            weights[part.which] = solution.weights
            if solution.lower is not None and solution.upper is not None:
                lower[part.which], upper[part.which] = solution.lower, solution.upper
            if solution.resolution is not None:
                resolution[part.which] = solution.resolution
            if solution.draws is not None:
                drawn.update(zip(part.which.tolist(), solution.draws, strict=True))
            missed = misses(part, solution)
            loose = _underfits(part, solution) & ~missed
            found = _flag(missed, UNEXPLAINED) | _flag(loose, UNDERFITTED)
            status[part.which] = solution.status | found
    status |= _flag(problem.unsure(rows, final), UNSURE)
    status |= _flag((sign < 0) & problem.causal, ACAUSAL)
    status |= _flag((sign < 0) & problem.may_be_conjugate, CONJUGATE)
    status |= _flag(excess > 1, RAISED) | _flag(excess < 1, OVERSTATED)
    status |= _flag(~used.all(1), OUTLIERS) | _flag(correlated, CORRELATED)
    status |= _flag(excess > MOST_EXCESS, UNEXPLAINED)
    sizes = weights.abs()
    outside = (sizes * problem.beyond()).sum(1) / sizes.sum(1)
    opposed = problem.opposed(rows, final) & (status & UNEXPLAINED > 0)
    status = with_tails(status, problem, sizes, (outside > MOST_BEYOND) & ~opposed)
    status |= _flag(opposed, OPPOSED)
    back = weights @ problem.kernel.mT
    return Answer(
        spectral_function=weights / cell_widths(problem.omega),
        lower=lower,
        upper=upper,
        resolution=resolution,
        back_transform=problem.unrows(back * sign[:, None]),
        chi2=chi2_per_datum(rows - back, errors, covariance, used),
        out_of_distribution=(status & WRONG) > 0,
        status=status,
        sign=sign,
        draws=torch.stack([drawn[item] for item in range(len(rows))]) if drawn else None,
        stderr=problem.unrows(final.contiguous()),
        used=used,
    )


def with_tails(
    status: torch.Tensor, problem: Problem, sizes: torch.Tensor, where: torch.Tensor
) -> torch.Tensor:
    """Codes that report how much of spectra ``(b, n)`` lies beyond omega, where this is so."""
    total = sizes.sum(-1)
    outside = (sizes * problem.beyond()).sum(-1) / total
    order = problem.omega.abs().argsort()
    within = (sizes[:, order].cumsum(-1) < (1 - MOST_BEYOND) * total[:, None]).sum(-1)
    reached = problem.omega.abs()[order][within.clamp(max=len(order) - 1)]
    found = with_part(status, "beyond", outside)
    found = with_factor(found, "wider", reached / problem.half_width)
    return torch.where(where, found | BEYOND, status)


def _flag(where: torch.Tensor, bit: int) -> torch.Tensor:
    return where.to(torch.int64) * bit


def misses(seen: Observation, solution: Solution) -> torch.Tensor:
    """Whether the data used are further from the solution, or from any, than errors explain."""
    if not solution.fitted:
        return torch.zeros_like(seen.which, dtype=torch.bool)
    misses = seen.misfit(solution.weights) > largest_misfit(seen.count)
    return misses | none_explains(seen, solution)


def none_explains(seen: Observation, solution: Solution) -> torch.Tensor:
    """Whether not even the positive spectrum nearest to the data explains them, ``(b,)``; False
    where it is not known.
    """
    if solution.least is None:
        return torch.zeros_like(seen.which, dtype=torch.bool)
    return is_no_chance(solution.least, seen.count)


def is_no_chance(least: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """Whether chi^2 of the nearest spectra to ``count`` data is more than their errors explain."""
    return least / count > 1 + LEAST_MISFIT_OF_ALL * (2 / count).sqrt()


def _underfits(seen: Observation, solution: Solution) -> torch.Tensor:
    """Whether a fit is further from the data than the truth would be, if it explains them or not,
    ``(b,)``: regularisation took structure away that the data demand.
    """
    if not solution.fitted or solution.least is None:
        return torch.zeros_like(seen.which, dtype=torch.bool)
    excess = seen.misfit(solution.weights) * seen.count - solution.least
    return excess > MOST_ABOVE * (solution.least / seen.count).clamp(min=1)


def largest_misfit(count: torch.Tensor) -> torch.Tensor:
    """chi^2 per datum of ``count`` data up to which a result explains them."""
    return (1 + MISFIT * (2 / count).sqrt()).clamp(min=LEAST_MISFIT)


def chi2_per_datum(
    residual: torch.Tensor,
    errors: torch.Tensor,
    covariance: torch.Tensor | None,
    used: torch.Tensor,
) -> torch.Tensor:
    """chi^2 per datum, with the errors as stated, of the data that were used, ``(b,)``."""
    if covariance is not None:
        factor = torch.linalg.cholesky(covariance)
        solved = torch.linalg.solve_triangular(factor, residual[..., None], upper=False)
        return solved[..., 0].square().mean(-1)
    return ((residual / errors).square() * used).sum(-1) / used.sum(-1)
