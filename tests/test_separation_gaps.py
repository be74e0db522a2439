"""Scattered missing values cost a separation next to nothing: spectra, noise and chi^2."""

import numpy as np
import pytest
import torch
import xarray as xr

import arpes_ml_plugins  # noqa: F401
from arpes_ml_plugins.errors import DistributionWarning
from arpes_ml_plugins.separation.gaps import filled
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
    return data, data.S.separate_gmca(n_components=3, shift=False, rng=0)


def angle(result):
    found, true = (
        rows / np.linalg.norm(rows, axis=1, keepdims=True)
        for rows in (result.spectra.values, SPECTRA)
    )
    return np.degrees(np.arccos(np.clip((found @ true.T).max(0), -1, 1))).max()


@pytest.mark.parametrize("noise", ["gaussian", "counts"])
def test_spectra_and_chi2_are_those_of_complete_data(noise):
    values = measured(noise)
    complete = angle(separated(values)[1])
    for share in (0.08, 0.2):
        _, result = separated(with_gaps(values, share))
        assert angle(result) < complete + 0.2
        assert 0.95 < result.residual_chi2.mean() < 1.06
        assert result.status.item() == "ok"


def test_bands_count_measured_values_only():
    data, result = separated(with_gaps(measured("gaussian"), 0.2))
    with pytest.warns(DistributionWarning, match="not determined"):
        bands = data.S.feasible_bands(spectra=result.spectra)
    assert 0.95 < bands.residual_chi2.mean() < 1.06
    within = (bands.spectra_lower <= result.spectra) & (result.spectra <= bands.spectra_upper)
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


def test_gaps_are_not_dark_surroundings_of_hot_values():
    """Three of five values beside it may be missing: that does not make the rest stick out."""
    rng = np.random.default_rng(5)
    for seed in range(3):
        values = with_gaps(EXPECTED + 0.005 * rng.standard_normal(EXPECTED.shape), 0.3, seed)
        assert "hot" not in separated(values)[1].status.item()
    values[15, 3, 20] = 1e3
    with pytest.warns(DistributionWarning, match="1 hot value was left out"):
        separated(values)
