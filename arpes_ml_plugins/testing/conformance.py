"""Tests that every method passes: subclass :class:`ConformanceSuite` and name the method."""

from __future__ import annotations

import ast
import copy
import inspect
import pickle
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import xarray as xr
from numpy.random import default_rng

from arpes_ml_plugins.errors import (
    ArpesMLError,
    DataError,
    DataTypeError,
    DeviceError,
    ParameterError,
)
from arpes_ml_plugins.labelled.axes import IMAGE, resolve_dims
from arpes_ml_plugins.labelled.files import load, save
from arpes_ml_plugins.labelled.provenance import read_provenance
from arpes_ml_plugins.labelled.seeds import seed_from
from arpes_ml_plugins.plugins.call import public_function
from arpes_ml_plugins.plugins.docstrings import documented_parameters, section_of
from arpes_ml_plugins.plugins.manager import plugins
from arpes_ml_plugins.plugins.registry import COMMON_PARAMETERS, Method
from arpes_ml_plugins.plugins.replay import replay
from arpes_ml_plugins.testing.process_state import default_dtype, left_alone, many_switches
from arpes_ml_plugins.testing.samples import ROLE_AXES, sample_cut

__all__ = ["ConformanceSuite"]

THREADS = 3
TOLERANCE = 1e-5  # relative to the largest value: float32 arithmetic in another order


class ConformanceSuite:
    """Tests of a method, which pytest runs for every subclass that sets :attr:`method`."""

    method: ClassVar[str]
    """Name of the registered method."""
    parameters: ClassVar[dict[str, Any]] = {}
    """Parameters with which the method is fast; accuracy is not tested here."""
    reports_progress: ClassVar[bool] = True
    """Set this to False for a method that needs no progress reports."""
    one_answer: ClassVar[bool] = False
    """Set this to True for a method that returns one result for all images together."""
    axes: ClassVar[tuple[str, ...]] = ()
    """Roles of the axes of the test data, if the method needs more than its own roles."""

    added: ClassVar[tuple[str, ...]] = ()
    """Dimensions of the result that the data do not have."""

    device: ClassVar[str] = "cpu"
    """Where methods run; the tests of this package take it from the option ``--device``."""

    _baselines: ClassVar[dict[tuple[int, str | None], Any]]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._baselines = {}

    # -- the subject ---------------------------------------------------------------------------

    @property
    def registered(self) -> Method:
        return plugins().methods[self.method]

    def sample(self, **options: Any) -> xr.DataArray:
        """Data with the axes that the method needs."""
        return sample_cut(self.axes or self.registered.roles, **options)

    def run(self, data: Any, **parameters: Any) -> Any:
        """Call the method with a fixed seed and the quick parameters."""
        given = {"rng": 7, "device": self.device, **self.parameters, **parameters}
        return public_function(self.registered)(data, **given)

    def baseline(self, batch: int = 0, dtype: str | None = None) -> Any:
        """The result for the plain sample, computed once for all checks that compare with it."""
        key = (batch, dtype)
        if key not in self._baselines:
            data = self.sample(batch=batch)
            self._baselines[key] = self.run(data if dtype is None else data.astype(dtype))
        return self._baselines[key].copy(deep=True)

    def images(self, result: Any) -> dict[str, xr.DataArray]:
        """Those arrays of a result that have the axes of the input, where it is new the first."""
        if isinstance(result, xr.DataArray):
            return {"": result.isel(dict.fromkeys(self.added, 0), drop=True)}
        axes = {ROLE_AXES[role][0] for role in self.axes or self.registered.roles}
        return {str(k): v for k, v in result.data_vars.items() if axes <= set(v.dims)}

    def arrays(self, result: Any) -> dict[str, xr.DataArray]:
        """All arrays of a result."""
        if isinstance(result, xr.DataArray):
            return {"": result}
        return {str(name): array for name, array in result.data_vars.items()}

    def assert_same_values(self, result: Any, other: Any) -> None:
        left, right = (
            x.to_dataset(name="v") if isinstance(x, xr.DataArray) else x for x in (result, other)
        )
        assert set(left.data_vars) == set(right.data_vars)
        for name in left.data_vars:
            if right[name].dtype.kind not in "iufbc":
                assert left[name].equals(right[name]), name
                continue
            kind = complex if right[name].dtype.kind == "c" else float
            a, b = (np.asarray(side[name].values, dtype=kind) for side in (left, right))
            assert a.shape == b.shape
            scale = _scale_of(right, name) or 1.0
            np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCE * scale, err_msg=str(name))

    def assert_repeated(self, result: Any, other: Any) -> None:
        """The same bits, or on a GPU, which may add in any order, the same values."""
        if self.device == "cpu":
            xr.testing.assert_equal(result, other)
        else:
            self.assert_same_values(result, other)

    # -- labels --------------------------------------------------------------------------------

    def test_keeps_labels(self) -> None:
        data = self.sample(batch=2)
        result = self.run(data)
        for array in self.images(result).values():
            assert array.dims == data.dims
            assert set(array.coords) == set(data.coords)
            for name in data.coords:
                assert array.coords[name].identical(data.coords[name]), name
            for key, value in data.attrs.items():  # None, which netCDF cannot hold, may be absent
                assert array.attrs.get(key) == value
        if isinstance(result, xr.DataArray):
            assert result.name == data.name

    def test_every_output_has_the_batch(self) -> None:
        if self.one_answer:
            pytest.skip("one answer for all images")
        for array in self.arrays(self.baseline(batch=2)).values():
            assert array.sizes["temperature"] == 2
            assert "hv" in array.coords

    def test_dimension_order_is_kept(self) -> None:
        data = self.sample(batch=2)
        turned = data.transpose(*reversed(data.dims))
        expected, got = self.baseline(batch=2), self.run(turned)
        for name, array in self.images(got).items():
            assert array.dims == turned.dims
            self.assert_same_values(array.transpose(*data.dims), self.images(expected)[name])

    def test_dims_by_hand(self) -> None:
        data = self.sample()
        names = {ROLE_AXES[role][0]: f"own_{role}" for role in self.registered.roles}
        if not names:
            pytest.skip("the method needs no axes")
        renamed = data.rename(names)
        by_role = {role: f"own_{role}" for role in self.registered.roles}
        result = self.run(renamed, dims=by_role)
        self.assert_same_values(result, self.baseline())
        self.assert_same_values(self.run(renamed, dims=tuple(by_role.values())), result)

    def test_two_momenta_are_an_image(self) -> None:
        if self.registered.roles != IMAGE:
            pytest.skip("the method does not work on images")
        names = dict(zip((ROLE_AXES[role][0] for role in IMAGE), ("kx", "ky"), strict=True))
        data = self.sample().transpose(*names)
        expected, result = self.arrays(self.run(data)), self.arrays(self.run(data.rename(names)))
        for name, array in expected.items():
            if array.dtype.kind in "iufb":  # a text may name the axes
                turned = array.rename({k: v for k, v in names.items() if k in array.dims})
                self.assert_same_values(result[name], turned)

    def test_dataset_in(self) -> None:
        data = self.sample()
        dataset = xr.Dataset({"spectrum": data, "time": 0.0}, attrs={"owner": "me"})
        result = self.run(dataset)
        assert isinstance(result, xr.Dataset)
        if self.registered.returns_array:
            assert list(result.data_vars) == ["spectrum", "time"]
            assert result.attrs["owner"] == "me"
            self.assert_same_values(result["spectrum"], self.baseline())
        else:
            self.assert_same_values(result, self.baseline())

    # -- the input is never changed ------------------------------------------------------------

    def test_input_is_unchanged(self) -> None:
        data = self.sample(batch=2).astype(float)
        before, attrs = data.copy(deep=True), copy.deepcopy(data.attrs)
        result = self.run(data)
        assert data.identical(before)
        assert data.attrs == attrs
        for array in self.images(result).values():
            assert not np.shares_memory(array.values, data.values)
            assert array.attrs is not data.attrs

    def test_process_state_is_left_alone(self) -> None:
        with left_alone():
            self.run(self.sample())

    def test_torchs_default_dtype_does_not_matter(self) -> None:
        expected = self.baseline()
        with default_dtype("float64"):
            self.assert_repeated(self.run(self.sample()), expected)

    @pytest.mark.parametrize("kind", ["read-only", "turned", "fortran"])
    def test_memory_layouts(self, kind: str) -> None:
        data = self.sample().astype(float)
        expected = self.baseline(dtype="float64")
        values = data.values
        if kind == "turned":  # negative strides, and big-endian
            odd = np.ascontiguousarray(values[::-1].astype(">f8"))[::-1]
        elif kind == "fortran":
            odd = np.asfortranarray(values)
        else:
            odd = values.copy()
            odd.setflags(write=False)
        self.assert_same_values(self.run(data.copy(data=odd)), expected)

    # -- types and missing values --------------------------------------------------------------

    @pytest.mark.parametrize(
        ("dtype", "expected"),
        [
            ("int64", "float32"),
            ("uint16", "float32"),
            ("int32", "float32"),
            ("float32", "float32"),
            ("float64", "float64"),
        ],
    )
    def test_dtypes(self, dtype: str, expected: str) -> None:
        same = self.sample().dtype == dtype
        for array in self.images(self.baseline(dtype=None if same else dtype)).values():
            assert array.dtype == np.dtype(expected)

    def test_nan_stays_where_it_was(self) -> None:
        data = self.sample().astype(float)
        missing = np.zeros(data.shape, dtype=bool)
        missing[(slice(2),) * data.ndim] = missing[(8, 9)[: data.ndim]] = True
        holed = data.where(~xr.DataArray(missing, dims=data.dims))
        if not self.registered.accepts_nan:
            with pytest.raises(DataError, match="NaN"):
                self.run(holed)
            return
        for array in self.images(self.run(holed)).values():
            assert (np.isnan(array.values) == missing).all()

    def test_empty_slices_do_not_disturb(self) -> None:
        if not self.registered.accepts_nan:
            pytest.skip("the method refuses NaN")
        if self.one_answer:
            pytest.skip("one answer for all images")
        data = self.sample(batch=3).astype(float)
        holed = data.copy()
        holed[{"temperature": 1}] = np.nan
        whole = self.images(self.baseline(batch=3, dtype="float64"))
        got = self.images(self.run(holed))
        for name, array in got.items():
            assert np.isnan(array.isel(temperature=1)).all()
            for index in (0, 2):
                self.assert_same_values(
                    array.isel(temperature=index), whole[name].isel(temperature=index)
                )

    def test_units_survive(self) -> None:
        pint = pytest.importorskip("pint")
        data = self.sample().astype(float)
        with_unit = data.copy(data=pint.UnitRegistry().Quantity(data.values, "count / second"))
        bare = self.images(self.baseline(dtype="float64"))
        for name, array in self.images(self.run(with_unit)).items():
            assert str(array.data.units) == "count / second"
            self.assert_same_values(array.copy(data=array.data.magnitude), bare[name])

    # -- dask ----------------------------------------------------------------------------------

    def test_lazy_input_stays_lazy_and_agrees(self) -> None:
        dask = pytest.importorskip("dask")

        def refuse(*args: Any, **kwargs: Any) -> Any:
            raise AssertionError("something was computed while the graph was built")

        data = self.sample(batch=3)
        with dask.config.set(scheduler=refuse):
            lazy = self.run(data.chunk({"temperature": 2, data.dims[-1]: 7}))
        for array in self.images(lazy).values():
            assert array.chunks is not None
        computed = lazy.compute(scheduler="synchronous")
        eager = self.baseline(batch=3)
        self.assert_same_values(computed, eager)
        for name, array in self.images(computed).items():
            assert array.dtype == self.images(eager)[name].dtype

    def test_threads_change_nothing(self) -> None:
        dask = pytest.importorskip("dask")
        eager = self.baseline(batch=THREADS)
        lazy = self.sample(batch=THREADS).chunk({"temperature": 1})
        with many_switches(), left_alone():
            for _ in range(2):
                with dask.config.set(scheduler="threads", num_workers=THREADS):
                    computed = self.run(lazy).compute()
                self.assert_same_values(computed, eager)

    def test_slices_do_not_depend_on_company(self) -> None:
        if self.one_answer:
            pytest.skip("one answer for all images")
        data = self.sample(batch=3)
        together = self.images(self.baseline(batch=3))
        first = self.images(self.run(data.isel(temperature=slice(0, 1))))
        for name, array in first.items():
            self.assert_same_values(array, together[name].isel(temperature=slice(0, 1)))

    # -- seeds, provenance, files --------------------------------------------------------------

    def test_same_seed_same_result(self) -> None:
        self.assert_repeated(self.run(self.sample()), self.baseline())

    @pytest.mark.parametrize("library", ["torch", "numpy"])
    def test_generator_as_seed(self, library: str) -> None:
        import torch

        def generator() -> torch.Generator | np.random.Generator:
            return torch.Generator().manual_seed(3) if library == "torch" else default_rng(3)

        data, own, seed = self.sample(), generator(), seed_from(generator())
        result = self.run(data, rng=own)
        self.assert_repeated(self.run(data, rng=seed), result)
        for array in self.images(result).values():
            assert array.attrs["provenance"]["record"]["parameters"]["rng"] == seed
        assert seed_from(own) != seed  # the generator has moved on

    def test_provenance(self) -> None:
        data = self.sample()
        data.attrs.update(id="parent", provenance={"record": {"by": "load", "what": "loaded"}})
        result = self.run(data)
        provenance = read_provenance(result)
        assert provenance is not None
        assert provenance["parent_id"] == "parent"
        assert result.attrs["id"] != "parent"
        for key in ("parents_provenance", "parents_provanence"):
            assert provenance[key] == data.attrs["provenance"]
        record = provenance["record"]
        assert record["by"] == self.method
        assert record["parameters"]["rng"] == 7
        assert record["parameters"]["device"] == self.device

    def test_replay(self, tmp_path: Path) -> None:
        data = self.sample()
        result = self.run(data, rng=None)
        self.assert_repeated(replay(result, data), result)
        save(result, tmp_path / "result.nc")
        self.assert_repeated(replay(load(tmp_path / "result.nc"), data), result)

    def test_netcdf_round_trip(self, tmp_path: Path) -> None:
        result = self.baseline()
        save(result, tmp_path / "result.nc")
        again = load(tmp_path / "result.nc")
        xr.testing.assert_equal(again, result)
        assert again.attrs == result.attrs
        assert [path.name for path in tmp_path.iterdir()] == ["result.nc"]

    def test_plain_to_netcdf(self, tmp_path: Path) -> None:
        data = self.sample()
        data.attrs |= {"flag": True, "nested": {"a": [1, None]}}
        result = self.run(data)
        result.to_netcdf(tmp_path / "result.nc")
        with xr.open_dataset(tmp_path / "result.nc") as again:
            array = again[result.name] if isinstance(result, xr.DataArray) else again
            provenance = read_provenance(array.load())
        assert provenance is not None
        assert provenance["record"]["by"] == self.method

    def test_pickle(self) -> None:
        result = self.baseline()
        again = pickle.loads(pickle.dumps(result))
        assert again.identical(result)

    def test_progress_is_told(self) -> None:
        if not self.reports_progress:
            pytest.skip("the method is done at once")
        seen: list[Any] = []
        self.run(self.sample(), progress=seen.append)
        assert seen, "a progress function was never called"
        assert seen[-1].done == seen[-1].total

    # -- bad input: an error that says what to do, before any work ------------------------------

    @pytest.mark.parametrize(
        ("change", "error", "words"),
        [
            (lambda d: d.astype(complex), DataTypeError, "complex"),
            (lambda d: d.astype(object), DataTypeError, "object"),
            (lambda d: d.astype(str), DataTypeError, "<U"),
            (lambda d: d.astype(bool), DataTypeError, "bool"),
            (lambda d: d.isel({d.dims[0]: slice(0, 0)}), DataError, "empty"),
            (lambda d: d * np.nan, DataError, "NaN"),
            (lambda d: d.where(d != d.max(), np.inf), DataError, "infinite"),
            (lambda d: d.values, DataTypeError, "xarray"),
            (lambda d: None, DataTypeError, "NoneType"),
        ],
    )
    def test_bad_data(self, change: Any, error: type[Exception], words: str) -> None:
        with pytest.raises(error, match=words) as caught:
            self.run(change(self.sample()))
        assert isinstance(caught.value, ArpesMLError)

    def test_plain_arrays_are_told_axes_that_would_do(self) -> None:
        values = self.sample(batch=2).values
        with pytest.raises(DataTypeError) as caught:
            self.run(values)
        shown = re.search(r"dims=(\(.*?\))", str(caught.value))
        assert shown is not None
        labelled = xr.DataArray(values, dims=ast.literal_eval(shown[1]))
        resolve_dims(labelled, self.registered.roles)

    def test_single_number(self) -> None:
        data = self.sample()
        if not self.registered.roles:
            pytest.skip("the method needs no axes")
        with pytest.raises(ArpesMLError, match=r"too small|no .* axis|dimension"):
            self.run(data.isel({dim: slice(0, 1) for dim in data.dims}))
        with pytest.raises(ArpesMLError, match=r"axis|single number"):
            self.run(data.isel(dict.fromkeys(data.dims, 0)))

    def test_missing_axis(self) -> None:
        data = self.sample(batch=2)
        for role in self.registered.roles:
            with pytest.raises(ArpesMLError, match=rf"no {role} axis.*dims="):
                self.run(data.rename({ROLE_AXES[role][0]: "unheard_of"}))

    def test_flags_are_true_or_false(self) -> None:
        flags = [
            name
            for name, parameter in self.registered.signature.parameters.items()
            if name != "progress" and isinstance(parameter.default, bool)
        ]
        for name in ("progress", *flags):
            with pytest.raises(ParameterError, match=name):
                self.run(self.sample(), **{name: "no"})

    def test_unknown_device(self) -> None:
        with pytest.raises(DeviceError, match="abacus"):
            self.run(self.sample(), device="abacus")

    def test_unknown_parameter(self) -> None:
        with pytest.raises(TypeError, match="strenght"):
            self.run(self.sample(), strenght=1)

    @pytest.mark.parametrize("rng", ["seven", -1, 1.5, True])
    def test_bad_seed(self, rng: Any) -> None:
        with pytest.raises(ArpesMLError, match="rng"):
            self.run(self.sample(), rng=rng)

    # -- form ----------------------------------------------------------------------------------

    def test_signature_and_docstring(self) -> None:
        signature = self.registered.signature
        first, *others = signature.parameters.values()
        assert first.name == "data"
        assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in others)
        assert set(COMMON_PARAMETERS) <= set(signature.parameters)
        documentation = inspect.getdoc(self.registered.function) or ""
        for section in ("Parameters", "Returns", "Examples"):
            assert section_of(documentation, section)
        assert sorted(documented_parameters(documentation)) == sorted(signature.parameters)

    def test_on_the_accessors(self) -> None:
        data = self.sample()
        for accessor in (data.S, data.arpes_ml, data.to_dataset(name="spectrum").S):
            bound = getattr(accessor, self.method)
            assert self.method in dir(accessor)
            assert bound.__doc__ == self.registered.function.__doc__
            names = list(inspect.signature(bound).parameters)
            assert names == list(self.registered.signature.parameters)[1:]


def _scale_of(dataset: xr.Dataset, name: Hashable) -> float:
    """Largest value; of a lower limit, which may be 0 but for rounding, that of the upper one."""
    values = dataset[str(name).replace("lower", "upper")].values
    return float(np.abs(values[np.isfinite(values)]).max(initial=0.0))
