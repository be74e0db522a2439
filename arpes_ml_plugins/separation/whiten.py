"""Prepare data for separation: divide channels by their noise, and transform maps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from arpes_ml_plugins.constants import MAD_TO_SIGMA
from arpes_ml_plugins.separation.matching import signal_space
from arpes_ml_plugins.separation.shared_noise import INDEPENDENT, Neighbours, of_neighbours
from arpes_ml_plugins.separation.starlet import largest_scales, starlet

if TYPE_CHECKING:
    from arpes_ml_plugins.separation.value_noise import ValueNoise

__all__ = [
    "APART",
    "Whitened",
    "channel_noise",
    "shared",
    "spaced_groups",
    "strips",
    "telling_columns",
    "thinned",
    "whiten",
]

NEGATIVE = 4.0  # standard deviations below zero that noise does not reach
NEGATIVE_SHARE = 1e-3
MOST_PIXELS = 20_000  # that GMCA looks at
MOST_COLUMNS = 50_000  # that alternating least squares is given
FEW_COUNTS = 10.0  # per value, below which a channel's noise follows from its intensity
UNEVEN = 0.5  # of the mean variance: if a usual pixel has less, few hold most of the intensity
FEWEST_DIFFERENCES = 8
FEW = 8.0  # mean of the data over their noise, below which single pixels show little
SQUARE = 4  # pixels along either side that are then summed
NOISE_PIXELS = 40_000  # that the noise is measured from
STRIP = 8  # rows
MANY = 1_000_000  # coefficients per channel, from which single precision is enough
ENOUGH = 4  # pixels per channel for the regression
APART, LEAST_GROUP = 5, 12  # channels: where noise is independent; fewer have no such groups
SHARED = 1.2  # times the variance that neighbouring channels leave: more is noise they share
ROUNDING = 1e-6  # of the noise
AGREES = 1.3  # times the noise that differences and the correlation of neighbours allow
FILLED_ROUNDS = 10  # each leaves the missing share of the error; half of it is missing at most


@dataclass(frozen=True)
class Whitened:
    """Whitened data, as the algorithms use them."""

    pixels: torch.Tensor
    """``(k, t)``: usable channels over their noise, complete pixels."""
    sparse: torch.Tensor
    """``(k, T)``: coefficients in which maps are sparse; the pixels again without a transform.

    In single precision where they are many."""
    sparse_noise: torch.Tensor
    """``(T,)``: standard deviation of the noise of each coefficient."""
    noise: torch.Tensor
    """``(m,)``: of every channel, in the unit of the data; 0 for those that do not change."""
    kept: torch.Tensor
    """``(m,)`` bool: the usable channels."""
    nonnegative: bool
    scales: int = 1
    """Of the transform: the coefficients of one scale follow those of the scale before."""
    coarse: torch.Tensor | None = None
    """``(k, T)``: pixels summed in squares, over their noise, where single ones show little."""
    by_value: ValueNoise | None = None
    """Noise of each value of the usable channels, if the data have such noise."""
    complete: torch.Tensor | None = None
    """``(*space)`` bool: where the pixels are, if single ones show little."""
    neighbours: Neighbours = INDEPENDENT
    """What pixels share of their noise."""

    @property
    def few(self) -> bool:
        """Whether single pixels show little, of a method that looks at their sums too."""
        return self.complete is not None

    def summed(self, pixels: torch.Tensor) -> torch.Tensor | None:
        """What ``coarse`` is of the pixels, of others ``(k, t)`` in the same places."""
        if self.complete is None:
            return None
        images = pixels.new_zeros(len(pixels), *self.complete.shape)
        images[:, self.complete] = pixels
        return _coarse(images, self.complete)

    def part(self, most: int) -> Whitened | None:
        """About ``most`` of the pixels in evenly spaced strips, which can be summed; None if there
        are no more than these, or not in order.
        """
        every = self.pixels.shape[1] // most
        if self.complete is None or self.complete.ndim == 0 or every < 2:
            return None
        axis = max(self.complete.ndim - 2, 0)
        row = torch.arange(self.complete.shape[axis], device=self.complete.device)
        within = row // (SQUARE if self.complete.ndim > 1 else SQUARE**2) % every == 0
        within = within.reshape(-1, *[1] * (self.complete.ndim - 1 - axis)) & self.complete
        pixels = self.pixels[:, within[self.complete]]
        return replace(self, pixels=pixels, sparse=pixels, coarse=None, complete=within)

    @property
    def even(self) -> torch.Tensor:
        """``pixels``, of counts also over the noise of each pixel relative to the others.

        Spectra stay in their space, and the noise beside it is whiter (Keenan and Kotula, Surf.
        Interface Anal. 36, 203, 2004).
        """
        return self.pixels if self.by_value is None else self.pixels / self.unevenness

    @property
    def unevenness(self) -> torch.Tensor:
        """``(t,)``: noise of each pixel in the unit of that of the channels."""
        if self.by_value is None:
            return self.pixels.new_ones(self.pixels.shape[1])
        noise = self.noise[self.kept][:, None]
        variance = self.by_value.cautious(self.pixels * noise) / noise.square()
        return variance.mean(0).clamp(min=1e-300).sqrt()

    @property
    def double(self) -> torch.Tensor:
        """``sparse`` in the precision of the pixels."""
        return self.sparse.to(self.pixels)

    def without_details(self) -> Whitened:
        """The same without sparse coefficients, which only the solvers need."""
        return replace(self, sparse=self.pixels, coarse=None, complete=None)

    @property
    def weights(self) -> torch.Tensor:
        """``(m,)``: factors on spectra in the unit of the data; 0 for unused channels.

        One over the noise, of mean about 1.
        """
        mean = self.noise[self.kept].mean()
        return torch.where(self.kept, mean / self.noise.clamp(min=1e-300), 0.0)

    @property
    def scale_noise(self) -> torch.Tensor:
        """``(scales,)``: standard deviation of the noise of the coefficients of each scale."""
        return self.sparse_noise.unflatten(0, (self.scales, -1))[:, 0]

    @property
    def snr(self) -> float:
        """Of the coefficients, in dB."""
        expected = len(self.sparse) * self.sparse_noise.square().sum()
        total = self.sparse.square().sum()
        return float(10 * torch.log10((total - expected).clamp(min=1e-3 * total) / expected))


def whiten(
    cube: torch.Tensor,
    complete: torch.Tensor,
    *,
    seen: torch.Tensor | None = None,
    noise: torch.Tensor | None = None,
    by_value: ValueNoise | None = None,
    transform: str = "starlet",
    scales: int | None = None,
    common: bool = False,
    nonnegative: bool | None = None,
    summed: bool = False,
) -> Whitened:
    """Divide channels by their noise, and transform the maps.

    Parameters
    ----------
    cube
        ``(m, *space)``, finite; the transform acts along the last two axes.
    complete
        Pixels without missing values, or with these filled in, ``(*space)``.
    seen
        Values that were not filled in, ``(m, *space)``; default all.
    noise
        ``(m,)``; measured if not given.
    by_value
        Noise of each value; channels are then divided by its mean.
    scales
        Of the transform; as many as the image is large enough for, if not given.
    common
        One noise for all channels, their root mean square: no whitening, but the right unit.
    nonnegative
        Whether spectra and maps are; by default what the data allow.
    summed
        Also sum pixels in squares, where single ones show little.
    """
    measured, neighbours = channel_noise_and_neighbours(cube, complete, seen)
    if by_value is not None:
        expected = by_value.of_channels
        # The median of differences that are 0, 1 or 2 says little, as does that of dark pixels.
        dark = by_value.mean < FEW_COUNTS * by_value.gain
        dark |= by_value.variance(_usual(cube, complete)) < UNEVEN * expected
        noise = torch.where(dark | (measured == 0), expected.sqrt(), measured)
    noise = measured if noise is None else torch.where(measured > 0, noise, 0.0)
    kept = noise > 0
    if common:
        noise = torch.where(kept, noise[kept].square().mean().sqrt(), 0.0)
    # Whole data are not copied where all of them are used.
    chosen = cube if bool(kept.all()) else cube[kept]
    scaled = chosen / noise[kept].reshape(-1, *[1] * complete.ndim)
    flat = scaled.flatten(1)
    pixels = flat if bool(complete.all()) else flat[:, complete.flatten()]
    if nonnegative is None:
        nonnegative = bool((pixels < -NEGATIVE).float().mean() < NEGATIVE_SHARE)
    sparse, sparse_noise, used = pixels, pixels.new_ones(pixels.shape[1]), 1
    if transform == "starlet" and complete.ndim:
        sparse, spread = _details(scaled, complete, scales)
        sparse_noise, used = spread.repeat_interleave(pixels.shape[1]), len(spread)
    few = summed and nonnegative and float(pixels.mean()) < FEW
    coarse = _coarse(scaled, complete) if few else None
    by_value = None if by_value is None else by_value.at(kept)
    return Whitened(
        pixels,
        sparse,
        sparse_noise,
        noise,
        kept,
        nonnegative,
        used,
        coarse,
        by_value,
        complete if few else None,
        neighbours,
    )


def _usual(cube: torch.Tensor, complete: torch.Tensor) -> torch.Tensor:
    """Median ``(m,)`` of every channel ``(m, *space)``; of evenly spaced pixels where there are
    many.
    """
    place = complete.flatten().nonzero()[:, 0]
    return _medians(cube.flatten(1)[:, place[:: max(1, len(place) // NOISE_PIXELS)]])


def _coarse(scaled: torch.Tensor, complete: torch.Tensor) -> torch.Tensor | None:
    """Sums over squares of neighbouring pixels, of unit noise; None where there are few pixels."""
    if complete.ndim == 0 or int(complete.sum()) < len(scaled) * SQUARE**2 / 2:
        return None
    images = scaled * complete
    images, mask = (x if complete.ndim > 1 else x[..., None, :] for x in (images, complete))
    sides = (SQUARE, SQUARE) if complete.ndim > 1 else (1, SQUARE**2)

    def summed(values: torch.Tensor) -> torch.Tensor:
        flat = values.reshape(-1, 1, *values.shape[-2:])
        means = F.avg_pool2d(flat, sides, ceil_mode=True, divisor_override=1)
        return means.reshape(*values.shape[:-2], *means.shape[-2:])

    number = summed(mask.to(scaled)).flatten()
    used = number > 0
    return summed(images).flatten(1)[:, used] / number[used].sqrt()


def _details(
    scaled: torch.Tensor, complete: torch.Tensor, scales: int | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Details ``(k, scales * t)`` of complete pixels, and the noise of each scale, from white
    noise of 1.
    """
    images = scaled if scaled.ndim > 2 else scaled[:, None]
    height, width = images.shape[-2:]
    largest = largest_scales((height, width))
    scales = largest if scales is None else min(scales, largest)
    impulse = images.new_zeros(min(height, 65), min(width, 65))
    impulse[impulse.shape[0] // 2, impulse.shape[1] // 2] = 1
    spread = starlet(impulse, scales)[:-1].square().sum((-2, -1)).sqrt()
    pixels = complete.flatten()
    count = int(pixels.sum())
    precision = torch.float32 if scales * count > MANY else images.dtype
    sparse = images.new_empty(len(images), scales, count, dtype=precision)
    for image, row in zip(images, sparse, strict=True):  # one at a time: less memory
        details = starlet(image.to(precision), scales)[:-1].flatten(1)
        row[:] = details if count == len(pixels) else details[:, pixels]
    return sparse.flatten(1), spread


def thinned(data: Whitened) -> torch.Tensor:
    """Sparse coefficients ``(k, scales * fewer)`` of evenly spaced pixels, where there are many.

    A part of the pixels determines the spectra nearly as well, and keeps the ratio of strong
    coefficients to noise, which the strongest alone would not.
    """
    by_scale = data.sparse.unflatten(1, (data.scales, -1))
    some = by_scale[..., :: max(1, by_scale.shape[-1] // MOST_PIXELS)].flatten(1)
    return some.to(data.pixels)


def telling_columns(data: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Columns of ``(k, T)`` to use if there are too many: those with most signal, and as many
    evenly spaced ones.

    The former alone may all belong to the brightest component, the latter may miss a small one.
    """
    total = data.shape[1]
    everything = torch.arange(total, device=data.device)
    if total <= MOST_COLUMNS:
        return everything
    half = MOST_COLUMNS // 2
    strong = (data.norm(dim=0) / noise).topk(half).indices
    chosen = torch.zeros(total, dtype=torch.bool, device=data.device)
    chosen[strong] = True
    others = everything[~chosen]
    chosen[others[torch.arange(half, device=data.device) * len(others) // half]] = True
    return everything[chosen]


def channel_noise(
    cube: torch.Tensor, valid: torch.Tensor, seen: torch.Tensor | None = None
) -> torch.Tensor:
    """The noise of :func:`channel_noise_and_neighbours`."""
    return channel_noise_and_neighbours(cube, valid, seen)[0]


def channel_noise_and_neighbours(
    cube: torch.Tensor, valid: torch.Tensor, seen: torch.Tensor | None = None
) -> tuple[torch.Tensor, Neighbours]:
    """Standard deviation of the noise of every channel, 0 where a channel does not change; and what
    pixels share of it.

    The smallest of several estimates, since each of them can only be too large: differences of
    neighbouring pixels along each axis (median absolute deviation) contain edges; residuals of a
    regression of a channel on all others (one over the diagonal of the inverse covariance) contain
    narrow lines. The latter does not depend on the order of the pixels, and is used alone where
    neighbours share their noise.

    Parameters
    ----------
    cube
        ``(m, *space)``.
    valid
        Pixels to use, ``(*space)``.
    seen
        Which of their values are measured, ``(m, *space)``; the others are filled in, and hold no
        noise. Default: all.
    """
    seen = valid.expand_as(cube) if seen is None else seen & valid
    (cube, valid), seen = strips(cube, valid), strips(seen, valid)[0]
    flat, used = cube.flatten(1)[:, valid.flatten()], seen.flatten(1)[:, valid.flatten()]
    noise = flat.std(1, unbiased=False)
    alive = noise > 1e-12 * flat.abs().amax(1).clamp(min=1e-300)
    noise = torch.where(alive, noise, 0.0)
    missing = 1 - used.to(flat).mean(1)
    found = shared_by_neighbours(cube, valid, seen)
    rest = _regression(flat, alive, missing, flat.shape[1] / found.alike)
    for estimate in (rest, *(() if found.correlation else _differences(cube, seen))):
        usable = alive & (estimate > ROUNDING * noise)
        noise = torch.where(usable, torch.minimum(noise, estimate), noise)
    return noise, found


def shared_by_neighbours(cube: torch.Tensor, valid: torch.Tensor, seen: torch.Tensor) -> Neighbours:
    """What pixels share of their noise, if regression and differences agree that they do.

    Differences of pixels whose noise has the correlation ``r`` are too small by the root of ``1 -
    r``. Regression may be too large by any factor where signal is left, as of lines that move.
    """
    found = of_neighbours(cube, valid)
    if not found.correlation:
        return found
    flat, used = (x.flatten(1)[:, valid.flatten()] for x in (cube, seen))
    alive = flat.std(1) > 0
    rest = _regression(flat, alive, 1 - used.to(flat).mean(1), flat.shape[1] / found.alike)
    least = torch.stack([rest, *_differences(cube, seen)]).amin(0)
    known = alive & rest.isfinite()
    if not bool(known.any()):
        return INDEPENDENT
    copied = known & (least < ROUNDING * rest)  # differences of copies are zero
    larger = torch.where(copied, 1.0, rest / least)[known].median()
    return found if larger * (1 - found.correlation) ** 0.5 < AGREES else INDEPENDENT


def strips(cube: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of a large image ``(m, height, width)`` strips of neighbouring rows, evenly spaced:
    ``(m, number, STRIP, width)``; noise needs no more. ``valid`` has no channels, or as many.
    """
    height, width = cube.shape[-2:]
    number = max(1, NOISE_PIXELS // (STRIP * width))
    if cube.ndim != 3 or height // STRIP <= number:
        return cube, valid
    first = (torch.arange(number, device="cpu") * (height - STRIP)) // max(number - 1, 1)
    rows = (first[:, None] + torch.arange(STRIP, device="cpu")).to(cube.device)
    return cube[:, rows], valid[..., rows, :]


def _differences(cube: torch.Tensor, seen: torch.Tensor) -> Iterator[torch.Tensor]:
    """One estimate per axis: along an edge or a gradient only one of them is right."""
    for axis in range(1, cube.ndim):
        size = cube.shape[axis]
        if size < 2:
            continue
        step = cube.narrow(axis, 1, size - 1) - cube.narrow(axis, 0, size - 1)
        both = seen.narrow(axis, 1, size - 1) & seen.narrow(axis, 0, size - 1)
        if bool((both == both[:1]).all()):
            found = step.flatten(1)[:, both[0].flatten()]
        else:
            found = torch.where(both, step, float("nan")).flatten(1)
        number = found.isfinite().sum(1)
        if not bool((number >= FEWEST_DIFFERENCES).any()):
            continue
        centre = _medians(found)[:, None]
        spread = _medians((found - centre).abs()) * (MAD_TO_SIGMA / 2**0.5)
        yield torch.where(number >= FEWEST_DIFFERENCES, spread, float("inf"))


def _medians(values: torch.Tensor) -> torch.Tensor:
    """Of rows ``(m, p)``, the lower of two in the middle; numpy has a faster one, but no NaN."""
    if values.device.type != "cpu" or not bool(values.isfinite().all()):
        return values.nanmedian(1).values
    middle = (values.shape[1] - 1) // 2
    return torch.from_numpy(np.partition(values.numpy(), middle, axis=1)[:, middle].copy())


def _regression(
    flat: torch.Tensor, alive: torch.Tensor, missing: torch.Tensor, pixels: float
) -> torch.Tensor:
    """On all other channels, or on evenly spaced ones where the independent ``pixels`` are few."""
    channels = alive.nonzero()[:, 0]

    def noise(apart: int) -> torch.Tensor:
        result = flat.new_full((len(flat),), float("inf"))
        for group in spaced_groups(channels, pixels, apart):
            result[group] = _own(flat[group], missing[group], pixels)
        return result

    close, far = noise(1), noise(APART)
    return far if shared(close[alive].square(), far[alive].square()) else close


def spaced_groups(channels: torch.Tensor, pixels: float, apart: int) -> list[torch.Tensor]:
    """Channels that are ``apart`` if there are many; further if pixels are too few for a regression
    of those channels on each other.
    """
    apart = min(apart, len(channels) // LEAST_GROUP)
    groups = max(1, apart, math.ceil(ENOUGH * len(channels) / max(pixels, 1)))
    return [channels[i::groups] for i in range(min(groups, len(channels)))]


def shared(close: torch.Tensor, far: torch.Tensor) -> bool:
    """Whether neighbouring channels share their noise, as after interpolation or smoothing along
    energy: then a channel seems to have hardly any (variance ``close``) if its neighbours take part
    in the regression, and more (``far``) if they do not.
    """
    known = far.isfinite()
    return bool(known.any()) and float((close[known] * SHARED - far[known]).median()) < 0


def _own(flat: torch.Tensor, missing: torch.Tensor, pixels: float) -> torch.Tensor:
    """Residuals ``(m,)`` of a regression of every channel on the others.

    Values that were filled in, a share ``missing (m,)``, hold no noise of their own. The
    covariance that they should have is larger by it (expectation and maximisation).
    """
    channels = len(flat)
    if channels < 2 or pixels < ENOUGH * channels:
        return flat.new_full((channels,), float("inf"))
    scale = flat.std(1)
    covariance = torch.cov(flat / scale[:, None])
    left = torch.zeros_like(scale)  # variance, over scale^2
    for _ in range(FILLED_ROUNDS if bool((missing > 0).any()) else 1):
        values, vectors = torch.linalg.eigh(covariance + (missing * left).diag())
        if values[0] < 1e-12 * values[-1]:  # no noise, or channels made from others
            return flat.new_full((channels,), float("inf"))
        left = 1 / (vectors.square() / values).sum(1)
    noise = (pixels / (pixels - channels) * left).sqrt() * scale
    # The other channels hold noise too: they do not explain all of the signal of a channel.
    space = signal_space(flat / noise[:, None])
    return noise * (1 - space.directions.square() @ space.reliability).clamp(min=0.1).sqrt()
