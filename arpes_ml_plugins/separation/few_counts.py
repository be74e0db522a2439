"""Blind separation where single pixels hold little but noise.

Wavelet details drown first, and alternating least squares on noisy pixels returns noise as a
component. Sums over squares of pixels are mixtures of the same spectra, with less noise; their
non-negative factorisation is no worse for the mixed squares at edges. It takes the place of what
the algorithm has found if that explains these sums much worse.
"""

from __future__ import annotations

import torch

from arpes_ml_plugins.separation.blind_start import factorised
from arpes_ml_plugins.separation.least_squares import nonnegative_sources
from arpes_ml_plugins.separation.metrics import match
from arpes_ml_plugins.separation.polish import MANY_SWEEPS, polish_on_pixels
from arpes_ml_plugins.separation.whiten import Whitened

__all__ = ["few_counts_notes", "seen_coarsely"]

ALIKE = 0.97  # cosine between spectra of two halves, below which neither is believed


def seen_coarsely(data: Whitened, found: torch.Tensor) -> torch.Tensor:
    """``found``, or spectra ``(k, n)`` from sums of pixels if these contradict it.

    Both have as many parameters. What explains the sums worse by more than as many squares as
    spectra have values is wrong, and not by chance.
    """
    coarse = data.coarse
    if coarse is None:
        return found
    other = _spectra(coarse, found.shape[1])
    worse = _misfit(coarse, found) - _misfit(coarse, other)
    return other if worse > found.numel() else found


def few_counts_notes(data: Whitened, found: torch.Tensor) -> tuple[str, ...]:
    """What to say of components that halves of the sums do not agree on.

    Each half has a start of its own: what follows from ``found`` would agree by that alone.
    """
    if data.coarse is None:
        return ()
    order = torch.randperm(
        data.coarse.shape[1], generator=torch.Generator().manual_seed(0), device="cpu"
    )
    cosines = [
        _matched(_spectra(data.coarse[:, half.to(found.device)], found.shape[1]), found)
        for half in order.chunk(2)
    ]
    unsure = int((torch.stack(cosines).amin(0) < ALIKE).sum())
    if not unsure:
        return ()
    return (
        f"{unsure} of {found.shape[1]} components are uncertain, because the counts are few: "
        f"halves of the pixels give different spectra",
    )


def _matched(spectra: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
    """Cosine of each of ``found`` with the spectrum assigned to it."""
    order, signs = match(spectra, found)
    return (spectra[:, order] * signs * found).sum(0) / found.norm(dim=0)


def _spectra(coarse: torch.Tensor, count: int) -> torch.Tensor:
    start = factorised(coarse, count, seed=0)[0]
    return polish_on_pixels(coarse, start, True, MANY_SWEEPS)


def _misfit(pixels: torch.Tensor, spectra: torch.Tensor) -> float:
    return float((pixels - spectra @ nonnegative_sources(pixels, spectra)).square().sum())
