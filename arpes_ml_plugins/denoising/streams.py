"""Random numbers: independent for every image, member of an ensemble and use, on any device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

__all__ = ["USES", "normal", "stream", "stream_seed"]

USES = ("weights", "input", "plus", "minus", "jitter")
"""Uses of random numbers in the two-stage denoiser; "plus" and "minus" are g and h of eq. 3."""


def stream_seed(seed: int, member: int, use: str) -> int:
    """A seed that is spawned from that of an image, so that no two streams coincide.

    Arithmetic on seeds (adding, exclusive or) would give different images, members and uses the
    same numbers now and then.
    """
    sequence = np.random.SeedSequence(seed, spawn_key=(member, USES.index(use)))
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


def stream(seed: int, member: int, use: str) -> torch.Generator:
    """The generator that :func:`stream_seed` seeds."""
    return torch.Generator().manual_seed(stream_seed(seed, member, use))


def normal(
    like: torch.Tensor, generator: torch.Generator, shape: Sequence[int] | None = None
) -> torch.Tensor:
    """Normal numbers of the type and shape of ``like``, or of another shape, the same on every
    device: they are drawn on the CPU.
    """
    size = like.shape if shape is None else shape
    return torch.randn(size, generator=generator, dtype=like.dtype, device="cpu").to(like.device)
