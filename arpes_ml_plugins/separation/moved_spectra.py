"""Errors of spectra whose energies are uncertain, as those found together with shifts."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from arpes_ml_plugins.separation.shift_scan import moved, slope

__all__ = ["broadening_variance", "energy_variance"]

NEAR = 80  # spectra of a family around the result, which show how it may change
SPANNED = 1e-3  # of the power of their differences: directions with less are left out


def energy_variance(
    spectra: torch.Tensor,
    energies: torch.Tensor,
    families: Sequence[torch.Tensor | None],
    step: float,
) -> torch.Tensor:
    """Variances ``(m, n)`` of spectra ``(m, n)`` whose energies have the errors ``energies (n,)``.

    As far as the families ``(samples, m)`` can follow; None if the spectrum is not of a family.
    """
    columns = zip(slope(spectra, step).mT, spectra.mT, families, strict=True)
    change = [one if f is None else _within(one, spectrum, f) for one, spectrum, f in columns]
    return (_as_high(torch.stack(change, 1), spectra) * energies).square()


def broadening_variance(spectra: torch.Tensor, spread: float, step: float) -> torch.Tensor:
    """Variances ``(m, n)`` of spectra ``(m, n)`` of pixels that shift by ``spread`` (standard
    deviation), uncorrected: of a single pixel they are narrower, by as much.
    """
    channels = spectra.new_full((spectra.shape[1],), spread / step)
    broader = (moved(spectra, channels) + moved(spectra, -channels)) / 2
    return _as_high(broader - spectra, spectra).square()


def _as_high(change: torch.Tensor, spectra: torch.Tensor) -> torch.Tensor:
    """The ``change`` of ``spectra (m, n)`` that are shown with a largest value of 1: if a line
    moves between two channels, everything else changes its height.
    """
    top = spectra.argmax(0, keepdim=True)
    high = spectra.gather(0, top).clamp(min=1e-30)
    return change - spectra * change.gather(0, top) / high


def _within(change: torch.Tensor, spectrum: torch.Tensor, family: torch.Tensor) -> torch.Tensor:
    """The part of a change of a spectrum that stays in its family."""
    if len(family) == 1:
        return torch.zeros_like(change)
    high = family / family.amax(1, keepdim=True).clamp(min=1e-30) * spectrum.max()
    near = high[(high - spectrum).norm(dim=1).argsort()[:NEAR]]
    values, vectors = torch.linalg.eigh((near - spectrum).mT @ (near - spectrum))
    basis = vectors[:, values > SPANNED * values[-1]]
    return basis @ (basis.mT @ change)
