"""Scenes whose truth is known or measured: what the denoising benchmarks are scored on."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

__all__ = ["kink_rate", "psnr", "thinned_cut"]


def kink_rate(mean_counts: float, size: int = 240) -> np.ndarray:
    """Expected counts of one band with an electron-phonon kink, shape ``(momentum, energy)``.

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


def thinned_cut(fraction: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """PyARPES's example ``cut``, binomially thinned: counts, reference, variance of the reference.

    The reference is made of the counts that the thinning left out, so its noise is independent of
    the noise in the thinned image; its Poisson variance is known and can be subtracted.
    """
    from arpes.io import example_data

    counts = example_data.cut["spectrum"].values.astype(np.int64)
    thinned = np.random.default_rng(seed).binomial(counts, fraction)
    scale = fraction / (1 - fraction)
    rest = counts - thinned
    return thinned.astype(np.float64), rest * scale, rest * scale**2


def psnr(image: np.ndarray, reference: np.ndarray, variance: np.ndarray | float = 0.0) -> float:
    """Peak signal-to-noise ratio in dB; peak = 99.9th percentile of the reference.

    The mean square error is lowered by the reference's own ``variance``.
    """
    error = np.mean((image - reference) ** 2) - np.mean(variance)
    return float(10 * np.log10(np.percentile(reference, 99.9) ** 2 / error))
