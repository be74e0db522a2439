"""Find energies that shift from pixel to pixel, if the spectra are known roughly.

If the spectra of the components are known, the shift of a pixel is the one at which their shifted
copies explain most of it by least squares. It is found pixel by pixel, and together with the
neighbours that agree. Channels of even and of odd number, whose noise is independent, show which
of the two holds, if any.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch

from arpes_ml_plugins.constants import MAD_TO_SIGMA
from arpes_ml_plugins.separation.agreeing import agreed, agreed_variance, neighbours_help
from arpes_ml_plugins.separation.energy_shift import Shifts
from arpes_ml_plugins.separation.energy_trials import energy_trials, of_pixels
from arpes_ml_plugins.separation.extrapolation import MEMORY, extrapolated
from arpes_ml_plugins.separation.shift_errors import energy_errors, shift_errors
from arpes_ml_plugins.separation.shift_exchange import levelled
from arpes_ml_plugins.separation.shift_scan import WIDTHS, Scan, at, moved, peak, slope
from arpes_ml_plugins.separation.value_noise import ValueNoise

__all__ = ["candidates_of", "find_known_shifts", "structured"]

REACH = 0.12  # of the energy range: the largest shift looked for
STEPS = 3  # candidates per channel
SMOOTH = 1.5  # pixels: neighbours that are asked
NEAR = 1.0  # pixels: those whose shifts change alike with the spectra
ROUNDS = 100
SETTLED = 1e-4  # channels
LESS = 10  # times as much if shifts are levelled: a sum of absolute values settles slowly
UNKNOWN = 0.08  # channels: what the centres of the families differ from the spectra
FAINT = 0.1  # of the width of lines: with larger errors, shifts of single pixels show no energy
SIGNIFICANT = 5.0  # standard deviations of a covariance
LEAST = 0.15  # channels: standard deviation of shifts that are worth undoing
WORTH = 0.97  # of chi^2 without shifts: what may be left with them
OUTER, FEW = 0.95, 0.01  # of the largest candidate, and of the pixels beyond: more may be further
FREE_COST = 2.0  # chi^2 that a shift of its own fits in the noise of a pixel
FLAT = 0.03  # change per channel of a spectrum, over its length: with less, it has no energy
EVERY = slice(None)
HALVES = slice(0, None, 2), slice(1, None, 2)
"""Channels of even and of odd number."""
Halves = tuple[list[torch.Tensor], list[torch.Tensor]]
"""Free and slow shifts from either half of the channels."""


def find_known_shifts(
    pixels: torch.Tensor,
    noise: torch.Tensor,
    centres: torch.Tensor,
    step: float,
    shape: tuple[int, ...],
    largest: float | None = None,
    used: torch.Tensor | None = None,
    exact: torch.Tensor | None = None,
    by_value: ValueNoise | None = None,
    *,
    certain: bool = False,
    level: bool = True,
) -> Shifts:
    """Shifts that all components of a pixel have in common.

    Parameters
    ----------
    pixels
        ``(m, t)``, all of the image in order.
    noise
        Of every channel, ``(m,)``, positive.
    centres
        Typical spectra of the components, ``(n, m)``.
    step
        Of the energy axis, either sign.
    shape
        Of the image.
    largest
        Largest shift. Default: an eighth of the range, but only as far as each shifted spectrum is
        more similar to itself than to the others.
    used
        Pixels ``(t,)`` to find shifts from; the others were filled in from their neighbours.
    exact
        ``(n,)`` bool: spectra that are known exactly. If there are any but flat ones, their
        energies are the zero of the shifts; otherwise the mean shift is.
    by_value
        Noise of each value, if it is not that of its channel.
    certain
        Whether shifts are known to exist, however little they explain.
    level
        Whether to take, of shifts that explain as much, those that bend least.
    """
    candidates = candidates_of(centres, noise, step, largest)
    used = (
        torch.ones(pixels.shape[1], dtype=torch.bool, device="cpu") if used is None else used.cpu()
    )
    used = used.to(pixels.device)
    scan = _Scan(pixels / noise[:, None], noise, candidates, step, shape, used, by_value)
    halves = scan.of_halves(centres.mT)
    found = scan.kind(halves)
    if found is None and not certain:
        return scan.still(centres.mT)
    kind = found or "slow"
    exact = torch.zeros(len(centres), dtype=torch.bool, device="cpu") if exact is None else exact
    exact = exact.to(pixels.device)
    placed = exact & structured(centres / noise)
    level = level and not bool(placed.any())
    # Neighbours make shifts more certain, but hide how these change with the spectra.
    turns = kind if kind == "slow" and scan.faint(centres.mT) else "free"
    spectra, own, outer = _in_turns(scan, centres, exact, turns, level=level)
    shift = own if turns == kind else scan.shift(spectra, kind)
    still = scan.own_spectra(centres.mT, torch.zeros_like(shift))
    without, rest = scan.rest(still, torch.zeros_like(shift)), scan.rest(spectra, shift)
    freedom = len(pixels) - len(centres)
    fitted = FREE_COST * (1.0 if kind == "free" else scan.noise_left) * without.mean() / freedom
    gain = without - rest - fitted
    left = float(rest.mean() + fitted) / freedom
    worth = left <= WORTH * float(without.mean()) / freedom
    sure = float(gain.mean()) > SIGNIFICANT * float(gain.std()) / math.sqrt(len(gain))
    if kind == "slow" and sure and not worth:
        # Where lines are faint, shifts of neighbours fit more noise than that.
        sure = float(scan.slow_gain(spectra, still).mean()) > 0
    if not certain and not (worth or sure):
        # If as many unshifted spectra explain as much, the library differs from the data.
        return scan.still(centres.mT)
    trials = None
    if level and turns == "slow":
        trials = _trials(scan, spectra, shift, exact)
    errors = scan.errors(spectra, shift, own, kind, turns, trials, level=level)
    spread, error = scan.spread(halves, kind)
    if not certain and spread < max(error, float(errors[used].median())):
        return scan.lost(centres.mT, spread, scan.spread(halves, "slow")[0])
    energies = None if bool(placed.any()) else scan.energies(spectra, own, turns)
    if energies is not None and trials is not None:
        energies = torch.maximum(energies, trials.square().mean(0).sqrt())
    zero = 0.0 if bool(placed.any()) else shift[used].mean()
    return Shifts(
        shift - zero,
        errors,
        step,
        found=True,
        left=left,
        limit=float(candidates[-1]) if outer > FEW else None,
        energies=energies,
    )


def _in_turns(
    scan: _Scan, centres: torch.Tensor, exact: torch.Tensor, kind: str, *, level: bool
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Spectra ``(m, n)`` from the data, from which the centres of families differ a little, and
    shifts with these; and the share of pixels near the largest candidate.

    Noise pulls what the data hardly determine away from shifts that bend least, so that these are
    taken in every turn.
    """
    last, enough = float(scan.candidates[-1]), SETTLED * abs(scan.step) * (LESS if level else 1)
    spectra, shift = centres.mT, scan.shift(centres.mT, kind)
    past: list[tuple[torch.Tensor, torch.Tensor]] = []

    def own(shift: torch.Tensor) -> torch.Tensor:
        return torch.where(exact, centres.mT, scan.own_spectra(spectra, shift))

    for _ in range(ROUNDS):
        spectra = own(shift)
        found = scan.shift(spectra, kind)
        outer = float((found.abs() > OUTER * last)[scan.used].float().mean())
        if level:
            found = scan.levelled(spectra, found, kind)
        change = found - shift
        past = [*past[-MEMORY:], (shift, change)]
        if float(change[scan.used].std()) < enough:
            break
        shift = extrapolated(past, scan.used).clamp(-last, last)
    return own(shift), shift, outer


def _trials(
    scan: _Scan, spectra: torch.Tensor, shift: torch.Tensor, exact: torch.Tensor
) -> torch.Tensor:
    """Errors of energies ``(draws, n)`` in simulated data, in which shifts are known to exist."""

    def search(scaled: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        drawn = replace(scan, scaled=scaled)
        return _in_turns(drawn, spectra.mT, exact, "slow", level=True)[:2]

    return energy_trials(scan._pools, spectra, shift, search)


def candidates_of(
    centres: torch.Tensor, noise: torch.Tensor, step: float, largest: float | None
) -> torch.Tensor:
    """Shifts to try with spectra ``(n, m)``, in the unit of ``step``."""
    reach = REACH * abs(step) * (centres.shape[1] - 1) if largest is None else largest
    count = max(2, math.ceil(STEPS * reach / abs(step)))
    candidates = torch.linspace(
        -reach, reach, 2 * count + 1, dtype=centres.dtype, device=centres.device
    )
    if largest is None:
        candidates = _unmistakable(candidates, centres / noise, step)
    return candidates


def structured(spectra: torch.Tensor) -> torch.Tensor:
    """Which of ``spectra (n, m)`` show a shift, ``(n,)``: not flat backgrounds."""
    return spectra.diff(dim=1).norm(dim=1) > FLAT * spectra.norm(dim=1)


@dataclass(frozen=True)
class _Scan:
    """Squared part of every pixel that shifted spectra ``(m, n)`` explain, for all candidates."""

    scaled: torch.Tensor  # (m, t), over the noise
    noise: torch.Tensor
    candidates: torch.Tensor
    step: float
    shape: tuple[int, ...]
    used: torch.Tensor  # (t,) bool: pixels that count
    by_value: ValueNoise | None = None

    def shift(self, spectra: torch.Tensor, kind: str) -> torch.Tensor:
        scores = self._fair_scores(spectra, EVERY)
        return self._free(scores) if kind == "free" else self._slow(scores)

    def _free(self, scores: torch.Tensor) -> torch.Tensor:
        """Shifts of every pixel by itself."""
        return peak(scores, self.candidates)

    def _slow(self, scores: torch.Tensor) -> torch.Tensor:
        """Shifts with the scores of neighbours that agree, too."""
        return peak(agreed(scores, self._pools.sides(SMOOTH), self.shape), self.candidates)

    def kind(self, halves: Halves) -> str | None:
        """The significant kind of shift in :meth:`of_halves`; None if there is none.

        The noise of even and odd channels is independent, so the covariance of their shifts is that
        of true ones.
        """
        free, slow = halves
        least = (LEAST * self.step) ** 2
        if self._common(free[0] - slow[1], free[1] - slow[0], 1.0) > least:
            return "free"
        of_slow = self._common(slow[0], slow[1], 1 / self.noise_left)
        of_free = self._common(free[0], free[1], 1.0)
        if max(of_slow, of_free) <= least:
            return None
        shared = _covariance(slow[0][self.used], slow[1][self.used])[0]
        alike = self._own(free, slow)[0] <= shared
        return "slow" if alike and neighbours_help(free, slow, self.used) else "free"

    def spread(self, halves: Halves, kind: str) -> tuple[float, float]:
        """Standard deviation of shifts of this ``kind``, and of the noise of free ones (else 0)."""
        free, slow = halves
        one, other = (part[self.used] for part in (free if kind == "free" else slow))
        noise = float((one - other).square().mean()) / 4 if kind == "free" else 0.0
        return max(_covariance(one, other)[0], 0.0) ** 0.5, noise**0.5

    def of_halves(self, spectra: torch.Tensor) -> Halves:
        """Free and slow shifts from either half of the channels."""
        halves = [self._fair_scores(spectra, half) for half in HALVES]
        free, slow = ([shift(scores) for scores in halves] for shift in (self._free, self._slow))
        return free, slow

    def _own(
        self, free: Sequence[torch.Tensor], slow: Sequence[torch.Tensor]
    ) -> tuple[float, float]:
        """Variance of shifts of single pixels beside those of their neighbours, and its error."""
        one, other = ((a - b)[self.used] for a, b in zip(free, slow, strict=True))
        return _covariance(one, other)

    def faint(self, spectra: torch.Tensor) -> bool:
        """Whether shifts of single pixels are no longer small against the lines."""
        unit = spectra / self.noise[:, None]
        width = unit.norm(dim=0) / (slope(spectra, self.step) / self.noise[:, None]).norm(dim=0)
        return float(self.rough(spectra)[self.used].median()) > FAINT * float(width.median())

    def rest(self, spectra: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
        """chi^2 that shifted spectra leave of each pixel that counts."""
        scores = self._scores(self._bases(spectra, EVERY), EVERY)
        rest = self.scaled.square().sum(0) - at(scores, self.candidates, shift)
        return rest[self.used]

    def slow_gain(self, spectra: torch.Tensor, still: torch.Tensor) -> torch.Tensor:
        """What slow shifts explain more than ``still`` spectra, of each pixel that counts, less
        what they explain of noise, at however few counts.

        Shifts from half the channels explain more of these by their noise, and as much less of the
        others; shifts from all of them have at most half the variance.
        """
        scores = [self._fair_scores(spectra, half) for half in HALVES]
        shifts = [self._slow(half) for half in scores]

        def explained(shifts: Sequence[torch.Tensor]) -> torch.Tensor:
            pairs = zip(scores, shifts, strict=True)
            return sum((at(half, self.candidates, shift) for half, shift in pairs), start=zero)

        zero = torch.zeros_like(self.scaled[0])
        fixed = [at(self._fair_scores(still, half), self.candidates, zero) for half in HALVES]
        own, other = explained(shifts), explained(shifts[::-1])
        noise = (own - other) / 2
        return ((own + other) / 2 - noise / 2 - sum(fixed))[self.used]

    def rough(self, spectra: torch.Tensor) -> torch.Tensor:
        """Standard errors of free shifts, from the curvature of the scores at their maximum."""
        scores = self._scores(self._bases(spectra, EVERY), EVERY)
        step = float(self.candidates.diff()[0])
        top = peak(scores, self.candidates)
        around = [at(scores, self.candidates, top + side * 2 * step) for side in (-1, 0, 1)]
        bend = (2 * around[1] - around[0] - around[2]) / (2 * step) ** 2
        size = len(self.scaled) - spectra.shape[1]
        excess = (self.scaled.square().sum(0) - scores.amax(0)) / size
        variance = 2 * excess[self.used].mean().clamp(min=1) / bend.clamp(min=1e-30)
        largest = float(self.candidates[-1])
        return (variance + (UNKNOWN * self.step) ** 2).sqrt().clamp(max=largest)

    def errors(
        self,
        spectra: torch.Tensor,
        shift: torch.Tensor,
        own: torch.Tensor,
        kind: str,
        turns: str,
        trials: torch.Tensor | None = None,
        *,
        level: bool,
    ) -> torch.Tensor:
        """Of shifts of one ``kind``, with spectra that were found in ``turns`` with ``own`` ones of
        another.
        """
        pool = None if kind == "free" else partial(self._agreed_variance, spectra, shift)
        least = None if trials is None else of_pixels(self._pools, spectra, trials)
        widths = self._widths(turns)
        found = shift_errors(self._pools, spectra, own, widths, pool, least, level=level)
        if kind == "free":
            return found
        more, chance = self._own(*self.of_halves(spectra))
        largest = float(self.candidates[-1])
        return (found.square() + max(more - chance, 0.0)).sqrt().clamp(max=largest)

    def _agreed_variance(
        self, spectra: torch.Tensor, shift: torch.Tensor, bend: torch.Tensor, noise: torch.Tensor
    ) -> torch.Tensor:
        scores, sides = self._fair_scores(spectra, EVERY), self._pools.sides(SMOOTH)
        return agreed_variance(scores, self.candidates, shift, bend, noise, sides, self.shape)

    def energies(self, spectra: torch.Tensor, shift: torch.Tensor, kind: str) -> torch.Tensor:
        return energy_errors(self._pools, spectra, shift, self._widths(kind))

    def still(self, spectra: torch.Tensor) -> Shifts:
        """No shifts, with the errors of those of single pixels."""
        zero = torch.zeros_like(self.scaled[0])
        stderr = self.errors(spectra, zero, zero, "free", "free", level=False)
        return Shifts.none(stderr, self.step)

    def lost(self, spectra: torch.Tensor, spread: float, together: float) -> Shifts:
        """No shifts where they exist, but with larger errors: without correction pixels are nearer
        to the truth, and spectra do not align with noise. Neighbours shift ``together``.
        """
        still = self.still(spectra)
        stderr = (still.stderr.square() + spread**2).sqrt()
        energies = spectra.new_full((spectra.shape[1],), together)  # regions may differ by so much
        return replace(still, stderr=stderr, undetermined=spread, energies=energies)

    def own_spectra(self, centres: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
        """Spectra ``(m, n)`` of aligned data, by least squares with the maps of the centres."""
        noise = self.noise[:, None]
        straight = moved(self.scaled[:, self.used] * noise, -shift[self.used] / self.step) / noise
        maps = torch.linalg.lstsq(centres / noise, straight).solution
        return (straight @ torch.linalg.pinv(maps)) * noise

    def levelled(self, spectra: torch.Tensor, shift: torch.Tensor, kind: str) -> torch.Tensor:
        """Shifts that explain as much and change least from pixel to pixel."""
        return levelled(self._pools, spectra, shift, self._widths(kind))

    @property
    def _pools(self) -> Scan:
        return Scan(
            self.scaled,
            self.noise,
            self.candidates,
            self.step,
            self.shape,
            self.used,
            by_value=self.by_value,
        )

    def _widths(self, kind: str) -> torch.Tensor:
        number = 0 if kind == "free" else WIDTHS.index(NEAR)
        return torch.full_like(self.scaled[0], number, dtype=torch.long)

    def _common(self, one: torch.Tensor, other: torch.Tensor, dependent: float) -> float:
        return _common(one[self.used], other[self.used], dependent)

    @property
    def noise_left(self) -> float:
        """Variance of white noise of one in means over the neighbours."""
        return 1 / self._pools.alike(SMOOTH)

    def _scores(self, bases: list[torch.Tensor], channels: slice) -> torch.Tensor:
        """``(k, t)``: squared length of the part of each pixel that lies in their span."""
        data = self.scaled[channels]
        return torch.stack([(basis.mT @ data).square().sum(0) for basis in bases])

    def _fair_scores(self, spectra: torch.Tensor, channels: slice) -> torch.Tensor:
        """The same less what the noise of each value lets expect of it; 0 if unused.

        Spectra that are shifted to where the lines of a pixel are, whose counts have the most
        noise, explain more of this, whether they are in the pixel or not.
        """
        bases = self._bases(spectra, channels)
        scores = self._scores(bases, channels)
        if self.variance is not None:
            lever = [basis.square().sum(1) for basis in bases]
            scores = scores - torch.stack(lever) @ self.variance[channels]
        return scores * self.used

    def _bases(self, spectra: torch.Tensor, channels: slice) -> list[torch.Tensor]:
        """Of the spans of ``spectra`` at every candidate, ``(m, n)``."""
        bases = []
        for shift in self.candidates.tolist():
            number = spectra.new_full((spectra.shape[1],), shift / self.step)
            there = (moved(spectra, number) / self.noise[:, None])[channels]
            bases.append(torch.linalg.qr(there)[0])
        return bases

    @cached_property
    def variance(self) -> torch.Tensor | None:
        """Of each scaled value, ``(m, t)``, as its own size shows it, right on average."""
        if self.by_value is None:
            return None
        return (
            self.by_value.variance(self.scaled * self.noise[:, None]) / self.noise.square()[:, None]
        )


def _common(one: torch.Tensor, other: torch.Tensor, dependent: float) -> float:
    """Covariance of two maps of shifts ``(t,)`` if it is significant, else 0.

    ``dependent``: pixels in a row that smoothing makes one.
    """
    covariance, chance = _covariance(one, other)
    return covariance if covariance > SIGNIFICANT * chance * math.sqrt(dependent) else 0.0


def _covariance(one: torch.Tensor, other: torch.Tensor) -> tuple[float, float]:
    """Of two maps of shifts ``(t,)``, and what it may be by chance in independent pixels."""
    one, other = one - one.median(), other - other.median()
    limit = 3 * MAD_TO_SIGMA * torch.stack([one.abs().median(), other.abs().median()])
    one, other = (part.clamp(-cut, cut) for part, cut in zip((one, other), limit, strict=True))
    return float((one * other).mean()), float(one.std() * other.std()) / math.sqrt(len(one))


def _unmistakable(candidates: torch.Tensor, centres: torch.Tensor, step: float) -> torch.Tensor:
    """The candidates at which every spectrum is still more like itself than like another."""
    unit = centres / centres.norm(dim=1, keepdim=True)
    least, fewest = 0.0, 2.5 * float(candidates.diff()[0])
    for reach in candidates[candidates > 0].tolist():
        for side in (-1, 1):
            columns = unit.mT
            shifted = moved(columns, columns.new_full((len(unit),), side * reach / step))
            alike = unit @ (shifted / shifted.norm(dim=0))
            if not bool((alike.diagonal() >= alike.amax(0) - 1e-9).all()):
                return candidates[candidates.abs() <= max(least, fewest)]
        least = reach
    return candidates
