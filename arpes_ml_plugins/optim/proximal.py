"""Proximal operators, batched over all leading dimensions.

``prox_{t f}(x) = argmin_z  f(z) + |z - x|^2 / (2 t)`` for the threshold ``t``.
"""

from __future__ import annotations

import torch

__all__ = ["singular_value_threshold", "soft_threshold"]


def soft_threshold(x: torch.Tensor, threshold: torch.Tensor | float) -> torch.Tensor:
    """Proximal operator of the l1 norm: shrink every entry towards zero (paper, eq. S5).

    Examples
    --------
    >>> soft_threshold(torch.tensor([-3.0, 0.5, 2.0]), 1.0)
    tensor([-2., 0., 1.])
    """
    # x - clamp(x) is the soft threshold, exact at zero, without sign() and abs().
    if isinstance(threshold, float):
        return x - x.clamp(-threshold, threshold)
    threshold = torch.as_tensor(threshold, dtype=x.dtype, device=x.device)
    return x - torch.minimum(torch.maximum(x, -threshold), threshold)


def singular_value_threshold(matrix: torch.Tensor, threshold: torch.Tensor) -> torch.Tensor:
    """Proximal operator of the nuclear norm: shrink the singular values (paper, eq. S4).

    Works on the Gram matrix of the shorter side: ``U f(s) V^T = U (f(s) / s) U^T X``, with ``U``
    from an eigendecomposition, twice as fast as an SVD. Singular values below ``1e-8`` of the
    largest one lose their accuracy this way in float64; they are set to zero by any threshold in
    use here.

    Parameters
    ----------
    matrix
        Shape ``(*batch, m, n)``.
    threshold
        Shape ``(*batch,)`` or a scalar tensor, in the unit of the matrix.
    """
    if matrix.shape[-2] > matrix.shape[-1]:
        return singular_value_threshold(matrix.mT, threshold).mT
    squares, vectors = torch.linalg.eigh(matrix @ matrix.mT)
    values = squares.clamp(min=0).sqrt()  # (*batch, m)
    kept = (values - threshold[..., None]).clamp(min=0)
    gain = torch.where(kept > 0, kept / values, 0)
    return vectors @ (gain[..., None] * (vectors.mT @ matrix))
