"""Pictures of odd data are right, or an error of ours says why not, and no figure stays open."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt

import arpes_ml_plugins
from arpes_ml_plugins import plotting
from arpes_ml_plugins.errors import ArpesMLError, AxisError, DataError, DataTypeError
from arpes_ml_plugins.labelled.axes import numbers_along
from arpes_ml_plugins.plotting.figures import closed_on_error


@pytest.fixture(autouse=True)
def _close():
    plt.close("all")  # those of other tests
    yield
    plt.close("all")


def dates(n):
    return (np.datetime64("2026-01-01") + np.arange(n)).astype("M8[ns]")


BAD_AXES = {
    "dates": (dates, "real numbers, got dtype datetime64"),
    "words": (lambda n: [f"a{i}" for i in range(n)], "real numbers, got dtype <U"),
    "complex": (lambda n: np.arange(n) + 1j, "real numbers, got dtype complex"),
    "objects": (lambda n: np.array([None] * n), "real numbers, got dtype object"),
    "NaN": (lambda n: np.r_[np.nan, 1:n], "1 are NaN or infinite|1 of .* are NaN or infinite"),
    "infinity": (lambda n: np.r_[1.0:n, np.inf], "are NaN or infinite"),
    "huge": (lambda n: 1e300 * np.arange(n), "choose another unit"),
    "to and fro": (lambda n: np.r_[1, 0, 2:n], "rise or fall from point to point"),
}
BAD_VALUES = {
    "NaN": (lambda d: d * np.nan, DataError, "all values are NaN"),
    "infinity": (lambda d: d.where(d != d.max(), np.inf), DataError, "infinite"),
    "words": (lambda d: d.astype(str), DataTypeError, "<U"),
    "dates": (lambda d: d.copy(data=d.values.astype("M8[ns]")), DataTypeError, "datetime64"),
    "complex": (lambda d: d.astype(complex), DataTypeError, "complex"),
    "nothing": (lambda d: d[:0], DataError, "empty"),
}


@pytest.mark.parametrize("picture", ["compare", "diagnose"])
@pytest.mark.parametrize("dim", ["phi", "eV"])
@pytest.mark.parametrize("kind", list(BAD_AXES))
def test_axes_that_cannot_be_drawn(cut, picture, dim, kind):
    make, words = BAD_AXES[kind]
    odd = cut.drop_vars("channel").assign_coords({dim: (dim, make(cut.sizes[dim]))})
    with pytest.raises(AxisError, match=words):
        draw(picture, odd)
    assert not plt.get_fignums()


@pytest.mark.parametrize("picture", ["compare", "diagnose"])
@pytest.mark.parametrize("kind", list(BAD_VALUES))
def test_values_that_cannot_be_drawn(cut, picture, kind):
    change, error, words = BAD_VALUES[kind]
    with pytest.raises(error, match=words):
        draw(picture, change(cut))
    assert not plt.get_fignums()


@pytest.mark.parametrize("picture", ["compare", "diagnose"])
@pytest.mark.parametrize(
    "change",
    [
        lambda d: d * 0,
        lambda d: -d.astype("float16"),
        lambda d: d.where(d > 20)[::-1].chunk().drop_vars(d.coords),
    ],
)
def test_odd_images_that_can(cut, picture, change):
    draw(picture, change(cut)).draw_without_rendering()


def draw(picture, data):
    return plotting.compare(data, data) if picture == "compare" else plotting.diagnose(data)


@pytest.fixture(scope="module")
def continued():
    tau, omega = np.linspace(0, 10, 30), np.linspace(-3, 3, 21)
    kernel = np.exp(-tau[:, None] * omega) / (1 + np.exp(-10 * omega))
    g = xr.DataArray(kernel @ np.exp(-8 * omega**2), coords={"tau": tau}, dims="tau")
    g = (g / (g[0] + g[-1])).expand_dims(time=dates(3))
    return g, g.S.continue_maxent(beta=10, stderr=1e-3, omega=omega, device="cpu")


def test_spectra_over_time(continued):
    data, result = continued
    figure = plotting.spectrum(result, data, at="2026-01-03")
    (marked,) = figure.axes[0].lines
    assert marked.get_xdata()[0] == dates(3)[2]


@pytest.mark.parametrize(
    ("change", "options", "error"),
    [
        (lambda r: r.assign(spectral_function=r.spectral_function * np.nan), {}, DataError),
        (lambda r: r.assign_coords(time=["a", "b", "c"]), {}, AxisError),
        (lambda r: r, {"at": "noon"}, ArpesMLError),
        (lambda r: r, {"data": xr.DataArray([1.0, 2.0])}, AxisError),
    ],
)
def test_spectra_that_cannot_be_drawn(continued, change, options, error):
    with pytest.raises(error):
        plotting.spectrum(change(continued[1]), **options)
    assert not plt.get_fignums()


def test_only_the_figure_that_failed_is_closed():
    kept = plt.figure()

    @closed_on_error
    def interrupted():
        plt.figure()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert plt.get_fignums() == [kept.number]


class TestAsMeasured:
    @pytest.fixture
    def flat(self):
        return xr.DataArray(np.ones((2, 41)), {"eV": np.linspace(-1, 1, 41)}, ("k", "eV"))

    @pytest.mark.parametrize("kind", [kind for kind in BAD_AXES if kind != "to and fro"])
    def test_bad_energies(self, flat, kind):
        make, words = BAD_AXES[kind]
        with pytest.raises(AxisError, match=words):
            arpes_ml_plugins.as_measured(flat.assign_coords(eV=make(41)), beta=10, resolution=0.1)

    @pytest.mark.parametrize("kind", ["words", "dates", "complex", "nothing"])
    def test_bad_values(self, flat, kind):
        change, error, words = BAD_VALUES[kind]
        with pytest.raises(error, match=words):
            arpes_ml_plugins.as_measured(change(flat), beta=10)

    def test_no_energies_no_array_one_energy(self, flat):
        with pytest.raises(AxisError, match="no coordinate"):
            arpes_ml_plugins.as_measured(flat.drop_vars("eV"), beta=10)
        with pytest.raises(DataTypeError, match="DataArray, got Dataset"):
            arpes_ml_plugins.as_measured(flat.to_dataset(name="a"), beta=10)
        with pytest.raises(AxisError, match="several points"):
            arpes_ml_plugins.as_measured(flat.isel(eV=[20]), beta=10, resolution=0.1, dims="eV")

    def test_falling_energies(self, flat):
        rising = arpes_ml_plugins.as_measured(flat, beta=10, resolution=0.1)
        falling = arpes_ml_plugins.as_measured(flat[:, ::-1], beta=10, resolution=0.1)
        np.testing.assert_allclose(falling[:, ::-1], rising, rtol=1e-12)

    def test_gaps_stay_and_do_not_spread(self, flat):
        whole = arpes_ml_plugins.as_measured(flat, beta=1e-9, resolution=0.2)
        flat[0, 20] = np.nan
        holed = arpes_ml_plugins.as_measured(flat, beta=1e-9, resolution=0.2)
        assert holed.isnull().sum() == 1
        assert np.isnan(holed[0, 20])
        np.testing.assert_allclose(holed.fillna(whole), whole, rtol=1e-9)

    def test_units(self, flat):
        pint = pytest.importorskip("pint")
        quantity = flat.copy(data=pint.UnitRegistry().Quantity(flat.values, "1 / eV"))
        result = arpes_ml_plugins.as_measured(quantity, beta=10, resolution=0.1)
        assert str(result.data.units) == "1 / electron_volt"


@pytest.mark.parametrize("values", [[1, 2], np.array([0, 0], "uint8"), np.array([-1.5], "float16")])
def test_numbers_along(values):
    axis = xr.DataArray(values, dims="x", name="x")
    np.testing.assert_array_equal(numbers_along(axis), np.asarray(values, float))
