"""The noise of every value, given by the user: weights, chi^2, errors and the number to choose."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

import arpes_ml_plugins
from arpes_ml_plugins import SpectrumLibrary
from arpes_ml_plugins.errors import AxisError, ParameterError
from arpes_ml_plugins.separation.given_noise import noise_of_channels_and_pixels

ENERGY = np.linspace(-3, 3, 40)
SPECTRA = np.stack([np.exp(-(((ENERGY - c) / 0.5) ** 2)) + 0.1 for c in (-1.3, 0.0, 1.4)])
ROWS, COLUMNS = np.mgrid[:30, :30]
MAPS = np.stack([COLUMNS < 10, COLUMNS >= 10, (ROWS > 15) & (COLUMNS > 5)]) * [
    [[20.0]],
    [[14.0]],
    [[10.0]],
]


def labelled(values):
    return xr.DataArray(values, {"eV": ENERGY}, ("y", "x", "eV"))


def measured(seed=0):
    """Data of which half of the pixels have ten times the noise, and one of them huge noise."""
    draw = np.random.default_rng(seed)
    noise = 0.3 * (1 + ENERGY**2 / 9) * np.where(ROWS % 2 == 1, 10.0, 1.0)[..., None]
    noise = noise * draw.uniform(0.7, 1.4, noise.shape)
    noise[7, 7] = 1e4
    clean = np.einsum("kyx,ke->yxe", MAPS, SPECTRA)
    return labelled(clean + noise * draw.standard_normal(noise.shape)), labelled(noise)


def worst_angle(result):
    found = result.spectra.values / np.linalg.norm(result.spectra.values, axis=1, keepdims=True)
    true = SPECTRA / np.linalg.norm(SPECTRA, axis=1, keepdims=True)
    return np.degrees(np.arccos(np.clip((found @ true.T).max(0), -1, 1))).max()


KNOWN = {n: xr.DataArray(s, {"eV": ENERGY}, "eV") for n, s in zip("abc", SPECTRA, strict=True)}
LIBRARY = SpectrumLibrary.from_spectra(KNOWN, shift=0.1, broaden=0.1, count=100, rng=0)


@pytest.mark.parametrize(
    ("method", "options", "limit"),
    [
        ("separate_gmca", {"n_components": 3, "shift": False, "nonnegative": True}, 3),
        ("separate_sgmca", {"library": LIBRARY, "shift": False}, 0.3),
        ("unmix", {"spectra": KNOWN}, 0.1),
    ],
)
def test_weights_chi2_and_errors(method, options, limit):
    data, noise = measured()
    result = getattr(data.S, method)(noise=noise.transpose("eV", "x", "y"), rng=0, **options)
    assert worst_angle(result) < limit
    assert result.status.item() == "ok"
    chi2 = result.residual_chi2
    assert 0.95 < chi2.mean() < 1.05
    assert 0.9 < chi2[1::2].mean() / chi2[::2].mean() < 1.1
    if method == "separate_gmca":
        return
    scale = SPECTRA.max(1)[:, None, None]
    pulls = (result.maps - MAPS * scale) / result.maps_stderr
    there = pulls.values[MAPS > 0]  # maps that must not be negative are cut at zero
    assert 0.85 < there.std() < 1.15


def test_noise_of_all_values_alike_is_that_of_a_number():
    data, _ = measured()
    data = data[::2]
    one = data.S.separate_gmca(n_components=3, noise=1.0, shift=False, rng=0)
    each = data.S.separate_gmca(n_components=3, noise=xr.ones_like(data), shift=False, rng=0)
    for name in ("spectra", "spectra_stderr", "residual_chi2"):
        np.testing.assert_allclose(each[name], one[name], rtol=1e-5, atol=1e-5)


def test_number_of_components():
    data, noise = measured()
    found = data.S.choose_components(noise=noise, max_components=5, rng=0)
    assert found.recommended.item() == 3
    assert 0.9 < found.chi2.sel(n_components=3) < 1.1


@pytest.mark.parametrize("method", ["separate_nmf", "unmix", "choose_components"])
@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda noise: noise.where(noise.x != 3, 0), ParameterError, "the first 0 .*one count"),
        (lambda noise: noise.where(noise.x > 0), ParameterError, "1200 of .* nan at"),
        (lambda noise: -noise, ParameterError, "positive and finite for every value"),
        (lambda noise: noise[:5], AxisError, "other coordinates along 'y'"),
        (lambda noise: noise.assign_coords(eV=ENERGY + 1), AxisError, "interp"),
        (lambda noise: noise.rename(x="z"), AxisError, "one per value along"),
        (lambda noise: noise.values, ParameterError, "DataArray"),
        (lambda noise: noise.astype(str), ParameterError, "real numbers"),
    ],
)
def test_wrong_noise_is_refused(method, change, error, words):
    data, noise = measured()
    noise = noise.assign_coords(x=np.arange(30))
    options = {"separate_nmf": {"n_components": 2}, "choose_components": {}}
    spectra = {"a": KNOWN["a"]}
    with pytest.raises(error, match=words):
        getattr(data.S, method)(noise=change(noise), **options.get(method, {"spectra": spectra}))


@pytest.mark.filterwarnings("ignore:.*not determined:arpes_ml_plugins.errors.DistributionWarning")
def test_missing_and_masked_values_need_no_noise():
    data, noise = measured()
    data[3, 4, 5] = noise[3, 4, 5] = noise[:, 20:] = np.nan
    mask = xr.DataArray(COLUMNS < 20, dims=("y", "x"))
    result = data.S.separate_gmca(n_components=3, noise=noise, mask=mask, shift=False, rng=0)
    assert bool(result.maps[:, 3, 4].notnull().all())
    assert 0.9 < result.residual_chi2.mean() < 1.1
    assert np.isnan(noise[3, 4, 5])  # as it was


def test_bands_take_one_number_per_channel():
    data, noise = measured()
    spectra = {"a": KNOWN["a"]}
    with pytest.raises(AxisError, match=r"\(noise\*\*2\).mean\(\('y', 'x'\)\)"):
        data.S.feasible_bands(spectra=spectra, noise=noise)


def test_a_record_repeats_it():
    data, noise = measured()
    first = data.S.separate_gmca(n_components=3, noise=noise, shift=False, rng=0)
    again = arpes_ml_plugins.replay(first, data)
    xr.testing.assert_equal(first.maps, again.maps)


def test_factors_of_the_noise():
    draw = torch.Generator().manual_seed(0)
    channels, pixels = (0.5 + torch.rand(n, generator=draw) for n in (6, 50))
    deviation = (channels[:, None] * pixels).reshape(6, 5, 10)
    valid = torch.rand(6, 5, 10, generator=draw) > 0.3
    valid[:, 0, 0] = False
    one, other = noise_of_channels_and_pixels(deviation, valid)
    product = one[:, None, None] * other
    torch.testing.assert_close(product[valid], deviation[valid], rtol=1e-3, atol=0)
    assert float(other[0, 0]) == 1
