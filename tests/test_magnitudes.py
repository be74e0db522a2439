"""Units as odd as they may be: results scale with the data, or an error says why not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import arpes_ml_plugins
from arpes_ml_plugins.errors import DataError
from arpes_ml_plugins.labelled.apply import Image, map_images
from arpes_ml_plugins.labelled.magnitudes import RANGES, check_magnitudes, narrowed
from arpes_ml_plugins.testing.samples import sample_cut

IN_RANGE = [1e-60, 2.0**200]
OUT_OF_RANGE = [5e-324, 1e-310, 1e-100, 1e100, 1e300]
GAIN = ("gain", "gain_error", "step")


@pytest.mark.parametrize("scale", IN_RANGE)
@pytest.mark.parametrize("method", ["decompose_pcp", "remove_mesh", "separate_gmca"])
@pytest.mark.filterwarnings("ignore:separate_:arpes_ml_plugins.errors.DistributionWarning")
def test_results_scale(method, scale):
    roles = ("energy", "space") if method == "separate_gmca" else ("energy", "momentum")
    options = {"n_components": 2} if method == "separate_gmca" else {}
    data = sample_cut(roles).astype(float)
    run = getattr(arpes_ml_plugins, method)
    plain = run(data, rng=0, device="cpu", **options)
    scaled = run(data * scale, rng=0, device="cpu", **options)
    for name in {"low_rank", "sparse", "clean", "maps", "reconstruction"} & set(plain.data_vars):
        expected, top = plain[name].values, float(abs(plain[name]).max())
        np.testing.assert_allclose(scaled[name].values / scale, expected, rtol=0, atol=1e-6 * top)


@pytest.mark.parametrize("scale", IN_RANGE)
def test_the_noise_estimate_scales(scale):
    data = sample_cut().astype(float)
    plain, scaled = (arpes_ml_plugins.estimate_noise(d, device="cpu") for d in (data, data * scale))
    assert scaled.kind == plain.kind == "counts"
    for name in GAIN:
        np.testing.assert_allclose(scaled[name] / scale, plain[name], rtol=1e-6)


@pytest.mark.parametrize("scale", IN_RANGE)
def test_the_loss_of_a_fit_scales(scale):
    data = sample_cut().astype(float)
    options = {"recipe": "published", "iterations": 2, "rng": 0, "device": "cpu"}
    plain, scaled = (
        arpes_ml_plugins.decompose_pcp_unet(d, precision="float32", **options)
        for d in (data, data * scale)
    )
    np.testing.assert_allclose(scaled.loss / scale**2, plain.loss, rtol=1e-4)  # a sum of squares


@pytest.mark.parametrize("scale", OUT_OF_RANGE)
@pytest.mark.parametrize("lazy", [False, True])
def test_what_cannot_scale_is_refused(scale, lazy):
    data = sample_cut(batch=2) * scale
    data = data.chunk(temperature=1) if lazy else data
    with pytest.raises(DataError, match=r"another unit, for example data / .*e[+-]"):
        arpes_ml_plugins.decompose_pcp(data).compute(scheduler="synchronous")


def test_an_outlier_no_number_can_square_is_told_from_a_unit():
    data = sample_cut().astype(float)
    data[3, 4] = 1e250
    with pytest.raises(DataError, match=r"1e\+250.*outlier"):
        arpes_ml_plugins.denoise_pretrained(data)


def test_results_beyond_the_range_of_the_dtype_are_refused():
    data, options = sample_cut().astype("float16"), {"method": "test", "device": "cpu"}
    arrays = map_images(data, ("eV", "phi"), double, {"clean": Image()}, **options)
    assert arrays["clean"].dtype == np.float16
    with pytest.raises(DataError, match="float16.*astype"):
        map_images(data * np.float16(1500), ("eV", "phi"), double, {"clean": Image()}, **options)
    assert np.isnan(narrowed(np.array([7e4, np.nan]), np.dtype("float32"))[1])


def double(batch):
    return {"clean": 2 * batch.images}


@given(
    exponent=st.integers(-300, 300),
    dtype=st.sampled_from(["float32", "float64", "complex128"]),
    missing=st.booleans(),
)
@settings(max_examples=60, derandomize=True, deadline=None)
def test_the_check_is_about_the_largest_magnitude(exponent, dtype, missing):
    top = np.array(10.0**exponent)
    with np.errstate(over="ignore", under="ignore"):
        values = np.array([0.0, -top, np.nan if missing else top / 2]).astype(dtype)
    if not np.isfinite(values[:2]).all():
        return
    smallest, largest = RANGES[4 if dtype == "float32" else 8]
    size = np.abs(values[1])
    if size == 0 or smallest <= size <= largest:
        check_magnitudes(values)
    else:
        with pytest.raises(DataError):
            check_magnitudes(values)


@pytest.mark.parametrize("values", [np.zeros(3), np.full(3, np.nan), np.arange(3), np.empty(0)])
def test_zeros_gaps_and_integers_have_no_magnitude(values):
    check_magnitudes(values)
