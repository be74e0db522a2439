"""The gain of correlated noise beside sharp, dark and bright structure: right, or uncertain."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.ndimage import gaussian_filter

from arpes_ml_plugins.denoising.noise_blocks import Blocks
from arpes_ml_plugins.denoising.noise_fit import fitted, frequencies
from arpes_ml_plugins.denoising.noise_levels import Cloud, noise_levels, residuals
from arpes_ml_plugins.errors import CountsWarning
from arpes_ml_plugins.methods.noise_words import NUMBERS, in_words
from arpes_ml_plugins.simulation.detectors import clouds

ROWS, COLUMNS = np.indices((144, 144)) - 71.5
GAIN, SPREAD = 5.2, 0.5


def tail() -> np.ndarray:
    """Three decades between a band and the dark."""
    return 1 / (1 + ((ROWS - 30 + 0.002 * COLUMNS**2) / 2) ** 2) ** 1.5 + 5e-4


def cone() -> np.ndarray:
    bands = sum(1 / (1 + ((ROWS - side * 0.9 * COLUMNS) / 2.5) ** 2) for side in (1, -1))
    return bands / (1 + np.exp((ROWS - 50) / 2)) + 0.05


def edge() -> np.ndarray:
    """A curved band on a round detector, and nothing around it."""
    band = 0.3 + 1 / (1 + ((ROWS + 12 - 0.006 * COLUMNS**2) / 4) ** 2)
    return band * (np.hypot(ROWS, 1.1 * COLUMNS) < 58) + 1e-4


def ramp() -> np.ndarray:
    return 1.02 + ROWS / 72


def camera(rate: np.ndarray, width: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return GAIN * clouds(rate, (width, width), SPREAD, rng)[0]


@pytest.mark.parametrize(
    ("make", "counts", "width"),
    [(tail, 4, 0.45), (tail, 100, 0.8), (cone, 30, 0.6), (cone, 100, 1.2), (edge, 300, 1.0)],
)
def test_no_silently_wrong_gain_behind_clouds(make, counts, width):
    rate, truth = make() * counts / make().mean(), GAIN * (1 + SPREAD**2)
    noise = xr.DataArray(camera(rate, width, counts), dims=("phi", "eV")).S.estimate_noise()
    assert noise["kind"] == "correlated"
    found, error = float(noise["gain"]), float(noise["gain_error"])
    assert abs(found - truth) < 3 * error
    if noise["status"] == "ok":
        assert found == pytest.approx(truth, rel=0.3)


@pytest.mark.parametrize("width", [0.5, 0.8, 1.2])
def test_gain_of_wide_clouds_is_not_too_small(width):
    """Without structure there is nothing that hides an extrapolation which is too low."""
    noise = xr.DataArray(camera(20 * ramp(), width, 1), dims=("phi", "eV")).S.estimate_noise()
    assert noise["status"] == "ok"
    assert float(noise["gain"]) == pytest.approx(GAIN * (1 + SPREAD**2), rel=0.2)


@pytest.mark.parametrize("width", [0.3, 0.6, 1.0])
def test_spectrum_of_gaussian_clouds_is_fitted_exactly(width):
    f = torch.meshgrid(frequencies(8), frequencies(8), indexing="ij")
    fit = fitted(3 * torch.exp(-(math.pi**2) * width**2 * (f[0] ** 2 + f[1] ** 2)))
    assert float(fit.gain) == pytest.approx(3, rel=1e-6)
    one = torch.exp(-((math.pi * width * torch.linspace(0, 1, 20001, dtype=torch.float64)) ** 2))
    assert float(fit.pixel_share) == pytest.approx(float(one.mean()) ** 2, rel=0.02)
    if width > 0.5:  # narrower ones are not much wider than the pixels
        assert fit.area == pytest.approx(2 * math.pi * width**2, rel=0.05)
        for correlation in fit.correlation:
            assert float(correlation) == pytest.approx(math.exp(-1 / (4 * width**2)), abs=0.03)
    power = fit.transfer(torch.Size((64, 48)))
    assert power.shape == (64, 25)
    assert float(power[0, 0]) == 1
    assert float(power[32, 0]) == pytest.approx(math.exp(-((math.pi * width) ** 2)), rel=1e-3)


def test_tails_of_clouds_are_no_level():
    """Where no electron hit, intensity and noise are tails of clouds; both say nothing."""
    values = camera(edge() * 10, 0.8, 2)
    images = torch.from_numpy(values)[None]
    found = residuals(images, torch.ones_like(images, dtype=torch.bool), (0.68, 0.68))
    every = noise_levels(found)
    some = noise_levels(found, None, Cloud(4.0, torch.tensor(GAIN)))
    dark = 0.01 * values.mean()
    assert float(every.mean.min()) < dark
    assert float((some.mean * some.number).min()) >= 10 * GAIN
    same = every.variance_error[-1] * 4
    assert float(some.variance_error[-1]) == pytest.approx(float(same))


def test_dark_blocks_are_used_if_they_contain_enough():
    images = torch.full((1, 64, 128), 0.05, dtype=torch.float64)
    images[..., :64] = 100.0
    valid = torch.ones_like(images, dtype=torch.bool)
    bright = Blocks.of(images, valid)
    assert float(bright.level.min()) > 1
    dark = Blocks.of(images, valid, torch.tensor(5.0))
    assert len(dark.level) > len(bright.level)
    assert float(dark.level.min()) == pytest.approx(0.06, abs=0.01)
    assert len(Blocks.of(images, valid, torch.tensor(500.0)).level) == len(bright.level)


def test_the_verdict_names_the_structure():
    from arpes_ml_plugins.denoising.noise import KINDS

    numbers = dict.fromkeys(NUMBERS, 0.0) | {"gain": 5.0, "gain_error": 2.0, "structured": 1.0}
    kind = KINDS.index("correlated")
    name, status, verdict = in_words(kind, *numbers.values(), dims=("eV", "phi"))
    assert (str(name), str(status)) == ("correlated", "uncertain")
    assert "5 ± 2" in str(verdict)
    assert "structure is about as fine" in str(verdict)
    assert "pedestal" not in str(verdict)


@pytest.mark.parametrize("make", [cone, edge])
def test_white_noise_of_the_read_out_is_not_that_of_clouds(make):
    rate, read = make() * 5 / make().mean(), 4.0
    values = camera(rate, 0.5, 7) + read * np.random.default_rng(3).standard_normal(rate.shape)
    noise = xr.DataArray(values, dims=("phi", "eV")).S.estimate_noise()
    truth = GAIN * (1 + SPREAD**2)
    assert noise["kind"] == "correlated"
    assert float(noise["gain"]) == pytest.approx(truth, rel=0.2)
    assert float(noise["shift"]) == pytest.approx(read**2 / truth, abs=1)


def test_white_noise_of_the_read_out_does_not_keep_the_network_away():
    """Held-out data drawn with clouds in the dark, too, seemed to want hardly any filter."""
    rng = np.random.default_rng(80)
    values, truth = clouds(edge() * 0.3 / edge().mean(), (0.7, 0.7), SPREAD, rng)
    values = 30 * values + rng.normal(0, 6, values.shape)
    clean = xr.DataArray(values, dims=("phi", "eV")).S.denoise_pretrained(
        adapt=False, mesh=None, rng=0
    )
    widths = np.arange(0.5, 6, 0.5)
    least = min(np.mean((gaussian_filter(values, s) - 30 * truth) ** 2) for s in widths)
    assert ((clean - 30 * truth) ** 2).mean() < least / 1.5


def test_a_pedestal_in_doubt_does_not_keep_sharp_rings_from_the_network():
    """On a camera behind sharp rings the pedestal is uncertain: once the rings came back 7 dB worse
    than they were, or were refused."""
    radius = np.hypot(ROWS, 1.2 * COLUMNS)
    rate = 8 * (0.3 + 6 / (1 + ((radius - 40) / 1.5) ** 2))
    rng = np.random.default_rng(1)
    electrons, seen = rng.poisson(rate).astype(float), rate
    measured, truth = (35 * gaussian_filter(image, 0.8) + 100 for image in (electrons, seen))
    data = xr.DataArray(measured + rng.normal(0, 4, rate.shape), dims=("kx", "ky"))
    with pytest.warns(CountsWarning, match="The gain is uncertain"):
        clean = data.S.denoise_pretrained(adapt=False, rng=0)
    assert np.square(clean - truth).mean() < 0.2 * np.square(data - truth).mean()


@pytest.mark.parametrize("seed", range(3))
def test_a_constant_subtracted_from_a_smoothed_image_is_no_read_out(seed):
    band = 0.15 + 1 / (1 + ((ROWS - 20 + 0.004 * COLUMNS**2) / 5) ** 2)
    smooth = gaussian_filter(np.random.default_rng(seed).poisson(3 * band) * 1.0, 0.9)
    noise = xr.DataArray(smooth - 0.2, dims=("phi", "eV")).S.estimate_noise()
    assert noise["kind"] == "correlated"
    assert float(noise["pedestal"]) == -float(noise["shift"])
    assert float(noise["shift"]) == pytest.approx(0.2, abs=0.1)
    assert float(noise["gain"]) == pytest.approx(1, abs=1.5 * float(noise["gain_error"]))
    assert "subtracted" in str(noise["verdict"].values)
