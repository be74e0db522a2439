"""Kernels of many data sets with errors of their own: small matrices times one shared kernel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import pad

__all__ = ["Factored", "rowwise"]

MARGIN = 0.1
"""What all data sets together leave out is this much smaller than what one of them may leave out:
so the result for one does not depend on the others."""


def rowwise(rows: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """Multiply rows ``(b, m)`` by one matrix ``(m, n)``, or each by its own, ``(b, m, n)``.

    Examples
    --------
    >>> rows = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> rowwise(rows, torch.ones(2, 1)).tolist()
    [[3.0], [7.0]]
    >>> rowwise(rows, torch.tensor([[[1.0], [0.0]], [[0.0], [1.0]]])).tolist()
    [[1.0], [4.0]]
    """
    if matrix.ndim == 2:
        return rows @ matrix
    return (rows[:, None] @ matrix)[:, 0]


@dataclass(frozen=True)
class Factored:
    """Whitened kernels of ``b`` data sets: ``shared``, or ``own @ shared`` for each."""

    shared: torch.Tensor  # (m, n), or (k, n)
    own: torch.Tensor | None = None  # (b, m, k)

    @classmethod
    def of(cls, kernel: torch.Tensor | Factored) -> Factored:
        return kernel if isinstance(kernel, Factored) else cls(kernel)

    def times(self, matrix: torch.Tensor) -> Factored:
        """On what ``matrix`` makes of spectra ``(n, n')``."""
        return Factored(self.shared @ matrix, self.own)

    def take(self, which: torch.Tensor) -> Factored:
        """Those of some data sets."""
        return self if self.own is None else Factored(self.shared, self.own[which])

    def each(self, item: int) -> torch.Tensor:
        """That of one data set, ``(m, n)``."""
        return self.shared if self.own is None else self.own[item] @ self.shared

    def data_of(self, weights: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
        """Whitened data ``(p, s, m)`` of spectra ``(p, s, n)`` for the data sets ``which``."""
        rows = weights @ self.shared.mT
        return rows if self.own is None else rows @ self.own[which].mT

    def scaled(self, factors: torch.Tensor) -> Factored:
        """Times a factor for each data set, ``(b,)``."""
        if self.own is not None:
            return Factored(self.shared, self.own * factors[:, None, None])
        if bool((factors == factors[0]).all()):
            return Factored(self.shared * factors[0])
        unit = torch.eye(len(self.shared), device="cpu").to(self.shared)
        return Factored(self.shared, unit * factors[:, None, None])

    def beside(self, rows: torch.Tensor, factors: torch.Tensor) -> Factored:
        """With more ``rows`` ``(k, n)`` that are the same for all, times a factor for each data
        set, ``(b,)``.
        """
        shared = torch.cat([self.shared, rows])
        unit = torch.eye(len(shared), device="cpu").to(shared)
        factors = factors[:, None].expand(-1, len(rows))
        if self.own is None:
            ones = factors.new_ones(len(factors), len(self.shared))
            own = unit * torch.cat([ones, factors], 1)[:, None]
            alike = bool((factors == factors[0]).all())
            return Factored(own[0] @ shared) if alike else Factored(shared, own)
        own = torch.diag_embed(factors)
        own = torch.cat([pad(self.own, (0, len(rows))), pad(own, (self.own.shape[-1], 0))], 1)
        return Factored(shared, own)

    def data(self, weights: torch.Tensor) -> torch.Tensor:
        """Whitened data ``(b, m)`` of spectra ``(b, n)``."""
        rows = weights @ self.shared.mT
        return rows if self.own is None else rowwise(rows, self.own.mT)

    def pull(self, data: torch.Tensor) -> torch.Tensor:
        """The adjoint: ``(b, n)`` from data ``(b, m)``."""
        rows = data if self.own is None else rowwise(data, self.own)
        return rows @ self.shared

    def svd(
        self, least: float
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor]:
        """Decompose into ``left @ diag(s) @ turn @ right``.

        Parameters
        ----------
        least
            Singular values that are not above it are left out, or zero.

        Returns
        -------
        left, s
            ``(m, r)`` and ``(r,)``, or ``(b, m, r)`` and ``(b, r)``; ``s`` falls.
        turn
            ``(b, r, k)``, orthogonal, or None if all is shared.
        right
            Orthonormal rows, ``(r, n)``, or ``(k, n)``.
        """
        left, s, right = torch.linalg.svd(self.shared, full_matrices=False)
        if self.own is None:
            kept = s > least
            return left[:, kept], s[kept], None, right[kept]
        most = float(self.own.norm(dim=(-2, -1)).max())
        kept = s * most > MARGIN * least
        reduced = self.own @ (left[:, kept] * s[kept])
        left, s, turn = torch.linalg.svd(reduced, full_matrices=False)
        s = torch.where(s > least, s, 0.0)
        rank = int(torch.count_nonzero(s, -1).max())
        return left[..., :rank], s[..., :rank], turn[:, :rank], right[kept]
