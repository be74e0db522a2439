"""One RLISTA network for every inverse temperature, noise and time grid.

Only the product of inverse temperature and window and what the data resolve matter. Every weight
matrix is a quadratic polynomial in these two numbers; with both fixed, the network is a plain
RLISTA (paper, eq. 15) on the features of :mod:`arpes_ml_plugins.continuation.prior`, which are
linear in the data.

The thresholds were not constrained when the network that comes with the package was trained, and
some are negative: for all kinds of data of the training in the last two of its eight layers, for
two thirds of them in the third layer and for one in seven in the sixth
(``docs/measured/continuation_thresholds.csv``). As negative values are cut off rather than shrunk,
``max(z - t, 0)``, a negative ``t`` is a rectifier with a positive offset: not a threshold, but not
linear either.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn.functional import relu, softplus

from arpes_ml_plugins.continuation.prior import GaussianPrior, View
from arpes_ml_plugins.continuation.rlista import ETA, unroll

__all__ = ["REACH", "GeneralNetwork", "condition"]

REACH = (8.0, 300.0)
"""Inverse temperature times half-width of the window, of the data it is trained for."""

TERMS = 6  # 1, x, y, x^2, x y, y^2


def condition(reach: float, view: View) -> torch.Tensor:
    """The polynomial terms for ``reach = beta * half-width of the window``, ``(6,)`` float32."""
    x = (math.log(reach) - 3.8) / 1.0
    y = (view.resolved - 7.0) / 3.5
    return torch.tensor([1.0, x, y, x * x, x * y, y * y], dtype=torch.float32)


class GeneralNetwork(nn.Module):
    """RLISTA layers with weights that depend on the kind of data, and a head for the error band.

    Works on the window of the prior, ``n`` points; weights of a spectrum add up to 1. All of it is
    float32.

    Parameters
    ----------
    prior
        Of spectra on the window; None leaves it to be filled in.
    points, layers, width, fine
        Frequencies, depth, width of the head, and points within a bin.
    generator
        Draws the initial weights of the head; without one they are zero, to be filled in.
    """

    mean: torch.Tensor
    root: torch.Tensor
    fine_mean: torch.Tensor
    fine_root: torch.Tensor
    stretch: torch.Tensor
    """Factor on the band, from the calibration after the training."""

    def __init__(
        self,
        prior: GaussianPrior | None = None,
        *,
        points: int = 50,
        layers: int = 8,
        width: int = 128,
        fine: int = 5,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if prior is None:
            prior = GaussianPrior(_filled(1 / points, points), _filled(0, points, points))
        inner = fine * points
        self.register_buffer("mean", prior.mean.float())
        self.register_buffer("root", prior.root.float())
        self.register_buffer("fine_mean", _filled(1 / inner, inner))
        self.register_buffer("fine_root", _filled(0, inner, inner))
        self.register_buffer("stretch", _filled(1))
        scale = points  # a flat spectrum is 1 everywhere
        data = _filled(0, layers, TERMS, points, points + 1)
        data[:, 0] = torch.cat([self.root, self.mean[:, None]], 1) * scale
        self.data = nn.Parameter(data)
        self.state = nn.Parameter(_filled(0, layers, TERMS, points, points))
        self.threshold = nn.Parameter(_filled(0, layers, TERMS))
        self.band = nn.Sequential(
            _linear(2 * points + TERMS, width, generator),
            nn.SiLU(),
            _linear(width, width, generator),
            nn.SiLU(),
            _linear(width, 2 * points, generator),
        )
        self.layers, self.points = layers, points

    @property
    def prior(self) -> GaussianPrior:
        return GaussianPrior(self.mean.double(), self.root.double())

    @property
    def fine_prior(self) -> GaussianPrior:
        """The prior within the bins too, for judging what is likely."""
        return GaussianPrior(self.fine_mean.double(), self.fine_root.double())

    def fold(self, terms: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Weights of the plain RLISTA for one kind of data or several.

        Parameters
        ----------
        terms
            From :func:`condition`, ``(..., 6)``.

        Returns
        -------
        state, data, threshold
            ``(..., layers, n, n)``, ``(..., layers, n, n + 1)`` and ``(..., layers)``: ``W_t``,
            ``W_e`` (for the features) and the soft threshold of every layer.
        """
        return (
            torch.einsum("...k,lkij->...lij", terms, self.state),
            torch.einsum("...k,lkij->...lij", terms, self.data),
            torch.einsum("...k,lk->...l", terms, self.threshold),
        )

    def forward(self, features: torch.Tensor, terms: torch.Tensor) -> torch.Tensor:
        """Weights ``(..., b, n)`` from features ``(..., b, n + 1)`` and terms ``(..., 6)``."""
        state, data, threshold = self.fold(terms)
        spectrum = unroll(features, state, data, threshold, eta=ETA, positive=True)
        return spectrum / spectrum.sum(-1, keepdim=True).clamp(min=1e-6)

    def quantiles(
        self, spectrum: torch.Tensor, features: torch.Tensor, terms: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The band that holds the truth at 90 % of the frequencies, ``(..., b, n)`` both."""
        known = terms[..., None, :].expand(*features.shape[:-1], TERMS)
        told = torch.cat([spectrum * self.points, features[..., :-1], known], -1)
        reach = self.stretch / self.points
        below, above = (reach * softplus(self.band(told) - 3)).chunk(2, -1)
        return relu(spectrum - below), spectrum + above


def _filled(value: float, *shape: int) -> torch.Tensor:
    return torch.full(shape, value, dtype=torch.float32)


def _linear(inputs: int, outputs: int, generator: torch.Generator | None) -> nn.Linear:
    """A layer that draws nothing from torch's global generator."""
    layer = nn.utils.skip_init(nn.Linear, inputs, outputs, dtype=torch.float32)
    bound = 1 / math.sqrt(inputs)  # as torch initialises layers
    for parameter in layer.parameters():
        if generator is None:
            nn.init.zeros_(parameter)
        else:
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
    return layer
