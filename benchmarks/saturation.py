"""Which detectors that saturate before or after they count are named, and with which response.

python benchmarks/saturation.py       about one minute on one core

Writes docs/measured/separation_saturation.csv. Maps of 32 x 32 pixels and 60 energies: grains of
three materials under a beam that is five times brighter in the middle. Intensities n
are recorded as n / (1 + n / K), either before counting, so that the noise is that of the recorded
counts, or after it: then counts are compressed with their noise, and rounded.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import re
import warnings
from itertools import product

import numpy as np
import xarray as xr
from tables import write

from arpes_ml_plugins import SpectrumLibrary

SEEDS = 3
COUNTS = (100, 1000, 10_000)
LOSSES = (0.0, 0.03, 0.1, 0.25)
SIZE = 32
ENERGY = np.linspace(-3, 3, 60)
SPECTRA = np.stack(
    [
        np.exp(-(((ENERGY - centre) / width) ** 2)) + 0.05
        for centre, width in ((-1.4, 0.4), (0.0, 0.3), (1.3, 0.35))
    ]
)


def lit_grains(seed: int) -> np.ndarray:
    """``(3, y, x)``: which material is where, times the brightness of the beam."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE]
    seeds = rng.uniform(0, SIZE, (2, 15, 1, 1))
    grain = np.hypot(y - seeds[0], x - seeds[1]).argmin(0) % 3
    beam = 0.2 + 0.8 * np.exp(-((y - SIZE / 2) ** 2 + (x - SIZE / 2) ** 2) / 120)
    return (grain == np.arange(3)[:, None, None]) * beam


def recorded(
    loss: float, counts: int, seed: int, where: str = "before"
) -> tuple[xr.DataArray, float]:
    """Counts of a detector that loses ``loss`` at the brightest value, and its K; ``where``:
    whether it does so "before" or "after" counting.
    """
    rate = np.einsum("jyx,je->yxe", lit_grains(seed), SPECTRA)
    rate *= counts / rate.max()
    largest = counts * (1 - loss) / loss if loss else np.inf
    draw = np.random.default_rng(100 + seed)
    if where == "before":
        values = draw.poisson(rate / (1 + rate / largest)).astype(float)
    else:
        values = draw.poisson(rate).astype(float)
        values = (values / (1 + values / largest)).round()
    return xr.DataArray(values, {"eV": ENERGY}, ("y", "x", "eV")), largest


def separated(data: xr.DataArray, library: SpectrumLibrary | None) -> str:
    if library is None:
        return data.S.separate_gmca(n_components=3, rng=0).status.item()
    return data.S.separate_sgmca(library=library, rng=0).status.item()


def main() -> None:
    warnings.simplefilter("ignore")
    references = {
        name: xr.DataArray(spectrum, {"eV": ENERGY}, ("eV",))
        for name, spectrum in zip("abc", SPECTRA, strict=True)
    }
    library = SpectrumLibrary.from_spectra(references, shift=0.1, broaden=0.1)
    rows = []
    for where, loss, counts in product(("before", "after"), LOSSES, COUNTS):
        if where == "after" and not loss:  # the same data
            continue
        row: dict[str, object] = {"lost": f"{loss:.0%} {where}" if loss else "0%", "counts": counts}
        for name, known in (("with a library", library), ("blind", None)):
            ratios = []
            for seed in range(SEEDS):
                data, largest = recorded(loss, counts, seed, where)
                found = re.search(r"data / \(1 - data / ([\d.e+]+)\)", separated(data, known))
                if found:
                    ratios.append(float(found[1]) / largest)
            row[f"named, {name}"] = f"{len(ratios)} of {SEEDS}"
            scale = f"{min(ratios):.2f} to {max(ratios):.2f}" if loss and ratios else ""
            row[f"K / truth, {name}"] = scale
        rows.append(row)
        print(row, flush=True)
    write("separation_saturation.csv", rows)


if __name__ == "__main__":
    main()
