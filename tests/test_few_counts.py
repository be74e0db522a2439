"""Blind separation of maps with about one count per value: right, or reported."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.ndimage import gaussian_filter
from scipy.optimize import linear_sum_assignment
from sklearn.decomposition import NMF

import arpes_ml_plugins  # noqa: F401
from arpes_ml_plugins.errors import DistributionWarning
from arpes_ml_plugins.separation.few_counts import few_counts_notes
from arpes_ml_plugins.separation.least_squares import unit_columns
from arpes_ml_plugins.separation.polish import polish_on_pixels
from arpes_ml_plugins.separation.simulated import angles, expected_angles
from arpes_ml_plugins.separation.solvers import Gmca, Nmf
from arpes_ml_plugins.separation.value_noise import value_noise
from arpes_ml_plugins.separation.whiten import whiten

SOLVERS = {"gmca": Gmca(3), "nmf": Nmf(3, 0.0, 0)}
ENERGY = np.linspace(-3, 3, 48)
CENTRES = np.array([[-1.6], [0.0], [1.5]])
LINES = np.exp(-(((ENERGY - CENTRES) / 0.45) ** 2)) + 0.1
STEPS = 0.8 * np.exp(-(((ENERGY - CENTRES + 0.4) / 0.3) ** 2)) + 0.05
STEPS = STEPS + 0.6 / (1 + np.exp((ENERGY - CENTRES) / 0.12))
SIZE = 40


def maps(kind, seed):
    rng = np.random.default_rng(seed)
    row, column = np.indices((SIZE, SIZE))
    if kind == "grains":
        sites, owner = rng.uniform(0, SIZE, (9, 2)), np.arange(9) % 3
        near = np.hypot(row[..., None] - sites[:, 0], column[..., None] - sites[:, 1]).argmin(-1)
        return (owner[near] == np.arange(3)[:, None, None]) * rng.uniform(0.6, 1, (3, 1, 1))
    if kind == "small grain":  # of 3 % of the pixels
        grain = np.hypot(row - rng.uniform(5, 35), column - rng.uniform(5, 35)) < 4
        return np.stack([(column < 20) & ~grain, (column >= 20) & ~grain, 0.8 * grain])
    if kind == "stripes":
        return np.stack([(row // 6 % 3 == k) * 1.0 for k in range(3)])
    smooth = gaussian_filter(rng.standard_normal((3, SIZE, SIZE)), (0, 5, 5))
    return (smooth / smooth.std()).clip(0.2) - 0.2


def measured(kind, counts, seed, spectra=LINES):
    rate = np.einsum("kyx,ke->yxe", maps(kind, seed), spectra)
    data = np.random.default_rng(seed).poisson(counts * rate / rate.max()).astype(float)
    return xr.DataArray(data, {"eV": ENERGY}, ("y", "x", "eV"))


def largest_angle(found, truth):
    """In degrees, every true spectrum with a found one of its own."""
    found, truth = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (found, truth))
    cosine = (truth @ found.T).clip(-1, 1)
    return np.degrees(np.arccos(cosine[linear_sum_assignment(-cosine)])).max()


def whitened(image):
    cube = torch.from_numpy(image.transpose("eV", "y", "x").values.copy())
    whole = torch.ones(SIZE, SIZE, dtype=torch.bool)
    noise = value_noise(cube, whole.expand_as(cube))
    return whiten(cube, whole, by_value=noise, summed=True)


def separated(solver, image, truth):
    """Largest angle, and what the status says."""
    data = whitened(image)
    result = solver.separate(data)
    found = torch.zeros(len(ENERGY), 3, dtype=data.pixels.dtype)
    found[data.kept] = result.spectra * data.noise[data.kept][:, None]
    return largest_angle(found.mT.numpy(), truth), "; ".join(result.notes) or "ok"


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
@pytest.mark.parametrize("kind", ["grains", "stripes", "clouds", "small grain"])
@pytest.mark.parametrize("counts", [pytest.param(0.3, marks=pytest.mark.slow), 2])
def test_right_or_reported(solver, kind, counts):
    for seed, spectra in enumerate((LINES, STEPS)):
        angle, status = separated(solver, measured(kind, counts, seed, spectra), spectra)
        assert angle < 5 or "uncertain" in status


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
@pytest.mark.parametrize("kind", ["grains", "stripes"])
def test_right_without_a_doubt(solver, kind):
    """Also where a background under all spectra leaves a factorisation free to subtract it."""
    for seed, spectra in enumerate((LINES, STEPS)):
        angle, status = separated(solver, measured(kind, 20, seed, spectra), spectra)
        assert angle < 2
        assert status == "ok"


@pytest.mark.parametrize("method", ["separate_gmca", "separate_palm", "separate_nmf"])
def test_the_status_warns_of_few_counts(method):
    """Of methods, whose search for shifts would take most of the time above."""
    with pytest.warns(
        DistributionWarning, match="of 3 components (is|are) uncertain: in simulated"
    ):
        getattr(measured("grains", 0.5, 0)[::2].S, method)(n_components=3, rng=0)


def test_smooth_maps_are_factorised():
    """Without pixels of one component, thresholds on maps are wrong; where this shows, they are
    not used.
    """
    image = measured("clouds", 20, 4)
    (sparse, _), (smooth, status) = (separated(s, image, LINES) for s in SOLVERS.values())
    assert smooth < sparse
    assert smooth < 8
    assert "uncertain" in status or smooth < 5


def test_sums_of_the_same_pixels_are_the_same():
    data = whitened(measured("grains", 1, 0))
    torch.testing.assert_close(data.summed(data.pixels), data.coarse)


@pytest.mark.parametrize("counts", [1, 9])
def test_simulated_angles_are_those_of_an_estimate(counts):
    """Of an estimate that starts from the truth, over realisations of the counts."""
    truth, simulated, actual = torch.from_numpy(LINES.T.copy()), [], []
    for seed in range(3):
        data = whitened(measured("grains", counts, seed))
        start = unit_columns(truth[data.kept] / data.noise[data.kept][:, None])

        def estimate(drawn, start=start):
            return polish_on_pixels(drawn.pixels, start, True, 10)

        found = estimate(data)
        actual.append(angles(data, found, start))
        simulated.append(expected_angles(data, found, estimate))
    ratio = torch.stack(simulated).mean() / torch.stack(actual).mean()
    assert 0.7 < ratio < 1.6


@pytest.mark.parametrize("unit", [1e-14, 1e9])
def test_expected_angles_do_not_depend_on_the_unit(unit):
    """Currents of 1e-12 were reported as uncertain by up to 88 degrees."""
    data, small = (whitened(scale * measured("grains", 3, 0)) for scale in (1.0, unit))
    start = unit_columns(torch.from_numpy(LINES.T) / data.noise[data.kept][:, None])
    turned = unit_columns(start + 0.1 * start.roll(1, 1))
    torch.testing.assert_close(angles(small, turned, start), angles(data, turned, start))


def test_spectra_that_are_known_have_no_error():
    data = whitened(measured("grains", 0.3, 0))
    spectra = unit_columns(torch.from_numpy(LINES.T) / data.noise[data.kept][:, None])
    assert "of 3 components are uncertain" in few_counts_notes(data, spectra)[0]
    fixed = torch.tensor([True, True, False])
    assert few_counts_notes(data, spectra, fixed)[0].startswith("1 of 3")
    assert few_counts_notes(data, spectra, torch.ones(3, dtype=torch.bool)) == ()


def test_a_part_of_an_image_is_made_of_squares_that_can_be_summed():
    images = torch.from_numpy(np.random.default_rng(0).poisson(5.0, (40, 80, 80))).double()
    complete = torch.ones(80, 80, dtype=torch.bool)
    complete[:3] = False
    data = whiten(images, complete, noise=torch.ones(40).double(), transform="none", summed=True)
    part = data.part(2000)
    assert 1500 < part.pixels.shape[1] < 2500
    torch.testing.assert_close(part.pixels, data.pixels[:, part.complete[complete]])
    sums = part.summed(part.pixels)
    squares = data.summed(data.pixels)
    assert all((squares - column[:, None]).norm(dim=0).min() < 1e-9 for column in sums.mT)
    assert data.part(6400) is None


def test_a_polish_that_loses_a_component_is_not_shown():
    """At 0.3 counts per pixel and channel at the peak, in more channels than there are pixels."""
    draw, energy = np.random.default_rng(902), np.linspace(0, 10, 400)
    lines = [(draw.uniform(0.3, 1), at) for _ in range(3) for at in draw.uniform(1, 9, 3)]
    peaks = np.stack([size * np.exp(-(((energy - at) / 0.35) ** 2) / 2) for size, at in lines])
    spectra = peaks.reshape(3, 3, -1).sum(1) + 0.08
    rows, columns = np.mgrid[:20, :20] / 19
    maps = np.stack([1 - columns, columns * (1 - rows), columns * rows])
    total = np.einsum("kyx,ke->yxe", maps, spectra)
    counts = draw.poisson(0.3 * total / total.max()).astype(float)
    image = xr.DataArray(counts, {"eV": energy}, ("y", "x", "eV"))
    with pytest.warns(DistributionWarning, match="3 of 3 components are uncertain"):
        result = image.S.separate_nmf(n_components=3, rng=0)
    plain = NMF(3, init="nndsvda", max_iter=800, random_state=0).fit(counts.reshape(400, -1))
    worst = [_worst(found, spectra) for found in (result.spectra.values, plain.components_)]
    assert worst[0] < worst[1] + 3


def _worst(found, truth):
    one, other = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (found, truth))
    return np.degrees(np.arccos((one @ other.T).max(0).clip(0, 1))).max()
