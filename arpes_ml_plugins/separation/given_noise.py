"""Known noise of every value, as a product of one number per channel and one per pixel.

Data over a number per pixel are mixtures of the same spectra with other maps, and over one per
channel of other spectra. So the methods find spectra in data whose noise is as even as such a
product can make it; maps, errors and chi^2 then use the noise of each value.
"""

from __future__ import annotations

import torch

__all__ = ["noise_of_channels_and_pixels"]

ROUNDS = 5
FLAT = 0.05  # of the typical pixel: pixels of less noise have no more weight


def noise_of_channels_and_pixels(
    deviation: torch.Tensor, valid: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Factors ``(m,)`` and ``(*space)`` of standard deviations ``(m, *space)``.

    Divided by both, the mean variance of every channel and pixel is 1. Pixels have a typical
    factor of 1, and those without ``valid`` values exactly that.

    Examples
    --------
    >>> channels, pixels = torch.tensor([1.0, 2.0]), torch.tensor([0.5, 1.0, 3.0])
    >>> deviation = channels[:, None] * pixels
    >>> noise_of_channels_and_pixels(deviation, torch.ones(2, 3, dtype=torch.bool))
    (tensor([1., 2.]), tensor([0.5000, 1.0000, 3.0000]))
    """
    variance = torch.where(valid, deviation.square(), 0.0).flatten(1)
    known = valid.flatten(1).to(variance)
    of_channels, of_pixels = known.sum(1).clamp(min=1), known.sum(0).clamp(min=1)
    some = known.any(0)
    pixels = torch.ones_like(of_pixels)
    for _ in range(ROUNDS):
        channels = (variance / pixels).sum(1) / of_channels
        channels = torch.where(channels > 0, channels, 1.0)
        pixels = (variance / channels[:, None]).sum(0) / of_pixels
        typical = pixels[some].median() if bool(some.any()) else pixels.new_ones(())
        pixels = torch.where(some, (pixels / typical).clamp(min=FLAT**2), 1.0)
    channels = (variance / pixels).sum(1) / of_channels
    channels = torch.where(channels > 0, channels, 1.0)
    return channels.sqrt(), pixels.sqrt().reshape(deviation.shape[1:])
