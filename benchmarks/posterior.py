"""Do stated errors hold the truth? Of pixels, by scene, and of quantities fitted to many pixels.

    python benchmarks/posterior.py            all parts, about forty minutes on one core
    python benchmarks/posterior.py pixels     68 % bars: all pixels, peaks, edges, weak bands, ...
    python benchmarks/posterior.py fits       68 % errors of fits to samples, and of other ways
    python benchmarks/posterior.py calibrated how far calibrate=True finds errors from those stated
    python benchmarks/posterior.py needed     the error reached by measuring as long as told
    python benchmarks/posterior.py speed      CPU seconds and memory of 16 draws, 240 x 240

One thread, the network as it is (adapt=False). None of the scenes was used in training, or to set
the factor by which bars are widened (those were random scenes of the simulator).
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Callable
from itertools import product

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np
import torch
import xarray as xr
from lmfit import Model
from lmfit.models import ConstantModel, LorentzianModel
from scipy.ndimage import gaussian_filter
from tables import write

import arpes_ml_plugins
from arpes_ml_plugins.simulation.detectors import over_dispersed

torch.set_num_threads(1)

SEEDS = 20
DRAWS = 16
SIZE = 144
MOMENTUM = np.linspace(-0.3, 0.3, SIZE)
ENERGY = np.linspace(-0.4, 0.08, SIZE)
E, K = np.meshgrid(ENERGY, MOMENTUM, indexing="ij")
RESOLUTION = 0.8  # pixels
FERMI = 1 / (1 + np.exp(np.clip(E / 0.006, -60, 60)))


def lorentzian(x: np.ndarray, width: float) -> np.ndarray:
    return width**2 / (x**2 + width**2)


def parabola() -> np.ndarray:
    """A band of 20 meV, background, Fermi edge."""
    return (lorentzian(E + 0.3 - 5 * K**2, 0.01) + 0.05) * FERMI + 0.005


def replica() -> np.ndarray:
    """A replica of 2 %, on which the mask "weak band" lies."""
    return 0.02 * lorentzian(E + 0.27 - 5 * (K - 0.14) ** 2, 0.012) * FERMI


def kink() -> np.ndarray:
    """A straight band whose velocity doubles 60 meV below the Fermi level."""
    slope = np.where(E > -0.06, E, -0.06 + (E + 0.06) / 2) / 1.2
    return (lorentzian(K - slope, 0.012) + 0.04) * FERMI + 0.004


def gapped() -> np.ndarray:
    """A flat superconducting dispersion, gap 15 meV, coherence peaks of 5 meV."""
    energy = -np.sqrt(0.015**2 + (3 * K) ** 2)
    weight = 0.5 * (1 - (3 * K) / -energy)
    return weight * lorentzian(E - energy, 0.005) + 0.03 * (E < 0.02) + 0.01


def window(radius: float = 0.8) -> np.ndarray:
    """A round detector with a hard edge."""
    r = np.hypot(*(np.indices((SIZE, SIZE)) - SIZE / 2)) / (SIZE / 2)
    return (r < radius).astype(float)


def finished(rate: np.ndarray, counts: float) -> np.ndarray:
    blurred = gaussian_filter(rate, RESOLUTION, mode="nearest")
    return blurred * counts / blurred.mean()


def labelled(values: np.ndarray) -> xr.DataArray:
    return xr.DataArray(values, dims=("eV", "kp"), coords={"eV": ENERGY, "kp": MOMENTUM})


def steepest(rate: np.ndarray) -> np.ndarray:
    slope = np.hypot(*np.gradient(rate))
    return slope > np.quantile(slope, 0.95)


def brightest(rate: np.ndarray) -> np.ndarray:
    return rate > np.quantile(rate, 0.95)


def pixels() -> None:
    """Fraction of pixels, peaks, steep places and weak bands whose truth lies within the bars."""
    scenes: dict[str, tuple[np.ndarray, float, np.ndarray | None]] = {}
    weak = gaussian_filter(replica(), RESOLUTION, mode="nearest")
    for counts in (0.1, 1, 3, 10, 30):
        scenes[f"band, {counts} counts"] = finished(parabola(), counts), 0, None
    for counts in (3, 10, 30):
        rate = finished(parabola() + replica(), counts)
        scenes[f"replica of 2 %, {counts} counts"] = rate, 0, weak > 0.5 * weak.max()
    edge = finished(parabola(), 1) * window() + 1e-4
    scenes["hard edge, 3 counts"] = edge * 3 / edge.mean(), 0, None
    scenes["kink, 3 counts"] = finished(kink(), 3), 0, None
    scenes["gap, 10 counts"] = finished(gapped(), 10), 0, None
    scenes["over-dispersed, 20 modes, 10 counts"] = finished(parabola(), 10), 20, None
    rows = []
    for name, (truth, modes, where) in scenes.items():
        masks = {"all pixels": np.ones_like(truth, bool), "brightest 5 %": brightest(truth)}
        masks |= {"steepest 5 %": steepest(truth)}
        masks |= {} if where is None else {"weak band": where}
        held: dict[str, list[float]] = {mask: [] for mask in masks}
        for seed in range(SEEDS // 2):
            rng = np.random.default_rng(seed)
            values = over_dispersed(truth, modes, rng) if modes else rng.poisson(truth)
            bars = labelled(values).S.decompose_pretrained(adapt=False, mesh=None, rng=seed)
            inside = (bars.lower.values <= truth) & (truth <= bars.upper.values)
            for mask, chosen in masks.items():
                held[mask].append(float(inside[chosen].mean()))
        row = {"scene": name} | {mask: f"{np.mean(found):.2f}" for mask, found in held.items()}
        rows.append({"weak band": "", **row} if where is None else row)
        print(rows[-1], flush=True)
        order = ("scene", "all pixels", "brightest 5 %", "steepest 5 %", "weak band")
        write("posterior_pixels.csv", [{key: row[key] for key in order} for row in rows])


def mdc(image: xr.DataArray) -> dict[str, float]:
    """Position and width of a Lorentzian on a constant in the right half of the MDC at -100 meV."""
    half = image.sel(eV=-0.1, method="nearest").sel(kp=slice(0, None))
    model = LorentzianModel() + ConstantModel()
    start = float(half.kp[int(half.values.argmax())])
    params = model.make_params(amplitude=float(half.max()) * 0.03, center=start, sigma=0.01, c=0)
    fit = model.fit(half.values, params, x=half.kp.values)
    return {"MDC position": fit.params["center"].value, "MDC width": abs(fit.params["sigma"].value)}


def leading_edge(image: xr.DataArray) -> dict[str, float]:
    """Where the EDC of the middle falls through half of its maximum, by an error function."""
    from scipy.special import erfc

    edc = image.sel(kp=slice(-0.02, 0.02)).sum("kp").sel(eV=slice(-0.03, None))
    model = Model(lambda x, height, place, width, c: height * erfc((x - place) / width) + c)
    params = model.make_params(height=float(edc.max()) / 2, place=-0.01, width=0.01, c=0)
    return {"leading edge": model.fit(edc.values, params, x=edc.eV.values).params["place"].value}


def dynes(image: xr.DataArray) -> dict[str, float]:
    """Gap of a Dynes density of states, fitted to the symmetrised EDC of the middle."""
    edc = image.sel(kp=slice(-0.02, 0.02)).sum("kp")
    x = np.linspace(-0.05, 0.05, 101)
    y = sum(np.interp(side * x, ENERGY, edc.values) for side in (-1, 1))

    def density(x, height, gap, broad, c):
        energy = x - 1j * abs(broad)
        return height * np.abs(np.real(energy / np.sqrt(energy**2 - gap**2))) + c

    model = Model(density)
    params = model.make_params(height=float(y.max()) / 2, gap=0.015, broad=0.004, c=0)
    params["gap"].set(min=0.002, max=0.04)
    return {"gap (Dynes)": model.fit(y, params, x=x).params["gap"].value}


def velocities(image: xr.DataArray) -> dict[str, float]:
    """Ratio of the slopes below and above the kink, from MDC positions."""
    model = LorentzianModel() + ConstantModel()
    centres = []
    energies = [e for e in ENERGY if -0.2 < e < -0.005][::2]
    for energy in energies:
        curve = image.sel(eV=energy)
        start = float(curve.kp[int(curve.values.argmax())])
        amplitude = float(curve.max()) * 0.04
        params = model.make_params(amplitude=amplitude, center=start, sigma=0.012, c=0)
        centres.append(model.fit(curve.values, params, x=curve.kp.values).params["center"].value)
    x, y = np.array(energies), np.array(centres)
    low, high = x < -0.065, x > -0.055
    return {
        "velocity ratio": np.polyfit(x[low], y[low], 1)[0] ** -1
        / np.polyfit(x[high], y[high], 1)[0] ** -1
    }


def intensity(image: xr.DataArray) -> dict[str, float]:
    """Integrated in a window around the bottom of the band."""
    part = image.sel(eV=slice(-0.33, -0.25), kp=slice(-0.08, 0.08))
    return {"integrated intensity": float(part.sum())}


QUANTITIES: dict[str, tuple[Callable[[], np.ndarray], tuple[Callable, ...]]] = {
    "band": (parabola, (mdc, intensity)),
    "gap": (gapped, (leading_edge, dynes)),
    "kink": (kink, (velocities,)),
}


def measured(image: xr.DataArray, functions: tuple[Callable, ...]) -> dict[str, float]:
    return {name: value for function in functions for name, value in function(image).items()}


def fits() -> None:
    """How often the error over samples holds the truth, and how large it is; raw data beside."""
    rows = []
    for scene, (make, functions) in QUANTITIES.items():
        for counts in (1, 10):
            truth = finished(make(), counts)
            wanted = measured(labelled(truth), functions)
            results: dict[str, list[tuple[float, float, float]]] = {name: [] for name in wanted}
            for seed in range(SEEDS):
                values = np.random.default_rng(seed).poisson(truth)
                data = labelled(values)
                samples = data.S.sample_posterior(draws=DRAWS, adapt=False, mesh=None, rng=seed)
                each = [measured(image, functions) for image in samples]
                clean = measured(samples.mean("draw"), functions)
                raw = measured(data, functions)
                for name in wanted:
                    error = float(np.std([one[name] for one in each], ddof=1))
                    results[name].append((clean[name], error, raw[name]))
            for name, found in results.items():
                value, error, raw_value = np.array(found).T
                off, raw_off = (np.abs(x - wanted[name]) for x in (value, raw_value))
                rows.append(
                    {
                        "quantity": f"{name} ({scene})",
                        "counts per pixel": counts,
                        "truth": f"{wanted[name]:.4g}",
                        "stated error": f"{np.median(error):.2g}",
                        "error": f"{np.sqrt(np.mean(off**2)):.2g}",
                        "of the raw data": f"{np.sqrt(np.mean(raw_off**2)):.2g}",
                        "truth inside": f"{np.mean(off < error):.0%}",
                    }
                )
                print(rows[-1], flush=True)
                write("posterior_fits.csv", rows)


def spots() -> np.ndarray:
    """No bands: squares of 5 x 5 pixels."""
    rng, image = np.random.default_rng(0), np.full((SIZE, SIZE), 0.1)
    for row, column in rng.integers(4, SIZE - 4, (200, 2)):
        image[row - 2 : row + 3, column - 2 : column + 3] += rng.uniform(0.2, 2)
    return image


def texture() -> np.ndarray:
    """No bands: two levels, in a labyrinth of 8 pixels."""
    rng = np.random.default_rng(1)
    return 0.2 + (gaussian_filter(rng.standard_normal((SIZE, SIZE)), 4.0) > 0)


def calibrated() -> None:
    """Errors over those stated: as held-out data say, and as they are; bars before and after."""
    rows = []
    scenes = {"band": parabola, "gap": gapped, "spots": spots, "texture": texture}
    for (scene, make), counts in product(scenes.items(), (1, 10)):
        truth, told, held = finished(make(), counts), [], []
        for seed in range(SEEDS // 2):
            data = labelled(np.random.default_rng(seed).poisson(truth))
            options = {"adapt": False, "mesh": None, "gain": 1, "rng": seed}
            both = [
                data.S.decompose_pretrained(calibrate=calibrate, **options)
                for calibrate in (False, True)
            ]
            inside = [((b.lower <= truth) & (truth <= b.upper)).values.mean() for b in both]
            plain, found = both[0], both[1].attrs["provenance"]["record"]["found"]
            error, stated = plain.clean.values - truth, (plain.upper - plain.lower).values / 2
            weight = 1 / (truth + 0.1 * truth.mean())
            actual = np.sqrt((error**2 * weight).mean() / (stated**2 * weight).mean())
            told.append((float(found["calibration"].split()[4]), actual, found["stretched"]))
            held.append(inside)
        said, actual, stretched = np.array(told).T
        row = {
            "scene": scene,
            "counts per pixel": counts,
            "errors over stated, held-out": f"{said.mean():.2f} ± {said.std():.2f}",
            "errors over stated, true": f"{actual.mean():.2f}",
            "stretched": f"{(stretched > 1).mean():.0%}, by {stretched.max():.2f} at most",
            "68 % hold": f"{np.mean(held, 0)[0]:.2f}",
            "68 % hold, calibrated": f"{np.mean(held, 0)[1]:.2f}",
        }
        rows.append(row)
        print(row, flush=True)
        write("posterior_calibrated.csv", rows)


def needed() -> None:
    """Measure as long as counts_needed says, and see what the error is then."""
    rows = []
    for name, make, function, wanted in (
        ("MDC position (band)", parabola, mdc, 2e-4),
        ("leading edge (gap)", gapped, leading_edge, 1.5e-3),
        ("integrated intensity (band)", parabola, intensity, None),
    ):
        truth = finished(make(), 1)
        key = name.split(" (")[0]

        def quantity(image: xr.DataArray, function: Callable = function, key: str = key) -> float:
            return function(image)[key]

        value = quantity(labelled(truth))
        error = wanted or 0.005 * value
        answers = [
            arpes_ml_plugins.counts_needed(
                labelled(np.random.default_rng(seed).poisson(truth)), quantity, error, rng=seed
            )
            for seed in range(5)
        ]
        factors = np.array([float(answer.factor) for answer in answers])
        factor = float(np.median(factors))
        off = []
        for seed in range(SEEDS):
            longer = labelled(np.random.default_rng(100 + seed).poisson(truth * factor) / factor)
            clean = longer.S.denoise_pretrained(adapt=False, mesh=None, gain=1 / factor, rng=0)
            off.append(quantity(clean) - value)
        rows.append(
            {
                "quantity": name,
                "error wanted": f"{error:.2g}",
                "factor, five times": " ".join(f"{factor:.1f}" for factor in factors),
                "stated error of it": f"{np.median([a.factor_error for a in answers]):.1f}",
                "error after so long": f"{np.sqrt(np.mean(np.square(off))):.2g}",
            }
        )
        print(rows[-1], flush=True)
        write("posterior_needed.csv", rows)


def speed() -> None:
    rows = []
    values = np.random.default_rng(0).poisson(np.kron(finished(parabola(), 1), np.ones((2, 2))))
    image = xr.DataArray(values[:240, :240].astype(float), dims=("eV", "kp"))
    for adapt in (False, True):
        started = time.process_time()
        image.S.sample_posterior(draws=16, adapt=adapt, rng=0)
        rows.append(
            {
                "adapt": adapt,
                "CPU s, 16 draws": f"{time.process_time() - started:.1f}",
                "peak memory, MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            }
        )
        print(rows[-1], flush=True)
    write("posterior_speed.csv", rows)


PARTS = {function.__name__: function for function in (pixels, fits, calibrated, needed, speed)}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], default=[])
    for part in parser.parse_args().part or PARTS:
        PARTS[part]()
