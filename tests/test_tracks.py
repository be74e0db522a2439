"""Tracks of cosmic rays are defects; bands, arcs and spots are none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from scipy import ndimage

from arpes_ml_plugins import simulate_scene
from arpes_ml_plugins.denoising.defects import hot_pixels
from arpes_ml_plugins.denoising.tracks import isolated

SIZE = 96
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE]


def found(values):
    images = torch.from_numpy(np.asarray(values, dtype=float))[None]
    every = torch.ones_like(images, dtype=torch.bool)
    return isolated(images, every, ~every)[0].numpy()


def arcs(width):
    """Pieces of circles, as Fermi arcs are: they end inside the image."""
    rate = np.full((SIZE, SIZE), 0.5)
    for row, column, radius, angle in ((30, 30, 18, 1), (60, 50, 25, -1), (45, 70, 12, 2)):
        distance = np.hypot(ROWS - row, COLUMNS - column) - radius
        towards = np.abs(np.arctan2(ROWS - row, COLUMNS - column) - angle) < 0.5
        rate += 30 * np.exp(-((distance / width) ** 2) / 2) * towards
    return rate


def spots(width):
    rate = np.ones((SIZE, SIZE))
    for row, column in np.random.default_rng(0).uniform(8, SIZE - 8, (20, 2)):
        rate += 60 * np.exp(-((ROWS - row) ** 2 + (COLUMNS - column) ** 2) / (2 * width**2))
    return rate


def line(slope, width=0.5):
    return 0.3 + 30 * np.exp(-(((COLUMNS - 20 - slope * ROWS) / width) ** 2) / 2)


def bands():
    return simulate_scene((SIZE, SIZE), counts=1, rng=4).truth.values


def with_tracks(counts, rng, number=8):
    """Straight tracks of 3 to 8 pixels, and where they are."""
    hit = np.zeros(counts.shape, dtype=bool)
    for row, column in rng.integers(12, SIZE - 12, (number, 2)):
        angle, length = rng.uniform(0, np.pi), np.arange(rng.integers(3, 9))
        along = (np.sin(angle) * length).round(), (np.cos(angle) * length).round()
        hit[row + along[0].astype(int), column + along[1].astype(int)] = True

    return np.where(
        hit, counts + rng.uniform(1, 3, counts.shape) * (counts.max() + 30), counts
    ), hit


@pytest.mark.parametrize("counts", [0.1, 1, 5, 30, 200, 3000])
@pytest.mark.parametrize(
    "rate",
    [bands(), arcs(0.5), arcs(1), spots(0.8), spots(1.5), line(0), line(0.4), line(1)],
    ids=["bands", "arcs", "wide arcs", "spots", "wide spots", "line", "oblique", "diagonal"],
)
def test_structure_is_no_track(rate, counts):
    rate = rate * counts / rate.mean()
    assert not found(np.random.default_rng(1).poisson(rate)).any()


@pytest.mark.parametrize("rate", [bands(), line(0.4)], ids=["bands", "line"])
@pytest.mark.parametrize("counts", [1, 30])
def test_tracks_are_found(rate, counts):
    rng = np.random.default_rng(2)
    values, hit = with_tracks(rng.poisson(rate * counts / rate.mean()).astype(float), rng)
    mask = found(values)
    groups, number = ndimage.label(hit, np.ones((3, 3)))
    beside = ndimage.maximum_filter(rate, 5) > 3 * np.median(rate)
    for group in range(1, number + 1):
        if not beside[groups == group].any():  # those that touch a band may be part of it
            assert mask[groups == group].all()
    assert mask[hit].mean() > 0.7
    assert not mask[~hit].any()


def test_what_is_not_valid_is_no_track():
    values, hit = with_tracks(np.ones((SIZE, SIZE)), np.random.default_rng(3))
    images = torch.from_numpy(values)[None]
    valid = torch.from_numpy(~hit)[None]
    assert not isolated(images, valid, torch.zeros_like(valid)).any()


def test_tracks_do_not_stay_in_the_image():
    truth = bands() * 20 / bands().mean()
    rng = np.random.default_rng(4)
    counts = rng.poisson(truth).astype(float)
    spoilt, hit = with_tracks(counts, rng)
    options = {"adapt": False, "rng": 0}
    clean, without = (
        xr.DataArray(values, dims=("phi", "eV")).S.denoise(**options).values
        for values in (spoilt, counts)
    )
    error, usual = (np.square(image - truth) for image in (clean, without))
    assert error.mean() < 1.3 * usual.mean()
    noise = xr.DataArray(spoilt, dims=("phi", "eV")).S.estimate_noise()
    assert float(noise["hot_fraction"]) == pytest.approx(hit.mean(), rel=0.15)


def steep(side):
    """Bands that jump over pixels from one line to the next, on few pixels."""
    energy, momentum = np.linspace(-0.5, 0.1, side)[:, None], np.linspace(-0.3, 0.3, side)
    bands = sum(
        weight / (1 + ((energy - centre) / 0.015) ** 2)
        for weight, centre in ((1, -0.35 + 2.6 * abs(momentum)), (0.6, -0.05 - 6 * momentum**2))
    )
    image = (bands + 0.08) / (1 + np.exp(energy / 0.006)) + 0.02
    return image / image.mean()


@pytest.mark.filterwarnings("ignore:.*called with gain=1:arpes_ml_plugins.errors.CountsWarning")
@pytest.mark.parametrize(("side", "most"), [(16, 1.5), (32, 1.0)])
def test_a_band_steeper_than_the_pixels_stays(side, most):
    """It was taken for hot pixels, and came out at a third of its height."""
    rate = 20 * steep(side)
    counts = np.random.default_rng(1).poisson(rate)
    images = torch.from_numpy(counts.astype(float))[None]
    every = torch.ones_like(images, dtype=torch.bool)
    hot = hot_pixels(images, every, torch.ones(1, 1, 1, dtype=torch.float64))
    assert int(hot.sum()) <= 2
    data = xr.DataArray(counts, dims=("eV", "phi"))
    assert float(data.S.estimate_noise().gain) < 3.5
    clean = data.S.denoise(adapt=False, gain=1.0, rng=0).values
    brightest = rate > np.quantile(rate, 0.98)
    assert clean[brightest].mean() == pytest.approx(rate[brightest].mean(), rel=0.15)
    assert np.square(clean - rate).mean() < most * np.square(counts - rate).mean()


@pytest.mark.parametrize("share", [0.03, 0.05])
def test_hot_pixels_side_by_side_are_found(share):
    rng = np.random.default_rng(0)
    hot = rng.random((256, 256)) < share
    images = torch.from_numpy(rng.poisson(5.0, hot.shape) + 300.0 * hot)[None]
    found = hot_pixels(images, torch.ones_like(images, dtype=torch.bool), torch.ones(1, 1, 1))
    assert found[0].numpy()[hot].mean() > 0.97
