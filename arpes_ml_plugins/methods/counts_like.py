"""Images whose noise is that of counts of one gain, made of the data, and results made data again.

The choices for a large data set, made on a sample, and the results need the same steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from arpes_ml_plugins.labelled.apply import ImageBatch
from arpes_ml_plugins.methods.noise_words import COARSE
from arpes_ml_plugins.methods.scales_run import scales_of

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.denoising.cut_off import CutOff
    from arpes_ml_plugins.denoising.line_factors import LineFactors
    from arpes_ml_plugins.denoising.line_offsets import LineOffsets
    from arpes_ml_plugins.denoising.noise_model import NoiseModel

__all__ = ["CountsLike", "counts_like"]


@dataclass(frozen=True)
class CountsLike:
    """Images for the network, and how they were made of the sums of ``exposures``."""

    images: torch.Tensor
    noise: NoiseModel
    exposures: int
    pedestal: torch.Tensor | None
    """What was added because the noise does not follow the intensity."""
    scales: torch.Tensor | None
    """What each image or line was divided by, because it has a gain of its own."""
    lines: LineFactors | None
    """Brightness of the lines of pixels under a beam that fluctuates."""
    offsets: LineOffsets | None
    """Constants of the lines of pixels, in the unit of the data, that were subtracted first."""
    cut_off: CutOff | None = None
    """What is known of data of which low values were cut off."""
    rounded: float = 0.0
    """Step to whose multiples the data were rounded, if it is coarser than the noise of dark
    places."""

    @property
    def split(self) -> bool:
        """Whether they may be split as counts: those above a pedestal only nearly have the noise of
        counts.
        """
        return self.pedestal is None

    @property
    def brightness(self) -> torch.Tensor | None:
        """Counts of each image of one and the same scene, relative to the others."""
        return None if self.scales is None else (1 / self.scales).float()

    def only(self, own: torch.Tensor | None) -> CountsLike:
        """That of some of the images."""
        if own is None:
            return self
        pedestal, scales = (None if x is None else x[own] for x in (self.pedestal, self.scales))
        lines = None if self.lines is None else self.lines.chosen(own)
        offsets = None if self.offsets is None else self.offsets.chosen(own)
        return replace(
            self,
            images=self.images[own],
            pedestal=pedestal,
            scales=scales,
            lines=lines,
            offsets=offsets,
        )

    def parts(self, exposures: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
        """The ``exposures (n, repeats, height, width)``, of this ``total``, as parts of these
        images.
        """
        return exposures + ((self.images - total) / exposures.shape[1])[:, None]

    def as_data(self, values: torch.Tensor) -> torch.Tensor:
        """Means of the exposures, in the unit of the data, of such images."""
        if self.lines is not None:
            values = self.noise.multiplied(values, self.lines.values)
        values = self._in_units(values if self.pedestal is None else values - self.pedestal)
        return values if self.offsets is None else values + self.offsets.values

    def as_samples(self, samples: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """The same for samples ``(draws, n, height, width)``, in which what was subtracted and the
        brightness of lines vary as well.
        """
        if self.lines is not None:
            factors = 1 + self.lines.drawn(len(samples), generator).to(samples)
            samples = self.noise.multiplied(samples, factors)
        values = self.as_data(samples)
        if self.rounded:
            from arpes_ml_plugins.denoising.streams import normal

            signs = normal(values, generator, (len(values), 1, 1, 1))
            values = values + signs * self._rounding(values)
        if self.offsets is None:
            return values
        return values + self.offsets.drawn(len(values), generator).to(values)

    def spread_of_data(self, spread: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """The standard deviation of data, from that of such ``images``."""
        if self.lines is not None:
            spread = self.lines.spread(spread, images + self.noise.shift) * self.lines.values
        spread = self._in_units(spread)
        if self.rounded:
            spread = (spread.square() + self._rounding(self.as_data(images)).square()).sqrt()
        return spread if self.offsets is None else self.offsets.spread(spread)

    def lowest(self, shift: float) -> torch.Tensor | float:
        """The least that data with this shift can be expected to be."""
        if self.pedestal is not None or self.offsets is not None:
            return -math.inf
        return -max(shift, 0.0) * (1.0 if self.scales is None else self.scales)

    def restored(self, means: torch.Tensor) -> torch.Tensor:
        """Means of the data before low values were cut off, if they were."""
        return means if self.cut_off is None else self.cut_off.restored(means)

    def _rounding(self, values: torch.Tensor) -> torch.Tensor:
        """Error of data with these means, because they were rounded."""
        from arpes_ml_plugins.denoising.rounding import rounding_error

        share = self.noise.pixel_gain(values.shape) / self.noise.gain
        return rounding_error(share * self.noise.variance(values), self.rounded)

    def _in_units(self, values: torch.Tensor) -> torch.Tensor:
        return values / self.exposures if self.scales is None else values * self.scales


def counts_like(
    batch: ImageBatch,
    images: torch.Tensor,
    valid: torch.Tensor,
    gain: float | None,
    exposures: int = 1,
) -> CountsLike:
    """Make such images of sums of exposures, as the numbers of the ``batch`` say.

    A ``gain`` that was given stands for all images and lines.
    """
    numbers = batch.numbers
    noise = _noise_model(numbers, gain, exposures)
    pedestal = scales = lines = None
    offsets = _offsets(numbers, images / exposures, valid)
    images = images if offsets is None else images - offsets.values * exposures
    if gain is None and numbers["local"]:
        pedestal = _pedestal(images, valid, noise)
        # Below it lies noise of places that are darker than their surroundings, and no read-out.
        images = images if pedestal is None else (images + pedestal).clamp(min=0)
    elif exposures == 1:
        scales = scales_of(batch, numbers) if gain is None else None
        images = images if scales is None else images / scales
        lines = _lines(numbers, images, valid, noise)
        images = images if lines is None else noise.divided(images, lines.values)
    cut_off = _cut_off(numbers, images, noise)
    alike = exposures == 1 and pedestal is None and scales is None and cut_off is None
    coarse = gain is None and numbers["rounded"] > COARSE * noise.pixel_gain(images.shape)
    rounded = numbers["rounded"] if alike and coarse else 0.0
    return CountsLike(images, noise, exposures, pedestal, scales, lines, offsets, cut_off, rounded)


def _cut_off(
    numbers: Mapping[str, float], images: torch.Tensor, noise: NoiseModel
) -> CutOff | None:
    from arpes_ml_plugins.denoising.cut_off import CutOff

    if not numbers["cut_off_noise"] > 0:
        return None
    level, before = (images.new_tensor(numbers[name]) for name in ("cut_off", "cut_off_noise"))
    return CutOff(level, before, noise.pixel_gain(images.shape))


def _offsets(
    numbers: Mapping[str, float], images: torch.Tensor, valid: torch.Tensor
) -> LineOffsets | None:
    """Constants of the lines of pixels, if each has its own."""
    from arpes_ml_plugins.denoising.line_offsets import line_offsets

    rows, columns = (numbers[f"{axis}_baseline"] > 0 for axis in ("row", "column"))
    return line_offsets(images, valid, rows=rows, columns=columns)


def _pedestal(images: torch.Tensor, valid: torch.Tensor, noise: NoiseModel) -> torch.Tensor | None:
    from arpes_ml_plugins.denoising.noise_map import pedestal

    return pedestal(images, valid, noise)


def _lines(
    numbers: Mapping[str, float], images: torch.Tensor, valid: torch.Tensor, noise: NoiseModel
) -> LineFactors | None:
    """Brightness of the lines of pixels, if a beam fluctuates from one to the next."""
    from arpes_ml_plugins.denoising.line_factors import line_factors

    rows, columns = (numbers[f"{axis}_jitter"] > 0 for axis in ("row", "column"))
    if not (rows or columns):
        return None
    return line_factors(images + noise.shift, valid, rows=rows, columns=columns)


def _noise_model(numbers: Mapping[str, float], gain: float | None, exposures: int) -> NoiseModel:
    """Model of the noise of a sum of exposures."""
    from arpes_ml_plugins.denoising.noise_model import NoiseModel

    return NoiseModel(
        gain=gain or numbers["gain"],
        shift=0.0 if gain else numbers["shift"] * exposures,
        row_correlation=numbers["rows"],
        column_correlation=numbers["columns"],
        pedestal=0.0 if gain else numbers["pedestal"] * exposures,
        curvature=0.0 if gain else numbers["curvature"],
    )
