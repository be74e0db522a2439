"""Images whose truth is known, or well measured: what the denoising benchmarks are scored on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from arpes_ml_plugins.demo import load_cut
from arpes_ml_plugins.scoring import psnr, thin_counts

__all__ = ["SCENES", "Scene", "kink_rate", "make_scene"]


@dataclass(frozen=True)
class Scene:
    """A noisy image, shape ``(momentum, energy)``, and what it is judged by."""

    name: str
    noisy: np.ndarray
    reference: np.ndarray
    variance: np.ndarray | float = 0.0
    """Of the reference."""

    def score(self, image: np.ndarray) -> float:
        """PSNR in dB, as in ``arpes_ml_plugins.scoring``."""
        return psnr(image, self.reference, self.variance)


def kink_rate(mean_counts: float, size: int = 240) -> np.ndarray:
    """Expected counts of one band with an electron-phonon kink.

    A linear bare band of 2.2 eV A crosses the Fermi level at k = 0.02 1/A. The self-energy is
    that of a Debye spectrum at T = 0 (coupling 1.0, cut-off 65 meV) plus an impurity width; a
    smooth background, the Fermi edge (20 K) and the resolution complete the scene.
    """
    momentum = np.linspace(-0.20, 0.12, size)[:, None]  # 1/A
    energy = np.linspace(-0.30, 0.06, size)[None, :]  # eV, zero at the Fermi level
    coupling, debye, impurity = 1.0, 0.065, 0.014
    x = energy / debye + 1e-9
    real = -(coupling * debye / 3) * (
        x**3 * np.log(np.abs(1 - x**-2)) + np.log(np.abs((1 + x) / (1 - x))) + x
    )
    imaginary = impurity + np.pi * coupling * debye / 3 * np.minimum(np.abs(x), 1) ** 3
    bare = 2.2 * (momentum - 0.02)
    band = imaginary / np.pi / ((energy - bare - real) ** 2 + imaginary**2)
    matrix_element = 1 + 1.5 * (momentum + 0.2)
    background = 0.60 + 2.0 * np.clip(-energy, 0, None)
    occupation = 1 / (1 + np.exp(energy / (8.617e-5 * 20)))
    scene = (matrix_element * band + background) * occupation + 0.05
    scene = gaussian_filter(scene, (0.004 / 0.32 * size, 0.004 / 0.36 * size), mode="nearest")
    return scene * (mean_counts / scene.mean())


def _thinned(name: str, fraction: float, seed: int) -> Scene:
    """PyARPES's cut with a fraction of its counts, judged by the rest."""
    thinned, rest = thin_counts(load_cut()["spectrum"].values, fraction, seed)
    scale = fraction / (1 - fraction)
    return Scene(name, thinned.astype(float), rest * scale, rest * scale**2)


def _kink(name: str, mean_counts: float, seed: int) -> Scene:
    rate = kink_rate(mean_counts)
    return Scene(name, np.random.default_rng(seed).poisson(rate).astype(float), rate)


SCENES = {
    "cut 0.2 %": lambda name, seed: _thinned(name, 0.002, seed),
    "cut 2 %": lambda name, seed: _thinned(name, 0.02, seed),
    "cut 20 %": lambda name, seed: _thinned(name, 0.2, seed),
    "kink 1": lambda name, seed: _kink(name, 1, seed),
    "kink 10": lambda name, seed: _kink(name, 10, seed),
    "kink 100": lambda name, seed: _kink(name, 100, seed),
}


def make_scene(name: str, seed: int = 0) -> Scene:
    """The scene called ``name``; ``seed`` draws its noise."""
    return SCENES[name](name, seed)
