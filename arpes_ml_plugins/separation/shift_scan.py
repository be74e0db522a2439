"""Score candidate shifts of every pixel, and pool the scores of neighbouring pixels.

The score of a shift is the squared part of a pixel, over its noise, that lies in the span of the
shifted spectra: twice its log-likelihood, up to a constant. Scores of neighbours are added with the
weights of a Gaussian, for as far as pixels of one shift reach. Channels of even and of odd number,
whose noise is independent, show how far that is: one half finds the shifts and the other tests
them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from scipy.ndimage import gaussian_filter

from arpes_ml_plugins.separation.value_noise import ValueNoise

__all__ = ["STARTS", "WIDTHS", "Scan", "at", "beyond", "moved", "peak", "slope"]

STEPS = 3  # candidates per channel
WIDTHS = (0.0, 1.0, 2.0, 4.0, 8.0)  # pixels: standard deviations of the weights
AROUND = 2.0  # pixels: surroundings that choose among them
FILLINGS = 2
WIDEST = 8  # an eighth of the channels at either end may be left out
NODES = range(-2, 4)
FEWER = range(-1, 3)  # of noisy spectra, whose noise more values make larger
SMALL = 0.1  # channels, of a numerical derivative
NEWTON = 3  # steps from the parabola's maximum
STARTS = (0, 1)  # of every second channel


@dataclass(frozen=True)
class Scan:
    """Pixels whose shifts are looked for among ``candidates``."""

    scaled: torch.Tensor  # (m, t), over the noise
    noise: torch.Tensor  # (m,)
    candidates: torch.Tensor  # (k,)
    step: float
    shape: tuple[int, ...]
    used: torch.Tensor  # (t,) bool: pixels that count
    outer: int = 0
    """Channels at either end that are not compared: candidates move there what is not measured."""
    spread: float = math.inf
    """Standard deviation of the shifts, as far as it is known: of two equal ones take the less."""
    by_value: ValueNoise | None = None
    """Noise of each value, if it is not that of its channel."""

    @classmethod
    def of(
        cls,
        pixels: torch.Tensor,
        noise: torch.Tensor,
        step: float,
        shape: tuple[int, ...],
        used: torch.Tensor,
        by_value: ValueNoise | None = None,
    ) -> Scan:
        """Of pixels ``(m, t)`` with ``noise`` ``(m,)``; still without candidates."""
        scaled, none = pixels / noise[:, None], noise.new_zeros(1)
        return cls(scaled, noise, none, step, shape, used, by_value=by_value)

    def variance(self, model: torch.Tensor) -> torch.Tensor:
        """Of scaled values of some pixels, with this expectation ``(m, t)`` in the data's unit."""
        if self.by_value is None:
            return torch.ones_like(model)
        return self.by_value.variance(model) / self.noise.square()[:, None]

    def up_to(self, reach: float) -> Scan:
        """The same with candidates up to ``reach``."""
        count = max(2, math.ceil(STEPS * reach / abs(self.step)))
        candidates = torch.linspace(
            -reach, reach, 2 * count + 1, dtype=self.scaled.dtype, device=self.scaled.device
        )
        outer = min(math.ceil(reach / abs(self.step)), len(self.noise) // WIDEST)
        return replace(self, candidates=candidates, outer=outer)

    def thinned(self, most: int) -> Scan:
        """Evenly spaced pixels, about ``most`` of them."""
        some = self.some(most)
        used = self.used.reshape(self.shape)[some]
        scaled = self.scaled.reshape(-1, *self.shape)[slice(None), *some].flatten(1)
        return replace(self, scaled=scaled, used=used.flatten(), shape=tuple(used.shape))

    def some(self, most: int) -> tuple[slice, ...]:
        """Slices of the image that select these."""
        axes = sum(size > 2 for size in self.shape)
        every = max(1, math.ceil((math.prod(self.shape) / most) ** (1 / max(axes, 1))))
        return tuple(slice(None, None, every if size > 2 else 1) for size in self.shape)

    def scores(self, spectra: torch.Tensor, half: int | None = None) -> torch.Tensor:
        """``(k, t)``: squared part of each pixel in the span of spectra ``(m, n)``; 0 if unused.

        ``half``: of every second channel only, from this one.
        """
        n, count = spectra.shape[1], len(self.candidates)
        channels = self.inner
        if half is not None:
            channels = slice(channels.start + half, channels.stop, 2)
        channels_up = (self.candidates / self.step).repeat_interleave(n)
        shifted = moved(spectra.repeat(1, count), channels_up) / self.noise[:, None]
        bases = torch.linalg.qr(shifted[channels].unflatten(1, (count, n)).permute(1, 0, 2))[0]
        data = self.scaled[channels]
        rows = [(basis.mT @ data).square().sum(0) for basis in bases]
        return torch.stack(rows) * self.used

    def shift(
        self, scores: torch.Tensor, widths: torch.Tensor, *, again: bool = True
    ) -> torch.Tensor:
        """Best shifts ``(t,)`` with the scores of neighbours, relative to their mean.

        ``widths``: for every pixel, the number of that in ``WIDTHS``. ``again``: as in `shift_of`.
        """
        found = self.absolute(scores, widths, again=again)
        return found - found[self.used].mean()

    def absolute(
        self, scores: torch.Tensor, widths: torch.Tensor, *, again: bool = True
    ) -> torch.Tensor:
        """The same relative to the spectra that were scored."""
        found = torch.zeros_like(scores[0])
        for number in widths.unique().tolist():
            shift = self.shift_of(scores, WIDTHS[number], again=again)
            found = torch.where(widths == number, shift, found)
        return found

    def shift_of(self, scores: torch.Tensor, width: float, *, again: bool = True) -> torch.Tensor:
        """Best shifts, with neighbours equally far for all pixels.

        Sums over neighbours are drawn towards their mean. ``again``: shift the neighbours by what
        was found, and look for what is left.
        """
        found = peak(self.pooled(scores, width), self.candidates)
        if width and again:
            beside = [at(scores, self.candidates, found + more) for more in self.candidates]
            found = found + peak(self.pooled(torch.stack(beside), width), self.candidates)
        return found

    def pooled(self, scores: torch.Tensor, width: float) -> torch.Tensor:
        """Scores with those of neighbours, less what the spread of the shifts lets expect."""
        less = (self.candidates / self.spread).square() / self.alike(width)
        return self.smoothed(scores, width) - less[:, None]

    def smoothed(self, images: torch.Tensor, width: float) -> torch.Tensor:
        """Means over neighbours of images ``(k, t)``."""
        if width == 0:
            return images
        values = images.reshape(len(images), *self.shape).cpu().numpy()
        sigma = (0.0, *self.sides(width))
        return torch.from_numpy(gaussian_filter(values, sigma, truncate=3)).flatten(1).to(images)

    def pooled_variance(self, variance: torch.Tensor, width: float) -> torch.Tensor:
        """Of images ``(k, t)`` whose neighbours are pooled twice, the second time beside the first
        result: with the weights ``2 K - K * K`` of the means ``K``.
        """
        if width == 0:
            return variance
        axes = sum(side > 0 for side in self.sides(width))
        more = 4 - 4 * (2 / 3) ** (axes / 2) + 2 ** (-axes / 2)
        return more * self.smoothed(variance, width / math.sqrt(2)) / self.alike(width)

    def sides(self, width: float) -> tuple[float, ...]:
        return tuple(width if size > 2 else 0.0 for size in self.shape)

    def alike(self, width: float) -> float:
        """Number of pixels that share one shift."""
        return math.prod(max(1.0, 2 * math.sqrt(math.pi) * side) for side in self.sides(width))

    def fitted(self, widths: torch.Tensor) -> torch.Tensor:
        """Values per pixel that shifts with these widths have, of the pixels that count."""
        each = [1 / self.alike(width) for width in WIDTHS]
        return self.scaled.new_tensor(each)[widths][self.used]

    def best_widths(self, spectra: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The widths whose shifts explain most of the channels that they were not found in.

        For every pixel, from its surroundings; also how much that is, of each.
        """
        return self.best_widths_of([self.scores(spectra, half) for half in STARTS])

    def best_widths_of(self, halves: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """The same from scores ``(k, t)`` of the two halves of the channels."""
        rows = []
        for width in WIDTHS:
            shifts = [self.shift_of(half, width) for half in halves]
            tested = zip(halves[::-1], shifts, strict=True)
            explained = [at(half, self.candidates, shift) for half, shift in tested]
            rows.append(explained[0] + explained[1])
        total = torch.stack(rows)
        widths = self.smoothed(total, AROUND).argmax(0)
        return widths, total.gather(0, widths[None])[0]

    def explained_unshifted(self, count: int) -> torch.Tensor:
        """``(t,)``: what the best spectra explain of the same channels without shifts."""
        spectra = self.subspace(torch.zeros_like(self.scaled[0]), count)
        still = replace(self, candidates=self.candidates.new_zeros(1))
        return still.scores(spectra, STARTS[0])[0] + still.scores(spectra, STARTS[1])[0]

    def subspace(self, shift: torch.Tensor, count: int) -> torch.Tensor:
        """Spectra ``(m, count)`` that span most of the aligned pixels."""
        noise = self.noise[:, None]
        channels = -shift[self.used] / self.step
        straight = moved(self.scaled[:, self.used] * noise, channels, FEWER) / noise
        missing = beyond(len(straight), channels)
        basis = _principal(straight, count)
        for _ in range(FILLINGS):
            straight = torch.where(missing, basis @ (basis.mT @ straight), straight)
            basis = _principal(straight, count)
        return basis * noise

    def rest(self, scores: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
        """chi^2 that is left of each pixel that counts."""
        left = self.scaled[self.inner].square().sum(0) - at(scores, self.candidates, shift)
        return left[self.used]

    def rest_unshifted(self, count: int) -> torch.Tensor:
        """The same without shifts, with the best spectra for that."""
        data = self.scaled[self.inner][:, self.used]
        basis = _principal(data, count)
        return data.square().sum(0) - (basis.mT @ data).square().sum(0)

    @property
    def inner(self) -> slice:
        """The channels that are compared."""
        return slice(self.outer, len(self.noise) - self.outer)

    @property
    def size(self) -> int:
        """Number of channels that are compared."""
        return len(self.noise) - 2 * self.outer


def _principal(data: torch.Tensor, count: int) -> torch.Tensor:
    return torch.linalg.eigh(data @ data.mT).eigenvectors[:, -count:]


def beyond(size: int, channels: torch.Tensor) -> torch.Tensor:
    """Channels ``(size, t)`` of spectra moved up by ``channels`` that were not measured."""
    place = torch.arange(size, device="cpu").to(channels)[:, None] - channels
    return (place < 0) | (place > size - 1)


def moved(
    spectra: torch.Tensor, channels: torch.Tensor, nodes: Sequence[int] = NODES
) -> torch.Tensor:
    """Spectra ``(m, t)``, each moved up by a number of channels ``(t,)``, by a polynomial
    through the values at ``nodes``, six by default.

    Beyond the ends the last value stands.

    Examples
    --------
    >>> ramp = torch.arange(8.0)[:, None].repeat(1, 2)
    >>> moved(ramp, torch.tensor([1.0, -0.5]))[3:5]
    tensor([[2.0000, 3.5000],
            [3.0000, 4.5000]])
    """
    size = len(spectra)
    place = torch.arange(size, device="cpu").to(spectra)[:, None] - channels
    below = place.floor()
    part, index = place - below, below.long()
    total = torch.zeros_like(spectra)
    for node in nodes:
        weight = math.prod((part - other) / (node - other) for other in nodes if other != node)
        total += weight * spectra.gather(0, (index + node).clamp(0, size - 1))
    return total


def slope(spectra: torch.Tensor, step: float) -> torch.Tensor:
    """Derivative of spectra ``(m, n)`` to a shift upwards, in the unit of ``step``."""
    number = spectra.new_full((spectra.shape[1],), SMALL)
    return (moved(spectra, number) - moved(spectra, -number)) / (2 * SMALL * step)


def peak(scores: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
    """Where scores ``(k, t)`` are largest, by a polynomial through five candidates.

    A parabola through three answers a change of the spectra with a little less than its size, which
    adds up: spectra and shifts that are found in turns then settle some meV away.
    """
    step = candidates[1] - candidates[0]
    index = scores.argmax(0).clamp(1, len(candidates) - 2)
    left, middle, right = _beside(scores, index, 1)
    bend = left - 2 * middle + right
    start = torch.where(bend < 0, (left - right) / (2 * bend.clamp(max=-1e-30)), 0).clamp(-1, 1)
    centre = index.clamp(2, len(candidates) - 3)
    away = (index - centre).to(scores)
    part = _refined(_beside(scores, centre, 2), start + away) - away
    return candidates.to(scores)[index] + torch.where(part.abs() < 1, part, start) * step


def _beside(scores: torch.Tensor, index: torch.Tensor, far: int) -> list[torch.Tensor]:
    return [scores.gather(0, (index + o)[None])[0] for o in range(-far, far + 1)]


def _refined(five: list[torch.Tensor], place: torch.Tensor) -> torch.Tensor:
    """The maximum near ``place`` of a polynomial through five values from -2 to 2."""
    a, b, c, d, e = five
    first = (a - 8 * b + 8 * d - e) / 12
    second = (-a + 16 * b - 30 * c + 16 * d - e) / 12
    third, fourth = (-a + 2 * b - 2 * d + e) / 2, a - 4 * b + 6 * c - 4 * d + e
    for _ in range(NEWTON):
        slope = first + place * (second + place * (third / 2 + place * fourth / 6))
        bend = second + place * (third + place * fourth / 2)
        place = torch.where(bend < 0, place - slope / bend.clamp(max=-1e-30), place)
    return place


def at(scores: torch.Tensor, candidates: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Scores at other shifts, by linear interpolation."""
    step = candidates[1] - candidates[0]
    place = ((shift - candidates[0]) / step).clamp(0, len(candidates) - 1 - 1e-9)
    below = place.floor().long()
    left, right = (scores.gather(0, (below + k)[None])[0] for k in (0, 1))
    return left + (place - below) * (right - left)
