"""Random dispersions, matrix elements and backgrounds for simulated scenes.

Momentum runs from -1 to 1 and energies are in units of the energy window, so that one draw looks
the same whatever the axes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Band", "draw_bands", "log_uniform", "smooth_field"]

Array = NDArray[np.floating]
Dispersion = Callable[[Array], Array]


@dataclass(frozen=True)
class Band:
    """One band and how it moves from slice to slice of a series."""

    dispersion: Dispersion
    weight: float
    shift: float
    """Change of the energy per slice."""
    slide: float
    """Change of the momentum per slice."""
    growth: float
    """Logarithm of the ratio of the weights of consecutive slices."""


def draw_bands(rng: np.random.Generator) -> list[Band]:
    """One to seven bands or pairs of bands."""
    bands = []
    shift, slide = rng.normal(0, 0.012), rng.normal(0, 0.02)
    for _ in range(1 + rng.binomial(6, 0.3)):
        weight = log_uniform(rng, 0.08, 1.0)
        growth = rng.normal(0, 0.06)
        together = rng.random() < 0.5
        own_shift = shift if together else rng.normal(0, 0.012)
        shapes = SHAPES[rng.integers(len(SHAPES))](rng)
        bands += [Band(shape, weight, own_shift, slide, growth) for shape in shapes]
    return bands


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number whose logarithm is uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def smooth_field(x: Array, rng: np.random.Generator, terms: int = 4, finest: float = 3.0) -> Array:
    """A random smooth function with a variance of about 1; features no finer than 1 / finest."""
    frequency = rng.uniform(0, finest, terms)
    phase = rng.uniform(0, 2 * np.pi, terms)
    amplitude = rng.normal(0, 1, terms) * np.sqrt(2 / terms)
    waves = np.cos(np.pi * frequency * x[..., None] + phase)
    return waves @ amplitude


def _sign(rng: np.random.Generator) -> float:
    return float(rng.choice((-1.0, 1.0)))


def _parabola(rng: np.random.Generator) -> list[Dispersion]:
    top, centre = rng.uniform(-1.3, 0.4), rng.uniform(-1, 1)
    curvature = _sign(rng) * log_uniform(rng, 0.1, 8)
    return [lambda k: top + curvature * (k - centre) ** 2]


def _line(rng: np.random.Generator) -> list[Dispersion]:
    crossing, slope = rng.uniform(-1, 1), _sign(rng) * log_uniform(rng, 0.2, 6)
    return [lambda k: slope * (k - crossing)]


def _cone(rng: np.random.Generator) -> list[Dispersion]:
    node, centre = rng.uniform(-1.2, 0.3), rng.uniform(-0.8, 0.8)
    velocity, gap = log_uniform(rng, 0.3, 5), rng.choice((0.0, log_uniform(rng, 0.005, 0.2)))
    return [
        lambda k: node + np.sqrt(gap**2 + (velocity * (k - centre)) ** 2),
        lambda k: node - np.sqrt(gap**2 + (velocity * (k - centre)) ** 2),
    ]


def _cosine(rng: np.random.Generator) -> list[Dispersion]:
    middle, swing = rng.uniform(-1.1, 0.2), log_uniform(rng, 0.02, 0.8)
    waves, phase = rng.uniform(0.3, 4), rng.uniform(0, 2 * np.pi)
    return [lambda k: middle + swing * np.cos(np.pi * waves * k + phase)]


def _rashba(rng: np.random.Generator) -> list[Dispersion]:
    top, centre = rng.uniform(-1.2, 0.3), rng.uniform(-0.5, 0.5)
    curvature, split = _sign(rng) * log_uniform(rng, 0.3, 6), log_uniform(rng, 0.03, 0.3)
    return [
        lambda k: top + curvature * (k - centre - split) ** 2,
        lambda k: top + curvature * (k - centre + split) ** 2,
    ]


def _flat(rng: np.random.Generator) -> list[Dispersion]:
    """A flat band, or a core level with its spin-orbit partner."""
    level, swing = rng.uniform(-1.1, 0.05), rng.choice((0.0, log_uniform(rng, 0.003, 0.05)))
    phase = rng.uniform(0, 2 * np.pi)
    found: list[Dispersion] = [lambda k: level + swing * np.cos(2 * np.pi * k + phase)]
    if rng.random() < 0.4:
        split = log_uniform(rng, 0.03, 0.5)
        found.append(lambda k: level - split + 0 * k)
    return found


def _wavy(rng: np.random.Generator) -> list[Dispersion]:
    middle, swing = rng.uniform(-1.1, 0.2), log_uniform(rng, 0.02, 0.5)
    state = rng.integers(2**32)
    return [lambda k: middle + swing * smooth_field(k, np.random.default_rng(state))]


SHAPES = (_parabola, _parabola, _line, _line, _cone, _cosine, _rashba, _flat, _wavy)
