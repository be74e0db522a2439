"""Networks that the paper compares RLISTA with (Tables IV and V)."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

__all__ = ["cnn_fcn", "fcn"]


def fcn(inputs: int, points: int, width: int, matrices: int) -> nn.Sequential:
    """Fully connected rival with so many weight matrices (paper, Table IV)."""
    sizes = [inputs, *[width] * (matrices - 1)]
    inner = [
        part for before, after in pairwise(sizes) for part in (nn.Linear(before, after), nn.ReLU())
    ]
    return nn.Sequential(*inner, nn.Linear(width, points), nn.Softmax(-1))


def cnn_fcn(inputs: int, points: int, width: int, channels: int = 32) -> nn.Sequential:
    """Convolutional rival (paper, Table V): a full, a convolutional and a full layer."""
    return nn.Sequential(
        nn.Linear(inputs, width),
        nn.ReLU(),
        nn.Unflatten(-1, (1, width)),
        nn.Conv1d(1, channels, 8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(channels * (width - 7), points),
        nn.Softmax(-1),
    )
