"""Whiten data, estimate errors that are not stated, and find outliers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import pad

from arpes_ml_plugins.continuation.factored import Factored, rowwise
from arpes_ml_plugins.continuation.problem import Problem

__all__ = [
    "NORM_ERROR",
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
MARGIN = 1e-3  # of this: what may be left out of the kernel of all data sets
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
ENOUGH = 16
"""Data sets with the same errors that are solved together; fewer are solved beside others, each
with its own errors."""
AT_ONCE = 100  # data sets with errors of their own, which bounds the memory


@dataclass(frozen=True)
class Observation:
    """Whitened data of ``b`` data sets, compressed to what spectra can move.

    Data sets may share their errors, or have errors of their own. After whitening, the data of all
    spectra lie in a space of a few tens of dimensions; ``data`` are coordinates there. One more row,
    which no spectrum moves, holds the length of the rest, so that chi^2 is that of all data.
    """

    problem: Problem
    which: torch.Tensor  # (b,): positions among the data sets at hand
    slices: NDArray[np.integer]  # (b,): positions in the whole array
    rows: torch.Tensor  # (b, rows): as they came
    used: torch.Tensor  # (b, rows) bool: False for outliers, which are left out of ``data``
    data: torch.Tensor  # (b, m): whitened and compressed
    basis: torch.Tensor  # (rows, k): orthonormal, spans the data of all spectra
    whitener: torch.Tensor  # (m, k), or (b, m, k): from coordinates in ``basis`` to ``data``
    count: torch.Tensor  # (b,): number of data before they were compressed
    precision: torch.Tensor  # (b,): mean over the data of one over their errors
    sharpest: torch.Tensor  # (b,): largest of one over the errors
    scale: torch.Tensor  # (b,): the norm, to a factor of 1.1
    norms: torch.Tensor  # (b,): from the sum rule where tau has its end points
    errors: torch.Tensor  # (b, rows): of the rows, if they are not correlated
    covariance: torch.Tensor | None  # (rows, rows), or (b, rows, rows)

    def kernel(self, rows: torch.Tensor | None = None) -> Factored:
        """Whitened kernels, ``(m, n)`` each; ``rows``: of the kernel on other frequencies."""
        inner = self.basis.mT @ (self.problem.kernel if rows is None else rows)
        if self.whitener.ndim == 2:
            return Factored(self.whitener @ inner)
        return Factored(inner, self.whitener)

    def misfit(self, weights: torch.Tensor) -> torch.Tensor:
        """chi^2 per datum of spectra ``(b, n)``."""
        return (self.data - self.kernel().data(weights)).square().sum(-1) / self.count

    def take(self, which: torch.Tensor) -> Observation:
        """Some of the data sets, by their positions or a mask."""
        parts: dict[str, Any] = {
            name: getattr(self, name)[which]
            for name in ("which", "rows", "used", "data", "count", "precision", "sharpest")
        }
        parts |= {name: getattr(self, name)[which] for name in ("scale", "norms", "errors")}
        for name in ("whitener", "covariance"):
            value = getattr(self, name)
            if value is not None and value.ndim == 3:
                parts[name] = value[which]
        return replace(self, slices=self.slices[which.cpu().numpy()], **parts)

    def with_norm(self, norm: float) -> Observation:
        """The same data, and the integral of the spectrum beside them."""
        known = self.rows.new_full((len(self.rows), 1), norm)
        return self.with_moments((0,), known, NORM_ERROR * known)

    def with_moments(
        self, orders: tuple[int, ...], values: torch.Tensor, errors: torch.Tensor
    ) -> Observation:
        """The same data, and moments of the spectrum beside them.

        A moment of order 0, if it is positive, is the norm.

        Parameters
        ----------
        values, errors
            ``(b, k)``; a moment with an infinite error is not known.
        """
        size = self.problem.half_width
        units = self.rows.new_tensor([size**order for order in orders])
        precise, known = units / errors, values / units
        there = precise > 0
        norms, scale = self.norms, self.scale
        if 0 in orders:
            at = orders.index(0)
            stated = there[:, at] & (values[:, at] > 0)
            norms = torch.where(stated, values[:, at], norms)
            scale = torch.where(stated, values[:, at], scale)
        count = self.count + there.sum(-1)
        whitener, block = self.whitener, torch.diag_embed(precise)
        if whitener.ndim == 2 and bool((precise == precise[0]).all()):
            block = block[0]
        whole = _block_diagonal(whitener, block)
        return replace(
            self,
            problem=replace(self.problem, moments=(*self.problem.moments, *orders)),
            rows=torch.cat([self.rows, known], 1),
            used=torch.cat([self.used, there], 1),
            data=torch.cat([self.data, known * precise], 1),
            basis=torch.block_diag(self.basis, torch.eye(len(orders), device="cpu").to(units)),
            whitener=whole,
            count=count,
            precision=(self.precision * self.count + precise.sum(-1)) / count,
            sharpest=self.sharpest.maximum(precise.amax(-1)),
            scale=scale,
            norms=norms,
        )


def _block_diagonal(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Of two matrices, or of one of them for each data set."""
    batch = torch.broadcast_shapes(first.shape[:-2], second.shape[:-2])
    first, second = (part.expand(*batch, *part.shape[-2:]) for part in (first, second))
    above = torch.cat([first, first.new_zeros(*first.shape[:-1], second.shape[-1])], -1)
    below = torch.cat([second.new_zeros(*second.shape[:-1], first.shape[-1]), second], -1)
    return torch.cat([above, below], -2)


def observations(
    problem: Problem,
    rows: torch.Tensor,
    errors: torch.Tensor,
    covariance: torch.Tensor | None,
    kept: torch.Tensor,
    index: NDArray[np.integer] | None = None,
) -> Iterator[Observation]:
    """Data sets that are solved together.

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
    scale = NORM_STEP ** (norms.log() / math.log(NORM_STEP)).round()
    own = covariance is not None and covariance.ndim == 3
    if own:
        labels = torch.arange(len(rows), device="cpu").to(errors)[:, None]
    else:
        labels = torch.cat([errors, kept.to(errors), scale[:, None]], 1)
    for which, alike in _together(labels):
        seen = observed(
            problem,
            rows[which],
            errors[which],
            covariance[which] if own and covariance is not None else covariance,
            kept[which],
            alike=alike,
        )
        place = which.cpu().numpy()
        yield replace(
            seen, which=which, slices=index[place], scale=scale[which], norms=norms[which]
        )


def _together(labels: torch.Tensor) -> Iterator[tuple[torch.Tensor, bool]]:
    """Positions of data sets that are solved together, and whether all their labels are equal."""
    _, member, counts = torch.unique(labels, dim=0, return_inverse=True, return_counts=True)
    many = counts >= min(ENOUGH, len(labels))
    for group in torch.nonzero(many)[:, 0]:
        yield torch.nonzero(member == group)[:, 0], True
    for which in torch.nonzero(~many[member])[:, 0].split(AT_ONCE):
        if len(which):
            yield which, False


def observed(
    problem: Problem,
    rows: torch.Tensor,
    errors: torch.Tensor,
    covariance: torch.Tensor | None,
    kept: torch.Tensor,
    *,
    alike: bool = True,
) -> Observation:
    """Data sets ``(b, rows)`` with what is known of them, as in :func:`observations`.

    If all are ``alike``, the errors and outliers of the first are those of all.
    """
    norms = _rough_norm(problem, rows, errors)
    first = slice(0, 1) if alike else slice(None)
    own = covariance
    if covariance is not None and covariance.ndim == 3:
        own = covariance[first]
    inverse = _inverse_errors(errors[first], own, kept[first])
    sharp = inverse.norm(dim=-1) if inverse.ndim == 3 else inverse
    basis = problem.basis(float(norms.max() * sharp.max()))
    reached, factor = torch.linalg.qr(_whitened(basis, inverse))  # (b, rows, k), (b, k, k)
    whole = _whitened(rows[..., None], inverse)[..., 0]
    data = rowwise(whole, reached[0] if alike else reached)
    rest = whole - rowwise(data, (reached[0] if alike else reached).mT)
    whitener = pad(factor, (0, 0, 0, 1))
    which = torch.arange(len(rows), device=rows.device)
    count = kept.sum(-1).to(rows)
    step = round(float(norms.log().mean()) / math.log(NORM_STEP))
    return Observation(
        problem=problem,
        which=which,
        slices=which.cpu().numpy(),
        rows=rows,
        used=kept,
        data=torch.cat([data, rest.norm(dim=-1, keepdim=True)], 1),
        basis=basis,
        whitener=whitener[0] if alike else whitener,
        count=count,
        precision=sharp.sum(-1).expand(len(rows)) / count,
        sharpest=sharp.amax(-1).expand(len(rows)),
        scale=norms.new_full((len(rows),), NORM_STEP**step),
        norms=norms,
        errors=errors,
        covariance=own[0] if own is not None and own.ndim == 3 and alike else own,
    )


def _inverse_errors(
    errors: torch.Tensor, covariance: torch.Tensor | None, kept: torch.Tensor
) -> torch.Tensor:
    """One over the errors, ``(b, rows)``, or what undoes correlated ones, ``(b, rows, rows)``; zero
    for data that are not used.
    """
    if covariance is None:
        return kept / errors
    both = kept[:, :, None] & kept[:, None, :]
    unit = torch.eye(kept.shape[-1], dtype=covariance.dtype, device=covariance.device)
    factor = torch.linalg.cholesky(torch.where(both, covariance, unit))
    return torch.linalg.solve_triangular(factor, unit, upper=False) * both


def _whitened(columns: torch.Tensor, inverse: torch.Tensor) -> torch.Tensor:
    """Columns ``(rows, k)`` or ``(b, rows, k)`` over the errors, see :func:`_inverse_errors`."""
    return inverse @ columns if inverse.ndim == 3 else inverse[..., None] * columns


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
    for which, residual in _residuals(problem, rows, errors):
        data = rows[which] / errors[which]
        excess[which] = _excess(residual, NOISELESS * data.abs().amax(-1))
        standard = residual.beyond / residual.share.clamp(min=1e-3).sqrt()
        typical = standard.abs().median(-1).values / 0.6745
        suspect = standard.abs().amax(-1) > OUTLIER * typical.clamp(min=1.0)
        for item in which[suspect]:
            kernel = problem.kernel / errors[item][:, None]
            kept[item], excess[item] = _without_outliers(kernel, rows[item] / errors[item])
    return kept, excess


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


def _residuals(
    problem: Problem, rows: torch.Tensor, errors: torch.Tensor
) -> Iterator[tuple[torch.Tensor, _Residual]]:
    """For data sets ``(b, rows)`` of any errors, as many at once as share them, or fit."""
    u, s, _ = torch.linalg.svd(problem.kernel, full_matrices=False)
    steep = u * s  # all that matters of the kernel: it spans the same data
    for which, alike in _together(errors):
        own = errors[which[:1] if alike else which]
        data = rows[which] / errors[which]
        largest = (problem.kernel.abs().amax(1) / own).amax(-1)
        norm = data.abs().amax(-1) / largest  # of spectra, roughly
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
    return _Residual(data - reached, 1 - rowwise(inside.to(data), u.square().mT))


def _residual_of(kernel: torch.Tensor, data: torch.Tensor) -> _Residual:
    """The same for one whitened kernel ``(m, n)``."""
    return _residual(kernel[None], data, data.abs().amax(-1) / kernel.abs().amax())


def _without_outliers(kernel: torch.Tensor, data: torch.Tensor) -> tuple[torch.Tensor, float]:
    mask = torch.ones(len(data), dtype=torch.bool, device=data.device)
    for _ in range(max(1, int(MOST_OUTLIERS * len(data)))):
        residual = _residual_of(kernel[mask], data[None, mask])
        standard = (residual.beyond.abs() / residual.share.clamp(min=1e-3).sqrt())[0]
        typical = float(standard.median() / 0.6745)
        worst = int(standard.argmax())
        if float(standard[worst]) <= OUTLIER * max(typical, 1.0):
            break
        mask[torch.nonzero(mask)[worst, 0]] = False
    noiseless = NOISELESS * data[mask].abs().amax()
    return mask, float(_excess(_residual_of(kernel[mask], data[None, mask]), noiseless))


def _excess(residual: _Residual, noiseless: torch.Tensor) -> torch.Tensor:
    freedom = residual.share.sum(-1)
    size = (residual.beyond.square().sum(-1) / freedom.clamp(min=LEAST_FREEDOM)).sqrt()
    small = (size < OVERSTATED) & (size > noiseless)
    large = size > 1 + SIGNIFICANT / (2 * freedom.clamp(min=LEAST_FREEDOM)) ** 0.5
    # Spectra can explain nearly any data that are few.
    return torch.where((freedom >= LEAST_FREEDOM) & (small | large), size, 1.0)


def correlated_excess(
    problem: Problem, rows: torch.Tensor, covariance: torch.Tensor
) -> torch.Tensor:
    """Measured errors over those of one covariance ``(rows, rows)``; 1 unless they are smaller by a
    factor that matters, ``(b,)``. Larger ones show in chi^2.
    """
    whitener = _inverse_errors(rows[:1], covariance, torch.ones_like(rows[:1], dtype=torch.bool))[0]
    data = rows @ whitener.mT
    noiseless = NOISELESS * data.abs().amax(-1)
    return _excess(_residual_of(whitener @ problem.kernel, data), noiseless).clamp(max=1)


def raised(errors: torch.Tensor, excess: torch.Tensor) -> torch.Tensor:
    """Errors ``(b, rows)`` times ``excess`` ``(b,)`` above 1, rounded up to a power of 2^(1/4)."""
    factor = 2 ** (4 * excess.clamp(min=1).log2()).ceil().div(4)
    return torch.where((excess > 1)[:, None], errors * factor[:, None], errors)
