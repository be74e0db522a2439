"""A small network from counts to their expectation, for one image with or without neighbours.

It sees square roots of the counts at several resolutions, relative to their surroundings, and the
number of counts in these surroundings, which is the noise level. It answers with the logarithm of a
correction to a blurred image; untouched it is a Gaussian filter.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["AROUND", "NEIGHBOURS", "WIDTHS", "CountsNetwork", "gaussian_mean"]

AROUND = (-2, -1, 1, 2)
"""Slices beside the one in question that the network may look at."""
NEIGHBOURS = len(AROUND)

STRIDE = 8
WIDTHS = (64, 96, 128)  # channels at 1/2, 1/4 and 1/8 of the resolution
SURROUNDINGS = 8.0  # pixels, width of the Gaussian that defines the local mean
BLURS = (1.0, 2.0, 4.0)
PSEUDO_COUNT = 0.375  # Anscombe's; shared out over the area of a blur
BASE = 2.0  # pixels, width of the blur that the answer corrects
DARKEST = 1e-4  # counts a pixel
LARGEST_CORRECTION = 8.0  # natural logarithm
BLOCK_START = 0.3  # of torch's default: what a block adds at first


class CountsNetwork(nn.Module):
    """Expected counts from counts.

    ``forward(counts, valid, neighbours)`` takes ``(n, height, width)`` counts with the noise
    of counts (variance = mean), a mask of the same shape, and ``(n, 4, height, width)`` counts of
    the neighbouring slices with NaN where there is none (or ``None``).

    Parameters
    ----------
    widths
        Channels at 1/2, 1/4 and 1/8 of the resolution.
    generator
        Draws the first weights. Without one they come from torch's global generator, which all
        threads share: inside a method always pass one.
    """

    def __init__(
        self,
        widths: tuple[int, int, int] = WIDTHS,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.rounded = False
        """Compute the convolutions in bfloat16; features and result stay in float32."""
        with torch.device("meta"):  # where torch's own initialisation draws no random numbers
            self._build(widths)
        self.to(torch.float32).to_empty(device="cpu")
        self._initialise(generator)

    def _build(self, widths: tuple[int, int, int]) -> None:
        features = 2 + len(BLURS) + NEIGHBOURS
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
        for parameter in self.leave.parameters():
            parameter.zero_()

    def forward(
        self,
        counts: torch.Tensor,
        valid: torch.Tensor | None = None,
        neighbours: torch.Tensor | None = None,
    ) -> torch.Tensor:
        height, width = counts.shape[-2:]
        features, base = _features(counts, valid, neighbours)
        padded = F.pad(features, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
        with torch.autocast(counts.device.type, torch.bfloat16, enabled=self.rounded):
            x = self._body(F.pixel_unshuffle(padded, 2))
        correction = F.pixel_shuffle(self.leave(x.float()), 2)[:, 0, :height, :width]
        return base * correction.clamp(-LARGEST_CORRECTION, LARGEST_CORRECTION).exp()

    def _body(self, features: torch.Tensor) -> torch.Tensor:
        x = self.enter(features.contiguous(memory_format=torch.channels_last))
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


class _Block(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(F.leaky_relu(self.first(F.leaky_relu(x, 0.1)), 0.1))


def _features(
    counts: torch.Tensor, valid: torch.Tensor | None, neighbours: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Input channels ``(n, 9, height, width)`` and the image that the answer corrects."""
    counts = counts.clamp(min=0)[:, None]
    mask = torch.ones_like(counts) if valid is None else valid[:, None].to(counts)
    counts = counts * mask
    local = gaussian_mean(counts, mask, SURROUNDINGS) + DARKEST
    blurred = {width: gaussian_mean(counts, mask, width) for width in {*BLURS, BASE}}

    def relative(image: torch.Tensor, pseudo_count: float) -> torch.Tensor:
        return ((image + pseudo_count) / (local + pseudo_count)).sqrt() - 1

    channels = [
        relative(torch.where(mask > 0, counts, blurred[BLURS[0]]), PSEUDO_COUNT),
        *(relative(blurred[width], _share(width)) for width in BLURS),
        local.log() / 4,
    ]
    if neighbours is None:
        beside = counts.new_zeros(len(counts), NEIGHBOURS, *counts.shape[-2:])
    else:
        known = (~torch.isnan(neighbours)).to(counts)
        smooth = gaussian_mean(torch.nan_to_num(neighbours).clamp(min=0), known, 1.0)
        seen = gaussian_mean(known, torch.ones_like(known), 1.0) > 0.01
        beside = torch.where(seen, relative(smooth, _share(1.0)), 0)
    base = blurred[BASE] + 0.01 * local
    return torch.cat([*channels, beside], 1), base[:, 0]


def _share(width: float) -> float:
    """The pseudo-count of a pixel that averages over ``4 π width²`` pixels."""
    return PSEUDO_COUNT / (4 * math.pi * width**2)


def gaussian_mean(images: torch.Tensor, mask: torch.Tensor, width: float) -> torch.Tensor:
    """Gaussian mean of the valid pixels, ``(n, channels, height, width)``."""
    both = torch.cat([images * mask, mask], 1)
    channels = both.shape[1]
    kernel = _kernel(width).to(both)
    radius = len(kernel) // 2
    both = F.conv2d(
        both, kernel[:, None].expand(channels, 1, -1, 1), padding=(radius, 0), groups=channels
    )
    both = F.conv2d(
        both, kernel[None, :].expand(channels, 1, 1, -1), padding=(0, radius), groups=channels
    )
    total, weight = both.chunk(2, 1)
    return total / weight.clamp(min=1e-6)


@lru_cache
def _kernel(width: float) -> torch.Tensor:
    radius = math.ceil(3 * width)
    x = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernel = torch.exp(-(x**2) / (2 * width**2))
    return kernel / kernel.sum()
