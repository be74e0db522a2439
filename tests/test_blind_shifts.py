"""Energies that shift from pixel to pixel, found without a library."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from arpes_ml_plugins.errors import ParameterError
from arpes_ml_plugins.separation.energy_shift import find_shifts
from arpes_ml_plugins.separation.shift_doubts import copies, lonely
from arpes_ml_plugins.separation.value_noise import value_noise

ENERGY = np.linspace(-6, 0, 61)
CENTRES = np.array([-1.8, -3.3])
ROWS, COLUMNS = np.mgrid[:20, :22]
STILL = np.zeros(ROWS.shape)
KINDS = {
    "ramp": 0.25 * (COLUMNS / 10.5 - 1),
    "grains": np.where(ROWS < 9, -0.15, 0.1),
    "each pixel": 0.1 * np.random.default_rng(5).standard_normal(ROWS.shape),
}
shifted = pytest.mark.filterwarnings("ignore:separate_")


def line(centre, energy=ENERGY):
    main = np.exp(-((energy - centre) ** 2) / (2 * 0.22**2))
    return main + 0.5 * np.exp(-((energy - centre + 1 + centre / 6) ** 2) / 0.1) + 0.1


def spectra():
    return np.stack([line(centre) for centre in CENTRES])


def mixture(shift, counts, seed=0):
    share = 1 / (1 + np.exp(-(ROWS - 10 + 5 * np.sin(COLUMNS / 4)) / 2))
    lines = [line(centre, ENERGY - shift[..., None]) for centre in CENTRES]
    total = share[..., None] * lines[0] + (1 - share)[..., None] * lines[1]
    values = np.random.default_rng(seed).poisson(counts * total / total.max())
    return xr.DataArray(values.astype(float), {"eV": ENERGY}, ("y", "x", "eV"))


def angle(result):
    unit = [
        s / np.linalg.norm(s, axis=1, keepdims=True) for s in (result.spectra.values, spectra())
    ]
    return np.degrees(np.arccos((np.abs(unit[0] @ unit[1].T).max(0)).clip(0, 1))).max()


@shifted
@pytest.mark.parametrize("kind", KINDS)
def test_shifts_are_found_and_undone_without_a_library(kind):
    shift = KINDS[kind] - KINDS[kind].mean()
    data = mixture(shift, 100)
    result, raw = (data.S.separate_gmca(n_components=2, rng=0, shift=s) for s in ("auto", False))
    still = mixture(STILL, 100).S.separate_gmca(n_components=2, rng=0)
    assert "mean shift is set to zero" in result.status.item()
    assert angle(result) < min(angle(still) + 2, angle(raw))
    assert (result["shift"].values - shift).std() < 0.03
    assert float(result["shift"].mean()) == pytest.approx(0, abs=1e-6)
    assert (raw["shift"] == 0).all()
    assert "pass shift='auto'" in raw.status.item()


@pytest.mark.parametrize("method", ["separate_gmca", "separate_nmf"])
@pytest.mark.parametrize("counts", [3, 300])
@pytest.mark.filterwarnings("ignore:.*uncertain:arpes_ml_plugins.errors.DistributionWarning")
@pytest.mark.filterwarnings("ignore:.*not determined:arpes_ml_plugins.errors.DistributionWarning")
def test_without_shifts_nothing_changes(method, counts):
    data = mixture(STILL, counts)
    one, other = (getattr(data.S, method)(n_components=2, rng=0, shift=s) for s in ("auto", False))
    assert (one["shift"] == 0).all()
    assert "shift" not in one.status.item()
    np.testing.assert_array_equal(one.spectra, other.spectra)


@shifted
def test_a_missing_component_is_no_shift():
    data = mixture(STILL, 300)
    third = np.exp(-((ENERGY + 4.6) ** 2) / 0.1) * (COLUMNS % 7 < 3)[..., None]
    extra = data + np.random.default_rng(1).poisson(150 * third)
    result = extra.S.separate_gmca(n_components=2, rng=0)
    assert (result["shift"] == 0).all()


def test_stated_errors_are_those_of_the_shifts():
    shift = KINDS["each pixel"] - KINDS["each pixel"].mean()
    pulls = []
    for seed in range(2):
        values = mixture(shift, 100, seed).values
        pixels = torch.from_numpy(values.reshape(-1, 61).T.copy())
        noise = pixels.mean(1).sqrt()
        cube = pixels.reshape(-1, *shift.shape)
        by_value = value_noise(cube, torch.ones_like(cube, dtype=torch.bool))
        found = find_shifts(pixels, noise, 2, 0.1, shift.shape, by_value=by_value)
        off = found.shift.numpy() - shift.flatten()
        pulls.append(off / found.stderr.numpy())
    assert 0.8 < np.std(pulls) < 1.25


def test_what_shifts_cannot_tell_is_named():
    step, spread = 0.1, torch.linspace(-0.8, 0.8, 40, dtype=torch.float64)
    pixels = torch.from_numpy(np.random.default_rng(0).random((61, 40)))
    shifts = find_shifts(pixels, torch.ones(61).double(), 1, step, (40,), 0.5, certain=True)
    alike = np.stack([np.exp(-((ENERGY - c) ** 2) / 0.1) for c in (-3, -2)])
    wide = type(shifts)(spread, spread, step, found=True)
    ((first, second, by),) = copies(torch.from_numpy(alike), wide)
    assert (first, second, by) == (0, 1, pytest.approx(1.0))
    assert copies(torch.from_numpy(alike), type(shifts)(spread / 4, spread, step, found=True)) == []
    apart = torch.tensor([[1.0, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 1, 0, 1]])
    assert lonely(apart) == [0]


def test_partial_libraries_cannot_shift():
    from arpes_ml_plugins import SpectrumLibrary

    one = {"a": xr.DataArray(line(-1.8), {"eV": ENERGY}, "eV")}
    library = SpectrumLibrary.from_spectra(one, shift=0.1, count=20)
    with pytest.raises(ParameterError, match="library of all components"):
        mixture(STILL, 30).S.separate_sgmca(library=library, n_components=2, shift=True)
    with pytest.raises(ParameterError, match="shift must be"):
        mixture(STILL, 30).S.separate_nmf(n_components=2, shift=0)
