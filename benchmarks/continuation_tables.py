"""The tables of ``docs/continuation.md``, from what ``continuation.py`` has measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tables import read, write

Row = dict[str, str]

SIGMAS = ("1e-05", "0.0001", "0.001")
SHOWN = {"1e-06": "1e-6", "1e-05": "1e-5", "0.0001": "1e-4", "0.001": "1e-3", "0.01": "1e-2"}


def tables() -> None:
    """Round and arrange the measured numbers for the documentation; measures nothing."""
    for name, make in MAKERS.items():
        rows = list(make(read(f"continuation_{name}.csv")))
        shown = {key for row in rows for key, value in row.items() if value != ""}
        rows = [{key: value for key, value in row.items() if key in shown} for row in rows]
        write(f"continuation_{name}_table.csv", rows)


def _number(text: str, digits: int = 4) -> str:
    return f"{float(text):.{digits}f}" if text else ""


def _short(text: str) -> str:
    return f"{float(text):.2g}" if float(text) < 100 else f"{float(text):.0f}"


def _percent(text: str, digits: int = 1) -> str:
    return f"{100 * float(text):.{digits}f} %"


def _names(rows: list[Row], column: str) -> list[str]:
    return list(dict.fromkeys(row[column] for row in rows))


def _targets(rows: list[Row]) -> Iterable[dict[str, object]]:
    for method in _names(rows, "method"):
        own = {row["sigma"]: row for row in rows if row["method"] == method}
        first = own[SIGMAS[0]]
        yield {
            "": f"`{method}`",
            **{f"σ = {SHOWN[s]}": _number(own[s]["rse"]) for s in SIGMAS},
            "χ² per datum at 1e-5": _short(first["chi2 per datum"]),
            "ms per spectrum at 1e-5": _number(first["ms per spectrum"], 1),
            "status not ok at 1e-5": _percent(first["status not ok"], 0),
        }


def _temperatures(rows: list[Row]) -> Iterable[dict[str, object]]:
    for method in _names(rows, "method"):
        own = [row for row in rows if row["method"] == method]
        yield {
            "": f"`{method}`",
            **{f"beta = {float(row['beta']):g}": _number(row["rse"]) for row in own},
        }


def _peer(rows: list[Row]) -> Iterable[dict[str, object]]:
    for method in _names(rows, "method"):
        own = {row["sigma"]: row for row in rows if row["method"] == method}
        yield {
            "": method,
            **{f"RSE, σ = {SHOWN[s]}": _number(own[s]["rse"]) for s in SIGMAS},
            **{f"ms, {SHOWN[s]}": _short(own[s]["ms per spectrum"]) for s in SIGMAS},
        }


def _dedicated(rows: list[Row]) -> Iterable[dict[str, object]]:
    for row in rows:
        yield {
            "σ": SHOWN[row["sigma"]],
            "steps": row["steps"],
            "training, CPU s": _number(row["training CPU s"], 0),
            "RSE": _number(row["rse, float64"]),
            "ms for 10 000 spectra (float32)": _number(row["ms for 10000, float32"], 0),
            "thresholds": _range(row.get("thresholds", "")),
        }


def _spectra(rows: list[Row]) -> Iterable[dict[str, object]]:
    for kind in _names(rows, "spectra"):
        for sigma in SIGMAS:
            bare, refined, flat = (
                row for row in rows if (row["spectra"], row["sigma"]) == (kind, sigma)
            )
            yield {
                "spectra": kind,
                "σ": SHOWN[sigma],
                "network alone": _number(bare["relative L1 error"], 3),
                "`continue_rlista()`": _number(refined["relative L1 error"], 3),
                "flagged": _percent(refined["flagged"]),
                "`continue_maxent()`": _number(flat["relative L1 error"], 3),
            }


def _bands(rows: list[Row]) -> Iterable[dict[str, object]]:
    for kind in _names(rows, "spectra"):
        for beta in _names([row for row in rows if row["spectra"] == kind], "beta"):
            own = [row for row in rows if (row["spectra"], row["beta"]) == (kind, beta)]
            covered = {row["sigma"]: _percent(row["covered"]) for row in own}
            yield {
                "spectra": kind,
                "beta": f"{float(beta):g}",
                **{f"σ = {shown}": covered.get(sigma, "") for sigma, shown in SHOWN.items()},
            }


def _rough(rows: list[Row]) -> Iterable[dict[str, object]]:
    for row in rows:
        yield {
            "data": row["data"],
            "`continue_rlista()`": _number(row["continue_rlista, error"], 3),
            "status not ok": _percent(row["status not ok"], 0),
            "`continue_maxent()`": _number(row["continue_maxent, error"], 3),
        }


def _networks(rows: list[Row]) -> Iterable[dict[str, object]]:
    for name in _names(rows, "network"):
        own = {row["input"]: row for row in rows if row["network"] == name}
        row: dict[str, object] = {"network": name}
        if "raw" in own:
            row["parameters (raw)"] = f"{int(own['raw']['parameters']):,}"
        for kind, measured in own.items():
            row[f"RSE, {kind}"] = _number(measured["rse"])
            row[f"thresholds, {kind}"] = _range(measured["thresholds"])
        yield row


def _range(thresholds: str) -> str:
    values = [float(value) for value in thresholds.split()]
    return f"{min(values):.3f} to {max(values):.3f}" if values else ""


def _published(rows: list[Row]) -> Iterable[dict[str, object]]:
    for row in rows:
        yield {
            "penalty": row["l2 penalty"],
            "RSE": _number(row["rse"]),
            "thresholds": _range(row.get("thresholds", "")),
            "CPU s": _number(row["training CPU s"], 0),
        }


def _noise(rows: list[Row]) -> Iterable[dict[str, object]]:
    for name in _names(rows, "network"):
        own = {row["sigma"]: row for row in rows if row["network"] == name}
        yield {
            "": name,
            **{f"RSE of the mean, {SHOWN[s]}": _number(own[s]["rse of the mean"]) for s in SIGMAS},
            **{f"Std, {SHOWN[s]}": f"{float(own[s]['std']):.3g}" for s in SIGMAS},
        }


def _neural(rows: list[Row]) -> Iterable[dict[str, object]]:
    for row in rows:
        yield {
            "σ": SHOWN[row["sigma"]],
            "network": _number(row["6-layer RLISTA"]),
            "flat, chi2kink": _number(row["flat, chi2kink"]),
            "flat, classic": _number(row["flat, classic"]),
            "half neural, classic": _number(row["neural 0.5, classic"]),
            "98 % neural, chi2kink": _number(row["neural 0.98, chi2kink"]),
            "98 % neural, classic": _number(row["neural 0.98, classic"]),
            "better than the network in": _percent(row["better than the network in"], 0),
        }


def _times(rows: list[Row]) -> Iterable[dict[str, object]]:
    for name in _names(rows, "network"):
        own = [row for row in rows if row["network"] == name]
        yield {
            "network": name,
            **{f"{row['frequencies']}": _number(row["CPU s for 10 000"], 2) for row in own},
        }


def _matrices(rows: list[Row]) -> Iterable[dict[str, object]]:
    for row in rows:
        yield {
            "": f"`{row['method']}`",
            "σ": SHOWN[row["sigma"]],
            "diagonal, single": _number(row["diagonal, single"], 3),
            "diagonal, whole": _number(row["diagonal, whole"], 3),
            "beside, flat default model": _number(row["beside, flat"], 3),
            "beside, bound": _number(row["beside, bound"], 3),
            "beside, cut off": _number(row["beside, cut"], 3),
            "beside, whole": _number(row["beside, whole"], 3),
            "χ² per datum, cut off": _short(row["chi2 cut"]),
            "χ² per datum, whole": _short(row["chi2 whole"]),
            "s per matrix": _number(row["seconds"], 1),
        }


MAKERS: dict[str, Callable[[list[Row]], Iterable[dict[str, object]]]] = {
    "matrices": _matrices,
    "targets": _targets,
    "temperatures": _temperatures,
    "peer": _peer,
    "dedicated": _dedicated,
    "spectra": _spectra,
    "bands": _bands,
    "rough": _rough,
    "networks": _networks,
    "published": _published,
    "noise": _noise,
    "neural": _neural,
    "times": _times,
}
