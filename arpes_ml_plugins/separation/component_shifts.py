"""Find energies that shift by an amount of its own for each component of a pixel.

An oxide that charges on a metal that does not cannot be aligned by one shift. With spectra that are
known roughly, the shift of one component is looked for with those of the others kept, in turns: of
every candidate, the score is the squared part of the pixel that the shifted spectrum explains
beside the others. Scores are pooled with those of neighbours as far as these shift alike.

Each component keeps shifts of its own only if shifts that were found in every second channel
explain the other channels better than a common shift, or none, does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch

from arpes_ml_plugins.separation.component_errors import component_errors
from arpes_ml_plugins.separation.energy_shift import Shifts
from arpes_ml_plugins.separation.known_shift import candidates_of
from arpes_ml_plugins.separation.shift_scan import STARTS, WIDTHS, Scan, at, moved
from arpes_ml_plugins.separation.shift_trials import excess
from arpes_ml_plugins.separation.shifted_design import (
    designs,
    pieces,
    refitted,
    shifted_maps,
    shifted_model,
)
from arpes_ml_plugins.separation.value_noise import value_noise

__all__ = ["ComponentShifts", "find_component_shifts"]

ROUNDS = 30
LAST = 3  # rounds with all pixels
SETTLED = 0.003  # channels
SPANNED = 1e-4  # of the power of a family: directions with less are left out
MOST_SPANNED = 6
WORTH = 0.15  # channels: standard deviation of shifts that are worth undoing
FREE_COST = 2.0  # chi^2 that a shift of its own fits in the noise of a pixel
MOST = 6_000  # pixels to find the spectra from
LEAST = 1e-3  # of the squared length of a spectrum: less of it beside the others says nothing
SIGNIFICANT = 3.0  # standard deviations of what shifts explain


@dataclass(frozen=True)
class ComponentShifts:
    """Shifts ``(n, t)`` in units of the energy axis; of a component whose spectrum is not known
    exactly relative to their mean, weighted with its intensity.
    """

    shift: torch.Tensor
    stderr: torch.Tensor
    spread: tuple[float, ...]
    """Standard deviation of the shifts of each component, weighted with what it explains."""
    step: float
    spectra: torch.Tensor  # (m, n)
    noise: torch.Tensor  # (m,)
    found = True

    def from_mean(
        self, data: torch.Tensor, used: torch.Tensor, free: Sequence[bool]
    ) -> ComponentShifts:
        """Relative to their mean over the intensity, of components that are ``free`` to shift."""
        maps = self.maps(data, self.spectra, self.noise) * used.to(data)
        mean = (self.shift * maps).sum(1) / maps.sum(1).clamp(min=1e-30)
        mean = torch.where(torch.tensor(free, device="cpu").to(mean.device), mean, 0.0)
        spectra = moved(self.spectra, mean / self.step)
        return replace(self, shift=self.shift - mean[:, None], spectra=spectra)

    def at(self, pixels: torch.Tensor) -> ComponentShifts:
        """Those of some pixels."""
        return replace(self, shift=self.shift[:, pixels], stderr=self.stderr[:, pixels])

    def mean(self, maps: torch.Tensor) -> Shifts:
        """Of the components of each pixel, weighted with their ``maps (n, t)``."""
        part = maps.nan_to_num().clamp(min=0)
        share = part / part.sum(0).clamp(min=1e-30)
        stderr = (share * self.stderr).square().sum(0).sqrt()
        return Shifts((share * self.shift).sum(0), stderr, self.step, found=True)

    def undone(self, data: torch.Tensor) -> torch.Tensor:
        """Data ``(m, t)`` as they would be without shifts; the residual stays where it is."""
        maps = self.maps(data, self.spectra, self.noise)
        return data + self.spectra @ maps - self.model(self.spectra, maps)

    def maps(
        self,
        data: torch.Tensor,
        spectra: torch.Tensor,
        noise: torch.Tensor,
        *,
        nonnegative: bool = True,
    ) -> torch.Tensor:
        """Maps ``(n, t)`` of shifted spectra ``(m, n)``."""
        channels = self.shift / self.step
        return shifted_maps(data, spectra, channels, noise, nonnegative=nonnegative)

    def model(self, spectra: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
        """Data ``(m, t)`` of these maps, with shifted spectra."""
        return shifted_model(spectra, maps, self.shift / self.step)


def find_component_shifts(
    pixels: torch.Tensor,
    noise: torch.Tensor,
    families: Sequence[torch.Tensor],
    step: float,
    shape: tuple[int, ...],
    common: Shifts,
    largest: float | None = None,
    used: torch.Tensor | None = None,
    *,
    rounds: int = ROUNDS,
) -> ComponentShifts | None:
    """Shifts of each component; None if the data do not support more than the ``common`` ones.

    Parameters
    ----------
    pixels, noise, step, shape, largest, used
        As in :func:`~arpes_ml_plugins.separation.known_shift.find_known_shifts`.
    families
        Spectra ``(samples, m)`` that each component may have; of one that is known exactly, one.
    common
        What that function found.
    rounds
        Upper limit on the turns of spectra and shifts.
    """
    n, total = len(families), pixels.shape[1]
    used = torch.ones(total, dtype=torch.bool, device="cpu") if used is None else used.cpu()
    used = used.to(pixels.device)
    cube = pixels.reshape(-1, *shape)
    by_value = value_noise(cube, used.reshape(shape).expand_as(cube))
    plain = Scan.of(pixels, noise, step, shape, used, by_value)
    centres = torch.stack([family.mean(0) for family in families])
    scan = replace(plain, candidates=candidates_of(centres, noise, step, largest))
    spans = tuple(_span(family / noise) for family in families)
    search, still = _Search(scan, centres.mT, spans, rounds), pixels.new_zeros(n, total)
    found, rivals = search.run(still), [still]
    tested = search.tested(found)
    if common.found:
        rivals.append(common.shift.expand(n, -1))
        beside = search.run(rivals[-1])
        better = search.tested(beside)
        # These have the shifts of each pixel, which are of its noise, too.
        if _significant(better - tested - FREE_COST):
            found, tested = beside, better
    found, tested = search.without_chance(found, tested)
    spreads = [_spread(*each) for each in zip(found.shift, found.weight, strict=True)]
    if max(spreads) < WORTH * abs(step):
        return None
    for rival in rivals:
        if not _significant(tested - search.tested(replace(found, base=rival, shift=rival))):
            return None
    free = [j for j in range(n) if spreads[j]]
    found = search.settled(found, free)
    stderr = search.errors(found, free)
    shift = _filled(scan, found, stderr, spreads)
    own = ComponentShifts(shift, stderr, tuple(spreads), step, found.spectra, noise)
    return own.from_mean(pixels, used, [span.shape[1] > 1 for span in spans])


def _filled(
    scan: Scan, found: _Found, stderr: torch.Tensor, spreads: Sequence[float]
) -> torch.Tensor:
    """Shifts ``(n, t)``; where there is too little of a component, the mean of its surroundings."""
    width = WIDTHS[-1]
    around = scan.smoothed(found.shift * found.weight, width) / scan.smoothed(
        found.weight, width
    ).clamp(min=1e-30)
    limit = stderr.new_tensor(spreads)[:, None].clamp(min=abs(scan.step))
    return torch.where(stderr > limit, around, found.shift)


def _beside(base: torch.Tensor, spectra: torch.Tensor) -> _Found:
    """Nothing found yet, beside shifts ``base (n, t)``."""
    return _Found(spectra, base, base, torch.zeros_like(base, dtype=torch.long), base * 0)


def _spread(shift: torch.Tensor, weight: torch.Tensor) -> float:
    """Standard deviation of shifts ``(t,)``, where there is something that shifts."""
    share = weight / weight.sum().clamp(min=1e-30)
    mean = (shift * share).sum()
    return float(((shift - mean).square() * share).sum().sqrt())


def _span(family: torch.Tensor) -> torch.Tensor:
    """Directions ``(m, r)`` in which most of the spectra of a family ``(samples, m)`` lie."""
    values, vectors = torch.linalg.eigh(family.mT @ family)
    number = int((values > SPANNED * values[-1]).sum())
    return vectors[:, -min(number, MOST_SPANNED) :]


@dataclass(frozen=True)
class _Found:
    spectra: torch.Tensor  # (m, n)
    base: torch.Tensor  # (n, t): shifts that those of neighbours are compared beside
    shift: torch.Tensor  # (n, t)
    widths: torch.Tensor  # (n, t)
    weight: torch.Tensor  # (n, t): what the component explains of each pixel


@dataclass(frozen=True)
class _Search:
    scan: Scan
    centres: torch.Tensor  # (m, n)
    spans: tuple[torch.Tensor, ...]  # (m, r)
    rounds: int

    def run(self, base: torch.Tensor) -> _Found:
        """Shifts from spectra and spectra from shifts, in turns, beside shifts ``base (n, t)``."""
        thin, some = self.scan.thinned(MOST), self.scan.some(MOST)
        there = base.reshape(-1, *self.scan.shape)[slice(None), *some].flatten(1)
        few = replace(self, scan=thin)._in_turns(_beside(there, self.centres), self.rounds)
        if thin.shape == self.scan.shape:
            return few
        return self._in_turns(_beside(base, few.spectra), LAST)

    def settled(self, found: _Found, free: Sequence[int]) -> _Found:
        """With the spectra of these shifts if only some components are ``free`` to shift."""
        few = math.prod(self.scan.shape) <= MOST
        return self.once(self._in_turns(found, self.rounds if few else LAST, free), free)

    def errors(self, found: _Found, free: Sequence[int]) -> torch.Tensor:
        """Standard errors ``(n, t)`` of what :meth:`settled` found."""
        stderr = component_errors(self.scan, found.spectra, found.shift, found.widths)

        def again(scaled: torch.Tensor) -> torch.Tensor:
            drawn = replace(self, scan=replace(self.scan, scaled=scaled))
            return drawn.settled(_beside(found.base, found.spectra), free).shift

        scan, channels = self.scan, found.shift / self.scan.step
        maps = shifted_maps(scan.scaled * scan.noise[:, None], found.spectra, channels, scan.noise)
        model = shifted_model(found.spectra, maps, channels)
        return stderr * excess(scan, model, found.shift, stderr, found.weight, again)

    def _in_turns(self, found: _Found, rounds: int, free: Sequence[int] | None = None) -> _Found:
        free = range(found.spectra.shape[1]) if free is None else free
        for turn in range(rounds):
            before, found = found.shift, self.once(found, free, chosen=turn % 5 == 0)
            if float((found.shift - before)[:, self.scan.used].std()) < SETTLED * self._step:
                break
            found = replace(found, spectra=self._spectra(found.spectra, found.shift))
        return found

    def once(self, found: _Found, free: Iterable[int], *, chosen: bool = False) -> _Found:
        """One turn for the shifts of some components. ``chosen``: choose the widths anew."""
        for j in free:
            widths, weight = found.widths, found.weight.clone()
            if chosen:
                halves = [self._scores(found, j, half) for half in STARTS]
                widths = widths.clone()
                widths[j] = self._of(found, j).best_widths_of(halves)[0]
                found = replace(found, widths=widths)
            shift, spectra = found.shift.clone(), found.spectra.clone()
            shift[j], weight[j], mean = self._shift(found, j)
            spectra[:, j] = self._moved(spectra[:, j], mean, j)
            found = replace(found, spectra=spectra, shift=shift, weight=weight)
        return found

    def _moved(self, spectrum: torch.Tensor, energy: torch.Tensor, j: int) -> torch.Tensor:
        """Spectrum ``(m,)`` of component ``j``, moved up as far as its family allows it."""
        there = moved(spectrum[:, None], energy[None] / self.scan.step)[:, 0]
        span, noise = self.spans[j], self.scan.noise
        return span @ (span.mT @ (there / noise)) * noise if span.shape[1] > 1 else spectrum

    def _shift(
        self, found: _Found, j: int, half: int | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Shifts ``(t,)`` of a component, relative to their mean unless its energy is known, what
        it explains of each pixel, and this mean.
        """
        scores = self._scores(found, j, half)
        more = self._of(found, j).absolute(scores, found.widths[j])
        shift = found.base[j] + more
        weight = scores.amax(0)
        mean = (shift * weight).sum() / weight.sum().clamp(min=1e-30)
        if self.spans[j].shape[1] == 1:
            mean = torch.zeros_like(mean)
        return shift - mean, weight, mean

    def _of(self, found: _Found, j: int) -> Scan:
        """The scan with what is known of the spread of the shifts of a component."""
        spread = _spread(found.shift[j] - found.base[j], found.weight[j])
        return replace(self.scan, spread=max(spread, self._step) if spread else math.inf)

    def _scores(self, found: _Found, j: int, half: int | None = None) -> torch.Tensor:
        """``(k, t)``: squared part of each pixel along the shifted spectrum ``j``, beside the other
        components; 0 if unused. ``half``: of every second channel only, from this one.
        """
        scan = self.scan
        rows, n = slice(half, None, 2 if half is not None else None), len(found.shift)
        noise, others = scan.noise[:, None], [i for i in range(n) if i != j]
        reach = float(scan.candidates[-1] + found.base[j].abs().max())
        count = math.ceil(reach / float(scan.candidates[-1]) * (len(scan.candidates) // 2))
        step = scan.candidates[1] - scan.candidates[0]
        grid = torch.arange(-count, count + 1, device="cpu").to(step) * step
        shifted = moved(found.spectra[:, [j]].expand(-1, len(grid)), grid / scan.step) / noise
        shifted, size = shifted[rows], shifted[rows].square().sum(0)
        parts = []
        for some in pieces(found.shift.shape[1]):
            number = found.shift[others][:, some] / scan.step
            basis = torch.linalg.qr((designs(found.spectra[:, others], number) / noise)[:, rows])[0]
            data = scan.scaled[rows, some]
            inside = (basis.mT @ data.mT[..., None])[..., 0].mT  # (n - 1, t)
            along = torch.einsum("tmi,mk->ikt", basis, shifted)
            overlap = (along * inside[:, None]).sum(0)
            length = size[:, None] - along.square().sum(0)
            pull = (shifted.mT @ data - overlap).clamp(min=0)
            parts.append(pull.square() / length.clamp(min=LEAST * size[:, None]))
        scores = torch.cat(parts, 1) * scan.used
        if not bool(found.base[j].any()):
            return scores
        return torch.stack([at(scores, grid, found.base[j] + more) for more in scan.candidates])

    def _spectra(
        self, spectra: torch.Tensor, shift: torch.Tensor, *, free: bool = False
    ) -> torch.Tensor:
        """Spectra that belong to shifts, like their families unless ``free``."""
        scan, channels = self.scan, shift / self.scan.step
        data = scan.scaled[:, scan.used] * scan.noise[:, None]
        channels = channels[:, scan.used]
        maps = shifted_maps(data, spectra, channels, scan.noise)
        return refitted(data, spectra, maps, channels, scan.noise, None if free else self.spans)

    def _explained(self, spectra: torch.Tensor, shift: torch.Tensor, half: int) -> torch.Tensor:
        """What shifted spectra explain of every second channel of each pixel that counts, with maps
        from the others: with maps of their own they explain noise, the more the less they overlap.
        """
        scan = self.scan
        noise, others = scan.noise[half::2, None], scan.noise.clone()
        others[half::2] = float("inf")
        data = (scan.scaled * scan.noise[:, None])[:, scan.used]
        channels = shift[:, scan.used] / scan.step
        maps = shifted_maps(data, spectra, channels, others)
        rest = (data - shifted_model(spectra, maps, channels))[half::2] / noise
        return (data[half::2] / noise).square().sum(0) - rest.square().sum(0)

    def without_chance(self, found: _Found, tested: torch.Tensor) -> tuple[_Found, torch.Tensor]:
        """The same without shifts of components that chance may have brought."""
        for j in range(len(found.shift)):
            still = replace(found, shift=found.shift.clone(), base=found.base.clone())
            still.shift[j] = still.base[j] = 0
            without = self.tested(still)
            if not _significant(tested - without):
                found, tested = still, without
        return found, tested

    def _freed(self, found: _Found) -> _Found:
        """With the spectra that are best for these shifts, of their families or not: otherwise
        shifts explain what is wrong with the families.
        """
        spectra = found.spectra
        for _ in range(LAST):
            spectra = self._spectra(spectra, found.shift, free=True)
        return replace(found, spectra=spectra)

    def tested(self, found: _Found) -> torch.Tensor:
        """What shifts that were found in either half of the channels explain of the other half."""
        # One width for all pixels: those of each were chosen with the channels that test them.
        typical = found.widths.mode(1, keepdim=True).values.expand_as(found.widths)
        found = replace(self._freed(found), widths=typical)
        gain = torch.zeros_like(found.shift[0][self.scan.used])
        for half in STARTS:
            shift = found.shift
            for j in (found.shift != found.base).any(1).nonzero()[:, 0].tolist():
                shift = shift.clone()
                shift[j] = self._shift(found, j, half)[0]
            gain += self._explained(found.spectra, shift, 1 - half)
        return gain

    @property
    def _step(self) -> float:
        return abs(self.scan.step)


def _significant(gain: torch.Tensor) -> bool:
    """Whether what is gained in each pixel ``(t,)`` is more than chance."""
    return float(gain.mean()) > SIGNIFICANT * float(gain.std()) / math.sqrt(len(gain))
