"""Whether neighbours are asked for shifts, as two halves of the channels say."""

from __future__ import annotations

import pytest
import torch

from arpes_ml_plugins.separation.agreeing import neighbours_help

USED = torch.arange(2000) < 1900
NOISE = 0.016  # of a pixel, from half of the channels


@pytest.mark.parametrize(
    ("pooled_noise", "kept", "expected"),
    [
        (0.3, 1.0, True),  # the noise is averaged
        (1.2, 1.0, False),  # neighbours are asked in vain: it is not
        (0.3, 0.9, True),  # flattened by less than the noise of a pixel
        (0.3, 0.5, False),  # flattened by more
    ],
)
def test_they_are_if_that_makes_shifts_more_certain(pooled_noise, kept, expected):
    generator = torch.Generator().manual_seed(0)
    true, *noise = (torch.randn(len(USED), generator=generator) for _ in range(5))
    free = [0.06 * true + NOISE * one for one in noise[:2]]
    pooled = [0.06 * kept * true + pooled_noise * NOISE * one for one in noise[2:]]
    for one in (*free, *pooled):
        one[~USED] = 1e3
    assert neighbours_help(free, pooled, USED) is expected
