"""Constant, moment and real part of a self-energy, which Green's functions do not need."""

from __future__ import annotations

from dataclasses import replace

import torch

from arpes_ml_plugins.continuation.general_network import REACH, GeneralNetwork
from arpes_ml_plugins.continuation.problem import Problem

__all__ = ["constant_at_high_frequency", "kramers_kronig", "moment_errors", "with_common_error"]

TAIL = 1 / 3  # of the Matsubara frequencies, from which a constant is read off


def constant_at_high_frequency(frequencies: torch.Tensor) -> torch.Tensor:
    """Weights ``(m,)`` whose sum with ``Re Sigma(i w_n)`` is its limit: a tail ``c + d / w_n^2``.

    Examples
    --------
    >>> w = torch.arange(1.0, 100.0, 2.0, dtype=torch.float64)
    >>> float(constant_at_high_frequency(w) @ (3 + 5 / w**2)).__round__(9)
    3.0
    """
    tail = max(4, int(len(frequencies) * TAIL))
    last = frequencies[-tail:]
    design = torch.stack([torch.ones_like(last), (last[-1] / last) ** 2], 1)
    weights = torch.zeros_like(frequencies)
    weights[-tail:] = torch.linalg.pinv(design)[0]
    return weights


def with_common_error(errors: torch.Tensor, size: float) -> torch.Tensor:
    """Covariance of independent errors ``(b, rows)`` and one that all real parts have in common:
    ``(rows, rows)`` if the errors of all data sets are equal, otherwise ``(b, rows, rows)``.

    A common error larger than any constant leaves it undetermined. Kernels need not know of it.

    Examples
    --------
    >>> with_common_error(torch.ones(5, 4), 3.0)
    tensor([[10.,  9.,  0.,  0.],
            [ 9., 10.,  0.,  0.],
            [ 0.,  0.,  1.,  0.],
            [ 0.,  0.,  0.,  1.]])
    """
    alike = bool((errors == errors[:1]).all())
    matrix = torch.diag_embed(errors[0] if alike else errors).square()
    half = errors.shape[-1] // 2
    matrix[..., :half, :half] += size**2
    return matrix


def kramers_kronig(density: torch.Tensor, omega: torch.Tensor) -> torch.Tensor:
    """Principal value of ``int A(w') / (w - w') dw'`` on the frequencies of ``A``, ``(..., n)``.

    Exact for a density that is linear between the frequencies and zero beyond their ends, to which
    it falls within one step.
    """
    step = omega.diff()
    nodes = torch.cat([omega[:1] - step[:1], omega, omega[-1:] + step[-1:]])
    distance = omega[:, None] - nodes
    logs = torch.special.xlogy(distance, distance.abs())  # zero at zero
    slopes = -logs.diff(dim=1) / nodes.diff()
    return density @ -slopes.diff(dim=1).mT


def moment_errors(
    network: GeneralNetwork, problem: Problem, errors: torch.Tensor, norm: float
) -> tuple[float, float]:
    """Standard errors of the norm of a spectrum and of a constant beside it, whatever the spectrum.

    Parameters
    ----------
    errors
        Standard errors of the real rows, ``(rows,)``.
    norm
        Roughly.
    """
    low, high = (reach / problem.beta for reach in REACH)
    grid = network.grid.to(errors) * min(max(problem.half_width, low), high)
    kernel = replace(problem, omega=grid, bins=False, named=None).kernel / errors[:, None]
    constant = torch.zeros_like(errors)
    constant[: len(errors) // 2] = 1 / errors[: len(errors) // 2]
    view = network.prior.view(kernel * norm)
    design = torch.stack([view.mean_data / norm, constant], 1)
    shrink = view.strengths.square() / (1 + view.strengths.square())
    along = view.directions.mT @ design
    information = design.mT @ design - along.mT @ (shrink[:, None] * along)
    spread = torch.linalg.inv(information).diagonal().sqrt()
    return float(spread[0]), float(spread[1])
