"""Errors of spectra that were found where their families meet the signal space of the data.

They are measured, by asking the library for its own spectra: each of those near the result takes
its place in the signal space, and is looked for with noise, or without itself in its family. The
first shows what noise does to the match, at the edge of a family too; the second how well the
others replace a spectrum that lies between them. How far the result is from the signal space shows
which share of the second the data have: none if the spectrum is one of the library.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from arpes_ml_plugins.separation.matching import (
    Match,
    SignalSpace,
    closest,
    plausible,
    simplex_weights,
)

__all__ = ["as_high", "library_variance"]

NEAR = 80  # spectra of a family around the result, among which others are looked for
LEFT_OUT = 16  # the nearest of them, each looked for without itself
DRAWS = 24  # of spectra that agree with the data, looked for with noise
CLEAR = 2.0  # standard errors of a squared distance that is taken as it was measured
FEWEST = 4  # spectra of a family that show its sampling


def library_variance(
    space: SignalSpace,
    noise: torch.Tensor,
    shown: torch.Tensor,
    match: Match,
    families: tuple[torch.Tensor, ...],
    neighbours: int,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Variances of noise and of sampling, ``(m, families)`` each, of the first of ``shown``.

    Parameters
    ----------
    space
        Of the data.
    noise
        ``(m,)``, that the data were divided by.
    shown
        Spectra ``(m, n)`` of length 1.
    """
    by_noise, by_sampling = torch.zeros_like(shown), torch.zeros_like(shown)
    for number, family in enumerate(families):
        spectrum = shown[:, number]
        if len(family) == 1:  # known exactly
            continue
        weights = plausible(space, family)
        if not bool(match.present[number]) or len(family) < FEWEST:  # nothing but the library
            others = as_high(family.mT, spectrum, noise) - spectrum[:, None]
            by_sampling[:, number] = others.square() @ weights
            continue
        expected, lacking = float(match.expected[number]), float(match.lacking[number])
        trial = _Trial(space, spectrum, family, expected, lacking, noise, neighbours)
        by_noise[:, number] = trial.with_noise(weights, generator)
        beyond = float(match.distance[number]) ** 2 - trial.expected**2
        by_sampling[:, number] = trial.without_itself(beyond)
    count = len(families)
    return by_noise[:, :count], by_sampling[:, :count]


def _likely(measured: float, error: float, typical: float) -> float:
    """A squared distance that was ``measured`` with this error, if the square of its scatter before
    that was ``typical``, as its mean: both weighted with their precision.
    """
    return typical * (max(measured, 0.0) * typical + error**2) / (typical**2 + error**2)


def as_high(columns: torch.Tensor, spectra: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Whitened ``columns (m, k)``, as high as ``spectra`` (as many, or one) where these are highest
    in the unit of the data: results are shown with a largest value of 1.
    """
    spectra = spectra[:, None].expand_as(columns) if spectra.ndim == 1 else spectra
    top = (spectra.abs() * noise[:, None]).argmax(0, keepdim=True)
    ratio = spectra.gather(0, top) / columns.gather(0, top)
    return columns * torch.where(ratio.isfinite() & (ratio > 0), ratio, 1.0)


@dataclass(frozen=True)
class _Trial:
    """Look for spectra of a ``family (k, m)`` that take the place of the one found."""

    space: SignalSpace
    spectrum: torch.Tensor
    family: torch.Tensor
    expected: float
    """Distance from the signal space that noise explains."""
    lacking: float
    """Share of the part outside the signal space that was taken from the data."""
    noise: torch.Tensor
    neighbours: int

    def with_noise(self, weights: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Variance ``(m,)``, with directions as uncertain as those of the data."""
        directions = self.space.directions
        channels, number = directions.shape
        rest = (1 - self.space.reliability).clamp(min=0)
        spread = (rest / max(channels - number, 1)).sqrt()
        errors = []
        drawn = torch.multinomial(weights.cpu(), DRAWS, replacement=True, generator=generator)
        for place in drawn.tolist():
            truth = self.family[place]
            random = torch.randn(
                channels, number, generator=generator, dtype=directions.dtype, device="cpu"
            )
            noisy = self._at(truth) + random.to(directions) * spread
            found, _ = self._found(noisy, self._around(truth), truth, 0.0)
            errors.append(self._squared(found, truth))
        from_data = (self.lacking * self.expected) ** 2 / max(channels - number, 1)
        return torch.stack(errors).mean(0) + from_data

    def without_itself(self, beyond: float) -> torch.Tensor:
        """Variance ``(m,)`` due to sampling, if the squared distance of the spectrum from the
        signal space is larger by ``beyond`` than noise explains.

        What is left out of the signal space grows with what is left in it.
        Those of which the spectrum is made count most: at the edge of a family the others replace a
        spectrum worse than inside.
        """
        around = self._around(self.spectrum)
        errors, distances = [], []
        for place in range(min(LEFT_OUT, len(around))):
            truth = around[place]
            others = torch.cat([around[:place], around[place + 1 :]])
            found, distance = self._found(self._at(truth), others, truth, self.lacking)
            errors.append(self._squared(found, truth))
            distances.append(distance)
        weights = simplex_weights(around[: len(errors)].mT, self.spectrum)
        typical = max(float(weights @ weights.new_tensor(distances)), 1e-30)
        channels, number = self.space.directions.shape
        uncertain = self.expected**2 * (2 / max(channels - number, 1)) ** 0.5
        excess = beyond if beyond > CLEAR * uncertain else _likely(beyond, uncertain, typical)
        return weights @ torch.stack(errors) * (excess / typical)

    def _around(self, spectrum: torch.Tensor) -> torch.Tensor:
        order = (self.family - spectrum).norm(dim=1).argsort()
        return self.family[order[:NEAR]]

    def _at(self, truth: torch.Tensor) -> torch.Tensor:
        """Directions of the signal space, if ``truth`` were in the place of the spectrum."""
        directions = self.space.directions
        along = directions.mT @ self.spectrum
        along = along / along.norm().clamp(min=1e-12)
        inside = directions @ along
        return directions + torch.outer(truth * (truth @ inside).sign() - inside, along)

    def _found(
        self, directions: torch.Tensor, family: torch.Tensor, truth: torch.Tensor, lacking: float
    ) -> tuple[torch.Tensor, float]:
        """What :func:`match_families` finds, and its squared distance from the signal space."""
        basis, _ = torch.linalg.qr(directions)
        space = replace(self.space, directions=basis)
        found = closest(space, family, truth, self.neighbours)
        outside = space.outside(found[None])[0]
        return found - lacking * outside, float(outside @ outside)

    def _squared(self, found: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        both = as_high(torch.stack([found, truth], 1), self.spectrum, self.noise)
        return (both[:, 0] - both[:, 1]).square()
