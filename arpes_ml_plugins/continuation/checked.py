"""Solutions that are checked: by the general network, by their integral and by ``beta``.

Every solution gets the credible interval of the network, wide enough to contain the solution
itself, and a warning if the data are unlike those of its training.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from arpes_ml_plugins.continuation.answer import (
    CONTRADICTED,
    MISTIMED,
    NORMED,
    SPARSE,
    STRANGE,
    UNLIKE,
    UNNORMED,
    UNNORMED_DATA,
    Solution,
    with_tails,
)
from arpes_ml_plugins.continuation.draws import draws_of
from arpes_ml_plugins.continuation.general_network import GeneralNetwork
from arpes_ml_plugins.continuation.intervals import grounded, opened, stretched
from arpes_ml_plugins.continuation.moments import Moments
from arpes_ml_plugins.continuation.network_estimate import (
    Estimate,
    estimate,
    measured_norm,
    too_rough,
)
from arpes_ml_plugins.continuation.norms import (
    UNDETERMINED,
    contradicted_norm,
    is_mistimed,
    is_unnormed,
    shows_norm,
)
from arpes_ml_plugins.continuation.observation import NORM_ERROR, Observation
from arpes_ml_plugins.continuation.problem import cell_widths
from arpes_ml_plugins.continuation.resolving import closer_times, unresolved
from arpes_ml_plugins.continuation.solvers import (
    Algorithm,
    Ista,
    Pretrained,
    Trained,
    flat_model,
    interval_of,
    maxent_solution,
)
from arpes_ml_plugins.continuation.status_numbers import joined, with_factor, with_part
from arpes_ml_plugins.continuation.tails import find_tails

__all__ = ["Checked"]

SHARP = 1e-4  # relative error of a norm that needs no help
UNRESOLVED = 0.4  # part of the weight that data may leave unresolved
EDGE = 1.0  # decay of the data from which on such data leave the interval open
LOOSE = 0.3  # times the standard error of the norm, by which it may leave that of the data


@dataclass(frozen=True)
class Checked:
    """An algorithm whose solutions the general network checks: a solver for ``answer``."""

    network: GeneralNetwork
    algorithm: Algorithm
    norm: float | None = None
    """Integral of the spectra, if the user gives it."""
    any_norm: bool = False
    """Whether spectra of fermions may have any integral, not 1 only."""
    moments: Moments | None = None
    draws: int = 0
    """Number of spectra to draw per data set."""
    parts: int = 1
    """Number of parts into which the cells of the user are divided."""
    seeds: tuple[int, ...] = ()
    """Of the draws, by the positions of the data sets."""

    def __call__(self, seen: Observation) -> Iterator[tuple[Observation, Solution]]:
        """Solve the data sets within the network's range of errors, and then the others."""
        whole, note = self.completed(seen)
        rough = too_rough(whole)
        for which in (~rough, rough):
            if not bool(which.any()):
                continue
            part = seen.take(which)
            solution = self._solved(whole.take(which))
            status = _with_resolution(part, solution.weights, solution.status | note[which])
            if not seen.problem.signed:
                status = joined(status, self._checked(part, solution.weights))
            if self.moments is not None:
                status = status | self.moments.missed(part, solution.weights) * CONTRADICTED
            yield part, replace(solution, status=status)

    def completed(self, seen: Observation) -> tuple[Observation, torch.Tensor]:
        """The data, beside them the norm and moments that are stated, assumed or in the data
        themselves, and what was assumed, ``(b,)``.
        """
        beside = seen if self.moments is None else self.moments.beside(seen)
        nothing = torch.zeros_like(seen.which)
        settled = seen.problem.signed or 0 in beside.problem.moments
        if settled or isinstance(self.algorithm, Trained):
            return beside, nothing
        if self.norm is not None:
            return beside.with_norm(self.norm), nothing
        if seen.problem.statistics != "fermion":
            return beside, nothing
        value, error = measured_norm(self.network, beside)
        unknown = error > UNDETERMINED
        # Regularisation would pull the norm towards that of noisy end points, or of a fit.
        loose = ~unknown & (error > SHARP) & (value > 0) & (not self._as_measured)
        if not bool((unknown | loose).any()):
            return beside, nothing
        known = torch.where(unknown, 1.0, value)
        allowed = torch.where(loose, LOOSE * error * beside.scale, torch.inf)
        allowed = torch.where(unknown, NORM_ERROR, allowed)
        scale = torch.where(unknown, 1.0, beside.scale)
        beside = beside.with_moments((0,), known[:, None], allowed[:, None])
        return replace(beside, scale=scale), unknown * NORMED

    @property
    def _as_measured(self) -> bool:
        """Whether the algorithm needs the rows of the data alone: it may be trained for them."""
        algorithm = self.algorithm
        trains = isinstance(algorithm, Pretrained) and algorithm.fallback is not None
        return trains or isinstance(algorithm, Ista)

    def _checked(self, seen: Observation, weights: torch.Tensor) -> torch.Tensor:
        """What norm and ``beta`` say of spectra ``(b, n)``, as bits."""
        stated: torch.Tensor | float | None = self.norm
        if self.moments is not None and 0 in self.moments.orders:
            stated = self.moments.norm(seen)
        usual = None if stated is not None or self.any_norm else 1.0
        mistimed = is_mistimed(seen, weights, usual if stated is None else stated)
        status = mistimed * MISTIMED
        if seen.problem.statistics != "fermion":
            return status
        if stated is not None:
            wrong = contradicted_norm(self.network, seen, stated)
            return _with_norm(seen, weights, status, wrong, stated, CONTRADICTED)
        if usual is not None:
            wrong = is_unnormed(self.network, seen, weights)
            bit = UNNORMED_DATA if shows_norm(seen) else UNNORMED
            return _with_norm(seen, weights, status, wrong, usual, bit)
        return status

    def _solved(self, seen: Observation) -> Solution:
        if seen.problem.signed:
            solution = self.algorithm(seen, "the network was trained on positive spectra")
            return self._with_draws(seen, solution)
        view = estimate(self.network, seen)
        solution = self.algorithm(seen, view)
        lower, upper = interval_of(seen, view, solution)
        density = solution.weights / cell_widths(seen.problem.omega)
        lower, upper = torch.minimum(lower, density), torch.maximum(upper, density)
        if solution.stretch is not None:
            lower, upper = stretched(density, lower, upper, solution.stretch)
        status = solution.status
        if isinstance(view, Estimate):
            strange = view.unlike & (status & UNLIKE == 0)
            status = torch.where(strange, status | STRANGE, status)
        resolution = solution.resolution
        if resolution is None:
            resolution = maxent_solution(seen, flat_model(seen, view), "chi2kink").resolution
        assert resolution is not None  # it is around a flat default model
        problem = seen.problem
        lower = grounded(lower, density, resolution, problem.omega, even=problem.even)
        sparse = _unresolved_part(seen, solution.weights) > UNRESOLVED
        far = unresolved(problem, seen.used, EDGE) & sparse[:, None]
        upper = opened(upper, density, resolution, problem.omega, far)
        found = replace(solution, status=status, lower=lower, upper=upper, resolution=resolution)
        return self._with_draws(seen, found)

    def _with_draws(self, seen: Observation, solution: Solution) -> Solution:
        if not self.draws:
            return solution
        seeds = [self.seeds[item] for item in seen.which.tolist()]
        return replace(solution, draws=draws_of(seen, solution, self.parts, self.draws, seeds))


def _unresolved_part(seen: Observation, weights: torch.Tensor) -> torch.Tensor:
    """Part of spectra ``(b, n)`` at frequencies that the data do not resolve, ``(b,)``."""
    sizes = weights.abs()
    return (sizes * unresolved(seen.problem, seen.used)).sum(-1) / sizes.sum(-1).clamp(min=1e-300)


def _with_resolution(
    seen: Observation, weights: torch.Tensor, status: torch.Tensor
) -> torch.Tensor:
    """Codes that report spectra whose weight the times of the data do not locate."""
    part = _unresolved_part(seen, weights)
    found = with_part(status, "unresolved", part)
    found = with_factor(found, "closer", closer_times(seen.problem, seen.used, weights))
    return torch.where(part > UNRESOLVED, found | SPARSE, status)


def _with_norm(
    seen: Observation,
    weights: torch.Tensor,
    status: torch.Tensor,
    wrong: torch.Tensor,
    norm: torch.Tensor | float,
    bit: int,
) -> torch.Tensor:
    """Codes that report ``wrong`` norms by ``bit``, or the part beyond omega if it explains them.

    Only a norm that is too small can be explained so.
    """
    norms = torch.as_tensor(norm).to(weights).expand(len(weights))
    missing = norms - weights.sum(-1)
    tried = wrong & (missing > 0)
    result = status | wrong * bit
    if seen.problem.coefficients or not bool(tried.any()):
        return result
    tails = find_tails(seen.take(tried), norms[tried])
    told = torch.where(tails.explain, status[tried], result[tried])
    result[tried] = with_tails(told, tails.problem, tails.weights, tails.possible)
    # Tails that end too early: the spectrum lacks less than it has beyond omega.
    beyond = (weights * seen.problem.beyond()).sum(-1)
    cut = wrong & (beyond > missing) & (missing > 0)
    return with_tails(result, seen.problem, weights, cut)
