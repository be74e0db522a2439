"""Losses of the two-stage denoiser: the square of eq. 3, or one that is robust against outliers.

A loss works on images that are scaled to about [0, 1]; it is made for one fit, as it may estimate
the noise on the way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F

from arpes_ml_plugins.denoising.robust import median_spread
from arpes_ml_plugins.optim.proximal import soft_threshold

__all__ = ["DARK_FLOOR", "LOSSES", "HuberLoss", "Loss", "SquareLoss"]

HUBER_THRESHOLD = 3.0  # standard deviations
DARK_FLOOR = 0.1
"""Fraction of the mean intensity below which the noise model stays constant."""
SCALE_INTERVAL = 10  # iterations between estimates of the noise level


class Loss(Protocol):
    """Made from target, mask and zero: the scaled image, 1 for valid pixels, and what the scaling
    took off (intensity = target + zero).
    """

    @property
    def noise(self) -> torch.Tensor:
        """Standard deviation of the noise at the mean intensity, zero if it is not estimated."""

    def __call__(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Loss to minimise, one number per image."""

    def in_units(self, loss: torch.Tensor, span: torch.Tensor) -> torch.Tensor:
        """The loss in the unit of the data, whose range is ``span``."""

    def outliers(self, residual: torch.Tensor) -> torch.Tensor:
        """The sparse term that the loss has minimised away, in the unit of the residual."""


class SquareLoss:
    """Eq. 3: the sum of squares."""

    def __init__(self, target: torch.Tensor, mask: torch.Tensor, zero: torch.Tensor) -> None:
        self.mask = mask
        self.noise = torch.zeros((), dtype=target.dtype, device=target.device)

    def __call__(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return ((output - target).square() * self.mask).sum((-2, -1))

    def in_units(self, loss: torch.Tensor, span: torch.Tensor) -> torch.Tensor:
        return loss * span[:, 0, 0].square()

    def outliers(self, residual: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(residual)


class HuberLoss:
    """Huber loss of the residual in units of its standard deviation.

    The variance is taken as proportional to the intensity (Poisson counts, with any gain), above a
    floor; its scale is estimated from the residuals themselves by their median, so that neither a
    gain nor a unit must be known. Weights are constants for the gradient: this makes it the
    Poisson quasi-likelihood, unbiased at any count level, with outliers clipped.
    """

    def __init__(self, target: torch.Tensor, mask: torch.Tensor, zero: torch.Tensor) -> None:
        self.mask = mask
        self.zero = zero
        """Offset that the scaling removed: intensity = target + zero."""
        intensity = (target.clamp(0, 1) + zero).abs() * mask
        self.mean = intensity.sum((-2, -1), keepdim=True) / mask.sum((-2, -1), keepdim=True)
        # Negative values mean that something was subtracted, and its noise is still there.
        self.floor = DARK_FLOOR * self.mean - zero.clamp(max=0) + torch.finfo(target.dtype).tiny
        self.calls = 0
        self.sigma = torch.zeros_like(self.floor)  # until the first estimate
        self.weight = torch.ones_like(target)

    def __call__(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        self.weight = ((output.detach() + self.zero).clamp(min=0) + self.floor).rsqrt()
        residual = (target - output) * self.weight
        if self.calls % SCALE_INTERVAL == 0:
            self.sigma = median_spread(residual.detach(), self.mask)
        self.calls += 1
        scaled = residual / self.sigma
        loss = F.huber_loss(
            scaled, torch.zeros_like(scaled), reduction="none", delta=HUBER_THRESHOLD
        )
        return (loss * self.mask).sum((-2, -1)) / self.mask.sum((-2, -1))

    def in_units(self, loss: torch.Tensor, span: torch.Tensor) -> torch.Tensor:
        """Undo the division by the noise level, which falls as the fit improves."""
        return loss * (self.sigma.square() * span)[:, 0, 0]

    def outliers(self, residual: torch.Tensor) -> torch.Tensor:
        """The sparse term that the loss has minimised away, in the unit of the residual."""
        return soft_threshold(residual, HUBER_THRESHOLD * self.sigma / self.weight) * self.mask

    @property
    def noise(self) -> torch.Tensor:
        """Standard deviation of the noise at the mean intensity, ``(n, 1, 1)``."""
        return self.sigma * (self.mean + self.floor).sqrt()


LOSSES: dict[str, Callable[[torch.Tensor, torch.Tensor, torch.Tensor], Loss]] = {
    "square": SquareLoss,
    "huber": HuberLoss,
}
"""Losses by their names in recipes."""
