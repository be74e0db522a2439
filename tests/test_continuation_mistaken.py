"""Input that is something else than stated: an error with advice that helps, or a true status."""

import numpy as np
import pytest
import xarray as xr

import arpes_ml_plugins
from arpes_ml_plugins.errors import DataError

BETA, SIGMA = 20.0, 1e-4
FINE, STEP = np.linspace(-4, 4, 1601, retstep=True)
OPTIONS = {"beta": BETA, "stderr": SIGMA, "omega": FINE[::20]}
EVEN = np.exp(-(((np.abs(FINE) - 1.2) / 0.5) ** 2) / 2)
SKEW = EVEN * (1 + 0.5 * np.tanh(FINE))


def green(spectrum, tau=None, seed=0):
    tau = np.linspace(0, BETA, 101) if tau is None else tau
    kernel = np.exp(-tau[:, None] * FINE - np.logaddexp(0, -BETA * FINE))
    values = kernel @ (spectrum / spectrum.sum())
    noise = SIGMA * np.random.default_rng(seed).standard_normal(len(tau))
    return xr.DataArray(values + noise, dims="tau", coords={"tau": tau})


def at_frequencies(spectrum, count):
    w_n = (2 * np.arange(count) + 1) * np.pi / BETA
    values = (spectrum / spectrum.sum() / (1j * w_n[:, None] - FINE)).sum(1)
    noise = np.random.default_rng(0).standard_normal((2, count))
    return xr.DataArray(
        values + SIGMA * (noise[0] + 1j * noise[1]), dims="iwn", coords={"iwn": w_n}
    )


@pytest.mark.filterwarnings("ignore::arpes_ml_plugins.errors.DistributionWarning")
@pytest.mark.parametrize("method", ["continue_maxent", "continue_rlista"])
def test_status_reports_data_of_fermions_that_are_passed_as_those_of_bosons(method):
    result = getattr(arpes_ml_plugins, method)(green(SKEW), statistics="boson", **OPTIONS)
    assert "check statistics" in result.status.item()


def test_other_data_of_bosons_are_not_said_to_be_of_fermions():
    data = 1.3 * green(EVEN)
    result = data.S.continue_maxent(statistics="boson", **{**OPTIONS, "stderr": 1.3 * SIGMA})
    assert result.status.item() == "ok"


@pytest.mark.filterwarnings("ignore::arpes_ml_plugins.errors.DistributionWarning")
@pytest.mark.parametrize("count", [8, 64])
def test_status_reports_what_may_be_complex_conjugates(count):
    g = at_frequencies(SKEW, count)
    assert "conjugate" in g.conj().S.continue_rlista(**OPTIONS).status.item()
    assert "conjugate" not in g.S.continue_rlista(**OPTIONS).status.item()
    assert "conjugate" not in (-g).S.continue_rlista(sign=-1, **OPTIONS).status.item()


def test_the_advice_for_nan_in_some_slices_helps():
    whole = xr.concat([green(EVEN, seed=seed) for seed in range(3)], "k")
    data = whole.copy()
    data[0, 50], data[1, 0], data[2, -10:] = np.nan, np.nan, np.nan
    with pytest.raises(DataError, match=r"fillna\(0\).*xarray.where"):
        data.S.continue_maxent(**OPTIONS)
    stderr = xr.where(data.isnull(), 1e3, SIGMA)
    with pytest.warns(UserWarning, match="norm 1 assumed"):  # the end of one of them is missing
        result = data.fillna(0).S.continue_maxent(**{**OPTIONS, "stderr": stderr})
    expected = whole.S.continue_maxent(**OPTIONS).spectral_function
    off = abs(result.spectral_function - expected).integrate("omega")
    assert float(off.max()) < 0.15
