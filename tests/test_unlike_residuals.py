"""Spectra that are slightly wrong, and noise that channels share: single pixels do not show it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import xarray as xr

import arpes_ml_plugins
from arpes_ml_plugins import SpectrumLibrary
from arpes_ml_plugins.separation.shared_noise import independent_every
from arpes_ml_plugins.separation.summed_residual import summed_misfit

ENERGY = np.linspace(-36, -29, 60)
STEP = ENERGY[1] - ENERGY[0]
CENTRES = {"a": -33.0, "b": -32.0, "c": -31.2}
Y, X = np.mgrid[:30, :30]
REGIONS = np.stack([X < 12, (X >= 12) & (Y < 15), (X >= 12) & (Y >= 15)]) * 1.0


def line(centre, width=0.5, energy=ENERGY):
    def one(at):
        return np.exp(-4 * np.log(2) * ((energy - at) / width) ** 2)

    return one(centre) + 0.75 * one(centre - 2.15) + 0.1


def references(width=0.5, off=0.0, energy=ENERGY):
    rows = {name: line(centre + off, width, energy) for name, centre in CENTRES.items()}
    return {name: xr.DataArray(row, {"eV": energy}, "eV") for name, row in rows.items()}


def counts(level, seed=0):
    spectra = np.stack([line(centre) for centre in CENTRES.values()])
    rate = np.einsum("kyx,ke->yxe", REGIONS, spectra)
    return np.random.default_rng(seed).poisson(level * rate / rate.max()).astype(float)


def labelled(values):
    energy = np.linspace(ENERGY[0], ENERGY[-1], values.shape[-1])
    return xr.DataArray(values, {"eV": energy}, ("y", "x", "eV"))


def status_with(spectra, level, seed=0):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = labelled(counts(level, seed))
        return arpes_ml_plugins.unmix(data, spectra=spectra).status.item()


@pytest.mark.parametrize("level", [0.5, 30, 1000])
def test_right_spectra_are_ok(level):
    assert {status_with(references(), level, seed) for seed in range(2)} == {"ok"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": (0.5**2 - (2.355 * STEP) ** 2) ** 0.5},
        {"width": (0.5**2 + (2.355 * STEP) ** 2) ** 0.5},
        {"off": STEP / 2},
    ],
    ids=["too narrow", "too broad", "shifted"],
)
def test_spectra_that_are_slightly_wrong_are_told(wrong):
    # chi^2 of single pixels is at most 1.03
    status = status_with(references(**wrong), 5)
    assert "residuals summed over all pixels are not noise" in status
    assert "chi^2" not in status


def test_noise_that_neighbours_share_is_noise():
    from scipy.ndimage import gaussian_filter, gaussian_filter1d

    data = labelled(gaussian_filter(counts(30), (1.5, 1.5, 1)))
    right = {n: xr.full_like(r, 0) + gaussian_filter1d(r, 1) for n, r in references().items()}
    for spectra, told in ((right, False), (references(), True)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            status = arpes_ml_plugins.unmix(data, spectra=spectra).status.item()
        assert ("summed" in status) == told


def test_misfit_is_measured():
    random = torch.Generator().manual_seed(0)
    noise = torch.randn(40, 4000, generator=random, dtype=torch.float64)
    spectra = torch.ones(40, 1, dtype=torch.float64)
    model = 10 * spectra.expand(-1, 4000)
    assert summed_misfit(noise, model, spectra) is None
    wrong = torch.zeros(40, 1, dtype=torch.float64)
    wrong[20:22, 0] = torch.tensor([1.0, -1.0])
    found = summed_misfit(noise + wrong, model, spectra)
    assert found.share == pytest.approx(2**0.5 / (10 * 40**0.5), rel=0.1)
    assert found.channel in (20, 21)
    assert summed_misfit((noise + wrong)[:, :40], model[:, :40], spectra) is None


@pytest.mark.parametrize("level", [3, 1000])
def test_channels_that_share_noise(level):
    from scipy.ndimage import gaussian_filter1d, zoom

    def every(values):
        pixels = torch.from_numpy(values.reshape(-1, values.shape[-1]).T.copy())
        return independent_every(pixels, pixels.mean(1).clamp(min=0.05).sqrt())

    values = counts(level)
    assert every(values) == 1
    assert every(zoom(values, (1, 1, 2), order=1)) > 2
    assert every(gaussian_filter1d(values, 1, axis=2)) > 2


def test_interpolated_noise_is_no_shift():
    from scipy.ndimage import zoom

    data = labelled(zoom(counts(5), (1, 1, 2), order=3))
    library = SpectrumLibrary.from_spectra(
        references(energy=data.eV.values), shift=0.1, broaden=0.1, count=100, rng=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = data.S.separate_sgmca(library=library, rng=0)
    assert "shift" not in result.status.item()
    assert not result["shift"].any()


def test_absent_components_do_not_shift():
    library = SpectrumLibrary.from_spectra(references(), shift=0.05, broaden=0.05, count=100, rng=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = labelled(counts(3)).S.separate_sgmca(library=library, rng=0)
    assert result.status.item() == "ok"
