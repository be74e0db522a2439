"""Conditions that vectors are not negative within noise, and those of them that matter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ALLOWED", "SEEN", "TINY", "Array", "Chosen", "Cone"]

Array = NDArray[np.float64]

ALLOWED = 1e-7  # violation of a constraint, relative
ADDED = 3  # constraints of each component and round
GATHERED = 30  # constraints of each component
SEEN = 5.0  # standard errors of its intensity, above which a component is there
TINY = 1e-300


@dataclass(frozen=True)
class Cone:
    """Vectors ``v`` with ``rows @ v`` not below zero by more than ``limit`` standard errors."""

    rows: Array  # (c, n)
    covariance: Array
    """``(c, n, n)``: of the noise of each row."""
    above: NDArray[np.bool_]
    """``(c,)``: rows that have to be above zero by :data:`SEEN` standard errors instead."""

    @classmethod
    def of(cls, rows: Array, covariance: Array, above: NDArray[np.bool_] | None = None) -> Cone:
        """With rows of equal size, so that margins can be compared."""
        noise = np.sqrt(np.trace(covariance, axis1=1, axis2=2))
        size = np.linalg.norm(rows, axis=1) + noise + TINY
        above = np.zeros(len(rows), dtype=bool) if above is None else above
        return cls(rows / size[:, None], covariance / np.square(size)[:, None, None], above)

    def at(self, chosen: NDArray[np.intp]) -> Cone:
        return Cone(self.rows[chosen], self.covariance[chosen], self.above[chosen])

    def factors(self, limit: float) -> Array:
        """Of the standard errors ``(c,)``, in the margins."""
        return np.where(self.above, -SEEN, limit)

    def errors(self, vectors: Array) -> Array:
        """Standard errors ``(c, k)`` of ``rows @ vectors``, for ``vectors (n, k)``."""
        pairs = (vectors[:, None] * vectors[None]).reshape(-1, vectors.shape[1])
        variance = self.covariance.reshape(len(self.rows), -1) @ pairs
        return np.sqrt(np.maximum(variance, TINY))

    def margins(self, vectors: Array, limit: float) -> Array:
        """``(c, k)``, not negative where ``vectors (n, k)`` are inside."""
        return self.rows @ vectors + self.factors(limit)[:, None] * self.errors(vectors)


class Chosen:
    """Constraints of a cone on its vectors, each on one of them.

    They are taken from a pool of those that come close, and this from all.
    """

    def __init__(self, cone: Cone) -> None:
        self.all = cone
        self.pool = np.flatnonzero(cone.above)
        self.near = cone.at(self.pool)
        self.number = self.component = np.empty(0, dtype=np.intp)

    def gather(self, vectors: Array, limit: float) -> bool:
        """Add the closest of all to the pool; True if ``vectors (n, k)`` violate any of them."""
        margins = self.all.margins(vectors, limit)
        closest = _smallest(margins, GATHERED).ravel()
        inside = bool((margins >= -ALLOWED).all())
        pool, chosen = np.union1d(self.pool, closest), self.pool[self.number]
        self.pool, self.near = pool, self.all.at(pool)
        self.number = np.searchsorted(pool, chosen)
        return not inside

    def add(self, vectors: Array, limit: float) -> bool:
        """Choose those of the pool that ``vectors`` violate most; False if there are no others."""
        margins = self.near.margins(vectors, limit)
        pairs = set(zip(self.number.tolist(), self.component.tolist(), strict=True))
        before = len(pairs)
        for k, worst in enumerate(_smallest(margins, ADDED).T):
            pairs |= {(int(i), k) for i in worst if margins[i, k] < -ALLOWED}
        if len(pairs) == before:
            return False
        self.number, self.component = np.array(sorted(pairs), dtype=np.intp).T
        return True

    def inside(self, vectors: Array, limit: float) -> bool:
        """Within all constraints of the pool."""
        return bool(self.near.margins(vectors, limit).min() >= -ALLOWED)

    def margins(self, vectors: Array, limit: float) -> Array:
        own, factors = vectors.T[self.component], self.near.factors(limit)[self.number]
        error = np.sqrt(np.maximum((self._spread(own) * own).sum(1), TINY))
        return (self.near.rows[self.number] * own).sum(1) + factors * error

    def tangents(self, vectors: Array, limit: float) -> tuple[Array, Array]:
        """Gradients of the margins with respect to the vectors ``(c, n)`` and to the limit."""
        own, factors = vectors.T[self.component], self.near.factors(limit)[self.number]
        spread = self._spread(own)
        error = np.sqrt(np.maximum((spread * own).sum(1), TINY))
        along = self.near.rows[self.number] + (factors / error)[:, None] * spread
        return along, np.where(self.near.above[self.number], 0, error)

    def _spread(self, own: Array) -> Array:
        return (self.near.covariance[self.number] @ own[:, :, None])[:, :, 0]

    def needed(self, vectors: Array) -> float:
        """Standard errors below zero that ``vectors (n, k)`` reach."""
        below = -self.all.rows @ vectors / self.all.errors(vectors)
        return float(below[~self.all.above].max())


def _smallest(margins: Array, count: int) -> NDArray[np.intp]:
    """Indices ``(count, k)`` of the smallest of each column."""
    if len(margins) <= count:
        return np.argsort(margins, axis=0)
    return np.argpartition(margins, count, axis=0)[:count]
