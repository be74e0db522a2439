"""ACT100, the public test set of analytic continuation: every test, by every method.

The spectra, data and score are those of :mod:`act100_spectra`. Positive spectra are continued by
``continue_rlista`` with its defaults and by ``continue_maxent``, the others by
``continue_maxent(signed=True)``, and fermions by ana-cont (chi2kink) if it is installed; its
bosonic kernels are those of even spectra, which these are not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import xarray as xr
from act100_spectra import (
    BETA,
    CONDITIONS,
    OMEGA,
    Case,
    Condition,
    all_cases,
    displacement,
    error_of,
    random_cases,
    score,
)
from continuation_cases import quiet
from continuation_peers import ana_cont_density, has_ana_cont
from numpy.typing import NDArray
from tables import RESULTS, write

import arpes_ml_plugins

__all__ = ["act100", "act100_random"]

WORSE, NEGLIGIBLE = 1.3, 0.02  # times MaxEnt's error; errors below are no harm
FAILED = 0.5  # error of a result that should not be called "ok"
LEAST = 0.01  # of the maximum, below which the interval is not tested
RLISTA, MAXENT, PEER = "continue_rlista", "continue_maxent", "ana-cont"

Values = NDArray[np.floating]


@dataclass(frozen=True)
class Found:
    """One spectrum by one method."""

    spectrum: Values
    status: str = ""
    flagged: bool | None = None
    lower: Values | None = None
    upper: Values | None = None


def act100() -> None:
    """Run all tests in all conditions; one line per test and method, and sums by class."""
    _run("act100", [(condition, case) for condition in CONDITIONS for case in all_cases()])


def act100_random(fewer: int = 1) -> None:
    """The same for random spectra, 100 for each scenario for which ACFlow's errors are known."""
    _run("act100_random", [(CONDITIONS[0], case) for case in random_cases(100 // fewer)])


def _run(name: str, tests: list[tuple[Condition, Case]]) -> None:
    rows = [
        _row(condition, case, method, run)
        for condition, case in tests
        for method, run in _methods(case)
    ]
    frame = pd.DataFrame(rows)
    RESULTS.mkdir(parents=True, exist_ok=True)
    frame.to_csv(RESULTS / f"{name}.csv", index=False, float_format="%.4g")
    write(f"{name}_table.csv", sums(frame))


def sums(frame: pd.DataFrame) -> list[dict[str, object]]:
    """Score and further numbers of each class, from the lines of the tests."""
    keys = ["condition", "statistics", "kind", "test"]
    flat = frame[frame["method"] == MAXENT].set_index(keys)["error"]
    frame = frame.join(flat.rename("error, MaxEnt"), on=keys)
    ok = frame["status"] == "ok"
    worse = frame["error"] > WORSE * frame["error, MaxEnt"]
    frame["silent and worse"] = ok & worse & (frame["error"] > NEGLIGIBLE)
    frame["ok and off"] = ok & (frame["error"] > FAILED)
    groups = frame.groupby([*keys[:3], "method"], sort=False)
    return [
        {**dict(zip([*keys[:3], "method"], key, strict=True)), **_sum(part)} for key, part in groups
    ]


def _sum(part: pd.DataFrame) -> dict[str, object]:
    nowhere = part["displacement"].isna().all()
    return {
        "tests": len(part),
        "f": f"{score(part['error']):.1f}",
        "median error": f"{part['error'].median():.3f}",
        "median displacement": "" if nowhere else f"{part['displacement'].median():.3f}",
        "90 % band holds": f"{part['covered'].mean():.2f}",
        "status not ok": int((part["status"] != "ok").sum()),
        "ok, error above 0.5": int(part["ok and off"].sum()),
        "ok, 1.3 times worse than MaxEnt": int(part["silent and worse"].sum()),
        "ms per spectrum": f"{part['ms'].median():.0f}",
    }


def _methods(case: Case) -> Iterator[tuple[str, Callable[[Case, Condition], Found]]]:
    if not case.signed:
        yield RLISTA, partial(_ours, RLISTA)
    yield MAXENT, partial(_ours, MAXENT)
    if case.statistics == "fermion" and has_ana_cont():
        yield PEER, _theirs


def _row(
    condition: Condition, case: Case, method: str, run: Callable[[Case, Condition], Found]
) -> dict[str, object]:
    started = time.process_time()
    found = run(case, condition)
    spent = time.process_time() - started
    return {
        "condition": condition.name,
        "test": case.number,
        "statistics": case.statistics,
        "kind": case.kind,
        "method": method,
        "error": error_of(found.spectrum, case),
        "displacement": None if case.signed else displacement(found.spectrum, case),
        "covered": _covered(found, case.spectrum),
        "flagged": found.flagged,
        "status": found.status,
        "ms": 1e3 * spent,
    }


def _ours(method: str, case: Case, condition: Condition) -> Found:
    points, values = case.data(condition)
    data = xr.DataArray(values, dims=condition.axis, coords={condition.axis: points})
    result = quiet(
        partial(
            getattr(arpes_ml_plugins, method),
            data,
            beta=BETA,
            stderr=condition.sigma,
            omega=OMEGA,
            statistics=case.statistics,
            **({"signed": True} if case.signed else {}),
        )
    )
    return Found(
        result["spectral_function"].values,
        str(result["status"].item()),
        bool(result["out_of_distribution"]),
        result["lower"].values,
        result["upper"].values,
    )


def _theirs(case: Case, condition: Condition) -> Found:
    points, values = case.data(condition)
    spectrum = ana_cont_density(
        points,
        values,
        condition.sigma,
        OMEGA,
        BETA,
        kernel={"tau": "time_fermionic", "iwn": "freq_fermionic"}[condition.axis],
        offdiag=case.signed,
    )
    return Found(spectrum)


def _covered(found: Found, truth: Values) -> float | None:
    """Share of the frequencies at which the interval holds the truth, where that is not small."""
    if found.lower is None or found.upper is None:
        return None
    inside = (found.lower - 1e-9 <= truth) & (truth <= found.upper + 1e-9)
    return float(inside[np.abs(truth) > LEAST * np.abs(truth).max()].mean())
