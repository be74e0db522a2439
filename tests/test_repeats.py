"""Repeated exposures: their differences are the noise, and one half of them judges the other."""

import warnings

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.ndimage import gaussian_filter

import arpes_ml_plugins  # noqa: F401
from arpes_ml_plugins.denoising.exposures import differences, drift
from arpes_ml_plugins.denoising.noise import KINDS, estimate
from arpes_ml_plugins.denoising.noise_model import NoiseModel
from arpes_ml_plugins.denoising.splitting import Counts
from arpes_ml_plugins.denoising.trials import repeated_trial
from arpes_ml_plugins.errors import AxisError, CountsWarning
from arpes_ml_plugins.methods.counts_like import CountsLike


def sharp(size=96):
    i, j = np.mgrid[:size, :size].astype(float)
    line = np.exp(-(((i - size / 2 - 0.3 * (j - size / 2)) / 0.8) ** 2) / 2)
    return 40 * line + 0.5


def exposed(truth, repeats=4, seed=0, dim="sweep"):
    counts = np.random.default_rng(seed).poisson(truth, size=(repeats, *truth.shape))
    coords = {"phi": np.linspace(-0.2, 0.2, len(truth)), "eV": np.linspace(-0.4, 0.1, len(truth))}
    return xr.DataArray(counts.astype(float), dims=(dim, "phi", "eV"), coords=coords)


def found(result):
    return result.attrs["provenance"]["record"]["found"]


def error(image, truth):
    return float(((image - truth) ** 2).mean())


def test_the_result_is_the_mean_without_the_dimension():
    truth = sharp()
    data = exposed(truth).assign_attrs(sample="A").assign_coords(temperature=20.0)
    clean = data.S.denoise(adapt=False, rng=0)
    assert clean.dims == ("phi", "eV")
    assert clean.attrs["sample"] == "A"
    assert float(clean.temperature) == 20.0
    assert error(clean, truth) < error(data.mean("sweep"), truth) / 3
    assert "agree within their noise" in found(clean)["repeats"]
    one_by_one = data.S.denoise(adapt=False, repeats=None, rng=0)
    assert one_by_one.dims == data.dims


def test_any_dimension_can_be_named_and_unknown_ones_are_refused():
    data = exposed(sharp(64), dim="scan")
    assert data.S.denoise(adapt=False, rng=0).dims == data.dims
    assert data.S.denoise(adapt=False, repeats="scan", rng=0).dims == ("phi", "eV")
    with pytest.raises(AxisError, match="'scan'"):
        data.S.denoise(adapt=False, repeats="sweep", rng=0)


def test_a_dataset_loses_the_dimension_of_its_spectrum():
    data = exposed(sharp(64)).to_dataset(name="spectrum")
    assert data.S.denoise(adapt=False, rng=0)["spectrum"].dims == ("phi", "eV")


def test_lazy_exposures_give_the_same():
    data = exposed(sharp(64))
    lazy = data.chunk({"sweep": 1}).S.denoise(adapt=False, rng=0)
    assert lazy.dims == ("phi", "eV")
    xr.testing.assert_allclose(
        lazy.compute().drop_vars(["denoise_method", "denoise_reason"]),
        data.S.denoise(adapt=False, rng=0),
    )


def test_missing_pixels_of_one_exposure_are_missing():
    data = exposed(sharp(64))
    data[1, 10:14, 20] = np.nan
    clean = data.S.denoise(adapt=False, rng=0)
    assert bool(clean[10:14, 20].isnull().all())
    assert int(clean.isnull().sum()) == 4


@pytest.mark.slow
def test_other_methods_take_the_mean():
    """``gain`` is that of one exposure, whatever the method."""
    truth = sharp(64)
    data = exposed(truth).astype("int32")
    with warnings.catch_warnings():
        warnings.simplefilter("error", CountsWarning)
        clean = data.S.denoise(method="counts", gain=1.0, rng=0)
    assert clean.dims == ("phi", "eV")
    assert clean.dtype == np.float32
    noisy = float(np.square(data.mean("sweep") - truth).mean())
    assert float(np.square(clean - truth).mean()) < noisy / 3


@pytest.mark.parametrize("offsets", [None, 3.0])
def test_exposures_are_parts_of_what_is_denoised(offsets):
    """Also if a pedestal was added to their sum, or constants of lines were subtracted."""
    exposures = torch.rand(1, 4, 8, 8, dtype=torch.float64)
    total = exposures.sum(1)
    images = total if offsets is None else total - offsets * torch.arange(8.0)[:, None]
    like = CountsLike(images, NoiseModel(1.0), 4, None, None, None, None)
    parts = like.parts(exposures, total)
    torch.testing.assert_close(parts.sum(1), images)
    torch.testing.assert_close(parts.diff(dim=1), exposures.diff(dim=1))


def test_exposures_of_different_scenes_are_told():
    data = exposed(sharp())
    moved = xr.concat([data.isel(sweep=i).roll(phi=2 * i) for i in range(4)], "sweep")
    with pytest.warns(CountsWarning) as told:
        clean = moved.S.denoise(adapt=False, rng=0)
    assert any("scene changed" in str(warning.message) for warning in told)
    assert "scene changed" in found(clean)["repeats"]


@pytest.mark.parametrize("lengths", [(1, 1, 3, 1, 1, 1), (1, 10), (3, 3, 3, 3, 3, 0.5)])
def test_exposures_of_unlike_length_are_as_good_as_their_sum(lengths):
    truth = sharp() / 4
    one_by_one = [exposed(length * truth, 1, seed) for seed, length in enumerate(lengths)]
    data = xr.concat(one_by_one, "sweep")
    with warnings.catch_warnings():
        warnings.simplefilter("error", CountsWarning)
        clean = data.S.denoise(adapt=False, rng=0)
    plain = data.sum("sweep").S.denoise(adapt=False, rng=0) / len(lengths)
    assert error(clean, plain) < 0.1 * error(plain, np.mean(lengths) * truth)


def test_a_beam_that_decays_is_no_change_of_the_scene():
    truth = sharp()
    data = xr.concat([exposed(truth * f, 1, seed=i) for i, f in enumerate((1, 0.8, 0.6))], "sweep")
    with warnings.catch_warnings():
        warnings.simplefilter("error", CountsWarning)
        data.S.denoise(adapt=False, rng=0)


@pytest.mark.parametrize("counts", [1.0, 30.0])
def test_structure_cancels_in_the_differences(counts):
    """A line of 0.8 pixels has power at all frequencies; its exposures show a gain of 3."""
    truth = counts * sharp(128)
    electrons = exposed(truth, 6).values
    images = torch.from_numpy(3.0 * electrons)[None]
    valid = torch.ones_like(images, dtype=torch.bool)
    no_step = torch.rand(1000, generator=torch.Generator().manual_seed(0))
    noise = estimate(*differences(images, valid), recorded=no_step)
    assert abs(float(noise.gain) - 3) < 0.3  # a tenth costs the denoiser 0.1 dB at most
    ratio, uncertainty = drift(images, valid, noise.gain, noise.shift)
    assert abs(float(ratio) - 1) < 5 * float(uncertainty)


def test_differences_show_the_correlation_behind_a_camera():
    truth = sharp(128)
    seen = np.stack([gaussian_filter(e, 0.8) for e in exposed(truth, 4).values])
    images = torch.from_numpy(seen)[None]
    valid = torch.ones_like(images, dtype=torch.bool)
    noise = estimate(*differences(images, valid), recorded=images[valid])
    assert KINDS[int(noise.kind)] == "correlated"
    expected = np.exp(-1 / (4 * 0.8**2))
    assert abs(float(noise.row_correlation) - expected) < 0.07


def test_exposures_with_a_subtracted_background_are_no_counts():
    images = torch.from_numpy(exposed(sharp()).values - 20)[None]
    valid = torch.ones_like(images, dtype=torch.bool)
    noise = estimate(*differences(images, valid), recorded=images[valid])
    assert KINDS[int(noise.kind)] == "negative"


def test_the_other_half_prefers_the_truth():
    truth = torch.from_numpy(sharp())[None]
    exposures = torch.from_numpy(exposed(truth[0].numpy()).values)[None]
    counts = Counts(exposures.sum(1), torch.ones_like(truth, dtype=torch.bool))
    held_out = repeated_trial(counts, exposures, NoiseModel(1.0))
    better, uncertainty = held_out.gained(2 * truth, 1.9 * truth.roll(1, -1))
    assert better > 5 * uncertainty
    assert held_out.gained(2 * truth, 2 * truth)[0] == 0
