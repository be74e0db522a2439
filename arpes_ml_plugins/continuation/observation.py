"""Whiten data, and compress them to what spectra can move."""

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
    "inverse_errors",
    "observations",
    "observed",
    "together",
]

NORM_STEP = 2**0.25
PER_DATA_SET = (
    *("which", "rows", "used", "data", "count"),
    *("precision", "sharpest", "scale", "norms", "errors"),
)
"""Fields of an observation with one entry for each data set."""
NORM_ERROR = 1e-3  # relative, of a norm that is given
ENOUGH = 16
"""Data sets with the same errors that are solved together; fewer are solved beside others, each
with its own errors."""
AT_ONCE = 100  # data sets with errors of their own, which bounds the memory


@dataclass(frozen=True)
class Observation:
    """Whitened data of ``b`` data sets, compressed to what spectra can move.

    Data sets may share their errors, or have errors of their own. After whitening, the data of all
    spectra lie in a space of a few tens of dimensions; ``data`` are coordinates there. One more
    row, which no spectrum moves, holds the length of the rest, so that chi^2 is that of all data.
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
        """Some of the data sets, by a mask."""
        if bool(which.all()):
            return self
        parts: dict[str, Any] = {name: getattr(self, name)[which] for name in PER_DATA_SET}
        for name in ("whitener", "covariance"):
            value = getattr(self, name)
            if value is not None and value.ndim == 3:
                parts[name] = value[which]
        return replace(self, slices=self.slices[which.cpu().numpy()], **parts)

    def bounded(self) -> Observation:
        """The same data, of spectra that end at the frequencies of the user."""
        return replace(self, problem=self.problem.bounded())

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
    for which, alike in together(labels):
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


def together(labels: torch.Tensor) -> Iterator[tuple[torch.Tensor, bool]]:
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
    inverse = inverse_errors(errors[first], own, kept[first])
    sharp = inverse.norm(dim=-1) if inverse.ndim == 3 else inverse
    # Data that are zero do not show that spectra move them.
    basis = problem.basis(max(float(norms.max() * sharp.max()), 1.0))
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


def inverse_errors(
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
    """Columns ``(rows, k)`` or ``(b, rows, k)`` over the errors, see :func:`inverse_errors`."""
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
