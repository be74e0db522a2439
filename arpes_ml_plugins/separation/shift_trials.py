"""How far shifts are from the truth where they are found together with spectra.

The curvature of the likelihood takes spectra, and the neighbours that are asked, as known. They are
found in turns with the shifts, and with few counts this adds as much again. Data simulated from the
result, with new noise, show it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch

from arpes_ml_plugins.separation.energy_trials import drawn
from arpes_ml_plugins.separation.shift_scan import Scan

__all__ = ["excess"]

DRAWS = 2
WITHIN = 0.683  # of all pixels: those that one standard error holds

Search: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
"""From scaled data ``(m, t)`` to shifts ``(n, t)``."""


def excess(
    scan: Scan,
    model: torch.Tensor,
    shift: torch.Tensor,
    stderr: torch.Tensor,
    weight: torch.Tensor,
    search: Search,
) -> torch.Tensor:
    """How many times their ``stderr (n, t)`` shifts of data simulated from a ``model (m, t)``
    differ from its ``shift (n, t)``, at least once: ``(n, 1)``.

    ``weight (n, t)``: of the pixels.
    """
    draw = torch.Generator(device="cpu").manual_seed(0)
    noise = scan.noise[:, None]
    found = [search(drawn(scan, model.clamp(min=0), draw) / noise) for _ in range(DRAWS)]
    pulls = torch.cat([(there - shift).abs() / stderr for there in found], 1)
    limits, order = pulls.sort(1)
    share = weight.repeat(1, DRAWS).gather(1, order).cumsum(1)
    inside = (share < WITHIN * share[:, -1:]).sum(1, keepdim=True)
    return limits.gather(1, inside.clamp(max=limits.shape[1] - 1)).clamp(min=1)
