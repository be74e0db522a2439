"""A region that no component explains, while single pixels show too little to be told of."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from arpes_ml_plugins import SpectrumLibrary
from arpes_ml_plugins.separation.misfit_regions import misfit_region

ENERGY = np.linspace(-6, 0, 61)
LINES = {"metal": -1.8, "oxide": -3.4}
ROWS, COLUMNS = np.mgrid[:40, :40]
GRAIN = (ROWS - 25) ** 2 + (COLUMNS - 14) ** 2 < 20


def line(centre):
    return np.exp(-((ENERGY - centre) ** 2) / (2 * 0.22**2)) + 0.1


def image(counts, *, grain):
    share = 1 / (1 + np.exp(-(ROWS - 20 + 5 * np.sin(COLUMNS / 4)) / 2))
    maps = np.stack([0.2 + 0.8 * share, 1 - 0.8 * share])
    total = np.einsum("kyx,ke->yxe", maps, np.stack([line(c) for c in LINES.values()]))
    if grain:
        total[GRAIN] = line(-4.6)
    values = np.random.default_rng(0).poisson(counts * total)
    return xr.DataArray(values.astype(float), {"eV": ENERGY}, ("y", "x", "eV"))


@pytest.mark.filterwarnings("ignore:separate_")
@pytest.mark.parametrize("counts", [8, 30])
@pytest.mark.parametrize("grain", [False, True])
def test_a_grain_of_another_material_is_told_of_at_few_counts(counts, grain):
    spectra = {n: xr.DataArray(line(c), {"eV": ENERGY}, "eV") for n, c in LINES.items()}
    library = SpectrumLibrary.from_spectra(spectra, shift=0.1, broaden=0.1, count=100)
    result = image(counts, grain=grain).S.separate_sgmca(library=library, shift=False, rng=0)
    assert (result.status.item() == "ok") != grain
    assert ("a region of the map" in result.status.item()) == grain


@pytest.mark.parametrize("shape", [(60, 50), (2000,), (4, 30, 30), (6, 6)])
def test_regions_of_noise_and_of_something_else(shape):
    chi2 = 1 + (2 / 60) ** 0.5 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    assert misfit_region(chi2, 60) is None
    region = (slice(20, 90),) if len(shape) == 1 else (..., slice(20, 28), slice(20, 28))
    chi2[region] += 1
    chi2[..., -1] = float("nan")
    assert (misfit_region(chi2, 60) is not None) == (shape in ((60, 50), (2000,)))


def test_noise_that_varies_smoothly_is_no_region():
    smooth = 1 + 0.4 * torch.sin(torch.arange(60) / 9)[:, None]
    noise = 0.1 * torch.randn(60, 60, generator=torch.Generator().manual_seed(0))
    assert misfit_region(smooth + noise, 60) is None
