"""Residuals that are too large: a component is missing, or there is more noise."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import xarray as xr

import arpes_ml_plugins
from arpes_ml_plugins.separation.left_structure import left_structure
from arpes_ml_plugins.separation.residual_structure import has_no_structure

ENERGY = np.linspace(-36, -29, 40)
Y, X = np.mgrid[:36, :36]
REGIONS = np.stack([X < 14, (X >= 14) & (Y < 18), (X >= 14) & (Y >= 18)]) * 1.0
SPECTRA = np.stack([np.exp(-(((ENERGY - c) / 0.4) ** 2)) + 0.1 for c in (-34, -32.5, -31.5)])
RATE = np.einsum("kyx,ke->yxe", REGIONS, SPECTRA)


def counts(dwell=1.0):
    return np.random.default_rng(0).poisson(100 * RATE * dwell) / dwell


def labelled(values):
    return xr.DataArray(values, {"eV": ENERGY}, ("y", "x", "eV"))


def status(values, components=3, **settings):
    data = labelled(values)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = arpes_ml_plugins.separate_nmf(data, n_components=components, rng=0, **settings)
    return found.status.item()


def test_different_dwell_times_are_more_noise():
    text = status(counts(np.where(Y < 18, 1.0, 0.2)[..., None]))
    assert "more noise than estimated" in text
    assert "possible causes" not in text


def test_noise_given_too_small():
    assert "1.8 times as much" in status(counts(), noise=labelled(np.sqrt(100 * RATE) / 1.8))


def test_missing_component_is_no_noise():
    text = status(counts(), components=2)
    assert "missing components" in text
    assert "no structure" not in text


@pytest.mark.parametrize("part", [0.01, 0.1, 1.0])
def test_one_shape_among_noise(part):
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(40, 2000, generator=generator)
    assert has_no_structure(3 * noise)
    shape = torch.exp(-((torch.arange(40)[:, None] - 20) ** 2) / 8)
    amount = torch.zeros(1, 2000)
    amount[:, : int(part * 2000)] = (1 / part) ** 0.5
    assert not has_no_structure(noise + 2 * shape * amount)


def test_a_small_grain_is_a_missing_component():
    spectra = {
        name: xr.DataArray(s, {"eV": ENERGY}, "eV") for name, s in zip("ab", SPECTRA, strict=False)
    }
    clean = 300 * np.einsum("kyx,ke->yxe", REGIONS[:2], SPECTRA[:2])
    clean[10:16, 10:16] += 200 * SPECTRA[2]
    data = labelled(clean + np.random.default_rng(0).normal(0, 10, clean.shape))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text = arpes_ml_plugins.unmix(data, spectra=spectra, noise=10.0).status.item()
    assert "missing components" in text


def test_dead_channels_and_incomplete_pixels():
    left = torch.randn(16, 2000, generator=torch.Generator().manual_seed(0))
    left[3] = 0
    left[3, :5], left[5, :5] = 1, torch.nan
    assert has_no_structure(left)


def test_too_few_pixels_do_not_tell():
    assert not has_no_structure(torch.randn(40, 100, generator=torch.Generator().manual_seed(0)))
    assert not has_no_structure(torch.full((40, 100), torch.nan))


@pytest.mark.parametrize(("counts", "strength"), [(15, 0.3), (60, 0.15)])
def test_a_weak_further_component_is_told_though_chi2_is_small(counts, strength):
    """One that is in parts of all regions, so that no region differs from the others."""
    line = np.exp(-(((ENERGY + 35.2) / 0.3) ** 2))
    more = strength * ((X + Y) % 12 < 6)[..., None] * line
    draw = np.random.default_rng(0).poisson
    assert status(draw(counts * RATE).astype(float)) == "ok"
    told = status(draw(counts * (RATE + more)).astype(float))
    assert "has a structure in common" in told
    assert "chi^2 per degree of freedom" not in told


@pytest.mark.parametrize("shared", [False, True])
def test_noise_has_no_structure_in_common(shared):
    noise = torch.randn(40, 900, generator=torch.Generator().manual_seed(0))
    if shared:  # by neighbouring channels
        noise = (noise[1:-1] + noise[:-2] / 2 + noise[2:] / 2) / 1.5**0.5
    model = torch.full_like(noise, 5.0)
    assert left_structure(noise, model) is None
    shape = torch.exp(-((torch.arange(len(noise))[:, None] - 20) ** 2) / 8)
    left = noise + shape * torch.randn(1, 900, generator=torch.Generator().manual_seed(1))
    assert left_structure(left, model) == pytest.approx(float(shape.norm()) / 5 / 40**0.5, rel=0.2)
    assert left_structure(left, 20 * model) is None
