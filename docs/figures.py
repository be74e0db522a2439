"""Draw the measured tables that are too wide to read as figures, when the pages are built.

Each figure shows the numbers of one or two files in ``docs/measured`` and nothing else.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from textwrap import fill

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["draw_all"]

MEASURED = Path(__file__).parent / "measured"
DRAWN = Path(__file__).parent / "drawn"
OURS, THEIRS = "#d55e00", "#555555"
NUMBER = re.compile(r"^-?\d+(\.\d+)?(e-?\d+)?%?$")
PEERS = ("noisy", "Gaussian", "total variation", "non-local", "BM3D", "BM4D", "GMCA", "NMF")
PUBLISHED = "published"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#555555", "#e69f00")

Row = dict[str, str]


def draw_all(app: object = None) -> None:
    """Draw every figure into ``docs/drawn``."""
    DRAWN.mkdir(exist_ok=True)
    styles = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    with mpl.rc_context(styles):
        for name, figure in _figures():
            figure.savefig(DRAWN / f"{name}.png", dpi=160)
            plt.close(figure)


def _figures() -> list[tuple[str, Figure]]:
    scores = {
        "denoising_psnr": ("PSNR (dB)", ("CPU s", "peak MiB")),
        "denoising_likelihood": ("log-likelihood, less that of the best", ()),
        "denoising_ssim": ("structural similarity", ()),
        "denoising_curvature": ("correlation of second derivatives", ()),
    }
    figures = [
        (name, _scenes(_rows(name), label, without, relative="likelihood" in name))
        for name, (label, without) in scores.items()
    ]
    figures += [
        ("denoising_sharp", _dumbbells("denoising_sharp", ("scene", "counts per pixel"))),
        ("denoising_clouds", _dumbbells("denoising_clouds", ("width of the cloud, px",))),
        ("denoising_cameras", _dumbbells("denoising_cameras", ("scene", "counts per pixel"))),
        ("denoising_bars", _coverage()),
        ("continuation_range", _range()),
        ("act100", _act100()),
        ("manifolds_noise", _curves("manifolds_noise", "SNR, dB")),
        ("manifolds_balance", _curves("manifolds_balance", "k", log=True)),
        ("manifolds_distance", _curves("manifolds_distance", "distance, channels")),
        ("manifolds_removed", _removed()),
        ("energy_shifts", _shifts()),
    ]
    return figures


def _rows(name: str) -> list[Row]:
    with (MEASURED / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _number(text: str) -> tuple[float, float] | None:
    """A value and its standard deviation, which is zero where none is given."""
    value, _, spread = text.partition("±")
    if not NUMBER.match(value.strip()):
        return None
    return float(value.strip().rstrip("%")), float(spread or 0)


def _colour(method: str) -> str:
    return THEIRS if method.startswith(PEERS) or PUBLISHED in method else OURS


def _scenes(rows: list[Row], label: str, without: Sequence[str], relative: bool) -> Figure:
    """One panel per scene, one line per method; the score of the data stands in the title."""
    noisy = next(row for row in rows if row["method"] == "noisy")
    rows = [row for row in rows if PUBLISHED not in row["method"] and row is not noisy]
    scenes = [name for name in rows[0] if name != "method" and name not in without]
    columns = 4
    lines = -(-len(scenes) // columns)
    figure, panels = plt.subplots(
        lines, columns, figsize=(9, 2.3 * lines), sharey=True, layout="constrained"
    )
    methods = [row["method"] for row in rows]
    for axes, scene in zip(panels.flat, scenes, strict=False):
        values = [_number(row[scene]) for row in rows]
        best = max(value[0] for value in values if value)
        for place, (method, value) in enumerate(zip(methods, values, strict=True)):
            if value is None:
                continue
            axes.errorbar(
                value[0] - best * relative, place, xerr=value[1], fmt="o", color=_colour(method),
                markersize=4,
            )  # fmt: skip
        axes.axvline(best * (not relative), color="0.85", linewidth=0.8, zorder=0)
        axes.locator_params(axis="x", nbins=3)
        before = _number(noisy[scene])
        data = f" (data: {before[0]:g})" if before and not relative else ""
        axes.set_title(scene + data, fontsize=9)
    for axes in panels.flat[len(scenes) :]:
        axes.set_axis_off()
    panels.flat[0].set_yticks(range(len(methods)), methods)
    panels.flat[0].invert_yaxis()
    figure.supxlabel(f"{label}; orange: methods of this package", fontsize=9)
    return figure


def _dumbbells(name: str, keys: tuple[str, ...]) -> Figure:
    """One line per case, with the methods as dots on it."""
    rows = _rows(name)
    shown = ("noisy", "Gaussian, oracle", "BM3D, oracle binning", "adapt=False", "denoise()")
    marks = ("x", "|", "s", "o", "D")
    colours = (THEIRS, THEIRS, SERIES[0], SERIES[5], OURS)
    group = "counts per pixel"
    levels = list(dict.fromkeys(row[group] for row in rows))
    figure, panels = plt.subplots(
        1, len(levels), figsize=(9, 3.2), sharey=True, layout="constrained", squeeze=False
    )
    names = list(dict.fromkeys(row[keys[0]] for row in rows))
    for axes, level in zip(panels[0], levels, strict=True):
        for row in (row for row in rows if row[group] == level):
            place = names.index(row[keys[0]])
            values = {key: found[0] for key in shown if (found := _number(row.get(key, "")))}
            axes.hlines(place, min(values.values()), max(values.values()), color="0.9", zorder=0)
            for key, mark, colour in zip(shown, marks, colours, strict=True):
                if key in values:
                    axes.plot(values[key], place, mark, color=colour, markersize=5, label=key)
        unit = "count" if float(level) == 1 else "counts"
        axes.set_title(f"{float(level):g} {unit} per pixel", fontsize=9)
        axes.set_xlabel("PSNR (dB)")
    panels[0][0].set_yticks(range(len(names)), names)
    panels[0][0].set_ylabel(keys[0] if keys[0] != "scene" else "")
    panels[0][0].invert_yaxis()
    _legend(figure, panels[0][0])
    return figure


def _coverage() -> Figure:
    """Shares of the pixels whose error bar holds the truth, one line per scene."""
    rows = _rows("denoising_bars")
    scenes = [name for name in rows[0] if name != "method"]
    figure, axes = plt.subplots(figsize=(9, 3.2), layout="constrained")
    for row, mark, colour in zip(rows, "soD", (SERIES[0], SERIES[5], OURS), strict=True):
        values = {
            place: found[0] for place, name in enumerate(scenes) if (found := _number(row[name]))
        }
        axes.plot(list(values.values()), list(values), mark, color=colour, markersize=5,
                  label=row["method"])  # fmt: skip
    axes.axvline(0.68, color="0.7", linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(scenes)), scenes)
    axes.invert_yaxis()
    axes.set(xlim=(0.4, 0.9), xlabel="share of the pixels whose bar holds the truth; line: stated")
    _legend(figure, axes)
    return figure


def _range() -> Figure:
    """Errors of continuation against the kind of spectrum, the error of the data and beta."""
    parts = (("continuation_kinds", "kind"), ("continuation_sigmas", "sigma"))
    parts += (("continuation_betas", "beta"),)
    figure, panels = plt.subplots(
        1, 3, figsize=(9, 4.8), layout="constrained", width_ratios=(1.6, 1, 1)
    )
    for axes, (name, key) in zip(panels, parts, strict=True):
        rows = [row for row in _rows(name) if row[key] != "all"]
        for column, colour in (
            ("error, continue_rlista", OURS),
            ("error, continue_maxent", THEIRS),
        ):
            values = [float(row[column]) for row in rows]
            label = column.removeprefix("error, ")
            if key == "kind":
                axes.plot(values, range(len(rows)), "o", color=colour, label=label)
            else:
                at = [float(row[key]) for row in rows]
                axes.plot(at, values, "o-", color=colour, label=label, markersize=4)
        if key == "kind":
            axes.set_yticks(range(len(rows)), [row[key] for row in rows])
            axes.invert_yaxis()
            axes.set_xlabel("relative error")
        else:
            axes.set(xscale="log", xlabel={"sigma": "error of the data", "beta": "beta"}[key])
            axes.set_ylim(bottom=0)
    _legend(figure, panels[0])
    return figure


def _act100() -> Figure:
    """Error of every test of ACT100, one panel per condition; the scores stand at the right."""
    rows = _rows("act100")
    conditions = list(dict.fromkeys(row["condition"] for row in rows))
    classes = list(dict.fromkeys((row["statistics"], row["kind"]) for row in rows))
    shown = (("continue_rlista", OURS, -0.18), ("continue_maxent", THEIRS, 0.18))
    figure, panels = plt.subplots(
        1, len(conditions), figsize=(9, 3.6), sharey=True, layout="constrained"
    )
    for axes, condition in zip(panels, conditions, strict=True):
        for place, group in enumerate(classes):
            for method, colour, aside in shown:
                errors = [
                    float(row["error"]) for row in rows
                    if (row["condition"], row["statistics"], row["kind"], row["method"])
                    == (condition, *group, method)
                ]  # fmt: skip
                if not errors:
                    continue
                height = place + aside
                axes.plot(errors, [height] * len(errors), "o", color=colour, markersize=4,
                          alpha=0.45, markeredgewidth=0, label=method)  # fmt: skip
                axes.plot(median(errors), height, "|", color=colour, markersize=11, mew=2)
                score = sum(max(0.0, 1 - error) for error in errors)
                axes.annotate(f"{score:.1f}", (1.01, height), color=colour, fontsize=8,
                              xycoords=("axes fraction", "data"), va="center")  # fmt: skip
        axes.axvline(1, color="0.85", linewidth=0.8, zorder=0)
        axes.set(xscale="log", xlabel="relative error; line: median; right: score f")
        axes.set_title(condition, fontsize=9)
    panels[0].set_yticks(range(len(classes)), [f"{a}s, {b}" for a, b in classes])
    panels[0].invert_yaxis()
    _legend(figure, panels[0])
    return figure


def _curves(name: str, key: str, log: bool = False) -> Figure:
    """Five scores of separation against a condition, one line per method."""
    rows = _rows(name)
    scores = ("SAD", "SDR", "SIR", "SNR")
    figure, panels = plt.subplots(1, 4, figsize=(9, 2.8), layout="constrained")
    methods = list(dict.fromkeys(row["method"] for row in rows))
    for axes, score in zip(panels, scores, strict=True):
        for method, colour in zip(methods, SERIES, strict=False):
            mine = [row for row in rows if row["method"] == method and row[score]]
            at = [float(row[key]) for row in mine]
            axes.plot(at, [float(row[score]) for row in mine], "o-", color=colour, markersize=3,
                      label=method)  # fmt: skip
        axes.set(title=f"{score} (dB)", xlabel=key, xscale="log" if log else "linear")
    _legend(figure, panels[0])
    return figure


def _removed() -> Figure:
    """Spectral angles without some of the models, one panel per set of models and strength."""
    rows = _rows("manifolds_removed")
    cases = list(dict.fromkeys((row["k"], row["removed"]) for row in rows))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    figure, panels = plt.subplots(
        2, len(cases) // 2, figsize=(9, 3.8), sharex=True, sharey=True, layout="constrained"
    )
    for axes, (strength, removed) in zip(panels.T.flat, cases, strict=True):
        for row in (row for row in rows if (row["k"], row["removed"]) == (strength, removed)):
            axes.plot(float(row["SAD"]), methods.index(row["method"]), "o", markersize=4,
                      color=_colour(row["method"]))  # fmt: skip
        axes.set_title(f"without {removed}, k = {float(strength):g}", fontsize=9)
        axes.grid(axis="x", color="0.9", linewidth=0.8)
    panels[0, 0].set_yticks(range(len(methods)), methods)
    panels[0, 0].invert_yaxis()
    figure.supxlabel("SAD (dB); orange: methods of this package", fontsize=9)
    return figure


def _shifts() -> Figure:
    """Angles to the true spectra of maps whose energies shift, one panel per kind of shift."""
    rows = _rows("energy_shifts")
    kinds = list(dict.fromkeys(row["shift"] for row in rows))
    figure, panels = plt.subplots(
        1, len(kinds), figsize=(9, 2.7), sharey=True, layout="constrained"
    )
    columns = {
        "blind: worst angle": (SERIES[3], "o-", "blind"),
        "blind, shift=False: worst angle": (THEIRS, "s--", "blind, shift=False"),
        "default: worst angle": (OURS, "o-", "library"),
        "shift=False: worst angle": (SERIES[0], "s--", "library, shift=False"),
        "by component: worst angle": (SERIES[2], "D-", 'library, shift="by component"'),
    }
    for axes, kind in zip(panels, kinds, strict=True):
        mine = [row for row in rows if row["shift"] == kind]
        for column, (colour, line, label) in columns.items():
            those = [row for row in mine if row[column]]
            at = [float(row["counts"]) for row in those]
            angles = [float(row[column]) for row in those]
            axes.plot(at, angles, line, color=colour, markersize=4, label=label)
        axes.set(title=fill(kind, 18), xscale="log", yscale="log", xlabel="counts")
        axes.title.set_fontsize(9)
    panels[0].set_ylabel("worst angle (degrees)")
    _legend(figure, panels[-1])
    return figure


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    first = dict(zip(reversed(labels), reversed(handles), strict=True))
    names = list(dict.fromkeys(labels))
    columns = min(len(names), 5 if max(map(len, names)) < 20 else 3)
    figure.legend(
        [first[name] for name in names], names, loc="outside lower center", ncols=columns,
        frameon=False,
    )  # fmt: skip


if __name__ == "__main__":
    draw_all()
