"""Moments of a spectrum, ``int w^n A(w) dw``, that are known beside the data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from arpes_ml_plugins.continuation.observation import Observation

__all__ = ["Moments"]

EXACT = 2e-5
"""Standard error of an exact moment, in units of norm and window, as it cannot be zero."""
CONTRADICTED = 6.0  # standard errors by which a solution may miss a moment
LEAST_MISS = 1e-3  # in units of norm and window: smaller ones are not reported


@dataclass(frozen=True)
class Moments:
    """For all slices: orders, values ``(slices, k)`` and standard errors, None for exact ones."""

    orders: tuple[int, ...]
    values: NDArray[np.floating]
    errors: tuple[float | None, ...]

    def beside(self, seen: Observation) -> Observation:
        """The same data, and the moments beside them."""
        return seen.with_moments(self.orders, self._own(seen), self._errors(seen))

    def missed(self, seen: Observation, weights: torch.Tensor) -> torch.Tensor:
        """Whether spectra ``(b, n)`` miss a moment by more than its error, ``(b,)`` bool."""
        powers = torch.stack([seen.problem.omega**order for order in self.orders], 1)
        least = [LEAST_MISS * self._unit(seen, order) for order in self.orders]
        allowed = (CONTRADICTED * self._errors(seen)).maximum(torch.stack(least, -1))
        off = (weights @ powers - self._own(seen)).abs()
        return (off > allowed).any(-1)

    def norm(self, seen: Observation) -> torch.Tensor:
        """The moment of order 0 of each data set, ``(b,)``."""
        return self._own(seen)[:, self.orders.index(0)]

    def _own(self, seen: Observation) -> torch.Tensor:
        return torch.from_numpy(self.values[seen.slices]).to(seen.data)

    def _errors(self, seen: Observation) -> torch.Tensor:
        """``(b, k)``."""
        errors = [
            EXACT * self._unit(seen, order) if error is None else torch.full_like(seen.scale, error)
            for order, error in zip(self.orders, self.errors, strict=True)
        ]
        return torch.stack(errors, -1)

    def _unit(self, seen: Observation, order: int) -> torch.Tensor:
        return seen.scale * seen.problem.half_width**order
