"""Green's functions of known spectra, and how far a result is from the truth."""

from __future__ import annotations

import numpy as np
import xarray as xr

BETA = 10.0
OMEGA = np.linspace(-3, 3, 121)
FINE = np.linspace(-3, 3, 3001)


def fermi(tau, omega, beta=BETA):
    below = np.where(omega < 0, beta - tau[:, None], -tau[:, None])
    return np.exp(below * omega) / (1 + np.exp(-beta * np.abs(omega)))


def gauss(omega, centre, width):
    return np.exp(-((omega - centre) ** 2) / (2 * width**2)) / (width * np.sqrt(2 * np.pi))


SPECTRA = {
    "semicircle": lambda w: 2 / np.pi * np.sqrt(np.clip(1 - w**2, 0, None)),
    "two peaks": lambda w: 0.6 * gauss(w, -0.8, 0.2) + 0.4 * gauss(w, 1.0, 0.3),
    "gap": lambda w: 0.5 * gauss(w, -1.2, 0.25) + 0.5 * gauss(w, 1.2, 0.25),
    "metal": lambda w: (
        0.3 * gauss(w, 0.0, 0.08) + 0.35 * gauss(w, -1.1, 0.3) + 0.35 * gauss(w, 1.1, 0.3)
    ),
}


def green(spectrum, *, tau=None, sigma=1e-4, beta=BETA, seed=0, name="two peaks"):
    """Noisy -G(tau) of a spectrum, integrated on a fine grid."""
    tau = np.linspace(0, beta, 100) if tau is None else tau
    clean = fermi(tau, FINE, beta) @ spectrum(FINE) * (FINE[1] - FINE[0])
    noise = sigma * np.random.default_rng(seed).normal(size=len(tau))
    return xr.DataArray(clean + noise, coords={"tau": tau}, dims="tau", name="g")


def missed(result, spectrum):
    """Integral of the error over that of the spectrum (which is 1)."""
    found = result["spectral_function"]
    omega = found[found.dims[-1]]
    return float(np.abs(found - spectrum(omega.values)).integrate(omega.name).max())


METHODS = ("continue_rlista", "continue_maxent")
