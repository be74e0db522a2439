"""Whiten data, estimate errors that are not stated, and find outliers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from arpes_ml_plugins.continuation.problem import Problem

__all__ = [
    "Observation",
    "correlated_excess",
    "estimate_error",
    "find_outliers",
    "observations",
    "observed",
    "raised",
    "scatter",
]

BEYOND_REACH = 1e-9  # of the largest singular value: no spectrum moves the data there
UNSEEN = 1e-2  # standard errors: smaller changes of the data by spectra do not count
LEAST_FREEDOM = 4  # data left to estimate the errors from
OUTLIER = 6.0  # standard errors
SIGNIFICANT = 4.0  # standard deviations by which measured errors must exceed the stated ones
OVERSTATED = 0.2  # measured over stated errors: below it the stated ones are wrong, or correlated
NOISELESS = 1e-6  # of the largest datum: data that scatter less were computed, not measured
MOST_OUTLIERS = 0.05  # of the data
ERROR_STEP = 2**0.25
"""Measured errors are rounded up to a power of this, so that data sets are solved together; too
large an error does less harm than too small a one."""
NORM_STEP = 2**0.25
NORM_ERROR = 1e-3  # relative, of a norm that is given


@dataclass(frozen=True)
class Observation:
    """Whitened data of ``b`` data sets that share errors, outliers and (roughly) the norm."""

    problem: Problem
    which: torch.Tensor  # (b,): positions among the data sets at hand
    slices: NDArray[np.integer]  # (b,): positions in the whole array
    rows: torch.Tensor  # (b, rows): as they came
    data: torch.Tensor  # (b, m): whitened
    whitener: torch.Tensor  # (m, rows): standard errors, or correlated ones, undone
    scale: float  # the norm, to a factor of 1.1
    norms: torch.Tensor  # (b,): of each, from the sum rule where tau has its end points
    used: torch.Tensor  # (rows,) bool: False for outliers, which are left out of ``data``

    def kernel(self, omega: torch.Tensor | None = None) -> torch.Tensor:
        """Whitened kernel ``(m, n)``, on other frequencies if given."""
        problem = self.problem if omega is None else self.problem.on(omega)
        return self.whitener @ problem.kernel

    def with_norm(self, norm: float) -> Observation:
        """The same data, and the integral of the spectrum beside them."""
        known = self.rows.new_full((len(self.rows), 1), norm)
        return self.with_moments((0,), known, [NORM_ERROR * norm])

    def with_moments(
        self, orders: tuple[int, ...], values: torch.Tensor, errors: list[float]
    ) -> Observation:
        """The same data, and moments of the spectrum ``(b, k)`` with standard errors beside them.

        A moment of order 0, if it is positive, is the norm.
        """
        size = self.problem.half_width
        units = self.rows.new_tensor([size**order for order in orders])
        precise = units / self.rows.new_tensor(errors)
        known = values / units
        norms, scale = self.norms, self.scale
        if 0 in orders and bool((values[:, orders.index(0)] > 0).all()):
            norms = values[:, orders.index(0)]
            scale = float(norms.log().mean().exp())
        return replace(
            self,
            problem=replace(self.problem, moments=(*self.problem.moments, *orders)),
            rows=torch.cat([self.rows, known], 1),
            data=torch.cat([self.data, known * precise], 1),
            whitener=torch.block_diag(self.whitener, torch.diag(precise)),
            scale=scale,
            norms=norms,
            used=torch.cat([self.used, self.used.new_ones(len(orders))]),
        )


def observations(
    problem: Problem,
    rows: torch.Tensor,
    errors: torch.Tensor,
    covariance: torch.Tensor | None,
    kept: torch.Tensor,
    index: NDArray[np.integer] | None = None,
) -> Iterator[Observation]:
    """Data sets grouped by what they share.

    Parameters
    ----------
    rows, errors, kept
        Data, standard errors (without meaning if there is a covariance) and which data are used,
        ``(b, rows)`` each.
    covariance
        Of the errors of all data sets, ``(rows, rows)``, or of each, ``(b, rows, rows)``; or None.
    index
        Positions of the data sets in the whole array, ``(b,)``.
    """
    index = np.arange(len(rows)) if index is None else index
    norms = _rough_norm(problem, rows, errors)
    steps = (norms.log() / math.log(NORM_STEP)).round()
    labels = torch.cat([errors, kept.to(errors), steps[:, None].to(errors)], 1)
    if covariance is not None and covariance.ndim == 3:  # to each its own
        labels = torch.arange(len(rows), device="cpu").to(errors)[:, None]
    unique, member = torch.unique(labels, dim=0, return_inverse=True)
    for group in range(len(unique)):
        which = torch.nonzero(member == group)[:, 0]
        first = which[0]
        own = covariance
        if covariance is not None and covariance.ndim == 3:
            own = covariance[first]
        yield replace(
            observed(problem, rows[which], errors[first], own, kept[first], norms[which]),
            which=which,
            slices=index[which.cpu().numpy()],
            scale=NORM_STEP ** float(steps[first]),
        )


def observed(
    problem: Problem,
    rows: torch.Tensor,
    errors: torch.Tensor,
    covariance: torch.Tensor | None,
    kept: torch.Tensor,
    norms: torch.Tensor | None = None,
) -> Observation:
    """Data sets ``(b, rows)`` that share their errors ``(rows,)``, or covariance, and outliers."""
    within = None if covariance is None else covariance[kept][:, kept]
    whitener = _whitener(errors[kept], within)
    full = rows.new_zeros(len(whitener), rows.shape[1])
    full[:, kept] = whitener
    which = torch.arange(len(rows), device=rows.device)
    norms = _rough_norm(problem, rows, errors) if norms is None else norms
    return Observation(
        problem=problem,
        which=which,
        slices=which.cpu().numpy(),
        rows=rows,
        data=rows @ full.mT,
        whitener=full,
        scale=NORM_STEP ** round(float(norms.log().mean()) / math.log(NORM_STEP)),
        norms=norms,
        used=kept,
    )


def _whitener(errors: torch.Tensor, covariance: torch.Tensor | None) -> torch.Tensor:
    if covariance is None:
        return torch.diag(1 / errors)
    factor = torch.linalg.cholesky(covariance)
    unit = torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
    return torch.linalg.solve_triangular(factor, unit, upper=False)


def _rough_norm(problem: Problem, rows: torch.Tensor, errors: torch.Tensor) -> torch.Tensor:
    """Scale of each spectrum: from end points if ``K(0) + K(beta) = 1``, otherwise by a fit."""
    times = problem.times
    if problem.statistics == "fermion" and problem.axis == "tau" and not problem.coefficients:
        span = problem.beta * 1e-6
        if float(times[0]) < span and float(times[-1]) > problem.beta - span:
            ends = rows[:, 0] + rows[:, -1]
            return ends.abs().clamp(min=1e-30)
    flat = problem.kernel.mean(1) / errors
    fit = (rows / errors * flat).sum(-1) / flat.square().sum(-1)
    return fit.abs().clamp(min=1e-30)


def estimate_error(kernel: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Standard error of each data set, from the part that no spectrum can produce, ``(b,)``.

    Assumes uncorrelated errors of one size. With few data, part of a spectrum counts as error: the
    estimate is then too large, never too small.
    """
    u, s, _ = torch.linalg.svd(kernel, full_matrices=True)
    reached = int((s > BEYOND_REACH * s[0]).sum())
    reached = min(reached, max(len(u) - max(LEAST_FREEDOM, len(u) // 5), 1))
    beyond = rows @ u[:, reached:]
    size = beyond.square().mean(-1).sqrt()
    # Rounding of the data themselves.
    size = size.clamp(min=float(torch.finfo(torch.float64).eps) * 100).maximum(
        1e-9 * rows.abs().amax(-1)
    )
    step = torch.tensor(ERROR_STEP, dtype=rows.dtype, device=rows.device).log()
    return ((size.log() / step).ceil() * step).exp()


def find_outliers(
    problem: Problem, rows: torch.Tensor, errors: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Find single data far from those of any spectrum.

    Takes whitened residuals of the part that no spectrum can produce, over their expected size, and
    removes the largest until none is above six standard errors (estimated or stated, whichever is
    larger).

    Returns
    -------
    kept
        ``(b, rows)`` bool.
    excess
        Estimated over stated errors of the rest, ``(b,)``; 1 unless they are significantly larger,
        or smaller by a factor that matters.
    """
    kept = torch.ones_like(rows, dtype=torch.bool)
    excess = rows.new_ones(len(rows))
    unique, member = torch.unique(errors, dim=0, return_inverse=True)
    for group in range(len(unique)):
        which = torch.nonzero(member == group)[:, 0]
        kernel, data = problem.kernel / unique[group][:, None], rows[which] / unique[group]
        residual, share = _residual(kernel, data)
        noiseless = NOISELESS * data.abs().amax(-1)
        excess[which] = _excess(residual, share, noiseless)
        standard = residual / share.clamp(min=1e-3).sqrt()
        typical = standard.abs().median(-1).values / 0.6745
        suspect = standard.abs().amax(-1) > OUTLIER * typical.clamp(min=1.0)
        for item in torch.nonzero(suspect)[:, 0]:
            mask, size = _without_outliers(kernel, data[item])
            kept[which[item]] = mask
            excess[which[item]] = size
    return kept, excess


def scatter(problem: Problem, rows: torch.Tensor, errors: torch.Tensor) -> torch.Tensor:
    """Estimated over stated errors of data, outliers among them, ``(b,)``; 1 unless the difference
    is significant.
    """
    found = rows.new_ones(len(rows))
    unique, member = torch.unique(errors, dim=0, return_inverse=True)
    for group in range(len(unique)):
        which = torch.nonzero(member == group)[:, 0]
        kernel, data = problem.kernel / unique[group][:, None], rows[which] / unique[group]
        residual, share = _residual(kernel, data)
        found[which] = _excess(residual, share, residual.new_zeros(())).clamp(min=1)
    return found


def _residual(kernel: torch.Tensor, data: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Residuals of data ``(..., m)`` after all that spectra can produce; share left of each."""
    u, s, _ = torch.linalg.svd(kernel, full_matrices=False)
    norm = float(data.abs().amax() / kernel.abs().amax())  # of spectra, roughly
    inside = u[:, (s > BEYOND_REACH * s[0]) & (s * norm > UNSEEN)]
    return data - (data @ inside) @ inside.mT, 1 - inside.square().sum(1)


def _without_outliers(kernel: torch.Tensor, data: torch.Tensor) -> tuple[torch.Tensor, float]:
    mask = torch.ones(len(data), dtype=torch.bool, device=data.device)
    for _ in range(max(1, int(MOST_OUTLIERS * len(data)))):
        residual, share = _residual(kernel[mask], data[mask])
        standard = residual.abs() / share.clamp(min=1e-3).sqrt()
        typical = float(standard.median() / 0.6745)
        worst = int(standard.argmax())
        if float(standard[worst]) <= OUTLIER * max(typical, 1.0):
            break
        mask[torch.nonzero(mask)[worst, 0]] = False
    noiseless = NOISELESS * data[mask].abs().amax()
    return mask, float(_excess(*_residual(kernel[mask], data[mask]), noiseless))


def _excess(residual: torch.Tensor, share: torch.Tensor, noiseless: torch.Tensor) -> torch.Tensor:
    freedom = float(share.sum())
    if freedom < LEAST_FREEDOM:  # spectra can explain nearly any such few data
        return residual.new_ones(len(residual)) if residual.ndim > 1 else residual.new_ones(())
    size = (residual.square().sum(-1) / freedom).sqrt()
    small = (size < OVERSTATED) & (size > noiseless)
    return torch.where(small | (size > 1 + SIGNIFICANT / (2 * freedom) ** 0.5), size, 1.0)


def correlated_excess(
    problem: Problem, rows: torch.Tensor, covariance: torch.Tensor
) -> torch.Tensor:
    """Measured errors over those of one covariance ``(rows, rows)``; 1 unless they are smaller by a
    factor that matters, ``(b,)``. Larger ones show in chi^2.
    """
    whitener = _whitener(rows[0], covariance)
    data = rows @ whitener.mT
    noiseless = NOISELESS * data.abs().amax(-1)
    return _excess(*_residual(whitener @ problem.kernel, data), noiseless).clamp(max=1)


def raised(errors: torch.Tensor, excess: torch.Tensor) -> torch.Tensor:
    """Errors ``(b, rows)`` times ``excess`` ``(b,)`` above 1, rounded up to a power of 2^(1/4)."""
    factor = 2 ** (4 * excess.clamp(min=1).log2()).ceil().div(4)
    return torch.where((excess > 1)[:, None], errors * factor[:, None], errors)
