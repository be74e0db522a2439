"""One RLISTA network for every inverse temperature, noise and time grid.

Only two numbers matter: the product of inverse temperature and window, and the number of components
that the data resolve. Every weight matrix is a cubic polynomial in these two numbers. With both
fixed, the network is a plain RLISTA (paper, eq. 15) on the features of
:mod:`arpes_ml_plugins.continuation.prior`, which are linear in the data.

The thresholds were not constrained when the network that comes with the package was trained, and
some are negative: in four of its eight layers for most kinds of data of the training
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
from arpes_ml_plugins.continuation.referee import Referee, linear
from arpes_ml_plugins.continuation.rlista import ETA, unroll

__all__ = ["FURTHEST", "REACH", "GeneralNetwork", "condition"]

REACH = (2.0, 5000.0)
"""Inverse temperature times half-width of the window, of the training data."""
FURTHEST = 8 * REACH[1]
"""Up to here data are treated as those of the largest reach: what changes are details at zero that
neither resolve."""

DEGREE = 3
TERMS = (DEGREE + 1) * (DEGREE + 2) // 2
MOST_RESOLVED = 30.0  # components of a spectrum


def condition(reach: float, view: View) -> torch.Tensor:
    """The polynomial terms for ``reach = beta * half-width of the window``, ``(..., TERMS)``
    float32: 1, x, y, x^2, x y, y^2, ... of two numbers between -1 and 1.
    """
    low, high = map(math.log, REACH)
    x = min(2 * (math.log(reach) - low) / (high - low) - 1, 1.0)
    y = 2 * view.resolved / MOST_RESOLVED - 1
    terms = [x ** (order - k) * y**k for order in range(DEGREE + 1) for k in range(order + 1)]
    return torch.stack(terms, -1).float()


class GeneralNetwork(nn.Module):
    """RLISTA layers with weights that depend on the kind of data, and a head for the interval.

    Works on the window of the prior, ``n`` points; weights of a spectrum add up to 1. All of it is
    float32, but for the frequencies.

    Parameters
    ----------
    prior
        Of spectra on the window; None leaves it to be filled in.
    grid
        Frequencies of the window [-1, 1], ``(n,)``.
    layers, width, fine
        Depth, width of the head, and points within a bin.
    generator
        Draws the initial weights of the head; without one they are zero, to be filled in.
    """

    grid: torch.Tensor
    """Frequencies over the half-width of the window, float64."""
    mean: torch.Tensor
    root: torch.Tensor
    fine_mean: torch.Tensor
    fine_root: torch.Tensor
    stretch: torch.Tensor
    """Factor on the credible interval, from the calibration after the training."""

    def __init__(
        self,
        prior: GaussianPrior | None = None,
        *,
        grid: torch.Tensor,
        layers: int = 8,
        width: int = 128,
        fine: int = 5,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        points = len(grid)
        if prior is None:
            prior = GaussianPrior(_filled(1 / points, points), _filled(0, points, points))
        inner = fine * points
        self.register_buffer("grid", grid.double())
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
            linear(2 * points + TERMS, width, generator),
            nn.SiLU(),
            linear(width, width, generator),
            nn.SiLU(),
            linear(width, 2 * points, generator),
        )
        self.referee = Referee(generator)
        self.layers, self.points = layers, points

    @property
    def prior(self) -> GaussianPrior:
        return GaussianPrior(self.mean.double(), self.root.double())

    @property
    def fine_prior(self) -> GaussianPrior:
        """The prior within the bins too, for the probability of data."""
        return GaussianPrior(self.fine_mean.double(), self.fine_root.double())

    def fold(self, terms: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Weights of the plain RLISTA for one kind of data or several.

        Parameters
        ----------
        terms
            From :func:`condition`, ``(..., TERMS)``.

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
        """Weights ``(..., b, n)`` from features ``(..., b, n + 1)`` and terms ``(..., TERMS)``."""
        state, data, threshold = self.fold(terms)
        spectrum = unroll(features, state, data, threshold, eta=ETA, positive=True)
        return spectrum / spectrum.sum(-1, keepdim=True).clamp(min=1e-6)

    def quantiles(
        self, spectrum: torch.Tensor, features: torch.Tensor, terms: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Ends of the interval that contains the truth at 90 % of the frequencies, ``(..., b, n)``:
        the density at the middle of each cell, times its width.
        """
        known = terms[..., None, :].expand(*features.shape[:-1], TERMS)
        told = torch.cat([spectrum * self.points, features[..., :-1], known], -1)
        reach = self.stretch * (1 / self.points + spectrum)
        below, above = softplus(self.band(told) - 3).chunk(2, -1)
        return relu(spectrum - reach * below), spectrum + reach * above


def _filled(value: float, *shape: int) -> torch.Tensor:
    return torch.full(shape, value, dtype=torch.float32, device="cpu")
