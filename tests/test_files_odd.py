"""Objects of every kind come back from a file as they were, or are refused with advice."""

from __future__ import annotations

import warnings

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given

import arpes_ml_plugins
from arpes_ml_plugins.errors import ArpesMLError, DataTypeError

NUMBERS = np.arange(6.0)


def array(values=NUMBERS, dims=("x",), name="v", attrs=None, **coords):
    return xr.DataArray(values, coords, dims, name, attrs)


def square():
    return array(NUMBERS.reshape(2, 3), ("y", "x"), y=["a", "b"], x=[1, 2, 3])


ODD = {
    "dimension values": lambda: array(dims=("values",)),
    "axis values": lambda: xr.DataArray(NUMBERS, {"values": NUMBERS}, ("values",)),
    "int": lambda: array(name=5, dims=(3,)),
    "tuple": lambda: array(name=("a", 1), dims=(("d", 2),)),
    "None": lambda: xr.Dataset({None: ("x", NUMBERS), True: ("x", NUMBERS), 1.5: ("x", NUMBERS)}),
    "slashes": lambda: xr.Dataset(
        dict.fromkeys(("a/b", "/", "", ".", "..", " x"), ("p/q", NUMBERS))
    ),
    "long": lambda: array(name="é" * 200, dims=("y" * 300,)),
    "our own names": lambda: xr.Dataset(
        dict.fromkeys(("values", "arpes_ml_parameters", "arpes_ml_layout", "_nc4_x"), 1)
    ),
    "half a surrogate": lambda: array(
        list("abcde\ud800"), name="\udc80", attrs={"a": "\ud800", "\udc00": 1}
    ),
    "MultiIndex": lambda: square().stack(s=("y", "x")),
    "MultiIndex of one level": lambda: square().stack(s=("y",)),
    "MultiIndex in a Dataset": lambda: square().stack(s=("y", "x")).to_dataset(),
    "categories": lambda: array(x=pd.Categorical(list("abcabc"))),
    "ordered categories": lambda: array(
        c=("x", pd.Categorical([3, 1, 2, 3, 1, None], ordered=True))
    ),
    "objects": lambda: array(o=("x", np.array([1, "a", None, 2.5, (1, 2), {"a": 1}], object))),
    "text": lambda: array(o=("x", np.array(["a", "", "é", "x", "y", "\0"], object))),
    "pandas text": lambda: array(x=pd.Index(list("abcdef"))),
    "units of a duration": lambda: array(
        np.array([3, -5], "m8[s]"), attrs={"units": "K", "calendar": 1, "dtype": "float"}
    ),
    "time axis": lambda: array(x=pd.date_range("2020", periods=6)).assign_attrs(units="seconds"),
    "reserved attributes": lambda: array(
        attrs={"units": "days since 2000", "dtype": "bool", "_FillValue": 3.0, "coordinates": "x"}
    ),
    "not numbers": lambda: array(np.array([np.nan, np.inf, -np.inf, -0.0, 1, 2])),
    "scalar coordinates": lambda: array(t=np.datetime64("2020"), flag=True, label="a"),
    "nothing": lambda: xr.Dataset(attrs={"a": None}),
    "lazy": lambda: array().chunk(x=2),
    "odd encoding": lambda: _encoded(array()),
}


def _encoded(data):
    data.encoding = {"dtype": "int16", "scale_factor": 0.1, "chunksizes": (99,), "zlib": True}
    return data


def check_round_trip(data, path):
    before = data.copy(deep=True)
    arpes_ml_plugins.save(data, path)
    again = arpes_ml_plugins.load(path)
    assert type(again) is type(data)
    assert again.identical(before)
    assert data.identical(before)
    for name in again.coords:
        assert again[name].dtype == data[name].dtype, name
    if isinstance(data, xr.DataArray):
        assert again.dtype == data.dtype
        assert type(again.name) is type(data.name)
    assert [item.name for item in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("name", list(ODD))
def test_odd_objects_come_back(tmp_path, name):
    check_round_trip(ODD[name](), tmp_path / "odd.nc")


@pytest.mark.parametrize("name", list(ODD))
def test_any_program_can_read_the_file(tmp_path, name):
    arpes_ml_plugins.save(ODD[name](), tmp_path / "odd.nc")
    with xr.open_dataset(tmp_path / "odd.nc", engine="h5netcdf", decode_timedelta=False) as opened:
        opened.load()


def test_times_mean_the_same_to_other_programs(tmp_path):
    data = array(x=pd.date_range("2020-02-03", periods=6), name="v")
    arpes_ml_plugins.save(data.to_dataset(), tmp_path / "times.nc")
    with xr.open_dataset(tmp_path / "times.nc", engine="netcdf4") as opened:
        assert (opened.x.values == data.x.values).all()


class TestRewritten:
    """Files of ours that other programs have read and written again."""

    @pytest.fixture
    def data(self):
        return array(
            x=pd.date_range("2020", periods=6), attrs={"none": None}, flag=("x", NUMBERS > 2)
        )

    def rewrite(self, data, path, change, encoding=None):
        arpes_ml_plugins.save(data, path)
        with xr.open_dataset(path) as opened:
            changed = change(opened.load())
        changed.to_netcdf(path, engine="h5netcdf", encoding=encoding)
        return arpes_ml_plugins.load(path)

    def test_nothing_changed(self, tmp_path, data):
        again = self.rewrite(data, tmp_path / "a.nc", lambda opened: opened)
        assert again.identical(data)

    def test_other_values_and_attributes(self, tmp_path, data):
        def change(opened):
            opened["values"].attrs["new"] = 5
            return opened.isel(x=slice(2)) + 1

        with xr.set_options(keep_attrs=True):
            again = self.rewrite(data, tmp_path / "a.nc", change)
            expected = data.isel(x=slice(2)) + 1
        assert again.identical(expected.assign_attrs(none=None, new=5))

    def test_other_units_of_time(self, tmp_path, data):
        units = {"x": {"units": "hours since 1999-01-01", "dtype": "float64"}}
        again = self.rewrite(data, tmp_path / "a.nc", lambda opened: opened, units)
        xr.testing.assert_equal(again, data)
        assert again.name == "v"

    def test_other_variables(self, tmp_path, data):
        again = self.rewrite(data, tmp_path / "a.nc", lambda opened: opened.assign(new=1))
        assert again.new == 1
        assert (again["values"].values == NUMBERS).all()
        assert (again.x.values == data.x.values).all()

    def test_renamed(self, tmp_path, data):
        again = self.rewrite(data, tmp_path / "a.nc", lambda opened: opened.rename(x="when"))
        xr.testing.assert_equal(again, data.rename(x="when"))

    def test_text_of_a_layout_as_an_attribute(self, tmp_path, data):
        arpes_ml_plugins.save(data.to_dataset(), tmp_path / "a.nc")
        with xr.open_dataset(tmp_path / "a.nc") as opened:
            check_round_trip(opened.load(), tmp_path / "a.nc")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (array(o=("x", np.array([print] * 6, object))), "'o' has values of type builtin_function"),
        (array(np.zeros(6, "i4,f8")), "'v' has values of type"),
        (array(NUMBERS.astype(np.longdouble)), "astype"),
        (array(x=pd.period_range("2020", periods=6)), "'x' has values of the pandas type period"),
        (xr.Dataset({frozenset([1]): ("x", NUMBERS)}), "rename it to text"),
    ],
)
def test_what_no_file_can_hold_is_refused(tmp_path, data, words):
    with pytest.raises(DataTypeError, match=words):
        arpes_ml_plugins.save(data, tmp_path / "no.nc")
    assert list(tmp_path.iterdir()) == []


def test_attributes_that_hold_themselves_are_refused(tmp_path):
    data = array()
    data.attrs["me"] = data.attrs
    with pytest.raises(DataTypeError, match="holds itself.*'me'"):
        arpes_ml_plugins.save(data, tmp_path / "no.nc")


names = st.one_of(
    *(st.text(max_size=8), st.integers(), st.none(), st.booleans(), st.floats(allow_nan=False)),
    st.tuples(st.text(max_size=3), st.integers()),
    st.sampled_from(["values", "a/b", "units", "x", "é" * 130, "arpes_ml_layout"]),
)
dtypes = st.one_of(
    *(hnp.boolean_dtypes(), hnp.integer_dtypes(), hnp.unsigned_integer_dtypes()),
    *(hnp.floating_dtypes(sizes=(16, 32, 64)), hnp.complex_number_dtypes(sizes=(64, 128))),
    *(hnp.datetime64_dtypes(min_period="ns", max_period="s"), hnp.unicode_string_dtypes(max_len=4)),
    *(hnp.timedelta64_dtypes(min_period="ns", max_period="s"), hnp.byte_string_dtypes(max_len=4)),
)
plain_values = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.binary(max_size=5)),
    st.floats(allow_nan=False),
    st.complex_numbers(allow_nan=False),
)
values = st.recursive(
    plain_values,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.text(max_size=3), inner, max_size=3),
    ),
    max_leaves=6,
)
attributes = st.dictionaries(st.one_of(names, st.text(max_size=4)), values, max_size=4)


@st.composite
def datasets(draw):
    """Dimensions, axes, variables and attributes with names and types of any kind."""
    dims = draw(st.lists(names, max_size=3, unique=True))
    sizes = {dim: draw(st.integers(0, 3)) for dim in dims}
    used = st.lists(st.sampled_from(dims), unique=True) if dims else st.just([])
    data = xr.Dataset(attrs=draw(attributes))
    for name in draw(st.lists(names, max_size=4, unique=True)):
        own = [name] if name in sizes else draw(used)
        content = draw(hnp.arrays(draw(dtypes), tuple(sizes[dim] for dim in own)))
        variable = xr.Variable(own, content, draw(attributes))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                data = data.assign({name: variable})
                data = data.set_coords(name) if draw(st.booleans()) else data
        except (ValueError, TypeError, OverflowError):  # xarray has no such object
            continue
    for dim in dims:
        if draw(st.booleans()) and f"kind of {dim}" not in data:
            kinds = draw(st.lists(st.sampled_from("abc"), min_size=1, unique=True))
            drawn = hnp.arrays(int, sizes[dim], elements=st.integers(-1, len(kinds) - 1))
            codes = pd.Categorical.from_codes(draw(drawn), kinds, ordered=draw(st.booleans()))
            data = data.assign_coords({f"kind of {dim}": ([dim], codes)})
    if len(dims) > 1 and draw(st.booleans()):
        try:
            stacked = data.stack(both=dims[:2])
            repr(stacked)  # xarray cannot even show levels whose names are no text
            return stacked
        except (ValueError, TypeError, KeyError, NotImplementedError):  # as above
            return data
    return data


@pytest.mark.fuzz
@given(datasets())
def test_generated_objects_come_back_or_are_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("odd") / "data.nc"
    before = data.copy(deep=True)
    try:
        arpes_ml_plugins.save(data, path)
    except ArpesMLError as error:
        assert len(str(error)) > 30  # noqa: PT017
        return
    again = arpes_ml_plugins.load(path)
    assert again.identical(before)
    assert {k: v.dtype for k, v in again.variables.items()} == {
        k: v.dtype for k, v in before.variables.items()
    }
    assert data.identical(before)


@pytest.mark.parametrize("values", [[], [1.0, 2.0, 3.0]])
def test_half_precision_axes_come_back_without_a_warning(tmp_path, values):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # xarray's, of the index that it makes
        axis = xr.Variable("x", np.array(values, dtype=np.float16))
        data = xr.Dataset({"a": ("x", np.zeros(len(values)))}, {"x": axis})
    arpes_ml_plugins.save(data, tmp_path / "data.nc")
    again = arpes_ml_plugins.load(tmp_path / "data.nc")
    assert again.identical(data)
    assert again.x.dtype == np.float16
    again = arpes_ml_plugins.load(tmp_path / "data.nc")["a"]
    arpes_ml_plugins.save(again, tmp_path / "array.nc")
    assert arpes_ml_plugins.load(tmp_path / "array.nc").identical(data["a"])
