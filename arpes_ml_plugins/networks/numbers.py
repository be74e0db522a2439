"""Networks that users trained, as arrays from which a result can be reproduced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from torch import nn

__all__ = ["numbers_of", "with_numbers"]

Network = TypeVar("Network", bound="nn.Module")


def numbers_of(network: nn.Module) -> dict[str, np.ndarray]:
    """The weights and buffers of ``network`` by name."""
    return {name: tensor.cpu().numpy() for name, tensor in network.state_dict().items()}


def with_numbers(network: Network, numbers: Mapping[str, np.ndarray]) -> Network:
    """``network``, made for this, with the numbers that :func:`numbers_of` gave; not trainable."""
    import torch

    network.load_state_dict({name: torch.from_numpy(n) for name, n in numbers.items()})
    network.requires_grad_(False)
    return network
