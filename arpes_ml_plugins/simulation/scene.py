"""Simulate ARPES scenes, those that the pre-trained denoiser was trained on.

A scene is drawn from physics: bands with self-energies, matrix elements, inelastic background,
Fermi edge, resolution and the window of the detector. The random distributions are broad on
purpose, because a network fails on data outside those that it was trained on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arpes_ml_plugins.constants import BOLTZMANN
from arpes_ml_plugins.errors import ParameterError
from arpes_ml_plugins.simulation.bands import draw_bands, log_uniform, smooth_field
from arpes_ml_plugins.simulation.motion import draw_motion, steady_motion
from arpes_ml_plugins.simulation.self_energy import SelfEnergy

__all__ = ["Scene", "draw_scene", "simulate_scene"]

Array = NDArray[np.floating]

SMALLEST = 16
EXPOSURES = (0.03, 300.0)  # mean counts per pixel
ACCEPTANCE = 0.5  # of the energy by which a band moves from pixel to pixel
BRIGHTEST = 3e4  # counts per pixel; detectors do not count beyond


GEOMETRY = dict.fromkeys(("x", "y", "z", "beta", "chi", "psi", "theta", "xi"), 0.0)
GEOMETRY |= {"hv": 21.2}  # eV, He I
"""Positions and angles of the sample that conversions to momentum in PyARPES and erlab need."""
SETUP = {"alpha": 0.0, "spectrum_type": "cut", "configuration": 1, "sample_workfunction": 4.3}
"""An analyser without deflectors whose slit is vertical: type 1 of erlab."""


@dataclass(frozen=True)
class Scene:
    """Expected intensity (slice, energy, momentum), 1 at the brightest pixel, and its axes."""

    rate: Array
    energy: Array
    """eV, zero at the Fermi level."""
    angle: Array
    """rad."""
    temperature: float


def simulate_scene(
    size: tuple[int, int] = (240, 240),
    *,
    counts: float | None = None,
    slices: int | None = None,
    rng: int | np.random.Generator | None = None,
) -> xr.Dataset:
    """Simulate a random ARPES cut, or a series of them, with its truth.

    One to seven kinds of bands (parabolas, lines, gapped cones, cosines, Rashba pairs, flat bands,
    core levels) with Fermi-liquid and electron-phonon self-energies, matrix elements, a background
    that may be almost dark, the Fermi edge, the resolution and the edges of a detector. The
    pre-trained network behind :func:`denoise_pretrained` was trained on such scenes.

    Parameters
    ----------
    size : tuple of int
        Number of pixels along energy and along the angle.
    counts : float, optional
        Mean counts per pixel; by default drawn between 0.03 and 300. More counts mean less noise.
    slices : int, optional
        Number of images of a series along ``scan``, in which the bands shift in energy and momentum
        and change in weight. By default a single image is drawn.
    rng : int or numpy.random.Generator, optional
        Seed of all random numbers; the same seed gives the same scene.

    Returns
    -------
    xarray.Dataset
        ``spectrum``: Poisson counts ``(scan, eV, phi)`` or ``(eV, phi)``; ``truth``: their
        expectation. ``eV`` is zero at the Fermi level, ``phi`` is in rad. Coordinates and
        attributes for a conversion to momentum are those of normal emission at 21.2 eV.

    Raises
    ------
    ParameterError
        ``size`` is below 16 pixels along an axis, ``slices`` below 1, or ``counts`` not positive.

    Examples
    --------
    >>> scene = simulate_scene((64, 48), counts=5, rng=0)
    >>> dict(scene["spectrum"].sizes), round(float(scene["truth"].mean()), 3)
    ({'eV': 64, 'phi': 48}, 5.0)
    """
    if len(size) != 2 or min(size) < SMALLEST:
        raise ParameterError(
            f"size must be two numbers of pixels, at least {SMALLEST} each, got {size}"
        )
    if slices is not None and slices < 1:
        raise ParameterError(f"slices must be at least 1, got {slices}")
    if counts is not None and not 0 < counts < np.inf:
        raise ParameterError(f"counts must be positive, got {counts}")
    generator = np.random.default_rng(rng)
    scene = draw_scene(size, slices or 1, generator)
    truth = scene.rate * (draw_exposure(scene.rate, generator) if counts is None else 1.0)
    if counts is not None:
        truth = truth * (counts / truth.mean())
    dims = ("scan", "eV", "phi")
    coords = {"scan": np.arange(len(truth)), "eV": scene.energy, "phi": scene.angle}
    images = {"spectrum": generator.poisson(truth), "truth": truth}
    result = xr.Dataset(
        {name: (dims, values, {**GEOMETRY, **SETUP}) for name, values in images.items()},
        coords={**coords, **GEOMETRY},
        attrs={"temperature": scene.temperature, **GEOMETRY, **SETUP},
    )
    return result if slices else result.isel(scan=0, drop=True)


def draw_exposure(rate: Array, rng: np.random.Generator) -> float:
    """Factor from a rate to counts: the mean is log-uniform, the brightest pixel bounded."""
    return float(min(log_uniform(rng, *EXPOSURES) / rate.mean(), BRIGHTEST / rate.max()))


def draw_scene(
    size: tuple[int, int],
    slices: int,
    rng: np.random.Generator,
    *,
    whole: int | None = None,
    volume: bool = False,
) -> Scene:
    """Draw the expected intensities of a random scene.

    ``whole`` is the number of pixels along each axis of the detector of which ``size`` is a part,
    so that small training images show structure at the scale of large ones. In a ``volume`` bands
    move by any rule from slice to slice (:func:`draw_motion`), else by equal steps.
    """
    span = log_uniform(rng, 0.12, 5.0)  # eV
    above = rng.choice((rng.uniform(0.01, 0.35), rng.uniform(-1.0, 0.0)), p=(0.75, 0.25)) * span
    momentum = _part(np.linspace(-1, 1, whole or size[1]), size[1], rng)
    energy = _part(above - span + span * np.linspace(0, 1, whole or size[0]), size[0], rng)
    temperature = log_uniform(rng, 5, 400)
    bands = draw_bands(rng)
    self_energies = [_draw_self_energy(span, temperature, rng) for _ in range(min(len(bands), 3))]
    shapes = [own(energy) for own in self_energies]  # the same in every slice
    elements = [
        _matrix_element(energy / span, momentum, rng) if rng.random() < 0.8 else np.ones(1)
        for _ in bands
    ]
    background = _Background.draw(rng)
    field = np.exp(0.5 * smooth_field(momentum, rng) * rng.random())
    detector = _detector(energy.size, momentum, rng)
    resolution = [log_uniform(rng, 0.3, 5.0) for _ in range(2)]
    motion = draw_motion(bands, slices, rng) if volume else steady_motion(bands, slices)
    images = []
    for number in range(slices):
        image = np.zeros((energy.size, momentum.size)) + sum(
            _spectral_function(
                energy, span * motion.energy(i, momentum, number), *shapes[i % len(shapes)]
            )
            * (motion.intensity(i, number) * self_energies[i % len(shapes)].impurity)
            * element
            for i, element in enumerate(elements)
        )
        occupied = _occupation(energy, temperature * motion.temperature[number])
        image = background.added(image, energy / span, field) * occupied[:, None]
        images.append(background.dark(image) * motion.exposure[number])
    rate = np.stack(images) * detector
    blurred = _blurred(rate, resolution)
    return Scene(
        blurred / blurred.max(),
        energy,
        0.2 * momentum,
        temperature,
    )


def _part(axis: Array, size: int, rng: np.random.Generator) -> Array:
    start = rng.integers(len(axis) - size + 1)
    return axis[start : start + size]


def _draw_self_energy(span: float, temperature: float, rng: np.random.Generator) -> SelfEnergy:
    strong = rng.random() < 0.4
    return SelfEnergy(
        impurity=span * log_uniform(rng, 0.002, 0.05),
        fermi_liquid=log_uniform(rng, 0.003, 0.5) / span,
        ceiling=span * log_uniform(rng, 0.03, 0.3),
        coupling=rng.uniform(0.2, 2.0) if strong else 0.0,
        cutoff=span * rng.uniform(0.05, 0.4),
        temperature=temperature,
    )


def _spectral_function(energy: Array, bare: Array, real: Array, width: Array) -> Array:
    """Lorentzian in energy around the ``bare`` band, shifted and broadened by a self-energy."""
    detuning = (energy - real)[:, None] - bare[None, :]
    # A pixel accepts a range of momenta; otherwise a steep band would be a row of dots.
    seen = width[:, None] + ACCEPTANCE * np.abs(np.gradient(bare))[None, :]
    return seen / (detuning**2 + seen**2)


def _matrix_element(energy: Array, momentum: Array, rng: np.random.Generator) -> Array:
    along = smooth_field(momentum, rng, finest=1.5)
    if rng.random() < 0.3:  # an extinction
        node, waves = rng.uniform(-1, 1), rng.uniform(0.5, 2)
        along = along + 2 * np.log(np.abs(np.sin(waves * (momentum - node))) + 0.02)
    across = 0.5 * smooth_field(energy, rng, finest=1.5)
    return np.exp(rng.random() * (along[None, :] + across[:, None]))


def _occupation(energy: Array, temperature: float) -> Array:
    return 0.5 * (1 - np.tanh(energy / (2 * BOLTZMANN * temperature)))


@dataclass(frozen=True)
class _Background:
    """Inelastic electrons, a smooth floor, dark counts; as fractions of the brightest band."""

    constant: float
    slope: float
    inelastic: float
    floor: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> _Background:
        return cls(
            constant=log_uniform(rng, 3e-4, 0.5),
            slope=rng.uniform(0, 2) * rng.choice((0, 1)),
            inelastic=log_uniform(rng, 1e-3, 1.0) * rng.choice((0, 1)),
            floor=log_uniform(rng, 1e-5, 0.1),
        )

    def added(self, image: Array, energy: Array, field: Array) -> Array:
        """Add the background, cut off at the Fermi edge; the inelastic part grows below it."""
        top = np.quantile(image, 0.999)
        ramp = self.constant * (1 + self.slope * (energy.max() - energy))
        pile = np.cumsum(image.mean(1)[::-1])[::-1]
        pile = self.inelastic * 0.3 * pile / max(pile[0], 1e-30)
        return image + top * (ramp + pile)[:, None] * field[None, :]

    def dark(self, image: Array) -> Array:
        return image + self.floor * np.quantile(image, 0.999)


def _detector(rows: int, momentum: Array, rng: np.random.Generator) -> Array:
    """Transmission: vignetting, curved edges of the window, a faint texture."""
    row = np.linspace(-1, 1, rows)[:, None]
    transmission = 1 - rng.uniform(0, 0.4) * momentum[None, :] ** 2 + 0 * row
    if rng.random() < 0.35:
        soft = log_uniform(rng, 0.5, 8) * 2 / 240
        outside = rng.choice((0.0, rng.uniform(0, 0.05)))
        bend = rng.normal(0, 0.08)
        for side in (-1, 1):
            edge = rng.uniform(0.5, 1.3) + bend * row**2 + rng.normal(0, 0.05) * row
            window = 0.5 * (1 + np.tanh((edge - side * momentum[None, :]) / soft))
            transmission = transmission * (outside + (1 - outside) * window)
    if rng.random() < 0.3:
        transmission = transmission * (1 + rng.uniform(0, 0.03) * _texture(transmission.shape, rng))
    return np.maximum(transmission, 0)


def _texture(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(rng.normal(size=shape), log_uniform(rng, 0.7, 3.0), mode="reflect")
    return noise / noise.std()


def _blurred(rate: Array, resolution: list[float]) -> Array:
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(rate, (0, *resolution), mode="nearest", truncate=3.0)
