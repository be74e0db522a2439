"""Variance of the noise against brightness, with the structure of the scene predicted away.

Each pixel is predicted from the two rows beside it of every second row (or column), with weights
that follow the local direction of bands: sharp lines, edges and doublets that are locally straight
leave nothing but noise, whose variance is known from the weights. The weights, the places where the
prediction fails, and the classes of brightness all come from the rows between, whose noise is
independent. The squares are therefore unbiased, at any number of counts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import torch
import torch.nn.functional as F

from arpes_ml_plugins.denoising.gaussian_means import gaussian_mean
from arpes_ml_plugins.denoising.neighbourhoods import sum_around

__all__ = ["Cloud", "Levels", "Residuals", "noise_levels", "residuals"]

GAP, WIDE_GAP, WIDEST_GAP = 2, 4, 6  # rows between a pixel and those that predict it
CORRELATED, WIDELY = 0.05, 0.45  # correlation of neighbours that needs the wider gaps
CELL = 4  # pixels; the weights are means over 3 x 3 cells
RIDGE = 0.02  # of the mean square, towards equal weights
EDGES = (0, 0.03, 0.08, 0.15, 0.3, 0.5, 0.7, 0.85, 0.93, 0.97, 0.99, 1)  # of the classes
KEPT = 0.5  # of each class, where the prediction fails least
FEWEST = 40  # pixels of a class
FEWEST_CLASSES = 3
ELECTRONS = 100.0  # fewest electrons of a class behind clouds
GAPS, NEAR = 1.0, 0.2  # pixels, and weight of the neighbours that fill a gap
HOT = 100.0  # times the expected square
MOST = 60_000  # pixels; more only take time


@dataclass(frozen=True)
class Levels:
    """Noise in classes of brightness, each ``(classes,)``."""

    mean: torch.Tensor
    variance: torch.Tensor
    """Of a pixel."""
    third: torch.Tensor
    """Third central moment of a pixel; of white noise only."""
    number: torch.Tensor
    """Pixels of each class."""
    mean_error: torch.Tensor
    """Standard errors, squared: of ``mean``, ``variance`` and ``third``."""
    variance_error: torch.Tensor
    third_error: torch.Tensor
    common_error: torch.Tensor
    """Covariance of ``mean`` and ``variance``: a pixel with one electron more raises both."""


@dataclass(frozen=True)
class Cloud:
    """What an electron leaves in an image."""

    area: float
    """Pixels over which noise is the same, in effect."""
    electron: torch.Tensor
    """Its sum over all pixels; 0 if dark classes show noise of the read-out."""


@dataclass(frozen=True)
class Residuals:
    """Of every pixel, ``(n, height, width)``."""

    used: torch.Tensor
    value: torch.Tensor
    """Pixel less its prediction."""
    factor: torch.Tensor
    """Variance of this residual over that of a pixel."""
    third_factor: torch.Tensor
    level: torch.Tensor
    """Intensity that its variance belongs to."""
    elsewhere: torch.Tensor
    """Mean variance in the rows between."""
    guide: torch.Tensor
    """Brightness in the rows between."""

    def chosen(self, other: Residuals) -> Residuals:
        """Of two predictions the one that fails less, as the rows between show."""
        here = self.used & (~other.used | (self.elsewhere <= other.elsewhere))
        names = ("value", "factor", "third_factor", "level", "elsewhere", "guide")
        merged = {k: torch.where(here, getattr(self, k), getattr(other, k)) for k in names}
        return Residuals(used=self.used | other.used, **merged)

    def mirrored(self) -> Residuals:
        return Residuals(**{name: value.mT for name, value in vars(self).items()})


def residuals(
    images: torch.Tensor, valid: torch.Tensor, correlation: tuple[float, float] = (0.0, 0.0)
) -> Residuals | None:
    """Predict the pixels of a stack; ``images`` and ``valid`` have shape ``(n, height, width)``.

    ``correlation`` is that of the noise of neighbours along rows and columns: pixels are then
    predicted from farther away. None if the images are too small.
    """
    many = max(1, images.numel() // MOST)
    images, valid = torch.where(valid, images, 0)[::many], valid[::many]
    gap = GAP
    if max(correlation) > CORRELATED:
        gap = WIDEST_GAP if max(correlation) > WIDELY else WIDE_GAP
    if min(images.shape[-2:]) < 4 * gap:
        return None
    rows, columns = (max(value, 0.0) for value in correlation)
    filled, known = _filled(images, valid)
    along = _along_rows(filled, known, gap, (rows, columns))
    across = _along_rows(filled.mT, known.mT, gap, (columns, rows)).mirrored()
    both = along.chosen(across)
    return replace(both, used=both.used & valid)


def _filled(images: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Fill scattered gaps by their neighbours, or they would leave few pixels with a prediction."""
    if valid.all():
        return images, valid
    mask = valid[:, None].to(images)
    near = gaussian_mean(mask, torch.ones_like(mask), GAPS)[:, 0]
    means = gaussian_mean(images[:, None], mask, GAPS)[:, 0]
    known = valid | (near > NEAR)
    return torch.where(valid, images, torch.where(known, means, 0)), known


@dataclass(frozen=True)
class _Rows:
    """Every ``gap``-th row, and how each is predicted from the two beside it."""

    centre: torch.Tensor  # (n, rows, width)
    taps: torch.Tensor  # (n, taps, rows, width): means of pairs on either side
    valid: torch.Tensor  # (n, rows, width), 0 or 1
    used: torch.Tensor  # (n, rows, width)
    weights: torch.Tensor  # (n, taps, rows / cell, width / cell), which sum to 1
    spread: torch.Tensor  # (n, 1, rows / cell, width / cell): mean variance, where they were fitted


def _along_rows(
    images: torch.Tensor, valid: torch.Tensor, gap: int, correlation: tuple[float, float]
) -> Residuals:
    """Predict each row from those ``gap`` away."""
    noise = _covariance(gap, correlation).to(images)
    cells = max(1, CELL // gap), CELL
    parts = [_fitted(images[:, k::gap], valid[:, k::gap], cells, noise) for k in range(gap)]
    found = {
        name: torch.zeros_like(images)
        for name in ("value", "factor", "third_factor", "level", "elsewhere", "guide")
    }
    used = torch.zeros_like(valid)
    for phase, here in enumerate(parts):
        between = (phase + gap // 2) % gap
        of_cells = parts[between].weights
        share = of_cells.square() / 2
        factor, third_factor, total, spread = _spread_out(
            torch.stack(
                [
                    _factor(of_cells, noise),
                    1 - (share * of_cells).sum(1) / 2,
                    1 + share.sum(1),
                    parts[between].spread[:, 0],
                ],
                1,
            ),
            cells,
            here.centre.shape,
        ).unbind(1)
        weights = _spread_out(of_cells, cells, here.centre.shape)
        own = slice(phase, None, gap)
        used[:, own] = here.used
        found["value"][:, own] = here.centre - (here.taps * weights).sum(1)
        found["factor"][:, own] = factor
        found["third_factor"][:, own] = third_factor
        shares = weights.square() / 2
        found["level"][:, own] = (here.centre + (here.taps * shares).sum(1)) / total
        found["elsewhere"][:, own] = spread
        before = 0 if between < phase else -1  # place of the nearer row above, among those between
        found["guide"][:, own] = _guide(parts[between], here.centre.shape[1], before, gap + 1)
    return Residuals(used=used, **found)


def _fitted(
    centre: torch.Tensor, valid: torch.Tensor, cells: tuple[int, int], noise: torch.Tensor
) -> _Rows:
    """Fit weights by least squares over 3 x 3 cells; the taps are sheared pairs of neighbours."""
    taps = noise.shape[-1] - 1
    reach = taps // 2
    used = valid.clone()
    used[:, [0, -1]] = False
    used[..., :reach] = used[..., -reach:] = False
    pairs = []
    for k in range(-reach, reach + 1):
        above, below = ((1, k), (-1, -k))
        pairs.append((centre.roll(above, (-2, -1)) + centre.roll(below, (-2, -1))) / 2)
        used &= valid.roll(above, (-2, -1)) & valid.roll(below, (-2, -1))
    together = torch.stack(pairs, 1)
    # The weights are equal ones and a combination of vectors that sum to zero.
    basis = torch.linalg.svd(torch.ones(1, taps).to(centre))[2][1:]
    equal = together.mean(1)
    varied = (basis @ together.flatten(2)).unflatten(2, centre.shape[1:])
    mask = used.to(centre)[:, None]
    products = _products(torch.cat([varied, (centre - equal)[:, None]], 1) * mask, cells)
    matrix, beside = products[..., :-1, :-1], products[..., :-1, -1:]
    ridge = RIDGE * matrix.diagonal(dim1=-2, dim2=-1).mean(-1)
    ridge = ridge.clamp(min=torch.finfo(centre.dtype).tiny)
    matrix = matrix + ridge[..., None, None] * torch.eye(taps - 1).to(matrix)
    solved = torch.linalg.solve(matrix, beside)[..., 0]
    weights = (1 / taps + solved @ basis).movedim(-1, 1)
    wide, factor = (
        _spread_out(x, cells, centre.shape) for x in (weights, _factor(weights, noise)[:, None])
    )
    square = (centre - (together * wide).sum(1)).square() / factor[:, 0]
    norm = _pooled(mask, cells).clamp(min=torch.finfo(centre.dtype).tiny)
    spread = _pooled(square[:, None] * mask, cells) / norm
    return _Rows(centre, together, valid.to(centre), used, weights, spread)


def _guide(rows: _Rows, number: int, before: int, width: int) -> torch.Tensor:
    """Brightness of ``number`` rows from those on either side, over ``width`` pixels."""
    both = torch.stack([rows.centre * rows.valid, rows.valid], 1)
    means = sum_around(both, (1, width)) / width
    places = torch.arange(number, device=both.device) + before
    total, weight = sum(
        means[:, :, (places + k).clamp(0, means.shape[2] - 1)] for k in (0, 1)
    ).unbind(1)  # type: ignore[union-attr]
    return total / weight.clamp(min=torch.finfo(weight.dtype).tiny)


def _covariance(gap: int, correlation: tuple[float, float]) -> torch.Tensor:
    """Of a pixel (first) and the means of pairs, for noise of Gaussian clouds."""
    rows, columns = correlation
    reach = gap + 1
    k = torch.arange(-reach, reach + 1, dtype=torch.float64, device="cpu")
    covariance = torch.eye(len(k) + 1, dtype=torch.float64, device="cpu")
    along = torch.tensor(columns, dtype=torch.float64, device="cpu")
    covariance[1:, 1:] = along ** (k[:, None] - k).square() / 2
    covariance[0, 1:] = covariance[1:, 0] = rows ** float(gap**2) * along ** k.square()
    return covariance


def _factor(weights: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Variance of a residual over that of a pixel."""
    with_pixel, pairs = noise[0, 1:], noise[1:, 1:]
    of_pairs = torch.einsum("nkhw,kl,nlhw->nhw", weights, pairs, weights)
    return 1 + of_pairs - 2 * torch.einsum("nkhw,k->nhw", weights, with_pixel)


def _products(values: torch.Tensor, cells: tuple[int, int]) -> torch.Tensor:
    """Sums over 3 x 3 cells of all products of channels, ``(n, rows, columns, k, k)``."""
    rows, columns = cells
    missing = (0, -values.shape[-1] % columns, 0, -values.shape[-2] % rows)
    blocks = F.pad(values, missing).unflatten(3, (-1, columns)).unflatten(2, (-1, rows))
    pixels = blocks.permute(0, 2, 4, 3, 5, 1).flatten(3, 4)  # (n, rows, columns, pixels, k)
    sums = F.pad(pixels.mT @ pixels, (0, 0, 0, 0, 1, 1, 1, 1))
    sums = sums[:, :-2] + sums[:, 1:-1] + sums[:, 2:]
    return sums[:, :, :-2] + sums[:, :, 1:-1] + sums[:, :, 2:]


def _pooled(values: torch.Tensor, cells: tuple[int, int]) -> torch.Tensor:
    """Means over 3 x 3 cells, ``(n, channels, rows, columns)``; outside there are zeros."""
    means = F.avg_pool2d(values, cells, cells, ceil_mode=True)
    return sum_around(means, 3) / 9


def _spread_out(values: torch.Tensor, cells: tuple[int, int], shape: torch.Size) -> torch.Tensor:
    """Give every pixel the value of its cell."""
    rows, columns = (
        (torch.arange(size, device=values.device) // cell).clamp(max=number - 1)
        for size, cell, number in zip(shape[-2:], cells, values.shape[-2:], strict=True)
    )
    return values[..., rows[:, None], columns]


def noise_levels(
    found: Residuals,
    largest: tuple[torch.Tensor, torch.Tensor] | None = None,
    cloud: Cloud | None = None,
) -> Levels | None:
    """Average over the better half of the pixels of each class of brightness.

    ``largest`` is gain and shift of noise found before: pixels that it cannot explain are left
    out. Behind a ``cloud``, fewer pixels than there are are independent of each other, and classes
    of hardly an electron are left out: they contain only the tails of clouds, whose variance is
    less than their mean says. None if there are too few pixels.
    """
    area, electron = (1.0, 0.0) if cloud is None else (cloud.area, cloud.electron)
    used = found.used
    square = found.value.square() / found.factor
    if largest is not None:
        gain, shift = largest
        expected = gain * (found.level + shift).clamp(min=0)
        used = used & (square <= HOT * (expected + gain**2))
    names = ("value", "third_factor", "level", "elsewhere", "guide")
    value, third_factor, level, elsewhere, guide = (getattr(found, k)[used] for k in names)
    square, third = square[used], value**3 / third_factor
    order = guide.argsort()
    rows = []
    for start, stop in pairwise(EDGES):
        some = order[int(start * len(order)) : int(stop * len(order))]
        if len(some) < FEWEST / KEPT:
            continue
        kept = some[elsewhere[some] <= torch.quantile(elsewhere[some], KEPT)]
        moments = torch.stack([level[kept], square[kept], third[kept]])
        number = level.new_tensor([len(kept) / area])
        errors = torch.cov(moments) / number
        if electron > 0 and level[kept].sum() < ELECTRONS * electron:
            continue
        rows.append(torch.cat([moments.mean(1), number, errors.diagonal(), errors[:1, 1]]))
    return Levels(*torch.stack(rows).T) if len(rows) >= FEWEST_CLASSES else None
