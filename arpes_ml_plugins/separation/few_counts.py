"""Separate blindly if single pixels contain little but noise.

Wavelet details are the first to vanish in noise, and alternating least squares on noisy pixels
returns noise as a component. Sums over squares of pixels are mixtures of the same spectra with less
noise, and mixed squares at edges do no harm to their non-negative factorisation. It replaces the
spectra of the algorithm if those explain these sums much worse.
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

    Both have equally many parameters. Spectra are wrong, and not by chance, if their chi^2 of the
    sums is larger by more than the number of values of the spectra.
    """
    coarse = data.coarse
    if coarse is None:
        return found
    other = _spectra(coarse, found.shape[1])
    worse = _misfit(coarse, found) - _misfit(coarse, other)
    return other if worse > found.numel() else found


def few_counts_notes(data: Whitened, found: torch.Tensor) -> tuple[str, ...]:
    """Note on components for which halves of the sums give different spectra.

    Each half has a start of its own: from the common start ``found`` they would agree too often.
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
