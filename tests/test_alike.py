"""Neighbours in a series: those that are unlike an image do not help it, and others stand in."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

import arpes_ml_plugins
from arpes_ml_plugins.denoising.counts_network import BESIDE
from arpes_ml_plugins.denoising.splitting import Counts

BEFORE, AFTER = BESIDE.index((-1, -1)), BESIDE.index((1, 1))
OPTIONS = {"adapt": False, "rng": 0, "mesh": None, "progress": False}


def band(place, width=0.12):
    """A band with a Fermi edge, 32 x 32 pixels."""
    angle, energy = np.meshgrid(np.linspace(-1, 1, 32), np.linspace(-1, 0.3, 32), indexing="ij")
    line = 1 / (1 + ((energy + 0.5 - 0.4 * angle**2 - place) / width) ** 2)
    return (line + 0.1) / (1 + np.exp(energy / 0.06)) + 0.02


def scan(places, counts=4.0, seed=0, factors=1.0):
    """Truth and counts of bands at these places."""
    rate = np.array([band(place) for place in places])
    rate *= counts / rate.mean() * np.reshape(factors, (-1, 1, 1))
    return rate, np.random.default_rng(seed).poisson(rate).astype(float)


def beside(places, at, **options):
    """The neighbours before and after image ``at``, as the network sees them, and all images."""
    images = torch.as_tensor(scan(places, **options)[1])
    found = Counts(images, torch.ones_like(images, dtype=torch.bool), 8).alike(torch.tensor([at]))
    return found[0, BEFORE], found[0, AFTER], images


def labelled(values):
    return xr.DataArray(values, dims=("temperature", "phi", "eV"))


def worse_than_alone(rate, counts):
    """Error of each image over that of the image denoised by itself, in decibels."""
    series, alone = (
        arpes_ml_plugins.denoise_pretrained(labelled(counts), series=choice, **OPTIONS).values
        for choice in ("auto", None)
    )
    errors = [((image - rate) ** 2).mean((1, 2)) for image in (series, alone)]
    return 10 * np.log10(errors[0] / errors[1])


@pytest.mark.parametrize("at", [3, 6])
def test_images_of_a_smooth_series_keep_their_neighbours(at):
    before, after, images = beside(0.02 * np.arange(10), at)
    assert torch.equal(before, images[at - 1])
    assert torch.equal(after, images[at + 1])


def test_beyond_an_abrupt_change_are_no_neighbours():
    before, after, images = beside(np.repeat([0.0, 0.3], 6), 6)
    assert torch.equal(after, images[7])
    assert torch.equal(before, images[7])  # mirrored, as nothing changes on this side


def test_an_odd_image_is_passed_over_and_has_no_neighbours_itself():
    places = [0.0] * 5 + [0.3] + [0.0] * 5
    before, after, images = beside(places, 4)
    assert torch.equal(before, images[3])
    assert torch.equal(after, images[6])
    assert all(each.isnan().all() for each in beside(places, 5)[:2])


def test_ends_are_mirrored_only_if_nothing_changes():
    before, after, _ = beside(np.full(6, 0.1), 0)
    assert torch.equal(before, after)
    before, after, images = beside(0.08 * np.arange(6), 0)
    assert before.isnan().all()
    assert torch.equal(after, images[1])


@pytest.mark.parametrize("factor", [0.0, 0.01, 100.0])
def test_images_of_other_brightness_do_not_help(factor):
    factors = np.where(np.arange(10) == 5, factor, 1)
    _, after, images = beside(np.zeros(10), 4, factors=factors)
    assert torch.equal(after, images[6])


def test_a_missing_image_is_passed_over():
    images = torch.as_tensor(scan(np.zeros(10))[1])
    valid = (torch.arange(10) != 5)[:, None, None].expand(images.shape)
    found = Counts(images, valid, 8).alike(torch.tensor([4]))
    assert torch.equal(found[0, AFTER], images[6])


@pytest.mark.slow
def test_no_image_beside_an_abrupt_change_is_worse_than_alone():
    rate, counts = scan(np.repeat([0.0, 0.3], 5), counts=3)
    assert worse_than_alone(rate, counts)[4:6].max() < 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["empty", "dark", "ends"])
def test_no_image_is_worse_than_alone(name):
    changes = {"empty": [1, 1, 1, 0, 1, 1, 1, 1], "dark": [0.01] * 3 + [1] * 5, "ends": [1] * 8}
    rate, counts = scan(np.zeros(8), counts=5, factors=changes[name])
    worse = worse_than_alone(rate + 1e-2, counts)
    assert worse.max() < 0.3
    assert worse.mean() < -0.5


@pytest.mark.slow
def test_copies_are_no_neighbours():
    rate, counts = scan(0.01 * np.arange(6), counts=3)
    worse = worse_than_alone(rate.repeat(2, 0), counts.repeat(2, 0))
    assert worse.mean() < 0.1


@pytest.mark.slow
def test_chunks_change_nothing():
    _, counts = scan(np.repeat([0.0, 0.3, 0.0, 0.1], [5, 7, 1, 8]), counts=3)
    data = labelled(counts)
    whole = arpes_ml_plugins.denoise_pretrained(data, **OPTIONS)
    parts = arpes_ml_plugins.denoise_pretrained(data.chunk(temperature=8), **OPTIONS).compute()
    np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-6 * float(whole.max()))


def test_bars_of_an_image_without_counts_hold_zero_and_a_count():
    data = labelled(np.zeros((1, 16, 16)))[0]
    found = arpes_ml_plugins.decompose_pretrained(data, gain=1, **OPTIONS)
    assert (found.lower == 0).all()
    assert (found.upper > 1 / data.size).all()
