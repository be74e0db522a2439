"""A small network from counts to their expectation, for one image with or without neighbours.

It sees square roots of the counts at several resolutions, relative to their surroundings, and the
number of counts in these surroundings, which is the noise level. It answers with the logarithm of a
correction to a blurred image; untouched it is a Gaussian filter. A second, smaller part then sees
the residual of that answer in units of its noise, and how strongly the noise of neighbouring pixels
is correlated, and corrects the answer once more: what is sharp and what is weak is decided there.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from arpes_ml_plugins.denoising.gaussian_means import gaussian_mean
from arpes_ml_plugins.denoising.memory_order import order_to_train
from arpes_ml_plugins.optim.unfilled import allocate

__all__ = ["BESIDE", "NEAR", "REACH", "WIDTHS", "CountsNetwork"]

BESIDE = ((-8, -5), (-4, -3), (-2, -2), (-1, -1), (1, 1), (2, 2), (3, 4), (5, 8))
"""First and last of the neighbouring slices whose mean the network sees in one channel."""
REACH = max(last for _, last in BESIDE)
"""Slices on either side of the one in question that the network may look at."""
NEAR = 2
"""The same where those farther away say nothing of it."""

STRIDE = 8
WIDTHS = (64, 96, 128)  # channels at 1/2, 1/4 and 1/8 of the resolution
SURROUNDINGS = 8.0  # pixels, width of the Gaussian that defines the local mean
BLURS = (1.0, 2.0, 4.0)
PSEUDO_COUNT = 0.375  # Anscombe's; shared out over the area of a blur
BASE = 2.0  # pixels, width of the blur that the answer corrects
DARKEST = 1e-4  # counts per pixel
RESIDUAL_BLURS = (0.7, 1.5, 3.0)  # pixels, over which the residual is averaged
RESIDUAL_LIMIT = 8.0  # standard deviations
PASSES = 2  # of the second part, with the same weights
REFINED = (64, 96)  # channels of the second part at 1/2 and 1/4 of the resolution
LARGEST_CORRECTION = 8.0  # natural logarithm
STRIP = 4 * 2**20  # bytes of one layer, worked on at a time without gradients
LEAST_ROWS = 16
MARGIN = 2  # rows that a block sees on either side
BLOCK_START = 0.3  # of torch's default: what a block adds at first


class CountsNetwork(nn.Module):
    """Expected counts from counts.

    ``forward(counts, valid, neighbours, correlation)`` takes ``(n, height, width)`` counts with the
    noise of counts (variance = mean at long wavelengths), a mask of the same shape,
    ``(n, 8, height, width)`` mean counts of the groups ``BESIDE`` of neighbouring slices with NaN
    where there are none (or ``None``), and the correlation of the noise of neighbouring pixels,
    ``(n, 2)``.

    Parameters
    ----------
    widths
        Channels at 1/2, 1/4 and 1/8 of the resolution.
    refined
        With the second part, or without.
    generator
        Draws the first weights. Without one they come from torch's global generator, which all
        threads share: inside a method always pass one.
    """

    def __init__(
        self,
        widths: tuple[int, int, int] = WIDTHS,
        *,
        refined: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.correlation = (0.0, 0.0)
        """Correlation of the noise of neighbours along both axes, if ``forward`` gets none."""
        self.rounded = False
        """Compute the convolutions in bfloat16; features and result stay in float32."""
        with torch.device("meta"):  # where torch's own initialisation draws no random numbers
            self._build(widths, refined)
        allocate(self.to(torch.float32))
        self._initialise(generator)

    def _build(self, widths: tuple[int, int, int], refined: bool) -> None:
        features = 2 + len(BLURS) + len(BESIDE)
        first, second, third = widths
        self.enter = nn.Conv2d(4 * features, first, 3, padding=1)
        self.down = nn.ModuleList(
            [nn.Conv2d(first, second, 2, stride=2), nn.Conv2d(second, third, 2, stride=2)]
        )
        self.up = nn.ModuleList([nn.Conv2d(second, first, 1), nn.Conv2d(third, second, 1)])
        self.before = nn.ModuleList([_Block(first), _Block(second)])
        self.bottom = nn.Sequential(_Block(third), _Block(third))
        self.after = nn.ModuleList(
            [nn.Sequential(_Block(first), _Block(first)), nn.Sequential(_Block(second))]
        )
        self.leave = nn.Conv2d(first, 4, 1)
        self.refine = _Refinement(first) if refined else None

    @torch.no_grad()
    def _initialise(self, generator: torch.Generator | None) -> None:
        """Torch's default distribution; each block begins near, the last layer at, the identity."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                bound = 1 / math.sqrt(module.weight[0].numel())
                for parameter in module.parameters():
                    parameter.uniform_(-bound, bound, generator=generator)
        for module in self.modules():
            if isinstance(module, _Block):
                module.second.weight.mul_(BLOCK_START)
        for last in (self.leave, *([self.refine.leave] if self.refine else [])):
            for parameter in last.parameters():
                parameter.zero_()

    def forward(
        self,
        counts: torch.Tensor,
        valid: torch.Tensor | None = None,
        neighbours: torch.Tensor | None = None,
        correlation: torch.Tensor | None = None,
    ) -> torch.Tensor:
        height, width = counts.shape[-2:]
        features, base = _features(counts, valid, neighbours)
        with torch.autocast(counts.device.type, torch.bfloat16, enabled=self.rounded):
            x = self._body(F.pixel_unshuffle(_padded(features), 2))
        correction = _full_size(self.leave(x.float()), height, width)
        first = base * correction.exp()
        if self.refine is None:
            return first
        if correlation is None:
            correlation = counts.new_tensor(self.correlation).expand(len(counts), 2)
        rate = first
        for _ in range(PASSES):
            residual = _residual_features(counts, valid, rate, correlation)
            with torch.autocast(counts.device.type, torch.bfloat16, enabled=self.rounded):
                y = self.refine(F.pixel_unshuffle(_padded(residual), 2), x)
            rate = rate * _full_size(self.refine.leave(y.float()), height, width).exp()
        return rate

    def arranged(self, device: torch.device, *, to_train: bool) -> None:
        """Move the network to ``device``, its weights in the order in memory that is faster there.

        Predictions are faster with channels last.
        """
        order = order_to_train(device, self.rounded) if to_train else torch.channels_last
        self.to(device, torch.float32, memory_format=order)  # type: ignore[call-overload]

    def _body(self, features: torch.Tensor) -> torch.Tensor:
        x = _entered(self.enter, features)
        skips = []
        for block, down in zip(self.before, self.down, strict=True):
            x = block(x)
            skips.append(x)
            x = down(x)
        x = self.bottom(x)
        for block, up, skip in zip(
            reversed(self.after), reversed(self.up), reversed(skips), strict=True
        ):
            x = block(F.interpolate(up(x), scale_factor=2, mode="nearest") + skip)
        return x


class _Refinement(nn.Module):
    """The second part: from the residual of the first answer to a correction of it."""

    def __init__(self, body: int) -> None:
        super().__init__()
        first, second = REFINED
        self.enter = nn.Conv2d(4 * RESIDUAL_FEATURES + body, first, 3, padding=1)
        self.before = _Block(first)
        self.down = nn.Conv2d(first, second, 2, stride=2)
        self.bottom = nn.Sequential(_Block(second), _Block(second))
        self.up = nn.Conv2d(second, first, 1)
        self.after = nn.Sequential(_Block(first), _Block(first))
        self.leave = nn.Conv2d(first, 4, 1)

    def forward(self, residual: torch.Tensor, body: torch.Tensor) -> torch.Tensor:
        together = torch.cat([residual.to(body.dtype), body], 1)
        x = self.before(_entered(self.enter, together))
        deep = self.up(self.bottom(self.down(x)))
        return self.after(F.interpolate(deep, scale_factor=2, mode="nearest") + x)


class _Block(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """In strips where no gradient is needed: what large images take then stays in the cache."""
        rows = max(LEAST_ROWS, STRIP // (x.shape[1] * x.shape[-1] * x.element_size()))
        if torch.is_grad_enabled() or x.device.type != "cpu" or rows >= x.shape[-2]:
            return self._whole(x)
        strips = []
        for start in range(0, x.shape[-2], rows):
            first = max(start - MARGIN, 0)
            strip = self._whole(x[..., first : start + rows + MARGIN, :])
            strips.append(strip[..., start - first :, :][..., :rows, :])
        return torch.cat(strips, -2)

    def _whole(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(F.leaky_relu(self.first(F.leaky_relu(x, 0.1)), 0.1))


def _entered(layer: nn.Conv2d, features: torch.Tensor) -> torch.Tensor:
    """Output of the first layer, and so of all others, in the order in memory of its weights."""
    last = layer.weight.is_contiguous(memory_format=torch.channels_last)
    order = torch.channels_last if last else torch.contiguous_format
    return layer(features.contiguous(memory_format=order))


def _features(
    counts: torch.Tensor, valid: torch.Tensor | None, neighbours: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Input channels ``(n, 13, height, width)`` and the image that the answer corrects."""
    counts = counts.clamp(min=0)[:, None]
    mask = torch.ones_like(counts) if valid is None else valid[:, None].to(counts)
    counts = counts * mask
    local = gaussian_mean(counts, mask, SURROUNDINGS) + DARKEST
    blurred = {width: gaussian_mean(counts, mask, width) for width in {*BLURS, BASE}}

    def relative(image: torch.Tensor, pseudo_count: float | torch.Tensor) -> torch.Tensor:
        return ((image + pseudo_count) / (local + pseudo_count)).sqrt() - 1

    channels = [
        relative(torch.where(mask > 0, counts, blurred[BLURS[0]]), PSEUDO_COUNT),
        *(relative(blurred[width], _share(width)) for width in BLURS),
        local.log() / 4,
    ]
    if neighbours is None:
        beside = counts.new_zeros(len(counts), len(BESIDE), *counts.shape[-2:])
    else:
        known = (~torch.isnan(neighbours)).to(counts)
        smooth = gaussian_mean(torch.nan_to_num(neighbours).clamp(min=0), known, 1.0)
        seen = gaussian_mean(known, torch.ones_like(known), 1.0) > 0.01
        slices = counts.new_tensor([last - first + 1 for first, last in BESIDE])[:, None, None]
        beside = torch.where(seen, relative(smooth, _share(1.0) / slices), 0)
    base = blurred[BASE] + 0.01 * local
    return torch.cat([*channels, beside], 1), base[:, 0]


RESIDUAL_FEATURES = 2 + len(RESIDUAL_BLURS) + 2


def _residual_features(
    counts: torch.Tensor,
    valid: torch.Tensor | None,
    rate: torch.Tensor,
    correlation: torch.Tensor,
) -> torch.Tensor:
    """Residual over its standard deviation, at several resolutions, and what the noise is like."""
    rate, counts = rate[:, None], counts.clamp(min=0)[:, None]
    mask = torch.ones_like(counts) if valid is None else valid[:, None].to(counts)
    residual = (counts - rate) * mask
    limit = RESIDUAL_LIMIT

    def scaled(difference: torch.Tensor, expected: torch.Tensor, share: float) -> torch.Tensor:
        return (difference / (expected * share + DARKEST).sqrt()).clamp(-limit, limit)

    channels = [scaled(residual, rate, 1.0) / 2, rate.clamp(min=DARKEST).log() / 4]
    for width in RESIDUAL_BLURS:
        average = gaussian_mean(torch.cat([residual, rate], 1), mask, width)
        difference, expected = average.split(1, 1)
        channels.append(scaled(difference, expected, 1 / (4 * math.pi * width**2)) / 2)
    constant = correlation.to(counts)[:, :, None, None].expand(-1, -1, *counts.shape[-2:])
    return torch.cat([*channels, constant], 1)


def _padded(features: torch.Tensor) -> torch.Tensor:
    height, width = features.shape[-2:]
    return F.pad(features, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")


def _full_size(quarters: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """A correction at the resolution of the image, bounded."""
    whole = F.pixel_shuffle(quarters, 2)[:, 0, :height, :width]
    return whole.clamp(-LARGEST_CORRECTION, LARGEST_CORRECTION)


def _share(width: float) -> float:
    """The pseudo-count of a pixel that averages over ``4 π width²`` pixels."""
    return PSEUDO_COUNT / (4 * math.pi * width**2)
