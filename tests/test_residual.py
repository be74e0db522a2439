"""What the denoised image leaves of the data is told where it is not the noise that was assumed."""

from __future__ import annotations

import warnings
from contextlib import nullcontext

import numpy as np
import pytest
import xarray as xr

from arpes_ml_plugins.denoising.noise_model import NoiseModel
from arpes_ml_plugins.denoising.residual import residual_of
from arpes_ml_plugins.errors import CountsWarning
from arpes_ml_plugins.methods.residual_run import OUTPUTS, say_what_is_left


def smooth_rate(rng, counts, shape=(96, 128)):
    """Two bands over a background, of random place, slope and width."""
    row, column = np.indices(shape)
    image = np.full(shape, 0.05)
    for _ in range(2):
        centre = rng.uniform(30, 90) + rng.uniform(-0.4, 0.4) * row
        image += np.exp(-(((column - centre) / rng.uniform(4, 9)) ** 2) / 2)
    return image * counts / image.mean()


def found(values, **options):
    data = xr.DataArray(values.astype(float), dims=("phi", "eV"))
    clean = data.S.denoise_pretrained(adapt=False, rng=0, **options)
    return clean.attrs["provenance"]["record"]["found"]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("counts", [0.5, 5, 50])
def test_counts_leave_noise(seed, counts):
    rng = np.random.default_rng(seed)
    told = found(rng.poisson(smooth_rate(rng, counts)))
    assert told["residual"] == "The residual is noise as assumed."
    assert told["residual_power"] == pytest.approx(1, abs=0.12)


@pytest.mark.parametrize("strength", [0.3, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_saturation_is_told(seed, strength):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(smooth_rate(rng, 60))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CountsWarning)
        told = found(counts / (1 + strength * counts / counts.max()))
    assert "saturates" in told["noise"] + told["residual"]


@pytest.mark.parametrize("structured", [False, True])
def test_noise_that_falls_with_intensity_is_no_structure(structured):
    """Strong compression: in dim places the noise is far stronger than in a typical one."""
    import torch

    rng = np.random.default_rng(3)
    truth = np.tile(np.linspace(5.0, 100.0, 128), (96, 1))
    noise = np.sqrt(truth) * (truth / np.median(truth)) ** -0.4 * rng.standard_normal(truth.shape)
    if structured:
        noise[:20, 20:60] += 8 * np.sqrt(truth[:20, 20:60]) * np.sin(np.arange(40.0))
    left = residual_of(
        torch.from_numpy(truth + noise)[None],
        torch.from_numpy(truth)[None],
        torch.ones((1, *truth.shape), dtype=torch.bool),
        NoiseModel(1.0),
    )
    assert float(left.bright) < 0.6
    assert (float(left.structure) > 0.03) == structured


def test_mild_saturation_is_told_if_the_image_is_large_enough_to_be_sure():
    rng = np.random.default_rng(1)
    counts = rng.poisson(smooth_rate(rng, 40, (224, 224)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # told, but not serious
        told = found(counts / (1 + 0.2 * counts / counts.max()), gain=1, mesh=None)
    assert 0.8 < told["residual_bright"] < 1 - 3 * told["residual_bright_error"]
    assert "saturates" in told["residual"]


def test_samples_come_with_the_same_words():
    rng = np.random.default_rng(0)
    counts = rng.poisson(smooth_rate(rng, 60, (64, 96)))
    data = xr.DataArray(counts / (1 + counts / counts.max()), dims=("phi", "eV"))
    with pytest.warns(CountsWarning, match="saturates"):
        samples = data.S.sample_posterior(draws=2, adapt=False, mesh=None, rng=0)
    found = samples.attrs["provenance"]["record"]["found"]
    assert "saturates" in found["noise"] + found["residual"]  # wherever it is seen first
    assert samples.sizes == {"draw": 2, "phi": 64, "eV": 96}


@pytest.mark.parametrize("seed", range(3))
def test_pixels_of_different_sensitivity_are_told(seed):
    rng = np.random.default_rng(seed)
    flat = 1 + 0.2 * rng.standard_normal((96, 128))
    told = found(rng.poisson(smooth_rate(rng, 40) * flat.clip(0)))
    assert "sensitivity" in told["noise"]
    assert told["residual"] == "The residual is noise as assumed."


@pytest.mark.parametrize("modes", [2, 5])
def test_a_fluctuating_source_is_told(modes):
    rng = np.random.default_rng(modes)
    mean = smooth_rate(rng, 10)
    told = found(rng.negative_binomial(modes, modes / (modes + mean)))
    assert "fluctuates" in told["noise"]
    assert told["residual"] == "The residual is noise as assumed."


def test_structure_that_is_left_is_found_where_it_is():
    import torch

    rng = np.random.default_rng(0)
    truth = torch.from_numpy(smooth_rate(rng, 20))[None]
    counts = torch.from_numpy(rng.poisson(truth.numpy()).astype(float))
    valid, white = torch.ones_like(truth, dtype=torch.bool), NoiseModel(1.0)
    right = residual_of(counts, truth, valid, white)
    assert float(right.structure) == 0
    assert float(right.power) == pytest.approx(1, abs=0.12)
    wrong = truth.clone()
    wrong[:, 20:50, 40:90] *= 1 + 0.7 * torch.sin(torch.arange(50.0))
    left = float(residual_of(counts, wrong, valid, white).structure)
    assert 0.8 < left * truth.numel() / (30 * 50) < 3  # power is averaged over regions


@pytest.mark.parametrize("structured", [False, True])
def test_dark_places_with_less_noise_make_no_structure_of_bright_ones(structured):
    import torch

    rng = np.random.default_rng(0)
    column = np.arange(128)
    truth = np.tile(np.where(column < 60, 100.0, 8.0), (96, 1))
    noise = np.where(column < 60, 10.0, 1.0) * rng.standard_normal(truth.shape)
    if structured:
        noise[:20, 10:50] += 12 * np.sin(np.arange(40.0))
    left = residual_of(
        torch.from_numpy(truth + noise)[None],
        torch.from_numpy(truth)[None],
        torch.ones((1, *truth.shape), dtype=torch.bool),
        NoiseModel(1.0),
    )
    assert (float(left.structure) > 0.05) == structured
    if not structured:
        assert float(left.power) == pytest.approx(1, abs=0.25)


def test_lazy_data_say_nothing_beforehand():
    rng = np.random.default_rng(0)
    data = xr.DataArray(rng.poisson(smooth_rate(rng, 5)) * 1.0, dims=("phi", "eV")).chunk()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clean = data.S.denoise_pretrained(adapt=False, rng=0)
    assert "residual" not in clean.attrs["provenance"]["record"]["found"]


@pytest.mark.parametrize(("bright", "law"), [(0.7, "saturates"), (1.8, "fluctuates")])
def test_local_noise_follows_no_law_of_the_intensity(bright, law):
    """So less of it in bright places is no saturation."""
    numbers = {"structure": 0.0, "power": 1.0, "bright": bright, "bright_error": 0.02}
    for kind in ("counts", "local"):
        arrays = {name: xr.DataArray(numbers.get(name, np.nan)) for name in OUTPUTS}
        with pytest.warns(CountsWarning) if bright < 0.8 else nullcontext():
            words = say_what_is_left(arrays, kind=kind)["residual"]
        assert (law in words) == (kind == "counts")
        assert ("measured around them" in words) == (kind == "local")


@pytest.mark.parametrize(
    ("kind", "power"), [("correlated", 1.5), ("correlated", 0.7), ("counts", 1.5)]
)
def test_splines_leave_more_fine_noise_than_clouds(kind, power):
    arrays = {name: xr.DataArray(np.nan) for name in OUTPUTS} | {"power": xr.DataArray(power)}
    words = say_what_is_left(arrays, kind=kind)["residual"]
    assert "the gain may be wrong" in words
    assert ("splines" in words) == (kind == "correlated" and power > 1)
