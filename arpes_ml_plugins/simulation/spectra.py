"""Spectra to learn analytic continuation from: those of the paper, and a broader prior.

All live on the window ``[-1, 1]`` (frequencies over the half-width of the window) and are
normalised to a sum of 1.
"""

from __future__ import annotations

import torch

__all__ = ["FINE", "POINTS", "PUBLISHED_WINDOW", "broad_spectra", "centres", "published_spectra"]

POINTS = 50  # N_omega of the paper
FINE = 5  # points within a bin, odd: the middle one is the centre of the bin
PUBLISHED_WINDOW = 3.0  # Omega_0 of the paper

MOST_PEAKS = 6
NARROWEST = 0.02  # half a bin
NARROWEST_QUASIPARTICLE = 0.015


def centres(points: int = POINTS, fine: int = 1) -> torch.Tensor:
    """Frequencies of a grid with ``fine`` points a bin, on [-1, 1] (the outer bins reach over)."""
    step = 2 / (points - 1)
    inner = (torch.arange(fine, dtype=torch.float64) - (fine - 1) / 2) * step / fine
    return (torch.linspace(-1, 1, points, dtype=torch.float64)[:, None] + inner).reshape(-1)


def published_spectra(count: int, generator: torch.Generator, points: int = POINTS) -> torch.Tensor:
    """Gaussian mixtures with a quasiparticle peak (paper, eq. 16 and Section III A).

    Up to ten peaks of equal height and a peak of the same height near zero frequency.

    Returns
    -------
    torch.Tensor
        ``(count, points)`` float32, each row adds up to 1.
    """
    omega = centres(points).float() * PUBLISHED_WINDOW
    numbers = torch.randint(1, 11, (count, 1), generator=generator)
    centre = _uniform((count, 11), -1.5, 1.5, generator)
    width = _uniform((count, 11), 0.0, 0.5, generator)
    height = (torch.arange(11) < numbers).float()
    centre[:, 10] = _uniform((count,), -0.05, 0.05, generator)
    width[:, 10] = _uniform((count,), 0.05, 0.3, generator)
    height[:, 10] = 1.0
    return _normalised(_sum_of_peaks(omega, centre, width, height))


def broad_spectra(count: int, generator: torch.Generator) -> torch.Tensor:
    """Spectra of many kinds: a third as published, the others of random make.

    The others have peaks of random height, width, centre and shape (Gaussian, Lorentzian,
    semicircular), a quasiparticle peak in 40 % and a gap in 15 %, and fill a quarter to the whole
    of the window.

    Returns
    -------
    torch.Tensor
        ``(count, POINTS * FINE)`` float32, each row adds up to 1. Published spectra live on the
        centres of the bins only, as the paper has them.
    """
    as_published = count // 3
    spectra = torch.zeros(count, POINTS, FINE, dtype=torch.float32)
    spectra[:as_published, :, FINE // 2] = published_spectra(as_published, generator)
    spectra[as_published:] = _random_make(count - as_published, generator).unflatten(
        -1, (POINTS, FINE)
    )
    return spectra.flatten(1)


def _random_make(count: int, generator: torch.Generator) -> torch.Tensor:
    omega = centres(fine=FINE).float()
    peaks = MOST_PEAKS + 1  # the last one is the quasiparticle
    shape = (count, peaks)
    numbers = torch.randint(1, MOST_PEAKS + 1, (count, 1), generator=generator)
    scale = _log_uniform((count, 1), 0.25, 1.0, generator)
    centre = _uniform(shape, -0.8, 0.8, generator) * scale
    width = (_log_uniform(shape, 0.04, 0.4, generator) * scale).clamp(min=NARROWEST)
    height = -_uniform(shape, 0.0, 1.0, generator).clamp(min=1e-3).log()
    # Some have equal areas, others equal heights.
    height = height / torch.where(_uniform((count, 1), 0, 1, generator) < 0.5, width, 1.0)
    height = height * (torch.arange(peaks) < numbers)
    metal = _uniform((count,), 0.0, 1.0, generator) < 0.4
    centre[:, -1] = _uniform((count,), -0.02, 0.02, generator)
    width[:, -1] = _log_uniform((count,), NARROWEST_QUASIPARTICLE, 0.1, generator)
    height[:, -1] = metal * height.amax(1) * _log_uniform((count,), 0.1, 3.0, generator)
    kind = _uniform((count, 1), 0.0, 1.0, generator)
    spectra = torch.where(
        kind < 0.6,
        _sum_of_peaks(omega, centre, width, height),
        torch.where(
            kind < 0.8,
            _sum_of_peaks(omega, centre, width, height, "lorentzian"),
            _sum_of_peaks(omega, centre, width, height, "semicircle"),
        ),
    )
    gapped = ~metal & (_uniform((count,), 0.0, 1.0, generator) < 0.25)
    return _normalised(spectra * torch.where(gapped[:, None], _gaps(omega, scale, generator), 1.0))


def _gaps(omega: torch.Tensor, scale: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    count = len(scale)
    centre = _uniform((count, 1), -0.2, 0.2, generator) * scale
    half = _log_uniform((count, 1), 0.05, 0.4, generator) * scale
    soft = _log_uniform((count, 1), 0.005, 0.05, generator)
    return torch.sigmoid(((omega - centre).abs() - half) / soft) + 1e-6


def _sum_of_peaks(
    omega: torch.Tensor,
    centre: torch.Tensor,
    width: torch.Tensor,
    height: torch.Tensor,
    shape: str = "gaussian",
) -> torch.Tensor:
    total = omega.new_zeros(len(centre), len(omega))
    for peak in range(centre.shape[1]):
        squared = ((omega - centre[:, peak, None]) / width[:, peak, None].clamp(min=1e-6)).square()
        if shape == "gaussian":
            profile = (-squared / 2).exp()
        elif shape == "lorentzian":
            profile = 1 / (1 + squared)
        else:
            profile = (1 - squared / 4).clamp(min=1e-9).sqrt()
        total += height[:, peak, None] * profile
    return total


def _normalised(spectra: torch.Tensor) -> torch.Tensor:
    return spectra / spectra.sum(-1, keepdim=True)


def _uniform(
    shape: tuple[int, ...], low: float, high: float, generator: torch.Generator
) -> torch.Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float32)


def _log_uniform(
    shape: tuple[int, ...], low: float, high: float, generator: torch.Generator
) -> torch.Tensor:
    return low * (high / low) ** _uniform(shape, 0.0, 1.0, generator)
