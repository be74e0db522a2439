"""How far energies of spectra that are found together with shifts are from the truth.

At few counts, noise makes pixels of one component look like mixtures, and energies that only
mixtures determine are found worse than the curvature of the likelihood says. Data that are
simulated from the result, with new noise, show by how much.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch

from arpes_ml_plugins.separation.shift_scan import Scan, moved, slope

__all__ = ["drawn", "energy_trials", "of_pixels"]

DRAWS = 3

Search: TypeAlias = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""From scaled data ``(m, t)`` to their spectra ``(m, n)`` and shifts ``(t,)``."""


def energy_trials(
    scan: Scan, spectra: torch.Tensor, shift: torch.Tensor, search: Search
) -> torch.Tensor:
    """Differences ``(draws, n)`` of energies, relative to a mean shift of zero, that ``search``
    finds in data simulated from ``spectra (m, n)`` and ``shift (t,)``.
    """
    noise, channels = scan.noise[:, None], shift / scan.step
    straight = moved(scan.scaled * noise, -channels)
    maps = torch.linalg.lstsq(spectra / noise, straight / noise).solution.clamp(min=0)
    model = moved(spectra @ maps, channels).clamp(min=0)
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(DRAWS):
        other, there = search(drawn(scan, model, generator) / noise)
        mean = (there - shift)[scan.used].mean()
        found.append(_apart(spectra, other, scan) + mean)
    return torch.stack(found)


def of_pixels(scan: Scan, spectra: torch.Tensor, trials: torch.Tensor) -> torch.Tensor:
    """Variances ``(t,)`` of shifts if spectra ``(m, n)`` move as in ``trials (draws, n)``."""
    noise = scan.noise[:, None]
    maps = torch.linalg.lstsq(spectra / noise, scan.scaled).solution.clamp(min=0)
    weight = maps * (slope(spectra, scan.step) / noise).norm(dim=0)[:, None]
    share = weight.square() / weight.square().sum(0).clamp(min=1e-30)
    return (trials @ share).square().mean(0)


def drawn(scan: Scan, model: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Data ``(m, t)`` with this expectation, and noise as that of the data."""
    normal = torch.randn(model.shape, generator=generator, device="cpu", dtype=torch.float64)
    if scan.by_value is None:
        return model + normal.to(model) * scan.noise[:, None]
    gain, read = scan.by_value.gain, scan.by_value.read
    if gain <= 0:
        return model + normal.to(model) * max(read, 0.0) ** 0.5
    counts = torch.poisson((model / gain).cpu(), generator=generator).to(model)
    return gain * counts + normal.to(model) * max(read, 0.0) ** 0.5


def _apart(spectra: torch.Tensor, other: torch.Tensor, scan: Scan) -> torch.Tensor:
    """How much further up ``other`` spectra ``(m, n)`` are, ``(n,)``, whatever their height."""
    noise = scan.noise[:, None]
    own, change, new = spectra / noise, slope(spectra, scan.step) / noise, other / noise
    both = torch.stack([change, own], -1).permute(1, 0, 2)  # (n, m, 2)
    part = torch.linalg.lstsq(both, new.mT[..., None]).solution[..., 0]
    return part[:, 0] / part[:, 1]
