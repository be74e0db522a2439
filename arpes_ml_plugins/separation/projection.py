"""The interface of manifolds: project a spectrum onto those that a component may have.

A manifold is a set of directions: spectra are compared with it up to a positive scale.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch

__all__ = ["Manifold", "Projection", "WeightedManifold", "measured"]

SHORTEST = 1e-12


@dataclass(frozen=True)
class Projection:
    """The nearest points of a manifold: ``scale * spectra`` is nearest to what was projected."""

    spectra: torch.Tensor  # (k, m), length 1
    scale: torch.Tensor  # (k,), at least 0
    distance: torch.Tensor  # (k,), to what was projected


class Manifold(ABC):
    """Spectra ``(k, m)`` that a component may have, known from samples of them.

    A subclass defines :meth:`project`. It may define a faster :meth:`guess`, a denser
    :meth:`family`, and an exact :meth:`weighted`.

    Parameters
    ----------
    samples
        Spectra ``(k, m)`` all over the manifold, of any length above zero.

    Examples
    --------
    Gaussian lines of one width, at any centre:

    >>> class Line(Manifold):
    ...     axis = torch.linspace(-1, 1, 50, dtype=torch.float64)
    ...
    ...     def __init__(self) -> None:
    ...         super().__init__(self.at(torch.linspace(-0.5, 0.5, 40, dtype=torch.float64)))
    ...
    ...     def at(self, centres: torch.Tensor) -> torch.Tensor:
    ...         return torch.exp(-((self.axis - centres[:, None]) ** 2) / 0.02)
    ...
    ...     def project(self, spectra: torch.Tensor) -> Projection:
    ...         above = spectra.clamp(min=0)
    ...         return measured(spectra, self.at(above @ self.axis / above.sum(1)))
    >>> line = Line()
    >>> round(float(line.distance(3 * line.at(torch.tensor([0.123])))), 6)
    0.0
    """

    def __init__(self, samples: torch.Tensor) -> None:
        self.samples = _unit(samples)

    @abstractmethod
    def project(self, spectra: torch.Tensor) -> Projection:
        """The nearest points, with a free scale (eq. 11 of Carloni Gertosio et al. 2023)."""

    neighbours = 12
    """Number of spectra of the :meth:`family` to mix at its intersection with the signal space."""

    def weighted(self, channels: torch.Tensor) -> Manifold:
        """The same spectra times factors ``channels (m,)``; those of factor 0 are left out.

        Data are divided by the noise of their channels, so the manifold has to be as well. By
        default spectra are projected without these weights, which gives a point of the manifold,
        but the nearest one only if all factors are equal.
        """
        return WeightedManifold(self, channels)

    def family(self) -> torch.Tensor:
        """Points all over the manifold ``(k, m)``, length 1."""
        return self.samples

    def guess(self, spectra: torch.Tensor) -> Projection:
        """A quick projection, good enough to tell manifolds apart: the nearest sample."""
        alike = spectra @ self.samples.mT
        best = alike.argmax(1)
        return measured(spectra, self.samples[best])

    def sample(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Points of the manifold ``(count, m)``, length 1."""
        chosen = torch.randint(len(self.samples), (count,), generator=generator, device="cpu")
        return self.samples[chosen.to(self.samples.device)]

    def distance(self, spectra: torch.Tensor) -> torch.Tensor:
        """Sine of the angle between spectra and manifold ``(k,)``."""
        size = spectra.norm(dim=1).clamp(min=SHORTEST)
        return self.project(spectra).distance / size


def measured(spectra: torch.Tensor, points: torch.Tensor) -> Projection:
    """The projection onto given points, one per spectrum."""
    unit = _unit(points)
    scale = (spectra * unit).sum(1).clamp(min=0)
    return Projection(unit, scale, (spectra - scale[:, None] * unit).norm(dim=1))


class WeightedManifold(Manifold):
    """Another manifold with weights of the channels: see :meth:`Manifold.weighted`."""

    def __init__(self, manifold: Manifold, channels: torch.Tensor) -> None:
        self._manifold, self._used = manifold, channels > 0
        self._factors = channels[self._used]
        super().__init__(self._seen(manifold.samples))
        self.neighbours = manifold.neighbours

    def family(self) -> torch.Tensor:
        return _unit(self._seen(self._manifold.family()))

    def sample(self, count: int, generator: torch.Generator) -> torch.Tensor:
        return _unit(self._seen(self._manifold.sample(count, generator)))

    def project(self, spectra: torch.Tensor) -> Projection:
        inner = self._manifold.samples
        # Channels that are left out are filled in from the nearest sample.
        nearest = (spectra @ self.samples.mT).argmax(1)
        plain = spectra / self._factors
        full = inner[nearest.to(inner.device)].to(plain)
        size = (plain * full[:, self._used]).sum(1) / full[:, self._used].square().sum(1)
        full = size.clamp(min=SHORTEST)[:, None] * full
        full[:, self._used] = plain
        return measured(spectra, self._seen(self._manifold.project(full.to(inner)).spectra))

    def _seen(self, spectra: torch.Tensor) -> torch.Tensor:
        return spectra.to(self._factors)[:, self._used] * self._factors


def _unit(rows: torch.Tensor) -> torch.Tensor:
    return rows / rows.norm(dim=1, keepdim=True).clamp(min=SHORTEST)
