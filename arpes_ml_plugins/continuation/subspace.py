"""The significant part of whitened kernels, in which maximum entropy is solved."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from arpes_ml_plugins.continuation.factored import Factored, rowwise

__all__ = ["Subspace"]

NEGLIGIBLE = 1e-3
"""Singular values (in units of the noise) times the norm, below which data contain nothing."""


@dataclass(frozen=True)
class Subspace:
    """The significant part of whitened kernels: ``V S``, ``(n, r)``, which is ``spread``, or
    ``spread @ own`` for each data set.
    """

    left: torch.Tensor  # U, (m, r), or (b, m, r)
    spread: torch.Tensor  # (n, r), or (n, k)
    products: torch.Tensor  # (n, ...): lower halves of the outer products of its rows
    places: torch.Tensor  # (r, r), or (k, k): where the elements of a matrix are in such a half
    sizes: torch.Tensor  # (r,), or (b, r): lengths of the columns of ``V S``
    own: torch.Tensor | None = None  # (b, k, r)

    @classmethod
    def of(cls, kernel: torch.Tensor | Factored, norm: torch.Tensor) -> Subspace:
        """``norm``: of the spectra expected, ``(b,)``."""
        left, s, turn, right = Factored.of(kernel).svd(NEGLIGIBLE / float(norm.max()))
        if turn is None:
            kept = s > 1e-12 * s[:1]
            left, s = left[:, kept], s[kept]
            spread, own = right[kept].mT * s, None
        else:  # a column of zeros is not there
            kept = (s * norm[:, None] > NEGLIGIBLE) & (s > 1e-12 * s[:, :1])
            left, s = left * kept[:, None], s * kept
            spread, own = right.mT, turn.mT * s[:, None]
        size = spread.shape[1]
        row, column = torch.tril_indices(size, size, device=spread.device)
        places = torch.zeros(size, size, dtype=torch.int64, device=spread.device)
        places[row, column] = places[column, row] = torch.arange(len(row), device=spread.device)
        return cls(left, spread, spread[:, row] * spread[:, column], places, s, own)

    @property
    def rank(self) -> int:
        """Number of unknowns ``r``."""
        return self.left.shape[-1]

    def take(self, which: torch.Tensor) -> Subspace:
        """That of some data sets."""
        if self.own is None:
            return self
        parts = {"left": self.left[which], "sizes": self.sizes[which], "own": self.own[which]}
        return replace(self, **parts)

    def logs(self, y: torch.Tensor) -> torch.Tensor:
        """``V S y``, ``(b, n)``."""
        return (y if self.own is None else rowwise(y, self.own.mT)) @ self.spread.mT

    def projected(self, spectrum: torch.Tensor) -> torch.Tensor:
        """``S V^T a``, ``(b, r)``."""
        rows = spectrum @ self.spread
        return rows if self.own is None else rowwise(rows, self.own)

    def stiffness(self, spectrum: torch.Tensor, least: float = 0.0) -> torch.Tensor:
        """``S V^T diag(a) V S``, ``(b, r, r)``; without the last columns of ``V S`` if they are not
        longer than ``least`` in any data set.
        """
        if self.own is None:
            return self._shared(spectrum, _above(self.sizes, least))
        count = _above(self.sizes.amax(0), least)
        own = self.own[..., :count]
        inner = _above(own.abs().amax((0, 2)), least)
        own = own[:, :inner]
        return own.mT @ self._shared(spectrum, inner) @ own

    def _shared(self, spectrum: torch.Tensor, count: int) -> torch.Tensor:
        """``(b, count, count)``: of the first columns that all share."""
        halves = spectrum @ self.products[:, : count * (count + 1) // 2]
        return halves[:, self.places[:count, :count]]

    def stiffest(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Trace of :meth:`stiffness`, ``(b,)``."""
        if self.own is None:
            return spectrum @ self.spread.square().sum(1)
        return self.stiffness(spectrum).diagonal(dim1=-2, dim2=-1).sum(-1)

    def columns(self) -> torch.Tensor:
        """``V S`` itself, ``(n, r)``, or ``(b, n, r)``."""
        return self.spread if self.own is None else self.spread @ self.own

    def between(self, matrix: torch.Tensor, other: Subspace) -> torch.Tensor:
        """A matrix between the shared columns of both as one between their own, ``(b, r, r)``."""
        if self.own is not None:
            matrix = self.own.mT @ matrix
        return matrix if other.own is None else matrix @ other.own

    def hessian(
        self, spectrum: torch.Tensor, alpha: torch.Tensor, part: float = 0.0
    ) -> torch.Tensor:
        """``alpha + S V^T diag(a) V S``, ``(b, r, r)``.

        Parameters
        ----------
        part
            Of ``alpha``: the last rows and columns are left out if the data add less to ``alpha``
            there, in all data sets.
        """
        least = (part * float((alpha / spectrum.amax(-1)).amin())) ** 0.5
        matrix = self.stiffness(spectrum, least)
        matrix.diagonal(dim1=-2, dim2=-1).add_(alpha[:, None])
        return matrix

    def root(self, factor: torch.Tensor) -> torch.Tensor:
        """``L^-1 S V^T`` for lower factors ``L (b, r, r)`` of the Hessian, ``(b, r, n)``; they may
        be those of its first rows and columns.
        """
        count = factor.shape[-1]
        unit = torch.eye(count, device="cpu").to(factor)
        inverse = torch.linalg.solve_triangular(factor, unit, upper=False)
        if self.own is None:
            return inverse @ self.spread[:, :count].mT
        return inverse @ self.own[..., :count].mT @ self.spread.mT


def _above(sizes: torch.Tensor, least: float) -> int:
    """Number of the first ``sizes``, up to the last one that is above a limit; one at least."""
    above = torch.nonzero(sizes > least)
    return int(above[-1]) + 1 if len(above) else min(1, len(sizes))
