"""Match families of spectra with the signal space of the data.

Whatever the maps are, every spectrum of a mixture lies in the space that the strong principal
components of the whitened data span. The spectrum of a component with a known family lies where
this space meets the family: a condition that needs neither sparse nor independent maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from arpes_ml_plugins.separation.standing_out import standing_out

__all__ = [
    "SLIGHT",
    "TOLERATED",
    "Match",
    "SignalSpace",
    "closest",
    "match_families",
    "mixture_space",
    "plausible",
    "signal_space",
    "simplex_weights",
]

MARGIN = 1.3  # over the largest eigenvalue of white noise: real noise is not quite white
NEIGHBOURS, AROUND = 12, 40
EVEN = 2.0  # times the largest eigenvalue of white noise: what is stronger is no noise
PULL = 0.05  # of the estimate at hand, against the distance from the signal space
CLEAR = 3.0  # standard errors of a squared distance that is not noise
TOLERATED = 3.0  # times the distance that noise explains
SLIGHT = 0.03  # distance of a family that does not hold the spectrum; its samples are as far apart
FEWEST = 4.0  # effective number of spectra of a family that are never told apart
WARMINGS = 60
PRESENT = 0.5  # a spectrum is in the data if the signal space is that much closer than the others


@dataclass(frozen=True)
class SignalSpace:
    """Principal directions ``(m, r)`` above the noise, and how reliable each is ``(r,)``."""

    directions: torch.Tensor
    reliability: torch.Tensor

    def outside(self, spectra: torch.Tensor) -> torch.Tensor:
        """The part of rows ``(k, m)`` outside the signal space."""
        return spectra - spectra @ self.directions @ self.directions.mT

    def with_known(self, spectra: torch.Tensor) -> SignalSpace:
        """The same with those of the spectra ``(k, m)``, known exactly, that are not in it.

        If maps depend on each other, as those of grains on a uniform background do, the data have
        fewer directions than spectra: each lies in their space only together with the others.
        """
        outside = self.outside(spectra)
        limit = (TOLERATED * self.uncertainty(spectra)).clamp(min=SLIGHT)
        hidden = outside[outside.norm(dim=1) > limit]
        if len(hidden) == 0:
            return self
        size, more = torch.linalg.svd(hidden, full_matrices=False)[1:]
        more = more[size > SLIGHT * size[0]]
        return SignalSpace(
            torch.cat([self.directions, more.mT], 1),
            torch.cat([self.reliability, self.reliability.new_ones(len(more))]),
        )

    def uncertainty(self, spectra: torch.Tensor) -> torch.Tensor:
        """Expected distance of true spectra ``(k, m)`` from the signal space, due to its noise."""
        along = (spectra @ self.directions).square()
        return (along * (1 - self.reliability)).sum(1).clamp(min=0).sqrt()

    def lacking(self, distance: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
        """Share, 0 to 1, of the part outside that is no noise, if this ``distance`` was found and
        noise explains the ``expected`` one; 0 unless the difference is significant.

        It is that of James and Stein (1961): with it, an estimate is better on average than both
        the family and the data.
        """
        channels, number = self.directions.shape
        excess = distance.square() - expected.square()
        chance = expected.square() * (2 / max(channels - number, 1)) ** 0.5
        share = excess / distance.square().clamp(min=1e-30)
        return torch.where(excess > CLEAR * chance, share, 0.0)


def signal_space(data: torch.Tensor, most: int | None = None, together: float = 1.0) -> SignalSpace:
    """Directions of whitened data ``(m, t)`` with a variance that white noise cannot reach; the
    ``most`` strongest of them, if a number is given. ``together``: pixels that count as one, since
    they share their noise.

    The reliability is the squared cosine between a measured and the true direction in the spiked
    model (Baik, Ben Arous and Péché 2005; Paul 2007): 1 far above the noise, 0 at its edge.

    Examples
    --------
    >>> x = torch.randn(6, 500, generator=torch.Generator().manual_seed(0))
    >>> x[0] *= 30
    >>> space = signal_space(x)
    >>> space.directions.shape, bool(space.reliability[0] > 0.99)
    (torch.Size([6, 1]), True)
    """
    channels, pixels = data.shape
    values, vectors = torch.linalg.eigh(data @ data.mT / pixels)
    ratio = channels / pixels * together
    strong = values > MARGIN * (1 + ratio**0.5) ** 2
    if most is not None:
        strong[: max(len(values) - most, 0)] = False
    value = values[strong]
    # lambda = (1 + l)(1 + ratio / l) solved for the strength l of the spike.
    b = value - 1 - ratio
    spike = 0.5 * (b + (b.square() - 4 * ratio).clamp(min=0).sqrt())
    reliability = ((1 - ratio / spike.square()) / (1 + ratio / spike)).clamp(0, 1)
    return SignalSpace(vectors[:, strong], reliability)


def mixture_space(
    pixels: torch.Tensor,
    even: torch.Tensor,
    families: Sequence[torch.Tensor],
    count: int,
    together: float = 1.0,
) -> SignalSpace:
    """The space of ``count`` spectra in whitened ``pixels (m, t)``, with those of the ``families``
    that are known exactly.

    Noise that differs from pixel to pixel is strong in many directions. If in ``even`` pixels, with
    about the same noise, no more than ``count`` stand out of the others, these are the space.
    """
    if standing_out(even, count + 1, EVEN) <= count:
        space = signal_space(even, count, together)
    else:
        space = signal_space(pixels, None, together)
    fixed = [family for family in families if len(family) == 1]
    missing = space.directions.shape[1] < count
    return space.with_known(torch.cat(fixed)) if fixed and missing else space


@dataclass(frozen=True)
class Match:
    """Spectra ``(m, n)`` of length 1, and the agreement of library and data."""

    spectra: torch.Tensor
    distance: torch.Tensor  # (n,), sine of the angle between family and signal space
    expected: torch.Tensor  # (n,), the distance that noise explains
    present: torch.Tensor  # (n,) bool: the data contain the component
    lacking: torch.Tensor  # (n,), share of the part outside the signal space that is not shown


def match_families(
    space: SignalSpace,
    families: list[torch.Tensor],
    near: torch.Tensor | None = None,
    neighbours: int = NEIGHBOURS,
) -> Match:
    """Find the spectrum of each family that is closest to the signal space.

    Parameters
    ----------
    families
        Families ``(samples, m)``, one per component, rows of length 1, whitened like the data. A
        single spectrum is fixed, whatever the data.
    near
        Estimates ``(m, n)``, to choose between spectra that are about equally close to the signal
        space.
    neighbours
        Spectra of a family that are mixed; 1 takes one as it is.
    """
    best = []
    for i, family in enumerate(families):
        estimate = None if near is None else near[:, i]
        best.append(closest(space, family, estimate, neighbours))
    known = torch.stack(best)
    outside = space.outside(known)
    distance, expected = outside.norm(dim=1), space.uncertainty(known)
    present = distance < PRESENT * _apart(known)
    # What noise does not explain of the distance, the family lacks: use the data instead.
    free = torch.tensor([len(family) > 1 for family in families], device=known.device)
    if neighbours == 1:  # as it is, as long as it can be
        free &= distance > TOLERATED * expected
    lacking = torch.where(present & free, space.lacking(distance, expected), 0.0)
    spectra = known - lacking[:, None] * outside
    spectra = spectra / spectra.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return Match(spectra.mT, distance, expected, present, lacking)


def plausible(space: SignalSpace, family: torch.Tensor) -> torch.Tensor:
    """Probability of each spectrum of a family ``(samples, m)`` to be that of the data.

    It follows from the distance to the signal space and its noise, but is spread over a few spectra
    at least: between its samples a family is known no better than their distance.
    """
    distance = space.outside(family).square().sum(1)
    free = max(family.shape[1] - len(space.reliability), 1)
    variance = space.uncertainty(family).square()[distance.argmin()] / free
    excess = (distance - distance.min()) / 2
    colder = excess / variance.clamp(min=1e-30)
    for _ in range(WARMINGS):
        weights = torch.softmax(-colder, 0)
        if float(weights.square().sum()) < 1 / FEWEST:
            break
        colder = colder / 1.5
    return weights


def closest(
    space: SignalSpace, family: torch.Tensor, estimate: torch.Tensor | None, neighbours: int
) -> torch.Tensor:
    """The spectrum ``(m,)`` of a family ``(samples, m)`` that is closest to the signal space."""
    outside = space.outside(family)
    rank = outside.square().sum(1)
    if estimate is not None:
        unit = estimate / estimate.norm().clamp(min=1e-12)
        rank = rank + (PULL * (family - unit).norm(dim=1)).square()
    # Around the best only: a family may meet the space a second time, in another component.
    around = (family - family[rank.argmin()]).norm(dim=1).argsort()[:AROUND]
    nearest = around[rank[around].argsort()[:neighbours]]
    weights = simplex_weights(outside[nearest].mT, outside.new_zeros(len(family[0])))
    mixed = weights @ family[nearest]
    return mixed / mixed.norm().clamp(min=1e-12)


def simplex_weights(corners: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Weights, non-negative and of sum 1, that bring ``corners (m, k)`` closest to ``target``.

    Examples
    --------
    >>> simplex_weights(torch.eye(2), torch.tensor([0.3, 0.7]))
    tensor([0.3000, 0.7000])
    """
    from scipy.optimize import nnls

    size = float(corners.abs().max().clamp(min=1e-12))
    heavy = 100 * size
    system = torch.cat([corners, corners.new_full((1, corners.shape[1]), heavy)])
    right = torch.cat([target, target.new_tensor([heavy])])
    found, _ = nnls(system.cpu().double().numpy(), right.cpu().double().numpy())
    weights = torch.as_tensor(found, device="cpu").to(corners)
    return weights / weights.sum().clamp(min=1e-12)


def _apart(spectra: torch.Tensor) -> torch.Tensor:
    """Sine of the angle between each row and the space of all others."""
    found = []
    for i, left in enumerate(spectra):
        others = torch.cat([spectra[:i], spectra[i + 1 :]])
        if len(others):
            basis, _ = torch.linalg.qr(others.mT)
            left = left - basis @ (basis.mT @ left)
        found.append(left.norm())
    return torch.stack(found)
