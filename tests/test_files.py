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
        assert np.array_equal(again.attrs[key], value), key
    xr.testing.assert_equal(again, data)


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
