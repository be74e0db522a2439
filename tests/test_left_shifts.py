"""Shifts that are not looked for, and are told where the residual shows them."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import arpes_ml_plugins  # noqa: F401
from arpes_ml_plugins.errors import DistributionWarning
from arpes_ml_plugins.methods import blocks_run

ROWS, COLUMNS = np.mgrid[:24, :24]
GRAINS = np.stack([COLUMNS < 10, COLUMNS >= 10]) + 0.05
RAMP = 0.12 * (COLUMNS / 11.5 - 1)
UNEVEN = np.cumsum(np.random.default_rng(2).uniform(0.03, 0.09, 40))


def mixture(shift, energy, momentum, more=0.0):
    """Counts ``(y, x, eV, kx)`` of two lines."""
    total = more
    for part, centre, bend in zip(GRAINS, (0.35, 0.6), (0.3, -0.4), strict=True):
        place = energy.min() + centre * np.ptp(energy) + bend * momentum**2
        apart = energy[:, None] - place - shift[..., None, None]
        total = total + part[..., None, None] * (np.exp(-((apart / 0.12) ** 2) / 2) + 0.08)
    counts = np.random.default_rng(4).poisson(100 * total / np.max(total)).astype(float)
    coords = {"eV": energy, "kx": momentum}
    return xr.DataArray(counts, coords, ("y", "x", "eV", "kx"))


def images(shift):
    return mixture(shift, np.linspace(-3, 0, 40), np.linspace(-1, 1, 6))


IMAGES = ({"channels": ("kx",)}, images(RAMP))


@pytest.mark.parametrize(
    ("options", "data", "remedy"),
    [
        ({}, mixture(RAMP, UNEVEN, np.zeros(1))[..., 0], "interpolate 'eV' to even steps"),
        (*IMAGES, "align the data beforehand"),
    ],
)
def test_shifts_that_are_not_looked_for_are_told(options, data, remedy):
    with pytest.warns(DistributionWarning, match="as if energies shifted"):
        result = data.S.separate_gmca(n_components=2, rng=0, **options)
    assert remedy in result.status.item()


@pytest.mark.parametrize("dtype", [">f8", np.longdouble])
def test_energies_of_any_float_type(dtype):
    """Files of instruments hold big-endian numbers, which torch does not take."""
    data = mixture(RAMP, UNEVEN, np.zeros(1))[..., 0].assign_coords(eV=UNEVEN.astype(dtype))
    with pytest.warns(DistributionWarning, match="as if energies shifted"):
        data.S.separate_gmca(n_components=2, rng=0)


def test_channels_without_values_hide_no_shifts():
    data = mixture(RAMP, UNEVEN, np.zeros(1))[..., 0]
    data[..., :3] = np.nan
    with pytest.warns(DistributionWarning, match="as if energies shifted"):
        data.S.separate_gmca(n_components=2, rng=0)


@pytest.mark.parametrize(
    ("options", "data"), [({}, mixture(RAMP, UNEVEN, np.zeros(1))[..., 0]), IMAGES]
)
def test_data_that_are_separated_in_pieces_tell_too(options, data, monkeypatch):
    monkeypatch.setattr(blocks_run, "is_large", lambda *_: True)
    with pytest.warns(DistributionWarning, match="as if energies shifted"):
        data.S.separate_gmca(n_components=2, rng=0, **options)


def test_right_data_are_ok():
    still = np.zeros(RAMP.shape)
    for data in (mixture(still, UNEVEN, np.zeros(1))[..., 0], images(still)):
        channels = ("kx",) if "kx" in data.dims else None
        assert data.S.separate_gmca(n_components=2, rng=0, channels=channels).status.item() == "ok"


def test_a_missing_component_is_no_shift():
    own = 0.3 * ((COLUMNS % 9 < 4) & (ROWS % 11 < 5))[..., None, None]
    line = np.exp(-((UNEVEN[:, None] - np.median(UNEVEN)) ** 2) / 0.03)
    data = mixture(np.zeros(RAMP.shape), UNEVEN, np.zeros(1), own * line)[..., 0]
    with pytest.warns(DistributionWarning, match="missing") as caught:
        data.S.separate_gmca(n_components=2, rng=0)
    assert "energies shifted" not in str(caught[0].message)
