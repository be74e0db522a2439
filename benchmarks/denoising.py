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
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")  # erlab's simulated data import Qt

import numpy as np
import torch
import xarray as xr
from scenes import SCENES, Scene, make_scene, map_series
from scipy.ndimage import gaussian_filter
from stabilised import anscombe, bm3d_binned, inverse_anscombe
from tables import RESULTS, read, write

import arpes_ml_plugins  # noqa: F401
from arpes_ml_plugins.denoising.recipes import FIXED_INPUT, PUBLISHED, ROBUST, Recipe
from arpes_ml_plugins.errors import DataError
from arpes_ml_plugins.labelled.series import choose_series

torch.set_num_threads(1)


def oracle(scene: Scene, images: Iterable[np.ndarray]) -> np.ndarray:
    return max(images, key=scene.score)


def by_image(scene: Scene, denoise: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """``denoise`` of every image of a map."""
    if scene.noisy.ndim == 2:
        return denoise(scene.noisy)
    return np.stack([denoise(image) for image in scene.noisy])


def gaussian_oracle(scene: Scene) -> np.ndarray:
    widths = np.arange(0.5, 8, 0.1)
    along = (0,) if scene.noisy.ndim == 2 else (0, 0.5, 1, 1.5, 2)
    return oracle(
        scene,
        (
            gaussian_filter(scene.noisy, (a, s, s)[-scene.noisy.ndim :])
            for a in along
            for s in widths
        ),
    )


def tv_oracle(scene: Scene) -> np.ndarray:
    from skimage.restoration import denoise_tv_chambolle

    weights = (0.5, 0.7, 1, 1.4, 2, 2.8, 4, 6)
    return oracle(
        scene,
        (
            by_image(scene, lambda y, w=w: inverse_anscombe(denoise_tv_chambolle(anscombe(y), w)))
            for w in weights
        ),
    )


def nlm_oracle(scene: Scene) -> np.ndarray:
    from skimage.restoration import denoise_nl_means

    def one(counts: np.ndarray, h: float) -> np.ndarray:
        return inverse_anscombe(
            denoise_nl_means(anscombe(counts), patch_size=7, patch_distance=11, h=h, sigma=1.0)
        )

    return oracle(scene, (by_image(scene, lambda y, h=h: one(y, h)) for h in (0.4, 0.6, 0.8, 1.0)))


def bm3d_oracle(scene: Scene) -> np.ndarray:
    """With the better of no binning and 2 x 2 binning."""
    return oracle(scene, (by_image(scene, lambda y, f=f: bm3d_binned(y, f)) for f in (1, 2)))


def bm4d(scene: Scene) -> np.ndarray:
    """For maps alone."""
    import bm4d

    return inverse_anscombe(bm4d.bm4d(anscombe(scene.noisy), 1.0))


def labelled(scene: Scene) -> xr.DataArray:
    return xr.DataArray(scene.noisy, dims=("ky", "phi", "eV")[-scene.noisy.ndim :])


METHODS: dict[str, Callable[[Scene], np.ndarray]] = {
    "noisy": lambda scene: scene.noisy,
    "Gaussian, oracle": gaussian_oracle,
    "total variation, oracle": tv_oracle,
    "non-local means, oracle": nlm_oracle,
    "BM3D, oracle binning": bm3d_oracle,
    "BM4D": bm4d,
    "denoise_pcp_unet": lambda s: labelled(s).S.denoise_pcp_unet(rng=0).values,
    "denoise_counts": lambda s: labelled(s).S.denoise_counts(rng=0).values,
    "denoise_pretrained, adapt=False": lambda s: (
        labelled(s).S.denoise_pretrained(rng=0, adapt=False).values
    ),
    "denoise_pretrained": lambda s: labelled(s).S.denoise_pretrained(rng=0).values,
    "denoise_pretrained, series=None": lambda s: (
        labelled(s).S.denoise_pretrained(rng=0, series=None).values
    ),
    "denoise_pretrained, mean of two series": lambda s: (
        labelled(s).S.denoise_pretrained(rng=0, series=("ky", "phi")).values
    ),
    "denoise": lambda s: labelled(s).S.denoise(rng=0).values,
}
SLOW_METHODS = {
    "denoise_pcp_unet, published": lambda s: (
        labelled(s).S.denoise_pcp_unet(rng=0, recipe="published").values
    ),
}
SLOW_SCENES = ("cut 2 %", "kink 10")
MAPS = ("map 1",)
FOR_MAPS = (
    "BM4D",
    "denoise_pretrained, series=None",
    "denoise_pretrained, mean of two series",
)
"""Methods that differ from another one on maps only."""


def applies(method: str, scene: str) -> bool:
    if method in SLOW_METHODS:
        return scene in SLOW_SCENES
    return method not in FOR_MAPS or scene in MAPS


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


def curves(scenes: list[str]) -> None:
    """PSNR against iteration: input and learning-rate ratio (the paper's Figs. 3c and 4)."""
    from dataclasses import replace

    robust = replace(ROBUST, iterations=2000)
    runs = {
        "robust, PCP input": (robust, True, 0.5),
        "robust, fixed input": (robust, False, 0.5),
        "published, ratio 0.05": (PUBLISHED, True, 0.05),
        "published, ratio 0.5": (PUBLISHED, True, 0.5),
        "published, ratio 8": (PUBLISHED, True, 8.0),
        "published, ratio 200": (PUBLISHED, True, 200.0),
        "fixed input, gradient descent": (FIXED_INPUT, False, 0.5),
    }
    points = [row for row in read("denoising_points.csv") if row["scene"] not in scenes]
    for name in scenes:
        scene = make_scene(name)
        for run, settings in runs.items():
            for iteration, score in trace(scene, *settings):
                points.append(
                    {"scene": name, "run": run, "iteration": iteration, "psnr": f"{score:.3f}"}
                )
            print(points[-1], flush=True)
        write("denoising_points.csv", points)


def trace(scene: Scene, recipe: Recipe, prior: bool, ratio: float) -> list[tuple[int, float]]:
    """Iteration and PSNR during one fit of one network."""
    from arpes_ml_plugins.denoising.pcp import principal_component_pursuit
    from arpes_ml_plugins.denoising.two_stage import bfloat16_is_fast, fit

    images = torch.from_numpy(scene.noisy)[None]
    low_rank = principal_component_pursuit(images).low_rank if prior else None
    points = []

    def observe(iteration: int, image: torch.Tensor) -> None:
        if iteration < 20 or (iteration + 1) % (recipe.iterations // 100) == 0:
            points.append((iteration + 1, scene.score(image[0].numpy())))

    fit(
        images,
        torch.ones_like(images, dtype=torch.bool),
        low_rank,
        recipe,
        seeds=[0],
        noise_ratio=ratio,
        bfloat16=bfloat16_is_fast("cpu"),
        observe=observe,
    )
    return points


def draw_curves() -> None:
    """Figure and summary of the points on file."""
    from matplotlib import pyplot as plt

    points = read("denoising_points.csv")
    figure, panels = plt.subplots(1, 2, figsize=(11.5, 4.0), layout="constrained")
    rows = []
    for axes, name in zip(panels, SLOW_SCENES, strict=True):
        scene = make_scene(name)
        mine = [point for point in points if point["scene"] == name]
        for run in dict.fromkeys(point["run"] for point in mine):
            curve = np.array(
                [(int(p["iteration"]), float(p["psnr"])) for p in mine if p["run"] == run]
            )
            axes.semilogx(curve[:, 0], curve[:, 1], label=run, linewidth=1.2)
            best = curve[curve[:, 1].argmax()]
            rows.append(
                {
                    "scene": name,
                    "run": run,
                    "best PSNR": f"{best[1]:.2f}",
                    "at iteration": int(best[0]),
                    "last PSNR": f"{curve[-1, 1]:.2f}",
                    "iterations": int(curve[-1, 0]),
                }
            )
        axes.axhline(scene.score(scene.noisy), color="0.6", linestyle=":", label="noisy")
        axes.axhline(
            scene.score(gaussian_oracle(scene)), color="0.3", linestyle="--", label="best Gaussian"
        )
        axes.set(xlabel="iteration", ylabel="PSNR (dB)", title=name)
        axes.set_ylim(5, None)
    lines, labels = panels[0].get_legend_handles_labels()
    figure.legend(lines, labels, fontsize=8, loc="outside right center")
    figure.savefig(RESULTS / "denoising_curves.png", dpi=130)
    write("denoising_curves.csv", rows)


def pcp() -> None:
    """Both solvers at 240 x 240."""
    from arpes_ml_plugins.denoising.pcp import principal_component_pursuit

    rows = []
    for name in ("cut 2 %", "kink 10"):
        image = torch.from_numpy(make_scene(name).noisy)[None]
        for solver, limit in (("alm", 500), ("admm", 2000)):
            seconds = []
            for _ in range(5):
                started = time.process_time()
                result = principal_component_pursuit(image, solver=solver, iterations=limit)
                seconds.append(time.process_time() - started)
                if seconds[0] > 2:
                    break
            objective = torch.linalg.svdvals(
                result.low_rank[0]
            ).sum() + result.sparse.abs().sum() / (240**0.5)
            rows.append(
                {
                    "scene": name,
                    "solver": solver,
                    "iterations": int(result.iterations),
                    "residual": f"{float(result.residual):.1e}",
                    "converged": bool(result.converged),
                    "objective": f"{float(objective):.1f}",
                    "CPU s": f"{np.median(seconds):.2f}",
                }
            )
            print(rows[-1], flush=True)
    write("pcp.csv", rows)


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


def defects() -> None:
    """PSNR of "kink 10" when the detector is not perfect; away from what is missing."""
    scene = make_scene("kink 10", 0)
    rng = np.random.default_rng(5)
    rows = []
    for what, values, kept, unit in spoiled(scene, rng):
        line: dict[str, object] = {"data": what}
        for method, options in (
            ("denoise_pretrained", {"adapt": False}),
            ("denoise_pretrained", {}),
            ("denoise_pcp_unet", {}),
        ):
            if unit != 1 and method == "denoise_pcp_unet":
                continue  # it knows no unit
            cut = xr.DataArray(values, dims=("phi", "eV"))
            clean = getattr(cut.S, method)(rng=0, **options).values / unit
            peak = np.percentile(scene.reference, 99.9)
            error = np.mean((clean - scene.reference)[kept] ** 2)
            name = method + (", adapt=False" if options else "")
            line[name] = f"{10 * np.log10(peak**2 / error):.2f}"
        rows.append(line)
        print(line, flush=True)
        write("denoising_defects.csv", rows)


def crossed(counts: np.ndarray) -> np.ndarray:
    """With straight tracks, 1 to 3 times as bright as the brightest pixel."""
    rng = np.random.default_rng(6)
    values = counts.astype(float)
    for _ in range(20):
        row, column = (rng.integers(9, size - 9) for size in counts.shape)
        angle, along = rng.uniform(0, np.pi), np.arange(rng.integers(3, 9))
        rows = row + (np.sin(angle) * along).round().astype(int)
        columns = column + (np.cos(angle) * along).round().astype(int)
        values[rows, columns] = rng.uniform(1, 3, len(along)) * counts.max()
    return values


def spoiled(
    scene: Scene, rng: np.random.Generator
) -> Iterable[tuple[str, np.ndarray, np.ndarray, float]]:
    """What is wrong, the values, which pixels are judged, and the unit."""
    counts, everywhere = scene.noisy, np.ones(scene.noisy.shape, dtype=bool)
    yield "nothing", counts, everywhere, 1.0
    hot = rng.random(counts.shape) < 0.005
    yield (
        "0.5 % hot pixels, up to 3 times the maximum",
        np.where(hot, rng.uniform(0, 3 * counts.max(), counts.shape), counts),
        everywhere,
        1.0,
    )
    yield "20 tracks of cosmic rays, 3 to 8 pixels", crossed(counts), everywhere, 1.0
    dead = counts.copy()
    dead[77] = dead[:, 120] = 0
    yield "a dead row and a dead column", dead, everywhere, 1.0
    row, column = np.indices(counts.shape)
    wedge = (row + column < 100) | (row - column > 150)
    yield "NaN wedges", np.where(wedge, np.nan, counts), ~wedge, 1.0
    rim = ~wedge & ((row + column < 106) | (row - column > 144))
    yield "NaN wedges: their rim of 6 pixels", np.where(wedge, np.nan, counts), rim, 1.0
    yield "nothing: the same rim", counts, rim, 1.0
    yield "counts times 25", counts * 25, everywhere, 25.0
    yield "normalised to 1", counts / counts.max(), everywhere, 1 / counts.max()
    yield (
        "25 units an electron, each of another size (variance / mean 30)",
        np.rint(rng.gamma(counts * 5, 5.0)),
        everywhere,
        25.0,
    )


def crossed_wires(shape: tuple[int, int], period: float, degrees: float) -> np.ndarray:
    """Transmission of two crossed sets of wires with soft edges, 25 % deep, over its mean."""
    row, column = np.indices(shape)
    angle = np.deg2rad(degrees)
    flat = np.ones(shape)
    for along in (
        np.cos(angle) * row + np.sin(angle) * column,
        np.cos(angle) * column - np.sin(angle) * row,
    ):
        distance = np.abs((along / period + 0.5) % 1 - 0.5)
        flat *= 1 - 0.25 / (1 + np.exp((distance - 0.125) / 0.03))
    return flat / flat.mean()


def mesh() -> None:
    """A detector mesh: left in, found in the data, and known."""
    scene = make_scene("kink 10", 0)
    pattern = crossed_wires(scene.noisy.shape, 11.7, 3)
    rows = []
    for counts in (1, 10, 100):
        truth = scene.reference * counts / 10
        seen = np.random.default_rng(1).poisson(truth * pattern).astype(float)
        for what, values, options in (
            ("left in", seen, {"mesh": None}),
            ("found in the data", seen, {}),
            ("known", seen / pattern, {"mesh": None, "gain": 1.0}),
        ):
            cut = xr.DataArray(values, dims=("phi", "eV"))
            line: dict[str, object] = {"counts per pixel": counts, "mesh": what}
            for adapt in (False, True):
                start = time.process_time()
                clean = cut.S.denoise_pretrained(rng=0, adapt=adapt, **options).values
                name = "adapted" if adapt else "adapt=False"
                line[name] = f"{replace(scene, reference=truth).score(clean):.2f}"
                line[f"CPU s, {name}"] = f"{time.process_time() - start:.1f}"
            rows.append(line)
            print(line, flush=True)
    write("denoising_mesh.csv", rows)


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


def recipes() -> None:
    """Settings of the two-stage recipes, as they are in the code."""
    named = {"published": PUBLISHED, "robust": ROBUST, "fixed input": FIXED_INPUT}
    columns = {name: asdict(recipe) for name, recipe in named.items()}
    write(
        "two_stage_recipes.csv",
        [
            {"setting": field} | {name: values[field] for name, values in columns.items()}
            for field in columns["published"]
        ],
    )


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
