"""Arguments that were accepted in silence, or failed late: what is expected, what came."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import arpes_ml_plugins
from arpes_ml_plugins import SpectrumLibrary, plotting
from arpes_ml_plugins.errors import AxisError, DataError, ParameterError, RegistrationError
from arpes_ml_plugins.photoelectron_background import lost
from arpes_ml_plugins.plugins.registry import LibraryRegistry

ENERGY = np.linspace(-1, 1, 41)
LINE = xr.DataArray(np.exp(-(ENERGY**2) / 0.02), {"eV": ENERGY}, "eV")
LIBRARY = SpectrumLibrary.from_spectra({"one": LINE}, shift=0.1, count=10)

told = pytest.mark.filterwarnings("ignore:separate_:arpes_ml_plugins.errors.DistributionWarning")


def image():
    rng = np.random.default_rng(0)
    values = rng.poisson(20 * rng.random((8, 8, 1)) * LINE.values) * 1.0
    return xr.DataArray(values, {"eV": ENERGY}, ("y", "x", "eV"))


def greens_function():
    spectrum = LINE / LINE.integrate("eV")
    return arpes_ml_plugins.simulate_greens_function(spectrum, beta=10, stderr=1e-3, rng=0)


@told
@pytest.mark.parametrize("limit", [0.1, np.float64(0.1), np.float32(0.1)])
def test_the_largest_shift_is_a_number_of_any_type(limit):
    result = image().S.separate_sgmca(library=LIBRARY, shift=limit, rng=0)
    assert float(abs(result["shift"]).max()) <= 0.11


@pytest.mark.parametrize("limit", [np.inf, np.nan, -0.1, np.array([0.1, 0.2]), 1j])
def test_limits_that_are_none(limit):
    with pytest.raises(ParameterError, match="shift must be"):
        image().S.separate_sgmca(library=LIBRARY, shift=limit)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: image().S.separate_sgmca(library=LIBRARY, training_seed="x"), "training_seed"),
        (lambda: image().S.separate_lpalm(library=LIBRARY, training_seed=-1), "training_seed"),
        (
            lambda: greens_function().S.continue_rlista(stderr=1e-3, training_seed=0.5),
            "training_seed",
        ),
        (
            lambda: greens_function().S.continue_rlista(
                stderr=1e-3, outside="train", statistics="boson"
            ),
            "fermions only",
        ),
        (lambda: image().S.separate_sgmca(library=LIBRARY, recipe=np.zeros(2)), "unknown recipe"),
        (
            lambda: greens_function().S.continue_self_energy(stderr=1e-3, constant=1 + 2j),
            "constant must be a finite real number",
        ),
        (
            lambda: arpes_ml_plugins.counts_needed(image()[0], "eV", error=1.0),
            "quantity must be a function",
        ),
        (lambda: SpectrumLibrary.from_spectra({"a": LINE}, shift=0.1, count=0), "count"),
        (lambda: SpectrumLibrary.from_spectra({"a": LINE}, shift="0.1"), "shift must be a number"),
    ],
)
def test_refused_before_any_work(call, words):
    with pytest.raises(ParameterError, match=words):
        call()


@pytest.mark.parametrize("ends", [(0.2, 0.1), (0.1, 0.2, 0.3), "x", (np.nan, 1.0)])
def test_ranges_of_models(ends):
    models = pytest.importorskip("lmfit.models")
    given = {"a": (models.GaussianModel(), {"center": 0.0, "sigma": ends})}
    with pytest.raises(ParameterError, match="needs a number or"):
        SpectrumLibrary.from_lmfit(given, LINE.eV)


def test_a_family_of_one_energy_has_no_shifts():
    with pytest.raises(AxisError, match="several points"):
        SpectrumLibrary.from_spectra({"a": LINE[20:21]}, shift=0.1)


@pytest.mark.parametrize("name", ["BE", "Binding Energy (eV)", "E_bind", "binding"])
def test_kinetic_energy_falls_along_all_binding_energies(name):
    axis = xr.DataArray(np.arange(5.0), dims=name, name=name)
    step = lost("shirley", np.array([[0.0, 0, 1, 0, 0]]), axis)[0]
    assert step[0] == 0
    assert step[-1] == 1
    spectrum = xr.DataArray(np.ones(5), {name: np.linspace(-1, 1, 5)}, name)
    for call in (
        lambda: arpes_ml_plugins.as_measured(spectrum, temperature=20),
        lambda: arpes_ml_plugins.simulate_greens_function(spectrum, beta=10),
    ):
        with pytest.raises(AxisError, match="got binding energies.*rename"):
            call()


def test_losses_are_those_of_the_unit():
    ev = xr.DataArray(np.arange(0, 100.0), dims="eV", name="eV")
    mev = xr.DataArray(1000 * ev.values, dims="eV", name="eV", attrs={"units": "meV"})
    line = (np.arange(100) == 90)[None] * 1.0
    np.testing.assert_allclose(lost("tougaard", line, ev), lost("tougaard", line, mev))
    family = SpectrumLibrary.from_spectra(
        {"a": LINE.assign_coords(eV=LINE.eV.assign_attrs(units="meV"))}
    )
    assert family.energy.attrs["units"] == "meV"


def test_momenta_that_differ_are_not_dropped():
    energy = xr.DataArray(ENERGY, dims="omega")
    k = xr.DataArray(np.linspace(-1, 1, 5), dims="k")
    sigma = (-0.3 * energy - 0.05j + 0 * k).assign_coords(omega=ENERGY, k=k)
    with pytest.raises(AxisError, match="the same coordinates"):
        arpes_ml_plugins.spectral_function_of(sigma, (1.3 * k).assign_coords(k=k + 1e-12))


def test_half_precision_is_broadened():
    half = LINE.astype(np.float16)
    found = arpes_ml_plugins.as_measured(half, temperature=100, resolution=0.2)
    assert found.dtype == np.float16
    wide = arpes_ml_plugins.as_measured(LINE, temperature=100, resolution=0.2)
    np.testing.assert_allclose(found, wide, atol=2e-3)


def test_green_functions_need_energies():
    with pytest.raises(AxisError, match="no coordinate"):
        arpes_ml_plugins.simulate_greens_function(LINE.drop_vars("eV"), beta=10)
    with pytest.raises(AxisError, match="at least two energies"):
        arpes_ml_plugins.simulate_greens_function(LINE[:1], beta=10)


def test_pictures_show_negative_spectra_and_refuse_complex_ones():
    result = greens_function().S.continue_maxent(stderr=1e-3, omega=np.linspace(-2, 2, 41))
    below = result.assign(spectral_function=result.spectral_function - 0.4)
    axes = plotting.spectrum(below).axes[0]
    assert axes.get_ylim()[0] <= float(below.spectral_function.min())
    with pytest.raises(DataError, match=r"\.real"):
        plotting.spectrum(result.assign(spectral_function=result.spectral_function * 1j))


@pytest.mark.parametrize("at", [99.0, -99.0, np.nan])
def test_positions_outside_a_picture(at):
    g = xr.concat([greens_function()] * 2, "k").assign_coords(k=[0.0, 1.0])
    result = g.S.continue_maxent(stderr=1e-3, omega=np.linspace(-2, 2, 41))
    with pytest.raises(ParameterError, match="outside the data"):
        plotting.spectrum(result, at=at)


def test_plugins_that_are_not_there_and_names_that_are_taken():
    with pytest.raises(RegistrationError, match="no plugin named 'none such'"):
        arpes_ml_plugins.unregister("none such")

    class Plugin:
        @arpes_ml_plugins.hookimpl
        def register_methods(self, registry):
            def load(data, *, device="auto", rng=None, progress=False, dims=None):
                """Load."""

            registry.add(load, roles=("energy",))

    with pytest.raises(RegistrationError, match="load is something else already"):
        arpes_ml_plugins.register(Plugin(), "taken")


def test_a_library_is_loaded_once_by_all_threads():
    loaded = []

    def load():
        time.sleep(0.05)
        loaded.append(object())
        return loaded[-1]

    registry = LibraryRegistry()
    registry.owned_by("plugin")
    registry.add("slow", load)
    threads = [threading.Thread(target=lambda: registry["slow"]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loaded) == 1


def test_a_library_does_not_change():
    before = LIBRARY["one"].values.copy()
    LIBRARY["one"].values[:] = 0
    np.testing.assert_array_equal(LIBRARY["one"].values, before)


@told
def test_attributes_of_parameters_do_not_prevent_a_replay():
    data = image()
    noise = xr.full_like(data, 1.0).assign_attrs(file=Path("x"), units="counts")
    result = data.S.separate_nmf(n_components=1, noise=noise, rng=0)
    again = arpes_ml_plugins.replay(result, data)
    xr.testing.assert_equal(result, again)


@pytest.mark.parametrize("omega", [range(-5, 6), "index"])
def test_all_forms_of_frequencies_are_replayed(omega):
    g = greens_function()
    axis = xr.DataArray(range(-5, 6), dims="w").to_index() if omega == "index" else omega
    result = g.S.continue_maxent(stderr=1e-3, omega=axis)
    xr.testing.assert_equal(result, arpes_ml_plugins.replay(result, g))


def test_a_function_for_progress_that_fails_is_not_called_again():
    calls = []

    def stop(progress):
        calls.append(progress.done)
        raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        image()[0].S.decompose_pcp(progress=stop)
    assert len(calls) == 1
