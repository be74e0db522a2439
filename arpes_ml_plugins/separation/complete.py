"""Which pixels have all values, apart from channels that are missing in every pixel."""

from __future__ import annotations

import torch

__all__ = ["complete", "usable"]

COMPLETE = 0.9
"""Complete pixels over those with at least half of their values, below which gaps are filled."""
HALF = 0.5  # of the channels of a pixel, without which it tells nothing of the spectra


def complete(valid: torch.Tensor) -> torch.Tensor:
    """Pixels ``(*space)`` with a value in each of the channels that have any.

    Examples
    --------
    >>> valid = torch.tensor([[True, True, True], [False, False, False], [True, False, True]])
    >>> complete(valid)
    tensor([ True, False,  True])
    """
    return valid[valid.flatten(1).any(1)].all(0)


def usable(valid: torch.Tensor) -> torch.Tensor:
    """Pixels ``(*space)`` to find spectra from: the complete ones, if these are most; otherwise
    those with at least half of their values.
    """
    whole = complete(valid)
    half = valid[valid.flatten(1).any(1)].float().mean(0) >= HALF
    return whole if int(whole.sum()) >= COMPLETE * int(half.sum()) else half
