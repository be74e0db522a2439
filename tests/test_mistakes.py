"""What a new user gets wrong: each error says what was expected, what came and what to do."""

from __future__ import annotations

import re

import numpy as np
import pytest
import xarray as xr

import arpes_ml_plugins
from arpes_ml_plugins import plotting
from arpes_ml_plugins.accessor import MethodsAccessor
from arpes_ml_plugins.errors import (
    AxisError,
    DataError,
    DataTypeError,
    DeviceError,
    DistributionWarning,
    ParameterError,
)
from arpes_ml_plugins.methods.continuation_conventions import check_decay

SLIPS = {
    "a letter less": lambda name: name[:-1],
    "a letter more": lambda name: name + "s",
    "two in the wrong order": lambda name: name[1] + name[0] + name[2:],
}


@pytest.mark.parametrize("name", sorted(arpes_ml_plugins.methods_available()))
@pytest.mark.parametrize("slip", list(SLIPS))
def test_a_misspelt_method_is_suggested(cut, name, slip):
    wrong = SLIPS[slip](name)
    for data in (cut, cut.to_dataset(name="spectrum")):
        with pytest.raises(AttributeError, match=f"no method '{wrong}'; did you mean .*'{name}'"):
            getattr(data.arpes_ml, wrong)
    with pytest.raises(AttributeError, match=f"'{wrong}'; did you mean .*'{name}'"):
        getattr(arpes_ml_plugins, wrong)


def test_names_that_are_like_none(cut):
    with pytest.raises(AttributeError, match=r"no method 'fly'; arpes_ml_plugins.methods_avail"):
        _ = cut.arpes_ml.fly
    with pytest.raises(AttributeError, match="has no attribute 'fly'$"):
        _ = arpes_ml_plugins.fly
    for private in (
        "_ipython_canary_method_should_not_exist_",
        "__array_interface__",
        "_repr_png_",
    ):
        assert not hasattr(cut.arpes_ml, private)
    assert hasattr(cut.arpes_ml, "denoise")
    assert "denoise" in dir(cut.arpes_ml)


def test_the_class_of_others_stays_as_it_is():
    """Suggestions are those of our own accessor: nothing is put on PyARPES's."""
    owner = getattr(xr.DataArray, "S", None)
    if isinstance(owner, type) and owner is not MethodsAccessor:
        assert "__getattr__" not in vars(owner)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda c: c.S.denoise("counts"),
            TypeError,
            r"by name, for example method=\.\.\., got 'cou",
        ),
        (
            lambda c: arpes_ml_plugins.denoise(c, "counts"),
            TypeError,
            "takes its parameters by name",
        ),
        (lambda c: c.S.denoise(adpat=False), TypeError, "did you mean 'adapt'"),
        (lambda c: c.S.separate_nmf(), TypeError, r"separate_nmf\(\) is missing.*'n_components'"),
        (lambda c: arpes_ml_plugins.denoise("cut.nc"), DataTypeError, "got 'cut.nc'; if that is a"),
        (lambda c: arpes_ml_plugins.denoise([[1.0]]), DataTypeError, "got list"),
        (lambda c: c.S.denoise(device="gpu"), DeviceError, r"here \(torch knows no such device\)"),
        (lambda c: plotting.compare([1], [2]), DataTypeError, "got list"),
        (lambda c: plotting.compare(c, c.values), DataTypeError, "got ndarray"),
        (lambda c: plotting.loss_curve([1]), DataError, "variables loss; got list"),
        (lambda c: plotting.components(c), DataError, "separate_.*got DataArray"),
        (lambda c: arpes_ml_plugins.as_measured(c), ParameterError, "got neither"),
        (
            lambda c: arpes_ml_plugins.as_measured(c, beta=1, temperature=1),
            ParameterError,
            r"beta=\.\.\. .*temperature=\.\.\. \(in K\), got both",
        ),
        (
            lambda c: arpes_ml_plugins.as_measured(c, temperature=-4),
            ParameterError,
            "temperature must be positive .* got temperature=-4",
        ),
        (
            lambda c: arpes_ml_plugins.as_measured(c, temperature="20 K"),
            ParameterError,
            "temperature must be a number, got '20 K'",
        ),
    ],
)
def test_the_message_says_what_to_do(cut, call, error, words):
    with pytest.raises(error, match=words):
        call(cut)


def test_beta_that_is_missing_is_explained():
    data = xr.DataArray(np.ones(20), {"tau": np.linspace(0, 10, 20)}, ("tau",))
    with pytest.raises(ParameterError, match=r"beta=\.\.\., which is 11604.5 over the temperature"):
        data.arpes_ml.continue_maxent()


N = np.arange(40)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (N, r"\(2 \* data\['iw'\] \+ 1\) \* numpy.pi / beta"),
        (N + 1.0, r"\(2 \* data\['iw'\] \+ 1\) \* numpy.pi / beta"),
        (N - 20, r"contains 0.*statistics='boson'"),
        (2 * N + 1, r"=data\['iw'\] \* numpy.pi / beta"),
        ((2 * N + 1) * np.pi, "they fit beta = 1; check beta and its unit"),
        ((2 * N + 1.3) * np.pi, "check beta and statistics"),
        (1j * N, r"data\['iw'\].imag"),
    ],
)
def test_what_is_no_matsubara_frequency_is_explained(values, words):
    data = xr.DataArray(1 / (1j * (2 * N + 1) * np.pi / 40 - 0.2), {"iw": values}, ("iw",))
    with pytest.raises(AxisError, match=words):
        data.arpes_ml.continue_maxent(beta=40, stderr=1e-4)


def test_a_self_energy_is_no_greens_function():
    """Its constant part is taken for what it is; a wide band at few frequencies is none."""
    iwn = (2 * N + 1) * np.pi / 40
    sigma = xr.DataArray(0.7 + 0.3 / (1j * iwn - 0.2), {"iwn": iwn}, ("iwn",))
    with pytest.warns(DistributionWarning) as caught:
        sigma.arpes_ml.continue_maxent(beta=40, stderr=1e-3)
    assert any("(0.697), as those of a self-energy do" in str(w.message) for w in caught)
    deep = xr.DataArray(1 / (1j * iwn[:10] + 8), {"iwn": iwn[:10]}, ("iwn",))
    check_decay(deep, "iwn", iwn[:10], 1.0)  # filterwarnings make an error of any warning


def test_zeros_do_not_determine_frequencies():
    data = xr.DataArray(np.zeros(20), {"tau": np.linspace(0, 10, 20)}, ("tau",))
    with pytest.raises(DataError, match="all values are zero.*pass omega"):
        data.arpes_ml.continue_maxent(beta=10, stderr=1e-4)


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [
        ("unmix", {"spectra": np.ones((2, 9))}, "got ndarray; for example {'a': xarray.DataArray"),
        (
            "unmix",
            {"spectra": {"a": np.ones(9)}},
            "xarray.DataArray(values, {'eV': energies}, 'eV')",
        ),
        (
            "separate_nmf",
            {"n_components": 2, "mask": np.ones((4, 5), bool)},
            "False, got ndarray; make",
        ),
    ],
)
def test_plain_arrays_of_a_separation_are_explained(method, options, words):
    nano = xr.DataArray(np.ones((4, 5, 9)), {"eV": np.arange(9.0)}, ("y", "x", "eV"))
    with pytest.raises((ParameterError, DataTypeError), match=re.escape(words)):
        getattr(nano.arpes_ml, method)(**options)


@pytest.mark.parametrize("kind", ["to_series", "to_pandas"])
def test_tables_of_pandas_are_converted_first(cut, kind):
    with pytest.raises(DataTypeError, match=r"xarray.DataArray\(data, dims="):
        arpes_ml_plugins.denoise(getattr(cut, kind)())


def test_a_dataset_without_variables(cut):
    with pytest.raises(AxisError, match="has no variables"):
        arpes_ml_plugins.denoise(cut.to_dataset(name="spectrum").drop_vars("spectrum"))


@pytest.mark.parametrize("number", [xr.DataArray(1.0), np.array(1)])
def test_arrays_without_dimensions_are_numbers(cut, number):
    """As in ``gain=cut.S.estimate_noise().gain``."""
    result = cut.S.denoise_pretrained(gain=number, adapt=False)
    assert result.attrs["provenance"]["record"]["parameters"]["gain"] == 1
    with pytest.raises(
        ParameterError, match=r"gain must be a positive number or None, got ndarray of shape \(1,\)"
    ):
        cut.S.denoise_pretrained(gain=np.array([1.0]), adapt=False)


@pytest.mark.parametrize(
    ("shift", "words", "absent"),
    [
        (100.0, ("intensity − ", "a pedestal", "data - "), "subtracted"),
        (0.0, ("raw counts",), "×"),
    ],
)
def test_verdicts_are_sentences(shift, words, absent):
    """A shift is a part of a formula in brackets, and not a negative intensity."""
    rows, columns = np.mgrid[:96, :96] / 96
    rate = 30 * np.exp(-(((rows - 0.5 - 0.3 * columns**2) / 0.1) ** 2)) + 3 + 20 * rows
    values = np.random.default_rng(0).poisson(rate) + shift
    verdict = str(xr.DataArray(values, dims=("eV", "phi")).S.estimate_noise().verdict.item())
    for word in words:
        assert word in verdict
    assert absent not in verdict
    assert "intensity -" not in verdict
    assert verdict.endswith(".")


def test_lazy_data_of_unknown_size_are_explained(cut):
    dask = pytest.importorskip("dask.array")
    lazy = dask.from_array(cut.values, chunks=5)
    unknown = xr.DataArray(lazy[(lazy >= 0).all(1)], dims=cut.dims)
    with pytest.raises(DataError, match=r"axis is unknown.*compute_chunk_sizes"):
        arpes_ml_plugins.estimate_noise(unknown)
