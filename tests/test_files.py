"""Saving and loading: whole files only, every attribute back."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import arpes_ml_plugins
from arpes_ml_plugins.errors import ParameterError, ReplayWarning
from arpes_ml_plugins.labelled.files import whole_file

ATTRS = {
    "none": None,
    "flag": True,
    "nested": {"a": [1, {"b": None}]},
    "list": [1, "two", None],
    "array": np.arange(3.0),
    "number": np.float32(1.5),
    "text": "Å",
    "tricky": "json:not json",
    "empty": [],
    "tuple": (1, (2, "x")),
    "numpy string": np.str_("x"),
    "huge": 2**70,
    "keys": {1: "one", (2, 3): "two"},
    "bytes": b"\x00\xff",
    "complex": 1 + 2j,
    "date": np.datetime64("2026-01-02"),
    "dates": np.array(["2026-01-02"], dtype="datetime64[D]"),
    "one": np.array([1.0]),
    "nul": "a\0b",
    "nan": float("nan"),
    "": "no name",
    5: "five",
    "NAME": "reserved",
    "coordinates": 3.0,
    "scale_factor": 2.0,
    "add_offset": 5,
    "_FillValue": 3,
    "missing_value": 4,
    "units": "days since 2000-01-01",
}


@pytest.mark.parametrize("as_dataset", [False, True])
def test_attributes_come_back(tmp_path, cut, as_dataset):
    data = cut.assign_attrs(ATTRS)
    data = data.to_dataset(promote_attrs=True) if as_dataset else data
    before = data.copy(deep=True)
    arpes_ml_plugins.save(data, tmp_path / "file.nc")
    again = arpes_ml_plugins.load(tmp_path / "file.nc")
    assert type(again) is type(data)
    assert data.identical(before)
    for key, value in ATTRS.items():
        assert type(again.attrs[key]) is type(value), key
        same = again.attrs[key] == value
        assert np.all(same) or value != value, key
    assert list(again.attrs) == list(data.attrs)
    xr.testing.assert_equal(again, data)


def test_attributes_of_coordinates_come_back(tmp_path, cut):
    cut["eV"].attrs = {"units": "eV", "scale_factor": 2.0, "calibrated": True, "days": "seconds"}
    arpes_ml_plugins.save(cut, tmp_path / "file.nc")
    again = arpes_ml_plugins.load(tmp_path / "file.nc")
    assert again.identical(cut)
    assert xr.open_dataset(tmp_path / "file.nc")["eV"].attrs["units"] == "eV"


def test_what_has_no_text_is_described(tmp_path, cut):
    cut.attrs["file"] = print
    arpes_ml_plugins.save(cut, tmp_path / "file.nc")
    assert arpes_ml_plugins.load(tmp_path / "file.nc").attrs["file"] == repr(print)


def test_units_become_an_attribute(tmp_path, cut):
    pint = pytest.importorskip("pint")
    quantity = pint.UnitRegistry().Quantity(cut.values.astype(float), "count")
    arpes_ml_plugins.save(cut.copy(data=quantity), tmp_path / "file.nc")
    again = arpes_ml_plugins.load(tmp_path / "file.nc")
    assert again.attrs["units"] == "count"
    assert (again.values == cut.values).all()


def test_files_of_others(tmp_path, cut):
    plain = cut.assign_attrs(note="json:not json", arpes_ml_attributes="nor this")
    del plain.attrs["mcp_voltage"], plain.attrs["tags"]
    plain.to_netcdf(tmp_path / "other.nc")
    assert arpes_ml_plugins.load(tmp_path / "other.nc")["spectrum"].attrs["note"] == "json:not json"
    plain.to_netcdf(tmp_path / "old.nc", format="NETCDF3_64BIT")
    assert arpes_ml_plugins.load(tmp_path / "old.nc")["spectrum"].shape == cut.shape
    (tmp_path / "text.nc").write_text("no netCDF")
    with pytest.raises(OSError, match="is no netCDF file"):
        arpes_ml_plugins.load(tmp_path / "text.nc")
    with pytest.raises(FileNotFoundError):
        arpes_ml_plugins.load(tmp_path / "none.nc")


def test_a_link_stays_a_link(tmp_path, cut):
    arpes_ml_plugins.save(cut, tmp_path / "file.nc")
    (tmp_path / "link.nc").symlink_to(tmp_path / "file.nc")
    arpes_ml_plugins.save(cut + 1, tmp_path / "link.nc")
    assert (tmp_path / "link.nc").is_symlink()
    assert (arpes_ml_plugins.load(tmp_path / "file.nc").values == cut.values + 1).all()


def test_provenance_grows_in_proportion_to_the_steps(cut):
    data, sizes = cut, []
    for _ in range(8):
        data = data.S.decompose_pcp().low_rank
        sizes.append(len(repr(data.attrs["provenance"])))
    assert sizes[-1] < 2.5 * sizes[3]


def test_the_result_shares_no_attributes_with_the_input(cut):
    result = cut.S.decompose_pcp().low_rank
    result.attrs["tags"].append("c")
    assert cut.attrs["tags"] == ["a", "b"]


def test_a_nameless_array_stays_nameless(tmp_path, cut):
    arpes_ml_plugins.save(cut.rename(None), tmp_path / "file.nc")
    assert arpes_ml_plugins.load(tmp_path / "file.nc").name is None


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), whole_file(path) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_not_xarray(tmp_path):
    with pytest.raises(TypeError, match="ndarray"):
        arpes_ml_plugins.save(np.zeros(3), tmp_path / "file.nc")


class TestReplay:
    def test_without_provenance(self, cut):
        with pytest.raises(ParameterError, match="no provenance"):
            arpes_ml_plugins.replay(cut, cut)

    def test_other_values_warn(self, cut):
        result = cut.S.decompose_pcp()
        with pytest.warns(ReplayWarning, match="the values of the parent"):
            arpes_ml_plugins.replay(result, cut * 3)

    def test_a_parameter_that_was_not_recorded(self, cut):
        result = cut.S.decompose_pcp()
        parameters = result.attrs["provenance"]["record"]["parameters"]
        parameters["sparsity"] = {"a": [{"not_recorded": "<function>"}]}
        with pytest.raises(ParameterError, match="'sparsity' was or held <function>"):
            arpes_ml_plugins.replay(result, cut)

    def test_not_xarray(self, cut):
        with pytest.raises(TypeError, match="ndarray"):
            arpes_ml_plugins.replay(cut.S.decompose_pcp(), cut.values)

    def test_a_decomposed_dataset_replays_without_warning(self, cut):
        dataset = cut.assign_attrs(id="array").to_dataset().assign_attrs(owner="me")
        result = dataset.S.decompose_pcp()
        assert result.attrs["owner"] == "me"
        xr.testing.assert_equal(arpes_ml_plugins.replay(result, dataset), result)

    def test_another_parent_warns(self, cut):
        cut.attrs["id"] = "one"
        result = cut.S.decompose_pcp()
        with pytest.warns(ReplayWarning, match="id one.*id two"):
            arpes_ml_plugins.replay(result, cut.assign_attrs(id="two"))

    def test_other_versions_warn(self, cut):
        result = cut.S.decompose_pcp()
        versions = result.attrs["provenance"]["record"]["environment"]["versions"]
        versions["torch"] = "0.1"
        with pytest.warns(ReplayWarning, match=r"torch 0\.1 -> "):
            arpes_ml_plugins.replay(result, cut)

    def test_restores_the_number_of_threads(self, cut):
        import torch

        result = cut.S.denoise_pcp_unet(iterations=2)
        before = torch.get_num_threads()
        result.attrs["provenance"]["record"]["environment"]["threads"] = 1
        arpes_ml_plugins.replay(result, cut)
        assert torch.get_num_threads() == before
