"""Continuation of kinds of spectra that no training knows by name, against maximum entropy."""

from __future__ import annotations

import time
from functools import partial

import numpy as np
import pandas as pd
import torch
import xarray as xr
from continuation_cases import quiet
from numpy.typing import NDArray
from tables import write

import arpes_ml_plugins
from arpes_ml_plugins.continuation.kernels import fermion

WINDOW = 4.0
FINE = np.linspace(-WINDOW, WINDOW, 8001)
STEP = FINE[1] - FINE[0]
EVERY = 40  # of the fine points: the frequencies of the result
BETAS = (1.0, 5.0, 20.0, 100.0, 500.0, 1000.0)
SIGMAS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-8)
TRUTHS = 3  # of each kind, for each beta and sigma
SEED = 2026
WORSE, NEGLIGIBLE = 1.3, 0.02  # times MaxEnt's error; errors below are no harm
LOW = 0.8  # coverage of one spectrum, below which it is counted

Values = NDArray[np.floating]


def draw_kinds(rng: np.random.Generator) -> dict[str, Values]:
    """One spectrum of each kind, on FINE; each integrates to 1."""
    uniform = rng.uniform

    def log_uniform(low: float, high: float) -> float:
        return float(np.exp(uniform(np.log(low), np.log(high))))

    def place(low: float, high: float) -> float:
        return WINDOW * uniform(low, high)

    wide = 2 * WINDOW * log_uniform(0.005, 0.5) / 2.355
    edges = np.sort(uniform(-0.8, 0.8, 2)) * WINDOW
    gap = WINDOW * log_uniform(0.03, 0.3)
    pairing = WINDOW * log_uniform(0.02, 0.2)
    energy = FINE + 0.03j * pairing
    hubbard = _gauss(-place(0.3, 0.6), place(0.06, 0.15)) + _gauss(
        place(0.3, 0.6), place(0.06, 0.15)
    )
    mott = place(0.3, 0.6)
    narrow = WINDOW * log_uniform(0.005, 0.03)
    made = {
        "one peak, 0.5 to 50 % of the window": _gauss(place(-0.6, 0.6), wide),
        "one Lorentzian": _lorentz(place(-0.4, 0.4), WINDOW * log_uniform(0.0025, 0.05)),
        "two to six peaks": sum(
            uniform(0.2, 1) * _gauss(place(-0.7, 0.7), WINDOW * log_uniform(0.01, 0.2))
            for _ in range(rng.integers(2, 7))
        ),
        "off centre": _gauss(place(0.5, 0.8), WINDOW * log_uniform(0.02, 0.12))
        + 0.5 * _gauss(place(0.2, 0.8), WINDOW * log_uniform(0.02, 0.2)),
        "semicircle": _semicircle(place(-0.3, 0.3), WINDOW * log_uniform(0.15, 0.7)),
        "two edges": 1.0 * ((edges[0] < FINE) & (max(edges[1], edges[0] + 0.8) > FINE)),
        "gap": _gauss(0, place(0.2, 0.5))
        / (1 + np.exp(-(np.abs(FINE) - gap) / (WINDOW * log_uniform(0.002, 0.02)))),
        "BCS": np.abs((energy / np.sqrt(energy**2 - pairing**2 + 0j)).real)
        * (np.abs(FINE) < place(0.5, 0.9)),
        "quasiparticle and Hubbard bands": uniform(0.1, 0.5)
        * _gauss(place(-0.02, 0.02), WINDOW * log_uniform(0.01, 0.05))
        + 0.5 * hubbard,
        "Kondo peak": log_uniform(0.03, 0.2) * _lorentz(0, narrow) / np.pi + 0.2 * hubbard,
        "Mott": _semicircle(-mott, uniform(0.4, 0.9) * mott)
        + _semicircle(mott, uniform(0.4, 0.9) * mott),
        "one wide peak": _gauss(place(-0.2, 0.2), place(0.15, 0.35)),
        **_further_kinds(rng),
    }
    return {name: values / (values.sum() * STEP) for name, values in made.items()}


def _further_kinds(rng: np.random.Generator) -> dict[str, Values]:
    """Peaks that are close together, or not symmetric, and structure on wide backgrounds."""
    uniform = rng.uniform

    def size(low: float, high: float) -> float:
        return WINDOW * float(np.exp(uniform(np.log(low), np.log(high))))

    def place(low: float, high: float) -> float:
        return WINDOW * uniform(low, high)

    side = rng.choice([-1, 1])
    middle, apart, narrow = place(-0.5, 0.5), size(0.06, 0.4), size(0.005, 0.02)
    below, above = _gauss(middle - apart / 2, narrow), _gauss(middle + apart / 2, narrow)
    tail = np.where(side * (FINE - middle) < 0, size(0.01, 0.06), size(0.08, 0.4))
    wide, edge = size(0.02, 0.1), size(0.002, 0.05)
    step = 1 / (1 + np.exp(-np.clip(side * (FINE - place(-0.4, 0.4)) / edge, -500, 500)))
    band = (place(-0.8, -0.3) < FINE) & (place(0.3, 0.8) > FINE)
    fano, dip = uniform(-2, 2), (FINE - place(-0.3, 0.3)) / size(0.01, 0.08)
    top = (np.abs(FINE - place(-0.1, 0.1)) - place(0.3, 0.7)) / size(0.01, 0.1)
    return {
        "asymmetric peak": np.exp(-(((FINE - middle) / tail) ** 2) / 2),
        "shoulder": _gauss(middle, wide)
        + uniform(0.2, 0.6) * _gauss(middle + side * uniform(1.5, 3) * wide, wide),
        "pseudogap": _gauss(0, place(0.2, 0.5))
        * (1 - uniform(0.4, 0.95) * np.exp(-((FINE / size(0.02, 0.15)) ** 2) / 2)),
        "two narrow peaks, equal": below + above,
        "two narrow peaks, unequal": below + uniform(0.2, 0.8) * above,
        "three narrow peaks": sum(
            uniform(0.4, 1) * _gauss(place(-0.6, 0.6), size(0.005, 0.02)) for _ in range(3)
        ),
        "narrow peak on a wide one": uniform(0.1, 0.5) * _gauss(middle, size(0.005, 0.03))
        + _gauss(place(-0.2, 0.2), place(0.15, 0.35)),
        "step edge": _gauss(place(-0.2, 0.2), place(0.2, 0.35)) * step,
        "band with a step": band * (1 + uniform(0.5, 3) * step),
        "Fano dip": _gauss(0, place(0.2, 0.4)) * (fano + dip) ** 2 / (1 + dip**2),
        "flat band in a wide one": uniform(0.05, 0.4) * _gauss(middle, 0.006 * WINDOW)
        + _semicircle(place(-0.1, 0.1), place(0.4, 0.7)),
        "flat top": 1 / (1 + np.exp(np.clip(top, -500, 500))),
    }


def _gauss(centre: float, width: float) -> Values:
    return np.exp(-(((FINE - centre) / width) ** 2) / 2) / width


def _lorentz(centre: float, half_width: float) -> Values:
    return half_width / ((FINE - centre) ** 2 + half_width**2)


def _semicircle(centre: float, radius: float) -> Values:
    return np.sqrt(np.clip(1 - ((FINE - centre) / radius) ** 2, 0, None)) / radius


def kinds(fewer: int = 1) -> None:
    """Errors and coverage by kind, by inverse temperature and by error of the data."""
    truths = max(1, TRUTHS // fewer)
    frame = pd.concat(
        [measured(beta, sigma, truths) for beta in BETAS for sigma in SIGMAS], ignore_index=True
    )
    frame["silent and worse"] = (
        ~frame["flagged"]
        & (frame["error"] > WORSE * frame["error, MaxEnt"])
        & (frame["error"] > NEGLIGIBLE)
    )
    frame["ok and low"] = (frame["status"] == "ok") & (frame["covered"] < LOW)
    for name, by in (("kinds", "kind"), ("sigmas", "sigma"), ("betas", "beta")):
        rows = [_row(by, str(key), part) for key, part in frame.groupby(by, sort=False)]
        write(f"continuation_{name}.csv", [*rows, _row(by, "all", frame)])


def measured(beta: float, sigma: float, truths: int) -> pd.DataFrame:
    """One line for every spectrum."""
    rng = np.random.default_rng([SEED, int(10 * beta), round(-np.log10(sigma))])
    tau = np.linspace(0, beta, 201 if beta < 100 else 401)
    drawn = [item for _ in range(truths) for item in draw_kinds(rng).items()]
    truth = np.array([values for _, values in drawn])
    kernel = fermion(torch.from_numpy(tau), torch.from_numpy(FINE), beta).numpy()
    g = truth @ kernel.T * STEP
    data = xr.DataArray(
        g + sigma * rng.standard_normal(g.shape), dims=("n", "tau"), coords={"tau": tau}
    )
    omega = FINE[::EVERY]
    options = {"beta": beta, "stderr": sigma, "omega": omega}
    found, seconds = {}, {}
    for method in ("continue_rlista", "continue_maxent"):
        started = time.process_time()
        found[method] = quiet(partial(getattr(arpes_ml_plugins, method), data, **options))
        seconds[method] = time.process_time() - started
    seen, step = truth[:, ::EVERY], EVERY * STEP
    errors = {
        method: np.abs(result["spectral_function"].values - seen).sum(1) * step
        for method, result in found.items()
    }
    network = found["continue_rlista"]
    inside = (network["lower"].values - 1e-9 <= seen) & (seen <= network["upper"].values + 1e-9)
    matters = seen > 0.01 * seen.max(1, keepdims=True)
    dark = ~matters
    return pd.DataFrame(
        {
            "kind": [name for name, _ in drawn],
            "beta": f"{beta:g}",
            "sigma": f"{sigma:g}",
            "error": errors["continue_rlista"],
            "error, MaxEnt": errors["continue_maxent"],
            "covered": (inside & matters).sum(1) / matters.sum(1),
            "covered, dark": np.where(
                dark.any(1), (inside & dark).sum(1) / dark.sum(1).clip(1), np.nan
            ),
            "flagged": network["out_of_distribution"].values,
            "status": network["status"].values.astype(str),
            "ms": 1e3 * seconds["continue_rlista"] / len(drawn),
        }
    )


def _row(by: str, name: str, part: pd.DataFrame) -> dict[str, object]:
    unflagged = part[~part["flagged"]]
    return {
        by: name,
        "spectra": len(part),
        "error, continue_rlista": f"{part['error'].mean():.3f}",
        "error, continue_maxent": f"{part['error, MaxEnt'].mean():.3f}",
        "90 % band holds": f"{unflagged['covered'].mean():.2f}",
        "90 % band holds, A < 1 %": f"{unflagged['covered, dark'].mean():.2f}",
        "flagged": int(part["flagged"].sum()),
        "status not ok": int((part["status"] != "ok").sum()),
        "ok, 90 % band holds less than 80 %": int(part["ok and low"].sum()),
        "silent and 1.3 times worse than MaxEnt": int(part["silent and worse"].sum()),
        "ms per spectrum": f"{part['ms'].mean():.0f}",
    }
