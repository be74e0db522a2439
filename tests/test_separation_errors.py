"""Stated errors of spectra are those of the results: noise, the library's sampling, its misfit."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from arpes_ml_plugins import SpectrumLibrary

ENERGY = np.linspace(-3, 3, 50)
CENTRES = {"a": -1.4, "b": 0.1, "c": 1.3}


def peak(centre):
    return np.exp(-(((ENERGY - centre) / 0.4) ** 2)) + 0.1


def image(counts, seed):
    rows, columns = np.mgrid[:32, :32]
    maps = np.stack([columns < 12, (columns >= 12) & (rows < 16), (columns >= 12) & (rows >= 16)])
    rate = np.einsum("kyx,ke->yxe", maps * 1.0, [peak(c) for c in CENTRES.values()])
    data = np.random.default_rng(seed).poisson(counts * rate) * 1.0
    return xr.DataArray(data, {"eV": ENERGY}, ("y", "x", "eV"))


@pytest.mark.parametrize("counts", [3, 30, 300])
def test_errors_of_matched_spectra(counts):
    ratios = []
    for seed in range(3):
        known = {n: xr.DataArray(peak(c), {"eV": ENERGY}, "eV") for n, c in CENTRES.items()}
        library = SpectrumLibrary.from_spectra(known, shift=0.1, broaden=0.1, count=200, rng=seed)
        result = image(counts, seed).S.separate_sgmca(library=library, rng=0)
        truth = np.stack([peak(c) / peak(c).max() for c in CENTRES.values()])
        assert float(result.spectra_stderr.min()) > 0
        ratios.append((result.spectra.values - truth) / result.spectra_stderr.values)
    inside, size = np.mean(np.abs(ratios) < 1), np.sqrt(np.mean(np.square(ratios)))
    assert 0.4 < inside < 0.97
    assert 0.4 < size < 2.5
