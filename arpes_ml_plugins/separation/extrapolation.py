"""Extrapolate slow iterations: errors of shifts and of spectra look alike, and take turns."""

from __future__ import annotations

import torch

__all__ = ["MEMORY", "extrapolated"]

MEMORY = 4  # steps to extrapolate from


def extrapolated(past: list[tuple[torch.Tensor, torch.Tensor]], used: torch.Tensor) -> torch.Tensor:
    """Where the last steps of an iteration lead (D. G. Anderson, J. ACM 12, 547 (1965))."""
    shift, change = past[-1]
    if len(past) == 1:
        return shift + change
    moves = torch.stack([shift - s for s, _ in past[:-1]], 1)
    turns = torch.stack([change - c for _, c in past[:-1]], 1)
    gram = turns[used].mT @ turns[used]
    ridge = (
        1e-8
        * gram.diagonal().mean().clamp(min=1e-20)  # zero if all steps were the same
        * torch.eye(len(gram), device="cpu", dtype=gram.dtype).to(gram)
    )
    part = torch.linalg.solve(gram + ridge, turns[used].mT @ change[used])
    return shift + change - (moves + turns) @ part
