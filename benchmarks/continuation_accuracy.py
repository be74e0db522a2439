"""Accuracy, credible intervals and rough data: the parts of ``continuation.py`` about methods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
import xarray as xr
from continuation_cases import (
    BETA,
    OMEGA,
    TESTS,
    TIMES,
    WIDTH,
    Case,
    make_case,
    quiet,
    rse,
    samples,
    timed,
    weights,
)
from continuation_peers import ana_cont_density, has_ana_cont
from tables import write

import arpes_ml_plugins
from arpes_ml_plugins.continuation.kernels import fermion
from arpes_ml_plugins.continuation.maxent import RULES, maxent
from arpes_ml_plugins.continuation.rlista import UnrolledNetwork
from arpes_ml_plugins.continuation.solvers import BAND
from arpes_ml_plugins.networks.rlista import cached_network
from arpes_ml_plugins.training.rlista import RECIPES


def methods(
    sigma: float, kind: str = "published"
) -> dict[str, Callable[[xr.DataArray, float], xr.Dataset]]:
    """The paper's spectra live on the points of the grid; others are continuous."""
    bins = False if kind == "published" else None

    def of(name: str, **options: object) -> Callable[[xr.DataArray, float], xr.Dataset]:
        method = getattr(arpes_ml_plugins, name)
        return lambda g, beta: method(g, beta=beta, stderr=sigma, omega=OMEGA, bins=bins, **options)

    return {
        "continue_rlista(refine=False)": of("continue_rlista", refine=False),
        "continue_rlista()": of("continue_rlista"),
        **{f"continue_maxent(rule={rule!r})": of("continue_maxent", rule=rule) for rule in RULES},
        "continue_ista()": of("continue_ista"),
        "continue_ista(recipe='published')": of("continue_ista", recipe="published"),
    }


def targets() -> None:
    """Accuracy and time of all methods on the paper's spectra; at other temperatures."""
    rows: list[dict[str, object]] = []
    for sigma in (1e-5, 1e-4, 1e-3):
        case = make_case(sigma, count=2000)
        for name, run in methods(sigma).items():
            quiet(partial(run, case.labelled[:2], BETA))
            result, seconds = timed(partial(quiet, partial(run, case.labelled, BETA)))
            assert isinstance(result, xr.Dataset)
            rows.append(
                {
                    "method": name,
                    "sigma": sigma,
                    "rse": rse(weights(result), case.truth),
                    "chi2 per datum": float(result["chi2"].median()),
                    "ms per spectrum": 1e3 * seconds / len(case.truth),
                    "status not ok": float((result["status"] != "ok").mean()),
                }
            )
    write("continuation_targets.csv", rows)
    rows = []
    for beta in (5.0, 20.0, 40.0):
        case = make_case(1e-5, beta=beta, count=2000)
        for name in (
            "continue_rlista(refine=False)",
            "continue_rlista()",
            "continue_maxent(rule='chi2kink')",
        ):
            result = quiet(partial(methods(1e-5)[name], case.labelled, beta))
            row = {"method": name, "sigma": 1e-5, "beta": beta}
            rows.append({**row, "rse": rse(weights(result), case.truth)})
    write("continuation_temperatures.csv", rows)


def peer() -> None:
    """ana-cont and ours with the same rule; nothing is written if ana-cont is not installed."""
    rows = [row for sigma in (1e-5, 1e-4, 1e-3) for row in _peer(make_case(sigma, count=2000))]
    if rows:
        write("continuation_peer.csv", rows)


def _peer(case: Case, count: int = 40) -> list[dict[str, object]]:
    """ana-cont, chi2kink, on the first spectra of the case; ours on the same."""
    if not has_ana_cont():
        print("ana-cont is not installed: left out")
        return []
    flat = np.ones(len(OMEGA)) / len(OMEGA)

    def run() -> torch.Tensor:
        tau = case.tau.numpy()
        found = [
            ana_cont_density(tau, g, case.sigma, OMEGA, case.beta, model=flat)
            for g in case.data[:count].numpy()
        ]
        return torch.from_numpy(np.stack(found)) * WIDTH

    theirs, seconds = timed(run)
    ours, own = timed(
        lambda: (
            maxent(
                case.kernel / case.sigma, case.data[:count] / case.sigma, torch.from_numpy(flat)
            ).spectrum
        )
    )
    truth = case.truth[:count]
    runs = {"ana-cont, chi2kink": (theirs, seconds), "ours, chi2kink": (ours, own)}
    return [
        {
            "method": f"{name}, first {count}",
            "sigma": case.sigma,
            "rse": rse(found, truth),
            "ms per spectrum": 1e3 * spent / count,
        }
        for name, (found, spent) in runs.items()
    ]


def dedicated() -> None:
    """RLISTA trained for one kind of data: 30 and 120 CPU seconds; inference."""
    rows: list[dict[str, object]] = []
    for sigma, steps in ((1e-5, 2500), (1e-5, 11000), (1e-4, 2500), (1e-3, 2500)):
        case = make_case(sigma)
        recipe = replace(RECIPES["robust"], steps=steps)
        network, seconds = timed(
            lambda sigma=sigma, recipe=recipe: cached_network(samples(sigma), recipe)
        )
        assert isinstance(network, UnrolledNetwork)
        row: dict[str, object] = {"sigma": sigma, "steps": steps, "training CPU s": seconds}
        row["thresholds"] = " ".join(f"{t:.4f}" for t in network.threshold.tolist())
        for precision in (torch.float64, torch.float32):
            cast, data = network.to(precision), case.data.to(precision)
            with torch.inference_mode():
                cast(data)
                found, spent = timed(lambda cast=cast, data=data: cast(data))
            assert isinstance(found, torch.Tensor)
            name = str(precision).removeprefix("torch.")
            row[f"rse, {name}"] = rse(found.double(), case.truth)
            row[f"ms for {TESTS}, {name}"] = 1e3 * spent
        rows.append(row)
    write("continuation_dedicated.csv", rows)


def spectra() -> None:
    """Broad and foreign spectra: relative L1 error, flags."""
    rows: list[dict[str, object]] = []
    for kind in ("published", "broad", "foreign"):
        for sigma in (1e-5, 1e-4, 1e-3):
            case = make_case(sigma, kind=kind, count=1000, beta=20.0)
            for name in (
                "continue_rlista(refine=False)",
                "continue_rlista()",
                "continue_maxent(rule='chi2kink')",
            ):
                run = methods(sigma, kind)[name]
                result = quiet(partial(run, case.labelled, 20.0))
                error = (weights(result) - case.truth).abs().sum(-1)
                rows.append(
                    {
                        "spectra": kind,
                        "sigma": sigma,
                        "method": name,
                        "relative L1 error": float(error.mean()),
                        "flagged": float(result["out_of_distribution"].mean()),
                    }
                )
    write("continuation_spectra.csv", rows)


def bands(fewer: int = 1) -> None:
    """Coverage of the 90 % band, fresh spectra, where there is more than 1 % of the maximum."""
    count = 600 // fewer
    rows: list[dict[str, object]] = []
    for kind in ("published", "broad", "foreign"):
        for beta in (5.0, 10.0, 20.0, 50.0):
            for sigma in (1e-6, 1e-5, 1e-4, 1e-3, 1e-2):
                case = make_case(sigma, kind=kind, count=count, beta=beta)
                run = methods(sigma, kind)["continue_rlista()"]
                result = quiet(partial(run, case.labelled, beta))
                truth = case.truth.numpy() / WIDTH
                lower, upper = result["lower"].values, result["upper"].values
                inside = (lower <= truth + 1e-9) & (truth - 1e-9 <= upper)
                matters = truth > 0.01 * truth.max(1, keepdims=True)
                rows.append(
                    {
                        "spectra": kind,
                        "beta": beta,
                        "sigma": sigma,
                        "covered": float(inside[matters].mean()),
                        "covered everywhere": float(inside.mean()),
                        "mean width": float((upper - lower).mean()),
                        "flagged": float(result["out_of_distribution"].mean()),
                    }
                )
    # Without a network (bosons, too few times): MaxEnt's own band.
    for sigma in (1e-5, 1e-4, 1e-3):
        case = make_case(sigma, count=count)
        found = maxent(
            case.kernel / sigma, case.data / sigma, torch.full((50,), 0.02, dtype=torch.float64)
        )
        off = (found.spectrum - case.truth).abs()
        rows.append(
            {
                "spectra": "published, MaxEnt's own band",
                "beta": BETA,
                "sigma": sigma,
                "covered": float((off <= BAND * found.deviation).double().mean()),
            }
        )
    write("continuation_bands.csv", rows)


def rough() -> None:
    """What users bring: relative L1 error on published spectra at sigma 1e-4, and what is said."""
    sigma, count = 1e-4, 300
    base = make_case(sigma, count=count)
    rng = np.random.default_rng(0)
    tau = base.tau.numpy()
    clean = base.truth @ base.kernel.mT

    def with_tau(times: np.ndarray) -> xr.DataArray:
        kernel = fermion(torch.from_numpy(times), torch.from_numpy(OMEGA), BETA)
        values = (base.truth @ kernel.mT).numpy()
        return xr.DataArray(
            values + sigma * rng.normal(size=values.shape), coords={"tau": times}, dims=("k", "tau")
        )

    spoilt = base.labelled.copy(deep=True)
    for row in spoilt.values:
        row[rng.choice(TIMES, 3, replace=False)] += 100 * sigma * rng.normal(size=3)
    distance = np.abs(tau[:, None] - tau)
    covariance = sigma**2 * (0.99 * np.exp(-distance) + 0.01 * np.eye(TIMES))
    correlated = base.labelled.copy(
        data=clean.numpy() + rng.multivariate_normal(np.zeros(TIMES), covariance, size=count)
    )
    cases: dict[str, tuple[xr.DataArray, dict[str, object]]] = {
        "as it should be": (base.labelled, {"stderr": sigma}),
        "errors not stated": (base.labelled, {}),
        "beta 2 % too large": (base.labelled, {"stderr": sigma, "beta": 1.02 * BETA}),
        "beta 10 % too large": (base.labelled, {"stderr": sigma, "beta": 1.1 * BETA}),
        "errors stated 3 times too small": (base.labelled, {"stderr": sigma / 3}),
        "errors stated 3 times too large": (base.labelled, {"stderr": 3 * sigma}),
        "no end points": (with_tau((np.arange(100) + 0.5) * BETA / 100), {"stderr": sigma}),
        "24 times": (with_tau(np.linspace(0, BETA, 24)), {"stderr": sigma}),
        "Chebyshev times": (
            with_tau(BETA * (1 - np.cos(np.linspace(0, np.pi, 60))) / 2),
            {"stderr": sigma},
        ),
        "3 outliers of 100 errors": (spoilt, {"stderr": sigma}),
        "correlated errors, said so": (correlated, {"covariance": covariance}),
        "correlated errors, not said": (correlated, {"stderr": sigma}),
    }
    rows: list[dict[str, object]] = []
    for name, (data, options) in cases.items():
        row: dict[str, object] = {"data": name}
        given = {"beta": BETA, "omega": OMEGA, "bins": False, **options}
        for method in ("continue_rlista", "continue_maxent"):
            run = getattr(arpes_ml_plugins, method)
            result = quiet(lambda run=run, data=data, given=given: run(data, **given))
            error = (weights(result) - base.truth).abs().sum(-1)
            row[f"{method}, error"] = float(error.mean())
            if method == "continue_rlista":
                row["flagged"] = float(result["out_of_distribution"].mean())
                row["status not ok"] = float((result["status"] != "ok").mean())
        rows.append(row)
    write("continuation_rough.csv", rows)
