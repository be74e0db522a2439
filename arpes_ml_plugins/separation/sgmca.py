"""Separate with spectra on manifolds, as far as these are known (sGMCA).

Algorithms 1 and 2 of Carloni Gertosio, Bobin and Acero, "Semi-blind source separation with learned
constraints" (2023).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from arpes_ml_plugins.separation.gmca import spectra_of, threshold_sources
from arpes_ml_plugins.separation.projection import Manifold

__all__ = ["SemiBlind", "identify", "returned", "sgmca"]

ITERATIONS = 50
TOLERANCE = 1e-6
CYCLE = 8  # longest cycle that is detected
SAME = 1e-4  # distance of spectra that counts as the same point of a cycle
GRID = torch.linspace(0, 1, 11, dtype=torch.float64, device="cpu")
MOST_INTERFERING = 4  # spectra whose shares are searched on the grid


@dataclass(frozen=True)
class SemiBlind:
    """Spectra ``(m, n)``: those of the manifolds in their order, then the free ones."""

    spectra: torch.Tensor
    sources: torch.Tensor
    """``(n, scales * t)``: thresholded coefficients of the last source update."""
    iterations: int
    end: str
    """"converged", "cycle" or "limit"."""


def sgmca(
    data: torch.Tensor,
    start: torch.Tensor,
    manifolds: Sequence[Manifold],
    scales: int = 1,
    *,
    noise: torch.Tensor | None = None,
    cleaned: bool = True,
    iterations: int = ITERATIONS,
    tolerance: float = TOLERANCE,
) -> SemiBlind:
    """Run Algorithm 1 from spectra ``start (m, n)`` of GMCA.

    The first iteration assigns the manifolds to spectra (Algorithm 2); the order is kept from then
    on.

    Parameters
    ----------
    data
        Whitened coefficients ``(m, scales * t)``.
    manifolds
        At most ``n``.
    noise
        Standard deviation of the data in each scale ``(scales,)``, which sets the thresholds of
        the sources. Default: from the sources themselves, as published; strong sources then raise
        their own threshold, and leak more into the spectra of the others.
    cleaned
        Whether the first iteration subtracts from the columns the interference that Algorithm 2
        finds in them, before it projects them. False projects the columns themselves, as published.
    """
    sources = threshold_sources(data, start, scales, noise=noise)
    mixing = spectra_of(data, sources, start)
    found = identify(mixing, manifolds)
    rest = [i for i in range(mixing.shape[1]) if i not in found.columns]
    mixing = mixing[:, [*found.columns, *rest]]
    if cleaned:
        mixing[:, : len(manifolds)] = found.spectra
    else:
        mixing[:, : len(manifolds)] *= found.signs
        mixing = _constrained(mixing, manifolds)
    history = [mixing]
    before: torch.Tensor | None = None
    for iteration in range(1, iterations + 1):
        sources = threshold_sources(data, mixing, scales, before=before, noise=noise)
        if before is not None:
            moved = (sources - before).norm() / sources.norm().clamp(min=1e-30)
            if float(moved) <= tolerance:
                return SemiBlind(mixing, sources, iteration, "converged")
        mixing = _constrained(spectra_of(data, sources, mixing), manifolds)
        if returned(mixing, history):
            return SemiBlind(mixing, sources, iteration, "cycle")
        history = [*history[-CYCLE:], mixing]
        before = sources
    return SemiBlind(mixing, sources, iterations, "limit")


def _constrained(mixing: torch.Tensor, manifolds: Sequence[Manifold]) -> torch.Tensor:
    """Eq. 14; free spectra have length 1, which lies in the unit ball of eq. 13."""
    known = [m.project(mixing[:, i][None]).spectra[0] for i, m in enumerate(manifolds)]
    return torch.cat([torch.stack(known, 1), mixing[:, len(known) :]], 1) if known else mixing


def returned(mixing: torch.Tensor, history: list[torch.Tensor]) -> bool:
    """Whether this is a point of a cycle: equal to an earlier step, but not to the last one."""
    if float((mixing - history[-1]).norm()) < SAME:
        return False
    return any(float((mixing - one).norm()) < SAME for one in history[:-1])


@dataclass(frozen=True)
class Identified:
    """Column of the mixing matrix that belongs to each manifold, and the spectra on these."""

    columns: list[int]
    signs: torch.Tensor  # (manifolds,)
    spectra: torch.Tensor  # (m, manifolds), of the columns less interference


def identify(mixing: torch.Tensor, manifolds: Sequence[Manifold]) -> Identified:
    """Assign columns to manifolds, one pair after the other, the best first (Algorithm 2).

    Shares of the spectra that are already identified are subtracted from each column, on a grid,
    because a weak component is often mostly interference at first.

    Parameters
    ----------
    mixing
        ``(m, n)``, columns of length 1.
    """
    left, open_columns = list(range(len(manifolds))), list(range(mixing.shape[1]))
    columns, spectra = [0] * len(manifolds), mixing.new_zeros(len(mixing), len(manifolds))
    signs = mixing.new_ones(len(manifolds))
    known: list[torch.Tensor] = []
    while left:
        shares = _grid(len(known)).to(mixing)
        taken = (
            torch.stack(known[:MOST_INTERFERING], 1) if known else mixing.new_zeros(len(mixing), 0)
        )
        best = (float("inf"), 0, 1.0, 0, mixing[:, 0])
        # A column and its negative are the same to a blind separation.
        for i, sign, m in itertools.product(open_columns, (1.0, -1.0), left):
            cleaned = sign * mixing[:, i] - shares @ taken.mT
            distance = manifolds[m].guess(cleaned).distance
            at = int(distance.argmin())
            if float(distance[at]) < best[0]:
                best = (float(distance[at]), i, sign, m, cleaned[at])
        _, i, signs[m], m, cleaned = best
        projected = manifolds[m].project(cleaned[None])
        columns[m], spectra[:, m] = i, projected.spectra[0]
        known.append(projected.scale[0] * projected.spectra[0])
        left.remove(m)
        open_columns.remove(i)
    return Identified(columns, signs, spectra)


def _grid(known: int) -> torch.Tensor:
    axes = [GRID.tolist()] * min(known, MOST_INTERFERING)
    points = torch.tensor(list(itertools.product(*axes)), dtype=GRID.dtype, device=GRID.device)
    return points.reshape(len(GRID) ** len(axes), len(axes))
