"""Tell that a spectrum found holds the lines of another one found.

What lies under everything, as a substrate or a strong component does, is in every pixel, so that
no pixel shows the others alone. A separation then finds mixtures, pixels show these as purely as
they would show true spectra, and no value of a map or a spectrum is negative. But a mixture has the
slopes of both its parts. If a spectrum without a share of another one is not negative and has lost
structure, it is as good as the one found. A background, which spectra have in common as well, is
different: what is subtracted from it leaves a hole in the shape of the other's lines.
"""

from __future__ import annotations

import torch

from arpes_ml_plugins.separation.purity import CERTAIN, share_inside

__all__ = ["holds_another"]

MUCH = 0.1  # of the other's lines
MOST = 0.8  # of the other's slopes that are in the spectrum, at least as steep in proportion


def holds_another(spectra: torch.Tensor, errors: torch.Tensor) -> torch.Tensor:
    """Which of ``spectra (m, n)`` of largest value 1 hold the lines of any other, ``(n,)`` bool."""
    count = spectra.shape[1]
    held = torch.zeros(count, dtype=torch.bool, device=spectra.device)
    for own in range(count):
        for other in range(count):
            if other != own and _share_of_slopes(spectra, errors, own, other) > MUCH:
                held[own] |= share_inside(spectra, errors, own, other) > MUCH
    return held


def _share_of_slopes(spectra: torch.Tensor, errors: torch.Tensor, own: int, other: int) -> float:
    """How much of ``other`` the slopes of ``own`` hold; 0 if noise hides those of ``other``."""
    steps = spectra.diff(dim=0)
    noise = (errors[1:, other].square() + errors[:-1, other].square()).sqrt()
    weight = (steps[:, other].abs() - CERTAIN * noise).clamp(min=0)
    seen = weight > 0
    if not bool(seen.any()):
        return 0.0
    ratio, order = (steps[seen, own] / steps[seen, other]).sort()
    total = weight[seen][order].cumsum(0)
    return float(ratio[torch.searchsorted(total, (1 - MOST) * total[-1])])
