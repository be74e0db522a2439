"""Images whose truth is known, or well measured: what the denoising benchmarks are scored on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from arpes_ml_plugins.demo import load_cut
from arpes_ml_plugins.scoring import psnr, thin_counts

__all__ = ["SCENES", "Scene", "kink_rate", "make_scene", "map_series"]


@dataclass(frozen=True)
class Scene:
    """A noisy image, shape ``(momentum, energy)``, or a map of them, and what it is judged by."""

    name: str
    noisy: np.ndarray
    reference: np.ndarray
    held_out: np.ndarray
    """Counts of the same scene that nobody has seen."""
    ratio: float = 1.0
    """Exposure of the held-out counts over that of the noisy ones."""
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
    return Scene(
        name, thinned.astype(float), rest * scale, rest, (1 - fraction) / fraction, rest * scale**2
    )


def _drawn(name: str, rate: np.ndarray, seed: int) -> Scene:
    """Poisson counts of a known rate."""
    rng = np.random.default_rng(seed)
    return Scene(name, rng.poisson(rate).astype(float), rate, rng.poisson(rate))


def erlab_rate(mean_counts: float, size: int = 240) -> np.ndarray:
    """A cut through erlab's simulated graphene, without its noise."""
    from erlab.io.exampledata import generate_data

    around = {"kx": (-0.89, 0.89), "ky": (0.25, 0.35)}
    data = generate_data((size, 3, size), krange=around, noise=False, ccd_sigma=0.6)
    rate = data.isel(ky=1).transpose("kx", "eV").values
    return rate * (mean_counts / rate.mean())


def aurelia_rate(mean_counts: float, draw: int, size: int = 240) -> np.ndarray:
    """A random tight-binding scene of the simulator aurelia."""
    import aurelia

    np.random.seed(draw)  # noqa: NPY002  (aurelia knows no other way)
    bands = aurelia.Bands(Npts=[size, 5], Nbands=3)
    bands.Make_kpath()
    bands.Make_bands()
    spectrum = aurelia.Spec(bands, dimension="sliceEk", Omega=np.linspace(-1.5, 0.2, size))
    spectrum.Make_self_energy({"type": "FL"})
    settings = aurelia.mod(temperature=30.0, resolution={"ER": 0.03, "kR": 0.015})
    spectrum.Make_specfun(settings)
    spectrum.Make_specmod(settings)
    rate = spectrum.specfun.T + 0.01 * spectrum.specfun.max()
    return rate * (mean_counts / rate.mean())


def map_rate(
    mean_counts: float, slices: int = 32, size: int = 96, kelvin: float = 40.0
) -> np.ndarray:
    """Expected counts of a map (ky, energy, kx): a tight-binding surface band and a hole pocket."""
    ky = np.linspace(-0.1, 0.75, slices)[:, None, None]  # in units of the zone boundary
    energy = np.linspace(-0.6, 0.08, size)[None, :, None]  # eV
    kx = np.linspace(-0.8, 0.8, size)[None, None, :]
    surface = (
        -0.22
        - 0.16 * (np.cos(np.pi * kx) + np.cos(np.pi * ky))
        + 0.12 * np.cos(np.pi * kx) * np.cos(np.pi * ky)
    )
    hole = -0.05 - 1.1 * ((kx - 0.05) ** 2 + 0.7 * (ky - 0.3) ** 2)

    def band(position: np.ndarray, width: np.ndarray) -> np.ndarray:
        return width * 0.012 / ((energy - position) ** 2 + width**2)

    lifetime = 0.012 + 0.15 * energy**2
    scene = (1 + 0.6 * kx) * band(surface, lifetime) + 0.7 * band(hole, 1.6 * lifetime)
    scene = scene + 0.06 + 0.1 * np.clip(-energy, 0, None)
    scene = scene / (1 + np.exp(energy / (8.617e-5 * kelvin))) + 0.003
    scene = gaussian_filter(scene, (0, 1.2, 1.0), mode="nearest")
    return scene * (mean_counts / scene.mean())


def map_series(mean_counts: float, temperatures: int, slices: int, seed: int) -> Scene:
    """The map at several temperatures, ``(temperature, ky, kx, energy)``."""
    rate = np.stack(
        [
            map_rate(mean_counts, slices, kelvin=kelvin).transpose(0, 2, 1)
            for kelvin in np.linspace(20, 200, temperatures)
        ]
    )
    return _drawn(f"{temperatures} temperatures x {slices} ky", rate, seed)


SCENES = {
    "cut 0.2 %": lambda name, seed: _thinned(name, 0.002, seed),
    "cut 2 %": lambda name, seed: _thinned(name, 0.02, seed),
    "cut 20 %": lambda name, seed: _thinned(name, 0.2, seed),
    "kink 1": lambda name, seed: _drawn(name, kink_rate(1), seed),
    "kink 10": lambda name, seed: _drawn(name, kink_rate(10), seed),
    "kink 100": lambda name, seed: _drawn(name, kink_rate(100), seed),
    "erlab 0.3": lambda name, seed: _drawn(name, erlab_rate(0.3), seed),
    "erlab 3": lambda name, seed: _drawn(name, erlab_rate(3), seed),
    "aurelia a 3": lambda name, seed: _drawn(name, aurelia_rate(3, 1), seed),
    "aurelia b 3": lambda name, seed: _drawn(name, aurelia_rate(3, 2), seed),
    "map 1": lambda name, seed: _drawn(name, map_rate(1).transpose(0, 2, 1), seed),
}


def make_scene(name: str, seed: int = 0) -> Scene:
    """The scene called ``name``; ``seed`` draws its noise."""
    return SCENES[name](name, seed)
