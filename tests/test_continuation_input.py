"""What ``continue_*`` accept and refuse, in the forms that users bring it."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from greens import BETA, OMEGA, SPECTRA, green, missed

import arpes_ml_plugins
from arpes_ml_plugins.errors import (
    ArpesMLError,
    AxisError,
    DataError,
    DataTypeError,
    DistributionWarning,
    ParameterError,
)
from arpes_ml_plugins.methods.continuation_input import read_imaginary


def test_units_and_temperature():
    g = green(SPECTRA["metal"], beta=40.0)
    g["tau"].attrs["units"] = "1/eV"
    result = g.S.continue_rlista(beta=40.0, stderr=1e-4)
    assert result.spectral_function.dims == ("eV",)
    assert result.spectral_function.attrs["units"] == "1/eV"
    kelvin = 1 / (8.617333262e-5 * 40.0)
    same = g.assign_attrs(temperature=kelvin).S.continue_rlista(stderr=1e-4)
    xr.testing.assert_allclose(same.spectral_function, result.spectral_function)
    also = g.assign_coords(beta=40.0).S.continue_rlista(stderr=1e-4).drop_vars("beta")
    xr.testing.assert_allclose(also.spectral_function, result.spectral_function)


KELVIN = 1 / (8.617333262e-5 * 40.0)  # 290.1 K


@pytest.mark.parametrize("temperature", [KELVIN, 290, 290.1, 290.2, 291])
def test_a_rounded_temperature(temperature):
    """The last time, or the Matsubara frequencies, are known better than the temperature."""
    g = green(SPECTRA["metal"], beta=40.0)
    g["tau"].attrs["units"] = "1/eV"
    exact = g.S.continue_maxent(beta=40.0, stderr=1e-4, omega=OMEGA)
    rounded = g.assign_attrs(temperature=temperature).S.continue_maxent(stderr=1e-4, omega=OMEGA)
    xr.testing.assert_allclose(rounded.spectral_function, exact.spectral_function)
    frequencies = (2 * np.arange(200) + 1) * np.pi / 40.0
    values = 1 / (1j * frequencies - 0.5)
    at_iwn = xr.DataArray(values, coords={"iwn": frequencies}, dims="iwn")
    at_iwn["iwn"].attrs["units"] = "eV"
    source = read(at_iwn.assign_attrs(temperature=temperature), "iwn")
    assert source.problem.beta == pytest.approx(40.0, rel=1e-12)


def read(data, dim, **options):
    settled = {"beta": None, "omega": OMEGA, "stderr": 1e-4, "covariance": None}
    settled |= {"statistics": "fermion", "bins": None, "norm": None}
    return read_imaginary(data, (dim,), **{**settled, **options})


def test_a_temperature_is_not_bent_further():
    g = green(SPECTRA["metal"], beta=40.0)
    g["tau"].attrs["units"] = "1/eV"
    with pytest.raises(AxisError, match="beta"):
        g.assign_attrs(temperature=293).S.continue_maxent(stderr=1e-4, omega=OMEGA)
    # A grid that stops one point short of beta says nothing against the temperature.
    tau = np.linspace(0, 40, 400, endpoint=False)
    short = xr.DataArray(np.exp(-tau), {"tau": ("tau", tau, {"units": "1/eV"})}, "tau")
    source = read(short.assign_attrs(temperature=KELVIN), "tau")
    assert source.problem.beta == pytest.approx(40.0, rel=1e-12)


def test_errors_in_every_form():
    g = xr.concat([green(SPECTRA["gap"], seed=s) for s in range(3)], "k")
    sizes = {"k": 3, "tau": 100}
    run = arpes_ml_plugins.continue_maxent
    expected = run(g, beta=BETA, omega=OMEGA, stderr=1e-4).spectral_function
    forms = [
        np.full(100, 1e-4),
        xr.DataArray(np.full(100, 1e-4), dims="tau"),
        xr.DataArray(np.full(3, 1e-4), dims="k"),
        xr.DataArray(np.full((100, 3), 1e-4), dims=("tau", "k")),
    ]
    for stderr in forms:
        found = run(g, beta=BETA, omega=OMEGA, stderr=stderr).spectral_function
        xr.testing.assert_allclose(found, expected)
    covariance = np.eye(sizes["tau"]) * 1e-8
    found = run(g, beta=BETA, omega=OMEGA, covariance=covariance).spectral_function
    xr.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.filterwarnings("ignore:continue_rlista.*narrow peaks")  # of errors of 1e-2, rightly
def test_each_slice_has_its_own_errors():
    g = xr.concat([green(SPECTRA["gap"], sigma=s) for s in (1e-5, 1e-2)], "k")
    stderr = xr.DataArray([1e-5, 1e-2], dims="k")
    both = g.S.continue_rlista(beta=BETA, omega=OMEGA, stderr=stderr)
    assert (both.chi2 < 2).all()
    for k, s in enumerate((1e-5, 1e-2)):
        alone = g[k].S.continue_rlista(beta=BETA, omega=OMEGA, stderr=s)
        xr.testing.assert_allclose(alone.spectral_function, both.spectral_function[k], atol=1e-6)
    assert (both.upper - both.lower)[1].sum() > 2 * (both.upper - both.lower)[0].sum()


@pytest.mark.filterwarnings("ignore:continue_.*narrow peaks")  # of overfits
def test_correlated_errors_are_whitened():
    spectrum, tau = SPECTRA["two peaks"], np.linspace(0, BETA, 100)
    distance = np.abs(tau[:, None] - tau) / 2.0
    covariance = (1e-3) ** 2 * (0.999 * np.exp(-distance) + 0.001 * np.eye(100))
    rng = np.random.default_rng(1)
    clean = green(spectrum, sigma=0.0)
    draws = rng.multivariate_normal(np.zeros(100), covariance, size=20)
    g = xr.DataArray(clean.values + draws, coords={"tau": tau}, dims=("k", "tau"))
    historic = g.S.continue_maxent(beta=BETA, omega=OMEGA, covariance=covariance, rule="historic")
    assert float(historic.chi2.median()) == pytest.approx(1, abs=0.05)

    def error(result):
        truth = spectrum(OMEGA)
        return float(np.abs(result.spectral_function - truth).integrate("omega").mean())

    for run, options in (("continue_rlista", {}), ("continue_maxent", {"rule": "classic"})):
        method = getattr(arpes_ml_plugins, run)
        told = method(g, beta=BETA, omega=OMEGA, covariance=covariance, **options)
        with pytest.warns(DistributionWarning, match="errors are correlated"):
            untold = method(g, beta=BETA, omega=OMEGA, stderr=1e-3, **options)
        assert error(told) < 0.85 * error(untold)


def test_errors_are_measured_if_not_stated():
    g = green(SPECTRA["gap"], sigma=3e-4)
    result = g.S.continue_rlista(beta=BETA, omega=OMEGA)
    assert 2.4e-4 < float(result.stderr.mean()) < 5e-4
    assert missed(result, SPECTRA["gap"]) < 0.25


def test_lazy_data_need_frequencies():
    g = xr.concat([green(SPECTRA["gap"], seed=s) for s in range(4)], "k").chunk(k=2)
    with pytest.raises(ParameterError, match="omega"):
        g.S.continue_rlista(beta=BETA, stderr=1e-4)
    lazy = g.S.continue_rlista(beta=BETA, stderr=1e-4, omega=OMEGA)
    assert lazy.spectral_function.chunks is not None
    eager = g.compute().S.continue_rlista(beta=BETA, stderr=1e-4, omega=OMEGA)
    xr.testing.assert_allclose(lazy.compute().spectral_function, eager.spectral_function, atol=2e-5)
    assert (lazy.compute().status == eager.status).all()


def test_arrays_as_parameters_are_replayed(tmp_path):
    g = green(SPECTRA["gap"])
    stderr = xr.DataArray(np.full(100, 1e-4), coords={"tau": g.tau}, dims="tau")
    result = g.S.continue_rlista(beta=BETA, stderr=stderr, omega=OMEGA)
    arpes_ml_plugins.save(result, tmp_path / "a.nc")
    again = arpes_ml_plugins.replay(arpes_ml_plugins.load(tmp_path / "a.nc"), g)
    xr.testing.assert_equal(again.spectral_function, result.spectral_function)


GOOD = {"beta": BETA, "stderr": 1e-4, "omega": OMEGA}


@pytest.mark.parametrize(
    ("change", "options", "error", "words"),
    [
        (lambda g: g.rename(tau="t"), {}, None, None),
        (lambda g: g.rename(tau="t").expand_dims(k=2), {}, AxisError, "no tau axis"),
        (lambda g: g, {"beta": 9.0}, AxisError, r"\[0, beta\]"),
        (lambda g: g.assign_coords(tau=g.tau - 1), {}, AxisError, r"\[0, beta\]"),
        (lambda g: g[::-1], {}, AxisError, "sortby"),
        (lambda g: g.drop_vars("tau"), {}, AxisError, "no coordinate"),
        (lambda g: g[:4], {}, DataError, "at least 6"),
        (lambda g: g, {"beta": None}, ParameterError, "beta"),
        (lambda g: g, {"beta": -1.0}, ParameterError, "beta"),
        (lambda g: g + 0j, {}, DataTypeError, "complex"),
        (lambda g: g.rename(tau="iwn"), {}, DataTypeError, "expected complex"),
        (lambda g: (g + 0j).rename(tau="iwn"), {}, AxisError, "Matsubara"),
        (lambda g: g.where(g.tau > 1), {}, DataError, "NaN"),
        (lambda g: g, {"stderr": 0.0}, ParameterError, "positive"),
        (lambda g: g, {"stderr": np.full(100, -1.0)}, ParameterError, "positive"),
        (lambda g: g, {"stderr": np.full(7, 1.0)}, ParameterError, "shape"),
        (lambda g: g, {"stderr": xr.DataArray([1.0, 2.0], dims="q")}, ParameterError, "lack"),
        (lambda g: g, {"stderr": xr.DataArray([1.0, 2.0], dims="tau")}, ParameterError, "points"),
        (lambda g: g, {"covariance": np.eye(100)}, ParameterError, "not both"),
        (
            lambda g: g,
            {"stderr": None, "covariance": np.ones((100, 100))},
            ParameterError,
            "positive definite",
        ),
        (lambda g: g, {"stderr": None, "covariance": np.eye(9)}, ParameterError, "100 x 100"),
        (
            lambda g: g,
            {"stderr": None, "covariance": np.triu(np.ones((100, 100)))},
            ParameterError,
            "symmetric",
        ),
        (lambda g: g, {"omega": OMEGA[::-1]}, ParameterError, "from 3 to -3 with"),
        (lambda g: g, {"omega": [0.0]}, ParameterError, "at least 3"),
        (lambda g: g.expand_dims(omega=2), {}, AxisError, "rename"),
        (lambda g: g.expand_dims(chi2=[1.0, 2.0]), {}, AxisError, "rename"),
        (lambda g: g, {"statistics": "anyon"}, ParameterError, "statistics"),
        (
            lambda g: g,
            {"stderr": xr.DataArray(np.ones(100), coords={"tau": np.arange(100.0)}, dims="tau")},
            ParameterError,
            "not that of the data",
        ),
    ],
)
@pytest.mark.parametrize("method", ["continue_rlista", "continue_maxent", "continue_ista"])
def test_bad_input(change, options, error, words, method):
    g = change(green(SPECTRA["gap"]))
    run = getattr(arpes_ml_plugins, method)
    if error is None:
        run(g, **{**GOOD, **options})
        return
    with pytest.raises(error, match=words) as caught:
        run(g, **{**GOOD, **options})
    assert isinstance(caught.value, ArpesMLError)


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [
        ("continue_rlista", {"recipe": "secret"}, "recipe"),
        ("continue_rlista", {"outside": "guess"}, "outside"),
        ("continue_rlista", {"layers": 0}, "layers"),
        ("continue_rlista", {"recipe": "trained", "statistics": "boson"}, "fermions"),
        ("continue_lista", {"statistics": "boson"}, "fermions"),
        ("continue_maxent", {"rule": "best"}, "rule"),
        ("continue_maxent", {"default_model": "gaussian"}, "default_model"),
        ("continue_ista", {"sparsity": 0.0}, "sparsity"),
        ("continue_rlista", {"refine": "no"}, "refine must be True"),
        ("continue_lista", {"refine": 1}, "refine must be True"),
        ("continue_rlista", {"bins": "no"}, "bins must be True"),
        ("continue_lista", {"bins": "no"}, "bins must be True"),
        ("continue_maxent", {"bins": "no"}, "bins must be True"),
        ("continue_ista", {"bins": 0}, "bins must be True"),
    ],
)
def test_bad_parameters(method, options, words):
    with pytest.raises(ParameterError, match=words):
        getattr(arpes_ml_plugins, method)(green(SPECTRA["gap"]), **{**GOOD, **options})


def test_numbers_of_numpy_as_beta():
    g = green(SPECTRA["gap"])
    for beta in (np.int64(10), np.float32(10)):
        g.assign_attrs(beta=beta).S.continue_maxent(stderr=1e-4, omega=OMEGA)


def test_lazy_nan_and_empty_slices():
    g = xr.concat([green(SPECTRA["gap"], seed=s) for s in range(3)], "k")
    options = {"beta": BETA, "stderr": 1e-4, "omega": OMEGA}
    holed = g.copy()
    holed[1, 4] = np.nan
    with pytest.raises(DataError, match="NaN"):
        holed.chunk(k=1).S.continue_maxent(**options).compute()
    holed[1] = np.nan
    result = holed.chunk(k=1).S.continue_maxent(**options).compute()
    assert result.status.values.tolist() == ["ok", "no data", "ok"]


def test_datasets():
    g = green(SPECTRA["gap"])
    for data in (g.to_dataset(name="g"), g.rename("anything").to_dataset()):
        result = data.S.continue_maxent(beta=BETA, stderr=1e-4, omega=OMEGA)
        assert result.status.item() == "ok"


def test_a_sum_rule_in_the_covariance_is_left_out():
    """G(0) + G(beta) = 1 in every bin: the matrix is singular, and the data are as good as ever."""
    beta, tau, omega = 20.0, np.linspace(0, 20, 51), np.linspace(-4, 4, 161)
    truth = np.exp(-(((omega - 1) / 0.5) ** 2) / 2) + np.exp(-(((omega + 1.5) / 0.6) ** 2) / 2)
    truth /= truth.sum() * 0.05
    kernel = np.exp(-tau[:, None] * omega) / (1 + np.exp(-beta * omega)) * 0.05
    bins = kernel @ truth + 1e-3 * np.random.default_rng(0).standard_normal((400, 51))
    bins[:, -1] = 1 - bins[:, 0]
    g = xr.DataArray(bins.mean(0), dims="tau", coords={"tau": tau})
    result = g.S.continue_maxent(beta=beta, omega=omega, covariance=np.cov(bins.T) / 400)
    assert result.status.item() == "ok"
    assert 0.5 < float(result.chi2) < 1.6
    assert float(abs(result.spectral_function - truth).sum() * 0.05) < 0.3


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_errors_that_are_not_finite_are_counted(wrong):
    stderr = np.full(100, 1e-4)
    stderr[[3, 40]] = wrong
    with pytest.raises(ParameterError, match="2 of 100 values"):
        green(SPECTRA["two peaks"]).S.continue_maxent(beta=BETA, omega=OMEGA, stderr=stderr)
