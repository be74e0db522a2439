"""Energies that shift from pixel to pixel, and the noise of counts, in separations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from arpes_ml_plugins import SpectrumLibrary
from arpes_ml_plugins.errors import AxisError, DistributionWarning, ParameterError
from arpes_ml_plugins.separation.known_shift import find_known_shifts
from arpes_ml_plugins.separation.moved_spectra import energy_variance
from arpes_ml_plugins.separation.shift_scan import moved
from arpes_ml_plugins.separation.value_noise import value_noise

ENERGY = np.linspace(-6, 0, 61)
LINES = {"metal": -1.8, "oxide": -3.4}
ROWS, COLUMNS = np.mgrid[:30, :32]
STILL = np.zeros(ROWS.shape)
RAMP = 0.25 * (COLUMNS / 15.5 - 1)
GRAINS = np.where(ROWS < 12, -0.15, 0.1) + np.where(COLUMNS > 20, 0.12, 0.0)
shifted = pytest.mark.filterwarnings("ignore:separate_")
mixed_everywhere = pytest.mark.filterwarnings(
    "ignore:.*not determined:arpes_ml_plugins.errors.DistributionWarning"
)


def line(centre, energy=ENERGY):
    return np.exp(-((energy - centre) ** 2) / (2 * 0.22**2)) + 0.3 * (energy > centre) + 0.1


def maps():
    share = 1 / (1 + np.exp(-(ROWS - 15 + 6 * np.sin(COLUMNS / 5)) / 1.5))
    return np.stack([share, 1 - share])


def mixture(shift, counts, seed=0):
    moved_lines = [line(centre, ENERGY - shift[..., None]) for centre in LINES.values()]
    total = sum(m[..., None] * part for m, part in zip(maps(), moved_lines, strict=True))
    values = np.random.default_rng(seed).poisson(counts * total / total.max())
    return xr.DataArray(values.astype(float), {"eV": ENERGY}, ("y", "x", "eV"))


def library(**options):
    spectra = {n: xr.DataArray(line(c), {"eV": ENERGY}, "eV") for n, c in LINES.items()}
    varied = {"shift": 0.2, "broaden": 0.1, "count": 300} | options
    return SpectrumLibrary.from_spectra(spectra, **varied)


def angle(result):
    truth = np.stack([line(c) for c in LINES.values()])
    found = result.spectra.values
    cosine = (found * truth).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(truth, axis=1)
    return np.degrees(np.arccos(cosine.clip(-1, 1))).max()


@shifted
@pytest.mark.parametrize(
    "method", ["separate_sgmca", pytest.param("separate_lpalm", marks=pytest.mark.slow)]
)
def test_a_map_that_charges_up_is_no_chemistry(method):
    data = mixture(RAMP, 200)
    options = {"rng": 0}
    known = {"library": library()}
    if method == "separate_lpalm":
        options |= {"training_steps": 120, "layers": 8}
    result = getattr(data.S, method)(**known, **options)
    assert "energies shift" in result.status.item()
    assert angle(result) < 4
    off = result["shift"].values - (RAMP - np.mean(RAMP))
    assert off.std() < 0.02
    assert (np.abs(off) < 3 * result["shift_stderr"].values).mean() > 0.9
    assert float(result.residual_chi2.mean()) == pytest.approx(1, abs=0.12)
    left = getattr(data.S, method)(**known, **options, shift=False)
    assert "do not explain" in left.status.item()
    assert (left["shift"] == 0).all()
    assert left["shift_stderr"].isnull().all()


@shifted
def test_shifts_that_follow_a_component_are_told():
    charged = maps()[0] - maps()[0].mean()
    status = mixture(0.3 * charged, 200).S.separate_sgmca(library=library(), rng=0).status.item()
    assert "the shifts follow the maps of the components" in status
    status = mixture(RAMP, 200).S.separate_sgmca(library=library(), rng=0).status.item()
    assert "follow" not in status


@shifted
@pytest.mark.parametrize("off", [0.5, -0.4])
def test_an_offset_of_all_references_is_named(off):
    data = mixture(0 * RAMP, 100)
    moved_lines = {n: xr.DataArray(line(c + off), {"eV": ENERGY}, "eV") for n, c in LINES.items()}
    wrong = SpectrumLibrary.from_spectra(moved_lines, shift=0.1)
    status = data.S.separate_sgmca(library=wrong, rng=0).status.item()
    named = float(status.split("if they are moved by ")[1].split(" ")[0])
    assert named == pytest.approx(-off, abs=abs(ENERGY[1] - ENERGY[0]) / 2)
    assert "moved by" not in data.S.separate_sgmca(library=library(), rng=0).status.item()


def grains_beside_each_other(ramp, counts):
    """Three states that share no pixel, so that nothing but their borders ties their energies."""
    energy, centres = np.linspace(-36, -29, 60), (-33.0, -32.0, -31.2)
    rows, columns = np.mgrid[:30, :30]
    grains = [columns < 10, (columns >= 10) & (rows < 15), (columns >= 10) & (rows >= 15)]
    shift = ramp * (columns / 14.5 - 1)
    total = sum(g[..., None] * line(c, energy - shift[..., None]) for g, c in zip(
        grains, centres, strict=True))  # fmt: skip
    values = np.random.default_rng(0).poisson(counts * total / total.max()).astype(float)
    known = {c: xr.DataArray(line(c, energy), {"eV": energy}, "eV") for c in centres}
    library = SpectrumLibrary.from_spectra(
        {str(c): one for c, one in known.items()}, shift=0.25, broaden=0.1, count=300, rng=0
    )
    return xr.DataArray(values, {"eV": energy}, ("y", "x", "eV")), library, shift


@shifted
@pytest.mark.parametrize(
    ("ramp", "counts", "limit"), [(0.1, 10, 3), pytest.param(0.3, 300, 1.2, marks=pytest.mark.slow)]
)
def test_grains_that_share_no_pixel_keep_their_distances(ramp, counts, limit):
    data, library, shift = grains_beside_each_other(ramp, counts)
    result = data.S.separate_sgmca(library=library, rng=0)
    found, truth = result.spectra.values, [line(float(c), data.eV.values) for c in library]
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (found, truth)]
    assert np.degrees(np.arccos((unit[0] * unit[1]).sum(1).clip(-1, 1))).max() < limit
    assert (result["shift"].values - shift).std() < 0.03
    assert "corrected" in result.status.item()
    assert "largest shift" not in result.status.item()


@pytest.mark.slow
@shifted
def test_a_ramp_beyond_the_largest_shift_is_told():
    data, library, _ = grains_beside_each_other(0.6, 100)
    status = data.S.separate_sgmca(library=library, rng=0).status.item()
    assert "the largest shift looked for" in status


@mixed_everywhere
@pytest.mark.parametrize("method", ["separate_gmca", "separate_nmf"])
def test_blind_methods_point_it_out(method):
    with pytest.warns(DistributionWarning, match="shift from pixel to pixel"):
        getattr(mixture(RAMP, 100).S, method)(n_components=2, rng=0)
    still = getattr(mixture(STILL, 100).S, method)(n_components=2, rng=0)
    assert "shift" not in still.status.item()


@shifted
@pytest.mark.parametrize("counts", [10, pytest.param(1000, marks=pytest.mark.slow)])
def test_grains(counts):
    result = mixture(GRAINS, counts).S.separate_sgmca(library=library(), rng=0)
    off = result["shift"].values - (GRAINS - np.mean(GRAINS))
    assert off.std() < 0.035
    assert np.median(np.abs(off)) < 0.02


@pytest.mark.parametrize("counts", [3, 10, 100, 1000])
def test_without_shifts_nothing_changes(counts):
    data = mixture(STILL, counts)
    one = data.S.separate_sgmca(library=library(), rng=0)
    other = data.S.separate_sgmca(library=library(), rng=0, shift=False)
    assert one.status.item() == "ok"
    assert (one["shift"] == 0).all()
    np.testing.assert_array_equal(one.spectra, other.spectra)


@shifted
def test_a_library_of_other_spectra_is_no_shift():
    wrong = {
        n: xr.DataArray(line(c), {"eV": ENERGY}, "eV") for n, c in {"a": -1.8, "b": -5}.items()
    }
    families = SpectrumLibrary.from_spectra(wrong, shift=0.1, count=100)
    result = mixture(STILL, 300).S.separate_sgmca(library=families, rng=0)
    assert "energies shift" not in result.status.item()


def test_what_cannot_be_asked_for():
    data = mixture(STILL, 30)
    with pytest.raises(ParameterError, match="library of all components"):
        data.S.separate_sgmca(library=library(), n_components=3, shift=True)
    with pytest.raises(ParameterError, match="shift must be"):
        data.S.separate_sgmca(library=library(), shift=-0.1)
    uneven = data.assign_coords(eV=np.sign(ENERGY) * 6 * np.abs(ENERGY / 6) ** 1.1)
    with pytest.raises(AxisError, match="evenly spaced"):
        uneven.S.separate_sgmca(library=library(), shift=True)


def test_moved_and_moved_back():
    energy = torch.linspace(-6, 0, 121, dtype=torch.float64)[:, None]
    centres = torch.tensor([-3.1, -2.2])
    lines = torch.exp(-((energy - centres) ** 2) / 0.1)
    there = moved(lines, torch.tensor([3.3, -1.7]))
    exact = torch.exp(-((energy - centres - 0.05 * torch.tensor([3.3, -1.7])) ** 2) / 0.1)
    assert (there - exact).abs().max() < 0.01
    assert (moved(there, -torch.tensor([3.3, -1.7])) - lines).abs().max() < 0.02


@pytest.mark.parametrize("counts", [2, 5, 50, 500])
@pytest.mark.parametrize("gain", [1.0, 26.0])
def test_counts_that_the_right_library_explains_are_ok(counts, gain):
    data = gain * mixture(STILL, counts)
    result = data.S.separate_sgmca(library=library(), rng=0)
    assert result.status.item() == "ok"
    assert float(result.residual_chi2.mean()) == pytest.approx(1, abs=0.1)
    brightness = data.sum("eV")
    related = np.corrcoef(result.residual_chi2.values.ravel(), brightness.values.ravel())[0, 1]
    assert abs(related) < 0.15


@shifted
@pytest.mark.parametrize("counts", [30, 300])
def test_one_component_too_few_is_told(counts):
    result = mixture(STILL, counts).S.separate_nmf(n_components=1, rng=0)
    assert "do not explain" in result.status.item()
    with pytest.warns(DistributionWarning, match="do not explain"):
        mixture(STILL, counts).S.separate_gmca(n_components=1, rng=0)


def test_noise_that_is_not_of_counts_stays_by_channel():
    expected = mixture(STILL, 1e7).values / 1e7
    noise = 0.01 + 0.03 * np.linspace(0, 1, 61) ** 2
    values = expected + noise * np.random.default_rng(0).standard_normal(expected.shape)
    cube = torch.from_numpy(np.moveaxis(values, -1, 0).copy())
    valid = torch.ones_like(cube, dtype=torch.bool)
    assert value_noise(cube, valid) is None


@mixed_everywhere
@pytest.mark.parametrize("method", ["separate_gmca", "separate_nmf"])
def test_scattered_gaps_cost_little(method):
    """At 8 % of the values one pixel in 160 is complete."""
    data = mixture(STILL, 100)
    gaps = data.where(np.random.default_rng(0).random(data.shape) > 0.08)
    assert int(gaps.notnull().all("eV").sum()) < 20
    whole, result = (getattr(d.S, method)(n_components=2, rng=0) for d in (data, gaps))
    assert angle(result) < angle(whole) + 1
    assert result.status.item().startswith("'1', '2' are not determined")
    assert ";" not in result.status.item().removesuffix("; give a library, or references")
    assert result.maps.notnull().all()
    assert (result.residual.isnull() == gaps.isnull()).all()


@mixed_everywhere
def test_one_hot_value_is_left_out():
    data = mixture(STILL, 100)
    hot = data.copy(deep=True)
    hot[11, 7, 30] = 1e6
    whole = data.S.separate_gmca(n_components=2, rng=0)
    with pytest.warns(DistributionWarning, match="1 hot value was left out"):
        result = hot.S.separate_gmca(n_components=2, rng=0)
    assert angle(result) < angle(whole) + 0.3
    assert hot[11, 7, 30] == 1e6
    assert int(hot.S.choose_components(rng=0).recommended) == 2


@shifted
@pytest.mark.parametrize("counts", [1, 3, 30])
def test_counts_are_not_hot_nor_is_a_bright_grain(counts):
    expected = mixture(STILL, 1e7) / 1e7 * counts
    expected[5, 5] *= 40
    grain = expected.copy(data=np.random.default_rng(1).poisson(expected).astype(float))
    result = grain.S.separate_nmf(n_components=2, rng=0)
    assert "hot" not in result.status.item()


def smooth(centre, energy=ENERGY):
    return np.exp(-((energy - centre) ** 2) / (2 * 0.22**2)) + 0.1


def test_spectra_and_shifts_found_together_state_their_errors():
    """Lines beside those of the library: the energies of spectra follow from shifted pixels."""
    shift = 0.15 * np.sin(ROWS / 6 + 1) * np.cos(COLUMNS / 9)
    at = ENERGY[:, None, None] - shift
    total = sum(m * smooth(c, at) for m, c in zip(maps(), LINES.values(), strict=True))
    cube = torch.from_numpy(np.random.default_rng(4).poisson(1000 * total).astype(float))
    noise = value_noise(cube, torch.ones_like(cube, dtype=torch.bool))
    beside = torch.from_numpy(np.stack([smooth(-1.85), smooth(-3.35)]))
    scale = cube.mean((1, 2)).clamp(min=1).sqrt()
    found = find_known_shifts(
        cube.flatten(1), scale, beside, 0.1, tuple(cube.shape[1:]), by_value=noise
    )
    off = (found.shift - found.shift.new_tensor((shift - shift.mean()).ravel())).numpy()
    share = (maps() / maps().sum(0)).reshape(2, -1)
    energies = np.linalg.lstsq(share.T, off, rcond=None)[0]
    assert (np.abs(energies) < 2.5 * found.energies.numpy()).all()
    assert (np.abs(energies) < 0.002).all()
    within = (np.abs(off) < found.stderr.numpy()).mean()
    assert 0.6 < within < 0.8


def test_errors_of_spectra_contain_those_of_their_energies():
    spectra = torch.from_numpy(np.stack([smooth(-1.8), smooth(-3.4)], 1))
    error = spectra.new_tensor([0.01, 0.01])
    shifting = torch.from_numpy(np.stack([smooth(-1.8 + d) for d in np.linspace(-0.2, 0.2, 30)]))
    stderr = energy_variance(spectra, error, [shifting, spectra[:, [1]].mT], 0.1).sqrt().numpy()
    moved_by_one = np.abs(smooth(-1.79) - smooth(-1.81)) / 2
    assert np.abs(stderr[:, 0] - moved_by_one).max() < 0.05 * moved_by_one.max()
    assert not stderr[:, 1].any()  # known exactly
