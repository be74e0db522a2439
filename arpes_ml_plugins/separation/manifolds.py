"""Manifolds by name: the samples themselves, mixtures of near ones, or a network.

The interface, for manifolds of your own, is :class:`Manifold`.
"""

from __future__ import annotations

import torch

from arpes_ml_plugins.separation.iae import AutoencoderManifold
from arpes_ml_plugins.separation.projection import Manifold, Projection, measured

__all__ = [
    "MANIFOLDS",
    "AutoencoderManifold",
    "LocalSimplex",
    "Manifold",
    "NearestSpectrum",
    "Projection",
    "measured",
]

NEIGHBOURS = 6


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

    def weighted(self, channels: torch.Tensor) -> NearestSpectrum:
        return NearestSpectrum(_chosen(self.samples, channels))

    def project(self, spectra: torch.Tensor) -> Projection:
        return self.guess(spectra)


class LocalSimplex(Manifold):
    """Non-negative mixtures of the samples nearest to a spectrum.

    The manifold is interpolated linearly between samples, so its error is proportional to the
    square of their distance.

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

    def weighted(self, channels: torch.Tensor) -> LocalSimplex:
        return LocalSimplex(_chosen(self.samples, channels), self._corners)

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


def _chosen(samples: torch.Tensor, channels: torch.Tensor) -> torch.Tensor:
    used = channels > 0
    return samples.to(channels)[:, used] * channels[used]


MANIFOLDS: dict[str, type[Manifold]] = {
    "simplex": LocalSimplex,
    "nearest": NearestSpectrum,
    "iae": AutoencoderManifold,
}
"""Interpolations between the spectra of a family, by the names that ``separate_sgmca`` takes."""
