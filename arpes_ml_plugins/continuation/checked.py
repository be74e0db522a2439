"""Solutions that are checked: by the general network, by their integral and by ``beta``.

Every solution gets the credible interval of the network, wide enough to contain the solution
itself, and a warning if the data are unlike those of its training.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from arpes_ml_plugins.continuation.answer import (
    COARSE,
    CONTRADICTED,
    FERMIONIC,
    LOWEST,
    MIRRORED,
    MISTIMED,
    MOST_BEYOND,
    NARROW,
    NO_ZERO,
    NORMED,
    OPEN_NORM,
    SPARSE,
    STATIC,
    STRANGE,
    UNLIKE,
    UNNORMED,
    UNNORMED_DATA,
    Solution,
    is_no_chance,
    misses,
    none_explains,
    with_tails,
)
from arpes_ml_plugins.continuation.draws import draws_of
from arpes_ml_plugins.continuation.general_network import GeneralNetwork
from arpes_ml_plugins.continuation.intervals import (
    displaced,
    grounded,
    opened,
    reaching,
    rescaled,
    stretched,
)
from arpes_ml_plugins.continuation.moments import Moments
from arpes_ml_plugins.continuation.narrow_peaks import possible_widths
from arpes_ml_plugins.continuation.network_estimate import (
    Estimate,
    estimate,
    measured_norm,
    too_rough,
)
from arpes_ml_plugins.continuation.norms import (
    contradicted_norm,
    is_mistimed,
    is_open,
    is_unnormed,
    looks_fermionic,
    shows_norm,
)
from arpes_ml_plugins.continuation.observation import NORM_ERROR, Observation
from arpes_ml_plugins.continuation.problem import cell_widths, flat_weights, refined
from arpes_ml_plugins.continuation.resolving import (
    below_lowest,
    closer_times,
    lack_odd,
    lack_zero,
    unresolved,
)
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
from arpes_ml_plugins.continuation.tails import explains_as_well, find_tails, nearest_chi2

__all__ = ["Checked"]

SHARP = 1e-4  # relative error of a norm that needs no help
UNRESOLVED = 0.4  # part of the weight that data may leave unresolved
EDGE = 1.0  # decay of the data from which on such data leave the interval open
PEAKED, FINER = 0.02, 40
"""Part of the weight in one cell from which on it is divided, and into how many parts."""
NARROW_PART, NARROW_SIGNED = 0.1, 0.2
"""Part of the weight that may be in peaks of undetermined width; of spectra of either sign, which
have small peaks of the wrong sign beside all others."""
LOOSE = 0.3  # times the standard error of the norm, by which it may leave that of the data
PULLED = 2.0  # times that: what shows that the data contradict this norm


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
    windows: NDArray[np.floating] | None = None
    """Half-width of the window of each slice, for its norm; that of the frequencies if None."""
    of_matrix: bool = False
    """Whether spectra of either sign are elements of a matrix, whose diagonal shows its peaks."""

    def __call__(self, seen: Observation) -> Iterator[tuple[Observation, Solution]]:
        """Solve the data sets within the network's range of errors, and then the others."""
        whole, free, note, error = self.completed(seen)
        rough = too_rough(whole)
        for which in (~rough, rough):
            if not bool(which.any()):
                continue
            part = seen.take(which)
            solution = self._solved(whole.take(which), None if free is None else free.take(which))
            if free is not None:
                solution = _for_norms(part, solution, error[which])
            # A norm that is estimated from the data is as uncertain as they leave it.
            solution = self._with_draws((whole if free is None else free).take(which), solution)
            status = _with_resolution(part, solution.weights, solution.status | note[which])
            if self.norm is None and 0 not in whole.problem.moments:
                status = status | lack_zero(part.problem, part.used) * NO_ZERO
            if self.moments is None or not any(order % 2 for order in self.moments.orders):
                status = status | lack_odd(part.problem, part.used) * MIRRORED
            status = status | _explained_finer(part, solution) * COARSE
            if not seen.problem.signed:
                status = joined(status, self._checked(part, solution.weights))
            if self.moments is not None:
                wrong = self.moments.missed(part, solution.weights) | _explained_alone(
                    part, solution
                )
                status = status | wrong * CONTRADICTED
            yield part, replace(solution, status=status)

    def completed(
        self, seen: Observation
    ) -> tuple[Observation, Observation | None, torch.Tensor, torch.Tensor]:
        """The data with the norm and moments that are stated, assumed or in the data themselves
        beside them; the same without norms that are estimated from the data, if there are any; what
        was assumed; and relative standard errors of estimated norms, ``(b,)``.
        """
        beside = seen if self.moments is None else self.moments.beside(seen)
        nothing, exact = torch.zeros_like(seen.which), torch.zeros_like(seen.scale)
        settled = seen.problem.signed or 0 in beside.problem.moments
        if settled or isinstance(self.algorithm, Trained):
            return beside, None, nothing, exact
        if self.norm is not None:
            return beside.with_norm(self.norm), None, nothing, exact
        if seen.problem.statistics != "fermion":
            return beside, None, nothing, exact
        value, error = measured_norm(self.network, beside, self._windows(beside))
        unknown = is_open(value, error, usual=not self.any_norm)
        assumed = unknown & (not self.any_norm)
        # Regularisation would pull the norm towards that of noisy end points, or of a fit.
        loose = ~unknown & (error > SHARP) & (value > 0) & (not self._as_measured)
        if not bool((unknown | loose).any()):
            return beside, None, nothing, exact
        known = torch.where(assumed, 1.0, value)
        allowed = torch.where(loose, LOOSE * error * beside.scale, torch.inf)
        scale = torch.where(assumed, 1.0, beside.scale)
        nowhere = torch.full_like(allowed, torch.inf)
        errors = (torch.where(assumed, NORM_ERROR, each)[:, None] for each in (allowed, nowhere))
        whole, free = (
            replace(beside.with_moments((0,), known[:, None], each), scale=scale) for each in errors
        )
        note = torch.where(assumed, NORMED, unknown * OPEN_NORM)
        return whole, free, note, torch.where(loose, error, exact)

    def _windows(self, seen: Observation) -> torch.Tensor | None:
        return None if self.windows is None else torch.from_numpy(self.windows[seen.slices])

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
            return status | looks_fermionic(seen) * FERMIONIC
        if stated is not None:
            wrong = contradicted_norm(self.network, seen, stated)
            return _with_norm(seen, weights, status, wrong, stated, CONTRADICTED)
        if usual is not None:
            wrong = is_unnormed(self.network, seen, weights)
            bit = UNNORMED_DATA if shows_norm(seen) else UNNORMED
            return _with_norm(seen, weights, status, wrong, usual, bit)
        return status

    def _solved(self, whole: Observation, free: Observation | None) -> Solution:
        """Solutions for ``whole`` data sets, or for ``free`` ones without the norm that is
        estimated from the data, where these contradict it, as those of narrow peaks may.

        Weight beyond omega stays where the data demand it.
        """
        solution = self.everywhere(whole)
        if free is not None:
            wrong = misses(whole, solution) | _is_pulled(whole, solution)
            if bool(wrong.any()):
                other = self.everywhere(self._normed(free.take(wrong)))
                solution = solution.replaced(other, wrong)
        plain = whole if free is None else free
        needless = _has_needless_tails(plain, solution)
        if bool(needless.any()):
            some = plain.take(needless)
            inner = self.everywhere((some if free is None else self._normed(some)).bounded())
            solution = solution.replaced(inner, needless, plain.problem.named)
        return solution

    def _normed(self, free: Observation) -> Observation:
        """Data that do not determine their norm, with 1 where they allow it."""
        if self.any_norm:
            return free
        allowed = explains_as_well(free.with_norm(1.0).bounded(), free)
        ones = torch.ones_like(free.norms)
        errors = torch.where(allowed, NORM_ERROR * ones, torch.inf)
        return free.with_moments((0,), ones[:, None], errors[:, None])

    def everywhere(self, seen: Observation) -> Solution:
        """Solutions on all frequencies of the problem, those beyond the user's too."""
        if seen.problem.signed:
            solution = self.algorithm(seen, "the network was trained on positive spectra")
            if self.of_matrix:
                return solution
            return self._with_peaks(seen, solution)
        view = estimate(self.network, seen)
        solution = self.algorithm(seen, view)
        lower, upper = interval_of(seen, view, solution)
        density = solution.weights / cell_widths(seen.problem.omega)
        lower, upper = torch.minimum(lower, density), torch.maximum(upper, density)
        if solution.stretch is not None:
            lower, upper = stretched(density, lower, upper, solution.stretch)
        lower, upper = reaching(density, lower, upper)
        status = solution.status
        if isinstance(view, Estimate):
            strange = view.unlike & (status & UNLIKE == 0)
            status = torch.where(strange, status | STRANGE, status)
        resolution = solution.resolution
        if resolution is None:
            resolution = maxent_solution(seen, flat_model(seen, view), "chi2kink").resolution
        assert resolution is not None  # it is around a flat default model
        problem = seen.problem
        lower, upper = displaced(density, lower, upper, resolution, problem.omega)
        lower = grounded(lower, density, resolution, problem.omega, even=problem.even)
        sparse = _unresolved_part(seen, solution.weights) > UNRESOLVED
        far = unresolved(problem, seen.used, EDGE) & sparse[:, None]
        lower, upper = opened(density, lower, upper, resolution, problem.omega, far)
        found = replace(solution, status=status, lower=lower, upper=upper, resolution=resolution)
        if solution.fitted and not isinstance(self.algorithm, Ista):  # which makes peaks of all
            found = self._with_peaks(seen, found)
        return found

    def _with_peaks(self, seen: Observation, solution: Solution) -> Solution:
        """With all possible widths of narrow peaks."""
        lower, upper, resolution = solution.lower, solution.upper, solution.resolution
        assert lower is not None
        assert upper is not None
        assert resolution is not None
        possible = possible_widths(seen, solution.weights, lower, upper, resolution, self.parts)
        most = NARROW_SIGNED if seen.problem.signed else NARROW_PART
        status = _with_narrow(solution.status, possible.part, most)
        if seen.problem.statistics == "boson" and not seen.problem.signed:
            status = status | (possible.at_zero > NARROW_PART) * STATIC
        return replace(solution, status=status, lower=possible.lower, upper=possible.upper)

    def _with_draws(self, seen: Observation, solution: Solution) -> Solution:
        """With draws, which have weight beyond omega only where the data demand it."""
        if not self.draws:
            return solution
        seeds = np.array([self.seeds[item] for item in seen.which.tolist()])
        named = slice(*(seen.problem.named or (None,)))
        tails = _part(solution.weights, seen.problem.beyond()) > MOST_BEYOND
        data = seen.kernel().data(solution.weights)
        count = len(solution.weights), self.draws, len(solution.weights[0, named]) // self.parts
        drawn = solution.weights.new_empty(count)
        for which, some, columns in (
            (tails, seen, slice(None)),
            (~tails, seen.bounded(), named),
        ):
            if bool(which.any()):
                own = seeds[which.cpu().numpy()].tolist()
                part = solution.taken(which, columns)
                drawn[which] = draws_of(
                    some.take(which), part, data[which], self.parts, self.draws, own
                )
        return replace(solution, draws=drawn)


def _explained_alone(seen: Observation, solution: Solution) -> torch.Tensor:
    """Whether data that a solution does not explain, as it has stated moments, are those of another
    one without them, ``(b,)``.
    """
    missed = misses(seen, solution)
    if bool(missed.any()):
        some = seen.take(missed)
        free = maxent_solution(some, some.norms[:, None] * flat_weights(some.problem), "chi2kink")
        missed[missed.clone()] = ~misses(some, free)
    return missed


def _explained_finer(seen: Observation, solution: Solution) -> torch.Tensor:
    """Whether data that no spectrum explains on these frequencies are those of one on finer
    frequencies around its peaks, ``(b,)``: a pole between two frequencies, for example.
    """
    coarse = none_explains(seen, solution)
    if seen.problem.signed:
        return torch.zeros_like(coarse)
    omega, widths = seen.problem.omega, cell_widths(seen.problem.omega)
    for item in torch.nonzero(coarse)[:, 0].tolist():
        one = seen.take(torch.arange(len(coarse), device=coarse.device) == item)
        weights = solution.weights[item]
        peaked = (weights > PEAKED * weights.sum()).to(widths)
        near = torch.nn.functional.max_pool1d(peaked[None], 3, 1, 1)[0] > 0
        fine = refined(omega, near, FINER)
        problem = replace(
            seen.problem, omega=fine, bins=False, named=None, window=seen.problem.half_width
        )
        nearest = torch.cat([nearest_chi2(one), nearest_chi2(replace(one, problem=problem))])
        now, finer = is_no_chance(nearest, one.count.expand(2))
        coarse[item] = now & ~finer
    return coarse


def _is_pulled(seen: Observation, solution: Solution) -> torch.Tensor:
    """Whether solutions cannot have the norm beside the data, which is their last row, ``(b,)``."""
    left = seen.data - seen.kernel().data(solution.weights)
    return solution.fitted & (left[:, -1].abs() > PULLED)


def _for_norms(seen: Observation, solution: Solution, error: torch.Tensor) -> Solution:
    """Intervals of solutions with norms that were estimated with relative errors ``(b,)``."""
    if solution.lower is None or solution.upper is None:
        return solution
    density = solution.weights / cell_widths(seen.problem.omega)
    lower, upper = rescaled(density, solution.lower, solution.upper, error)
    return replace(solution, lower=lower, upper=upper)


def _has_needless_tails(seen: Observation, solution: Solution) -> torch.Tensor:
    """Whether solutions have weight beyond omega that the data do not demand, ``(b,)``."""
    beyond = (solution.weights * seen.problem.beyond()).sum(-1)
    found = beyond > MOST_BEYOND * solution.weights.sum(-1)
    if seen.problem.signed or not solution.fitted or not bool(found.any()):
        return torch.zeros_like(found)
    some = seen.take(found)
    found[found.clone()] = explains_as_well(some.bounded(), some)
    return found


def _unresolved_part(seen: Observation, weights: torch.Tensor) -> torch.Tensor:
    """Part of spectra ``(b, n)`` at frequencies that the data do not resolve, ``(b,)``."""
    return _part(weights, unresolved(seen.problem, seen.used))


def _part(weights: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """Part of spectra ``(b, n)`` at some frequencies, ``(b,)``."""
    sizes = weights.abs()
    return (sizes * where).sum(-1) / sizes.sum(-1).clamp(min=1e-300)


def _with_narrow(status: torch.Tensor, part: torch.Tensor, most: float) -> torch.Tensor:
    """Codes that report peaks of undetermined width, if more than a part ``most`` is in them."""
    return torch.where(part > most, with_part(status, "narrow", part) | NARROW, status)


def _with_resolution(
    seen: Observation, weights: torch.Tensor, status: torch.Tensor
) -> torch.Tensor:
    """Codes that report spectra whose weight the times of the data do not locate."""
    low = _part(weights, below_lowest(seen.problem, seen.used)) > UNRESOLVED
    status = status | low * LOWEST
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
