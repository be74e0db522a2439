"""Tracks of cosmic rays are defects; bands, arcs and spots are none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from scipy import ndimage

from arpes_ml_plugins import simulate_scene
from arpes_ml_plugins.denoising.tracks import tracks

SIZE = 96
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE]


def found(values):
    images = torch.from_numpy(np.asarray(values, dtype=float))[None]
    return tracks(images, torch.ones_like(images, dtype=torch.bool))[0].numpy()


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
    assert not tracks(images, torch.from_numpy(~hit)[None]).any()


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
