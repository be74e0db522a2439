"""Newton's method on the dual of maximum entropy, for many data sets at once.

Data sets that have converged leave the batch, and directions in which the data add next to nothing
to the entropy stay out of the Hessian: there it is ``alpha``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

from arpes_ml_plugins.continuation.factored import rowwise
from arpes_ml_plugins.continuation.subspace import Subspace

__all__ = [
    "ITERATIONS",
    "LOG_NEGLIGIBLE",
    "LONGEST_STEP",
    "SMALLEST_GAP",
    "TOLERANCE",
    "Dual",
    "Point",
    "halved",
    "robust_cholesky",
]

LONGEST_STEP = 4.0  # growth of log(a) in one Newton step; it may fall by any amount
LOG_NEGLIGIBLE = -14.0  # logarithm of a weight over the norm
TOLERANCE = 1e-8  # change of a, summed, over its norm
SMALLEST_GAP = 1e-10  # nats; rounding can keep some solutions from coming closer
ITERATIONS = 400
SHIFTS = (1e-15, 1e-13, 1e-11, 1e-9)  # of a diagonal of 1, that make up for rounding
HALVINGS = 20
NEXT_TO_NOTHING, NOTHING = 1e-5, 1e-8
"""Part of the data in the Hessian over that of the entropy, below which it is left out of a step,
and of results."""

State = TypeVar("State")


@dataclass(frozen=True)
class Point:
    """Unknowns ``(b, r)``; logarithms over the default model, and spectra, ``(b, n)`` each."""

    unknowns: torch.Tensor
    logs: torch.Tensor
    spectrum: torch.Tensor

    def take(self, which: torch.Tensor) -> Point:
        """Those of some data sets."""
        return Point(self.unknowns[which], self.logs[which], self.spectrum[which])

    def replaced(self, other: Point, which: torch.Tensor) -> Point:
        """With those of ``other`` for some data sets, ``(b,)`` bool."""
        column = which[:, None]
        return Point(
            torch.where(column, other.unknowns, self.unknowns),
            torch.where(column, other.logs, self.logs),
            torch.where(column, other.spectrum, self.spectrum),
        )


@dataclass(frozen=True)
class Dual:
    """``alpha |y|^2 / 2 + sum(a) - y U^T g`` with ``a = d exp(V S y)``, for ``b`` data sets."""

    space: Subspace
    target: torch.Tensor  # (b, r): U^T g
    default: torch.Tensor  # (b, n)
    norm: torch.Tensor  # (b,): of the default model

    @classmethod
    def of(cls, space: Subspace, data: torch.Tensor, default: torch.Tensor) -> Dual:
        return cls(space, rowwise(data, space.left), default, default.sum(-1))

    def take(self, which: torch.Tensor) -> Dual:
        """That of some data sets."""
        parts = (part[which] for part in (self.target, self.default, self.norm))
        return Dual(self.space.take(which), *parts)

    def at(self, unknowns: torch.Tensor) -> Point:
        logs = self.space.logs(unknowns)
        return Point(unknowns, logs, self.default * logs.exp())

    def volume(self, spectrum: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        """Logarithm of the determinant of the Hessian over that without data, ``(b,)``."""
        factor = robust_cholesky(self.space.hessian(spectrum, alpha, NOTHING))
        diagonal = factor.diagonal(dim1=-2, dim2=-1)
        return 2 * diagonal.log().sum(-1) - factor.shape[-1] * alpha.log()

    def solve(
        self, alpha: torch.Tensor, start: Point, accuracy: float
    ) -> tuple[Point, torch.Tensor]:
        """The minimum for one ``alpha`` per data set, and which of them converged.

        Parameters
        ----------
        accuracy
            Largest mean error of ``log(a / d)``, weighted by ``a``, in the condition of a minimum.
        """
        columns = [torch.empty_like(part) for part in (start.unknowns, start.logs, start.spectrum)]
        result, converged = Point(*columns), torch.zeros_like(alpha, dtype=torch.bool)
        left = torch.arange(len(alpha), device=alpha.device)
        own, point, ended = self, start, converged
        for _ in range(ITERATIONS):
            gradient = alpha[:, None] * point.unknowns - own.target
            gradient = gradient + own.space.projected(point.spectrum)
            # The error of log(a / d) is at most this, on the average over a.
            off = (gradient * own.space.sizes).norm(dim=-1)
            off = off * (point.spectrum.amax(-1) / own.norm).sqrt()
            done = ended | (off <= accuracy * alpha)
            if bool(done.any()):
                _put(result, left[done], point.take(done))
                converged[left[done]] = True
                if bool(done.all()):
                    return result, converged
                more = torch.nonzero(~done)[:, 0]
                left, own, point = left[more], own.take(more), point.take(more)
                alpha, gradient = alpha[more], gradient[more]
            step = -own._newton(point, alpha, gradient)
            slope = (gradient * step).sum(-1)
            after = own._descend(point, alpha, step, slope)
            small = (after.spectrum - point.spectrum).abs().sum(-1) < TOLERANCE * own.norm
            point, ended = after, small | (-alpha * slope < SMALLEST_GAP)
        _put(result, left, point)
        return result, converged

    def _newton(self, point: Point, alpha: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """The inverse of the Hessian times the gradient."""
        factor = robust_cholesky(self.space.hessian(point.spectrum, alpha, NEXT_TO_NOTHING))
        count = factor.shape[-1]
        solved = torch.cholesky_solve(gradient[:, :count, None], factor)[..., 0]
        return torch.cat([solved, gradient[:, count:] / alpha[:, None]], 1)

    def _descend(
        self, point: Point, alpha: torch.Tensor, step: torch.Tensor, slope: torch.Tensor
    ) -> Point:
        """The end of a step along which the dual falls."""
        change = self.space.logs(step)  # logarithms are linear: no kernel is needed again
        length = torch.ones_like(alpha)
        if bool((change > LONGEST_STEP).any()):
            # Negligible weights may grow in one step until they are no longer negligible.
            sizes = point.logs + self.default.log() - self.norm.log()[:, None]
            room = LONGEST_STEP + (LOG_NEGLIGIBLE - sizes).clamp(min=0)
            length = (room / change.clamp(min=1e-30)).amin(-1).clamp(max=1.0)

        def at(length: torch.Tensor) -> tuple[Point, torch.Tensor]:
            y = point.unknowns + length[:, None] * step
            logs = point.logs + length[:, None] * change
            there = Point(y, logs, self.default * logs.exp())
            return there, self._value(there, alpha)

        size = (point.unknowns * self.target).sum(-1)
        return halved(at, self._value(point, alpha), size, slope, length)

    def _value(self, point: Point, alpha: torch.Tensor) -> torch.Tensor:
        y = point.unknowns
        entropy = alpha * y.square().sum(-1) / 2
        return entropy + point.spectrum.sum(-1) - (y * self.target).sum(-1)


def robust_cholesky(matrix: torch.Tensor) -> torch.Tensor:
    """Lower factors of positive matrices ``(b, r, r)`` that rounding may have made indefinite.

    With errors of 1e-8 their eigenvalues span 16 decades and more. Scaled to a diagonal of 1, most
    of them can be factorised; to the others just as much is added as it takes. One that holds NaN
    gives NaN, and leaves the rest of the batch alone.
    """
    root = matrix.diagonal(dim1=-2, dim2=-1).clamp(min=torch.finfo(matrix.dtype).tiny).sqrt()
    scaled = (matrix / root[:, :, None]).div_(root[:, None, :])
    factor, failed = torch.linalg.cholesky_ex(scaled)
    for shift in SHIFTS:
        if not failed.any():
            break
        added = torch.where(failed > 0, shift, 0.0).to(scaled)[:, None].expand_as(root)
        again, failed = torch.linalg.cholesky_ex(scaled + torch.diag_embed(added))
        factor = torch.where(added[..., None] > 0, again, factor)
    return factor.mul_(root[:, :, None])


def halved(
    at: Callable[[torch.Tensor], tuple[State, torch.Tensor]],
    now: torch.Tensor,
    size: torch.Tensor,
    slope: torch.Tensor,
    length: torch.Tensor,
) -> State:
    """Halve steps until the dual falls along them (Armijo), and return their ends.

    Parameters
    ----------
    at
        From lengths to the ends of the steps, and the values of the dual there, ``(b,)``.
    now, slope
        The dual and its slope at length zero, ``(b,)``.
    size
        Of a part of the dual, which rounds it, ``(b,)``.
    length
        Of the longest steps, ``(b,)``.
    """
    rounding = 1e-13 * (now.abs() + size.abs())
    for _ in range(HALVINGS):
        end, value = at(length)
        bad = value > now + 1e-4 * length * slope + rounding
        if not bool(bad.any()):
            break
        length = torch.where(bad, length / 2, length)
    return end


def _put(target: Point, where: torch.Tensor, source: Point) -> None:
    target.unknowns[where] = source.unknowns
    target.logs[where] = source.logs
    target.spectrum[where] = source.spectrum
