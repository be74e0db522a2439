"""Spectrum libraries: what users know beforehand, in every form they have it."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from arpes_ml_plugins.errors import AxisError, DataError, DataTypeError, ParameterError
from arpes_ml_plugins.spectrum_library import SpectrumLibrary

ENERGY = np.linspace(-2, 2, 101)


def peak(centre=0.0, width=0.2, energy=ENERGY):
    return xr.DataArray(
        np.exp(-(((energy - centre) / width) ** 2)), coords={"eV": energy}, dims="eV"
    )


def test_references_are_shifted_and_broadened():
    library = SpectrumLibrary.from_spectra({"a": peak()}, shift=0.3, broaden=0.4, count=200)
    family = library["a"]
    assert family.dims == ("sample", "eV")
    assert np.linalg.norm(family, axis=1) == pytest.approx(1)
    centres = (family * family.eV).sum("eV") / family.sum("eV")
    assert 0.2 < float(np.abs(centres).max()) <= 0.31
    widths = np.sqrt((family * (family.eV - centres) ** 2).sum("eV") / family.sum("eV"))
    narrowest = 0.2 / np.sqrt(2)
    assert float(widths.min()) == pytest.approx(narrowest, rel=0.05)
    assert float(widths.max()) <= np.hypot(narrowest, 0.4 / 2.3548) * 1.02


def test_members_of_a_family_are_lines_of_their_own_place_and_width():
    narrow = 4 * 0.04 / (2 * np.log(2) ** 0.5)  # four channels wide
    line = peak(width=narrow)
    library = SpectrumLibrary.from_spectra({"a": line}, shift=0.1, broaden=0.1, count=50)
    for member in library["a"]:
        centre = float((member * member.eV).sum() / member.sum())
        width = float(((member * (member.eV - centre) ** 2).sum() / member.sum()) ** 0.5)
        exact = peak(centre, 2**0.5 * width)
        assert narrow / 2**0.5 * 0.999 < width < np.hypot(narrow / 2**0.5, 0.1 / 2.3548) * 1.001
        assert float(np.linalg.norm(member - exact / np.linalg.norm(exact))) < 0.01


def test_splines_do_not_swing_below_the_spectrum():
    step = xr.DataArray(1.0 * (ENERGY < 0.01), {"eV": ENERGY}, "eV")
    library = SpectrumLibrary.from_spectra({"a": step}, shift=0.1, count=50)
    assert float(library["a"].min()) >= 0
    finer = library.on(xr.DataArray(np.linspace(-2, 2, 301), dims="eV", name="eV"))
    assert float(finer["a"].min()) >= 0


def test_a_finer_axis_keeps_the_width_of_lines():
    fine = xr.DataArray(np.linspace(-1.5, 1.5, 301), dims="eV", name="eV")
    moved = SpectrumLibrary.from_spectra({"a": peak(width=0.1)}).on(fine)["a"][0]
    exact = peak(width=0.1, energy=fine.values)
    assert float(np.linalg.norm(moved - exact / np.linalg.norm(exact))) < 0.003


def test_families_stay_as_they_are():
    family = xr.concat([peak(c) for c in (-0.2, 0.0, 0.1)], "sample")
    library = SpectrumLibrary.from_spectra([family, peak(1.0)])
    assert list(library) == ["component 1", "component 2"]
    assert library["component 1"].shape == (3, 101)
    np.testing.assert_allclose(
        library["component 1"], family / np.linalg.norm(family, axis=1, keepdims=True)
    )


def test_maps_are_families():
    grid = peak().expand_dims(x=3, y=4) * xr.DataArray(np.ones((3, 4)), dims=("x", "y"))
    assert SpectrumLibrary({"a": grid})["a"].shape == (12, 101)


def test_lmfit_models():
    models = pytest.importorskip("lmfit.models")
    doublet = models.GaussianModel(prefix="a_") + models.GaussianModel(prefix="b_")
    doublet.set_param_hint("b_center", expr="a_center + 0.8")  # spin-orbit splitting
    doublet.set_param_hint("b_amplitude", expr="0.75 * a_amplitude")
    ranges = {"a_center": (-0.6, -0.4), "a_sigma": (0.05, 0.1), "b_sigma": 0.1, "a_amplitude": 1.0}
    library = SpectrumLibrary.from_lmfit({"4f": (doublet, ranges)}, peak().eV, count=40, rng=1)
    left = library["4f"].sel(eV=slice(-1, 0)).idxmax("eV")
    right = library["4f"].sel(eV=slice(0, 1)).idxmax("eV")
    assert float(left.min()) >= -0.65
    assert float(left.max()) <= -0.35
    np.testing.assert_allclose(right - left, 0.8, atol=0.05)
    again = SpectrumLibrary.from_lmfit({"4f": (doublet, ranges)}, peak().eV, count=40, rng=1)
    xr.testing.assert_equal(library["4f"], again["4f"])


def test_bad_lmfit_ranges():
    models = pytest.importorskip("lmfit.models")
    gauss = models.GaussianModel()
    with pytest.raises(ParameterError, match="centre.*it has"):
        SpectrumLibrary.from_lmfit({"a": (gauss, {"centre": 0.0})}, peak().eV)
    with pytest.raises(ParameterError, match="within it"):
        SpectrumLibrary.from_lmfit({"a": (gauss, {"center": 1e6, "sigma": 0.1})}, peak().eV)


def test_on_another_axis():
    library = SpectrumLibrary.from_spectra({"a": peak()}, shift=0.1, count=5)
    other = peak(energy=np.linspace(1.5, -1.5, 40)).eV
    moved = library.on(other)
    np.testing.assert_allclose(moved.energy, other)
    assert moved["a"].shape == (5, 40)
    np.testing.assert_allclose(moved["a"].idxmax("eV"), library["a"].idxmax("eV"), atol=0.08)
    with pytest.raises(AxisError, match="library only from"):
        library.on(peak(energy=np.linspace(-5, 5, 40)).eV)


@pytest.mark.parametrize(
    ("families", "error", "words"),
    [
        ({}, DataError, "at least one"),
        ({"a": np.ones(5)}, DataTypeError, "DataArray"),
        ({"a": peak() * np.nan}, DataError, "finite"),
        ({"a": peak() * 0}, DataError, "zero"),
        ({"a": peak().rename(eV="other").expand_dims(q=2)}, AxisError, "energy"),
        ({"a": peak().drop_vars("eV")}, AxisError, "no coordinate"),
        ({"a": peak(), "b": peak(energy=ENERGY + 0.01)}, AxisError, "same axes"),
        ({"a": peak() + 1j}, DataTypeError, "real"),
    ],
)
def test_bad_families(families, error, words):
    with pytest.raises(error, match=words):
        SpectrumLibrary(families)


@pytest.mark.parametrize("option", ["shift", "broaden", "strength"])
def test_bad_variations(option):
    with pytest.raises(ParameterError, match=option):
        SpectrumLibrary.from_spectra({"a": peak()}, **{option: -1.0})


def test_uneven_axes_cannot_be_shifted():
    uneven = peak(energy=np.sinh(ENERGY))
    with pytest.raises(AxisError, match="evenly"):
        SpectrumLibrary.from_spectra({"a": uneven}, shift=0.1)
    tilted = SpectrumLibrary.from_spectra({"a": uneven}, strength=0.1, count=3, rng=0)
    assert bool(np.isfinite(tilted["a"]).all())


def test_any_name_of_the_axis():
    """A family says which axis its own is; data may call theirs anything."""
    library = SpectrumLibrary.from_spectra({"a": peak()}, shift=0.1, count=20)
    axis = xr.DataArray(np.linspace(-1, 1, 30), dims="E_kin", name="E_kin")
    moved = library.on(axis.assign_coords(E_kin=axis.values).E_kin)
    assert moved["a"].dims == ("sample", "E_kin")
    assert moved.energy.name == "E_kin"


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (-1.0, "signs are opposite"),
        (1e3, "of the data are 1000"),
        (1e-3, "of the library are 1000"),
    ],
)
def test_energies_of_another_sign_or_unit_are_named(factor, words):
    energy = np.linspace(-36, -29, 60)
    line = xr.DataArray(np.exp(-((energy + 32) ** 2)), {"eV": energy}, "eV")
    library = SpectrumLibrary.from_spectra({"a": line, "b": line}, shift=0.1, count=10, rng=0)
    map_ = xr.DataArray(np.ones((6, 6, 60)), {"eV": factor * energy}, ("y", "x", "eV"))
    with pytest.raises(AxisError, match=words):
        map_.S.separate_sgmca(library=library)
