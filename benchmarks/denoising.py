"""Denoisers compared on images whose truth is known; every number in the docs comes from here.

    python benchmarks/denoising.py             all of it (some hours on one core)
    python benchmarks/denoising.py table       quality, CPU time and peak memory of every method
    python benchmarks/denoising.py bars        how often error bars hold the truth
    python benchmarks/denoising.py defects     hot pixels, dead lines, gaps, gains
    python benchmarks/denoising.py mesh        a detector mesh: left in, found in the data, known
    python benchmarks/denoising.py curves      PSNR against iteration, as a figure
    python benchmarks/denoising.py series      which axis of a map is taken for a series
    python benchmarks/denoising.py recipes     settings of the two-stage recipes
    python benchmarks/denoising.py pcp         time and convergence of principal component pursuit

Everything runs on one thread. Each entry of the table is a process of its own, so that its CPU time
and peak memory are its own; "oracle" means that the parameter was chosen with the truth. BM3D is
compared where it is installed (its licence is not free: never a dependency), as are the simulated
scenes of erlab and aurelia.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")  # erlab's simulated data import Qt

import numpy as np
import torch
import xarray as xr
from denoising_methods import MAPS, METHODS, SLOW_METHODS, SLOW_SCENES, applies, labelled
from denoising_spoiled import defects, mesh
from denoising_two_stage import curves, draw_curves, pcp, recipes
from scenes import SCENES, Scene, make_scene, map_series
from scipy.ndimage import gaussian_filter
from tables import read, write

import arpes_ml_plugins  # noqa: F401
from arpes_ml_plugins.errors import DataError
from arpes_ml_plugins.labelled.series import choose_series

torch.set_num_threads(1)


def ssim(scene: Scene, image: np.ndarray) -> float:
    """Structural similarity, against the reference."""
    from skimage.metrics import structural_similarity

    peak = float(np.percentile(scene.reference, 99.9))
    pairs = (
        [(scene.reference, image)] if image.ndim == 2 else zip(scene.reference, image, strict=True)
    )
    return float(np.mean([structural_similarity(a, b, data_range=peak) for a, b in pairs]))


def curvature_correlation(scene: Scene, image: np.ndarray) -> float:
    """Correlation of the second derivatives along energy, both smoothed by 2 pixels."""
    order = (0,) * (image.ndim - 1) + (2,)
    bent = [gaussian_filter(x, 2.0, order=order)[..., 8:-8] for x in (scene.reference, image)]
    return float(np.corrcoef(bent[0].ravel(), bent[1].ravel())[0, 1])


def mdc_errors(scene: Scene, image: np.ndarray) -> tuple[float, float]:
    """Of fitted MDC peaks: rms shift in pixels, and median ratio of the widths."""
    from scipy.optimize import curve_fit

    def lorentzian(k, height, centre, width, offset, slope):
        return height * width**2 / ((k - centre) ** 2 + width**2) + offset + slope * k

    momentum = np.arange(image.shape[0])
    fits = []
    for column in range(20, 190, 5):
        found = []
        start = None
        for picture in (scene.reference, image):
            curve = picture[:, column]
            if start is None:
                start = (np.ptp(curve), float(curve.argmax()), 8.0, curve.min(), 0.0)
            try:
                start, _ = curve_fit(lorentzian, momentum, curve, start, maxfev=4000)
            except RuntimeError:
                start = np.full(5, np.nan)
            found.append(start)
        fits.append(found)
    true, seen = np.array(fits).transpose(1, 0, 2)
    shift = seen[:, 1] - true[:, 1]
    return float(np.sqrt(np.mean(shift**2))), float(np.median(np.abs(seen[:, 2] / true[:, 2])))


def judge(scene: Scene, image: np.ndarray) -> dict[str, float]:
    from arpes_ml_plugins.scoring import held_out_likelihood

    found = {
        "psnr": scene.score(image),
        "ssim": ssim(scene, image),
        "likelihood": held_out_likelihood(image, scene.held_out, scene.ratio),
        "curvature": curvature_correlation(scene, image),
    }
    if scene.name.startswith("kink"):
        found["mdc_rms"], found["mdc_width"] = mdc_errors(scene, image)
    return found


def measure(method: str, scene_name: str, seed: int) -> dict[str, object]:
    """One entry of the table, in a process of its own."""
    command = [sys.executable, __file__, "one", method, scene_name, str(seed)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        return {"method": method, "scene": scene_name, "error": "not available"}
    found = json.loads(output.splitlines()[-1])
    return {"method": method, "scene": scene_name, **found, "peak_mib": usage.ru_maxrss // 1024}


def run_one(method: str, scene_name: str, seed: int) -> None:
    scene = make_scene(scene_name, seed)
    started = time.process_time()
    image = (METHODS | SLOW_METHODS)[method](scene)
    seconds = time.process_time() - started
    print(json.dumps(judge(scene, image) | {"cpu_s": seconds}))


def table(seeds: int, methods: list[str], scenes: list[str]) -> None:
    """Measure ``methods`` (all if empty); all other rows stay as they are on file."""
    chosen = methods or list(METHODS | SLOW_METHODS)
    rows = [
        row
        for row in read("denoising_runs.csv")
        if row["method"] not in chosen or row["scene"] not in scenes
    ]
    for method in chosen:
        for scene in scenes:
            if not applies(method, scene):
                continue
            repeats = 1 if method in SLOW_METHODS else seeds
            runs = [measure(method, scene, seed) for seed in range(repeats)]
            if "error" in runs[0]:
                print(method, scene, runs[0]["error"], flush=True)
                continue
            row: dict[str, object] = {"method": method, "scene": scene, "seeds": repeats}
            for key in COLUMNS:
                if key in runs[0]:
                    row[key] = f"{np.mean([float(run[key]) for run in runs]):.4g}"
            row["psnr_spread"] = f"{np.std([float(run['psnr']) for run in runs]):.2f}"
            row["peak_mib"] = max(int(run["peak_mib"]) for run in runs)
            rows.append(row)
            print(row, flush=True)
            write("denoising_runs.csv", rows)
    summarise(rows)


COLUMNS = ("psnr", "ssim", "likelihood", "curvature", "mdc_rms", "mdc_width", "cpu_s")


def summarise(rows: list[dict[str, object]]) -> None:
    """A line a method for each quantity; CPU seconds and memory are those of one cut."""
    order = list(METHODS | SLOW_METHODS)
    for quantity in (*COLUMNS[:-1], "cpu_s"):
        lines = []
        for method in order:
            mine = {row["scene"]: row for row in rows if row["method"] == method}
            scenes = [s for s in SCENES if any(r["scene"] == s and r.get(quantity) for r in rows)]
            if not any(mine.get(scene, {}).get(quantity) for scene in scenes):
                continue
            line = {"method": method} | {s: _entry(mine.get(s, {}), quantity) for s in scenes}
            if quantity == "psnr" and "cut 2 %" in mine:
                row = mine["cut 2 %"]
                line |= {"CPU s": _entry(row, "cpu_s"), "peak MiB": row["peak_mib"]}
            lines.append(line)
        write(f"denoising_{quantity}.csv", lines)


def _entry(row: dict[str, object], quantity: str) -> str:
    if not row.get(quantity):
        return ""
    value = float(row[quantity])
    digits = {"psnr": 2, "likelihood": 4, "cpu_s": 1}.get(quantity, 3)
    spread = (
        f" ± {row['psnr_spread']}" if quantity == "psnr" and row["seeds"] not in ("1", 1) else ""
    )
    return f"{value:.{digits}f}{spread}"


def bars() -> None:
    """How often the truth lies within the 68 % band, and the root mean square of error over bar.

    Where the reference is itself measured (the cut), its own variance is added to the bar's.
    """
    rows = []
    for method, options in (
        ("decompose_counts", {}),
        ("decompose_pretrained", {"adapt": False}),
        ("decompose_pretrained", {}),
    ):
        line: dict[str, object] = {"method": method + (", adapt=False" if options else "")}
        for name in SCENES:
            if name in MAPS:
                continue
            try:
                scene = make_scene(name, 0)
            except ImportError:
                continue
            try:
                result = getattr(labelled(scene).S, method)(rng=0, **options)
            except DataError:  # correlated noise, which decompose_counts refuses
                line[name] = "refused"
                continue
            width = np.hypot((result.upper - result.clean).values, np.sqrt(scene.variance))
            inside = np.abs(result.clean.values - scene.reference) <= width
            line[name] = f"{inside.mean():.2f}"
        rows.append(line)
        print(line, flush=True)
    write("denoising_bars.csv", rows)


def series() -> None:
    """PSNR with one or the other axis of a 4-D data set as the series, or none."""
    rows = []
    for temperatures, slices in ((6, 24), (12, 12), (24, 6)):
        scene = map_series(1.0, temperatures, slices, 0)
        data = xr.DataArray(scene.noisy, dims=("temperature", "ky", "phi", "eV"))
        line: dict[str, object] = {"data": scene.name}
        for axis in (None, "ky", "temperature"):
            clean = data.S.denoise_pretrained(series=axis, adapt=False, rng=0)
            line[f"series={axis}"] = f"{scene.score(clean.values):.2f}"
        line["auto takes"] = choose_series(data, ("phi", "eV"), "auto")[0]
        rows.append(line)
        print(line, flush=True)
        write("denoising_series.csv", rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parts = ("table", "bars", "defects", "mesh", "series", "recipes", "curves", "pcp")
    parser.add_argument("part", nargs="?", choices=("all", *parts, "one"), default="all")
    parser.add_argument("one", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--seeds", type=int, default=3, help="noise realisations a table entry")
    parser.add_argument(
        "--methods", nargs="*", default=[], help="of the table; the others stay as on file"
    )
    parser.add_argument("--scenes", nargs="*", help="of the table or the curves")
    options = parser.parse_args()
    chosen = parts if options.part == "all" else (options.part,)
    if options.part == "one":
        method, scene, seed = options.one
        run_one(method, scene, int(seed))
    if "pcp" in chosen:
        pcp()
    if "table" in chosen:
        table(options.seeds, options.methods, options.scenes or list(SCENES))
    for part in (bars, defects, mesh, series, recipes):
        if part.__name__ in chosen:
            part()
    if "curves" in chosen:
        curves(options.scenes or list(SLOW_SCENES))
        draw_curves()


if __name__ == "__main__":
    main()
