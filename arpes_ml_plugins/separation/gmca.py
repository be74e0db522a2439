"""GMCA: blind separation by projected alternating least squares of sparse coefficients.

Section 3 of Carloni Gertosio, Bobin and Acero, "Semi-blind source separation with learned
constraints" (2023), which builds on Bobin et al., IEEE Trans. Image Process. 16, 2662 (2007).
"""

from __future__ import annotations

import torch

from arpes_ml_plugins.constants import MAD_TO_SIGMA
from arpes_ml_plugins.optim.proximal import soft_threshold
from arpes_ml_plugins.separation.least_squares import least_squares, solve_gram

__all__ = ["gmca", "principal_start", "spectra_of", "threshold_sources"]

SIGMAS = 3.0
GROWING, REWEIGHTED = 60, 40  # iterations
FEWEST = 0.002  # of the coefficients of a scale are kept in any case
SAMPLE = 5000  # coefficients of a scale from which levels are taken
LOST = 1e-10


def gmca(
    data: torch.Tensor,
    count: int,
    scales: int = 1,
    *,
    start: torch.Tensor | None = None,
    growing: int = GROWING,
    reweighted: int = REWEIGHTED,
) -> torch.Tensor:
    """Spectra ``(m, count)``, length 1, of coefficients in which the sources are sparse.

    Sources are found by least squares and thresholded at three times their own noise, which is
    estimated by the median absolute deviation, so that leakage that looks like noise is removed
    too. At first only the largest coefficients are kept, which tell the components apart best, then
    more and more. At the end thresholds shrink strong coefficients less and less (reweighted l1).

    Parameters
    ----------
    data
        Whitened coefficients ``(m, scales * t)``.
    start
        Spectra ``(m, count)``; default the principal components.
    """
    mixing = principal_start(data, count) if start is None else start
    sources: torch.Tensor | None = None
    for iteration in range(growing + reweighted):
        share = min(1.0, (iteration + 1) / growing)
        before = sources if iteration > growing else None
        sources = threshold_sources(data, mixing, scales, share=share, before=before)
        mixing = spectra_of(data, sources, mixing)
    return mixing


def principal_start(data: torch.Tensor, count: int) -> torch.Tensor:
    """The first ``count`` principal components ``(m, count)``."""
    return torch.linalg.eigh(data @ data.mT).eigenvectors[:, -count:].flip(1)


def threshold_sources(
    data: torch.Tensor,
    mixing: torch.Tensor,
    scales: int,
    *,
    share: float = 1.0,
    before: torch.Tensor | None = None,
    noise: torch.Tensor | None = None,
) -> torch.Tensor:
    """Sources ``(n, scales * t)``: least squares, then a soft threshold (eq. 9).

    Parameters
    ----------
    share
        Of the coefficients above three standard deviations, to keep.
    before
        Sources to reweight by: where they are strong the threshold is lower.
    noise
        Standard deviation of the data in each scale ``(scales,)``. Default: the median absolute
        deviation of each source, which grows with the source.
    """
    plain, spread = least_squares(data, mixing)
    sources = plain.unflatten(1, (scales, -1))
    if noise is None:
        limit = _own_limit(sources, share)
    else:
        limit = SIGMAS * spread[:, None] * noise[:, None]
    if before is not None:
        limit = limit * limit / (limit + before.unflatten(1, (scales, -1)).abs()).clamp(min=1e-30)
    return soft_threshold(sources, limit).flatten(1)


def _own_limit(sources: torch.Tensor, share: float) -> torch.Tensor:
    size = sources.abs()
    stride = max(1, size.shape[-1] // SAMPLE)
    sample = size[..., ::stride]
    limit = SIGMAS * MAD_TO_SIGMA * sample.median(-1, keepdim=True).values
    # Dense maps may have no coefficient above three deviations; then take the largest ones.
    ordered = sample.sort(-1, descending=True).values
    limit = torch.minimum(limit, ordered[..., int(FEWEST * ordered.shape[-1]), None])
    if share < 1:
        limit = torch.maximum(limit, _level(ordered, limit, share))
    return limit


def _level(ordered: torch.Tensor, limit: torch.Tensor, share: float) -> torch.Tensor:
    """Above which ``share`` of the values above ``limit`` lie; values are in falling order."""
    above = (ordered > limit).sum(-1, keepdim=True)
    at = (share * above).long().clamp(0, ordered.shape[-1] - 1)
    return ordered.gather(-1, at)


def spectra_of(data: torch.Tensor, sources: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """Least squares for the spectra, length 1; those of empty sources begin anew.

    An empty source takes the strongest direction of the residual of the others.
    """
    cross = data @ sources.mT
    found = solve_gram(sources @ sources.mT, cross.mT).mT
    lost = sources.square().sum(1) <= LOST * sources.square().sum().clamp(min=1e-30)
    if bool(lost.any()):
        rest = data - torch.where(lost, 0.0, found) @ sources
        found = torch.where(lost, principal_start(rest, 1), found)
        found = torch.where(lost & (lost.cumsum(0) > 1), before, found)
    return found / found.norm(dim=0).clamp(min=1e-12)
