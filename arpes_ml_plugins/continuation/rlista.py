"""LISTA and RLISTA: a few steps of ISTA with learned matrices."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn.functional import relu

from arpes_ml_plugins.optim.proximal import soft_threshold

__all__ = ["ETA", "UnrolledNetwork", "unroll"]

ETA = 0.5  # relaxation factor of RLISTA


def unroll(
    data: torch.Tensor,
    state: torch.Tensor,
    entry: torch.Tensor,
    threshold: torch.Tensor,
    *,
    eta: float,
    positive: bool,
) -> torch.Tensor:
    """The learned iteration (paper, eq. 15), from a spectrum of zeros.

    ``a <- (1 - eta) a + eta S(W_t a + W_e g)``, with ``W_t``, ``W_e`` and threshold per layer.

    Parameters
    ----------
    data
        ``(..., b, m)``.
    state, entry, threshold
        ``W_t (..., layers, n, n)``, ``W_e (..., layers, n, m)`` and ``(..., layers)``.
    eta
        1 for LISTA.
    positive
        Cut negative values off instead of shrinking them, ``max(z - threshold, 0)``.
    """
    spectrum = data.new_zeros(*data.shape[:-1], state.shape[-1])
    for layer in range(state.shape[-3]):
        z = spectrum @ state[..., layer, :, :].mT + data @ entry[..., layer, :, :].mT
        limit = threshold[..., layer, None, None]
        shrunk = relu(z - limit) if positive else soft_threshold(z, limit)
        spectrum = (1 - eta) * spectrum + eta * shrunk
    return spectrum


class UnrolledNetwork(nn.Module):
    """A LISTA or RLISTA network (paper, Tables II and III).

    Parameters
    ----------
    inputs, points
        Numbers of data and of frequencies.
    layers
        Depth.
    eta
        Relaxation factor; 1 is LISTA.
    positive
        ``max(z - threshold, 0)`` instead of the soft threshold, and weights that add up to 1.
    generator
        Draws LeCun's initial weights as the paper writes them out (Appendix A); without one all
        weights are zero, to be filled in.
    """

    def __init__(
        self,
        inputs: int,
        points: int,
        layers: int,
        *,
        eta: float = ETA,
        positive: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.state = _matrices(layers, points, points, generator)
        self.entry = _matrices(layers, points, inputs, generator)
        self.threshold = nn.Parameter(
            torch.full((layers,), 0.0 if positive else 1e-3, dtype=torch.float32, device="cpu")
        )
        self.eta, self.positive = eta, positive

    def forward(self, data: torch.Tensor) -> torch.Tensor:
        """Weights ``(b, n)`` from data ``(b, m)``."""
        spectrum = unroll(
            data, self.state, self.entry, self.threshold, eta=self.eta, positive=self.positive
        )
        if self.positive:
            return spectrum / spectrum.sum(-1, keepdim=True).clamp(min=1e-6)
        return spectrum

    @torch.no_grad()
    def folded(self, features: torch.Tensor) -> UnrolledNetwork:
        """The network that takes data to what this one takes ``features @ data`` to.

        Float64, as features of ill-conditioned data need it.
        """
        layers, points, _ = self.entry.shape
        other = UnrolledNetwork(
            features.shape[1], points, layers, eta=self.eta, positive=self.positive
        ).double()
        other.state.copy_(self.state)
        other.threshold.copy_(self.threshold)
        other.entry.copy_(self.entry.double() @ features)
        return other


def _matrices(
    layers: int, rows: int, columns: int, generator: torch.Generator | None
) -> nn.Parameter:
    if generator is None:
        return nn.Parameter(torch.zeros(layers, rows, columns, dtype=torch.float32, device="cpu"))
    drawn = torch.randn(
        layers, rows, columns, generator=generator, dtype=torch.float32, device="cpu"
    )
    return nn.Parameter(drawn / math.sqrt(columns))
