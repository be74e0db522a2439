"""Cameras: clouds of charge, a gain, a pedestal and white noise of the read-out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.ndimage import gaussian_filter

from arpes_ml_plugins.denoising.noise_fit import fitted
from arpes_ml_plugins.denoising.noise_model import NoiseModel
from arpes_ml_plugins.denoising.residual_spectrum import residual_spectrum
from arpes_ml_plugins.simulation.detectors import clouds

ROWS, COLUMNS = np.indices((144, 144)) - 71.5
GAIN, SPREAD, READ, PEDESTAL = 30.0, 0.5, 6.0, 100.0
SCENES = {
    "edge": (0.3 + 1 / (1 + ((ROWS + 12 - 0.006 * COLUMNS**2) / 4) ** 2))
    * (np.hypot(ROWS, 1.1 * COLUMNS) < 58)
    + 1e-4,
    "band": 1 / (1 + ((ROWS - 0.3 * COLUMNS) / 6) ** 2) + 0.02,
}


def camera(
    name: str, counts: float, pedestal: float, read: float = READ, width: float = 0.7
) -> tuple[xr.DataArray, np.ndarray]:
    rng = np.random.default_rng(8)
    rate = SCENES[name] * counts / SCENES[name].mean()
    values, truth = clouds(rate, (width, width), SPREAD, rng)
    values = GAIN * values + pedestal + rng.normal(0, read, rate.shape)
    return xr.DataArray(values.round(), dims=("phi", "eV")), GAIN * truth + pedestal


@pytest.mark.parametrize("pedestal", [0.0, PEDESTAL])
@pytest.mark.parametrize(("name", "counts"), [("edge", 0.5), ("edge", 1), ("band", 0.3)])
def test_read_out_noise_and_pedestal_are_told_apart(name, counts, pedestal):
    data, _ = camera(name, counts, pedestal)
    noise = data.S.estimate_noise()
    assert noise["kind"] == "correlated"
    assert float(noise["gain"]) == pytest.approx(GAIN * (1 + SPREAD**2), rel=0.3)
    assert float(noise["pedestal"]) == pytest.approx(pedestal, abs=2)
    read_out = noise["gain"] * (noise["shift"] + noise["pedestal"])
    assert float(read_out) ** 0.5 == pytest.approx(READ, rel=0.15)
    if pedestal:
        assert "white read-out noise" in str(noise["verdict"].values)


def test_a_border_below_the_pedestal_is_no_part_of_it():
    """Some cameras fill what was not read with a constant."""
    data, _ = camera("edge", 1.0, PEDESTAL)
    border = data.copy()
    border[:8] = border[:, :8] = 40.0
    noise = border.S.estimate_noise()
    assert float(noise["pedestal"]) == pytest.approx(PEDESTAL, abs=2)
    read_out = float(noise["gain"] * (noise["shift"] + noise["pedestal"])) ** 0.5
    assert read_out == pytest.approx(READ, rel=0.3)
    assert f"data - {float(noise['pedestal']):.4g}" in noise.verdict.item()


@pytest.mark.parametrize("width", [1.1, 1.3])
def test_whole_numbers_of_a_camera_are_not_counts_because_their_variance_is(width):
    """On average the noise is that of counts, but at the finest frequencies it is not."""
    data, _ = camera("band", 1.0, PEDESTAL, width=width)
    assert str(data.S.estimate_noise()["kind"].values) == "correlated"


def test_white_noise_has_no_pedestal_beside_clouds():
    rate = SCENES["edge"] * 5 / SCENES["edge"].mean()
    rng = np.random.default_rng(2)
    values = GAIN * rng.poisson(rate) + PEDESTAL + rng.normal(0, READ, rate.shape)
    noise = xr.DataArray(values, dims=("phi", "eV")).S.estimate_noise()
    assert noise["kind"] == "offset"
    assert noise["pedestal"] == 0


@pytest.mark.parametrize("pedestal", [0.0, PEDESTAL])
def test_dark_corners_of_a_camera_are_better_than_from_a_filter(pedestal):
    data, truth = camera("edge", 0.5, pedestal)
    bands = data.S.decompose_pretrained(adapt=False, mesh=None, rng=0)
    best = min(
        np.square(gaussian_filter(data.values, width) - truth).mean()
        for width in np.arange(0.5, 5, 0.5)
    )
    assert np.square(bands["clean"].values - truth).mean() < 0.5 * best
    held = (bands["lower"] <= truth) & (truth <= bands["upper"])
    assert 0.6 < held.mean() < 0.85
    dark = truth < pedestal + 1
    assert 0.45 < held.values[dark].mean() < 0.85


def test_noise_of_the_read_out_is_as_strong_where_it_is_dark():
    noise = NoiseModel(37.5, -99.0, 0.5, 0.5, pedestal=100.0)
    read_out = 1.0 / 37.5
    assert noise.read_out == pytest.approx(read_out)
    below = torch.full((1, 96, 96), read_out / 2)  # the pedestal is known to some error
    drawn = noise.drawn(below, torch.Generator().manual_seed(0))
    assert float(drawn.var()) == pytest.approx(read_out, rel=0.05)
    assert noise.pixel_variance(below).numpy() == pytest.approx(read_out)
    measured = noise.measured(below, torch.Generator().manual_seed(0))
    assert float(measured.mean()) == pytest.approx(read_out / 2, abs=0.004)


def test_read_out_noise_is_no_part_of_the_spectrum_of_electrons():
    generator = torch.Generator().manual_seed(0)
    level = torch.linspace(0.5, 40, 192)[None, :, None].expand(1, 192, 192)
    electrons, white = torch.randn(2, 1, 192, 192, generator=generator)
    noise = electrons * level.sqrt() + white * math.sqrt(3)
    everywhere = torch.ones_like(noise, dtype=torch.bool)
    power = residual_spectrum(noise, level, everywhere, 3.0)
    assert float(power.mean()) == pytest.approx(1, rel=0.1)


def test_few_powers_do_not_make_an_endless_gain():
    power = torch.zeros(8, 8, dtype=torch.float64)
    power[:3, :3] = torch.tensor([[5.0, 4.0, 2.0], [4.0, 3.0, 1.6], [2.0, 1.6, 0.8]])
    assert 3 < float(fitted(power, zeros=True).gain) < 10
