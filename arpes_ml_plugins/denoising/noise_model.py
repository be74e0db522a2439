"""The noise model of the denoiser, and noise drawn from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from arpes_ml_plugins.denoising.response import as_counts, from_counts
from arpes_ml_plugins.denoising.streams import normal

__all__ = ["NoiseModel", "mean_power"]

WHITE = 0.06  # correlation of neighbours below which noise is split as that of counts
LARGEST = 0.95  # correlation; beyond, a width of the cloud would mean nothing


@dataclass(frozen=True)
class NoiseModel:
    """Values are ``gain`` times blurred counts less ``shift``.

    At long wavelengths the variance is ``gain * (mean + shift)``, unless there is a ``curvature``:
    see :mod:`~arpes_ml_plugins.denoising.response`.
    """

    gain: float
    shift: float = 0.0
    """Constant that is subtracted from the values, in the unit of the data."""
    row_correlation: float = 0.0
    """Correlation of the noise of neighbours along the first axis of an image."""
    column_correlation: float = 0.0
    pedestal: float = 0.0
    """Mean of pixels without electrons, if it was told from noise of the read-out: ``shift`` plus
    this stands for that noise. Negative: minus the constant that was subtracted."""
    curvature: float = 0.0
    """Of white noise, per electron; 0 if the variance follows the intensity."""

    @property
    def white(self) -> bool:
        """Whether pixels are independent, so that their counts can be split."""
        return max(self.row_correlation, self.column_correlation) <= WHITE

    @property
    def correlation(self) -> tuple[float, float]:
        return self.row_correlation, self.column_correlation

    @property
    def read_out(self) -> float:
        """Electrons per pixel with the noise of the read-out, which is white, if that of the others
        is correlated.
        """
        return 0.0 if self.white else max(self.shift + self.pedestal, 0.0) / self.gain

    def electrons(self, images: torch.Tensor, *, mean: bool = False) -> torch.Tensor:
        """Images in units in which the variance is the mean at long wavelengths.

        With a curvature it matters whether ``images`` are a ``mean``, without noise.
        """
        return as_counts((images + self.shift) / self.gain, self.curvature, mean=mean)

    def values(self, electrons: torch.Tensor, *, mean: bool = True) -> torch.Tensor:
        """The inverse of :meth:`electrons`."""
        return from_counts(electrons, self.curvature, mean=mean) * self.gain - self.shift

    def variance(self, values: torch.Tensor) -> torch.Tensor:
        """Of values with these means, at long wavelengths."""
        above = (values + self.shift) / self.gain
        bend = self.curvature * above
        return self.gain**2 * above * (1 + bend if self.curvature > 0 else bend.exp())

    def proportional(self, images: torch.Tensor) -> tuple[torch.Tensor, float]:
        """Images whose variance is proportional to their mean, and variance over mean."""
        if self.curvature:
            return self.electrons(images), 1.0
        return images + self.shift, self.gain

    def spread(self, electrons: torch.Tensor, spread: torch.Tensor) -> torch.Tensor:
        """The standard deviation of values, from that of their electrons."""
        low, high = (self.values(electrons + sign * spread) for sign in (-1, 1))
        return (high - low) / 2

    def divided(self, images: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
        """Values of the same pixels if the intensity were less by the ``factors``."""
        return (images + self.shift) / factors - self.shift

    def multiplied(self, images: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
        """The inverse of :meth:`divided`."""
        return (images + self.shift) * factors - self.shift

    def transfer(
        self, shape: tuple[int, int], device: torch.device, window: float = 0.0
    ) -> torch.Tensor:
        """Squared transfer function ``(height, width // 2 + 1)``: that of a Gaussian cloud, seen
        through a Gaussian mean of ``window`` pixels.
        """
        height, width = shape
        rows = torch.fft.fftfreq(height, device=device)[:, None]
        columns = torch.fft.rfftfreq(width, device=device)[None]
        exponent = sum(
            (2 * math.pi * axis) ** 2 * (_cloud(correlation) + window**2)
            for axis, correlation in zip((rows, columns), self.correlation, strict=True)
        )
        return torch.exp(-exponent)

    def drawn(
        self, rate: torch.Tensor, generator: torch.Generator, power: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Gaussian noise with this correlation and, at long wavelengths, the variance ``rate``; or
        with the ``power``, over the rate, at the frequencies of ``rfft2``.
        """
        light = (rate - self.read_out).clamp(min=0)
        noise = self._filtered(normal(rate, generator), power) * light.sqrt()
        return noise + self._read(rate, generator)

    def measured(self, rate: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Electrons of a simulated measurement whose expectation is ``rate``."""
        light = (rate - self.read_out).clamp(min=0)
        counts = torch.poisson(light.cpu(), generator=generator).to(rate)
        if self.white:
            return counts
        # Few counts scatter more to one side than a Gaussian, and this passes a denoiser otherwise.
        image = rate + self._filtered(counts - light) + self._read(rate, generator)
        return image if self.read_out else image.clamp(min=0)

    def pixel_variance(self, rate: torch.Tensor) -> torch.Tensor:
        """Variance of a pixel of ``rate`` electrons."""
        share = self.pixel_share((rate.shape[-2], rate.shape[-1]))
        if not self.read_out:
            return share * rate
        return share * (rate - self.read_out).clamp(min=0) + self.read_out

    def _filtered(self, noise: torch.Tensor, power: torch.Tensor | None = None) -> torch.Tensor:
        shape = (noise.shape[-2], noise.shape[-1])
        power = self.transfer(shape, noise.device) if power is None else power
        return torch.fft.irfft2(torch.fft.rfft2(noise) * power.to(noise).sqrt(), s=shape)

    def _read(self, rate: torch.Tensor, generator: torch.Generator) -> torch.Tensor | float:
        """Noise of the read-out."""
        if not self.read_out:
            return 0.0
        return normal(rate, generator) * math.sqrt(self.read_out)

    def pixel_share(self, shape: tuple[int, int], window: float = 0.0) -> float:
        """Variance of a pixel, or of a Gaussian mean, over that at long wavelengths."""
        return mean_power(self.transfer(shape, torch.device("cpu"), window), shape)

    def pixel_gain(self, shape: Sequence[int]) -> float:
        """Variance of a pixel per intensity; 0 if it is unknown."""
        share = 1.0 if self.white else self.pixel_share((shape[-2], shape[-1]))
        return self.gain * share if math.isfinite(self.gain) else 0.0


def mean_power(power: torch.Tensor, shape: tuple[int, int]) -> float:
    """Mean over all frequencies of ``shape``, of which ``power`` holds those of ``rfft2``."""
    height, width = shape
    weight = torch.ones_like(power)
    weight[:, 1 : (width + 1) // 2] = 2  # each stands for its mirror image too
    return float((power * weight).sum() / (height * width))


def _cloud(correlation: float) -> float:
    """Variance in pixels of the Gaussian cloud with this correlation of neighbours."""
    bounded = min(max(correlation, 0.0), LARGEST)
    return -1 / (4 * math.log(bounded)) if bounded > 0 else 0.0
