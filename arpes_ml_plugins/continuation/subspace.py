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
    products: torch.Tensor  # (n, ...): upper halves of the outer products of its rows
    places: torch.Tensor  # (r, r), or (k, k): where the elements of a matrix are in such a half
    own: torch.Tensor | None = None  # (b, k, r)

    @classmethod
    def of(cls, kernel: torch.Tensor | Factored, norm: torch.Tensor) -> Subspace:
        """``norm``: of the spectra expected, ``(b,)``."""
        left, s, turn, right = Factored.of(kernel).svd(NEGLIGIBLE / float(norm.max()))
        if turn is None:
            kept = s > 1e-12 * s[:1]
            left, spread, own = left[:, kept], right[kept].mT * s[kept], None
        else:  # a column of zeros is not there
            kept = (s * norm[:, None] > NEGLIGIBLE) & (s > 1e-12 * s[:, :1])
            left, spread, own = left * kept[:, None], right.mT, turn.mT * (s * kept)[:, None]
        size = spread.shape[1]
        row, column = torch.triu_indices(size, size, device=spread.device)
        places = torch.zeros(size, size, dtype=torch.int64, device=spread.device)
        places[row, column] = places[column, row] = torch.arange(len(row), device=spread.device)
        return cls(left, spread, spread[:, row] * spread[:, column], places, own)

    @property
    def rank(self) -> int:
        """Number of unknowns ``r``."""
        return self.left.shape[-1]

    def take(self, which: torch.Tensor) -> Subspace:
        """That of some data sets."""
        if self.own is None:
            return self
        return replace(self, left=self.left[which], own=self.own[which])

    def logs(self, y: torch.Tensor) -> torch.Tensor:
        """``V S y``, ``(b, n)``."""
        return (y if self.own is None else rowwise(y, self.own.mT)) @ self.spread.mT

    def projected(self, spectrum: torch.Tensor) -> torch.Tensor:
        """``S V^T a``, ``(b, r)``."""
        rows = spectrum @ self.spread
        return rows if self.own is None else rowwise(rows, self.own)

    def stiffness(self, spectrum: torch.Tensor) -> torch.Tensor:
        """``S V^T diag(a) V S``, ``(b, r, r)``."""
        matrix = (spectrum @ self.products)[:, self.places]
        return matrix if self.own is None else self.own.mT @ matrix @ self.own

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

    def hessian(self, spectrum: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        """``alpha + S V^T diag(a) V S``, ``(b, r, r)``."""
        matrix = self.stiffness(spectrum)
        return matrix + torch.diag_embed(alpha[:, None].expand(-1, self.rank))

    def root(self, factor: torch.Tensor) -> torch.Tensor:
        """``L^-1 S V^T`` for lower factors ``L (b, r, r)`` of the Hessian, ``(b, r, n)``."""
        unit = torch.eye(self.rank, device="cpu").to(factor)
        inverse = torch.linalg.solve_triangular(factor, unit, upper=False)
        return (inverse if self.own is None else inverse @ self.own.mT) @ self.spread.mT
