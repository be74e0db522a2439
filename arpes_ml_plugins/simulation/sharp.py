"""Simulate scenes with sharp features: narrow lines, doublets, hard edges, replicas, dark tails.

Distances are in pixels, because networks work on pixels. The scenes of the benchmarks are not
among these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arpes_ml_plugins.simulation.bands import draw_bands, log_uniform, smooth_field

__all__ = ["SharpScene", "aperture", "draw_sharp"]

Array = NDArray[np.floating]


@dataclass(frozen=True)
class SharpScene:
    """Expected intensity ``(rows, columns)``, 1 at the brightest pixel, and a pattern in it."""

    rate: Array
    probe: Array
    """A weak pattern of the same unit, which the rate holds or does not hold; may be zero."""


def draw_sharp(size: tuple[int, int], rng: np.random.Generator) -> SharpScene:
    """One random scene of ``size`` pixels."""
    kinds = (_lines, _replica, _tail, _plain)
    image, probe = kinds[rng.choice(len(kinds), p=(0.45, 0.3, 0.18, 0.07))](size, rng)
    if rng.random() < 0.35:
        window = aperture(size, rng)
        image, probe = image * window, probe * window
    image = image + log_uniform(rng, 1e-6, 1e-2) * rng.choice((0, 1)) * image.max()
    top = max(float(image.max()), 1e-12)
    return SharpScene(image / top, probe / top)


def aperture(size: tuple[int, int], rng: np.random.Generator) -> Array:
    """Transmission of a round or polygonal window; its edge is as sharp as a pixel or softer."""
    row, column = (axis - (n - 1) / 2 for axis, n in zip(np.indices(size), size, strict=True))
    scale = min(size) / 2
    if rng.random() < 0.4:
        middle = rng.uniform(-0.4, 0.4, 2) * scale
        radii = rng.uniform(0.5, 1.4, 2) * scale
        across = np.hypot((row - middle[0]) / radii[0], (column - middle[1]) / radii[1]) - 1
        inward = -across * radii.min()
    else:
        inward = np.full(size, np.inf)
        for _ in range(rng.integers(1, 4)):
            angle = rng.uniform(0, 2 * np.pi) if rng.random() < 0.5 else np.pi / 2 * rng.integers(4)
            along = np.cos(angle) * row + np.sin(angle) * column
            inward = np.minimum(inward, rng.uniform(0.1, 1.0) * scale - along)
    soft = log_uniform(rng, 0.05, 3.0)
    outside = rng.choice((0.0, log_uniform(rng, 1e-5, 3e-2)))
    return outside + (1 - outside) / (1 + np.exp(-np.clip(inward / soft, -60, 60)))


def _profile(rng: np.random.Generator) -> Callable[[Array], Array]:
    """Cross-section of a line, against the distance in pixels; 1 at the centre."""
    if rng.random() < 0.5:
        sigma = log_uniform(rng, 0.45, 4.0)
        return lambda x: np.exp(-((x / sigma) ** 2) / 2)
    half, power = log_uniform(rng, 0.4, 4.0), rng.choice((1.0, rng.uniform(1, 2)))
    return lambda x: (half**2 / (x**2 + half**2)) ** power


def _distance(size: tuple[int, int], rng: np.random.Generator) -> Callable[[float], Array]:
    """Distance in pixels from a random curve, as a function of a shift of that curve."""
    row, column = np.indices(size).astype(float)
    if rng.random() < 0.5:
        row, column = column, row
    length = float(column.max())
    t = column / length - 0.5
    slope = rng.choice((0.0, rng.uniform(-1, 1), rng.normal(0, 3)), p=(0.1, 0.6, 0.3)) * length
    bend = rng.choice((0.0, rng.normal(0, 0.5)), p=(0.5, 0.5)) * length
    wave, turns = rng.choice((0.0, rng.normal(0, 0.05)), p=(0.7, 0.3)) * length, rng.uniform(1, 4)
    phase = rng.uniform(0, 2 * np.pi)
    centre = row.max() * rng.uniform(0.15, 0.85)
    centre = centre + slope * t + bend * t**2 + wave * np.sin(turns * np.pi * t + phase)
    steep = slope + 2 * bend * t + wave * turns * np.pi * np.cos(turns * np.pi * t + phase)
    away = (row - centre) / np.hypot(1, steep / length)
    return lambda shift: away - shift


def _occupied(size: tuple[int, int], rng: np.random.Generator) -> Array:
    """An edge across the image, or none."""
    if rng.random() < 0.5:
        return np.ones(size)
    axis = np.arange(size[1]) - size[1] * rng.uniform(0.5, 1.0)
    return np.broadcast_to(
        1 / (1 + np.exp(np.clip(axis / log_uniform(rng, 0.3, 6), -60, 60))), size
    )


def _background(size: tuple[int, int], rng: np.random.Generator) -> Array:
    field = np.exp(
        rng.choice((0.0, 0.4 * rng.random()))
        * smooth_field(np.linspace(-1, 1, size[0]), rng)[:, None]
    )
    ramp = 1 + rng.choice((0.0, rng.uniform(0, 2))) * np.linspace(1, 0, size[1])[None]
    return log_uniform(rng, 1e-3, 0.5) * field * ramp


def _lines(size: tuple[int, int], rng: np.random.Generator) -> tuple[Array, Array]:
    image = np.zeros(size)
    for _ in range(1 + rng.binomial(3, 0.3)):
        away, profile = _distance(size, rng), _profile(rng)
        weight = log_uniform(rng, 0.1, 1.0)
        one = profile(away(0.0))
        if rng.random() < 0.45:
            one = one + log_uniform(rng, 0.15, 1.0) * profile(away(rng.uniform(1.5, 9.0)))
        if rng.random() < 0.4:
            one = one * np.exp(0.5 * smooth_field(np.linspace(-1, 1, size[1]), rng))[None]
        image += weight * one
    image = (image + _background(size, rng)) * _occupied(size, rng)
    return image, np.zeros(size)


def _bands(size: tuple[int, int], rng: np.random.Generator) -> Array:
    """Bands without background, as lines in energy (columns) for every momentum (rows)."""
    momentum, energy = np.linspace(-1, 1, size[0]), np.linspace(-0.5, 0.5, size[1])
    image = np.zeros(size)
    for band in draw_bands(rng)[: rng.integers(1, 4)]:
        bare = rng.uniform(0.3, 1.0) * band.dispersion(momentum) + rng.uniform(-0.1, 0.5)
        width = log_uniform(rng, 0.004, 0.04)
        seen = width + 0.5 * np.abs(np.gradient(bare))[:, None]
        image += band.weight * seen * width / ((energy[None] - bare[:, None]) ** 2 + seen**2) / seen
    return image


def _replica(size: tuple[int, int], rng: np.random.Generator) -> tuple[Array, Array]:
    """Bands and, at a few per cent or less, a copy of them shifted, mirrored or folded."""
    large = (2 * size[0], 2 * size[1])
    whole = _bands(large, rng)
    copy = whole[::-1] if rng.random() < 0.4 else whole
    first, second = (rng.integers(0, n + 1, 2) for n in size)
    main = whole[first[0] : first[0] + size[0], second[0] : second[0] + size[1]]
    weak = copy[first[1] : first[1] + size[0], second[1] : second[1] + size[1]]
    occupied = _occupied(size, rng)
    weak = log_uniform(rng, 0.004, 0.1) * weak * occupied
    image = (main + _background(size, rng) * max(main.max(), 1e-6)) * occupied
    present = rng.random() < 0.7
    return (image + weak if present else image), weak


def _tail(size: tuple[int, int], rng: np.random.Generator) -> tuple[Array, Array]:
    """Decades between a band and the dark, with something weak in the dark."""
    away = _distance(size, rng)(0.0)
    half, power = log_uniform(rng, 0.7, 6.0), rng.uniform(1.0, 2.0)
    image = (half**2 / (away**2 + half**2)) ** power
    weak = log_uniform(rng, 1e-3, 5e-2) * _profile(rng)(_distance(size, rng)(0.0))
    floor = log_uniform(rng, 1e-5, 3e-3)
    occupied = _occupied(size, rng)
    present = rng.random() < 0.8
    return (image + weak * present + floor) * occupied + floor, weak * occupied


def _plain(size: tuple[int, int], rng: np.random.Generator) -> tuple[Array, Array]:
    """A scene of background alone, in which no structure may be found; the probe is absent."""
    weak = log_uniform(rng, 0.01, 0.3) * _profile(rng)(_distance(size, rng)(0.0))
    image = _background(size, rng)
    return image * _occupied(size, rng), weak * image.max()
