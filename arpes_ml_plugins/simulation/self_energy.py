"""Self-energies of simulated bands: impurities, electrons and phonons, real part by causality."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arpes_ml_plugins.constants import BOLTZMANN

__all__ = ["SelfEnergy"]

GRID = 2048  # energies of the Kramers-Kronig transform
MARGIN = 16.0  # its range, in units of the largest energy asked for
PHONONS = 16  # energies of the Eliashberg function

Array = NDArray[np.floating]


@dataclass(frozen=True)
class SelfEnergy:
    """Self-energy of a quasiparticle as a function of energy alone; all energies in eV.

    Parameters
    ----------
    impurity
        Half width at half maximum of the band at the Fermi level and zero temperature.
    fermi_liquid
        Coefficient of ``energy² + (π k T)²``, 1/eV.
    ceiling
        The electronic part saturates here.
    coupling, cutoff
        Electron-phonon coupling λ and the Debye energy, with α²F = λ (ν / cutoff)².
    temperature
        In kelvin.
    """

    impurity: float
    fermi_liquid: float
    ceiling: float
    coupling: float
    cutoff: float
    temperature: float

    def __call__(self, energy: Array) -> tuple[Array, Array]:
        """Real part and width ``-Im Σ`` at ``energy``."""
        grid = np.linspace(-1, 1, GRID) * MARGIN * np.abs(energy).max()
        width = self._width(grid)
        real = _kramers_kronig(width)
        real -= np.interp(0.0, grid, real)
        return np.interp(energy, grid, real), np.interp(energy, grid, width)

    def _width(self, energy: Array) -> Array:
        thermal = np.pi * BOLTZMANN * self.temperature
        electrons = self.fermi_liquid * (energy**2 + thermal**2)
        electrons = electrons / (1 + electrons / self.ceiling)
        return self.impurity + electrons + self._phonons(energy)

    def _phonons(self, energy: Array) -> Array:
        """π ∫ α²F(ν) [2 n(ν) + f(ν + ω) + f(ν - ω)] dν."""
        if self.coupling == 0:
            return np.zeros_like(energy)
        nu = (np.arange(PHONONS) + 0.5) / PHONONS * self.cutoff
        eliashberg = self.coupling * (nu / self.cutoff) ** 2
        thermal = BOLTZMANN * max(self.temperature, 1.0)
        bose = 1 / np.expm1(np.minimum(nu / thermal, 500))
        absorbed = _fermi((nu + energy[:, None]) / thermal)
        emitted = _fermi((nu - energy[:, None]) / thermal)
        weight = eliashberg * self.cutoff / PHONONS
        return np.pi * (2 * bose + absorbed + emitted) @ weight


def _fermi(x: Array) -> Array:
    return 0.5 * (1 - np.tanh(x / 2))


def _kramers_kronig(width: Array) -> Array:
    """Real part of a causal function with ``-Im = width`` on a uniform grid."""
    from scipy.signal import hilbert

    return np.imag(hilbert(width - width.min(), 2 * len(width)))[: len(width)]
