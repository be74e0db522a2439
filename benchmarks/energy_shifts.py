"""Separation of maps whose energies shift from pixel to pixel: every number about it in the docs.

python benchmarks/energy_shifts.py

Three chemical states (doublets of 0.5 eV, 0.8 to 1 eV apart) side by side on 48 x 48 pixels of 70
channels, counts at the peak as stated, three realisations of the noise. The library's families have
shifts of up to 0.2 eV and broadening of up to 0.1 eV, and its centres are not the spectra of the
map: those lie up to 0.06 eV beside them. In the last kind of shifts only the oxide drifts, on a
metal and a sulphide that do not: only there ``shift="by component"`` is run as well.
"""

from __future__ import annotations

import time
import warnings

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from tables import write

from arpes_ml_plugins import SpectrumLibrary
from arpes_ml_plugins.errors import DistributionWarning

ENERGY = np.linspace(-37, -30, 70)
CENTRES = {"metal": -34.1, "oxide": -33.15, "sulphide": -32.3}
DRIFTS = "oxide alone, ramp of +-0.2 eV"
BESIDE = (0.05, -0.06, 0.04)  # of the spectra of the map from the centres of the library
ROWS, COLUMNS = np.mgrid[:48, :48]
REALISATIONS = 3
COUNTS = (10, 100, 1000)

Values = NDArray[np.floating]


def doublet(centre: float | Values, energy: Values = ENERGY) -> Values:
    def peak(at: float | Values) -> Values:
        return np.exp(-4 * np.log(2) * ((energy - at) / 0.5) ** 2)

    return peak(centre) + 0.75 * peak(centre - 2.15) + 0.1


def maps() -> Values:
    """Grains with soft borders, ``(3, 48, 48)``; somewhat mixed everywhere."""
    level = np.sin(COLUMNS / 7 + 1) + np.cos(ROWS / 9) + 0.5 * np.sin((ROWS + COLUMNS) / 11)
    soft = np.stack([np.exp(-((level - at) ** 2) / 0.5) for at in (-1.1, 0.1, 1.3)])
    return soft / soft.sum(0)


def shift_maps() -> dict[str, Values]:
    """Of all components together ``(48, 48)``, or of each ``(3, 48, 48)``, in eV."""
    drift = np.zeros((3, *ROWS.shape))
    drift[1] = 0.2 * (COLUMNS / 23.5 - 1)
    draw = np.random.default_rng(3)
    return {
        "none": np.zeros(ROWS.shape),
        "ramp of +-0.3 eV": 0.3 * (COLUMNS / 23.5 - 1),
        "wave of 0.15 eV": 0.15 * np.sin(ROWS / 8) * np.cos(COLUMNS / 15),
        "grains of 0.1 to 0.3 eV": np.where(ROWS < 20, -0.12, 0.1)
        + np.where(COLUMNS > 30, 0.15, 0.0),
        "each pixel by itself, 0.1 eV": 0.1 * draw.standard_normal(ROWS.shape),
        DRIFTS: drift,
    }


def mixture(shift: Values, counts: float, seed: int) -> xr.DataArray:
    total = sum(
        part[..., None] * doublet(centre + off, ENERGY - moved[..., None])
        for part, centre, off, moved in zip(
            maps(), CENTRES.values(), BESIDE, _of_each(shift), strict=True
        )
    )
    values = np.random.default_rng(seed).poisson(counts * total / total.max())
    return xr.DataArray(values.astype(float), {"eV": ENERGY}, ("y", "x", "eV"))


def _of_each(shift: Values) -> Values:
    return np.broadcast_to(shift, (3, *ROWS.shape))


def means(shift: Values) -> Values:
    """What the shifts of each component are relative to, ``(3,)`` in eV: their mean over all
    pixels, or, if each has its own, over its intensity.
    """
    weights = maps() if shift.ndim == 3 else np.ones((3, *ROWS.shape))
    return (_of_each(shift) * weights).sum((1, 2)) / weights.sum((1, 2))


def angles(result: xr.Dataset, zero: Values) -> float:
    """The largest angle between a spectrum and the true one, in degrees.

    The true spectra are those of the mean shifts ``zero``.
    """
    at = [c + b + z for c, b, z in zip(CENTRES.values(), BESIDE, zero, strict=True)]
    truth = np.stack([doublet(centre) for centre in at])
    found = np.nan_to_num(result["spectra"].values)
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (found, truth)]
    return float(np.degrees(np.arccos(np.clip((unit[0] @ unit[1].T).max(0), -1, 1))).max())


def _off(found: xr.DataArray, shift: Values, error: xr.DataArray | float = 1.0) -> Values:
    """Errors of the shifts, over ``error``. Of single components where these are at least a third
    of the pixel: there is no shift of what is not there.
    """
    if shift.ndim == 2:
        return ((found - (shift - np.mean(shift))) / error).values
    off = ((found - (shift - means(shift)[:, None, None])) / error).values
    return np.broadcast_to(off, shift.shape)[maps() > 1 / 3]


def main() -> None:
    spectra = {n: xr.DataArray(doublet(c), {"eV": ENERGY}, "eV") for n, c in CENTRES.items()}
    library = SpectrumLibrary.from_spectra(spectra, shift=0.2, broaden=0.1, count=400)
    rows = [
        _row(name, shift, counts, library)
        for name, shift in shift_maps().items()
        for counts in COUNTS
    ]
    write("energy_shifts.csv", rows)


def _row(name: str, shift: Values, counts: int, library: SpectrumLibrary) -> dict[str, object]:
    found: dict[str, list[float]] = {}
    for seed in range(REALISATIONS):
        data = mixture(shift, counts, seed)
        runs = {
            "shift=False": lambda d=data: d.S.separate_sgmca(library=library, shift=False, rng=0),
            "default": lambda d=data: d.S.separate_sgmca(library=library, rng=0),
            "blind": lambda d=data: d.S.separate_gmca(n_components=3, rng=0),
            "blind, shift=False": lambda d=data: d.S.separate_gmca(
                n_components=3, shift=False, rng=0
            ),
        }
        if shift.ndim == 3:
            runs["by component"] = lambda d=data: d.S.separate_sgmca(
                library=library, shift="by component", rng=0
            )
        for run, separate in runs.items():
            started = time.process_time()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DistributionWarning)
                result = separate()
            spent = time.process_time() - started
            found.setdefault(f"{run}: worst angle", []).append(angles(result, means(shift)))
            if run == "by component" or (run in ("default", "blind") and shift.ndim == 2):
                off = _off(result["shift"], shift)
                found.setdefault(f"{run}: shift rms error, meV", []).append(1e3 * float(off.std()))
                pulls = _off(result["shift"], shift, result["shift_stderr"])
                found.setdefault(f"{run}: error over stated error", []).append(float(pulls.std()))
                chi2 = float(result["residual_chi2"].mean())
                found.setdefault(f"{run}: chi^2", []).append(chi2)
                found.setdefault(f"{run}: CPU s", []).append(spent)
    mean = {key: float(np.mean(values)) for key, values in found.items()}
    formats = {"angle": ".1f", "meV": ".0f", "stated error": ".1f", "chi^2": ".2f", "CPU s": ".1f"}
    columns = {}
    for key, value in mean.items():
        form = next(form for end, form in formats.items() if key.endswith(end))
        columns[key] = f"{value:{form}}"
    return {"shift": name, "counts": counts, **columns}


if __name__ == "__main__":
    import arpes_ml_plugins  # noqa: F401

    main()
