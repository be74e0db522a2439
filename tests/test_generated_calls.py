"""Every method, called with arrays of any kind: a whole result or an error of this package."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import xarray as xr
from generated import any_array, greens_functions
from hypothesis import given, settings

import arpes_ml_plugins
from arpes_ml_plugins import SpectrumLibrary
from arpes_ml_plugins.errors import ArpesMLError
from arpes_ml_plugins.plugins.manager import plugins

FEW = max(2, settings().max_examples // 20)
IMAGES = (
    *(("phi", "eV"), ("eV", "phi"), ("kx", "ky"), ("x", "y"), ("theta", "eV"), ("a", "b")),
    *(("temperature", "phi", "eV"), ("kx", "ky", "eV")),
)
MAPS = (("x", "y", "eV"), ("x", "eV"), ("eV", "y", "x"))
ENERGY = np.linspace(-1, 0.2, 20)
OMEGA = np.linspace(-3, 3, 41)


def hump(centre: float) -> xr.DataArray:
    return xr.DataArray(np.exp(-(((ENERGY - centre) / 0.2) ** 2)), {"eV": ENERGY}, "eV")


LIBRARY = SpectrumLibrary.from_spectra({"hump": hump(-0.4)}, shift=0.05, count=20)
SPECTRA = {"one": hump(-0.4), "other": hump(-0.8)}

OF_IMAGES = {
    "estimate_noise": {},
    "remove_mesh": {},
    "decompose_pcp": {},
    "denoise_pcp_unet": {"iterations": 2},
    "decompose_pcp_unet": {"iterations": 2},
    "denoise_fixed_input": {"iterations": 2},
    "denoise": {"method": "pretrained", "adapt": False},
    "denoise_pretrained": {"adapt": False},
    "decompose_pretrained": {"adapt": False},
    "denoise_counts": {"iterations": 2},
    "decompose_counts": {"iterations": 2},
    "sample_posterior": {"adapt": False, "draws": 2},
}
OF_MAPS = {
    "choose_components": {"max_components": 3},
    "separate_gmca": {"n_components": 2},
    "separate_nmf": {"n_components": 2},
    "separate_clusters": {"n_components": 2},
    "separate_palm": {"n_components": 2, "iterations": 10},
    "separate_lpalm": {"n_components": 2, "training_steps": 2, "layers": 2},
    "separate_sgmca": {"n_components": 2, "library": LIBRARY},
    "unmix": {"spectra": SPECTRA},
    "feasible_bands": {"spectra": SPECTRA},
}
OF_GREENS_FUNCTIONS = {
    "continue_rlista": {},
    "continue_maxent": {},
    "continue_ista": {"iterations": 20},
    "continue_lista": {"training_steps": 2, "layers": 2},
    "continue_self_energy": {},
}


def result_of(data: xr.DataArray, method: str, options: dict) -> xr.DataArray | xr.Dataset | None:
    """The result, or nothing if it was refused; the input is as before.

    Warnings that are not of this package fail the test.
    """
    run = getattr(arpes_ml_plugins, method)
    known = inspect.signature(run).parameters
    options |= {name: value for name, value in (("rng", 0), ("device", "cpu")) if name in known}
    before = data.copy(deep=True)
    try:
        return run(data, **options).compute(scheduler="synchronous")
    except ArpesMLError:
        return None
    finally:
        assert data.identical(before)


ours = pytest.mark.filterwarnings(
    "ignore::arpes_ml_plugins.errors.DistributionWarning",
    "ignore::arpes_ml_plugins.errors.CountsWarning",
    "ignore::arpes_ml_plugins.errors.ConvergenceWarning",
    "ignore:.*constant channels:UserWarning",
)


@ours
@pytest.mark.fuzz
@pytest.mark.parametrize("method", OF_IMAGES)
@given(data=any_array(IMAGES))
@settings(max_examples=FEW)
def test_any_image(method, data):
    result = result_of(data, method, dict(OF_IMAGES[method]))
    if result is None or method in ("estimate_noise", "remove_mesh"):
        return
    parts = [result] if isinstance(result, xr.DataArray) else result.data_vars.values()
    images = [part for part in parts if set(data.dims) <= set(part.dims)]
    assert images
    there = np.isfinite(data.values.astype(float))
    for image in images:
        assert all(image.coords[name].identical(data.coords[name]) for name in data.coords)
        values = image.transpose(..., *data.dims).values
        assert np.isfinite(values[..., there]).all(), image.name
    assert images[0].attrs["note"] == "kept"


@ours
@pytest.mark.fuzz
@pytest.mark.parametrize("method", OF_MAPS)
@given(data=any_array(MAPS))
@settings(max_examples=FEW)
def test_any_map(method, data):
    result = result_of(data, method, dict(OF_MAPS[method]))
    if result is not None and "spectra" in result:
        there = np.isfinite(data.astype(float)).any([dim for dim in data.dims if dim != "eV"])
        assert np.isfinite(result.spectra.where(there, 0)).all()
        assert "status" not in result or result.status.item()


@ours
@pytest.mark.fuzz
@pytest.mark.parametrize("method", OF_GREENS_FUNCTIONS)
@given(data=greens_functions(10.0))
@settings(max_examples=FEW)
def test_any_greens_function(method, data):
    options = {"beta": 10, "omega": OMEGA} | OF_GREENS_FUNCTIONS[method]
    result = result_of(data, method, options)
    if result is not None:
        whole = np.isfinite(data.values).any(1)
        assert np.isfinite(result.spectral_function.values[whole]).all()
        assert result.status.shape == (2,)


def test_no_method_is_left_out():
    names = {method.name for method in plugins().methods if method.owner == "arpes_ml_plugins"}
    assert names <= {*OF_IMAGES, *OF_MAPS, *OF_GREENS_FUNCTIONS}
