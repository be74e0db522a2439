"""Find an offset that all spectra of a library have in common, as another work function gives."""

from __future__ import annotations

import torch

from arpes_ml_plugins.separation.shift_scan import moved

__all__ = ["common_offset"]

REACH = 0.25  # of the energy range: the largest offset looked for
FINE = 4  # candidates per channel
CLOSER = 0.2  # squared distances with the offset, over those without
CLOSE = 0.15  # distance of each moved spectrum from the space of the data


def common_offset(pixels: torch.Tensor, noise: torch.Tensor, spectra: torch.Tensor) -> float | None:
    """Channels by which ``spectra (n, m)`` must all be moved to lie in the space of the data.

    None if that does not bring each of them close.

    Parameters
    ----------
    pixels
        ``(m, t)``.
    noise
        Of every channel, ``(m,)``, positive.
    """
    channels, count = len(pixels), len(spectra)
    white = pixels / noise[:, None]
    space = torch.linalg.eigh(white @ white.mT)[1][:, -count:]
    most = round(REACH * channels)
    candidates = torch.linspace(-most, most, 2 * FINE * most + 1, dtype=pixels.dtype, device="cpu")
    distances = []
    for number in candidates.to(pixels):
        there = moved(spectra.mT.to(pixels), number.expand(count)) / noise[:, None]
        unit = there / there.norm(dim=0).clamp(min=1e-30)
        distances.append((unit - space @ (space.mT @ unit)).square().sum(0))
    squared = torch.stack(distances)
    best = int(squared.sum(1).argmin())
    still = squared[FINE * most]
    close = float(squared[best].max()) < CLOSE**2 < float(still.max())
    return float(candidates[best]) if close and squared[best].sum() < CLOSER * still.sum() else None
