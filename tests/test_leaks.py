"""What mixed pixels below the threshold leak into blind spectra is taken out again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.optimize import linear_sum_assignment
from test_restarts import ENERGY, covered, doublet, whitened, worst_angle

from arpes_ml_plugins.separation.leaks import without_leaks
from arpes_ml_plugins.separation.polish import polish_on_pixels
from arpes_ml_plugins.separation.whiten import Whitened


def polished(data: Whitened, spectra: np.ndarray) -> torch.Tensor:
    right = torch.from_numpy(spectra.T)[data.kept] / data.noise[data.kept][:, None]
    return polish_on_pixels(data.pixels, right / right.norm(dim=0), True, 100)


def angle(data: Whitened, found: torch.Tensor, spectra: np.ndarray) -> float:
    shown = (found * data.noise[data.kept][:, None]).mT.numpy()
    return worst_angle(shown, spectra[:, data.kept.numpy()])


@pytest.mark.parametrize("counts", [30, 300])
def test_blurred_edges_do_not_leak(counts):
    before, after = [], []
    for seed in range(4):
        spectra, rate = covered(seed, 3)
        data = whitened(np.random.default_rng(seed).poisson(counts * rate / rate.max()) * 1.0)
        found = polished(data, spectra)
        before.append(angle(data, found, spectra))
        after.append(angle(data, without_leaks(data.even, found, True), spectra))
    assert np.mean(after) < 0.75 * np.mean(before)


@pytest.mark.parametrize("counts", [3, 30, 300])
def test_spectra_of_pure_grains_hardly_change(counts):
    spectra = np.stack([doublet(centre, 0.3) for centre in (-0.6, 0.7, 1.9)])
    rows, columns = np.mgrid[:40, :40]
    grains = np.stack([columns < 14, (columns >= 14) & (rows < 20), (columns >= 14) & (rows >= 20)])
    before, after = [], []
    for seed in range(4):
        rate = counts * np.einsum("kyx,ke->yxe", grains, spectra) / spectra.max()
        data = whitened(np.random.default_rng(seed).poisson(rate) * 1.0)
        found = polished(data, spectra)
        before.append(angle(data, found, spectra))
        after.append(angle(data, without_leaks(data.even, found, True), spectra))
    assert np.mean(after) < 1.05 * np.mean(before)


def test_what_the_data_contradict_is_not_taken_out():
    spectra = np.stack([doublet(centre, 0.3) for centre in (-0.3, 0.6, 1.5)])
    rows, columns = np.mgrid[:48, :48]
    level = np.sin(columns / 7 + 1) + np.cos(rows / 9) + 0.5 * np.sin((rows + columns) / 11)
    smooth = np.stack([np.exp(-((level - at) ** 2) / 0.5) for at in (-1.1, 0.1, 1.3)])
    smooth /= smooth.sum(0)
    rate = 1000 * np.einsum("kyx,ke->yxe", smooth, spectra) / spectra.max()
    data = whitened(np.random.default_rng(0).poisson(rate) * 1.0)
    found = polished(data, spectra)
    before = angle(data, found, spectra)
    assert angle(data, without_leaks(data.even, found, True), spectra) < 1.05 * before


def test_spectra_of_slopes_are_kept():
    spectra = np.stack([doublet(centre, 0.3) for centre in (-0.6, 0.7, 1.9)])
    rows, columns = np.mgrid[:40, :40] / 39
    slopes = np.stack([1 - 0.8 * columns, 0.2 + 0.6 * rows, 0.9 - 0.6 * rows])
    rate = 300 * np.einsum("kyx,ke->yxe", slopes, spectra)
    data = whitened(np.random.default_rng(0).poisson(rate) * 1.0)
    found = polished(data, spectra)
    torch.testing.assert_close(without_leaks(data.even, found, True), found)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*not determined:arpes_ml_plugins.errors.DistributionWarning")
@pytest.mark.filterwarnings("ignore:.*uncertain:arpes_ml_plugins.errors.DistributionWarning")
@pytest.mark.parametrize("counts", [100, 1000])
def test_stated_errors_hold_beside_blurred_edges(counts):
    inside = []
    for seed in range(6):
        spectra, rate = covered(seed, 3)
        values = np.random.default_rng(seed).poisson(counts * rate / rate.max()) * 1.0
        data = xr.DataArray(values, {"eV": ENERGY}, ("y", "x", "eV"))
        result = data.S.separate_gmca(n_components=3, shift=False, rng=0)
        found, stderr = result.spectra.values, result.spectra_stderr.values
        one, other = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (found, spectra))
        order = linear_sum_assignment(-other @ one.T)[1]
        length = (found[order] * other).sum(1, keepdims=True)  # errors of the scale are the maps'
        true = length * other
        inside.append(np.abs(found[order] - true) < stderr[order])
    assert 0.58 < np.mean(inside) < 0.76
