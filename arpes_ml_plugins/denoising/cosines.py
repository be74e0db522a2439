"""The orthonormal cosine transform of blocks and stacks of patches."""

from __future__ import annotations

import math
from functools import lru_cache

import torch

__all__ = ["cosines"]


@lru_cache
def cosines(size: int) -> torch.Tensor:
    """Matrix of the discrete cosine transform (DCT-II), ``(size, size)``, float64 on the CPU."""
    k = torch.arange(size, dtype=torch.float64, device="cpu")
    matrix = torch.cos(math.pi * (k + 0.5) * k[:, None] / size) * math.sqrt(2 / size)
    matrix[0] /= math.sqrt(2)
    return matrix
