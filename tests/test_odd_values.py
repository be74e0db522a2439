"""Images of one value, with hardly any pixel, of extreme integers: right, or an error of ours."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import arpes_ml_plugins
from arpes_ml_plugins.errors import ArpesMLError, AxisError, DataError
from arpes_ml_plugins.testing.samples import sample_cut

QUICK = {"rng": 0, "device": "cpu"}


@pytest.mark.parametrize("value", [0.0, 3.0, -2e4, 1e60])
def test_an_image_of_one_value_is_left_as_it_is(value):
    image = xr.full_like(sample_cut().astype(float), value)
    image[2, 3] = np.nan
    seen = []
    parts = arpes_ml_plugins.decompose_pcp_unet(image, progress=seen.append, **QUICK)
    xr.testing.assert_equal(parts.clean.drop_attrs(), image.drop_attrs())
    assert float(parts.loss.sum()) == float(abs(parts.sparse).sum()) == 0
    assert seen[-1].done == seen[-1].total
    xr.testing.assert_allclose(arpes_ml_plugins.decompose_pcp(image, **QUICK).low_rank, image)


def test_an_image_of_one_value_among_others():
    data = sample_cut(batch=3).astype(float)
    data[1] = 7.0
    options = QUICK | {"iterations": 2, "precision": "float32"}
    alone = arpes_ml_plugins.denoise_pcp_unet(data[:1], **options)
    for batch_size in (1, 3):
        clean = arpes_ml_plugins.denoise_pcp_unet(data, batch_size=batch_size, **options)
        assert (clean[1] == 7).all()
        assert float(clean[0].std()) > 1
        if batch_size == 1:
            np.testing.assert_array_equal(clean[0], alone[0])


@pytest.mark.parametrize("kept", [1, 3, 40])
def test_hardly_any_pixel_tells_nothing_of_the_noise(kept):
    data = sample_cut().astype(float)
    few = data.where(np.arange(data.size).reshape(data.shape) < kept)
    noise = arpes_ml_plugins.estimate_noise(few, **QUICK)
    assert noise.kind == "unknown"
    with pytest.raises(DataError, match="too few pixels"):
        arpes_ml_plugins.denoise_pretrained(few, adapt=False, **QUICK)


@pytest.mark.filterwarnings("ignore:.*:arpes_ml_plugins.errors.CountsWarning")
def test_a_single_pixel_of_known_gain():
    data = sample_cut().astype(float)
    one = data.where(np.arange(data.size).reshape(data.shape) == 37)
    clean = arpes_ml_plugins.denoise_pretrained(one, gain=1, adapt=False, **QUICK)
    assert int(clean.notnull().sum()) == 1


@pytest.mark.parametrize("value", [0, 3, np.iinfo("int64").max])
def test_without_any_noise_there_is_no_gain(value):
    noise = arpes_ml_plugins.estimate_noise(xr.full_like(sample_cut(), value), **QUICK)
    assert noise.kind == "unknown"
    assert np.isnan(noise.gain)
    assert not np.isinf(noise.mean_counts)


class TestSeparation:
    def test_spectra_are_normalised_where_channels_are_constant(self):
        data = sample_cut(("energy", "space")).astype(float)
        data[{"eV": slice(0, 4)}] = 500.0
        with pytest.warns(UserWarning, match="constant channels"):
            parts = arpes_ml_plugins.separate_gmca(data, n_components=2, **QUICK)
        varying = abs(parts.spectra.isel(eV=slice(4, None)))
        np.testing.assert_allclose(varying.max("eV"), 1, rtol=1e-6)

    def test_one_channel_that_changes(self):
        data = xr.zeros_like(sample_cut(("energy", "space"))).astype(float)
        data[{"eV": 3}] = np.arange(16.0)
        with pytest.raises(DataError, match="channels that change from pixel to pixel: 1"):
            arpes_ml_plugins.choose_components(data, **QUICK)

    @pytest.mark.filterwarnings("ignore:separate_:arpes_ml_plugins.errors.DistributionWarning")
    @pytest.mark.parametrize("scale", [1e-310, 1e300, np.inf, np.nan])
    def test_energies_that_cannot_be_reckoned_with(self, scale):
        data = sample_cut(("energy", "space"))
        odd = data.assign_coords(eV=np.r_[data.eV.values[:-1] * min(scale, 1e300), scale])
        parts = arpes_ml_plugins.separate_gmca(odd, n_components=2, **QUICK)
        plain = arpes_ml_plugins.separate_gmca(data.drop_vars("eV"), n_components=2, **QUICK)
        np.testing.assert_array_equal(parts.spectra, plain.spectra)

    @pytest.mark.parametrize("energies", ["words", "complex", "dates"])
    def test_a_library_needs_energies(self, library, energies):
        data = sample_cut(("energy", "space"))
        values = {
            "words": [f"a{i}" for i in range(20)],
            "complex": data.eV.values + 1j,
            "dates": np.arange(20).astype("M8[ns]"),
        }[energies]
        with pytest.raises(AxisError, match="must hold real numbers"):
            arpes_ml_plugins.separate_sgmca(data.assign_coords(eV=values), library=library, **QUICK)


def test_levels_of_an_index_survive_silently():
    data = sample_cut().expand_dims(p=[0, 1], q=["a", "b"]).stack(pq=("p", "q"))
    parts = arpes_ml_plugins.decompose_pcp(data, **QUICK)
    assert parts.low_rank.indexes["pq"].equals(data.indexes["pq"])


def test_units_of_lazy_parts():
    pint = pytest.importorskip("pint")
    data = sample_cut(batch=2).drop_vars("channel").astype(float)
    lazy = data.chunk(temperature=1)
    lazy = lazy.copy(data=pint.UnitRegistry().Quantity(lazy.data, "count / second"))
    parts = arpes_ml_plugins.decompose_pcp(lazy, **QUICK)
    # By itself: xarray computes no Dataset of lazy arrays with units (of pint 0.26) and without.
    low_rank = parts.low_rank.compute(scheduler="synchronous")
    units = getattr(low_rank.data, "units", low_rank.attrs.get("units"))  # before and since 0.26
    assert str(units) == "count / second"
    expected = arpes_ml_plugins.decompose_pcp(data, **QUICK)
    low_rank = low_rank.copy(data=getattr(low_rank.data, "magnitude", low_rank.data))
    xr.testing.assert_allclose(low_rank, expected.low_rank)
    clean = arpes_ml_plugins.denoise_pretrained(lazy, gain=1, adapt=False, series=None, **QUICK)
    assert str(clean.data.units) == "count / second"


DTYPES = ["int8", "uint8", "int64", "uint64", "float16", "float32", "float64", ">f4", ">i2"]


@st.composite
def images(draw):
    """Small images of any type, range and layout, with or without gaps."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(st.tuples(st.integers(0, 3), st.integers(0, 12), st.integers(0, 12)))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        values = random.integers(limits.min, limits.max, shape, dtype.newbyteorder("="), True)
    else:
        exponents = random.uniform(*draw(st.sampled_from([(-2, 2), (-320, 300), (-40, 38)])), shape)
        with np.errstate(over="ignore", under="ignore"):
            values = (random.choice([-1, 0, 1], shape) * 10.0**exponents).astype(dtype)
        values[random.random(shape) < draw(st.sampled_from([0, 0.2, 0.99]))] = np.nan
    values = values.astype(dtype)
    order = draw(st.sampled_from(["C", "F", "reversed", "read-only"]))
    if order == "F":
        values = np.asfortranarray(values)
    elif order == "reversed":
        values = values[:, ::-1, ::-1]
    values.setflags(write=order != "read-only")
    return xr.DataArray(values, dims=("scan", "phi", "eV"))


@pytest.mark.fuzz
@pytest.mark.filterwarnings("ignore:.*:arpes_ml_plugins.errors.ConvergenceWarning")
@given(data=images(), lazy=st.booleans())
def test_any_image_gives_parts_that_add_up_or_an_error(data, lazy):
    before = data.copy(deep=True)
    try:
        given_data = data.chunk(scan=1) if lazy and data.size else data
        parts = arpes_ml_plugins.decompose_pcp(given_data, **QUICK).compute(scheduler="synchronous")
    except ArpesMLError:
        return
    finally:
        assert data.identical(before)
    for array in (parts.low_rank, parts.sparse):
        np.testing.assert_array_equal(np.isnan(array.values), np.isnan(data.values.astype(float)))
    total = (parts.low_rank.astype(float) + parts.sparse.astype(float)).fillna(0).values
    assert np.isfinite(total).all()
    wide = np.nan_to_num(data.values.astype(float))
    top = np.abs(wide).max((1, 2), keepdims=True)
    # The sum holds to the tolerance of the solver for the image with its gaps filled.
    assert (np.abs(total - wide) <= 1e-2 * top)[parts.converged.values].all()
