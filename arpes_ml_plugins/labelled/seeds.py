"""Derive one seed per call from the user's ``rng``, and from that one seed per slice."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import numpy as np

from arpes_ml_plugins.errors import ParameterError

if TYPE_CHECKING:
    import torch

__all__ = ["seed_from", "slice_seed"]

SEED_LIMIT = 2**63
DRAWS = 2**32  # seeds that are drawn, not given


def seed_from(rng: int | np.random.Generator | torch.Generator | None) -> int:
    """Return an explicit seed: ``None`` draws one, a generator is advanced by one draw."""
    if rng is None:
        return secrets.randbelow(DRAWS)
    if isinstance(rng, (int, np.integer)) and not isinstance(rng, bool):
        if not 0 <= rng < SEED_LIMIT:
            raise ParameterError(f"rng must lie in [0, 2**63), got {rng}")
        return int(rng)
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(DRAWS))
    return _draw(rng)


def _draw(rng: Any) -> int:
    import torch

    if not isinstance(rng, torch.Generator):
        raise ParameterError(
            f"rng must be None, an int, a numpy.random.Generator or a torch.Generator, got "
            f"{type(rng).__name__}"
        )
    return int(torch.randint(DRAWS, (), generator=rng, device=rng.device))


def slice_seed(seed: int, index: int) -> int:
    """Seed of slice ``index``: the same whatever the batching or the chunks."""
    return int(
        np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0] >> np.uint64(1)
    )
