"""Estimate errors that are not stated, compare them with stated ones, and find outliers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from arpes_ml_plugins.continuation.factored import rowwise
from arpes_ml_plugins.continuation.observation import inverse_errors, together
from arpes_ml_plugins.continuation.problem import Problem

__all__ = [
    "correlated_excess",
    "estimate_error",
    "find_outliers",
    "raised",
    "scatter",
]

BEYOND_REACH = 1e-9  # of the largest singular value: no spectrum moves the data there
UNSEEN = 1e-2  # standard errors: smaller changes of the data by spectra do not count
LEAST_FREEDOM = 4  # data left to estimate the errors from
MARGIN = 1e-3  # of this: what may be left out of the kernel of all data sets
OUTLIER = 6.0  # standard errors
SIGNIFICANT = 4.0  # standard deviations by which measured errors must exceed the stated ones
OVERSTATED = 0.2  # measured over stated errors: below it the stated ones are wrong, or correlated
ALIKE = 4.0  # standard deviations by which neighbouring residuals must be more alike than noise
NOISELESS = 1e-6  # of the largest datum: data that scatter less were computed, not measured
MOST_OUTLIERS = 0.05  # of the data
ERROR_STEP = 2**0.25
"""Measured errors are rounded up to a power of this, so that data sets are solved together; too
large an error does less harm than too small a one."""


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
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
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
    correlated
        Whether neighbouring data deviate alike, ``(b,)`` bool: their errors are not independent,
        or no spectrum of the problem explains the data.
    """
    kept = torch.ones_like(rows, dtype=torch.bool)
    excess = rows.new_ones(len(rows))
    correlated = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
    norm = _rough_norm(problem, rows)
    for which, residual in _residuals(problem, rows, errors):
        data = rows[which] / errors[which]
        excess[which] = _excess(residual, NOISELESS * data.abs().amax(-1))
        correlated[which] = _alike(residual)
        standard = residual.beyond / residual.share.clamp(min=1e-3).sqrt()
        typical = standard.abs().median(-1).values / 0.6745
        suspect = standard.abs().amax(-1) > OUTLIER * typical.clamp(min=1.0)
        for item in which[suspect]:
            kernel = problem.kernel / errors[item][:, None]
            own = rows[item] / errors[item]
            kept[item], rest = _without_outliers(kernel, own, norm[item : item + 1])
            excess[item] = _excess(rest, NOISELESS * own[kept[item]].abs().amax())
            correlated[item] = _alike(rest)
    return kept, excess, correlated


def scatter(problem: Problem, rows: torch.Tensor, errors: torch.Tensor) -> torch.Tensor:
    """Estimated over stated errors of data, outliers among them, ``(b,)``; 1 unless the difference
    is significant.
    """
    found = rows.new_ones(len(rows))
    for which, residual in _residuals(problem, rows, errors):
        found[which] = _excess(residual, rows.new_zeros(())).clamp(min=1)
    return found


@dataclass(frozen=True)
class _Residual:
    """What no spectrum can produce of whitened data."""

    beyond: torch.Tensor  # (b, m)
    share: torch.Tensor  # (b, m): how much of the noise of each datum is in it
    neighbours: torch.Tensor  # (b,): sum of the products of neighbours for noise of size 1


def _residuals(
    problem: Problem, rows: torch.Tensor, errors: torch.Tensor
) -> Iterator[tuple[torch.Tensor, _Residual]]:
    """For data sets ``(b, rows)`` of any errors, as many at once as share them, or fit."""
    u, s, _ = torch.linalg.svd(problem.kernel, full_matrices=False)
    steep = u * s  # all that matters of the kernel: it spans the same data
    for which, alike in together(errors):
        own = errors[which[:1] if alike else which]
        data = rows[which] / errors[which]
        norm = _rough_norm(problem, rows[which])
        kept = s * float((norm / own.amin(-1)).max()) > MARGIN * UNSEEN
        yield which, _residual(steep[:, kept] / own[..., None], data, norm)


def _residual(kernel: torch.Tensor, data: torch.Tensor, norm: torch.Tensor) -> _Residual:
    """Residuals of data ``(b, m)`` of spectra of roughly some norms ``(b,)``; for whitened kernels
    ``(b, m, n)``, or one for all.
    """
    u, s, _ = torch.linalg.svd(kernel, full_matrices=False)
    inside = (s > BEYOND_REACH * s[:, :1]) & (s * norm[:, None] > UNSEEN)
    u = u[0] if len(u) == 1 else u
    reached = rowwise(rowwise(data, u) * inside, u.mT)
    pairs = (u[..., 1:, :] * u[..., :-1, :]).sum(-2)
    return _Residual(
        data - reached,
        1 - rowwise(inside.to(data), u.square().mT),
        -(inside * pairs).sum(-1),
    )


def _rough_norm(problem: Problem, rows: torch.Tensor) -> torch.Tensor:
    """Norm of the spectra of data ``(b, rows)``, roughly, ``(b,)``.

    From the largest datum, not from the most accurate one: where a gap makes the data small, so are
    their errors.
    """
    return rows.abs().amax(-1) / problem.kernel.abs().amax()


def _without_outliers(
    kernel: torch.Tensor, data: torch.Tensor, norm: torch.Tensor
) -> tuple[torch.Tensor, _Residual]:
    """Which data are no outliers, and the residual of these."""
    mask = torch.ones(len(data), dtype=torch.bool, device=data.device)
    for _ in range(max(1, int(MOST_OUTLIERS * len(data)))):
        residual = _residual(kernel[None, mask], data[None, mask], norm)
        standard = (residual.beyond.abs() / residual.share.clamp(min=1e-3).sqrt())[0]
        typical = float(standard.median() / 0.6745)
        worst = int(standard.argmax())
        if float(standard[worst]) <= OUTLIER * max(typical, 1.0):
            break
        mask[torch.nonzero(mask)[worst, 0]] = False
    return mask, _residual(kernel[None, mask], data[None, mask], norm)


def _excess(residual: _Residual, noiseless: torch.Tensor) -> torch.Tensor:
    freedom = residual.share.sum(-1)
    size = (residual.beyond.square().sum(-1) / freedom.clamp(min=LEAST_FREEDOM)).sqrt()
    small = (size < OVERSTATED) & (size > noiseless)
    large = size > 1 + SIGNIFICANT / (2 * freedom.clamp(min=LEAST_FREEDOM)) ** 0.5
    # Spectra can explain nearly any data that are few.
    return torch.where((freedom >= LEAST_FREEDOM) & (small | large), size, 1.0)


def _alike(residual: _Residual) -> torch.Tensor:
    """Whether neighbours are more alike than independent errors would make them, ``(b,)`` bool.

    If all are far smaller than the errors, spectra may have taken up what is correlated.
    """
    part, freedom = residual.beyond, residual.share.sum(-1).clamp(min=LEAST_FREEDOM)
    square = part.square().sum(-1)
    products = (part[:, 1:] * part[:, :-1]).sum(-1) / square.clamp(min=1e-300)
    more = products - residual.neighbours / freedom
    return (more > ALIKE / freedom.sqrt()) & (square > OVERSTATED**2 * freedom)


def correlated_excess(
    problem: Problem, rows: torch.Tensor, covariance: torch.Tensor
) -> torch.Tensor:
    """Measured errors over those of one covariance ``(rows, rows)``, or of one for each data set,
    ``(b,)``; 1 unless they are significantly larger, or smaller by a factor that matters.
    """
    each = rows if covariance.ndim == 3 else rows[:1]
    whitener = inverse_errors(each, covariance, torch.ones_like(each, dtype=torch.bool))
    data = rowwise(rows, (whitener if covariance.ndim == 3 else whitener[0]).mT)
    noiseless = NOISELESS * data.abs().amax(-1)
    return _excess(
        _residual(whitener @ problem.kernel, data, _rough_norm(problem, rows)), noiseless
    )


def raised(errors: torch.Tensor, excess: torch.Tensor) -> torch.Tensor:
    """Errors ``(b, rows)`` times ``excess`` ``(b,)`` above 1, rounded up to a power of 2^(1/4)."""
    factor = 2 ** (4 * excess.clamp(min=1).log2()).ceil().div(4)
    return torch.where((excess > 1)[:, None], errors * factor[:, None], errors)
