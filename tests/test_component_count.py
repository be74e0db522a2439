"""How many components there are: planted mixtures, and PyARPES's nano-XPS map."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
import xarray as xr
from planted import image, odd, peak, truth

from arpes_ml_plugins.separation.component_count import recommended_count


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("noise", [2.0, 30.0])
def test_the_number_of_components_is_found(count, noise):
    rng = np.random.default_rng(count)
    spectra = np.stack([peak(c, 0.12) for c in np.linspace(-1.6, 0.6, count)])
    maps = rng.exponential(size=(40, 40, count)) * (rng.random((40, 40, count)) < 0.4)
    found = image(spectra, 100 * maps, noise).S.choose_components(rng=0, max_components=8)
    assert int(found.recommended) == count, found.reason.item()
    assert found.reason.item().startswith(f"{count} component")
    assert dict(found.sizes) == {"n_components": 8}


def test_the_number_tried_is_told_if_too_small():
    spectra, maps = truth()
    found = image(spectra, maps).S.choose_components(max_components=3, rng=0)
    assert "largest number tried" in found.reason.item()


@pytest.mark.parametrize(
    "seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)]
)
def test_nano_xps_has_three_components(examples, seed):
    found = examples.nano_xps.spectrum.S.choose_components(rng=seed)
    assert int(found.recommended) == 3


def test_negative_data_and_a_background():
    """A component that hardly varies counts too."""
    spectra, maps = truth()
    spectra[2], maps[..., 2] = 1.0, -20.0
    found = image(spectra, maps).S.choose_components(rng=0, max_components=6)
    assert int(found.recommended) == 3, found.reason.item()


@odd
def test_small_data_are_tried_with_fewer():
    data = image(*truth(shape=(12, 12)))[..., :20]
    data[..., :10] = 5.0
    found = data.S.choose_components(rng=0)
    assert found.chi2.notnull().sum() == 5


@pytest.mark.parametrize(
    ("changed", "wanted", "words"),
    [
        ({}, 4, "one more would lower"),
        ({"gains": (1, 0.001)}, 2, "one more would lower"),  # whatever a fourth gains
        ({"gains": (3, 1.0)}, 5, "largest number tried"),
        ({"stability": (3, 0.5)}, 3, "misfit alone would justify 4, but"),
        ({"stability": (2, 0.5)}, 4, "one more would lower"),  # three of four need not be stable
        ({"collinearity": (3, 0.999)}, 3, "cannot be told apart .*0.999"),
    ],
)
def test_components_are_added_as_long_as_each_gains(changed, wanted, words):
    """What comes after the first component that gains nothing does not count."""
    numbers = {
        "chi2": torch.tensor([9.0, 5.0, 3.0, 1.0, 1.0]),
        "gains": torch.tensor([4.0, 2.0, 2.0, 0.0]),
        "stability": torch.ones(5),
        "collinearity": torch.zeros(5),
    }
    for name, (at, value) in changed.items():
        numbers[name][at] = value
    found, reason = recommended_count(**numbers, limits=torch.full((4,), 0.05))
    assert found == wanted
    assert reason.startswith(f"{wanted} component")
    assert re.search(words, reason)


@pytest.mark.parametrize("kind", ["ramp", "wave", "random", "none"])
def test_shifts_are_no_components(kind):
    """Three lines whose energies shift alike in every pixel, or do not."""
    energy = np.linspace(-4, 4, 60)
    row, column = np.mgrid[:36, :36]
    rng = np.random.default_rng(1)
    shift = {
        "ramp": 0.3 * (column / 17.5 - 1),
        "wave": 0.15 * np.sin(row / 5) * np.cos(column / 9),
        "random": 0.1 * rng.standard_normal((36, 36)),
        "none": np.zeros((36, 36)),
    }[kind]
    maps = (column < 12, (column >= 12) & (row < 18), (column >= 12) & (row >= 18))
    lines = (
        np.exp(-(((energy - centre - shift[..., None]) / width) ** 2)) + 0.1
        for centre, width in ((-1.5, 0.3), (0.2, 0.4), (1.6, 0.35))
    )
    rate = sum(m[..., None] * line for m, line in zip(maps, lines, strict=True))
    data = xr.DataArray(rng.poisson(50 * rate) * 1.0, {"eV": energy}, ("y", "x", "eV"))
    result = data.S.choose_components(rng=0)
    assert int(result.recommended) == 3
    assert ("shift" in result.reason.item()) == (kind != "none")


@pytest.mark.parametrize("seed", [0, 2])
def test_energies_that_jump_are_no_components(seed):
    """Spectra of a separation without shifts are mixtures, from which shifts are not found."""
    from scipy.ndimage import gaussian_filter

    rng, energy = np.random.default_rng(seed), np.linspace(-36, -29, 50)
    grain = np.argmax([gaussian_filter(rng.standard_normal((26, 26)), 3) for _ in range(3)], 0)
    shift = np.where(np.mgrid[:26, :26][0] < 13, 0.3, -0.3)[..., None]
    rate = 0
    for number, (centre, width) in enumerate(((-31.2, 0.5), (-32.0, 0.7), (-33.5, 0.9))):
        off = 2 * np.log(2) ** 0.5 * (energy - centre - shift) / width
        beside = 2 * np.log(2) ** 0.5 * (energy - centre + 2.15 - shift) / width
        here = gaussian_filter(1.0 * (grain == number), 0.7)[..., None]
        rate = rate + here * (np.exp(-(off**2)) + 0.75 * np.exp(-(beside**2)))
    data = xr.DataArray(rng.poisson(100 * rate) * 1.0, {"eV": energy}, ("y", "x", "eV"))
    result = data.S.choose_components(max_components=6, rng=0)
    assert int(result.recommended) == 3
    spread = re.search(r"by ([\d.]+) \(standard deviation\)", result.reason.item())
    assert float(spread[1]) == pytest.approx(0.3, rel=0.05)


@pytest.mark.parametrize("seed", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_wide_ramp_does_not_replace_a_state(seed):
    """Two doublets with twice the shifts explain the data of three about as well."""
    energy = np.linspace(-36, -29, 60)
    row, column = np.mgrid[:40, :40]
    left, upper = column < 14, row < 20
    rate = 0
    for where, height, centre in (
        (left, 1.0, -33.0),
        (~left & upper, 0.8, -32.0),
        (~left & ~upper, 0.6, -31.2),
    ):
        off = energy - centre - 0.3 * (column / 19.5 - 1)[..., None]
        doublet = np.exp(-((off / 0.3) ** 2)) + 0.75 * np.exp(-(((off + 2.15) / 0.3) ** 2)) + 0.1
        rate = rate + height * where[..., None] * doublet
    counts = np.random.default_rng(seed).poisson(100 * rate / rate.max())
    data = xr.DataArray(counts * 1.0, {"eV": energy}, ("y", "x", "eV"))
    assert int(data.S.choose_components(rng=0).recommended) == 3


def test_noise_of_grains_with_lines_of_their_own_is_no_component():
    """The noise is larger in the channels of a grain's line, in its pixels alone."""
    energy = np.linspace(-1, 1, 40)
    lines = np.stack([np.exp(-(((energy - c) / 0.15) ** 2)) for c in (-0.4, 0, 0.4)])
    row, column = np.mgrid[:40, :40]
    grains = np.stack([column < 16, (column >= 16) & (row < 20), (column >= 16) & (row >= 20)])
    rate = np.einsum("kyx,ke->yxe", 100.0 * grains, lines)
    counts = np.random.default_rng(0).poisson(rate).astype(float)
    data = xr.DataArray(counts, {"eV": energy}, ("y", "x", "eV"))
    found = data.S.choose_components(max_components=4, rng=0)
    assert found.recommended.item() == 3
    assert "one more would lower" in found.reason.item()


def test_spectra_that_are_shifted_copies_are_named():
    """Grains of one material at energies of their own, at counts too few to find their shifts."""
    energy = np.linspace(-36, -32, 36)
    rows, columns = np.mgrid[:20, :20]
    draw = np.random.default_rng(0)
    places = draw.uniform(0, 20, (16, 2))
    distance = np.hypot(*(g[..., None] - p for g, p in zip((rows, columns), places.T, strict=True)))
    shift = draw.uniform(-0.3, 0.3, 16)[distance.argmin(-1)]

    def line(centre):
        apart = energy - centre - shift[..., None]
        return np.exp(-4 * np.log(2) * (apart / 0.5) ** 2)

    rate = line(-33) + 0.75 * line(-35.15) + 0.1
    counts = np.random.default_rng(0).poisson(10 * rate).astype(float)
    data = xr.DataArray(counts, {"eV": energy}, ("y", "x", "eV"))
    found = data.S.choose_components(rng=0, max_components=3)
    assert "2 of their spectra are alike when shifted by up to 0.3" in found.reason.item()


@pytest.mark.parametrize("slope", [0.0, 0.5])
def test_lines_on_a_large_background_are_no_copies(slope):
    """Backgrounds are alike, and hide how narrow the lines are."""
    energy = np.linspace(-3, 3, 60)
    lines = np.stack([np.exp(-(((energy - c) / 0.35) ** 2)) for c in (-1.4, 0, 1.3)])
    row, column = np.mgrid[:32, :32]
    grains = np.stack([column < 16, (column >= 16) & (row < 16), (column >= 16) & (row >= 16)])
    rate = 200 * np.einsum("kyx,ke->yxe", 1.0 * grains, lines + 6 + slope * energy)
    counts = np.random.default_rng(0).poisson(rate).astype(float)
    data = xr.DataArray(counts, {"eV": energy}, ("y", "x", "eV"))
    found = data.S.choose_components(max_components=4, rng=0)
    assert found.recommended.item() == 3
    assert "alike when shifted" not in found.reason.item()


def test_chemical_states_are_no_copies():
    found = image(*truth()).S.choose_components(rng=0, max_components=4)
    assert "alike when shifted" not in found.reason.item()
