"""Find pixels of nothing but zeros between pixels that hold intensity: dead, or never measured."""

from __future__ import annotations

import torch

__all__ = ["dead_pixels"]

NEAR = 3  # pixels: how far the bright ones on both sides may be; a wider gap may be a real one
BRIGHT = 20.0  # counts of a pixel: chance leaves none of them


def dead_pixels(values: torch.Tensor, valid: torch.Tensor, gain: float) -> torch.Tensor:
    """``(*space)`` bool, of values ``(m, *space)``; ``gain`` is the value of one count."""
    seen = valid.any(0)
    zero = seen & ~((values != 0) & valid).any(0)
    bright = seen & ((values * valid).sum(0) > BRIGHT * gain)
    between = torch.zeros_like(zero)
    for axis in range(zero.ndim):
        between |= _beside(bright, axis, 1) & _beside(bright, axis, -1)
    return zero & between


def _beside(bright: torch.Tensor, axis: int, way: int) -> torch.Tensor:
    """Whether a bright pixel is near, in one direction of an axis."""
    result, size = torch.zeros_like(bright), bright.shape[axis]
    for far in range(1, min(NEAR, size - 1) + 1):
        there, from_ = (0, far) if way > 0 else (far, 0)
        result.narrow(axis, there, size - far).logical_or_(bright.narrow(axis, from_, size - far))
    return result
