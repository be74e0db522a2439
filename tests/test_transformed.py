"""Functions of counts, such as logarithms, are denoised as these counts."""

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.stats import poisson

import arpes_ml_plugins
from arpes_ml_plugins.denoising.transformed import transform_of

FUNCTIONS = {
    "logarithm": lambda n: np.log10(n + 1),
    "root": lambda n: 2 * np.sqrt(n + 3 / 8),
    "power": lambda n: (n / 40) ** 0.3,
    "asinh": lambda n: np.arcsinh(n / 5),
}


def cut():
    """Expected counts and measured ones: a band on a dark background."""
    row, column = np.mgrid[:96, :96]
    expected = 0.7 + 12 * np.exp(-(((row - 40 - column / 5) / 5) ** 2))
    return expected, np.random.default_rng(2).poisson(expected).astype(float)


def labelled(values):
    return xr.DataArray(values, dims=("eV", "phi"))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_finds_the_counts_of_a_function(name, dtype):
    counts = cut()[1]
    values = torch.from_numpy(FUNCTIONS[name](counts).astype(dtype))[None]
    found = transform_of(values, torch.ones_like(values, dtype=torch.bool))
    assert torch.equal(found.counts(values)[0].double(), torch.from_numpy(counts))


def other(name, counts):
    return {
        "counts": counts * 3.3,
        "square": counts**1.3,
        "rounded": np.round(255 * np.sqrt(counts / counts.max())),
        "measured": np.log1p(counts + np.random.default_rng(0).normal(size=counts.shape) ** 2),
        "difference": counts - np.random.default_rng(1).poisson(cut()[0]),
    }[name]


@pytest.mark.parametrize("name", ["counts", "square", "rounded", "measured", "difference"])
def test_other_values_are_no_function_of_counts(name):
    values = torch.from_numpy(other(name, cut()[1]))[None]
    assert transform_of(values, torch.ones_like(values, dtype=torch.bool)) is None


@pytest.mark.parametrize("name", ["logarithm", "power"])
def test_error_bars_of_functions_hold_in_the_dark(name):
    expected, counts = cut()
    number = np.arange(80)
    means = poisson.pmf(number, expected[..., None]) @ FUNCTIONS[name](number)
    data = labelled(FUNCTIONS[name](counts))
    noise = arpes_ml_plugins.estimate_noise(data)
    assert float(noise.gain) == 1
    assert name in str(noise.verdict.values)
    result = arpes_ml_plugins.decompose_pretrained(data, adapt=False, rng=0)
    holds = ((result.lower <= means) & (means <= result.upper)).values
    assert holds[expected < 1].mean() > 0.6
    lazy = arpes_ml_plugins.denoise(data.chunk(), adapt=False, rng=0).compute()
    np.testing.assert_allclose(lazy, result.clean, rtol=1e-5)


@pytest.mark.filterwarnings("ignore::arpes_ml_plugins.errors.CountsWarning")
def test_a_given_gain_is_that_of_the_values():
    data = labelled(FUNCTIONS["logarithm"](cut()[1]))
    by_hand = arpes_ml_plugins.denoise(data, gain=0.1, adapt=False, rng=0)
    assert by_hand.attrs["provenance"]["record"]["found"]["gain"] == 0.1
    automatic = arpes_ml_plugins.denoise(data, adapt=False, rng=0)
    assert float(abs(by_hand - automatic).max()) > 1e-3
