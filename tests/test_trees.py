"""Methods on trees of scans."""

from __future__ import annotations

import pytest
import xarray as xr

import arpes_ml_plugins
from arpes_ml_plugins.errors import DataError, FileError
from arpes_ml_plugins.testing.samples import sample_cut


@pytest.fixture
def tree():
    cold, hot = (sample_cut(seed=seed) for seed in (0, 1))
    return xr.DataTree.from_dict(
        {
            "/": xr.Dataset(attrs={"owner": "me"}),
            "/cold": cold.to_dataset(name="spectrum"),
            "/scans/hot": xr.Dataset({"spectrum": hot, "current": 3.0}),
            "/log": xr.Dataset({"pressure": ("time", [1.0, 2.0])}),
        },
        name="beamtime",
    )


def test_every_node_with_a_spectrum_is_worked_on(tree):
    before = tree.copy(deep=True)
    result = tree.arpes_ml.decompose_pcp()
    same = arpes_ml_plugins.decompose_pcp(tree)
    assert result.name == "beamtime"
    assert result.attrs == {"owner": "me"}
    assert result["/log"].to_dataset().identical(tree["/log"].to_dataset())
    for path in ("/cold", "/scans/hot"):
        alone = arpes_ml_plugins.decompose_pcp(tree[path].to_dataset())
        xr.testing.assert_equal(result[path].to_dataset(), alone)
        xr.testing.assert_equal(same[path].to_dataset(), alone)
    assert tree.identical(before)


def test_denoised_spectra_replace_the_measured_ones(tree):
    result = tree.arpes_ml.denoise_pcp_unet(iterations=2, rng=3)
    assert set(result["/scans/hot"].data_vars) == {"spectrum", "current"}
    alone = tree["/scans/hot/spectrum"].S.denoise_pcp_unet(iterations=2, rng=3)
    xr.testing.assert_equal(result["/scans/hot/spectrum"], alone)
    record = result["/cold/spectrum"].attrs["provenance"]["record"]
    assert record["by"] == "denoise_pcp_unet"


def test_part_of_a_tree(tree):
    result = tree["/scans"].arpes_ml.decompose_pcp()
    assert set(result.children) == {"hot"}


def test_an_error_names_its_node(tree):
    broken = tree.copy()
    broken["/scans/hot"] = broken["/scans/hot"].isel(phi=slice(0, 1))
    with pytest.raises(ValueError, match="node '/scans/hot'"):
        broken.arpes_ml.decompose_pcp()


def test_without_any_data(tree):
    with pytest.raises(DataError, match="no node of the tree"):
        tree["/log"].arpes_ml.decompose_pcp()


def test_methods_are_listed(tree):
    assert "denoise" in dir(tree.arpes_ml)


def test_each_node_has_a_store_in_the_folder(tree, tmp_path):
    pytest.importorskip("zarr")
    pytest.importorskip("dask")
    options = {"adapt": False, "gain": 1, "rng": 0, "mesh": None}
    expected = tree.arpes_ml.denoise_pretrained(**options)
    for _ in range(2):  # the second call finds the results of the first
        result = tree.arpes_ml.denoise_pretrained(out=tmp_path / "clean", **options)
        assert {path.name for path in tmp_path.iterdir()} == {"clean"}
        stores = {path.name for path in (tmp_path / "clean").iterdir()}
        assert stores == {"cold.zarr", "scans.hot.zarr"}
        for path in ("/cold/spectrum", "/scans/hot/spectrum"):
            xr.testing.assert_allclose(result[path], expected[path])


def test_a_tree_leaves_no_empty_folder_and_no_result_of_others(tree, tmp_path):
    pytest.importorskip("zarr")
    pytest.importorskip("dask")
    options = {"adapt": False, "gain": 1, "rng": 0, "mesh": None}
    with pytest.raises(DataError, match="no node of the tree"):
        tree["/log"].arpes_ml.denoise_pretrained(out=tmp_path / "clean", **options)
    assert not list(tmp_path.iterdir())
    tree["/cold"].to_dataset().S.denoise_pretrained(out=tmp_path / "clean", **options)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(FileError, match="result for a single scan"):
        tree.arpes_ml.denoise_pretrained(out=tmp_path / "clean", **options)
    assert sorted(tmp_path.rglob("*")) == before


def test_nodes_whose_names_hold_dots_have_stores_of_their_own():
    from arpes_ml_plugins.plugins.into_store import _name_of

    assert len({_name_of(path) for path in ("/a/b", "/a.b", "/a%2Eb", "/")}) == 4
