"""Structure within the resolution: what intervals hold of it, and what any test could tell.

Each spectrum has a partner without structure finer than half the resolution: the positive spectrum,
blurred by that much, whose exact data are nearest. Their distance bounds every test: the best one
with 5 % of false alarms finds the difference with the probability ``power``.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import torch
import xarray as xr
from continuation_cases import quiet
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.stats import norm
from tables import write

import arpes_ml_plugins
from arpes_ml_plugins.continuation.kernels import fermion

FINE = np.linspace(-4, 4, 1601)
STEP = FINE[1] - FINE[0]
EVERY = 8  # of the fine points: the frequencies of the result
BETAS, SIGMAS = (10.0, 40.0), (1e-3, 1e-4, 1e-5)
TIMES, TRUTHS, SEED = 121, 4, 2026
PART = 0.5  # of the resolution: width, area over height, of the blur
VISIBLE = 1e-3  # singular values of the whitened kernel
FALSE_ALARMS = 0.05

Values = NDArray[np.floating]


def unresolved() -> None:
    """Groups of peaks and combs, beside boxes and smooth spectra."""
    frame = pd.concat([_measured(beta, sigma) for beta in BETAS for sigma in SIGMAS])
    rows = [
        {
            "kind": kind,
            "spectra": len(part),
            "status ok": f"{part['ok'].mean():.0%}",
            "90 % band holds, if ok": f"{part['held'][part['ok']].mean():.2f}",
            "the same, truth blurred by half the resolution": (
                f"{part['blurred'][part['ok']].mean():.2f}"
            ),
            "power of the best test": f"{part['power'].median():.3f}",
        }
        for kind, part in frame.groupby("kind", sort=False)
    ]
    write("continuation_unresolved.csv", rows)


def _draw(rng: np.random.Generator) -> dict[str, Values]:
    """One spectrum of each kind, on FINE."""
    uniform = rng.uniform
    made = {}
    for count in (2, 3, 4):
        middle, apart = rng.choice([-1, 1]) * uniform(1, 2.4), uniform(0.4, 0.9)
        group = _row_of(count, middle, apart, (0.04, 0.1), rng)
        made[f"group of {count} beside a wide peak"] = group + 0.3 * count * _gauss(-middle, 0.6)
    for count in (5, 9):
        made[f"comb of {count}"] = _row_of(
            count, uniform(-0.5, 0.5), uniform(0.45, 0.8), (0.06, 0.12), rng
        )
    low, high = np.sort(uniform(-3, 3, 2))
    made["box"] = 1.0 * ((low < FINE) & (max(high, low + 1.5) > FINE))
    centre = uniform(1, 2.2)
    made["two Hubbard bands"] = np.sqrt(
        np.clip(1 - ((np.abs(FINE) - centre) / (uniform(0.5, 0.9) * centre)) ** 2, 0, None)
    )
    made["two wide peaks"] = _gauss(uniform(-1, 1), uniform(0.5, 1.2)) + uniform(0.3, 1) * _gauss(
        uniform(-2, 2), uniform(0.5, 1)
    )
    return {kind: values / (values.sum() * STEP) for kind, values in made.items()}


def _row_of(
    count: int, middle: float, apart: float, widths: tuple[float, float], rng: np.random.Generator
) -> Values:
    places = middle + apart * (np.arange(count) - (count - 1) / 2)
    return np.sum([rng.uniform(0.5, 1) * _gauss(at, rng.uniform(*widths)) for at in places], axis=0)


def _gauss(centre: float, width: float) -> Values:
    return np.exp(-(((FINE - centre) / width) ** 2) / 2) / width


def _measured(beta: float, sigma: float) -> pd.DataFrame:
    """One line for every spectrum."""
    rng = np.random.default_rng([SEED, int(beta), round(-np.log10(sigma))])
    drawn = [item for _ in range(TRUTHS) for item in _draw(rng).items()]
    truths = np.array([values for _, values in drawn])
    tau = np.linspace(0, beta, TIMES)
    kernel = fermion(torch.from_numpy(tau), torch.from_numpy(FINE), beta).numpy() * STEP
    g = truths @ kernel.T
    data = xr.DataArray(
        g + sigma * rng.standard_normal(g.shape), dims=("n", "tau"), coords={"tau": tau}
    )
    result = quiet(
        partial(
            arpes_ml_plugins.continue_rlista, data, beta=beta, stderr=sigma, omega=FINE[::EVERY]
        )
    )
    _, sizes, directions = np.linalg.svd(kernel / sigma, full_matrices=False)
    visible = sizes[sizes > VISIBLE, None] * directions[sizes > VISIBLE]
    rows = []
    for number, (kind, truth) in enumerate(drawn):
        one = result.isel(n=number)
        blur = _blur(one["resolution"].values)
        _, left = nnls(visible @ blur[:, ::EVERY], visible @ truth)
        rows.append(
            {
                "kind": kind,
                "ok": one["status"].item() == "ok",
                "held": _held(one, truth),
                "blurred": _held(one, blur @ truth),
                "power": norm.sf(norm.isf(FALSE_ALARMS) - left),
            }
        )
    return pd.DataFrame(rows)


def _blur(resolution: Values) -> Values:
    """Matrix ``(fine, fine)`` that blurs by a part of the resolution and keeps all weight."""
    deviation = PART * np.interp(FINE, FINE[::EVERY], resolution) / np.sqrt(2 * np.pi)
    kernel = np.exp(-(((FINE[:, None] - FINE) / np.maximum(deviation, STEP)) ** 2) / 2)
    return kernel / kernel.sum(0)


def _held(result: xr.Dataset, spectrum: Values) -> float:
    seen = spectrum[::EVERY]
    inside = (result["lower"].values <= seen + 1e-9) & (seen <= result["upper"].values + 1e-9)
    return float(inside[seen > 0.01 * seen.max()].mean())
