"""Apply the general network: from whitened data to a spectrum, its interval and a warning."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from arpes_ml_plugins.continuation.factored import rowwise
from arpes_ml_plugins.continuation.general_network import (
    FURTHEST,
    REACH,
    GeneralNetwork,
    condition,
)
from arpes_ml_plugins.continuation.observation import NORM_ERROR, Observation, observations
from arpes_ml_plugins.continuation.outliers import correlated_excess, find_outliers, raised
from arpes_ml_plugins.continuation.prior import View
from arpes_ml_plugins.continuation.problem import Problem, cell_widths, subdivided
from arpes_ml_plugins.continuation.referee import Referee

__all__ = [
    "UNDETERMINED",
    "Estimate",
    "best_windows",
    "estimate",
    "measured_norm",
    "regrid",
    "relative_error",
    "suggest_windows",
    "too_rough",
    "window_at_least",
]

SURPRISE = 15.0
"""Mean square of the resolved components over that of the prior: fewer than 1 in 100 are above."""
FEWEST_DATA = 20
"""Times, or twice as many as Matsubara frequencies of complex data."""
LARGEST_ERROR = 0.02  # over the norm
SMALLEST_ERROR = 1e-7  # over the norm; smaller ones are taken as this large
LEAST_NORM = 0.05  # of a rough estimate
HALVINGS = 4
"""Windows tried: the whole one, half of it, ... The prior holds spectra that fill a fifth of the
window or more; a smaller window pays for narrower ones only."""
DOUBLINGS = 2  # further windows, where the spectrum may go on beyond that of the user
CONVINCING = 50.0  # nats by which another window must be more likely
HELD, MARGIN = 0.995, 1.5
"""A default window is ``MARGIN`` times as wide as the one that contains ``HELD`` of a spectrum."""
UNDETERMINED = 0.1
"""Relative error of the norm from which on the data do not show it. Nor do they show then what is
in the outer part of the window: it may hold any weight, and the Gaussian prior, which cannot tell a
spectrum in the middle of a far wider window from a peak in it, finds such windows likely."""
PLAUSIBLE = 15.0
"""Nats by which a window may be less likely than the best one to count beside it. Evidences of a
Gaussian prior, which allows negative spectra, are not better than that."""


@dataclass(frozen=True)
class Estimate:
    """For ``b`` data sets; densities (per unit of frequency) on the user's ``n`` frequencies."""

    density: torch.Tensor
    lower: torch.Tensor
    upper: torch.Tensor
    surprise: torch.Tensor  # (b,): 1 on the average over the prior
    inside: torch.Tensor  # (b, n) bool: frequencies within the network's window
    kind: torch.Tensor  # (b, 2): the two numbers of the kind of data
    referee: Referee
    """Finds the shares of its solution and of that with a flat default model."""

    @property
    def unlike(self) -> torch.Tensor:
        """Whether the data are unlike those of all training spectra, ``(b,)``."""
        return self.surprise > SURPRISE


def estimate(network: GeneralNetwork, seen: Observation) -> Estimate | str:
    """Estimate by the network; a reason in words if it was not trained for such data.

    All data sets have to be within its range of errors, or none, see :func:`too_rough`.
    """
    reason = _outside(seen)
    if reason:
        return reason
    omega = seen.problem.omega
    # A slightly wider window does no harm.
    whole = max(seen.problem.half_width, REACH[0] / seen.problem.beta)
    candidates = [whole / 2**k for k in range(HALVINGS)]
    if seen.problem.named is not None:
        candidates += [whole * 2**k for k in range(1, DOUBLINGS + 1)]
    windows = best_windows(network, seen, candidates, CONVINCING)
    parts = [seen.data.new_empty(len(seen.data), len(omega)) for _ in range(3)]
    surprise = seen.data.new_zeros(len(seen.data))
    inside = torch.zeros_like(parts[0], dtype=torch.bool)
    kind = seen.data.new_zeros(len(seen.data), 2)
    for window in sorted(set(windows.tolist())):
        which = windows == window
        some = seen.take(which)
        found = _seen_by(network, some, window)
        grid = window * network.grid.to(omega)
        unit = found.norm * _scale(some)[:, None] / cell_widths(grid)
        density = regrid(found.spectrum * unit, grid, omega)
        # The ends of the interval are not smooth: cubic splines would oscillate, and cross.
        ends = ((end * unit) @ linear(grid, omega).mT for end in (found.lower, found.upper))
        for part, value in zip(parts, (density, *ends), strict=True):
            part[which] = value
        view, data = _view(network, some, window, fine=True)
        surprise[which] = view.surprise(data)[0]
        kind[which] = found.kind.to(kind)
        inside[which] = (omega >= grid[0]) & (omega <= grid[-1])
    return Estimate(parts[0], parts[1], parts[2], surprise, inside, kind, network.referee)


@dataclass(frozen=True)
class _Seen:
    """Result of the network on its own grid: weights ``(b, n)`` that add up to 1, and the norm."""

    spectrum: torch.Tensor
    lower: torch.Tensor
    upper: torch.Tensor
    norm: torch.Tensor  # (b, 1), in units of the scale of the observation
    kind: torch.Tensor  # (2,), or (b, 2)


def _seen_by(network: GeneralNetwork, seen: Observation, window: float) -> _Seen:
    view, data = _view(network, seen, window)
    features = rowwise(data, view.features.mT)
    rough = seen.norms / seen.scale
    norm = features[:, -1:].maximum(
        LEAST_NORM * rough[:, None]
    )  # it may be far off if data determine little
    terms = condition(seen.problem.beta * window, view).to(norm.device)
    told = (features / norm).float()
    if terms.ndim > 1:  # a network for each
        told = told[:, None]
    with torch.inference_mode():
        spectrum = network(told, terms)
        lower, upper = network.quantiles(spectrum, told, terms)
    found = [part.reshape(len(norm), -1).to(data) for part in (spectrum, lower, upper)]
    if seen.problem.even or seen.problem.symmetric:
        found = [(part + part.flip(-1)) / 2 for part in found]
    return _Seen(found[0], found[1], found[2], norm, terms[..., 1:3])


def measured_norm(
    network: GeneralNetwork, seen: Observation, windows: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Integral of each spectrum from the data alone, and its relative standard error, ``(b,)``.

    Parameters
    ----------
    windows
        Half-width of the window of each spectrum, ``(b,)``; that of the problem if None.
    """
    problem = seen.problem
    if windows is None:
        windows = torch.full_like(seen.scale, problem.half_width)
    windows = windows.clamp(REACH[0] / problem.beta, FURTHEST / problem.beta)
    value, error = torch.zeros_like(seen.scale), torch.zeros_like(seen.scale)
    for window in sorted(set(windows.tolist())):
        which = windows == window
        some = seen.take(which)
        view, data = _view(network, some, window)
        value[which] = view.norm(data) * some.scale
        error[which] = view.norm_error.expand(len(data))
    return value, error


def best_windows(
    network: GeneralNetwork, seen: Observation, candidates: list[float], margin: float
) -> torch.Tensor:
    """The most likely half-width of the spectrum for each data set, ``(b,)``.

    The first candidate unless another one is more likely by ``margin`` (nats).
    """
    likely = []
    for window in candidates:
        if not REACH[0] <= seen.problem.beta * window * (1 + 1e-9) <= FURTHEST:
            likely.append(seen.data.new_full((len(seen.data),), -torch.inf))
            continue
        view, data = _view(network, seen, window, fine=True)
        likely.append(view.log_evidence(data))
    evidence = torch.stack(likely)
    evidence[0] += margin
    return torch.tensor(candidates, dtype=seen.data.dtype, device=seen.data.device).to(seen.data)[
        evidence.argmax(0)
    ]


def suggest_windows(
    network: GeneralNetwork,
    problem: Problem,
    rows: torch.Tensor,
    errors: torch.Tensor,
    covariance: torch.Tensor | None = None,
    norms: torch.Tensor | None = None,
) -> torch.Tensor:
    """Half-width of the window for data ``(b, rows)`` of fermions, if users name none, ``(b,)``.

    Errors that the scatter of the data contradicts are raised first: noise that counts as signal
    would need a window of any width.

    Parameters
    ----------
    covariance
        Of the errors, ``(rows, rows)``, or of those of each data set, ``(b, rows, rows)``.
    norms
        Integrals of the spectra, if they are known, ``(b,)``.
    """
    windows = rows.new_zeros(len(rows))
    kept = torch.ones_like(rows, dtype=torch.bool)
    if covariance is None:
        kept, excess, _ = find_outliers(problem, rows, errors)
        errors = raised(errors, excess)
    else:  # smaller data with these errors have the windows of these data with larger ones
        excess = correlated_excess(problem, rows, covariance).clamp(min=1)
        rows = rows / excess[:, None]
        norms = None if norms is None else norms / excess
    for seen in observations(problem, rows, errors, covariance, kept):
        known = None if norms is None else norms[seen.which]
        windows[seen.which] = _filled_windows(network, seen, known)
    return windows * MARGIN


def _filled_windows(
    network: GeneralNetwork, seen: Observation, norms: torch.Tensor | None
) -> torch.Tensor:
    """Half-width that contains ``HELD`` of each spectrum, ``(b,)``: the median over all windows
    that are plausible.
    """
    candidates = _candidates(seen.problem.beta)
    whole = seen
    if norms is not None:
        whole = seen.with_moments((0,), norms[:, None], NORM_ERROR * norms[:, None])
    likely = seen.data.new_zeros(len(candidates), len(seen.data))
    for number, window in enumerate(candidates):
        view, data = _view(network, whole, window, fine=True)
        _, error = measured_norm(network, seen, torch.full_like(seen.scale, window))
        likely[number] = view.log_evidence(data) - CONVINCING * (error > UNDETERMINED)
    plausible = likely > likely.amax(0) - PLAUSIBLE
    filled = torch.full_like(likely, torch.nan)
    for number, window in enumerate(candidates):
        which = plausible[number]
        if not bool(which.any()):
            continue
        spectrum = _seen_by(network, whole.take(which), window).spectrum
        reached = window * network.grid.abs().to(spectrum)
        order = reached.argsort()
        held = (spectrum[:, order].cumsum(-1) < HELD).sum(-1).clamp(max=len(order) - 1)
        filled[number, which] = reached[order][held]
    return filled.nanquantile(0.5, 0, interpolation="higher")


def _candidates(beta: float) -> list[float]:
    """Half-widths of windows, in steps of a factor of sqrt(2)."""
    low, high = REACH
    return [low / beta * 2 ** (k / 2) for k in range(int(2 * math.log2(high / low)) + 1)]


def window_at_least(beta: float, half: torch.Tensor) -> torch.Tensor:
    """The next wider of the windows that are tried: few different ones for many data sets."""
    candidates = torch.tensor(_candidates(beta), dtype=half.dtype, device="cpu").to(half)
    found = torch.searchsorted(candidates, half.contiguous())
    return candidates[found.clamp(max=len(candidates) - 1)]


def regrid(density: torch.Tensor, grid: torch.Tensor, omega: torch.Tensor) -> torch.Tensor:
    """Densities ``(..., n)`` on other frequencies by cubic splines; never below zero.

    Zero outside the cells of ``grid``. The integral is kept if ``omega`` covers the grid.
    """
    from scipy.interpolate import CubicSpline

    if grid.shape == omega.shape and torch.allclose(grid, omega):
        return density
    spline = CubicSpline(grid.cpu().numpy(), np.eye(len(grid)), bc_type="natural")
    matrix = torch.from_numpy(spline(omega.cpu().numpy())).to(density)  # (new, n)
    half = cell_widths(grid)
    outside = (omega < grid[0] - half[0] / 2) | (omega > grid[-1] + half[-1] / 2)
    matrix[outside] = 0
    result = (density @ matrix.mT).clamp(min=0)
    covered = (grid >= omega[0]) & (grid <= omega[-1])
    inside = (density * half * covered).sum(-1, keepdim=True)
    total = (result * cell_widths(omega)).sum(-1, keepdim=True)
    return result * inside / total.clamp(min=1e-30)


def linear(grid: torch.Tensor, omega: torch.Tensor) -> torch.Tensor:
    """Matrix ``(new, n)`` of linear interpolation, zero beyond the ends of the grid."""
    above = torch.searchsorted(grid, omega).clamp(1, len(grid) - 1)
    share = (omega - grid[above - 1]) / (grid[above] - grid[above - 1])
    inside = (share >= 0) & (share <= 1)
    matrix = torch.zeros(len(omega), len(grid), device="cpu").to(grid)
    rows = torch.arange(len(omega), device=grid.device)
    matrix[rows, above - 1] = torch.where(inside, 1 - share, 0)
    matrix[rows, above] = torch.where(inside, share, 0)
    return matrix


def relative_error(seen: Observation) -> torch.Tensor:
    """Typical standard error of the data over the largest datum that spectra make, ``(b,)``."""
    precision = seen.precision * seen.scale
    if seen.problem.statistics == "boson":
        precision = precision * 2 * float(seen.problem.kernel.abs().mean(1).max())
    return 1 / precision


def too_rough(seen: Observation) -> torch.Tensor:
    """Whether errors are larger than those that the network was trained on, ``(b,)`` bool."""
    return relative_error(seen) > LARGEST_ERROR


def _outside(seen: Observation) -> str:
    problem = seen.problem
    reach = problem.beta * problem.half_width
    values = len(problem.times) * (2 if problem.axis == "matsubara" else 1)
    if values < FEWEST_DATA and not problem.coefficients:
        return f"the network was trained on {FEWEST_DATA} values or more"
    if bool(too_rough(seen).any()):
        return f"errors are above {LARGEST_ERROR:g} of the norm"
    if 2 * reach < REACH[0]:
        return (
            f"beta times the largest frequency is {reach:.3g}, below the limit of {REACH[0] / 2:g}"
        )
    if reach > FURTHEST:
        return f"beta times the largest frequency is {reach:.3g}, above the limit of {FURTHEST:g}"
    return ""


def _scale(seen: Observation) -> torch.Tensor:
    """Norm of spectra on frequencies of both signs, which are those of the network, ``(b,)``."""
    return seen.scale * (2 if seen.problem.even else 1)


def _kernel(problem: Problem, even: bool) -> torch.Tensor:
    """Kernel on frequencies of both signs; moments of an ``even`` spectrum are those from zero."""
    kernel = problem.kernel
    if not (even and problem.moments):
        return kernel
    at = problem.omega.abs() / problem.half_width
    halves = torch.stack([at**order / 2 for order in problem.moments])
    return torch.cat([kernel[: -len(halves)], halves])


def _view(
    network: GeneralNetwork, seen: Observation, window: float, *, fine: bool = False
) -> tuple[View, torch.Tensor]:
    """The view of normalised spectra on a window, and data softened to errors it was trained on.

    The network was trained on features of the kernel at the centres of its bins; probabilities
    are those of the ``fine`` prior, which has several points per bin.
    """
    grid = window * network.grid.to(seen.problem.omega)
    prior = network.prior
    if fine:
        prior = network.fine_prior
        grid = subdivided(grid, len(prior.mean) // network.points)
    problem = replace(seen.problem, omega=grid, bins=False)
    rows = _kernel(problem, seen.problem.even)
    kernel, data = seen.kernel(rows), seen.data
    if problem.symmetric or seen.problem.even:
        odd = _odd_kernel(problem)
        kernel = kernel.beside(odd, seen.precision)
        data = torch.cat([data, data.new_zeros(len(data), len(odd))], 1)
    scale = _scale(seen)
    # The kernel of a fermion is at most 1: its largest element is one over the smallest error.
    largest = seen.sharpest * scale * float(rows.abs().max())
    soft = (1 / (SMALLEST_ERROR * largest)).clamp(max=1)
    return prior.view(kernel.scaled(scale * soft)), data * soft[:, None]


def _odd_kernel(problem: Problem) -> torch.Tensor:
    """Data of the odd part of spectra on both signs, compressed, ``(k, n)``.

    That of an even spectrum is zero. The network was trained on data of all spectra: without
    these rows it takes the odd part for unknown, not for zero.
    """
    rows = replace(problem, symmetric=False, moments=()).kernel
    return torch.linalg.qr((rows - rows.flip(-1)) / 2).R
