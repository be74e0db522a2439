"""Solvers: each finds spectra of whitened data by one algorithm and its post-processing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from arpes_ml_plugins.errors import DataError
from arpes_ml_plugins.report import Report
from arpes_ml_plugins.separation.blind_start import factorised
from arpes_ml_plugins.separation.clusters import cluster_means, clustered
from arpes_ml_plugins.separation.excess import excess_notes
from arpes_ml_plugins.separation.few_counts import few_counts_notes, polished_nmf, seen_coarsely
from arpes_ml_plugins.separation.gmca import gmca
from arpes_ml_plugins.separation.leaks import without_leaks
from arpes_ml_plugins.separation.least_squares import least_squares, unit_columns
from arpes_ml_plugins.separation.lpalm import UnrolledSeparation, project_columns
from arpes_ml_plugins.separation.matched import matched
from arpes_ml_plugins.separation.palm import palm_path
from arpes_ml_plugins.separation.polish import MANY_SWEEPS, polish, upright
from arpes_ml_plugins.separation.projection import Manifold
from arpes_ml_plugins.separation.purity import purest
from arpes_ml_plugins.separation.restarts import restarted
from arpes_ml_plugins.separation.separated import Separated, held, known_exactly
from arpes_ml_plugins.separation.sgmca import SemiBlind, sgmca
from arpes_ml_plugins.separation.whiten import Whitened, telling_columns, thinned

__all__ = ["Clusters", "Gmca", "Lpalm", "Nmf", "Palm", "Prior", "Sgmca", "Solver", "Trained"]

PATH = 8  # values of the penalty
STEEPEST = 30.0  # of the path's first penalty, over its last
DIVERGED = 0.1  # relative misfit above that of least squares
ROUNDS = 1000  # of NMF
ENDS = {
    "cycle": "sGMCA ended in a cycle of nearly equal solutions",
    "limit": "sGMCA was still moving after its last iteration",
}


class Solver(Protocol):
    """A description of an algorithm, with one method."""

    @property
    def summed(self) -> bool:
        """Whether it uses sums of pixels if counts are few."""

    @property
    def whole(self) -> bool:
        """Whether it needs all pixels at once: maps follow from more than the spectra."""

    def separate(self, data: Whitened, report: Report | None = None) -> Separated:
        """Spectra of the whitened data."""


@dataclass(frozen=True)
class Prior:
    """Knowledge of the spectra, on the usable channels and in units of their noise."""

    start: torch.Tensor  # (k, n)
    families: list[torch.Tensor]
    blind: bool

    def held(self, spectra: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``spectra`` with those that are known exactly in their place, and which these are."""
        return held(spectra, self.families), known_exactly(self.families, spectra)

    @property
    def origin(self) -> str:
        """Where the start comes from, in words."""
        return "the blind start" if self.blind else "the mean of each family"


@dataclass(frozen=True)
class Gmca:
    """GMCA on the sparse coefficients, then alternating least squares on coefficients and pixels.

    Smooth maps have no details; only the pixels show them.
    """

    count: int
    refine: bool = True
    summed = True
    whole = False

    def separate(self, data: Whitened, report: Report | None = None) -> Separated:
        spectra = begun = upright(data, _blind(data, thinned(data), self.count))
        if self.refine:
            spectra = restarted(data, polish(data, spectra, MANY_SWEEPS), begun)
            spectra = seen_coarsely(data, spectra)
        if report:
            report(1, None)
        notes = few_counts_notes(data, spectra) or excess_notes(data, self.count)
        return _mended(data, spectra, notes) if self.refine else Separated(spectra, notes=notes)


@dataclass(frozen=True)
class Nmf:
    """Non-negative matrix factorisation of the pixels, or of a part of many."""

    count: int
    sparsity: float
    seed: int
    summed = True
    whole = False

    def separate(self, data: Whitened, report: Report | None = None) -> Separated:
        if not data.nonnegative:
            raise DataError(
                "the data are negative beyond their noise, which a non-negative factorisation "
                "cannot describe; use separate_gmca, or do not subtract a background beforehand"
            )
        chosen = telling_columns(data.pixels, data.pixels.new_ones(data.pixels.shape[1]))
        spectra, done = factorised(
            data.pixels[:, chosen],
            self.count,
            seed=self.seed,
            sparsity=self.sparsity,
            rounds=ROUNDS,
        )
        if report:
            report(1, None)
        shown, notes = polished_nmf(data, spectra)
        if not data.few and self.sparsity == 0:
            shown = purest(data, spectra)
        if shown is spectra and not done:
            notes = (f"the factorisation was still moving after {ROUNDS} rounds", *notes)
        notes = notes or excess_notes(data, self.count)
        return Separated(shown, notes=notes) if shown is spectra else _mended(data, shown, notes)


@dataclass(frozen=True)
class Clusters:
    """Groups of pixels and their mean spectra."""

    count: int
    kind: str
    by_shape: bool
    seed: int
    summed = False
    whole = True

    def separate(self, data: Whitened, report: Report | None = None) -> Separated:
        labels = clustered(
            data.pixels, self.count, kind=self.kind, by_shape=self.by_shape, seed=self.seed
        )
        if report:
            report(1, None)
        number = torch.bincount(labels, minlength=self.count)
        mean = unit_columns(data.pixels.mean(1, keepdim=True)).expand(-1, self.count)
        empty = int((number == 0).sum())
        note = (
            f"{empty} of {self.count} clusters are empty: the mean of all pixels is shown instead"
        )
        spectra = upright(data, cluster_means(data.pixels, labels, mean))
        return Separated(spectra, labels=labels, notes=(note,) if empty else ())


@dataclass(frozen=True)
class Palm:
    """PALM on a path of falling penalties, the last ``sparsity`` standard deviations of noise."""

    prior: Callable[[Whitened], Prior]
    sparsity: float
    iterations: int
    refine: bool = True
    summed = True
    whole = False

    def separate(self, data: Whitened, report: Report | None = None) -> Separated:
        prior = self.prior(data)
        chosen = telling_columns(data.sparse, data.sparse_noise)
        level = self.sparsity * float(data.sparse_noise[chosen].median())
        path = level * STEEPEST ** torch.linspace(
            1, 0, PATH, dtype=prior.start.dtype, device=prior.start.device
        )
        begin = project_columns(unit_columns(prior.start))[None]
        steps = palm_path(
            data.sparse[:, chosen].to(begin)[None], begin, path, iterations=self.iterations
        )
        spectra = unit_columns(steps[-1].mixing[0])
        empty = int((steps[-1].sources[0] == 0).all(1).sum())
        spectra, fixed = prior.held(spectra)
        some = fixed if bool(fixed.any()) else None
        if self.refine:
            begun, spectra = spectra, polish(data, spectra, fixed=fixed)
            if prior.blind:
                spectra = restarted(data, spectra, begun, prior.start)
            spectra = seen_coarsely(data, spectra) if some is None else spectra
            spectra = purest(data, spectra) if prior.blind else spectra
        if report:
            report(self.iterations, None)
        polished = ", polished by alternating least squares" if self.refine else ""
        note = (
            f"the penalty set {empty} of {spectra.shape[1]} maps to zero; their spectra are those "
            f"from before that{polished}"
        )
        more = few_counts_notes(data, spectra, some)
        if prior.blind and not more:
            more = excess_notes(data, spectra.shape[1])
        notes = (*((note,) if empty else ()), *more)
        if prior.blind and self.refine:
            return _mended(data, spectra, notes)
        return Separated(spectra, fixed=fixed, notes=notes)


@dataclass(frozen=True)
class Trained:
    """An LPALM network, the pixels of its training mixtures, and weights ``(k,)`` of channels.

    The weights are the ratio between the whitening of the network and that of the data.
    """

    network: UnrolledSeparation
    pixels: int
    weights: torch.Tensor


@dataclass(frozen=True)
class Lpalm:
    """LPALM; then check for divergence, polish the spectra and match them with the library.

    Parameters
    ----------
    prior, network
        From the data to what is known of the spectra, and to the network trained for these.
    match, refine
        Without, spectra and maps are those of the network.
    published
        Neither refine nor match, and keep the network's own sources (Appendix A): those of the
        details, and the coarse scale by the pseudo-inverse.
    """

    prior: Callable[[Whitened], Prior]
    network: Callable[[Whitened, Prior, Report | None], Trained]
    match: bool = True
    refine: bool = True
    published: bool = False
    summed = True

    @property
    def whole(self) -> bool:
        return self.published

    def separate(self, data: Whitened, report: Report | None = None) -> Separated:
        prior = self.prior(data)
        trained = self.network(data, prior, report)
        weights = trained.weights[:, None]
        mixing, sources = trained.network.separate((data.double * weights)[None], trained.pixels)
        diverged = _diverged(data.double * weights, mixing[0], sources[0])
        refine = self.refine and not self.published
        notes: tuple[str, ...] = ()
        if diverged:
            notes = (
                f"the network diverged; {prior.origin} is shown instead"
                f"{', polished by alternating least squares' if refine else ''}",
            )
        plain = mixing[0] / weights
        spectra = unit_columns(prior.start if diverged else plain)
        if self.published and not diverged:
            own = _completed(data, mixing[0], sources[0], weights) * plain.norm(dim=0)[:, None]
            return Separated(spectra, own)
        if self.published:
            return Separated(spectra, notes=notes)
        spectra, fixed = prior.held(spectra)
        if refine:
            spectra = polish(data, spectra, fixed=fixed)
            spectra = purest(data, seen_coarsely(data, spectra)) if prior.blind else spectra
        if prior.blind:
            more = few_counts_notes(data, spectra) or excess_notes(data, spectra.shape[1])
            return Separated(spectra, notes=notes + more)
        if not self.match or not refine:
            return Separated(spectra, fixed=fixed, notes=notes)
        return matched(data, spectra, prior.families, notes, trusted=not diverged)


@dataclass(frozen=True)
class Sgmca:
    """sGMCA from GMCA; then take spectra from where the signal space meets the manifolds.

    Parameters
    ----------
    manifolds
        From the data to a manifold for each of the first components, seen in units of the noise.
    count
        Components: those beyond the manifolds are free.
    match
        Without, the spectra are those of sGMCA.
    refine
        Polish the free spectra by alternating least squares.
    published
        Algorithm 1 alone: neither refine nor match, all pixels, thresholds from the sources, no
        subtraction of interference before the first projection, and its own sources.
    """

    manifolds: Callable[[Whitened, Report | None], list[Manifold]]
    count: int
    match: bool = True
    refine: bool = True
    published: bool = False
    summed = True

    @property
    def whole(self) -> bool:
        return self.published

    def separate(self, data: Whitened, report: Report | None = None) -> Separated:
        manifolds = self.manifolds(data, report)
        sparse = data.double if self.published else thinned(data)
        start = _blind(data, sparse, self.count)
        noise = None if self.published else data.scale_noise
        found = sgmca(
            sparse, start, manifolds, data.scales, noise=noise, cleaned=not self.published
        )
        if report:
            report(1, None)
        if self.match and not self.published:
            return self._matched(data, manifolds, start, found)
        spectra, known = upright(data, found.spectra), len(manifolds)
        signs = (spectra * found.spectra).sum(0).sign()
        signs[:known] = 1.0
        spectra = found.spectra * signs
        notes: tuple[str, ...] = () if found.end == "converged" else (ENDS[found.end],)
        if self.published:
            own = _completed(data, spectra, found.sources * signs[:, None])
            return Separated(spectra, own, notes=notes)
        constrained = torch.arange(self.count, device=spectra.device) < known
        if self.refine and self.count > known:
            spectra = polish(data, spectra, MANY_SWEEPS, constrained)
        exact = known_exactly([manifold.samples for manifold in manifolds], spectra)
        notes = (*notes, *few_counts_notes(data, spectra, constrained))
        return Separated(spectra, fixed=exact, notes=notes)

    def _matched(
        self, data: Whitened, manifolds: list[Manifold], start: torch.Tensor, found: SemiBlind
    ) -> Separated:
        spectra, known = upright(data, found.spectra), len(manifolds)
        spectra[:, :known] = found.spectra[:, :known]
        return matched(
            data,
            spectra,
            [manifold.family() for manifold in manifolds],
            neighbours=max((m.neighbours for m in manifolds if len(m.samples) > 1), default=1),
            blind=upright(data, start),
            refined=self.refine,
        )


def _blind(data: Whitened, sparse: torch.Tensor, count: int) -> torch.Tensor:
    # Single precision is enough for what is thresholded at three times the noise.
    found = gmca(sparse.float(), count, data.scales)
    return found.to(data.pixels)


def _mended(data: Whitened, spectra: torch.Tensor, notes: tuple[str, ...]) -> Separated:
    """Of polished spectra, without what has leaked into them."""
    spectra = without_leaks(data.even, spectra, data.nonnegative)
    return Separated(spectra, mended=True, notes=notes)


def _completed(
    data: Whitened,
    mixing: torch.Tensor,
    sources: torch.Tensor,
    weights: torch.Tensor | float = 1.0,
) -> torch.Tensor:
    """Maps ``(n, t)`` from sources of the details; the coarse scale by the pseudo-inverse.

    An image is the sum of its details and its coarse scale, so what the thresholds have changed
    of the details is added to the sources of the pixels by least squares.
    """
    if data.sparse is data.pixels:
        return sources
    change = sources - least_squares(data.double * weights, mixing)[0]
    maps = least_squares(data.pixels * weights, mixing)[0]
    return maps + change.unflatten(1, (data.scales, -1)).sum(1)


def _diverged(data: torch.Tensor, mixing: torch.Tensor, sources: torch.Tensor) -> bool:
    """Whether the network explains the data much worse than least squares with its spectra, or
    these much worse than the best spectra.
    """
    if not (torch.isfinite(mixing).all() and torch.isfinite(sources).all()):
        return True
    power = data.square().sum()
    values = torch.linalg.eigvalsh(data @ data.mT)
    best = values[: -mixing.shape[1]].clamp(min=0).sum() / power
    own = (data - mixing @ sources).square().sum() / power
    basis, _ = torch.linalg.qr(mixing)
    spanned = 1 - (basis.mT @ data).square().sum() / power
    return bool(own - best > DIVERGED) or bool(spanned - best > DIVERGED)
