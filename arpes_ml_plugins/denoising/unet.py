"""The encoder-decoder network of the two-stage denoiser (paper's supplement, Table I).

One module holds ``n_images`` independent networks as groups of one grouped convolution, so that
several slices are trained in one call without sharing a single weight.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from arpes_ml_plugins.optim.unfilled import allocate

__all__ = ["STRIDE", "SpectrumUNet", "pad_to_stride"]

ENCODER_WIDTHS = (128, 128, 128, 128)
DECODER_WIDTHS = (128, 128, 64, 32)
LEAK = 0.2
STRIDE = 2 ** len(ENCODER_WIDTHS)
"""Both image sides must be a multiple of this: four convolutions of stride 2."""


class SpectrumUNet(nn.Module):
    """Table I: four strided convolutions down, four bilinear steps up, no skip connections.

    The table lists three upsamplings for four halvings; a fourth one before the 1 x 1 convolution
    restores the size of the image.

    Parameters
    ----------
    n_images
        How many independent networks to hold; image ``i`` is only ever seen by network ``i``.
    seeds
        One seed per image: the weights of network ``i`` depend on ``seeds[i]`` alone, not on which
        other images share the call.
    """

    def __init__(self, n_images: int = 1, *, seeds: list[int]) -> None:
        super().__init__()
        self.n_images = n_images
        self.encoder = nn.ModuleList()
        self.decoder = nn.ModuleList()
        with torch.device("meta"):  # where torch's own initialisation draws no random numbers
            channels = 1
            for width in ENCODER_WIDTHS:
                self.encoder.append(_ConvNormAct(channels, width, n_images, stride=2))
                channels = width
            for width in DECODER_WIDTHS:
                self.decoder.append(_ConvNormAct(channels, width, n_images, stride=1))
                channels = width
            self.head = nn.Conv2d(channels * n_images, n_images, 1, groups=n_images)
        allocate(self.to(torch.float32))
        self._initialise(seeds)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Map ``(1, n_images, height, width)`` to the same shape, values in (0, 1)."""
        for block in self.encoder:
            image = block(image)
        for level, block in enumerate(self.decoder):
            image = block(image if level == 0 else _double(image))
        # Eight bits of mantissa are too few for intensities: the last layer is always float32.
        with torch.autocast(image.device.type, enabled=False):
            return torch.sigmoid(self.head(_double(image.float())))

    def _initialise(self, seeds: list[int]) -> None:
        """Draw every network's weights from its own generator (torch's default distribution)."""
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.reset_parameters()
                elif isinstance(module, nn.Conv2d):
                    bound = 1 / math.sqrt(module.weight[0].numel())
                    for parameter in module.parameters():
                        parts = parameter.chunk(self.n_images)
                        for part, generator in zip(parts, generators, strict=True):
                            part.copy_(
                                torch.rand(
                                    part.shape, generator=generator, dtype=part.dtype, device="cpu"
                                )
                            )
                        parameter.mul_(2 * bound).sub_(bound)


class _ConvNormAct(nn.Module):
    """3 x 3 convolution, batch norm over the image itself, leaky ReLU; one group per image."""

    def __init__(self, inputs: int, outputs: int, n_images: int, *, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            inputs * n_images, outputs * n_images, 3, stride=stride, padding=1, groups=n_images
        )
        # Statistics always come from the image being fitted: there is no other image to serve.
        self.norm = nn.BatchNorm2d(outputs * n_images, track_running_stats=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return F.leaky_relu(self.norm(self.conv(image)), LEAK)


def _double(image: torch.Tensor) -> torch.Tensor:
    """Twice the rows and columns, bilinear: torch's own adds its gradients in any order on GPUs.

    Each new value lies a quarter of the way from an old one to one beside it.
    """
    for axis in (2, 3):
        size = image.shape[axis]
        ends = image.narrow(axis, 0, 1), image, image.narrow(axis, size - 1, 1)
        beside = torch.cat(ends, axis)
        halves = [torch.lerp(image, beside.narrow(axis, start, size), 0.25) for start in (0, 2)]
        image = torch.stack(halves, axis + 1).flatten(axis, axis + 1)
    return image


def pad_to_stride(images: torch.Tensor) -> torch.Tensor:
    """Mirror ``(..., height, width)`` beyond its far edges to multiples of :data:`STRIDE`.

    Each side becomes two strides at least, so that batch norm always sees more than one value.
    """
    for axis in (-2, -1):
        size = images.shape[axis]
        padded = max(size + -size % STRIDE, 2 * STRIDE)
        period = 2 * (size - 1)
        position = torch.arange(padded, device=images.device) % period
        images = images.index_select(axis, torch.minimum(position, period - position))
    return images
