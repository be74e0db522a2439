"""Draw spectra from the posterior: consistent with the data, and with the credible interval.

A credible interval at each frequency does not show how the errors of different frequencies are
correlated. Draws do. A field ``z`` of unit variance, correlated over a part of the resolution, is
mapped at each frequency so that its 5 % and 95 % quantiles are the ends of the interval, and is
conditioned on the data, so that it varies only what these do not determine. As the map is not
linear, maximum entropy then makes each draw agree with data that have noise of their own, with the
draw as default model.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from arpes_ml_plugins.continuation.answer import Solution
from arpes_ml_plugins.continuation.maxent import adapted
from arpes_ml_plugins.continuation.observation import Observation
from arpes_ml_plugins.continuation.problem import cell_widths

__all__ = ["Cells", "draw_spectra", "draws_of"]

QUANTILE = 1.645  # standard deviations to either end of a 90 % interval
LENGTH = 0.25  # of the resolution: over which errors are correlated
FAINTEST = 0.02  # of the spectrum: lower quantile where the interval ends at zero
ONE_SIDED = 0.2  # least size of one side of the interval, in units of the other
NEGLIGIBLE = 1e-3  # standard errors: what the widest draw changes less than this in the data
JITTER = 1e-6
LOOSE = 0.5
"""Strength of the entropy, over that at which its own spread is the width of the interval. At
smaller values single weights leave the interval, at larger ones the draws are narrower than it."""
SCALINGS, WIDEST = 10, 4.0  # rounds to make the conditioned field one of unit variance; its limit


@dataclass(frozen=True)
class Cells:
    """One data set on ``c`` cells; weights, not densities."""

    kernel: torch.Tensor  # whitened, (m, c)
    data: torch.Tensor  # of the solution, whitened, (m,)
    weights: torch.Tensor  # (c,)
    lower: torch.Tensor
    upper: torch.Tensor
    omega: torch.Tensor
    resolution: torch.Tensor
    positive: bool


def draws_of(
    seen: Observation,
    solution: Solution,
    data: torch.Tensor,
    parts: int,
    count: int,
    seeds: list[int],
) -> torch.Tensor:
    """Draws for all data sets on the frequencies of the user, as densities
    ``(b, count, n)``.

    Parameters
    ----------
    data
        Of the solution, whitened, ``(b, m)``: with those of tails that it may have beyond omega.
    parts
        Into how many parts each cell that the user named is divided in the problem.
    seeds
        One for each data set.
    """
    problem = seen.problem
    first, last = problem.named or (0, len(problem.omega))
    cell = torch.arange(len(problem.omega), device=seen.data.device)
    inner = first + (cell - first).div(parts, rounding_mode="floor")
    beyond = inner.new_tensor((last - first) // parts + first) + cell - last
    cell = torch.where(cell < first, cell, torch.where(cell < last, inner, beyond))
    named = slice(first, first + (last - first) // parts)
    widths, kernel = cell_widths(problem.omega), seen.kernel()
    assert solution.lower is not None
    assert solution.upper is not None
    assert solution.resolution is not None
    results = []
    for item, seed in enumerate(seeds):
        weights = solution.weights[item]
        size = _summed(weights, cell)
        even = (widths / _summed(widths, cell)[cell]).to(weights)
        share = torch.where(size[cell] > 0, weights / size[cell].clamp(min=1e-300), even)
        if problem.signed:  # parts may cancel
            share = even
        cells = Cells(
            kernel=_summed((kernel.each(item) * share).mT, cell).mT,
            data=data[item],
            weights=size,
            lower=_summed(solution.lower[item] * widths, cell),
            upper=_summed(solution.upper[item] * widths, cell),
            omega=_summed(problem.omega * even, cell),
            resolution=_summed(solution.resolution[item] * even, cell),
            positive=not problem.signed,
        )
        drawn = draw_spectra(cells, count, torch.Generator().manual_seed(seed))
        results.append((drawn / _summed(widths, cell))[:, named])
    return torch.stack(results)


def _summed(values: torch.Tensor, cell: torch.Tensor) -> torch.Tensor:
    """Sums over the parts of each cell, along the first axis."""
    total = values.new_zeros(int(cell[-1]) + 1, *values.shape[1:])
    return total.index_add(0, cell, values)


def draw_spectra(cells: Cells, count: int, generator: torch.Generator) -> torch.Tensor:
    """``count`` draws of weights, ``(count, c)``.

    Parameters
    ----------
    cells
        The solution, its interval, and the data that it was found from.
    """
    marginal = _Marginal.of(cells)
    u, s, vt = torch.linalg.svd(cells.kernel, full_matrices=False)
    size = float(marginal.slope.norm())
    seen = s * size > NEGLIGIBLE
    kernel = s[seen, None] * vt[seen]  # (r, c)
    root = _scaled_root(cells, kernel * marginal.slope)
    normal = torch.randn(
        count, len(root) + len(kernel), generator=generator, dtype=root.dtype, device="cpu"
    )
    start, noise = normal.to(root).split([len(root), len(kernel)], 1)
    # Conditioned on the data, as if the map to weights were linear.
    reached = kernel * marginal.slope @ root  # (r, c)
    system = reached @ reached.mT + torch.eye(len(reached), device="cpu").to(reached)
    off = torch.linalg.solve(system, (noise - start @ reached.mT).mT)
    values = marginal.at((start + off.mT @ reached) @ root.mT)
    if not cells.positive:
        return values
    # It is not; correct what that does to the data, by changes in proportion to the interval.
    strength = LOOSE * float(cells.weights.sum() / marginal.slope.square().sum())
    target = noise + cells.data @ u[:, seen]
    return adapted(kernel, target, values, strength)


@dataclass(frozen=True)
class _Marginal:
    """Map from a field of unit variance to weights with the ends of the interval as quantiles."""

    weights: torch.Tensor
    above: torch.Tensor  # standard deviations above the solution
    below: torch.Tensor
    positive: bool

    @classmethod
    def of(cls, cells: Cells) -> _Marginal:
        above = (cells.upper - cells.weights).clamp(min=0) / QUANTILE
        below = (cells.weights - cells.lower).clamp(min=0) / QUANTILE
        above, below = above.maximum(ONE_SIDED * below), below.maximum(ONE_SIDED * above)
        return cls(cells.weights, above, below, cells.positive)

    @property
    def slope(self) -> torch.Tensor:
        """Typical change of the weights with the field."""
        return (self.above + self.below) / 2

    def at(self, z: torch.Tensor) -> torch.Tensor:
        """Weights for fields ``(d, c)``."""
        up = z >= 0
        values = self.weights + torch.where(up, self.above, self.below) * z
        if not self.positive:
            return values
        # Below, positive weights decrease exponentially and never reach zero.
        least = (1 - QUANTILE * self.below / self.weights.clamp(min=1e-300)).clamp(FAINTEST, 1.0)
        falling = self.weights * (least.log() / -QUANTILE * z.clamp(max=0)).exp()
        return torch.where(up, values, falling)


def _scaled_root(cells: Cells, kernel: torch.Tensor) -> torch.Tensor:
    """Root of the covariance of the field, ``(c, c)``, which is of unit variance given the data.

    ``kernel`` is that of the field.
    """
    root = torch.linalg.cholesky(_correlation(cells))
    scale = torch.ones_like(cells.weights)
    unit = torch.eye(len(kernel), device="cpu").to(kernel)
    for _ in range(SCALINGS):
        prior = scale[:, None] * root
        reached = kernel @ prior
        factor = torch.linalg.cholesky(unit + reached @ reached.mT)
        known = torch.linalg.solve_triangular(factor, reached @ prior.mT, upper=False)
        variance = prior.square().sum(1) - known.square().sum(0)
        scale = (scale / variance.clamp(min=1e-6).sqrt()).clamp(max=WIDEST)
    return scale[:, None] * root


def _correlation(cells: Cells) -> torch.Tensor:
    """Of the field: Matern 3/2 with lengths that change with frequency (Paciorek and Schervish)."""
    length = LENGTH * cells.resolution
    squares = length.square()
    both = (squares[:, None] + squares) / 2
    distance = (3 * (cells.omega[:, None] - cells.omega).square() / both).sqrt()
    matrix = (length[:, None] * length / both).sqrt() * (1 + distance) * (-distance).exp()
    return matrix + JITTER * torch.eye(len(length), device="cpu").to(matrix)
