"""Errors of maps whose channels share their noise, as after interpolation or blur along energy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.ndimage import gaussian_filter1d

import arpes_ml_plugins  # noqa: F401
from arpes_ml_plugins.separation.shared_channels import MOST_CHANNELS, variance_by_sharing

ENERGY = np.linspace(-36, -29, 70)
ROWS, COLUMNS = np.mgrid[:26, :26]
GRAINS = 1.0 * np.stack(
    [COLUMNS < 10, (COLUMNS >= 10) & (ROWS < 13), (COLUMNS >= 10) & (ROWS >= 13)]
)
FINE = np.linspace(-36, -29, 150)
KINDS = {
    "interpolated": lambda values: np.apply_along_axis(
        lambda one: np.interp(FINE, ENERGY, one), -1, values
    ),
    "blurred": lambda values: gaussian_filter1d(values, 1.0, axis=-1),
    "as counted": lambda values: values,
}


def doublet(centre):
    def peak(place):
        return np.exp(-4 * np.log(2) * ((ENERGY - place) / 0.5) ** 2)

    return peak(centre) + 0.75 * peak(centre - 2.15) + 0.1


SPECTRA = np.stack([doublet(centre) for centre in (-33.0, -32.0, -31.2)])


def spread(result, maps):
    """Root mean square of errors over stated errors, where components are."""
    there = maps > 0
    return float(
        (((result.maps.values - maps) / result.maps_stderr.values)[there] ** 2).mean() ** 0.5
    )


@pytest.mark.filterwarnings("ignore:unmix:arpes_ml_plugins.errors.DistributionWarning")
@pytest.mark.filterwarnings("ignore:separate_gmca:arpes_ml_plugins.errors.DistributionWarning")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("counts", [20, 300])
def test_errors_of_maps(kind, counts):
    drawn = np.random.default_rng(0).poisson(counts * np.einsum("kyx,ke->yxe", GRAINS, SPECTRA))
    values, spectra = KINDS[kind](drawn * 1.0), KINDS[kind](SPECTRA)
    energy = FINE if kind == "interpolated" else ENERGY
    data = xr.DataArray(values, {"eV": energy}, ("y", "x", "eV"))
    known = {n: xr.DataArray(s, {"eV": energy}, "eV") for n, s in zip("abc", spectra, strict=True)}
    maps = counts * GRAINS * spectra.max(1)[:, None, None]
    assert 0.85 < spread(data.S.unmix(spectra=known), maps) < 1.25
    blind = data.S.separate_gmca(n_components=3, shift=False, rng=0)
    order = [int(np.argmax(blind.spectra.values @ s)) for s in spectra]
    assert 0.85 < spread(blind.isel(component=order), maps) < 1.3


def test_independent_channels_share_nothing():
    generator = torch.Generator().manual_seed(0)
    for channels in (60, 2 * MOST_CHANNELS):
        spectra = torch.rand(channels, 3, generator=generator, dtype=torch.float64)
        noise = torch.randn(channels, 600, generator=generator, dtype=torch.float64)
        pixels = spectra @ torch.rand(3, 600, generator=generator, dtype=torch.float64) + noise
        assert variance_by_sharing(pixels, spectra).tolist() == [1, 1, 1]


def test_shared_noise_is_measured():
    """A mean of neighbours, of smooth spectra: as many times the variance."""
    generator = torch.Generator().manual_seed(0)
    place = torch.linspace(-1, 1, 90, dtype=torch.float64)
    spectra = torch.stack([torch.exp(-8 * (place - centre) ** 2) for centre in (-0.5, 0.4)], 1)
    noise = torch.randn(90 + 2, 2000, generator=generator, dtype=torch.float64)
    noise = (noise[:-2] + noise[1:-1] + noise[2:]) / 3**0.5
    sources = 50 * torch.rand(2, 2000, generator=generator, dtype=torch.float64)
    found = variance_by_sharing(spectra @ sources + noise, spectra)
    scatter = torch.linalg.pinv(spectra) @ noise
    wanted = scatter.var(1) / torch.linalg.pinv(spectra).square().sum(1)
    torch.testing.assert_close(found, wanted, rtol=0.1, atol=0)
