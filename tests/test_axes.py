"""Axes by role."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from arpes_ml_plugins import simulate_scene
from arpes_ml_plugins.errors import AxisError
from arpes_ml_plugins.labelled.axes import ROLES, find_axis, resolve_dims
from arpes_ml_plugins.labelled.spectrum import select_spectrum

IMAGE = ("energy", "momentum")


def array(*dims: str) -> xr.DataArray:
    return xr.DataArray(np.zeros([2] * len(dims)), dims=dims)


@pytest.mark.parametrize(
    ("dims", "expected"),
    [
        (("phi", "eV"), ("eV", "phi")),  # PyARPES cut
        (("theta", "eV", "phi"), ("eV", "phi")),  # PyARPES map: phi is the slit
        (("hv", "eV", "phi"), ("eV", "phi")),
        (("temperature", "eV", "phi"), ("eV", "phi")),
        (("eV", "kp"), ("eV", "kp")),
        (("eV", "kp", "kz"), ("eV", "kp")),
        (("alpha", "eV", "beta"), ("eV", "alpha")),  # erlab
        (("theta_par", "eV", "polar"), ("eV", "theta_par")),  # peaks
        (("temperature", "eV"), ("eV", "temperature")),  # only one axis is left
        (("kz", "omega"), ("omega", "kz")),
        (("kx", "ky"), ("kx", "ky")),  # at constant energy
        (("ky", "kx"), ("ky", "kx")),
        (("theta", "phi"), ("theta", "phi")),
        (("phi", "theta"), ("theta", "phi")),  # phi is the slit
        (("alpha", "beta"), ("beta", "alpha")),
        (("polar", "theta_par"), ("polar", "theta_par")),
        (("kx", "ky", "eV"), ("eV", "kx")),  # a volume: kx before ky, of one length
        (("eV", "ky", "kx"), ("eV", "kx")),
        (("kx", "ky", "energy", "delay"), ("energy", "kx")),  # sed
        (("Angle", "Ekin"), ("Ekin", "Angle")),  # specsanalyzer
        (("Angle", "Kinetic Energy"), ("Kinetic Energy", "Angle")),  # ARpest
        (("Kinetic Energy [eV]", "Y-Scale [deg]"), ("Kinetic Energy [eV]", "Y-Scale [deg]")),
        (("Thetay [deg]", "Thetax [deg]", "Energy [eV]"), ("Energy [eV]", "Thetax [deg]")),
        (("deflector", "analyzer", "E-E_F"), ("E-E_F", "analyzer")),
        (("defl_perp", "k_par", "eV"), ("eV", "k_par")),  # peaks
        (("angular0", "angular1", "energy"), ("energy", "angular0")),  # NXmpes
        (("hv", "THETA_PAR", "Binding Energy"), ("Binding Energy", "THETA_PAR")),
        (("kx", "ky", "tof"), ("tof", "kx")),
        (("kx", "ky", "delay"), ("kx", "ky")),  # maps at constant energy, scanned
        (("temperature", "theta", "phi"), ("theta", "phi")),
    ],
)
def test_image_axes(dims, expected):
    assert resolve_dims(array(*dims), IMAGE) == expected


def test_few_energies_make_no_image():
    """A momentum microscope that stepped through some energies has images of two momenta."""
    some = xr.DataArray(np.zeros((10, 40, 40)), dims=("eV", "kx", "ky"))
    assert resolve_dims(some, IMAGE) == ("kx", "ky")
    assert resolve_dims(some.transpose("kx", "eV", "ky"), IMAGE) == ("kx", "ky")
    assert resolve_dims(some.rename(kx="theta", ky="phi"), IMAGE) == ("theta", "phi")
    more = xr.DataArray(np.zeros((16, 40, 40)), dims=("eV", "kx", "ky"))
    narrow = xr.DataArray(np.zeros((10, 40, 12)), dims=("eV", "kx", "ky"))
    assert resolve_dims(more, IMAGE) == resolve_dims(narrow, IMAGE) == ("eV", "kx")


@pytest.mark.parametrize(
    ("dims", "words"),
    [
        (("phi", "theta", "x"), "no energy axis.*dims="),
        (("phi", "theta_par", "eV"), "'phi' and 'theta_par'.*dims="),
        (("kx", "ky", "w"), r"no energy axis.*dims="),  # w may be the energy
        (("X", "Y", "energy"), "no momentum axis.*dims="),  # space, or a detector's pixels
        (("kx", "ky", "kz"), r"no energy axis.*dims=\('ky', 'kx'\)"),
        (("y", "x"), r"no energy or momentum axis.*dims=\('y', 'x'\)"),
        (("y", "x", "eV"), r"no momentum axis.*dims=\('eV', 'y'\)"),
        (("eV", "energy", "phi"), "'eV' and 'energy'"),
        (("eV",), "^expected data along energy and momentum, got the dimensions eV"),
        (("a", "b"), r"^no energy or momentum axis among the dimensions a .*dims=\('a', 'b'\)"),
        ((), "single number"),
    ],
)
def test_ambiguous_or_missing(dims, words):
    with pytest.raises(AxisError, match=words):
        resolve_dims(array(*dims), IMAGE)


@pytest.mark.parametrize("role", sorted(ROLES))
def test_the_point_comes_first_and_names_are_few(role):
    """An error begins with what is wrong, and lists no more names than a reader takes in."""
    with pytest.raises(AxisError) as raised:
        find_axis(array("a", "b"), role)
    words = str(raised.value)
    assert words.startswith(f"no {role} axis among the dimensions a (")
    assert f"dims={{'{role}': ...}}" in words[:120]
    assert ROLES[role][0][0] in words
    assert len(words) < 330


def test_a_fermi_map_among_single_points():
    data = xr.DataArray(np.zeros((1, 5, 5)), dims=("eV", "kx", "ky"))
    assert resolve_dims(data, IMAGE) == ("kx", "ky")
    assert resolve_dims(data.isel(eV=0), IMAGE, {"momentum": "kx"}) == ("ky", "kx")
    assert resolve_dims(data.isel(eV=0), IMAGE, {"energy": "ky"}) == ("ky", "kx")


def test_of_two_momenta_the_longer_one():
    data = xr.DataArray(np.zeros((4, 6, 5)), dims=("kx", "ky", "eV"))
    assert resolve_dims(data, IMAGE) == ("eV", "ky")
    assert resolve_dims(data.transpose(), IMAGE) == ("eV", "ky")


def test_two_momenta_are_an_image_only():
    with pytest.raises(AxisError, match="no energy axis"):
        resolve_dims(array("kx", "ky"), ("energy",))


def test_dims_override():
    data = array("kx", "ky", "eV")
    assert resolve_dims(data, IMAGE, {"momentum": "ky"}) == ("eV", "ky")
    assert resolve_dims(data, IMAGE, ("kx", "ky")) == ("kx", "ky")


@pytest.mark.parametrize(
    ("dims", "words"),
    [
        ("eV", "one dimension for each"),
        (("eV",), "one dimension for each"),
        ({"tau": "eV"}, "role 'tau'"),
        ({"energy": "nope"}, "'nope'"),
        (("eV", "eV"), "different dimensions"),
        (5, "one dimension for each"),
        ({"kx", "eV"}, "one dimension for each"),
    ],
)
def test_wrong_override(dims, words):
    with pytest.raises(AxisError, match=words):
        resolve_dims(array("kx", "ky", "eV"), IMAGE, dims)


@pytest.mark.parametrize("name", ["BINDING_ENERGY", "Binding energy (eV)", "bindingEnergy"])
def test_case_separators_and_units_do_not_matter(name):
    assert find_axis(array("phi", name), "energy") == name


def test_single_letters_keep_their_case():
    assert find_axis(array("t", "T"), "time") == "t"
    with pytest.raises(AxisError, match="no time axis"):
        find_axis(array("T", "eV"), "time")


def test_a_momentum_volume_is_denoised():
    volume = simulate_scene((20, 18), slices=16, counts=20, rng=0).spectrum
    renamed = volume.rename(scan="kx", eV="Kinetic Energy", phi="ky")
    clean = renamed.S.denoise_pretrained(adapt=False, gain=1, mesh=None, rng=0)
    assert clean.dims == renamed.dims
    assert clean.attrs["provenance"]["record"]["found"]["series"] == ["kx"]


def test_unknown_role():
    with pytest.raises(AxisError, match="spin"):
        find_axis(array("eV"), "spin")


def test_resolver_is_asked_and_checked():
    data = array("w", "q", "r")
    names = {"energy": "w", "momentum": "q"}
    assert resolve_dims(data, IMAGE, resolver=lambda d, role: names[role]) == ("w", "q")
    # An answer that does not fit these data leaves the names that everybody knows.
    known = array("eV", "phi", "r")
    assert resolve_dims(known, IMAGE, resolver=lambda d, role: names[role]) == ("eV", "phi")
    with pytest.raises(AxisError, match="no energy or momentum axis"):
        resolve_dims(data, IMAGE, resolver=lambda d, role: "gone")


def test_single_points_are_no_axes():
    data = xr.DataArray(np.zeros((1, 5, 5)), dims=("phi", "ky", "eV"))
    assert resolve_dims(data, IMAGE) == ("eV", "ky")


class TestSpectrumOfADataset:
    def test_by_name(self):
        data = xr.Dataset({"other": array("phi", "eV"), "spectrum": array("phi", "eV")})
        assert select_spectrum(data)[1] == "spectrum"

    def test_the_only_one_with_energy(self):
        data = xr.Dataset({"a": array("phi", "eV"), "b": array("x", "y"), "t": 0.0})
        assert select_spectrum(data)[1] == "a"

    def test_names_of_any_kind(self):
        data = xr.Dataset({0: array("phi", "eV")})
        assert select_spectrum(data)[1] == 0
        assert list(data.S.decompose_pcp().low_rank.dims) == ["phi", "eV"]

    def test_undecidable(self):
        data = xr.Dataset({"up": array("phi", "eV"), "down": array("phi", "eV")})
        with pytest.raises(AxisError, match="up, down"):
            select_spectrum(data)
