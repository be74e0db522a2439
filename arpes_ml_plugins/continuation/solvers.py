"""The algorithms as solvers of data sets of one kind.

Each is an immutable description with one method. All of them get the estimate of the general
network, and :mod:`~.continuation.checked` checks what they return.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from arpes_ml_plugins.continuation.answer import (
    ANSWERED,
    TRAINED,
    UNCONVERGED,
    UNLIKE,
    UNTRAINED,
    Solution,
)
from arpes_ml_plugins.continuation.factored import Factored
from arpes_ml_plugins.continuation.ista import ista
from arpes_ml_plugins.continuation.maxent import MaxEntResult, maxent, signed_maxent
from arpes_ml_plugins.continuation.network_estimate import Estimate, regrid, relative_error
from arpes_ml_plugins.continuation.observation import Observation
from arpes_ml_plugins.continuation.preblur import blurred
from arpes_ml_plugins.continuation.problem import cell_widths, flat_weights
from arpes_ml_plugins.continuation.referee import features_of, hedged, oscillating
from arpes_ml_plugins.continuation.rlista import UnrolledNetwork

__all__ = [
    "BAND",
    "NEURAL_SHARE",
    "Algorithm",
    "Ista",
    "MaxEnt",
    "Pretrained",
    "SignedMaxEnt",
    "Trained",
    "flat_model",
    "interval_of",
    "maxent_solution",
    "referee_features",
]

ALL_FLAT = 1e-3  # share of the network below which nothing is reported of it
NEURAL_SHARE = 0.98  # of the default model; the rest is flat
BAND = 1.9
"""Half-width of MaxEnt's own 90 % interval in standard deviations of its posterior. A Gaussian
would have 1.645, whose interval covers the truth at 86 to 89 % only: the posterior neglects the
choice of ``alpha`` and the error of the default model."""

Algorithm = Callable[[Observation, "Estimate | str"], Solution]
"""From data, and the estimate of the general network or the reason for none, to a solution."""


@dataclass(frozen=True)
class MaxEnt:
    """Maximum entropy with a flat default model, or one given as densities ``(slices, n)``."""

    rule: str
    model: Any = None
    preblur: float | None = 0.0
    """Standard deviation of a Gaussian that blurs the spectrum; None: the most probable one."""

    def __call__(self, seen: Observation, view: Estimate | str) -> Solution:
        given = self.model is not None
        model = _given_model(seen, self.model) if given else flat_model(seen, view)
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
                return maxent_solution(seen, flat_model(seen, view), self.flat_rule, note=UNTRAINED)
            solution = self.fallback()(seen, view)
            return replace(solution, status=solution.status | TRAINED)
        if not self.refine:
            return _bare(seen, view.density)
        solution = _refined(seen, view.density, self.rule)
        if not (self.weighed or view.unlike.any()):
            return solution
        flat = maxent_solution(seen, flat_model(seen, view), self.flat_rule)
        return self.mixed(seen, view, solution, flat)

    def mixed(
        self, seen: Observation, view: Estimate, solution: Solution, flat: Solution
    ) -> Solution:
        """The mixture of the network's solution with that around a flat default model."""
        share, stretch = seen.norms.new_ones(len(seen.which)), None
        if self.weighed:
            with torch.inference_mode():
                told = referee_features(seen, view, solution, flat)
                widths = cell_widths(seen.problem.omega)
                densities = (part.weights / widths for part in (solution, flat))
                share = view.referee.share(told).to(share)
                share = hedged(share, relative_error(seen), oscillating(*densities))
                stretch = view.referee.stretch(told).to(share)
        share = torch.where(view.unlike, 0, share)
        return replace(_mixed(share, solution, flat, view.unlike), stretch=stretch)


@dataclass(frozen=True)
class Trained:
    """A network trained for these data alone."""

    network: Callable[[Observation], tuple[UnrolledNetwork, torch.Tensor]]
    """From the observation to the network and the frequencies of its output."""
    refine: bool

    def __call__(self, seen: Observation, view: Estimate | str) -> Solution:
        omega = seen.problem.omega
        norm = seen.norms[:, None]
        if isinstance(view, Estimate):  # which knows better where tau has no end points
            norm = (view.density * cell_widths(omega)).sum(-1, keepdim=True)
        rows = _without_outliers(seen, view) / norm
        density = seen.data.new_empty(len(seen.which), len(omega))
        kinds = torch.stack([seen.precision, seen.scale], -1)
        for kind in torch.unique(kinds, dim=0):
            which = (kinds == kind).all(-1)
            network, grid = self.network(seen.take(which))
            with torch.inference_mode():
                weights = network.to(seen.data.device)(rows[which]).to(seen.data)
            grid = grid.to(omega)
            density[which] = regrid(weights.clamp(min=0) / cell_widths(grid), grid, omega)
        density = density * norm
        return _refined(seen, density) if self.refine else _bare(seen, density)


@dataclass(frozen=True)
class Ista:
    """Basis pursuit."""

    sparsity: float
    iterations: int
    published: bool
    """Use unit errors, and allow spectra of either sign."""

    def __call__(self, seen: Observation, view: Estimate | str) -> Solution:
        kernel, data = seen.kernel().scaled(1 / seen.precision), seen.data / seen.precision[:, None]
        if self.published:
            kernel, data = _unit_errors(seen)
        scale = seen.scale[:, None]
        result = ista(
            kernel,
            data / scale,
            self.sparsity,
            accelerated=not self.published,
            nonnegative=not self.published,
            iterations=self.iterations,
        )
        return Solution(result.spectrum * scale, _status(result.converged))


def _unit_errors(seen: Observation) -> tuple[Factored, torch.Tensor]:
    """Kernel and data as if all errors were 1."""
    kernel = Factored(seen.problem.kernel)
    if not bool(seen.used.all()):
        kernel = Factored(kernel.shared, torch.diag_embed(seen.used.to(seen.rows)))
    return kernel, seen.rows * seen.used


def _status(converged: torch.Tensor, note: int = 0) -> torch.Tensor:
    return ANSWERED | note | (~converged).to(torch.int64) * UNCONVERGED


def _bare(seen: Observation, density: torch.Tensor) -> Solution:
    """The spectrum of a network as it is."""
    status = torch.full_like(seen.which, ANSWERED)
    return Solution(density * cell_widths(seen.problem.omega), status, fitted=False)


def maxent_solution(
    seen: Observation, default: torch.Tensor, rule: str, *, note: int = 0, resolved: bool = True
) -> Solution:
    """MaxEnt with its own credible interval, which is used if the network has none."""
    result = maxent(seen.kernel(), seen.data, default, rule=rule, count=seen.count)
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


def flat_model(seen: Observation, view: Estimate | str) -> torch.Tensor:
    """Weights of the flat default model, with the norm of the data, ``(b, n)``."""
    norm = seen.norms
    if isinstance(view, Estimate):  # which knows better where tau has no end points
        norm = (view.density * cell_widths(seen.problem.omega)).sum(-1)
    return norm[:, None] * flat_weights(seen.problem)


def _refined(seen: Observation, density: torch.Tensor, rule: str = "classic") -> Solution:
    """RLISTA+: MaxEnt with the network's spectrum as default model (paper, Section III F)."""
    widths = cell_widths(seen.problem.omega)
    neural = density * widths
    norm = neural.sum(-1)
    norm = torch.where(norm > 0, norm, seen.norms)  # a network may find nothing in zeros
    flat = norm[:, None] * flat_weights(seen.problem)
    default = NEURAL_SHARE * neural + (1 - NEURAL_SHARE) * flat
    return maxent_solution(
        seen, default, rule, resolved=False
    )  # the resolution is that of a flat default model


def _without_outliers(seen: Observation, view: Estimate | str) -> torch.Tensor:
    """All rows, as a network needs them, with those of the rest's spectrum for outliers."""
    if bool(seen.used.all()):
        return seen.rows
    solution = maxent_solution(seen, flat_model(seen, view), "chi2kink")
    return torch.where(seen.used, seen.rows, solution.weights @ seen.problem.kernel.mT)


def interval_of(
    seen: Observation, view: Estimate | str, solution: Solution
) -> tuple[torch.Tensor, torch.Tensor]:
    """The network's interval; that of MaxEnt where the network is not valid."""
    if isinstance(view, Estimate):
        trusted = view.inside & (solution.status & UNLIKE == 0)[:, None]
        if bool(trusted.all()):
            return view.lower, view.upper
    lower, upper = solution.lower, solution.upper
    if lower is None or upper is None:
        lower, upper = _ends(maxent_solution(seen, flat_model(seen, view), "chi2kink"))
    if isinstance(view, str):
        return lower, upper
    return torch.where(trusted, view.lower, lower), torch.where(trusted, view.upper, upper)


def referee_features(
    seen: Observation, view: Estimate, neural: Solution, flat: Solution
) -> torch.Tensor:
    """Input of the mixing network for two solutions, ``(b, FEATURES)``."""
    widths = cell_widths(seen.problem.omega)
    misfits = [seen.misfit(solution.weights) for solution in (neural, flat)]
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
