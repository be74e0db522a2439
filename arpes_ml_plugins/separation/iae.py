"""The interpolatory autoencoder (IAE): a manifold as the affine span of encoded anchor points.

Bobin, Carloni Gertosio, Bobin and Thiam (2021); Carloni Gertosio, Bobin and Acero, "Semi-blind
source separation with learned constraints", Signal Process. 202, 108776 (2023), Appendix B, which
equation numbers refer to.
"""

from __future__ import annotations

import copy
import math
from typing import cast

import torch
from torch import nn

from arpes_ml_plugins.optim.unfilled import allocate
from arpes_ml_plugins.separation.projection import Manifold, Projection, measured

__all__ = ["AutoencoderManifold", "InterpolatoryAutoencoder", "farthest_points"]

SCALE = 6.0  # of unit spectra, so that the tanh is not linear
SKIP = 0.1
FAMILY = 300  # points between samples
ROUNDS = 40  # of Levenberg-Marquardt
DAMPING, DAMPING_UP, DAMPING_DOWN = 1e-3, 4.0, 0.3
SETTLED = 1e-6  # relative change of the weights


class InterpolatoryAutoencoder(nn.Module):
    """Encoder and decoder of fully connected layers, and encoded anchor points between them.

    Parameters
    ----------
    anchors
        Spectra ``(N, m)``: one more than the manifold has dimensions.
    layers
        Each way.
    seed
        Of the first weights, which are drawn from a generator of their own.
    """

    anchors: torch.Tensor

    def __init__(self, anchors: torch.Tensor, layers: int = 4, seed: int = 0) -> None:
        super().__init__()
        self.register_buffer("anchors", anchors)
        draw = torch.Generator().manual_seed(seed)
        self.encoder = nn.ModuleList(_linear(anchors, draw) for _ in range(layers))
        self.decoder = nn.ModuleList(_linear(anchors, draw) for _ in range(layers))

    def encode(self, spectra: torch.Tensor) -> torch.Tensor:
        return _through(self.encoder, SCALE * spectra)

    def generate(self, weights: torch.Tensor) -> torch.Tensor:
        """Spectra ``(..., m)`` of barycentric weights ``(..., N)`` that sum to 1."""
        return _through(self.decoder, weights @ self.encode(self.anchors)) / SCALE

    def weights(self, spectra: torch.Tensor) -> torch.Tensor:
        """Barycentric weights ``(..., N)``, of sum 1, nearest to the code of each spectrum.

        The last weight is one minus the others, which are found by least squares (eq. B.4,
        exactly).
        """
        codes = self.encode(self.anchors)
        span = codes[:-1] - codes[-1]
        gram = span @ span.mT
        ridge = 1e-7 * gram.diagonal().mean() * torch.eye(len(span), device="cpu").to(gram)
        pull = (self.encode(spectra) - codes[-1]) @ span.mT
        free = torch.linalg.solve(gram + ridge, pull.mT).mT
        return torch.cat([free, 1 - free.sum(-1, keepdim=True)], -1)

    def forward(self, spectra: torch.Tensor) -> torch.Tensor:
        """Encoded, put onto the affine span of the anchors, and decoded (eq. B.2)."""
        return self.generate(self.weights(spectra))

    def tangents(
        self, weights: torch.Tensor, codes: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Spectra ``(k, m)`` and their derivatives ``(k, m, N - 1)`` by all weights but the last,
        which is one minus the others; ``codes`` are those of the anchors.
        """
        value = weights @ codes
        slope = (codes[:-1] - codes[-1]).expand(len(weights), -1, -1)
        *hidden, last = cast("list[nn.Linear]", list(self.decoder))
        for layer in hidden:
            bent = torch.tanh(layer(value))
            slope = (1 - bent.square())[:, None] * (slope @ layer.weight.mT) + SKIP * slope
            value = bent + SKIP * value
        return last(value) / SCALE, (slope @ last.weight.mT / SCALE).mT


def _linear(anchors: torch.Tensor, generator: torch.Generator) -> nn.Linear:
    """A layer with torch's usual first weights, drawn from ``generator``, of the anchors' dtype."""
    channels = anchors.shape[1]
    layer = nn.Linear(channels, channels, dtype=anchors.dtype, device="meta")
    allocate(layer)
    nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
    nn.init.uniform_(layer.bias, -(channels**-0.5), channels**-0.5, generator=generator)
    return layer


def _through(layers: nn.ModuleList, value: torch.Tensor) -> torch.Tensor:
    *hidden, last = layers
    for layer in hidden:
        value = torch.tanh(layer(value)) + SKIP * value
    return last(value)


def farthest_points(samples: torch.Tensor, count: int) -> torch.Tensor:
    """Anchors ``(count, m)``: the sample farthest from the mean, then each time the one farthest
    from those taken.

    Examples
    --------
    >>> farthest_points(torch.tensor([[0.0], [0.4], [1.0], [0.9]]), 2)
    tensor([[0.],
            [1.]])
    """
    taken = [int((samples - samples.mean(0)).norm(dim=1).argmax())]
    while len(taken) < count:
        taken.append(int(torch.cdist(samples, samples[taken]).amin(1).argmax()))
    return samples[taken]


class AutoencoderManifold(Manifold):
    """The spectra that a trained autoencoder generates, with weights of the channels.

    Parameters
    ----------
    network
        Trained on spectra of length 1, in units of the data.
    samples
        Spectra ``(samples, m)`` in the same units.
    channels
        Factors ``(m,)`` by which the spectra that are projected were multiplied: one over the
        noise, where the data were whitened. Channels of factor 0 are left out: ``(k, kept)``.
    """

    def __init__(
        self,
        network: InterpolatoryAutoencoder,
        samples: torch.Tensor,
        channels: torch.Tensor | None = None,
    ) -> None:
        factors = samples.new_ones(samples.shape[1]) if channels is None else channels
        self._kept, self._plain = factors > 0, samples
        self._factors = factors[self._kept]
        super().__init__(self._seen(samples))
        # Own copy: rounding of float32 would limit how near a projection comes.
        self._network = copy.deepcopy(network).to(samples).requires_grad_(False)
        self._starts = self._network.weights(samples)
        self._codes = self._network.encode(self._network.anchors)

    def weighted(self, channels: torch.Tensor) -> AutoencoderManifold:
        return AutoencoderManifold(self._network, self._plain.to(channels), channels)

    def _seen(self, spectra: torch.Tensor) -> torch.Tensor:
        return spectra[..., self._kept] * self._factors

    def guess(self, spectra: torch.Tensor) -> Projection:
        """By the encoder (Appendix B); by the nearest sample where channels are left out."""
        if not bool(self._kept.all()):
            return super().guess(spectra)
        plain = spectra / self._factors
        unit = plain / plain.norm(dim=1, keepdim=True).clamp(min=1e-12)
        return measured(spectra, self._seen(self._network(unit)))

    def sample(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Between the weights of two samples each time."""
        pairs = torch.randint(len(self._starts), (2, count), generator=generator, device="cpu")
        share = torch.rand((count, 1), generator=generator, device="cpu").to(self._starts)
        first, second = self._starts[pairs.to(self._starts.device)]
        made = self._seen(self._network.generate(share * first + (1 - share) * second))
        return made / made.norm(dim=1, keepdim=True)

    def family(self) -> torch.Tensor:
        """The samples as the autoencoder reproduces them, and points between them."""
        made = self._seen(self._network.generate(self._starts))
        made = made / made.norm(dim=1, keepdim=True)
        return torch.cat([made, self.sample(FAMILY, torch.Generator().manual_seed(0))])

    def project(self, spectra: torch.Tensor) -> Projection:
        """Eq. 11 by Levenberg-Marquardt from the nearest sample, the scale eliminated.

        At every step the scale is the best for the weights at hand (variable projection), and only
        the part of a derivative across the spectrum counts.
        """
        weights = self._starts[(spectra @ self.samples.mT).argmax(1)]
        damping = spectra.new_full((len(spectra), 1, 1), DAMPING)
        point, slope = self._point(weights)
        loss = measured(spectra, point).distance
        for _ in range(ROUNDS):
            step = self._step(spectra, point, slope, damping)
            trial = weights + torch.cat([step, -step.sum(1, keepdim=True)], 1)
            new_point, new_slope = self._point(trial)
            new_loss = measured(spectra, new_point).distance
            better = new_loss < loss
            weights = torch.where(better[:, None], trial, weights)
            point = torch.where(better[:, None], new_point, point)
            slope = torch.where(better[:, None, None], new_slope, slope)
            loss = torch.where(better, new_loss, loss)
            factor = torch.where(better, DAMPING_DOWN, DAMPING_UP).to(damping)
            damping = (damping * factor[:, None, None]).clamp(1e-12, 1e8)
            if bool((step.abs().amax(1) < SETTLED * weights.abs().amax(1)).all()):
                break
        return measured(spectra, point)

    def _point(self, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        point, slope = self._network.tangents(weights, self._codes)
        return self._seen(point), slope[:, self._kept] * self._factors[:, None]

    @staticmethod
    def _step(
        spectra: torch.Tensor, point: torch.Tensor, slope: torch.Tensor, damping: torch.Tensor
    ) -> torch.Tensor:
        size = point.norm(dim=1, keepdim=True).clamp(min=1e-12)
        unit = point / size
        scale = (spectra * unit).sum(1, keepdim=True).clamp(min=0) / size
        across = slope - unit[..., None] * (unit[:, None] @ slope)
        jacobian = scale[..., None] * across
        residual = spectra - scale * point
        gram = jacobian.mT @ jacobian
        diagonal = gram.diagonal(dim1=1, dim2=2).clamp(min=1e-30)
        right = (jacobian.mT @ residual[..., None])[..., 0]
        return torch.linalg.solve(gram + damping * torch.diag_embed(diagonal), right)
