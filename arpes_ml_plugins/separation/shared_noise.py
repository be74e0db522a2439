"""How many channels apart noise is independent.

Data that were interpolated to more channels, or smoothed, have noise that neighbouring channels
share, and so do detectors whose image is blurred. Tests that find something in one half of the
channels and confirm it in the other would confirm noise.
"""

from __future__ import annotations

import torch

__all__ = ["independent_every"]

MOST, LEFT = 8, 12  # channels; and as many must be left
SHARED = 0.1  # correlation of noise that is not independent
FEWEST = 300  # differences
ENOUGH = 1_000_000  # values
ROUNDING = 1e-6  # of the mean
SIGNAL = 6.0  # times the mean of all that are less: smoothing does not bring more
STEPS = 1.0, -3.0, 3.0, -1.0  # difference without gradients


def independent_every(pixels: torch.Tensor, noise: torch.Tensor) -> int:
    """Smallest distance of channels from which on the noise of ``pixels (m, t)`` is independent.

    From differences of pixels in a row, without the directions in which these are no noise, each
    as important as another. ``noise`` is that of each channel, ``(m,)``.
    """
    scaled = pixels[:, : ENOUGH // len(pixels)] / noise[:, None]
    count = scaled.shape[1] - len(STEPS) + 1
    most = min(MOST, len(scaled) // LEFT)
    if count < FEWEST or most < 2:
        return 1
    rest = torch.stack([one * scaled[:, k : k + count] for k, one in enumerate(STEPS)]).sum(0)
    rest = rest / sum(one**2 for one in STEPS) ** 0.5
    values, vectors = torch.linalg.eigh(rest @ rest.mT / count)
    real = values > ROUNDING * values.mean()  # interpolated channels have directions of no noise
    values, vectors = values[real], vectors[:, real]
    rest = vectors @ (vectors.mT @ rest)
    means = values.cumsum(0) / torch.arange(1, len(values) + 1, device="cpu").to(values)
    signal = vectors[:, (values > SIGNAL * means).cummax(0).values]
    rest = rest - signal @ (signal.mT @ rest)
    rest = rest / rest.norm(dim=0).clamp(min=1e-30)
    shared = [float((rest[k:] * rest[:-k]).sum()) / count for k in range(1, most)]
    last = max((k for k, one in enumerate(shared, 1) if one > SHARED), default=0)
    return min(last + 2, most) if last else 1  # one further: a little is shared there, too
