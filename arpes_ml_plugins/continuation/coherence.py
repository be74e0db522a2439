"""How alike the columns of a matrix are: the paper's measures of an ill-posed problem."""

from __future__ import annotations

import torch

__all__ = ["average_coherence", "mutual_coherence"]


def mutual_coherence(matrix: torch.Tensor) -> float:
    """Largest inner product of two normalised columns (paper, eq. 14), between 0 and 1.

    Examples
    --------
    >>> mutual_coherence(torch.eye(3))
    0.0
    """
    gram = _gram(matrix)
    return float(gram.fill_diagonal_(0).abs().max())


def average_coherence(matrix: torch.Tensor) -> float:
    """Largest mean inner product of a normalised column with the others (paper, eq. 21)."""
    gram = _gram(matrix)
    others = gram.fill_diagonal_(0).sum(1).abs() / (len(gram) - 1)
    return float(others.max())


def _gram(matrix: torch.Tensor) -> torch.Tensor:
    columns = matrix / matrix.norm(dim=0, keepdim=True)
    return columns.mT @ columns
