"""Filter patches of an image that resemble each other together, with a clean image as the guide.

The Wiener filter of block matching (Dabov et al., IEEE Trans. Image Process. 16, 2080 (2007),
section III): small patches that are alike in the guide are stacked, and every coefficient of a
cosine transform of the stack is kept as far as the guide's own coefficient stands out of the noise.
Straight and repeated structure of one or two pixels, which a network smooths, has few coefficients
in such a stack. The guide here is the image of a network, which is much better than that of the
published first stage.
"""

from __future__ import annotations

from itertools import product

import torch
import torch.nn.functional as F

from arpes_ml_plugins.denoising.cosines import cosines
from arpes_ml_plugins.denoising.noise_model import LARGEST, NoiseModel

__all__ = ["SMALLEST", "filter_similar"]

SIZE = 8  # pixels, of a patch along each axis
STEP = SIZE // 2  # pixels between patches
OUTSIDE = 1e9  # standard deviations, of pixels outside the image: unlike all others
SEARCH = 19  # pixels: how far away similar patches are looked for, along each axis
STACK = 16  # patches that are filtered together
CAUTION = 3.0  # times the noise's variance: the guide has less noise, so more comes from it
SPARSE = 0.375  # electrons, added to the variance: single electrons are no structure (Anscombe)
WINDOW = 2.0  # of the Kaiser window, by which the middle of a patch counts more than its margins
SMALLEST = 2 * SIZE  # pixels: smaller images hold too few patches


def filter_similar(
    counts: torch.Tensor, clean: torch.Tensor, valid: torch.Tensor, noise: NoiseModel
) -> torch.Tensor:
    """Filter ``counts``, in electrons, with ``clean`` as the guide.

    Parameters
    ----------
    counts, clean, valid
        Shape ``(n, height, width)``, of at least 16 x 16 pixels. Pixels that are not valid take no
        part.
    noise
        Its correlation of neighbouring pixels gives the noise of every coefficient.

    Examples
    --------
    >>> rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    >>> line = 30 * torch.exp(-(((columns - rows / 2 - 10) / 0.9) ** 2) / 2)[None] + 1
    >>> counts = torch.poisson(line, generator=torch.Generator().manual_seed(0))
    >>> blurred = torch.nn.functional.avg_pool2d(counts, 3, 1, 1)
    >>> everywhere = torch.ones_like(line, dtype=torch.bool)
    >>> sharp = filter_similar(counts, blurred, everywhere, NoiseModel(1.0))
    >>> bool((sharp - line).square().mean() < (blurred - line).square().mean() / 2)
    True
    """
    power = _noise_power(noise).to(clean)
    images = zip(counts.to(clean), clean, valid, strict=True)
    return torch.stack([_filtered(*image, power) for image in images])


def _filtered(
    counts: torch.Tensor, clean: torch.Tensor, valid: torch.Tensor, power: torch.Tensor
) -> torch.Tensor:
    """One image. Values are in standard deviations, on a scale on which these are the same."""
    clean = clean.clamp(min=0)
    standard = (clean + SPARSE).sqrt()
    residual = torch.where(valid, (counts - clean) / standard, 0)
    height, width = clean.shape
    margins = (0, (SIZE - width) % STEP, 0, (SIZE - height) % STEP)
    guide = F.pad(2 * standard[None], margins, mode="replicate")[0]
    residual = F.pad(residual, margins)
    pixels = _pixels(*_similar(guide), guide.shape[1])
    changed = _shrunk(guide.flatten()[pixels], residual.flatten()[pixels], power)
    change = _averaged(*changed, pixels, guide.numel()).reshape(guide.shape)
    return (clean + standard * change[:height, :width]).clamp(min=0)


def _similar(guide: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """First rows and columns of the patches that resemble each one most, ``(patches, stack)``."""
    down, right = (min(SEARCH, size - SIZE) for size in guide.shape)  # further lies no patch
    side = 2 * right + 1
    distances = _distances(guide, down, right)
    distances[side * down + right] = -1  # the patch itself, where many are equal
    nearest = distances.topk(STACK, dim=0, largest=False).indices  # the most similar first
    rows, columns = (torch.arange(size, device=guide.device) * STEP for size in nearest.shape[1:])
    first_rows = rows[:, None] + nearest.div(side, rounding_mode="floor") - down
    first_columns = columns + nearest % side - right
    return first_rows.flatten(1).T, first_columns.flatten(1).T


def _distances(guide: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """Squared distance of each patch from those up to ``down`` and ``right`` pixels around it,
    ``(offsets, rows, columns)``.
    """
    height, width = guide.shape
    around = F.pad(guide, (right, right, down, down), value=OUTSIDE)
    starts = torch.arange(0, width - SIZE + 1, STEP, device=guide.device)
    column = torch.arange(width, device=guide.device)[:, None]
    patches = ((column >= starts) & (column < starts + SIZE)).to(guide)
    distances = []
    for row, start in product(range(2 * down + 1), range(2 * right + 1)):  # each fits the cache
        shifted = around[row : row + height, start : start + width]
        strips = (guide - shifted).square_().view(-1, STEP, width).sum(1)
        distances.append((strips[:-1] + strips[1:]) @ patches)
    return torch.stack(distances)


def _pixels(rows: torch.Tensor, columns: torch.Tensor, width: int) -> torch.Tensor:
    """Indices of the pixels of the patches in the image, ``(patches, stack, size, size)``."""
    inside = torch.arange(SIZE, device=rows.device)
    return (rows[..., None, None] + inside[:, None]) * width + columns[..., None, None] + inside


def _shrunk(
    guide: torch.Tensor, residual: torch.Tensor, power: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the filter changes in stacks of patches of the guide, and the weight of each stack."""
    along, across = (cosines(size).to(guide) for size in (SIZE, STACK))

    def transformed(stack: torch.Tensor) -> torch.Tensor:
        return torch.einsum("hg,ngij->nhij", across, along @ stack @ along.T)

    signal = transformed(guide)
    kept = signal.square() / (signal.square() + CAUTION * power)
    change = kept * (signal + transformed(residual)) - signal
    noise_left = (kept.square() * power).sum((1, 2, 3))
    stacks = torch.einsum("hg,nhij->ngij", across, change)
    return along.T @ stacks @ along, 1 / noise_left.clamp(min=float(power.amin()))


def _averaged(
    patches: torch.Tensor, weights: torch.Tensor, pixels: torch.Tensor, size: int
) -> torch.Tensor:
    """Mean of overlapping patches at every pixel of an image of ``size`` pixels."""
    window = torch.kaiser_window(
        SIZE, periodic=False, beta=WINDOW, dtype=patches.dtype, device=patches.device
    )
    weight = (weights[:, None, None, None] * window[:, None] * window).expand_as(patches)
    total, norm = patches.new_zeros((2, size))
    total.index_add_(0, pixels.flatten(), (weight * patches).flatten())
    norm.index_add_(0, pixels.flatten(), weight.flatten())
    return total / norm


def _noise_power(noise: NoiseModel) -> torch.Tensor:
    """Variance of the noise's coefficients in a patch, over that at long wavelengths."""
    rows, columns = (_axis_power(correlation) for correlation in noise.correlation)
    return rows[:, None] * columns


def _axis_power(correlation: float) -> torch.Tensor:
    pixels = torch.arange(SIZE, dtype=torch.float64, device="cpu")
    lags = torch.arange(-8 * SIZE, 8 * SIZE + 1, dtype=torch.float64, device="cpu")
    rho = torch.tensor(min(max(correlation, 0.0), LARGEST), dtype=torch.float64, device="cpu")
    covariance = rho ** (pixels[:, None] - pixels).square() / (rho ** lags.square()).sum()
    return (cosines(SIZE) @ covariance @ cosines(SIZE).T).diagonal()
