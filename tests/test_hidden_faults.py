"""What is wrong in few pixels or one channel is left out, or told."""

import numpy as np
import pytest
import torch
import xarray as xr

from arpes_ml_plugins import SpectrumLibrary
from arpes_ml_plugins.separation.offset import common_offset

ENERGY = np.linspace(-36, -29, 60)
CENTRES = (-33.0, -32.0, -31.2)
ROWS, COLUMNS = np.mgrid[:30, :30]
GRAINS = np.stack([COLUMNS < 10, (COLUMNS >= 10) & (ROWS < 15), (COLUMNS >= 10) & (ROWS >= 15)])
pytestmark = pytest.mark.filterwarnings("ignore:separate_")


def doublet(centre, energy=ENERGY):
    def peak(place):
        return np.exp(-4 * np.log(2) * ((energy - place) / 0.5) ** 2)

    return peak(centre) + 0.75 * peak(centre - 2.15) + 0.1


def counts(number, seed=0):
    rate = np.einsum("kyx,ke->yxe", 1.0 * GRAINS, [doublet(c) for c in CENTRES])
    return np.random.default_rng(seed).poisson(number * rate / rate.max()).astype(float)


def labelled(values):
    return xr.DataArray(values, {"eV": ENERGY}, ("y", "x", "eV"))


def library():
    known = {n: xr.DataArray(doublet(c), {"eV": ENERGY}, "eV") for n, c in zip(
        "abc", CENTRES, strict=True)}  # fmt: skip
    return SpectrumLibrary.from_spectra(known, shift=0.1, broaden=0.1, count=100, rng=0)


def angle(result, channels=slice(None)):
    found = result.spectra.values[:, channels]
    truth = np.stack([doublet(c) for c in CENTRES])[:, channels]
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (found, truth)]
    return np.degrees(np.arccos((unit[1] @ unit[0].T).max(1).clip(-1, 1))).max()


def test_a_channel_that_is_hot_in_all_pixels_is_left_out():
    values = counts(50)
    values[:, :, 12] += np.random.default_rng(1).poisson(1000, ROWS.shape)
    others = np.arange(len(ENERGY)) != 12
    for result in (
        labelled(values).S.separate_gmca(n_components=3, rng=0),
        labelled(values).S.separate_sgmca(library=library(), rng=0),
    ):
        assert "equally hot in all pixels" in result.status.item()
        assert "no spectrum close" not in result.status.item()
        assert angle(result, others) < 1.5


def test_a_hot_channel_has_no_weight_in_maps_of_known_spectra():
    values = counts(50)
    known = {n: xr.DataArray(doublet(c), {"eV": ENERGY}, "eV") for n, c in zip(
        "abc", CENTRES, strict=True)}  # fmt: skip
    right = labelled(values).S.unmix(spectra=known)
    values[:, :, 12] += np.random.default_rng(1).poisson(1000, ROWS.shape)
    with pytest.warns(match="1 channel is dead, constant, or equally hot in all pixels"):
        result = labelled(values).S.unmix(spectra=known)
    assert result.status.item().startswith("1 channel")
    assert ";" not in result.status.item()
    stuck = counts(50)
    stuck[:, :, 12] = 70
    with pytest.warns(match="1 channel is dead, constant"):
        other = labelled(stuck).S.unmix(spectra=known)
    for one in (result, other):
        assert float(((one.maps - right.maps) / right.maps_stderr).std()) < 0.7
        assert bool(one.residual.isel(eV=12).isnull().all())
    assert right.status.item() == "ok"


@pytest.mark.parametrize("seed", [0, 1])
def test_channels_beside_zero_after_a_subtraction_are_not_hot(seed):
    values = counts(200, seed)
    ends = values[..., :3].mean(-1), values[..., -3:].mean(-1)
    values -= np.linspace(*ends, len(ENERGY)).transpose(1, 2, 0)
    result = labelled(values).S.separate_gmca(n_components=3, rng=0)
    assert "left out" not in result.status.item()
    assert bool(result.spectra.notnull().all())


def test_a_narrow_line_of_one_material_is_not_hot():
    values = counts(50)
    values[:, :15, 12] += np.random.default_rng(1).poisson(500, (30, 15))
    result = labelled(values).S.separate_gmca(n_components=3, rng=0)
    assert "hot" not in result.status.item()
    assert bool(result.spectra.isel(eV=12).notnull().all())


@pytest.mark.parametrize("number", [4, 100])
def test_dead_pixels_are_not_dark_ones(number):
    values = counts(number)
    values[17] = values[4, 6] = 0
    result = labelled(values).S.separate_gmca(n_components=3, rng=0)
    assert "31 pixels hold nothing but zeros" in result.status.item()
    assert bool(result.residual_chi2.isel(y=17).isnull().all())
    dark = counts(number)
    dark[:, 25:] = 0  # vacuum
    assert "zeros" not in labelled(dark).S.separate_gmca(n_components=3, rng=0).status.item()


def test_few_pixels_of_something_else_are_told():
    values = counts(10)
    values[5:8, 20, 20:26] += 100
    result = labelled(values).S.separate_sgmca(library=library(), rng=0)
    assert "3 pixels differ from all the components" in result.status.item()
    right = labelled(counts(10)).S.separate_sgmca(library=library(), rng=0)
    assert right.status.item() == "ok"


@pytest.mark.parametrize("off", [0.5, -0.5])
def test_an_offset_of_lines_at_the_ends_of_the_axis_is_found(off):
    wide = np.linspace(-37, -28, 200)
    near = (wide > -35.3) & (wide < -30.9)
    step = wide[1] - wide[0]
    rate = np.einsum(
        "kp,ke->ep", GRAINS.reshape(3, -1) * 1.0, [doublet(c, wide[near]) for c in CENTRES]
    )
    pixels = torch.from_numpy(np.random.default_rng(0).poisson(50 * rate).astype(float))
    moved = torch.from_numpy(np.stack([doublet(c + off, wide[near]) for c in CENTRES]))
    found = common_offset(pixels, pixels.mean(1).sqrt(), moved)
    assert found is not None
    assert found * step == pytest.approx(-off, abs=step / 2)
    right = torch.from_numpy(np.stack([doublet(c, wide[near]) for c in CENTRES]))
    assert common_offset(pixels, pixels.mean(1).sqrt(), right) is None
