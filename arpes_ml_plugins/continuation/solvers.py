"""The algorithms as solvers of one group of data sets, see :mod:`~.continuation.answer`.

Each is an immutable description with one method. All of them get the estimate of the general
network: :class:`Checked` gives every solution the credible interval of the network, wide enough to
contain the solution itself, and a warning if the data are unlike those of its training.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from arpes_ml_plugins.continuation.answer import (
    ANSWERED,
    CONTRADICTED,
    NORMED,
    STRANGE,
    TRAINED,
    UNCONVERGED,
    UNLIKE,
    UNTRAINED,
    Solution,
)
from arpes_ml_plugins.continuation.draws import draws_of
from arpes_ml_plugins.continuation.general_network import GeneralNetwork
from arpes_ml_plugins.continuation.ista import ista
from arpes_ml_plugins.continuation.maxent import MaxEntResult, maxent, signed_maxent
from arpes_ml_plugins.continuation.moments import Moments
from arpes_ml_plugins.continuation.network_estimate import (
    Estimate,
    estimate,
    norm_error,
    regrid,
)
from arpes_ml_plugins.continuation.observation import Observation
from arpes_ml_plugins.continuation.preblur import blurred
from arpes_ml_plugins.continuation.problem import cell_widths, flat_weights
from arpes_ml_plugins.continuation.referee import features_of
from arpes_ml_plugins.continuation.rlista import UnrolledNetwork

__all__ = [
    "BAND",
    "NEURAL_SHARE",
    "UNDETERMINED",
    "Algorithm",
    "Checked",
    "Ista",
    "MaxEnt",
    "Pretrained",
    "SignedMaxEnt",
    "Trained",
    "referee_features",
    "stretched",
]

UNDETERMINED = 0.1  # relative error of the norm: above it 1 is assumed
ALL_FLAT = 1e-3  # share of the network below which nothing is reported of it
NEURAL_SHARE = 0.98  # of the default model; the rest is flat
BAND = 1.9
"""Half-width of MaxEnt's own 90 % interval in standard deviations of its posterior. A Gaussian
would have 1.645, whose interval covers the truth at 86 to 89 % only: the posterior neglects the
choice of ``alpha`` and the error of the default model."""

Algorithm = Callable[[Observation, "Estimate | str"], Solution]
"""From data, and the estimate of the general network or the reason for none, to a solution."""


@dataclass(frozen=True)
class Checked:
    """An algorithm whose solutions the general network checks: a solver for ``answer``."""

    network: GeneralNetwork
    algorithm: Algorithm
    norm: float | None = None
    """Integral of the spectra, if the user gives it."""
    moments: Moments | None = None
    draws: int = 0
    """Number of spectra to draw per data set."""
    parts: int = 1
    """Number of parts into which the cells of the user are divided."""
    seeds: tuple[int, ...] = ()
    """Of the draws, by the positions of the data sets."""

    def __call__(self, seen: Observation) -> Solution:
        whole, note = self.completed(seen)
        solution = self._solved(whole)
        status = solution.status | note
        if self.moments is not None:
            missed = self.moments.missed(seen, solution.weights)
            status = status | missed * CONTRADICTED
        return replace(solution, status=status)

    def completed(self, seen: Observation) -> tuple[Observation, int]:
        """The data, beside them all that is known of the spectrum, and what was assumed of it."""
        if self.moments is not None:
            seen = self.moments.beside(seen)
        if seen.problem.signed or isinstance(self.algorithm, Trained):
            return seen, 0
        norm = None if 0 in seen.problem.moments else self.norm or self._assumed_norm(seen)
        if norm is None:
            return seen, 0
        return seen.with_norm(norm), 0 if self.norm is not None else NORMED

    def _assumed_norm(self, seen: Observation) -> float | None:
        """1 for fermions whose data do not determine the norm."""
        if seen.problem.statistics != "fermion":
            return None
        return 1.0 if norm_error(self.network, seen) > UNDETERMINED else None

    def _solved(self, seen: Observation) -> Solution:
        if seen.problem.signed:
            solution = self.algorithm(seen, "the network was trained on positive spectra")
            return self._with_draws(seen, solution)
        view = estimate(self.network, seen)
        solution = self.algorithm(seen, view)
        lower, upper = _interval(seen, view, solution)
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
            resolution = _maxent(seen, _flat_model(seen, view), "chi2kink").resolution
        found = replace(solution, status=status, lower=lower, upper=upper, resolution=resolution)
        return self._with_draws(seen, found)

    def _with_draws(self, seen: Observation, solution: Solution) -> Solution:
        if not self.draws:
            return solution
        seeds = [self.seeds[item] for item in seen.which.tolist()]
        return replace(solution, draws=draws_of(seen, solution, self.parts, self.draws, seeds))


@dataclass(frozen=True)
class MaxEnt:
    """Maximum entropy with a flat default model, or one given as densities ``(slices, n)``."""

    rule: str
    model: Any = None
    preblur: float | None = 0.0
    """Standard deviation of a Gaussian that blurs the spectrum; None: the most probable one."""

    def __call__(self, seen: Observation, view: Estimate | str) -> Solution:
        given = self.model is not None
        model = _given_model(seen, self.model) if given else _flat_model(seen, view)
        result, width = blurred(maxent, seen, model, self.rule, self.preblur)
        return _positive(_solution(seen, result, width=width))


@dataclass(frozen=True)
class SignedMaxEnt:
    """Maximum entropy for spectra of either sign, for which the network is not trained."""

    rule: str
    preblur: float | None = 0.0
    model: Any = None
    """Expected size of the spectrum, as densities ``(slices, n)``; flat if None."""

    def __call__(self, seen: Observation, view: Estimate | str) -> Solution:
        if self.model is None:
            model = flat_weights(seen.problem).expand(len(seen.which), -1)
        else:
            model = _given_model(seen, self.model)
        result, width = blurred(signed_maxent, seen, model, self.rule, self.preblur)
        return _solution(seen, result, width=width)


@dataclass(frozen=True)
class Pretrained:
    """The general network, refined by maximum entropy or not."""

    refine: bool
    fallback: Callable[[], Algorithm] | None
    """Solver of data outside the network's range; None is maximum entropy."""
    rule: str = "classic"
    flat_rule: str = "chi2kink"
    """Rule with the flat default model, for the share that is not the network's."""
    weighed: bool = False
    """Whether to mix in the solution around the flat default model."""

    def __call__(self, seen: Observation, view: Estimate | str) -> Solution:
        if isinstance(view, str):
            if self.fallback is None:
                return _maxent(seen, _flat_model(seen, view), self.flat_rule, note=UNTRAINED)
            solution = self.fallback()(seen, view)
            return replace(solution, status=solution.status | TRAINED)
        if not self.refine:
            return _bare(seen, view.density)
        solution = _refined(seen, view.density, self.rule)
        if not (self.weighed or view.unlike.any()):
            return solution
        flat = _maxent(seen, _flat_model(seen, view), self.flat_rule)
        share = seen.norms.new_ones(len(seen.which))
        if self.weighed:
            with torch.inference_mode():
                told = referee_features(seen, view, solution, flat)
                share = view.referee.share(told).to(share)
                stretch = view.referee.stretch(told).to(share)
            mixed = _mixed(torch.where(view.unlike, 0, share), solution, flat, view.unlike)
            return replace(mixed, stretch=stretch)
        return _mixed(torch.where(view.unlike, 0, share), solution, flat, view.unlike)


@dataclass(frozen=True)
class Trained:
    """A network trained for these data alone."""

    network: Callable[[Observation], tuple[UnrolledNetwork, torch.Tensor]]
    """From the observation to the network and the frequencies of its output."""
    refine: bool

    def __call__(self, seen: Observation, view: Estimate | str) -> Solution:
        network, grid = self.network(seen)
        omega = seen.problem.omega
        norm = seen.norms[:, None]
        if isinstance(view, Estimate):  # which knows better where tau has no end points
            norm = (view.density * cell_widths(omega)).sum(-1, keepdim=True)
        with torch.inference_mode():
            rows = _without_outliers(seen, view) / norm
            weights = network.to(seen.data.device)(rows).to(seen.data)
        grid = grid.to(omega)
        density = regrid(weights.clamp(min=0) / cell_widths(grid), grid, omega) * norm
        return _refined(seen, density) if self.refine else _bare(seen, density)


@dataclass(frozen=True)
class Ista:
    """Basis pursuit."""

    sparsity: float
    iterations: int
    published: bool
    """Use unit errors, and allow spectra of either sign."""

    def __call__(self, seen: Observation, view: Estimate | str) -> Solution:
        if self.published:
            kernel, data = seen.problem.kernel[seen.used], seen.rows[:, seen.used]
        else:
            typical = 1 / seen.whitener.norm(dim=1).mean()
            kernel, data = seen.kernel() * typical, seen.data * typical
        result = ista(
            kernel,
            data / seen.scale,
            self.sparsity,
            accelerated=not self.published,
            nonnegative=not self.published,
            iterations=self.iterations,
        )
        return Solution(result.spectrum * seen.scale, _status(result.converged))


def _status(converged: torch.Tensor, note: int = 0) -> torch.Tensor:
    return ANSWERED | note | (~converged).to(torch.int64) * UNCONVERGED


def _bare(seen: Observation, density: torch.Tensor) -> Solution:
    """The spectrum of a network as it is."""
    status = torch.full_like(seen.which, ANSWERED)
    return Solution(density * cell_widths(seen.problem.omega), status, fitted=False)


def _maxent(
    seen: Observation, default: torch.Tensor, rule: str, *, note: int = 0, resolved: bool = True
) -> Solution:
    """MaxEnt with its own credible interval, which is used if the network has none."""
    result = maxent(seen.kernel(), seen.data, default, rule=rule)
    return _positive(_solution(seen, result, note, resolved))


def _positive(solution: Solution) -> Solution:
    return replace(solution, lower=_ends(solution)[0].clamp(min=0))


def _solution(
    seen: Observation,
    result: MaxEntResult,
    note: int = 0,
    resolved: bool = True,
    width: torch.Tensor | None = None,
) -> Solution:
    """With the interval of the posterior, for either sign; ``resolved``: with the resolution
    around its default model.
    """
    widths = cell_widths(seen.problem.omega)
    half = BAND * result.deviation
    lower, upper = ((result.spectrum + side * half) / widths for side in (-1, 1))
    status = _status(result.converged, note)
    resolution = None
    if resolved:
        total = (seen.problem.omega[-1] - seen.problem.omega[0]).abs()
        resolution = result.blur() * widths
        if width is not None:  # a Gaussian's area over its height
            resolution = torch.hypot(resolution, math.sqrt(2 * math.pi) * width[:, None])
        resolution = torch.minimum(resolution, total)
    return Solution(result.spectrum, status, lower, upper, result.least, resolution=resolution)


def _given_model(seen: Observation, model: Any) -> torch.Tensor:
    """Weights ``(b, n)`` of a default model that was given as densities ``(slices, n)``."""
    own = torch.as_tensor(model[seen.slices], dtype=seen.data.dtype, device=seen.data.device)
    return own.to(seen.data.device) * cell_widths(seen.problem.omega)


def _flat_model(seen: Observation, view: Estimate | str) -> torch.Tensor:
    """Weights of the flat default model, with the norm of the data, ``(b, n)``."""
    norm = seen.norms
    if isinstance(view, Estimate):  # which knows better where tau has no end points
        norm = (view.density * cell_widths(seen.problem.omega)).sum(-1)
    return norm[:, None] * flat_weights(seen.problem)


def _refined(seen: Observation, density: torch.Tensor, rule: str = "classic") -> Solution:
    """RLISTA+: MaxEnt with the network's spectrum as default model (paper, Section III F)."""
    widths = cell_widths(seen.problem.omega)
    neural = density * widths
    flat = neural.sum(-1, keepdim=True) * flat_weights(seen.problem)
    default = NEURAL_SHARE * neural + (1 - NEURAL_SHARE) * flat
    return _maxent(
        seen, default, rule, resolved=False
    )  # the resolution is that of a flat default model


def _without_outliers(seen: Observation, view: Estimate | str) -> torch.Tensor:
    """All rows, as a network needs them, with those of the rest's spectrum for outliers."""
    if bool(seen.used.all()):
        return seen.rows
    solution = _maxent(seen, _flat_model(seen, view), "chi2kink")
    return torch.where(seen.used, seen.rows, solution.weights @ seen.problem.kernel.mT)


def _interval(
    seen: Observation, view: Estimate | str, solution: Solution
) -> tuple[torch.Tensor, torch.Tensor]:
    """The network's interval; that of MaxEnt where the network is not valid."""
    if isinstance(view, Estimate):
        trusted = view.inside & (solution.status & UNLIKE == 0)[:, None]
        if bool(trusted.all()):
            return view.lower, view.upper
    lower, upper = solution.lower, solution.upper
    if lower is None or upper is None:
        lower, upper = _ends(_maxent(seen, _flat_model(seen, view), "chi2kink"))
    if isinstance(view, str):
        return lower, upper
    return torch.where(trusted, view.lower, lower), torch.where(trusted, view.upper, upper)


def stretched(
    density: torch.Tensor, lower: torch.Tensor, upper: torch.Tensor, factor: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """An interval ``(b, n)`` around a solution, wider by a factor ``(b,)``; never below zero."""
    wider = (density + factor[:, None] * (end - density) for end in (lower, upper))
    below, above = wider
    return below.clamp(min=0), above


def referee_features(
    seen: Observation, view: Estimate, neural: Solution, flat: Solution
) -> torch.Tensor:
    """Input of the mixing network for two solutions, ``(b, FEATURES)``."""
    widths = cell_widths(seen.problem.omega)
    misfits = [
        (seen.data - solution.weights @ seen.kernel().mT).square().mean(-1)
        for solution in (neural, flat)
    ]
    bare = view.density * widths
    told = torch.stack(misfits, -1)
    return features_of(view.kind, bare, neural.weights, flat.weights, widths, told)


def _mixed(share: torch.Tensor, neural: Solution, flat: Solution, unlike: torch.Tensor) -> Solution:
    """``share`` of one solution and the rest of the other; both agree with the data."""
    pairs = zip((neural.weights, *_ends(neural)), (flat.weights, *_ends(flat)), strict=True)
    weights, lower, upper = (torch.lerp(b, a, share[:, None]) for a, b in pairs)
    status = torch.where(share < ALL_FLAT, flat.status, neural.status | flat.status)
    least = None
    if neural.least is not None and flat.least is not None:  # of one and the same data
        least = torch.minimum(neural.least, flat.least)
    return Solution(
        weights, status | unlike * UNLIKE, lower, upper, least, resolution=flat.resolution
    )


def _ends(solution: Solution) -> tuple[torch.Tensor, torch.Tensor]:
    assert solution.lower is not None
    assert solution.upper is not None
    return solution.lower, solution.upper
