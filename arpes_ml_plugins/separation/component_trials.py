"""How far shifts of single components are from the truth where the search is not the best fit.

The curvature of the likelihood takes spectra, and the neighbours that are asked, as known. They are
found together with the shifts, and with few counts this adds as much again. Data simulated from the
result, with new noise, show it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch

from arpes_ml_plugins.separation.energy_trials import drawn
from arpes_ml_plugins.separation.shift_scan import Scan
from arpes_ml_plugins.separation.shifted_design import shifted_maps, shifted_model

__all__ = ["scattered"]

DRAWS = 2

Search: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
"""From scaled data ``(m, t)`` to shifts ``(n, t)``."""


def scattered(
    scan: Scan,
    spectra: torch.Tensor,
    shift: torch.Tensor,
    stderr: torch.Tensor,
    weight: torch.Tensor,
    search: Search,
) -> torch.Tensor:
    """``stderr (n, t)``, larger by what shifts of simulated data differ more from ``shift (n, t)``.

    One factor for all pixels of a component, which count with their ``weight (n, t)``.
    """
    noise, channels = scan.noise[:, None], shift / scan.step
    maps = shifted_maps(scan.scaled * noise, spectra, channels, scan.noise)
    model = shifted_model(spectra, maps, channels).clamp(min=0)
    draw = torch.Generator().manual_seed(0)
    pulls = [
        ((search(drawn(scan, model, draw) / noise) - shift) / stderr).square() for _ in range(DRAWS)
    ]
    share = weight / weight.sum(1, keepdim=True).clamp(min=1e-30)
    larger = (torch.stack(pulls).mean(0) * share).sum(1, keepdim=True).sqrt()
    return stderr * larger.clamp(min=1)
