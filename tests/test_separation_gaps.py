"""Scattered missing values cost a separation next to nothing: spectra, noise and chi^2."""

from functools import cache

import numpy as np
import pytest
import torch
import xarray as xr

import arpes_ml_plugins  # noqa: F401
from arpes_ml_plugins.errors import DistributionWarning
from arpes_ml_plugins.labelled.border import Cube
from arpes_ml_plugins.methods.gaps_run import without_dead
from arpes_ml_plugins.separation.gaps import filled, hot_values
from arpes_ml_plugins.separation.value_noise import ValueNoise
from arpes_ml_plugins.separation.whiten import channel_noise

ENERGY = np.linspace(-36, -29, 40)
CENTRES = np.array([-33.0, -32.0, -31.2])
ROWS, COLUMNS = np.mgrid[:28, :28]
MAPS = np.stack(
    [COLUMNS < 10, 0.8 * ((COLUMNS >= 10) & (ROWS < 14)), 0.6 * ((COLUMNS >= 10) & (ROWS >= 14))]
)


def doublet(centre):
    def peak(at):
        return np.exp(-4 * np.log(2) * ((ENERGY - at) / 0.5) ** 2)

    return peak(centre) + 0.75 * peak(centre - 2.15) + 0.1


SPECTRA = np.stack([doublet(centre) for centre in CENTRES])
EXPECTED = np.einsum("nyx,ne->yxe", MAPS, SPECTRA)
SIGMA = 0.02


def measured(noise):
    rng = np.random.default_rng(3)
    if noise == "counts":
        return rng.poisson(100 * EXPECTED).astype(float)
    return EXPECTED + SIGMA * rng.standard_normal(EXPECTED.shape)


def with_gaps(values, share, seed=1):
    return np.where(np.random.default_rng(seed).random(values.shape) < share, np.nan, values)


def separated(values):
    data = xr.DataArray(values, {"eV": ENERGY}, ("y", "x", "eV"))
    return data.S.separate_gmca(n_components=3, shift=False, rng=0)


@cache
def planted(noise, share):
    """The same data are complete for a share of 0."""
    return separated(with_gaps(measured(noise), share))


def angle(result):
    found, true = (
        rows / np.linalg.norm(rows, axis=1, keepdims=True)
        for rows in (result.spectra.values, SPECTRA)
    )
    return np.degrees(np.arccos(np.clip((found @ true.T).max(0), -1, 1))).max()


@pytest.mark.parametrize("noise", ["gaussian", "counts"])
def test_spectra_and_chi2_are_those_of_complete_data(noise):
    complete = angle(planted(noise, 0))
    for share in (0.08, 0.2):
        result = planted(noise, share)
        assert angle(result) < complete + 0.2
        assert 0.95 < result.residual_chi2.mean() < 1.06
        assert result.status.item() == "ok"


def test_errors_of_maps_are_those_of_complete_data():
    """Less the values that are missing: the errors of the spectra count in every pixel."""
    complete, result = (planted("gaussian", share).maps_stderr for share in (0, 0.2))
    ratio = result.mean(("y", "x")) / complete.mean(("y", "x"))
    np.testing.assert_allclose(ratio * 0.8**0.5, 1, atol=0.1)


def _labelled(spectra):
    return [xr.DataArray(one, {"eV": ENERGY}, "eV") for one in spectra]


def test_bands_count_measured_values_only():
    """On the right there are two components, which takes less time."""
    values = with_gaps(measured("gaussian"), 0.2)[:, 10:]
    data = xr.DataArray(values, {"eV": ENERGY}, ("y", "x", "eV"))
    spectra = dict(zip("bc", _labelled(SPECTRA[1:]), strict=True))
    with pytest.warns(DistributionWarning, match="not determined"):
        bands = data.S.feasible_bands(spectra=spectra, noise=SIGMA)
    assert 0.95 < bands.residual_chi2.mean() < 1.05
    true = SPECTRA[1:] / SPECTRA[1:].max(1, keepdims=True)
    within = (bands.spectra_lower <= true) & (true <= bands.spectra_upper)
    assert within.mean() > 0.95


@pytest.mark.parametrize("share", [0.02, 0.2, 0.4])
def test_filled_values_follow_from_the_others(share):
    """Whatever a value was filled with at first, no direction may keep it."""
    values = torch.from_numpy(measured("gaussian").reshape(-1, len(ENERGY)).T.copy())
    truth = torch.from_numpy(EXPECTED.reshape(-1, len(ENERGY)).T.copy())
    valid = torch.from_numpy(np.random.default_rng(0).random(values.shape) >= share)
    noise = torch.full((len(values),), SIGMA, dtype=values.dtype)
    found = filled(torch.where(valid, values, 0.0), valid, noise, 3)
    assert torch.equal(found[valid], values[valid])
    assert float((found - truth)[~valid].square().mean().sqrt()) < 0.6 * SIGMA


def test_noise_is_that_of_measured_values():
    """Filled values hold no noise, which must not make that of the others smaller."""
    values = torch.from_numpy(measured("gaussian").transpose(2, 0, 1).copy())
    truth = torch.from_numpy(EXPECTED.transpose(2, 0, 1).copy())
    seen = torch.from_numpy(np.random.default_rng(0).random(values.shape) >= 0.3)
    whole = torch.ones(values.shape[1:], dtype=torch.bool)
    found = channel_noise(torch.where(seen, values, truth), whole, seen)
    assert float(found.mean()) == pytest.approx(SIGMA, rel=0.08)
    everything = torch.ones_like(seen)
    assert torch.equal(channel_noise(values, whole, everything), channel_noise(values, whole))


def test_dead_channels_count_as_missing():
    """Zeros in all pixels between bright channels; not those of a gap or of the dark end."""
    values = measured("counts")
    values[..., 16] = 0
    with pytest.warns(DistributionWarning, match="1 channel without values .* was left out"):
        result = separated(values)
    assert result.spectra.isnull().all("component").values.nonzero()[0].tolist() == [16]
    alive = np.arange(len(ENERGY)) != 16
    true = SPECTRA[:, alive] / np.linalg.norm(SPECTRA[:, alive], axis=1, keepdims=True)
    found = result.spectra.values[:, alive]
    found = found / np.linalg.norm(found, axis=1, keepdims=True)
    assert np.degrees(np.arccos((found @ true.T).max(0))).max() < angle(planted("counts", 0)) + 0.2
    dark = measured("counts")
    dark[..., 15:20] = dark[..., :2] = 0
    cube = torch.from_numpy(dark.transpose(2, 0, 1).copy())
    whole = Cube(cube, torch.ones_like(cube, dtype=torch.bool), None)
    noise = ValueNoise(1.0, 0.0, cube.flatten(1).mean(1))
    assert without_dead(whole, noise) is whole


def test_gaps_are_not_dark_surroundings_of_hot_values():
    """Three of five values beside one may be missing: that does not make the rest stick out."""
    rng = np.random.default_rng(5)
    noise = torch.full((len(ENERGY),), 0.005, dtype=torch.float64)
    for seed in range(3):
        values = with_gaps(EXPECTED + 0.005 * rng.standard_normal(EXPECTED.shape), 0.3, seed)
        cube = torch.from_numpy(values.transpose(2, 0, 1).copy())
        assert not hot_values(cube.nan_to_num(), cube.isfinite(), noise).any()
        cube[20, 15, 3] = 1e3
        hot = hot_values(cube.nan_to_num(), cube.isfinite(), noise)
        assert hot.nonzero().tolist() == [[20, 15, 3]]
    # Four pixels have fewer than half of their values, beside edges that they must not blur.
    assert (np.isfinite(values).mean(-1) < 0.5).sum() == 4
    assert separated(values).status.item() == "ok"


@pytest.mark.parametrize("noise", ["gaussian", "counts"])
def test_errors_of_spectra_are_those_of_what_was_measured(noise):
    """Half of a spectrum is seen in a seventh of its pixels."""
    pulls = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        values = EXPECTED + SIGMA * rng.standard_normal(EXPECTED.shape)
        values = rng.poisson(100 * EXPECTED) * 1.0 if noise == "counts" else values
        values[:12, :, 20:] = np.nan
        result = separated(values)
        assert result.status.item() == "ok"
        true = SPECTRA[1] / SPECTRA[1].max()
        own = result.isel(component=int((result.spectra.values @ true).argmax()))
        scale = float(own.spectra @ xr.DataArray(true, dims="eV")) / (true @ true)
        pulls.append(((own.spectra - scale * true) / own.spectra_stderr)[20:])
    assert 0.5 < np.sqrt(np.square(pulls).mean()) < 1.5


def test_channels_in_which_a_component_was_never_measured_are_told():
    values = measured("counts")
    values[MAPS[1] > 0, 20:] = np.nan
    with pytest.warns(DistributionWarning, match="not known where no pixel .* at 20 channels"):
        separated(values)
