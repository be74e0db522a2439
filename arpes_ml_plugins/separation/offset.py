"""Find an offset that all spectra of a library have in common, as another work function gives."""

from __future__ import annotations

import torch

from arpes_ml_plugins.separation.shift_scan import beyond, moved

__all__ = ["common_offset"]

REACH = 0.25  # of the energy range: the largest offset looked for
FINE = 4  # candidates per channel
CLOSER = 0.2  # squared distances with the offset, over those without
CLOSE = 0.15  # distance of each moved spectrum from the space of the data
INSIDE = 0.3  # of the squares of a moved spectrum: with less on the axis it shows nothing


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
    whole, distances = (spectra.mT.to(pixels) / noise[:, None]).square().sum(0), []
    for number in candidates.to(pixels):
        there = moved(spectra.mT.to(pixels), number.expand(count)) / noise[:, None]
        # Beyond the ends of the axis the spectra are not known.
        known = ~beyond(channels, number[None])[:, 0]
        basis, inner = torch.linalg.qr(space[known])[0], there[known]
        size = inner.norm(dim=0)
        unit = inner / size.clamp(min=1e-30)
        distance = (unit - basis @ (basis.mT @ unit)).square().sum(0)
        seen = size.square() > INSIDE * whole
        distances.append(torch.where(seen, distance, 1.0))
    squared = torch.stack(distances)
    best = int(squared.sum(1).argmin())
    still = squared[FINE * most]
    close = float(squared[best].max()) < CLOSE**2 < float(still.max())
    return float(candidates[best]) if close and squared[best].sum() < CLOSER * still.sum() else None
