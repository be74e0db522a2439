"""Kernels that take a spectral function to imaginary time, its Legendre coefficients, or Matsubara
frequencies.

``g_i = sum_j K(t_i, w_j) a_j`` with the weights ``a_j = A(w_j) dw_j``, so that ``sum a`` is the
integral of ``A`` (paper, eqs. 1-3). All kernels are positive on the imaginary-time axis: they
give ``-G(tau)`` for fermions. Frequencies and inverse times are in the same (arbitrary) unit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import torch

__all__ = [
    "KERNELS",
    "boson",
    "boson_legendre",
    "boson_matsubara",
    "boson_matsubara_real",
    "fermion",
    "fermion_legendre",
    "fermion_matsubara",
    "integrate_bins",
    "matsubara_frequencies",
    "real_rows",
]

Kernel = Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]


def fermion(tau: torch.Tensor, omega: torch.Tensor, beta: float) -> torch.Tensor:
    """Fermionic kernel ``exp(-tau w) / (1 + exp(-beta w))`` (paper, eq. 2), for any ``beta w``.

    Parameters
    ----------
    tau
        Imaginary times in ``[0, beta]``, ``(m,)``.
    omega
        Real frequencies, ``(n,)``.

    Returns
    -------
    torch.Tensor
        ``(m, n)``, between 0 and 1; ``K(0) + K(beta) = 1`` at every frequency.

    Examples
    --------
    >>> tau = torch.tensor([0.0, 1000.0], dtype=torch.float64)
    >>> fermion(tau, torch.tensor([-9.0, 9.0], dtype=torch.float64), 1000.0)
    tensor([[0., 1.],
            [1., 0.]], dtype=torch.float64)
    """
    # exp(-beta w) never stands alone: for w < 0 the exponent is (beta - tau) w.
    below = torch.where(omega < 0, beta - tau[:, None], -tau[:, None])
    return (below * omega - torch.log1p((-beta * omega.abs()).exp())).exp()


def boson(tau: torch.Tensor, omega: torch.Tensor, beta: float) -> torch.Tensor:
    """Bosonic kernel ``w exp(-tau w) / (1 - exp(-beta w))``, for the spectrum ``A(w) / w``.

    Dividing the odd spectral function by the frequency makes it positive, as MaxEnt and the
    sparse methods need. The kernel is ``1 / beta`` at zero frequency.
    """
    x = beta * omega.abs()
    # x / (1 - exp(-x)) is 1 + x/2 + ... at zero.
    growth = torch.where(x > 0, x / -torch.expm1(-torch.where(x > 0, x, 1.0)), 1.0)
    time = torch.where(omega < 0, beta - tau[:, None], tau[:, None])
    return growth / beta * (-time * omega.abs()).exp()


def fermion_matsubara(frequency: torch.Tensor, omega: torch.Tensor, beta: float) -> torch.Tensor:
    """``1 / (i w_n - w)``, complex, ``(m, n)``; ``frequency`` holds the ``w_n``, not zero."""
    return 1 / torch.complex(
        -omega.expand(len(frequency), -1), frequency[:, None].expand(-1, len(omega))
    )


def boson_matsubara(frequency: torch.Tensor, omega: torch.Tensor, beta: float) -> torch.Tensor:
    """``w / (w - i nu_n)``, complex, for the spectrum ``A(w) / w``; 1 where both are zero."""
    nu, w = frequency[:, None], omega[None, :]
    size = w**2 + nu**2
    static = size == 0
    real = torch.where(static, 1.0, w**2 / torch.where(static, 1.0, size))
    imag = torch.where(static, 0.0, w * nu / torch.where(static, 1.0, size))
    return torch.complex(real, imag)


def boson_matsubara_real(frequency: torch.Tensor, omega: torch.Tensor, beta: float) -> torch.Tensor:
    """Real part of :func:`boson_matsubara`, which is all of it if the spectrum is even."""
    return boson_matsubara(frequency, omega, beta).real.contiguous()


def fermion_legendre(order: torch.Tensor, omega: torch.Tensor, beta: float) -> torch.Tensor:
    """Legendre coefficients of :func:`fermion`, ``(m, n)``; ``order`` holds the l.

    ``G_l = sqrt(2 l + 1) int_0^beta P_l(2 tau / beta - 1) G(tau) dtau`` (Boehnke et al., Phys. Rev.
    B 84, 075145 (2011), eq. 2), in closed form ``beta sqrt(2 l + 1) (-1)^l i_l(x) / (2 cosh x)``
    with ``x = beta w / 2`` and the modified spherical Bessel function ``i_l``.

    Examples
    --------
    >>> order = torch.tensor([0.0, 1.0], dtype=torch.float64)
    >>> fermion_legendre(order, torch.zeros(1, dtype=torch.float64), beta=4.0)
    tensor([[2.],
            [0.]], dtype=torch.float64)
    """
    x = beta * omega.abs() / 2
    return _legendre(order, omega, x, beta) / (1 + (-2 * x).exp())


def boson_legendre(order: torch.Tensor, omega: torch.Tensor, beta: float) -> torch.Tensor:
    """Legendre coefficients of :func:`boson`, in the convention of :func:`fermion_legendre`."""
    x = beta * omega.abs() / 2
    # w / (1 - exp(-2 x)) is 1 / beta at zero.
    safe = torch.where(x > 0, x, 1.0)
    growth = torch.where(x > 0, omega.abs() / -torch.expm1(-2 * safe), 1 / beta)
    return _legendre(order, omega, x, beta) * growth


def _legendre(
    order: torch.Tensor, omega: torch.Tensor, x: torch.Tensor, beta: float
) -> torch.Tensor:
    """``beta sqrt(2 l + 1) (-sign(w))^l exp(-x) i_l(x)``."""
    from scipy.special import ive

    numbers, at = order[:, None].cpu().numpy(), x[None, :].cpu().numpy()
    positive = np.where(at > 0, at, 1.0)
    bessel = np.sqrt(np.pi / (2 * positive)) * ive(numbers + 0.5, positive)
    scaled = torch.from_numpy(np.where(at > 0, bessel, numbers == 0)).to(omega)
    odd = (order[:, None] % 2 == 1) & (omega > 0)
    return beta * (2 * order[:, None] + 1).sqrt() * torch.where(odd, -scaled, scaled)


KERNELS: dict[tuple[str, str], Kernel] = {
    ("fermion", "tau"): fermion,
    ("boson", "tau"): boson,
    ("fermion", "matsubara"): fermion_matsubara,
    ("boson", "matsubara"): boson_matsubara,
    ("boson", "real matsubara"): boson_matsubara_real,
    ("fermion", "legendre"): fermion_legendre,
    ("boson", "legendre"): boson_legendre,
}
"""Statistics and axis of the data to kernel."""


def matsubara_frequencies(count: int, beta: float, statistics: str = "fermion") -> torch.Tensor:
    """The first ``count`` non-negative Matsubara frequencies, float64.

    Examples
    --------
    >>> matsubara_frequencies(2, beta=torch.pi)
    tensor([1., 3.], dtype=torch.float64)
    """
    numbers = 2 * torch.arange(count, dtype=torch.float64, device="cpu")
    return (numbers + (statistics == "fermion")) * torch.pi / beta


def integrate_bins(
    kernel: Kernel, times: torch.Tensor, edges: torch.Tensor, beta: float, order: int = 8
) -> torch.Tensor:
    """Mean of a kernel over frequency bins, by Gauss-Legendre quadrature.

    For grids so coarse that the kernel bends within a bin (``beta`` times the width above 1).

    Parameters
    ----------
    edges
        Borders of the bins, ascending, ``(n + 1,)``.

    Returns
    -------
    torch.Tensor
        ``(m, n)``: multiplied by the weight in each bin, the data of a spectrum that is constant
        within the bins.
    """
    nodes, weights = (torch.from_numpy(part).to(edges) for part in _quadrature(order))
    centres, halves = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
    at = centres[:, None] + halves[:, None] * nodes  # (n, order)
    values = kernel(times, at.reshape(-1), beta).reshape(len(times), len(centres), order)
    return (values * (weights / 2)).sum(-1)


@cache
def _quadrature(order: int) -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(order)


def real_rows(matrix: torch.Tensor) -> torch.Tensor:
    """Complex rows as twice as many real ones, real parts first; real ones as they are."""
    return torch.cat([matrix.real, matrix.imag]) if matrix.is_complex() else matrix
