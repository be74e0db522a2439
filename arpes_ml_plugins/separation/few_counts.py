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
from arpes_ml_plugins.separation.polish import MANY_SWEEPS, polish_on_pixels
from arpes_ml_plugins.separation.simulated import angles, expected_angles
from arpes_ml_plugins.separation.whiten import Whitened

__all__ = ["UNSURE", "few_counts_notes", "polished_nmf", "seen_coarsely"]

CLEAR = 2.0  # mean of pixels over their noise, from which they are believed rather than their sums
UNSURE = 3.5  # degrees: maps of noise hide a part, and more than 5 are not to be missed
LOST = 30.0  # degrees: polishing returns another spectrum
SWEEPS, SUMMED_SWEEPS = 12, 30  # of simulated data, from the truth and of their sums
PART = 8_000  # pixels that are simulated first
FALLS = 2.0  # error of a factorisation of pixels, over its distance from that of their sums


def seen_coarsely(data: Whitened, found: torch.Tensor, sweeps: int = MANY_SWEEPS) -> torch.Tensor:
    """``found``, or spectra ``(k, n)`` from sums of pixels if these contradict it.

    Both have equally many parameters. Spectra are wrong, and not by chance, if their chi^2 of the
    sums is larger by more than the number of values of the spectra; by less, the less single pixels
    show.
    """
    coarse = data.coarse
    if coarse is None:
        return found
    other = polish_on_pixels(coarse, _factorised_sums(coarse, found.shape[1]), True, sweeps)
    worse = _misfit(coarse, found) - _misfit(coarse, other)
    chance = found.numel() * min(1.0, float(data.pixels.mean()) / CLEAR)
    return other if worse > chance else found


def few_counts_notes(
    data: Whitened, found: torch.Tensor, fixed: torch.Tensor | None = None
) -> tuple[str, ...]:
    """Note on spectra that a simulation of the result does not return.

    Parameters
    ----------
    fixed
        ``(n,)`` bool: spectra that are known. The others are then from pixels alone, not from sums.
    """
    if not data.few or (fixed is not None and bool(fixed.all())):
        return ()
    return _note(_expected(data, found, fixed))


def polished_nmf(data: Whitened, found: torch.Tensor) -> tuple[torch.Tensor, tuple[str, ...]]:
    """Spectra ``(k, n)`` from ``found``, those of a non-negative factorisation; notes on them.

    A factorisation of noisy pixels finds spectra too far apart: maps cannot be negative, so that
    spectra explain noise best if they surround it. With values of maps below their noise at zero,
    spectra are right if enough pixels lack a component, and wrong if all pixels are mixtures. How
    far the factorisation of pixels is off shows in that of their sums, which have less noise, or,
    if channels are too many for sums, in simulated data.
    """
    if not data.few:
        return found, ()
    polished = polish_on_pixels(data.pixels, found, True, SUMMED_SWEEPS)
    polished = seen_coarsely(data, polished, SUMMED_SWEEPS)
    expected = _expected(data, polished)
    # Simulations show how far noise turns a factorisation, not how far it is off without.
    if float(expected.max()) > (LOST if data.coarse is None else UNSURE):
        own = _expected_of_factorisation(data, found)
        if float(own.max()) < float(expected.max()):
            return found, _note(own)
    return polished, _note(expected)


def _expected_of_factorisation(data: Whitened, found: torch.Tensor) -> torch.Tensor:
    """Angles ``(n,)`` in degrees between ``found``, a factorisation of pixels, and the truth."""
    if data.coarse is not None:
        return FALLS * angles(data, _factorised_sums(data.coarse, found.shape[1]), found)
    return expected_angles(
        data, found, lambda drawn: factorised(drawn.pixels, found.shape[1], seed=0)[0]
    )


def _expected(
    data: Whitened, found: torch.Tensor, fixed: torch.Tensor | None = None
) -> torch.Tensor:
    """Angles ``(n,)`` in degrees between ``found`` and the truth, by simulation.

    A part of many pixels shows less: if it is enough, so are all.
    """

    def again(drawn: Whitened) -> torch.Tensor:
        spectra = polish_on_pixels(drawn.pixels, found, True, SWEEPS, fixed)
        return seen_coarsely(drawn, spectra, SUMMED_SWEEPS) if fixed is None else spectra

    part = data.part(PART)
    if part is not None:
        expected = expected_angles(part, found, again)
        if float(expected.max()) <= UNSURE:
            return expected
    return expected_angles(data, found, again)


def _note(expected: torch.Tensor) -> tuple[str, ...]:
    unsure = int((expected > UNSURE).sum())
    if not unsure:
        return ()
    verb = "is" if unsure == 1 else "are"
    return (
        f"{unsure} of {len(expected)} components {verb} uncertain: in simulated data of this "
        f"result, separation is off by up to {float(expected.max()):.2g} degrees in a spectrum, "
        f"above the limit of {UNSURE:g}; sum pixels or energies, or give a library for them",
    )


def _factorised_sums(coarse: torch.Tensor, count: int) -> torch.Tensor:
    return factorised(coarse, count, seed=0)[0]


def _misfit(pixels: torch.Tensor, spectra: torch.Tensor) -> float:
    return float((pixels - spectra @ nonnegative_sources(pixels, spectra)).square().sum())
