"""Solve for sources and spectra by projected alternating least squares."""

from __future__ import annotations

import torch

from arpes_ml_plugins.optim.proximal import soft_threshold

__all__ = [
    "least_squares",
    "nonnegative_sources",
    "refine",
    "solve_gram",
    "unit_columns",
    "weighted_sources",
]

SWEEPS = 30
SIGMAS = 3.0  # threshold, in standard deviations of the noise of a source
RIDGE = 1e-10
SETTLED = 1e-7  # change of spectra of length 1
MOST_ROUNDS = 500  # of coordinate descent
PIXELS = 20_000  # solved for at a time


def refine(
    data: torch.Tensor,
    mixing: torch.Tensor,
    noise: torch.Tensor,
    *,
    sweeps: int = SWEEPS,
    nonnegative: bool = False,
    fixed: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Alternate least squares for the sources, thresholded, and for the mixing matrix.

    A source below three standard deviations of its noise is set to zero; larger values are shrunk
    less and less (reweighted l1). Columns of the mixing matrix keep length 1.

    Parameters
    ----------
    data, mixing
        ``(b, m, t)``, ``(b, m, n)``.
    noise
        Standard deviation of the data, ``(b,)``, or of each of its columns, ``(b, 1, t)``.
    sweeps
        Upper limit on the sweeps; it stops earlier if the mixing matrix converges.
    nonnegative
        Keep mixing matrix and sources at zero or above.
    fixed
        ``(n,)`` bool: columns of the mixing matrix that stay as they are.

    Returns
    -------
    mixing, sources
        ``(b, m, n)``, ``(b, n, t)``.
    """
    noise = noise[:, None, None] if noise.ndim == 1 else noise
    sources = least_squares(data, mixing)[0]
    for sweep in range(sweeps):
        plain, spread = least_squares(data, mixing)
        limit = SIGMAS * noise * spread
        # Shrunk less where the source of the last sweep was strong.
        weight = limit / (limit + sources.abs()) if sweep else 1.0
        sources = soft_threshold(plain, limit * weight)
        if nonnegative:
            sources = sources.clamp(min=0)
        free = _free_columns(data, sources, mixing, fixed)
        if nonnegative:
            free = free.clamp(min=0)
        free = free / free.norm(dim=-2, keepdim=True).clamp(min=1e-12)
        before, mixing = mixing, free if fixed is None else torch.where(fixed, mixing, free)
        if float((mixing - before).abs().max()) < SETTLED:
            break
    return mixing, least_squares(data, mixing)[0] if sweeps == 0 else sources


def _free_columns(
    data: torch.Tensor, sources: torch.Tensor, mixing: torch.Tensor, fixed: torch.Tensor | None
) -> torch.Tensor:
    """Least squares for the columns that are not fixed, with these taken out of the data."""
    cross = sources @ sources.mT
    pull = (data @ sources.mT).mT
    if fixed is None or not bool(fixed.any()):
        return solve_gram(cross, pull).mT
    free = ~fixed
    if not bool(free.any()):
        return mixing
    pull = pull[..., free, :] - cross[..., free, :][..., fixed] @ mixing[..., fixed].mT
    found = mixing.clone()
    found[..., free] = solve_gram(cross[..., free, :][..., free], pull).mT
    return found


def nonnegative_sources(data: torch.Tensor, mixing: torch.Tensor) -> torch.Tensor:
    """Sources ``(..., n, t)`` of least squared misfit among the non-negative ones.

    One source after the other is solved for exactly, until none changes (coordinate descent).

    Examples
    --------
    >>> nonnegative_sources(torch.tensor([[1.0], [-1.0]]), torch.eye(2))
    tensor([[1.],
            [0.]])
    """
    sources = least_squares(data, mixing)[0]
    below = (sources < 0).any(-2)
    if not bool(below.any()):
        return sources
    gram = mixing.mT @ mixing
    if sources.ndim > 2:
        return _descent(gram, mixing.mT @ data, sources.clamp(min=0))
    # Where all are positive, they are the solution already.
    for chosen in below.nonzero()[:, 0].split(PIXELS):
        pull = mixing.mT @ data[:, chosen]
        sources[:, chosen] = _descent(gram, pull, sources[:, chosen].clamp(min=0))
    return sources


def _descent(gram: torch.Tensor, pull: torch.Tensor, sources: torch.Tensor) -> torch.Tensor:
    """Coordinate descent for non-negative ``sources (..., n, t)``, in place."""
    size = gram.diagonal(dim1=-2, dim2=-1).clamp(min=1e-30)
    for _ in range(MOST_ROUNDS):
        moved = sources.new_zeros(())
        for i in range(gram.shape[-1]):
            left = pull[..., i, :] - (gram[..., i : i + 1, :] @ sources)[..., 0, :]
            new = (sources[..., i, :] + left / size[..., i : i + 1]).clamp(min=0)
            moved = torch.maximum(moved, (new - sources[..., i, :]).abs().max())
            sources[..., i, :] = new
        if moved <= 1e-7 * sources.abs().max():
            break
    return sources


def weighted_sources(
    data: torch.Tensor, weights: torch.Tensor, mixing: torch.Tensor, *, nonnegative: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sources ``(n, t)`` of least weighted squares, every value with its own weight; their errors.

    Parameters
    ----------
    data, weights
        ``(m, t)``; weights are one over the variance, 0 for values that are missing.
    mixing
        ``(m, n)``.

    Examples
    --------
    >>> data, weights = torch.tensor([[1.0], [9.0]]), torch.tensor([[1.0], [0.0]])
    >>> source, error = weighted_sources(data, weights, torch.ones(2, 1))
    >>> round(float(source), 3), round(float(error), 3)
    (1.0, 1.0)
    """
    n, total = mixing.shape[1], data.shape[1]
    products = (mixing[:, :, None] * mixing[:, None]).flatten(1)  # (m, n n)
    sources, errors = data.new_empty(n, total), data.new_empty(n, total)
    unit = torch.eye(n, dtype=data.dtype, device=data.device)
    for start in range(0, total, PIXELS):
        some = slice(start, start + PIXELS)
        gram = (weights[:, some].mT @ products).unflatten(1, (n, n))
        pull = (weights[:, some] * data[:, some]).mT @ mixing
        inverse = solve_gram(gram, unit.expand_as(gram))
        found = (inverse @ pull[..., None])[..., 0]
        if nonnegative:
            found = _descent(gram, pull[..., None], found[..., None].clamp(min=0))[..., 0]
        sources[:, some] = found.mT
        errors[:, some] = inverse.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt().mT
    return sources, errors


def least_squares(data: torch.Tensor, mixing: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sources by least squares, and their standard deviation for unit noise ``(b, n, 1)``."""
    gram = mixing.mT @ mixing
    unit = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    inverse = solve_gram(gram, unit.expand_as(gram))
    sources = inverse @ (mixing.mT @ data)
    return sources, inverse.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt()[..., None]


def solve_gram(gram: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """``gram^-1 right``; an empty source keeps the system solvable."""
    size = gram.diagonal(dim1=-2, dim2=-1).amax(-1)[..., None, None].clamp(min=1e-30)
    unit = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    ridge = max(RIDGE, 4 * torch.finfo(gram.dtype).eps)
    return torch.linalg.solve(gram + ridge * size * unit, right)


def unit_columns(spectra: torch.Tensor) -> torch.Tensor:
    """Spectra ``(m, n)``, length 1."""
    return spectra / spectra.norm(dim=0).clamp(min=torch.finfo(spectra.dtype).tiny)
