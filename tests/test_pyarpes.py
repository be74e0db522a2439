"""With the real PyARPES: its data, its history, its other methods, its k-conversion."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import arpes_ml_plugins

pytest.importorskip("arpes.xarray_extensions")
pytestmark = pytest.mark.pyarpes


@pytest.fixture(scope="module")
def example():
    from arpes.io import example_data

    return example_data


def test_one_line_on_the_cut(example_cut):
    small = example_cut.isel(phi=slice(60, 140), eV=slice(100, 180))
    before = small.copy(deep=True)
    clean = small.S.denoise_pcp_unet(iterations=3, rng=0)
    assert small.identical(before)
    assert isinstance(clean, xr.Dataset)
    assert list(clean.data_vars) == list(small.data_vars)
    assert clean.S.spectrum.dims == ("phi", "eV")
    assert clean["time"].identical(small["time"])
    assert clean.S.hv == small.S.hv
    for new, old in ((clean, small), (clean["spectrum"], small["spectrum"])):
        different = {k for k in new.attrs if not np.array_equal(new.attrs[k], old.attrs.get(k))}
        assert different == {"id", "provenance"}
        # None stands for no value, which netCDF cannot hold.
        assert set(old.attrs) - set(new.attrs) == {k for k, v in old.attrs.items() if v is None}


def test_history_shows_both_steps(example_cut):
    small = example_cut["spectrum"].isel(phi=slice(60, 80), eV=slice(100, 120))
    clean = small.S.denoise_pcp_unet(iterations=2, rng=0)
    assert clean.S.short_history()[:2] == ["denoise_pcp_unet", "load_MC"]
    assert clean.S.history[0]["record"]["parameters"]["iterations"] == 2


def test_pyarpes_continues_the_history(example_cut):
    from arpes.analysis.filters import gaussian_filter_arr

    small = example_cut["spectrum"].isel(phi=slice(60, 80), eV=slice(100, 120))
    clean = small.S.denoise_pcp_unet(iterations=2, rng=0)
    smooth = gaussian_filter_arr(clean, {"phi": 0.01})
    assert "denoise_pcp_unet" in smooth.S.short_history()


def test_saving_a_pyarpes_result(example_cut, tmp_path):
    small = example_cut.isel(phi=slice(60, 80), eV=slice(100, 120))
    clean = small.S.denoise_pcp_unet(iterations=2, rng=0)
    arpes_ml_plugins.save(clean, tmp_path / "clean.nc")
    again = arpes_ml_plugins.load(tmp_path / "clean.nc")
    xr.testing.assert_equal(again, clean)
    assert again.S.short_history() == clean.S.short_history()
    assert again.attrs == clean.attrs
    replayed = arpes_ml_plugins.replay(again, small)
    assert (replayed["spectrum"].values == clean["spectrum"].values).all()


@pytest.mark.parametrize("engine", ["netcdf4", "h5netcdf"])
@pytest.mark.parametrize(
    ("method", "parameters"), [("denoise_pcp_unet", {"iterations": 2}), ("decompose_pcp", {})]
)
@pytest.mark.parametrize("as_dataset", [True, False])
def test_plain_to_netcdf(example_cut, tmp_path, engine, method, parameters, as_dataset):
    small = example_cut.isel(phi=slice(60, 80), eV=slice(100, 120))
    data = small if as_dataset else small["spectrum"]
    with pytest.raises(TypeError, match="Invalid value for attr"):  # PyARPES's own attributes
        data.to_netcdf(tmp_path / "data.nc", engine=engine)
    result = getattr(data.S, method)(rng=0, **parameters)
    assert result.S.short_history()[0] == method
    result.to_netcdf(tmp_path / "result.nc", engine=engine)
    again = arpes_ml_plugins.load(tmp_path / "result.nc")
    again = again if isinstance(result, xr.Dataset) else again[result.name]
    xr.testing.assert_equal(again, result)
    assert again.S.short_history() == result.S.short_history()
    xr.testing.assert_equal(arpes_ml_plugins.replay(again, data), result)


@pytest.mark.parametrize(
    ("name", "batch"),
    [("map", "theta"), ("photon_energy", "hv"), ("temperature_dependence", "temperature")],
)
def test_stacks_are_batches(example, name, batch):
    data = getattr(example, name)["spectrum"].isel({batch: slice(0, 2)}).isel(phi=slice(0, 24))
    clean = data.S.denoise_pcp_unet(iterations=2, networks=1, rng=0)
    assert clean.dims == data.dims
    assert clean.dtype == data.dtype
    xr.testing.assert_equal(clean[batch], data[batch])


def test_nano_xps_needs_dims(example):
    data = example.nano_xps["spectrum"]
    with pytest.raises(ValueError, match=r"no momentum axis.*y \(51\), x \(41\), eV \(95\)"):
        data.S.denoise_pcp_unet()
    parts = data.isel(y=slice(0, 2)).S.decompose_pcp(dims=("eV", "x"))
    assert parts.low_rank.dims == ("y", "x", "eV")


def test_after_k_conversion(example_cut):
    from arpes.utilities.conversion import convert_to_kspace

    converted = convert_to_kspace(example_cut["spectrum"].astype(float))
    converted = converted.isel(eV=slice(120, 180))
    holes = np.isnan(converted.values)
    assert holes.any()
    clean = converted.S.denoise_pcp_unet(iterations=2, networks=1, rng=0)
    assert clean.dims == converted.dims
    assert clean.name == converted.name
    assert (np.isnan(clean.values) == holes).all()
    xr.testing.assert_equal(clean["kp"], converted["kp"])
