"""Where spectra of a component lie: one small interface, and the manifolds that need no training.

A manifold is a set of directions: spectra are compared with it up to a positive scale.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch

__all__ = ["LocalSimplex", "Manifold", "NearestSpectrum", "Projection"]

NEIGHBOURS = 6
SHORTEST = 1e-12


@dataclass(frozen=True)
class Projection:
    """The nearest points of a manifold: ``scale * spectra`` is nearest to what was projected."""

    spectra: torch.Tensor  # (k, m), length 1
    scale: torch.Tensor  # (k,), at least 0
    distance: torch.Tensor  # (k,), to what was projected


class Manifold(ABC):
    """Spectra ``(k, m)`` that a component may have, known from samples of them.

    Subclasses say how to :meth:`project`, and may have better ways to :meth:`sample` and a faster
    one to :meth:`guess`.
    """

    def __init__(self, samples: torch.Tensor) -> None:
        self.samples = samples / samples.norm(dim=1, keepdim=True).clamp(min=SHORTEST)

    @abstractmethod
    def project(self, spectra: torch.Tensor) -> Projection:
        """The nearest points, with a free scale (eq. 11 of Carloni Gertosio et al. 2023)."""

    neighbours = 12
    """Spectra of the :meth:`family` that are mixed where it meets the signal space of data."""

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
        chosen = torch.randint(len(self.samples), (count,), generator=generator)
        return self.samples[chosen.to(self.samples.device)]

    def distance(self, spectra: torch.Tensor) -> torch.Tensor:
        """Sine of the angle between spectra and manifold ``(k,)``."""
        size = spectra.norm(dim=1).clamp(min=SHORTEST)
        return self.project(spectra).distance / size


def measured(spectra: torch.Tensor, points: torch.Tensor) -> Projection:
    """The projection onto given points, one a spectrum."""
    unit = points / points.norm(dim=1, keepdim=True).clamp(min=SHORTEST)
    scale = (spectra * unit).sum(1).clamp(min=0)
    return Projection(unit, scale, (spectra - scale[:, None] * unit).norm(dim=1))


class NearestSpectrum(Manifold):
    """The samples themselves.

    Examples
    --------
    >>> manifold = NearestSpectrum(torch.eye(3))
    >>> found = manifold.project(torch.tensor([[0.0, 2.0, 0.1]]))
    >>> found.spectra, found.scale
    (tensor([[0., 1., 0.]]), tensor([2.]))
    """

    neighbours = 1

    def project(self, spectra: torch.Tensor) -> Projection:
        return self.guess(spectra)


class LocalSimplex(Manifold):
    """Mixtures, without negative weights, of the samples nearest to a spectrum.

    Between samples the manifold is filled in linearly, so its error falls with the square of their
    distance.

    Examples
    --------
    >>> angle = torch.linspace(0, 1, 30, dtype=torch.float64)
    >>> arc = LocalSimplex(torch.stack([angle.cos(), angle.sin()], 1))
    >>> between = torch.tensor([[0.505, 0.505]], dtype=torch.float64).cos()
    >>> bool(arc.distance(torch.tensor([[0.9, 0.44]], dtype=torch.float64)) < 1e-6)
    True
    """

    def __init__(self, samples: torch.Tensor, neighbours: int = NEIGHBOURS) -> None:
        super().__init__(samples)
        self._corners = min(neighbours, len(samples))

    def project(self, spectra: torch.Tensor) -> Projection:
        nearest = (spectra @ self.samples.mT).topk(self._corners, dim=1).indices
        points = [
            self._mixed(one, self.samples[rows]) for one, rows in zip(spectra, nearest, strict=True)
        ]
        return measured(spectra, torch.stack(points))

    def _mixed(self, spectrum: torch.Tensor, corners: torch.Tensor) -> torch.Tensor:
        from scipy.optimize import nnls

        left, right = corners.mT.cpu().double().numpy(), spectrum.cpu().double().numpy()
        weights = torch.from_numpy(nnls(left, right)[0]).to(corners)
        return weights @ corners if bool(weights.any()) else corners[0]
