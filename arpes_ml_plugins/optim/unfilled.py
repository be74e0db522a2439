"""Networks whose first weights are drawn by their own generator, or loaded."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["allocate"]


def allocate(module: nn.Module) -> None:
    """Give the weights of a module made on torch's device "meta" memory on the CPU, not filled.

    On "meta" torch's own initialisation draws no random numbers from its global generator. torch's
    ``skip_init`` and ``to_empty`` do the same, but import a symbolic algebra system first, which
    takes a second and more.
    """
    state = {
        name: torch.empty(value.shape, dtype=value.dtype, device="cpu")
        for name, value in module.state_dict().items()
    }
    module.load_state_dict(state, assign=True)
