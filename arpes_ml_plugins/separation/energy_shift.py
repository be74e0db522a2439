"""Find energies that shift from pixel to pixel: charging, band bending, strain, work function.

Aligned pixels lie in the space of as few spectra as there are components; shifted ones do not. The
shifts are those with which that space explains most of the data. It is found in turns with the
shifts, starting from the principal components.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from arpes_ml_plugins.separation.extrapolation import MEMORY, extrapolated
from arpes_ml_plugins.separation.shift_errors import shift_errors
from arpes_ml_plugins.separation.shift_exchange import levelled
from arpes_ml_plugins.separation.shift_scan import Scan, beyond, moved
from arpes_ml_plugins.separation.shift_trials import excess
from arpes_ml_plugins.separation.value_noise import ValueNoise

__all__ = ["Shifts", "find_shifts"]

REACH = 0.12  # of the energy range: the largest shift looked for
GROWING = (0.25, 0.5, 1.0)  # of it: no larger shifts than needed
NEEDED = 1.01  # times what smaller shifts explain, if larger ones are looked for thriftily
OUTER, FEW = 0.9, 0.002  # of the reach, and of the pixels beyond: more are not needed
TELLING = 0.01  # of the pixels beyond: more are told
ROUNDS = 30
AGAIN = (0, 4, 8, 12, 16, 20, 24, 28)  # rounds at which the widths are chosen
SETTLED = 0.001  # channels
FILLINGS = 5
MOST = 6_000  # pixels to find the spectra from
SIGNIFICANT = 5.0  # standard deviations
WORTH = 0.97  # of chi^2 without shifts: what may be left with them
LEAST = 0.15  # channels: standard deviation of shifts that are worth undoing


@dataclass(frozen=True)
class Shifts:
    """Shifts of ``t`` pixels, in units of the energy axis, relative to their mean."""

    shift: torch.Tensor
    stderr: torch.Tensor
    step: float
    """Of the energy axis."""
    found: bool
    """Whether the data shift at all; ``shift`` is zero otherwise."""
    left: float = math.nan
    """chi^2 per degree of freedom that is left with these shifts, if there are any."""
    spectra: torch.Tensor | None = None
    """``(m, n)``: some that span the aligned data."""
    noise: torch.Tensor | None = None
    """``(m,)``: of the channels."""
    instead: bool = False
    """Whether they explain more than one component more would, which has as many values."""
    energies: torch.Tensor | None = None
    """``(n,)``: errors of the energies of known spectra, if these follow from shifted pixels."""
    limit: float | None = None
    """Largest shift that was looked for, if pixels reach it."""
    undetermined: float | None = None
    """Standard deviation of shifts that exist, but are less than their errors: not corrected."""

    def undone(self, data: torch.Tensor) -> torch.Tensor:
        """Data ``(m, t)`` as they would be without shifts.

        Channels that were not measured, as they lie beyond the ends of the axis, are filled in.
        """
        channels = -self.shift / self.step
        straight = moved(data, channels)
        if self.spectra is None or self.noise is None:
            return straight
        missing = beyond(len(data), channels)
        noise = self.noise[:, None]
        basis = torch.linalg.qr(self.spectra / noise)[0]
        # With noise as everywhere: without, these channels would seem to be the most accurate.
        draw = torch.Generator().manual_seed(0)
        random = torch.randn(data.shape, generator=draw, device="cpu", dtype=torch.float32)
        for _ in range(FILLINGS):
            model = basis @ (basis.mT @ (straight / noise)) * noise
            straight = torch.where(missing, model, straight)
        return torch.where(missing, straight + random.to(straight) * noise, straight)

    def back(self, model: torch.Tensor) -> torch.Tensor:
        """A model of data without shifts, ``(m, t)``, where the data are."""
        return moved(model, self.shift / self.step) if self.found else model

    def model(self, spectra: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
        """Data ``(m, t)`` of maps ``(n, t)``, with shifted spectra ``(m, n)``."""
        return self.back(spectra @ maps)

    @classmethod
    def none(cls, stderr: torch.Tensor, step: float) -> Shifts:
        """Zero shifts, with their standard errors."""
        return cls(torch.zeros_like(stderr), stderr, step, found=False)


def find_shifts(
    pixels: torch.Tensor,
    noise: torch.Tensor,
    count: int,
    step: float,
    shape: tuple[int, ...],
    largest: float | None = None,
    used: torch.Tensor | None = None,
    by_value: ValueNoise | None = None,
    *,
    certain: bool = False,
    thrifty: bool = False,
) -> Shifts:
    """Shifts that all components of a pixel have in common.

    Parameters
    ----------
    pixels
        ``(m, t)``, all of the image in order.
    noise
        Of every channel, ``(m,)``, positive.
    count
        Of components.
    step
        Of the energy axis, either sign.
    shape
        Of the image.
    largest
        Largest shift. Default: an eighth of the range, but no further than the data need.
    used
        Pixels ``(t,)`` to find shifts from; the others were filled in from their neighbours.
    by_value
        Noise of each value, if it is not that of its channel.
    certain
        Whether shifts are known to exist, however little they explain.
    thrifty
        Whether larger shifts must explain more although they are compared on fewer channels, for a
        number of components that may be too small: large shifts replace missing ones.
    """
    used = torch.ones(pixels.shape[1], dtype=torch.bool, device="cpu") if used is None else used
    scan = Scan.of(pixels, noise, step, shape, used.to(pixels.device), by_value)
    found = _search(scan.thinned(MOST), count, largest, thrifty=thrifty)
    scan = replace(scan.up_to(found.reach), spread=found.spread)
    if not certain and found.gain <= 0:
        return _still(scan, found.spectra)
    widths, _ = scan.best_widths(found.spectra)
    scores = scan.scores(found.spectra)
    shift = scan.shift(scores, widths)
    rest, fitted = scan.rest(scores, shift), scan.fitted(widths)
    left = float(rest.mean()) / (scan.size - count - float(fitted.mean()))
    without = float(scan.rest_unshifted(count).mean()) / (scan.size - count)
    small = float(shift[scan.used].std()) < LEAST * abs(step)
    if not certain and (small or left > WORTH * without):
        return _still(scan, found.spectra)
    stderr = shift_errors(scan, found.spectra, shift, widths)
    if not thrifty:
        stderr = stderr * _excess(scan, found, shift, stderr)
    gain = scan.rest_unshifted(count + 1) + 1 - rest - fitted
    outer = float((shift.abs() > OUTER * found.reach)[scan.used].float().mean())
    return Shifts(
        shift,
        stderr,
        step,
        found=True,
        left=left,
        spectra=found.spectra,
        noise=noise,
        instead=_certain(gain),
        limit=found.reach if outer > TELLING else None,
    )


def _still(scan: Scan, spectra: torch.Tensor) -> Shifts:
    zero = torch.zeros_like(scan.scaled[0])
    return Shifts.none(shift_errors(scan, spectra, zero, zero.long(), level=False), scan.step)


@dataclass(frozen=True)
class _Found:
    spectra: torch.Tensor  # (m, n)
    shift: torch.Tensor  # (t,)
    widths: torch.Tensor  # (t,)
    explained: torch.Tensor
    """``(t,)``: what the shifts explain of channels that they were not found in."""
    gain: float
    """How much more that is than without shifts, in all."""
    reach: float
    spread: float


def _excess(scan: Scan, found: _Found, shift: torch.Tensor, stderr: torch.Tensor) -> torch.Tensor:
    """How many times their errors shifts of simulated data are off; from about ``MOST`` pixels."""
    some = scan.some(MOST)
    thin = scan.thinned(MOST)
    there, error = (x.reshape(scan.shape)[some].flatten() for x in (shift, stderr))
    there = there - there[thin.used].mean()  # as spectra and shifts of these pixels are found
    basis = torch.linalg.qr(found.spectra / scan.noise[:, None])[0]
    channels, noise = there / scan.step, scan.noise[:, None]
    straight = moved(thin.scaled * noise, -channels) / noise
    model = moved(basis @ (basis.mT @ straight) * noise, channels)

    def again(scaled: torch.Tensor) -> torch.Tensor:
        drawn = replace(thin, scaled=scaled)
        return _in_turns(drawn, found.spectra, None, again=True).shift[None]

    used = thin.used.to(error)[None]
    return excess(thin, model, there[None], error[None], used, again)[0]


def _search(scan: Scan, count: int, largest: float | None, *, thrifty: bool) -> _Found:
    """Shifts no larger than the data need: with larger ones, a spectrum may replace another."""
    limit = REACH * abs(scan.step) * (len(scan.scaled) - 1) if largest is None else largest
    spectra = scan.subspace(torch.zeros_like(scan.scaled[0]), count)
    shares = GROWING if largest is None else (1.0,)
    found: _Found | None = None
    for share in shares:
        further = scan.up_to(share * limit)
        more = _in_turns(further, spectra, found, again=not thrifty)
        if found is not None and thrifty and more.gain <= NEEDED * found.gain:
            return found
        if found is not None and _certain(_explained(further, found) - more.explained):
            return found
        found = more
        outer = found.shift[scan.used].abs() > OUTER * found.reach
        if found.gain <= 0 or float(outer.float().mean()) < FEW:
            return found
    assert found is not None
    return found


def _explained(further: Scan, found: _Found) -> torch.Tensor:
    """What shifts explain of the channels that are compared for larger ones."""
    near = further.up_to(found.reach).candidates
    return replace(further, candidates=near, spread=found.spread).best_widths(found.spectra)[1]


def _certain(gain: torch.Tensor) -> bool:
    """Whether the mean of pixels is above zero by more than chance."""
    return float(gain.mean()) > SIGNIFICANT * float(gain.std()) / math.sqrt(len(gain))


def _in_turns(scan: Scan, spectra: torch.Tensor, before: _Found | None, *, again: bool) -> _Found:
    """Shifts from spectra, and these from aligned pixels, until the shifts settle.

    The iteration is slow, as errors of the shifts and of the spectra look alike, and therefore
    extrapolated.
    """
    count, reach = spectra.shape[1], float(scan.candidates[-1])
    still = float(scan.explained_unshifted(count).sum())
    if before is None:
        widths, each = scan.best_widths(spectra)
        gain = float(each.sum()) - still
        shift = scan.shift(scan.scores(spectra), widths)
    else:
        shift, widths, gain = before.shift, before.widths, before.gain
    past: list[tuple[torch.Tensor, torch.Tensor]] = []
    for turn in range(ROUNDS if gain > 0 else 0):
        if turn in AGAIN:
            past = []
            scan = replace(scan, spread=max(float(shift[scan.used].std()), abs(scan.step)))
            shift = levelled(scan, scan.subspace(shift, count), shift, widths)
            widths, _ = scan.best_widths(scan.subspace(shift, count))
        change = scan.shift(scan.scores(scan.subspace(shift, count)), widths, again=again) - shift
        past = [*past[-MEMORY:], (shift, change)]
        if float(change[scan.used].std()) < SETTLED * abs(scan.step):
            shift = shift + change
            break
        shift = extrapolated(past, scan.used).clamp(-reach, reach)
    shift = scan.shift(scan.scores(scan.subspace(shift, count)), widths)
    shift = levelled(scan, scan.subspace(shift, count), shift, widths)
    spectra = scan.subspace(shift, count)
    widths, each = scan.best_widths(spectra)
    gain = float(each.sum()) - still
    return _Found(spectra, shift, widths, each, gain, reach, scan.spread)
