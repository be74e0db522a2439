"""The network for counts that comes with the package."""

from __future__ import annotations

import copy
from functools import cache
from typing import TYPE_CHECKING

from arpes_ml_plugins.networks.stored import stored_hash, stored_weights

if TYPE_CHECKING:
    from arpes_ml_plugins.denoising.counts_network import CountsNetwork

__all__ = ["pretrained", "weights_used"]

WEIGHTS = "denoiser"
"""Name of the stored network."""


def pretrained(seed: int) -> CountsNetwork:
    """A copy of the stored network, whatever the seed."""
    return copy.deepcopy(_stored_network())


@cache
def _stored_network() -> CountsNetwork:
    from arpes_ml_plugins.denoising.counts_denoiser import new_network
    from arpes_ml_plugins.denoising.counts_network import WIDTHS

    network = new_network(0, WIDTHS, refined=True)
    network.load_state_dict(stored_weights(WEIGHTS))
    return network


def weights_used() -> dict[str, dict[str, str]]:
    """What provenance records of the stored network."""
    return {"weights": {WEIGHTS: stored_hash(WEIGHTS)}}
