"""Matrices of Green's functions, whole and element by element."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from tables import write

import arpes_ml_plugins

Array = NDArray[np.floating]
FINE = np.linspace(-6, 6, 4801)
OMEGA = np.linspace(-5, 5, 201)
METHODS = ("continue_rlista", "continue_maxent")


def _peaks(*terms: tuple[float, float, float]) -> Callable[[Array], Array]:
    def spectrum(w: Array) -> Array:
        shapes = [
            weight * np.exp(-((w - at) ** 2) / (2 * width**2)) / (width * np.sqrt(2 * np.pi))
            for weight, at, width in terms
        ]
        return np.sum(shapes, 0)

    return spectrum


KINDS = {
    "dimer": (0.25, _peaks((1, -1, 0.3)), _peaks((1, 1.2, 0.3))),
    "two levels": (0.1, _peaks((1, -1, 0.4)), _peaks((1, 1, 0.2))),
    "wide and split": (0.1, _peaks((1, -2, 0.7)), _peaks((0.6, -1, 0.3), (0.4, 1.5, 0.5))),
    "narrow": (0.25, _peaks((1, -0.3, 0.1)), _peaks((1, 0.4, 0.1))),
    "Mott and metal": (
        0.2,
        _peaks((0.5, -1.5, 0.3), (0.5, 2, 0.3)),
        _peaks((0.3, 0, 0.1), (0.35, -2.5, 0.4), (0.35, 2.5, 0.4)),
    ),
}
"""Angle between the orbitals and those without elements beside the diagonal, in units of pi, and
the spectra of the latter."""


def matrix(kind: str, omega: Array) -> Array:
    """Known spectra, ``(2, 2, omega)``."""
    angle, *spectra = KINDS[kind]
    sin, cos = np.sin(np.pi * angle), np.cos(np.pi * angle)
    turn = np.array([[cos, sin], [-sin, cos]])
    return np.einsum("ai,aw,aj->ijw", turn, np.array([each(omega) for each in spectra]), turn)


def data(kind: str, beta: float, sigma: float) -> xr.DataArray:
    """-G(tau) of all elements, with independent errors."""
    tau = np.linspace(0, beta, 101)
    below = np.where(FINE < 0, beta - tau[:, None], -tau[:, None])
    kernel = np.exp(below * FINE) / (1 + np.exp(-beta * np.abs(FINE)))
    clean = np.einsum("tw,ijw->ijt", kernel, matrix(kind, FINE)) * (FINE[1] - FINE[0])
    noise = sigma * np.random.default_rng(0).normal(size=clean.shape)
    return xr.DataArray(clean + noise, coords={"tau": tau}, dims=["i", "j", "tau"])


def matrices() -> None:
    """Error of elements on and beside the diagonal: one by one, cut off at the bound, whole."""
    rows: list[dict[str, object]] = []
    for method in METHODS:
        for sigma in (1e-3, 1e-5):
            found = [_measured(method, kind, beta, sigma) for kind in KINDS for beta in (10, 40)]
            mean = {name: float(np.mean([each[name] for each in found])) for name in found[0]}
            rows.append({"method": method, "sigma": sigma, **mean})
    write("continuation_matrices.csv", rows)


def _measured(method: str, kind: str, beta: float, sigma: float) -> dict[str, float]:
    g, truth, step = data(kind, beta, sigma), matrix(kind, OMEGA), OMEGA[1] - OMEGA[0]
    run = getattr(arpes_ml_plugins, method)
    options = {"beta": beta, "stderr": sigma, "omega": OMEGA}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.process_time()
        whole = run(g, orbitals=("i", "j"), **options)
        seconds = time.process_time() - start
        diagonal = xr.concat([g[0, 0], g[1, 1]], "i")
        single = run(diagonal, **options).spectral_function.values
        bound = xr.DataArray(np.sqrt(single[0] * single[1]), coords={"omega": OMEGA}, dims="omega")
        beside = (g[0, 1] + g[1, 0]) / 2
        options["stderr"] = sigma / 2**0.5
        flat = arpes_ml_plugins.continue_maxent(beside, signed=True, **options)
        bounded = arpes_ml_plugins.continue_maxent(
            beside, signed=True, default_model=bound, **options
        )
    cut = bounded.spectral_function.clip(-bound, bound)
    tau = g.tau.values[:, None]
    kernel = np.exp(np.where(OMEGA < 0, beta - tau, -tau) * OMEGA)
    kernel /= 1 + np.exp(-beta * np.abs(OMEGA))
    missed = (kernel @ cut.values * step - beside.values) / options["stderr"]
    size = np.abs(truth[0, 1]).sum() * step

    def error(values: Array, true: Array) -> float:
        return float(np.abs(values - true).sum() * step)

    spectra = whole.spectral_function.values
    shown = np.abs(truth) > 0.01 * truth.max()
    inside = (truth >= whole.lower.values) & (truth <= whole.upper.values)
    return {
        "diagonal, single": float(np.mean([error(single[k], truth[k, k]) for k in range(2)])),
        "diagonal, whole": float(np.mean([error(spectra[k, k], truth[k, k]) for k in range(2)])),
        "beside, flat": error(flat.spectral_function.values, truth[0, 1]) / size,
        "beside, bound": error(bounded.spectral_function.values, truth[0, 1]) / size,
        "beside, cut": error(cut.values, truth[0, 1]) / size,
        "beside, whole": error(spectra[0, 1], truth[0, 1]) / size,
        "chi2 cut": float((missed**2).mean()),
        "chi2 whole": float(whole.chi2.mean()),
        "coverage": float(inside[shown].mean()),
        "not ok": float((whole.status != "ok").mean()),
        "smallest eigenvalue": float(np.linalg.eigvalsh(spectra.T).min()),
        "seconds": seconds,
    }
