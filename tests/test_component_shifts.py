"""Energies that shift by an amount of its own for each component."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

import arpes_ml_plugins
from arpes_ml_plugins import SpectrumLibrary
from arpes_ml_plugins.errors import DistributionWarning, ParameterError
from arpes_ml_plugins.separation.relative_shifts import relative_shifts
from arpes_ml_plugins.separation.shift_scan import moved
from arpes_ml_plugins.separation.shifted_design import designs, shifted_maps, shifted_model

ENERGY = np.linspace(-6, 0, 61)
LINES = {"metal": -1.8, "oxide": -3.4}
ROWS, COLUMNS = np.mgrid[:20, :22]
STILL, RAMP = np.zeros(ROWS.shape), 0.3 * COLUMNS / 21
WAVE = 0.12 * np.sin(ROWS / 5)
KINDS = {
    "none": (STILL, STILL),
    "common": (RAMP, RAMP),
    "oxide alone": (STILL, RAMP),
    "two laws": (WAVE, RAMP),
}
shifted = pytest.mark.filterwarnings("ignore:separate_")


def line(centre, energy=ENERGY):
    return np.exp(-((energy - centre) ** 2) / (2 * 0.22**2)) + 0.1


def maps():
    share = 1 / (1 + np.exp(-(ROWS - 10 + 5 * np.sin(COLUMNS / 4)) / 2))
    return np.stack([0.2 + 0.8 * share, 1 - 0.8 * share])


def mixture(kind, counts, seed=0):
    total = sum(
        part[..., None] * line(centre, ENERGY - shift[..., None])
        for part, centre, shift in zip(maps(), LINES.values(), KINDS[kind], strict=True)
    )
    values = np.random.default_rng(seed).poisson(counts * total / total.max())
    return xr.DataArray(values.astype(float), {"eV": ENERGY}, ("y", "x", "eV"))


def references(off=0.0):
    return {n: xr.DataArray(line(c + off), {"eV": ENERGY}, "eV") for n, c in LINES.items()}


def library():
    return SpectrumLibrary.from_spectra(references(0.03), shift=0.25, broaden=0.1, count=200)


def expected(kind):
    """Shifts relative to their mean over the intensity, and the spectra at that mean."""
    parts = zip(maps(), KINDS[kind], LINES.values(), strict=True)
    means = [(np.average(shift, weights=part), shift, centre) for part, shift, centre in parts]
    return np.stack([s - m for m, s, _ in means]), np.stack([line(c + m) for m, _, c in means])


def angles(result, truth):
    found = result.spectra.values
    cosine = (found * truth).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(truth, axis=1)
    return np.degrees(np.arccos(cosine.clip(-1, 1)))


@shifted
@pytest.mark.parametrize("kind", ["oxide alone", "two laws"])
@pytest.mark.parametrize("counts", [20, 300])
def test_each_component_gets_its_own_shifts(kind, counts):
    result = mixture(kind, counts).S.separate_sgmca(library=library(), shift="by component", rng=0)
    shift, truth = expected(kind)
    assert result["shift"].dims == result["shift_stderr"].dims == ("component", "y", "x")
    assert "differently for each component" in result.status.item()
    off = result["shift"].values - shift
    assert (off.std((1, 2)) < 0.025).all()
    assert (np.abs(off) < 4 * result["shift_stderr"].values).mean() > 0.9
    assert angles(result, truth).max() < 2
    assert float(result.residual_chi2.mean()) == pytest.approx(1, abs=0.1)
    for found, part in zip(result.maps.values, maps(), strict=True):
        assert np.corrcoef(found.ravel(), part.ravel())[0, 1] > (0.9 if counts < 100 else 0.98)
    ratio = result.maps.sum(("y", "x")).values / maps().sum((1, 2))
    assert ratio[0] / ratio[1] == pytest.approx(1, abs=0.07)


@shifted
@pytest.mark.parametrize("counts", [20, 300])
def test_by_default_too(counts):
    result = mixture("oxide alone", counts).S.separate_sgmca(library=library(), rng=0)
    shift, truth = expected("oxide alone")
    assert "differently for each component" in result.status.item()
    assert result["shift"].dims == ("y", "x")
    share = maps() / maps().sum(0)
    assert float(np.abs(result["shift"] - (share * shift).sum(0)).mean()) < 0.015
    assert angles(result, truth).max() < 1


@pytest.mark.slow
@shifted
def test_a_common_shift_that_is_not_enough_is_told():
    result = mixture("oxide alone", 300).S.separate_sgmca(library=library(), shift=True, rng=0)
    assert "each component may shift by itself" in result.status.item()
    assert "shift='by component'" in result.status.item()
    assert result["shift"].dims == ("y", "x")


@shifted
def test_what_is_missing_is_not_taken_for_shifts_of_each_component():
    own = 0.6 * np.clip(np.sin(COLUMNS / 4) * np.cos(ROWS / 5), 0, 1)
    missing = 100 * own[..., None] * line(-4.3)
    data = mixture("none", 100) + np.random.default_rng(5).poisson(missing)
    result = data.S.separate_sgmca(library=library(), rng=0)
    assert "differently" not in result.status.item()
    assert "missing" in result.status.item()


@shifted
def test_mean_shifts_are_those_of_the_intensity():
    result = mixture("two laws", 1000).S.separate_sgmca(
        library=library(), shift="by component", rng=0
    )
    mean = (result["shift"] * result.maps).sum(("y", "x")) / result.maps.sum(("y", "x"))
    assert np.abs(mean).max() < 5e-4
    assert angles(result, expected("two laws")[1]).max() < 0.2


def test_shifts_against_each_other_are_seen():
    spectra = torch.from_numpy(np.stack([line(c) for c in LINES.values()], 1))
    weights = torch.from_numpy(100 * maps().reshape(2, -1))
    still = torch.zeros(weights.shape[1]).double()
    for kind, seen in {"none": False, "common": False, "oxide alone": True}.items():
        values = torch.from_numpy(mixture(kind, 100).values.reshape(-1, 61).T)
        common = torch.from_numpy(KINDS[kind][0].ravel() * 10)
        noise = values.mean(1).sqrt()
        found = relative_shifts(values, noise, spectra, weights, common)
        assert bool(found.any()) == seen, kind
    assert not relative_shifts(values, noise, spectra, 0 * weights, still).any()


@shifted
@pytest.mark.parametrize(
    ("kind", "counts"),
    [("none", 10), ("none", 300), pytest.param("common", 50, marks=pytest.mark.slow)],
)
def test_without_such_shifts_nothing_changes(kind, counts):
    data = mixture(kind, counts)
    auto, own = (
        data.S.separate_sgmca(library=library(), shift=shift, rng=0)
        for shift in ("auto", "by component")
    )
    assert "each component" not in auto.status.item() + own.status.item()
    # To rounding: sums differ in their last digit with the place of an array in memory.
    for name in ("spectra", "maps"):
        np.testing.assert_allclose(own[name], auto[name], rtol=1e-6, atol=1e-9)
    for found in own["shift"]:
        np.testing.assert_allclose(found, auto["shift"], atol=1e-9)


@shifted
def test_a_spectrum_that_is_known_exactly_gives_the_zero_of_energy():
    exact = SpectrumLibrary.from_spectra(references())
    result = mixture("oxide alone", 200).S.separate_sgmca(
        library=exact, shift="by component", rng=0
    )
    assert float(np.abs(result["shift"].sel(component="oxide") - RAMP).mean()) < 0.015
    assert float(np.abs(result["shift"].sel(component="metal")).mean()) < 0.01
    common = mixture("common", 200).S.separate_sgmca(library=exact, rng=0)
    assert float(np.abs(common["shift"] - RAMP).mean()) < 0.02
    assert float(common.residual_chi2.mean()) == pytest.approx(1, abs=0.1)


@shifted
@pytest.mark.slow
def test_missing_pixels_and_lazy_data():
    data = mixture("oxide alone", 200)
    data[3, 4], data[10, 10, 20] = np.nan, np.nan
    options = {"library": library(), "shift": "by component", "rng": 0}
    result = data.S.separate_sgmca(**options)
    assert result["shift"][:, 3, 4].isnull().all()
    assert int(result["shift"].isnull().sum()) == 2
    lazy = arpes_ml_plugins.separate_sgmca(data.chunk({"y": 10}), **options)
    assert lazy["shift"].chunks is not None
    assert lazy["shift"].dims == ("component", "y", "x")
    np.testing.assert_array_equal(lazy["shift"].compute(), result["shift"])


def test_where_it_cannot_be():
    data = mixture("none", 30)
    with pytest.raises(ParameterError, match="need a library of all components"):
        data.S.separate_gmca(n_components=2, shift="by component")
    with pytest.raises(ParameterError, match="library of all components"):
        data.S.separate_sgmca(library=library(), n_components=3, shift="by component")
    with pytest.raises(ParameterError, match="'by component'"):
        data.S.separate_sgmca(library=library(), shift="components")


@pytest.mark.slow
def test_lpalm_too():
    data = mixture("oxide alone", 200)
    options = {"rng": 0, "training_steps": 40, "layers": 5}
    with pytest.warns(DistributionWarning, match="differently for each component"):
        result = data.S.separate_lpalm(library=library(), shift="by component", **options)
    assert angles(result, expected("oxide alone")[1]).max() < 2.5


def test_shifted_designs():
    draw = np.random.default_rng(0)
    spectra = torch.from_numpy(np.stack([line(c) for c in LINES.values()], 1))
    channels = torch.from_numpy(draw.uniform(-4, 4, (2, 30)))
    exact = torch.stack([moved(one[:, None].expand(-1, 30), x) for one, x in
                         zip(spectra.mT, channels, strict=True)], -1).transpose(0, 1)  # fmt: skip
    assert (designs(spectra, channels) - exact).abs().max() < 1e-3
    weights = torch.from_numpy(draw.random((2, 30)))
    data = shifted_model(spectra, weights, channels)
    found = shifted_maps(data, spectra, channels, torch.ones(61).double())
    torch.testing.assert_close(found, weights, rtol=1e-5, atol=1e-6)
