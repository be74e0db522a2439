"""The general network at work: from whitened data to a spectrum, its error band and a warning."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from arpes_ml_plugins.continuation.general_network import REACH, GeneralNetwork, condition
from arpes_ml_plugins.continuation.observation import Observation, find_outliers, observations
from arpes_ml_plugins.continuation.prior import View
from arpes_ml_plugins.continuation.problem import Problem, cell_widths, subdivided

__all__ = ["Estimate", "best_windows", "estimate", "regrid", "suggest_windows"]

SURPRISE = 15.0
"""Mean square of the resolved components over that of the prior: 1 in 100 of it is above."""
FEWEST_TIMES = 20
LARGEST_ERROR = 0.02  # over the norm
SMALLEST_ERROR = 1e-6  # over the norm; smaller ones are taken as this large
HALVINGS = 4
"""Windows tried: the whole one, half of it, ... The prior holds spectra that fill a quarter of the
window or more; a smaller window pays for narrower ones only."""
CONVINCING = 50.0  # nats by which a smaller window must be more likely
MARGIN = 2**0.5  # of a window that nobody named, over the most likely one


@dataclass(frozen=True)
class Estimate:
    """For ``b`` data sets; densities (per unit of frequency) on the user's ``n`` frequencies."""

    density: torch.Tensor
    lower: torch.Tensor
    upper: torch.Tensor
    surprise: torch.Tensor  # (b,): 1 on the average over the prior
    inside: torch.Tensor  # (b, n) bool: frequencies within the network's window

    @property
    def unlike(self) -> torch.Tensor:
        """Whether the data are unlike those of all spectra of the training, ``(b,)``."""
        return self.surprise > SURPRISE


def estimate(network: GeneralNetwork, seen: Observation) -> Estimate | str:
    """What the network makes of the data; a reason in words where it was not trained for them."""
    reason = _outside(seen)
    if reason:
        return reason
    omega = seen.problem.omega
    # A somewhat wider window than asked for does no harm.
    whole = max(seen.problem.half_width, REACH[0] / seen.problem.beta)
    windows = best_windows(network, seen, [whole / 2**k for k in range(HALVINGS)], CONVINCING)
    parts = [seen.data.new_empty(len(seen.data), len(omega)) for _ in range(3)]
    surprise = seen.data.new_zeros(len(seen.data))
    inside = torch.zeros_like(parts[0], dtype=torch.bool)
    for window in sorted(set(windows.tolist())):
        which = windows == window
        view, data = _view(network, seen, window, seen.data[which])
        features = data @ view.features.mT
        norm = features[:, -1:]
        terms = condition(seen.problem.beta * window, view).to(norm.device)
        told = (features / norm).float()
        with torch.inference_mode():
            spectrum = network(told, terms)
            lower, upper = network.quantiles(spectrum, told, terms)
        grid = _grid(network, window).to(omega)
        unit = norm * seen.scale / cell_widths(grid)
        density = regrid(spectrum.to(data) * unit, grid, omega)
        # The ends of the band are not smooth: cubic splines would swing, and cross each other.
        ends = ((end.to(data) * unit) @ linear(grid, omega).mT for end in (lower, upper))
        for part, value in zip(parts, (density, *ends), strict=True):
            part[which] = value
        view, data = _view(network, seen, window, seen.data[which], fine=True)
        surprise[which] = view.surprise(data)[0]
        inside[which] = (omega >= grid[0]) & (omega <= grid[-1])
    return Estimate(parts[0], parts[1], parts[2], surprise, inside)


def best_windows(
    network: GeneralNetwork, seen: Observation, candidates: list[float], margin: float
) -> torch.Tensor:
    """The most likely half-width of the spectrum for each data set, ``(b,)``.

    The first candidate unless another one is more likely by ``margin`` (nats).
    """
    likely = []
    for window in candidates:
        if not REACH[0] <= seen.problem.beta * window <= REACH[1]:
            likely.append(seen.data.new_full((len(seen.data),), -torch.inf))
            continue
        view, data = _view(network, seen, window, seen.data, fine=True)
        likely.append(view.log_evidence(data))
    evidence = torch.stack(likely)
    evidence[0] += margin
    return torch.tensor(candidates, dtype=seen.data.dtype).to(seen.data)[evidence.argmax(0)]


def suggest_windows(
    network: GeneralNetwork, problem: Problem, rows: torch.Tensor, errors: torch.Tensor
) -> torch.Tensor:
    """Half-width of the window for data ``(b, rows)`` of fermions, if users name none, ``(b,)``."""
    low, high = REACH
    count = int(2 * math.log2(high / low))
    candidates = [low / problem.beta * 2 ** (k / 2) for k in range(count + 1)]
    windows = rows.new_zeros(len(rows))
    kept, _ = find_outliers(problem, rows, errors)
    for seen in observations(problem, rows, errors, None, kept):
        windows[seen.which] = best_windows(network, seen, candidates, 0.0)
    return windows * MARGIN


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
    step = grid[1] - grid[0]
    return (1 - (omega[:, None] - grid).abs() / step).clamp(min=0)


def _outside(seen: Observation) -> str:
    problem = seen.problem
    reach = problem.beta * problem.half_width
    if problem.statistics != "fermion":
        return "the network was trained on fermions"
    if len(problem.times) < FEWEST_TIMES:
        return f"the network was trained on {FEWEST_TIMES} imaginary times or more"
    if LARGEST_ERROR * float(seen.whitener.norm(dim=1).mean()) * seen.scale < 1:
        return f"errors are above {LARGEST_ERROR:g} of the norm"
    if 2 * reach < REACH[0]:
        return (
            f"beta times the largest frequency is {reach:.3g}, below the {REACH[0] / 2:g} allowed"
        )
    if REACH[1] < reach / 2 ** (HALVINGS - 1):
        most = REACH[1] * 2 ** (HALVINGS - 1)
        return f"beta times the largest frequency is {reach:.3g}, above the {most:g} allowed"
    return ""


def _view(
    network: GeneralNetwork,
    seen: Observation,
    window: float,
    data: torch.Tensor,
    *,
    fine: bool = False,
) -> tuple[View, torch.Tensor]:
    """The view of normalised spectra on a window, and data softened to errors it was trained on.

    The network was trained on features of the kernel at the centres of its bins; what is likely is
    judged by the ``fine`` prior, which has several points a bin.
    """
    grid = _grid(network, window).to(seen.problem.omega)
    prior = network.prior
    if fine:
        prior = network.fine_prior
        grid = subdivided(grid, len(prior.mean) // network.points)
    problem = replace(seen.problem, omega=grid, bins=False)
    kernel = seen.whitener @ problem.kernel * seen.scale
    # The kernel of a fermion is at most 1: its largest element is one over the smallest error.
    soft = min(1.0, 1 / (SMALLEST_ERROR * float(kernel.abs().amax())))
    return prior.view(kernel * soft), data * soft


def _grid(network: GeneralNetwork, window: float) -> torch.Tensor:
    return torch.linspace(-window, window, network.points, dtype=torch.float64)
