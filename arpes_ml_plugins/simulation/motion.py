"""Simulate how bands change from slice to slice: maps, series, phase transitions, domains.

Energies are in units of the energy window and momenta in half of the momentum window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from arpes_ml_plugins.simulation.bands import Band, log_uniform, smooth_field

__all__ = ["Motion", "draw_motion", "steady_motion"]

Array = NDArray[np.floating]

BENT, DRIFTING, STILL, STEADY = range(4)  # by what rule bands move: a map, a series, none, linear


@dataclass(frozen=True)
class Motion:
    """Changes of each band in each slice, ``(bands, slices)``, and of the whole in each slice."""

    bands: Sequence[Band]
    shift: Array
    """Of the energy."""
    slide: Array
    """Of the momentum."""
    growth: Array
    """Logarithm of the weight."""
    gap: Array
    """Half of a gap that opens around ``level``, ``(slices,)``."""
    level: float
    temperature: Array
    """Over that of the scene, ``(slices,)``."""
    exposure: Array
    """Over that of the scene, ``(slices,)``."""

    def energy(self, band: int, momentum: Array, number: int) -> Array:
        """Bare energy of a band in slice ``number``."""
        moved = momentum - self.slide[band, number]
        bare = self.bands[band].dispersion(moved) + self.shift[band, number]
        if not self.gap[number]:
            return bare
        away = bare - self.level
        return self.level + np.where(away < 0, -1, 1) * np.hypot(away, self.gap[number])

    def intensity(self, band: int, number: int) -> float:
        """Weight of a band in slice ``number``."""
        return float(self.bands[band].weight * np.exp(self.growth[band, number]))


def steady_motion(bands: Sequence[Band], slices: int) -> Motion:
    """Each band moves by the same step from slice to slice, as it was drawn."""
    steps = np.arange(slices) - (slices - 1) / 2
    shift, slide, growth = (
        np.array([getattr(band, name) for band in bands])[:, None] * steps
        for name in ("shift", "slide", "growth")
    )
    still, same = np.zeros(slices), np.ones(slices)
    return Motion(bands, shift, slide, growth, still, 0.0, same, same)


def draw_motion(bands: Sequence[Band], slices: int, rng: np.random.Generator) -> Motion:
    """Draw a map, a series or a scan over a sample, at times with a transition or with domains."""
    steady = steady_motion(bands, slices)
    rule = rng.choice(4, p=(0.35, 0.3, 0.1, 0.25))
    motion = steady if rule == STEADY else _moving(steady, rule, rng)
    if rng.random() < 0.35:
        motion = _with_transitions(motion, rng)
    if rng.random() < 0.2:
        motion = _with_gap(motion, rng)
    return replace(motion, temperature=_temperature(slices, rng), exposure=_exposure(slices, rng))


def _moving(steady: Motion, rule: int, rng: np.random.Generator) -> Motion:
    """Smooth motion, of bands together or each by itself."""
    count, slices = steady.shift.shape
    place = np.linspace(-1, 1, slices)

    def courses(largest: float) -> Array:
        if rule == STILL:
            return np.zeros((count, slices))
        together = rng.random() < 0.5
        drawn = [largest * _course(place, rule, rng) for _ in range(1 if together else count)]
        return np.broadcast_to(np.stack(drawn), (count, slices))

    shift = courses(log_uniform(rng, 0.003, 0.8))
    slide = courses(log_uniform(rng, 0.003, 0.5) * rng.choice((0, 1)))
    growth = np.stack([rng.uniform(0, 1.2) * smooth_field(place, rng) for _ in range(count)])
    return replace(steady, shift=shift, slide=slide, growth=growth)


def _course(place: Array, rule: int, rng: np.random.Generator) -> Array:
    """A smooth function of the slice, of order 1."""
    if rule == BENT:
        middle, waves = rng.uniform(-1, 1), log_uniform(rng, 0.1, 1.2)
        bent = (1 - np.cos(np.pi * waves * (place - middle))) / (1 - np.cos(np.pi * min(waves, 1)))
        return bent * rng.choice((-1.0, 1.0))
    return smooth_field(place, rng, finest=log_uniform(rng, 0.3, 3))


def _with_transitions(motion: Motion, rng: np.random.Generator) -> Motion:
    """Energies, momenta and weights jump between slices; bands appear and vanish."""
    count, slices = motion.shift.shape
    shift, slide, growth = (x.copy() for x in (motion.shift, motion.slide, motion.growth))
    largest = log_uniform(rng, 0.01, 0.3)
    for _ in range(rng.integers(1, 4)):
        after = np.arange(slices) >= rng.integers(1, max(slices, 2))
        touched = (rng.random((count, 1)) < 0.7) * after
        shift += touched * rng.normal(0, largest, (count, 1))
        slide += touched * rng.normal(0, largest, (count, 1)) * rng.choice((0, 1))
        growth += touched * rng.normal(0, 1, (count, 1))
        side = after if rng.random() < 0.5 else ~after
        growth -= 12.0 * (rng.random((count, 1)) < 0.2) * side
    return replace(motion, shift=shift, slide=slide, growth=growth)


def _with_gap(motion: Motion, rng: np.random.Generator) -> Motion:
    """A gap that closes along the slices, at once or as an order parameter does."""
    place = np.linspace(0, 1, motion.shift.shape[1])
    closed = rng.uniform(0.2, 1.3)
    gap = np.clip(1 - place / closed, 0, None) ** rng.choice((0.5, rng.uniform(0.05, 1)))
    gap = log_uniform(rng, 0.01, 0.15) * (gap if rng.random() < 0.5 else gap[::-1])
    return replace(motion, gap=gap, level=rng.uniform(-0.6, 0.0))


def _temperature(slices: int, rng: np.random.Generator) -> Array:
    """Constant, a ramp, or a pulse that decays."""
    place = np.linspace(0, 1, slices)
    kind, factor = rng.random(), log_uniform(rng, 1.5, 12)
    if kind < 0.6:
        return np.ones(slices)
    if kind < 0.8:
        return factor ** (place - 0.5)
    since = place - rng.uniform(0, 0.7)
    return 1 + factor * np.where(since < 0, 0, np.exp(-since / log_uniform(rng, 0.05, 1)))


def _exposure(slices: int, rng: np.random.Generator) -> Array:
    """Constant, a drift of the source, or its fluctuations."""
    kind = rng.random()
    if kind < 0.5:
        return np.ones(slices)
    drift = rng.uniform(0, 0.8) * smooth_field(np.linspace(-1, 1, slices), rng)
    jitter = rng.normal(0, rng.uniform(0, 0.3), slices) * (kind > 0.8)
    return np.exp(drift + jitter)
