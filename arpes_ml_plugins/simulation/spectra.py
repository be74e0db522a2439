"""Simulate spectra for training analytic continuation: the published ones, and a broader prior.

All live on the window ``[-1, 1]`` (frequencies over the half-width of the window) and are
normalised to a sum of 1.
"""

from __future__ import annotations

import numpy as np
import torch

from arpes_ml_plugins.continuation.problem import cell_widths, subdivided

__all__ = [
    "FINE",
    "POINTS",
    "PUBLISHED_WINDOW",
    "broad_spectra",
    "centres",
    "published_spectra",
    "window_grid",
]

POINTS = 50  # N_omega of the paper
FINE = 5  # points within a bin, odd: the middle one is the centre of the bin
PUBLISHED_WINDOW = 3.0  # Omega_0 of the paper

MOST_PEAKS = 6
NARROWEST = 0.008  # far from zero
NARROWEST_QUASIPARTICLE = 0.002
SHAPES = ("gaussian", "gaussian", "lorentzian", "semicircle", "box")
WIDEST, CENTRE, GROWTH = 0.031, 0.028, 0.12
"""Width of the cells far from zero, distance at which they begin to grow, and how they grow."""


def centres(points: int = POINTS, fine: int = 1) -> torch.Tensor:
    """Frequencies of a grid with ``fine`` points per bin on [-1, 1] (outer bins reach beyond)."""
    step = 2 / (points - 1)
    inner = (torch.arange(fine, dtype=torch.float64, device="cpu") - (fine - 1) / 2) * step / fine
    return (
        torch.linspace(-1, 1, points, dtype=torch.float64, device="cpu")[:, None] + inner
    ).reshape(-1)


def published_spectra(count: int, generator: torch.Generator, points: int = POINTS) -> torch.Tensor:
    """Gaussian mixtures with a quasiparticle peak (paper, eq. 16 and Section III A).

    Up to ten peaks of equal height and a peak of the same height near zero frequency.

    Returns
    -------
    torch.Tensor
        ``(count, points)`` float32, each row adds up to 1.
    """
    omega = centres(points).float() * PUBLISHED_WINDOW
    numbers = torch.randint(1, 11, (count, 1), generator=generator, device="cpu")
    centre = _uniform((count, 11), -1.5, 1.5, generator)
    width = _uniform((count, 11), 0.0, 0.5, generator)
    height = (torch.arange(11, device="cpu") < numbers).float()
    centre[:, 10] = _uniform((count,), -0.05, 0.05, generator)
    width[:, 10] = _uniform((count,), 0.05, 0.3, generator)
    height[:, 10] = 1.0
    return _normalised(_sum_of_peaks(omega, centre, width, height))


def window_grid() -> torch.Tensor:
    """Frequencies of the window [-1, 1] on which the general network works, ascending, ``(n,)``.

    The kernel resolves ever less away from zero, in proportion to the distance: cells are narrow
    at zero and reach a constant width outside, where the sharpest features of bands still fit.

    Examples
    --------
    >>> grid = window_grid()
    >>> len(grid), f"{grid.diff().min():.4f}", f"{grid.diff().max():.3f}"
    (99, '0.0034', '0.031')
    """
    x = torch.linspace(0, 1, 20001, dtype=torch.float64, device="cpu")
    narrow = GROWTH * (x.square() + CENTRE**2).sqrt()
    density = (narrow**-4 + WIDEST**-4) ** 0.25
    number = torch.cumulative_trapezoid(density, x)
    number = torch.cat([number.new_zeros(1), number])
    count = int(float(number[-1]))
    half = np.interp(np.arange(1, count + 1) / count, (number / number[-1]).numpy(), x.numpy())
    above = torch.from_numpy(half)
    return torch.cat([-above.flip(0), above.new_zeros(1), above])


def broad_spectra(
    count: int, generator: torch.Generator, grid: torch.Tensor | None = None
) -> torch.Tensor:
    """Draw spectra of many kinds: a fifth as published, the others with random features.

    The latter have one to six peaks of random height, width, centre and shape (Gaussian,
    Lorentzian, semicircle, box), some a quasiparticle peak, a gap, the gap of a superconductor, an
    edge or particle-hole symmetry; they fill a fifth to the whole of the window.

    Parameters
    ----------
    grid
        Frequencies on [-1, 1], ``(n,)``; default: those of the paper.

    Returns
    -------
    torch.Tensor
        ``(count, n * FINE)`` float32: weights on equal parts of the cells of the grid; each row
        adds up to 1. ``FINE`` times every third of five is the density in the middle of a cell
        times the width of the cell.
    """
    grid = centres() if grid is None else grid
    inner = subdivided(grid, FINE)
    published = published_spectra(count // 5, generator)
    between = (1 - (centres()[:, None] - inner).abs() / centres().diff()[0]).clamp(min=0).float()
    made = _random_make(inner.float(), count - len(published), generator)
    widths = cell_widths(grid).float().repeat_interleave(FINE)
    return _normalised(torch.cat([published @ between, made]) * widths)


def _random_make(omega: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """Densities of any norm, ``(count, n)``."""

    def often(share: float) -> torch.Tensor:
        return _uniform((count, 1), 0.0, 1.0, generator) < share

    peaks = MOST_PEAKS + 1  # the last one is the quasiparticle
    shape = (count, peaks)
    numbers = (MOST_PEAKS * _uniform((count, 1), 0, 1, generator).square()).int() + 1
    scale = _log_uniform((count, 1), 0.2, 1.0, generator)
    centre = _uniform(shape, -0.85, 0.85, generator) * scale
    width = _log_uniform(shape, 0.012, 0.6, generator) * scale
    alike = _log_uniform((count, 1), 0.03, 0.6, generator) * scale
    width = torch.where(often(0.4), alike * _log_uniform(shape, 0.5, 2.0, generator), width)
    width = width.maximum(NARROWEST * (0.3 + centre.abs()).clamp(max=1))
    height = -_uniform(shape, 0.0, 1.0, generator).clamp(min=1e-3).log()
    # Some have equal areas, others equal heights.
    height = height / torch.where(often(0.6), width, 1.0)
    height = height * (torch.arange(peaks, device="cpu") < numbers)
    metal = often(0.35)[:, 0]
    centre[:, -1] = _uniform((count,), -0.02, 0.02, generator) * scale[:, 0]
    width[:, -1] = _log_uniform((count,), NARROWEST_QUASIPARTICLE, 0.1, generator)
    height[:, -1] = metal * height.amax(1) * _log_uniform((count,), 0.1, 3.0, generator)
    kind = _uniform((count, 1), 0.0, 1.0, generator)
    spectra = omega.new_zeros(count, len(omega))
    for k, profile in enumerate(SHAPES):
        chosen = ((kind * len(SHAPES)).int() == k)[:, 0]
        spectra[chosen] = _sum_of_peaks(
            omega, centre[chosen], width[chosen], height[chosen], profile
        )
    spectra = torch.where(often(0.25), spectra + spectra.flip(-1), spectra)
    gapped = ~metal[:, None] & often(0.3)
    spectra = spectra * torch.where(gapped, _gaps(omega, scale, generator), 1.0)
    paired = ~metal[:, None] & ~gapped & often(0.15)
    spectra = spectra * torch.where(paired, _pairing(omega, scale, generator), 1.0)
    return spectra * torch.where(often(0.12), _edge(omega, scale, generator), 1.0)


def _gaps(omega: torch.Tensor, scale: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    count = len(scale)
    centre = _uniform((count, 1), -0.2, 0.2, generator) * scale
    centre = torch.where(_uniform((count, 1), 0, 1, generator) < 0.5, 0.0, centre)
    half = _log_uniform((count, 1), 0.03, 0.4, generator) * scale
    soft = _log_uniform((count, 1), 0.003, 0.05, generator)
    return torch.sigmoid(((omega - centre).abs() - half) / soft) + 1e-6


def _pairing(omega: torch.Tensor, scale: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Density of states of a superconductor over that of the metal, broadened (Dynes)."""
    count = len(scale)
    gap = _log_uniform((count, 1), 0.02, 0.4, generator) * scale
    energy = torch.complex(
        omega.expand(count, -1),
        gap * _log_uniform((count, 1), 0.01, 0.2, generator).expand(-1, len(omega)),
    )
    return (energy / (energy.square() - gap.square()).sqrt()).real.abs()


def _edge(omega: torch.Tensor, scale: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A cut on one side."""
    count = len(scale)
    place = _uniform((count, 1), -0.8, 0.8, generator) * scale
    soft = _log_uniform((count, 1), 0.003, 0.05, generator)
    side = (_uniform((count, 1), -1, 1, generator)).sign()
    return torch.sigmoid(side * (omega - place) / soft) + 1e-6


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
        elif shape == "semicircle":
            profile = (1 - squared / 4).clamp(min=1e-9).sqrt()
        else:  # a box with soft edges
            profile = torch.sigmoid((1.5 - squared.clamp(min=1e-12).sqrt()) / 0.06)
        total += height[:, peak, None] * profile
    return total


def _normalised(spectra: torch.Tensor) -> torch.Tensor:
    return spectra / spectra.sum(-1, keepdim=True)


def _uniform(
    shape: tuple[int, ...], low: float, high: float, generator: torch.Generator
) -> torch.Tensor:
    return low + (high - low) * torch.rand(
        shape, generator=generator, dtype=torch.float32, device="cpu"
    )


def _log_uniform(
    shape: tuple[int, ...], low: float, high: float, generator: torch.Generator
) -> torch.Tensor:
    return low * (high / low) ** _uniform(shape, 0.0, 1.0, generator)
