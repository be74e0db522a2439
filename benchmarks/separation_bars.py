"""Standard errors of separated spectra: how many values are within one of them, and pulls.

Grains have sharp edges, so that every pixel is one material. "Blurred" ones have any shape and
cover the surface, blurred by 0.7 pixels: more than a third of the pixels hold several.

python benchmarks/separation_bars.py       about four minutes on one core
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import time
import warnings
from collections.abc import Callable

import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter
from scipy.optimize import linear_sum_assignment
from tables import write

import arpes_ml_plugins  # noqa: F401
from arpes_ml_plugins import SpectrumLibrary
from arpes_ml_plugins.errors import DistributionWarning

ENERGY = np.linspace(-36, -29, 60)
CENTRES = {"a": -33.0, "b": -32.0, "c": -31.2}
SEEDS = 8
ROWS, COLUMNS = np.mgrid[:40, :40]
GRAINS = np.stack(
    [
        (COLUMNS < 14) * 1.0,
        ((COLUMNS >= 14) & (ROWS < 20)) * 0.8,
        ((COLUMNS >= 14) & (ROWS >= 20)) * 0.6,
    ]
)


def doublet(centre: float, width: float = 0.5) -> np.ndarray:
    """Two lines as large as with a full width of 0.5 eV at half maximum, and a background."""

    def peak(place: float) -> np.ndarray:
        return 0.5 / width * np.exp(-4 * np.log(2) * ((ENERGY - place) / width) ** 2)

    return peak(centre) + 0.75 * peak(centre - 2.15) + 0.1


def library(seed: int, count: int = 200) -> SpectrumLibrary:
    """Spectra of each component, shifted and broadened at random."""
    known = {n: xr.DataArray(doublet(c), {"eV": ENERGY}, "eV") for n, c in CENTRES.items()}
    return SpectrumLibrary.from_spectra(known, shift=0.1, broaden=0.2, count=count, rng=seed)


def blurred(seed: int) -> np.ndarray:
    """Maps of grains with edges that are not sharp."""
    draw = np.random.default_rng([seed, 1]).standard_normal((3, 40, 40))
    owner = gaussian_filter(draw, (0, 3, 3)).argmax(0)
    return gaussian_filter(1.0 * (owner == np.arange(3)[:, None, None]), (0, 0.7, 0.7))


def data(
    seed: int, counts: float | None, maps: np.ndarray = GRAINS
) -> tuple[xr.DataArray, np.ndarray]:
    """An image and its spectra, at places and of widths as the library has them; noise of 2 % of
    the largest value if no ``counts`` are given.
    """
    rng = np.random.default_rng(seed)
    spectra = np.stack(
        [
            doublet(centre + rng.uniform(-0.1, 0.1), float(np.hypot(0.5, rng.uniform(0, 0.2))))
            for centre in CENTRES.values()
        ]
    )
    spectra = spectra / spectra.max(1, keepdims=True)
    rate = np.einsum("kyx,ke->yxe", maps, spectra)
    rate = rate / rate.max()
    values = rate + 0.02 * rng.standard_normal(rate.shape)
    if counts is not None:
        values = rng.poisson(counts * rate).astype(float)
    return xr.DataArray(values, {"eV": ENERGY}, ("y", "x", "eV")), spectra


def pulls(result: xr.Dataset, spectra: np.ndarray) -> np.ndarray:
    """Errors over standard errors ``(components, energies)``, of spectra of largest value 1."""
    true = spectra / spectra.max(1, keepdims=True)
    one, other = (
        x / np.linalg.norm(x, axis=1, keepdims=True) for x in (result.spectra.values, true)
    )
    order = linear_sum_assignment(-np.abs(other @ one.T))[1]
    return (result.spectra.values[order] - true) / result.spectra_stderr.values[order]


def angles(result: xr.Dataset, spectra: np.ndarray) -> np.ndarray:
    """Between found and true spectra, in degrees."""
    one, other = (
        x / np.linalg.norm(x, axis=1, keepdims=True) for x in (result.spectra.values, spectra)
    )
    return np.degrees(np.arccos(np.clip(np.abs(one @ other.T).max(0), 0, 1)))


def row(
    name: str,
    counts: float | None,
    separate: Callable,
    seeds: int = SEEDS,
    maps_of: Callable[[int], np.ndarray] = lambda _: GRAINS,
) -> dict:
    start, found, off = time.process_time(), [], []
    statuses = 0
    for seed in range(seeds):
        values, spectra = data(seed, counts, maps_of(seed))
        result = separate(values, seed)
        statuses += result.status.item() == "ok"
        found.append(pulls(result, spectra))
        off.append(angles(result, spectra))
    all_pulls = np.stack(found)
    own = (np.abs(all_pulls) < 1).mean(2)
    return {
        "method": name,
        "noise": "2 % of the largest value" if counts is None else f"{counts:g} counts",
        "within one error": round(float(own.mean()), 2),
        "single spectra": f"{own.min():.2f} to {own.max():.2f}",
        "pull (rms)": round(float(np.sqrt((all_pulls**2).mean())), 2),
        "mean angle, degrees": round(float(np.mean(off)), 2),
        "status ok": f"{statuses} of {seeds}",
        "CPU s each": round((time.process_time() - start) / seeds, 1),
    }


def main() -> None:
    warnings.simplefilter("ignore", DistributionWarning)

    def sgmca(values: xr.DataArray, seed: int) -> xr.Dataset:
        return values.S.separate_sgmca(library=library(seed), shift=False, rng=seed)

    def lpalm(values: xr.DataArray, seed: int) -> xr.Dataset:
        known = library(0)  # one network for all
        return values.S.separate_lpalm(library=known, shift=False, rng=0, training_steps=300)

    def blind(name: str) -> Callable:
        def separate(values: xr.DataArray, seed: int) -> xr.Dataset:
            method = getattr(values.S, f"separate_{name}")
            return method(n_components=3, shift=False, rng=seed)

        return separate

    rows = [row("separate_sgmca", counts, sgmca) for counts in (3, 20, 200, None)]
    for name in ("gmca", "nmf"):
        rows += [row(f"separate_{name}", counts, blind(name)) for counts in (20, 200)]
    rows += [row("separate_lpalm", 200, lpalm, 4)]
    for name in ("gmca", "nmf"):
        title = f"separate_{name}, blurred grains"
        rows += [row(title, counts, blind(name), maps_of=blurred) for counts in (20, 200)]
    write("separation_bars.csv", rows)


if __name__ == "__main__":
    main()
