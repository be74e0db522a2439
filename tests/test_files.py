"""Saving and loading: whole files only, every attribute back."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

import arpes_ml_plugins
from arpes_ml_plugins import SpectrumLibrary
from arpes_ml_plugins.errors import ParameterError, ReplayWarning
from arpes_ml_plugins.labelled.files import whole_file
from arpes_ml_plugins.labelled.recording import (
    arrays_as_text,
    arrays_from_text,
    read_back,
    unrecorded,
    written,
)

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


AWKWARD = {
    "nothing": None,
    "flag": True,
    "numpy flag": np.bool_(False),
    "nested": {"a": [1, {"b": None, (2, 3): "pair"}], 2: (3,)},
    "list": ["a", "b"],
    "array": np.arange(3.0),
    "number": np.float32(1.5),
    "text": "Å",
}


class TestPlainNetcdf:
    @pytest.mark.parametrize("engine", ["netcdf4", "h5netcdf"])
    def test_attributes_of_results_can_be_written(self, tmp_path, cut, engine):
        for data in (cut.assign_attrs(AWKWARD), cut.assign_attrs(AWKWARD).to_dataset()):
            result = data.S.decompose_pcp()
            result.to_netcdf(tmp_path / "result.nc", engine=engine)
            with xr.open_dataset(tmp_path / "result.nc", engine=engine) as again:
                xr.testing.assert_equal(again, result)

    def test_what_is_changed_for_it_is_little(self, cut):
        attrs = cut.assign_attrs(AWKWARD).S.decompose_pcp().low_rank.attrs
        assert "nothing" not in attrs
        for key, value in AWKWARD.items():
            if value is not None:
                assert np.all(attrs[key] == value), key
        assert isinstance(attrs["nested"], dict)
        assert attrs["nested"] is not AWKWARD["nested"]

    def test_its_provenance_is_read(self, tmp_path, cut):
        result = cut.S.decompose_pcp(sparsity=0.3)
        result.to_netcdf(tmp_path / "result.nc")
        again = arpes_ml_plugins.load(tmp_path / "result.nc")
        assert again.attrs["provenance"] == result.attrs["provenance"]
        xr.testing.assert_equal(arpes_ml_plugins.replay(again, cut), result)
        with xr.open_dataset(tmp_path / "result.nc") as opened:
            xr.testing.assert_equal(arpes_ml_plugins.replay(opened.load(), cut), result)


WITHOUT_PYARPES = """
import sys, arpes_ml_plugins
result = arpes_ml_plugins.load(sys.argv[1])
print(result.S.short_history(), result.arpes_ml.history[0]["record"]["parameters"]["sparsity"])
assert "arpes" not in sys.modules
"""


@pytest.mark.parametrize("plainly", [False, True])
def test_history_without_pyarpes(tmp_path, cut, plainly):
    cut.attrs["provenance"] = {"record": {"by": "load_MC"}, "parents_provanence": "a file"}
    result = cut.S.decompose_pcp(sparsity=0.3).low_rank.S.decompose_pcp(sparsity=0.4)
    if plainly:
        result.to_netcdf(tmp_path / "result.nc")
    else:
        arpes_ml_plugins.save(result, tmp_path / "result.nc")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITHOUT_PYARPES, str(tmp_path / "result.nc")],
        capture_output=True,
        text=True,
        check=False,
    )
    expected = "['decompose_pcp', 'decompose_pcp', 'load_MC', 'a file'] 0.4\n"
    assert done.stdout == expected, done.stderr


def forms():
    """Parameters of every kind that is recorded."""
    axis = xr.DataArray(np.arange(900.0), dims="eV", name="eV", attrs={"units": "eV"})
    axis = axis.assign_coords(eV=axis.values, label=("eV", ["a"] * 900), hv=21.2).eV
    return {
        "small": np.arange(3, dtype=np.int16),
        "large": np.arange(5000, dtype=np.float32).reshape(50, 100),
        "big-endian": np.arange(500, dtype=">f8"),
        "complex": np.arange(600).reshape(2, 300) * (1 + 2j),
        "few complex": np.array([1 + 2j]),
        "flags": np.arange(600) % 7 == 0,
        "axis": axis,
        "map": {"one": axis.astype("float32").rename("values"), "two": [axis, np.zeros((0, 3))]},
        "text": np.array(["one", "two"]),
        "number": np.array(3.0),
    }


@pytest.mark.parametrize("key", list(forms()))
def test_recorded_parameters_come_back(key):
    value, arrays = forms()[key], {}
    text = json.dumps(written(value, arrays))
    again = read_back(json.loads(text), arrays_from_text(arrays_as_text(arrays)))
    assert len(text) < 25_000
    assert unrecorded(json.loads(text), arrays) is None
    assert_alike(again, value)
    if arrays:
        assert "no longer beside" in unrecorded(json.loads(text), {})


def assert_alike(again, value):
    if isinstance(value, dict):
        assert list(again) == list(value)
        pairs = [(again[key], value[key]) for key in value]
    elif isinstance(value, list):
        pairs = list(zip(again, value, strict=True))
    else:
        assert again.dtype == value.dtype.newbyteorder("=")
        assert type(again) is type(value)
        same = again.identical(value) if isinstance(value, xr.DataArray) else (again == value).all()
        assert same
        return
    for one, other in pairs:
        assert_alike(one, other)


def test_equal_arrays_are_kept_once():
    arrays = {}
    written([np.arange(1000.0), np.arange(1000.0), np.arange(1000.0).reshape(10, 100)], arrays)
    assert len(arrays) == 2  # shapes differ


@pytest.fixture(scope="module")
def separated():
    energy = np.linspace(-1, 1, 300)
    peaks = np.stack([np.exp(-((energy - p) ** 2) / 0.02) for p in (-0.3, 0.2)])
    rng = np.random.default_rng(0)
    maps = 100 * (rng.random((12, 12, 2)) < 0.3)
    values = maps @ peaks + rng.normal(size=(12, 12, 300))
    image = xr.DataArray(values, {"eV": energy}, ("y", "x", "eV"))
    peak = xr.DataArray(peaks[0], {"eV": energy}, "eV")
    library = SpectrumLibrary.from_spectra({"left": peak}, shift=0.1, count=200)
    result = image.S.separate_sgmca(library=library, n_components=2, rng=1)
    return image, library, result


class TestReplayOfLargeParameters:
    """A library of more numbers than anybody wants to read in an attribute."""

    def test_in_memory(self, separated):
        image, _, result = separated
        xr.testing.assert_equal(arpes_ml_plugins.replay(result, image), result)

    def test_the_text_stays_short(self, separated):
        _, library, result = separated
        assert library["left"].size > 50_000
        assert len(repr(result.attrs["provenance"])) < 10_000

    @pytest.mark.parametrize("plainly", [False, True])
    def test_from_a_file(self, tmp_path, separated, plainly):
        image, _, result = separated
        if plainly:
            result.to_netcdf(tmp_path / "result.nc")
        else:
            arpes_ml_plugins.save(result, tmp_path / "result.nc")
        again = arpes_ml_plugins.load(tmp_path / "result.nc")
        xr.testing.assert_equal(arpes_ml_plugins.replay(again, image), result)

    def test_it_is_in_the_file_once(self, tmp_path, separated):
        _, library, result = separated
        arpes_ml_plugins.save(result, tmp_path / "result.nc")
        bare = xr.Dataset({name: (one.dims, one.data) for name, one in result.items()})
        arpes_ml_plugins.save(bare, tmp_path / "bare.nc")
        more = (tmp_path / "result.nc").stat().st_size - (tmp_path / "bare.nc").stat().st_size
        assert library["left"].nbytes < more < 1.5 * library["left"].nbytes

    def test_the_next_step_does_not_carry_it(self, separated):
        _, _, result = separated
        after = result.residual.S.decompose_pcp(dims=("eV", "x"))
        assert after.attrs["provenance"].arrays == {}
        assert after.S.short_history()[:2] == ["decompose_pcp", "separate_sgmca"]

    def test_numbers_that_were_lost_are_named(self, separated):
        image, _, result = separated
        bare = result.copy()
        bare.attrs["provenance"] = dict(bare.attrs["provenance"])
        with pytest.raises(ParameterError, match="'library'.*no longer beside the record"):
            arpes_ml_plugins.replay(bare, image)


def test_a_library_that_is_read_again_is_the_same_to_the_last_bit():
    rng, energy = np.random.default_rng(0), np.linspace(-1, 1, 77)
    family = xr.DataArray(rng.random((300, 77)), {"eV": energy}, ("sample", "eV"))
    library = SpectrumLibrary({"one": family})
    again = SpectrumLibrary(dict(library))
    assert (again["one"].values == library["one"].values).all()


class TestReplay:
    def test_without_provenance(self, cut):
        with pytest.raises(ParameterError, match="no provenance"):
            arpes_ml_plugins.replay(cut, cut)

    def test_other_values_warn(self, cut):
        result = cut.S.decompose_pcp()
        with pytest.warns(ReplayWarning, match="the values of the parent"):
            arpes_ml_plugins.replay(result, cut * 3)

    @pytest.mark.parametrize(
        "change", [lambda d: d.assign_coords(eV=d.eV + 0.1), lambda d: d.assign_attrs(beta=3.0)]
    )
    def test_other_axes_warn(self, cut, change):
        result = cut.S.decompose_pcp()
        with pytest.warns(ReplayWarning, match="axes, coordinates or temperature of the parent"):
            arpes_ml_plugins.replay(result, change(cut))

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


def test_lazy_variables_are_computed_together(tmp_path):
    """What several variables need is worked out once."""
    blocks = []

    def work(values):
        blocks.append(1)
        return values + 1

    one = xr.DataArray(np.ones(4), dims="x", name="one").chunk(x=2)
    shared = xr.apply_ufunc(work, one, dask="parallelized", output_dtypes=[float])
    data = xr.Dataset({"a": shared, "b": 2 * shared, "c": 3 * shared})
    arpes_ml_plugins.save(data, tmp_path / "x.nc")
    assert len(blocks) <= 3  # one of them is xarray's, which looks at the shape
    np.testing.assert_array_equal(arpes_ml_plugins.load(tmp_path / "x.nc").c, 6.0)
