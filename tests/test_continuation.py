"""``continue_*`` on spectra that are known, in the forms that users bring them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import xarray as xr

import arpes_ml_plugins
from arpes_ml_plugins.continuation.maxent import RULES
from arpes_ml_plugins.errors import (
    ArpesMLError,
    AxisError,
    DataError,
    DataTypeError,
    DistributionWarning,
    ParameterError,
)
from arpes_ml_plugins.networks import cache
from arpes_ml_plugins.networks import rlista as stored
from arpes_ml_plugins.simulation.spectra import broad_spectra, centres, published_spectra

BETA = 10.0
OMEGA = np.linspace(-3, 3, 121)
FINE = np.linspace(-3, 3, 3001)


def fermi(tau, omega, beta=BETA):
    below = np.where(omega < 0, beta - tau[:, None], -tau[:, None])
    return np.exp(below * omega) / (1 + np.exp(-beta * np.abs(omega)))


def gauss(omega, centre, width):
    return np.exp(-((omega - centre) ** 2) / (2 * width**2)) / (width * np.sqrt(2 * np.pi))


SPECTRA = {
    "semicircle": lambda w: 2 / np.pi * np.sqrt(np.clip(1 - w**2, 0, None)),
    "two peaks": lambda w: 0.6 * gauss(w, -0.8, 0.2) + 0.4 * gauss(w, 1.0, 0.3),
    "gap": lambda w: 0.5 * gauss(w, -1.2, 0.25) + 0.5 * gauss(w, 1.2, 0.25),
    "metal": lambda w: (
        0.3 * gauss(w, 0.0, 0.08) + 0.35 * gauss(w, -1.1, 0.3) + 0.35 * gauss(w, 1.1, 0.3)
    ),
}


def green(spectrum, *, tau=None, sigma=1e-4, beta=BETA, seed=0, name="two peaks"):
    """Noisy -G(tau) of a spectrum, integrated on a fine grid."""
    tau = np.linspace(0, beta, 100) if tau is None else tau
    clean = fermi(tau, FINE, beta) @ spectrum(FINE) * (FINE[1] - FINE[0])
    noise = sigma * np.random.default_rng(seed).normal(size=len(tau))
    return xr.DataArray(clean + noise, coords={"tau": tau}, dims="tau", name="g")


def missed(result, spectrum):
    """Integral of the error over that of the spectrum (which is 1)."""
    found = result["spectral_function"]
    omega = found[found.dims[-1]]
    return float(np.abs(found - spectrum(omega.values)).integrate(omega.name).max())


METHODS = ("continue_rlista", "continue_maxent")


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("method", METHODS)
def test_known_spectra(name, method):
    g = green(SPECTRA[name])
    result = getattr(arpes_ml_plugins, method)(g, beta=BETA, stderr=1e-4, omega=OMEGA)
    assert result.status.item() == "ok"
    assert not result.out_of_distribution
    # A flat spectrum misses by 1.0 to 1.3.
    assert missed(result, SPECTRA[name]) < 0.25
    assert float(result.spectral_function.integrate("omega")) == pytest.approx(1, abs=1e-3)
    assert float(result.chi2) == pytest.approx(1, abs=0.5)
    assert (result.spectral_function >= 0).all()
    assert (result.lower <= result.upper).all()


def test_peaks_are_where_they_are():
    g = green(SPECTRA["two peaks"], sigma=1e-5)
    result = g.S.continue_rlista(beta=BETA, stderr=1e-5, omega=OMEGA)
    a = result.spectral_function
    assert float(a.sel(omega=slice(None, 0)).idxmax()) == pytest.approx(-0.8, abs=0.06)
    assert float(a.sel(omega=slice(0, None)).idxmax()) == pytest.approx(1.0, abs=0.12)


def test_a_gap_is_empty_and_a_metal_is_not():
    gap, metal = (
        green(SPECTRA[n]).S.continue_rlista(beta=BETA, stderr=1e-4, omega=OMEGA)
        for n in ("gap", "metal")
    )
    at_zero = [r.spectral_function.sel(omega=0, method="nearest").item() for r in (gap, metal)]
    assert at_zero[0] < 0.05
    assert at_zero[1] == pytest.approx(SPECTRA["metal"](0.0), rel=0.3)


@pytest.mark.parametrize("method", METHODS)
def test_both_signs(method):
    g = green(SPECTRA["gap"])
    run = getattr(arpes_ml_plugins, method)
    plus = run(g, beta=BETA, stderr=1e-4, omega=OMEGA)
    minus = run(-g, beta=BETA, stderr=1e-4, omega=OMEGA)
    assert plus.sign == 1
    assert minus.sign == -1
    xr.testing.assert_allclose(plus.spectral_function, minus.spectral_function)
    xr.testing.assert_allclose(plus.back_transform, -minus.back_transform)


@pytest.mark.parametrize("norm", [1e-6, 0.013, 2.0, 1e6])
@pytest.mark.parametrize("rule", ["rlista", *RULES])
def test_any_norm(norm, rule):
    """The unit of the data changes nothing."""
    g = green(SPECTRA["two peaks"])
    method, options = METHODS[0], {}
    if rule != "rlista":
        method, options = METHODS[1], {"rule": rule}
    run = getattr(arpes_ml_plugins, method)
    result = run(norm * g, beta=BETA, stderr=norm * 1e-4, omega=OMEGA, **options)
    one = run(g, beta=BETA, stderr=1e-4, omega=OMEGA, **options)
    assert result.status.item() == "ok"
    xr.testing.assert_allclose(
        result.spectral_function / norm, one.spectral_function, rtol=0, atol=0.02
    )


@pytest.mark.parametrize(
    "tau",
    [
        np.linspace(0, BETA, 24),
        (np.arange(64) + 0.5) * BETA / 64,
        BETA * (1 - np.cos(np.linspace(0, np.pi, 50))) / 2,
        np.sort(np.random.default_rng(5).uniform(0, BETA, 80)),
    ],
    ids=["few", "no end points", "Chebyshev", "random"],
)
@pytest.mark.parametrize("method", METHODS)
def test_time_grids(tau, method):
    g = green(SPECTRA["two peaks"], tau=tau)
    result = getattr(arpes_ml_plugins, method)(g, beta=BETA, stderr=1e-4, omega=OMEGA)
    assert result.status.item() == "ok"
    assert missed(result, SPECTRA["two peaks"]) < 0.3


@pytest.mark.parametrize("beta", [5.0, 23.0, 50.0])
def test_inverse_temperatures(beta):
    g = green(SPECTRA["two peaks"], beta=beta)
    result = g.S.continue_rlista(beta=beta, stderr=1e-4, omega=OMEGA)
    assert result.status.item() == "ok"
    assert missed(result, SPECTRA["two peaks"]) < 0.3


@pytest.mark.parametrize(
    "omega",
    [np.linspace(-3, 3, 31), np.linspace(-5, 5, 400), np.sinh(np.linspace(-2, 2, 90))],
    ids=["coarse", "wide", "uneven"],
)
def test_frequency_grids(omega):
    g = green(SPECTRA["two peaks"])
    result = g.S.continue_rlista(beta=BETA, stderr=1e-4, omega=omega)
    assert missed(result, SPECTRA["two peaks"]) < 0.25


def test_own_frequencies():
    """Without omega= the window follows the spectrum, in whatever unit."""
    g = green(SPECTRA["two peaks"])
    result = g.S.continue_rlista(beta=BETA, stderr=1e-4)
    assert 1.5 < float(result.omega.max()) < 5
    assert missed(result, SPECTRA["two peaks"]) < 0.25
    in_mev = g.assign_coords(tau=g.tau / 1000)
    other = in_mev.S.continue_rlista(beta=BETA / 1000, stderr=1e-4)
    np.testing.assert_allclose(other.omega, result.omega * 1000)
    np.testing.assert_allclose(other.spectral_function * 1000, result.spectral_function, atol=1e-6)


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


def test_matsubara_frequencies():
    spectrum = SPECTRA["two peaks"]
    frequencies = (2 * np.arange(60) + 1) * np.pi / BETA
    values = (spectrum(FINE) / (1j * frequencies[:, None] - FINE)).sum(1) * (FINE[1] - FINE[0])
    rng = np.random.default_rng(0)
    noisy = values + 1e-4 * (rng.normal(size=60) + 1j * rng.normal(size=60))
    g = xr.DataArray(noisy, coords={"iwn": frequencies}, dims="iwn")
    for method in METHODS:
        result = getattr(arpes_ml_plugins, method)(g, stderr=1e-4, omega=OMEGA)
        assert missed(result, spectrum) < 0.25
        assert result.back_transform.dtype == complex
        assert float(np.abs(result.back_transform - noisy).max()) < 1e-3
    default = g.S.continue_rlista(stderr=1e-4)
    assert missed(default, spectrum) < 0.25
    turned = (-g).S.continue_rlista(stderr=1e-4, omega=OMEGA)
    assert turned.sign == -1


def test_self_energy():
    """Without its constant part a self-energy is continued like a Green's function."""
    frequencies = (2 * np.arange(80) + 1) * np.pi / 40.0
    poles, weights, hartree = np.array([-0.9, 1.1]), np.array([0.3, 0.5]), 1.7
    rho = sum(w * gauss(FINE, p, 0.2) for w, p in zip(weights, poles, strict=True))
    sigma = (rho / (1j * frequencies[:, None] - FINE)).sum(1) * (FINE[1] - FINE[0]) + hartree
    data = xr.DataArray(sigma - hartree, coords={"iwn": frequencies}, dims="iwn")
    noise = np.random.default_rng(0).normal(size=(2, 80))
    data = data + 1e-4 * (noise[0] + 1j * noise[1])
    result = data.S.continue_maxent(stderr=1e-4, omega=OMEGA)
    found = result.spectral_function
    assert float(found.integrate("omega")) == pytest.approx(0.8, abs=0.01)
    expected = sum(w * gauss(OMEGA, p, 0.2) for w, p in zip(weights, poles, strict=True))
    assert np.abs(found - expected).integrate("omega") < 0.2


@pytest.mark.parametrize("even", [True, False])
def test_bosons(even):
    """A(w)/w of an even bosonic spectrum; the general network says that it was not trained so."""
    omega = np.linspace(0 if even else -4, 4, 161 if even else 321)
    fine = np.linspace(-4, 4, 8001)
    ratio = gauss(fine, 1.5, 0.4) + gauss(fine, -1.5, 0.4)
    tau = np.linspace(0, BETA, 80)
    weight = np.where(fine == 0, 1 / BETA, fine / -np.expm1(-BETA * np.where(fine, fine, 1)))
    clean = (np.exp(-tau[:, None] * fine) * weight * ratio).sum(1) * (fine[1] - fine[0])
    sigma = 1e-5 * clean[0]
    noise = sigma * np.random.default_rng(0).normal(size=80)
    chi = xr.DataArray(clean + noise, coords={"tau": tau}, dims="tau")
    options = {"beta": BETA, "stderr": sigma, "omega": omega, "statistics": "boson"}
    result = chi.S.continue_maxent(**options)
    assert result.status.item() == "ok"
    found = result.spectral_function.sel(omega=slice(0, None))
    assert float(found.idxmax()) == pytest.approx(1.5, abs=0.15)
    assert np.abs(found - gauss(found.omega, 1.5, 0.4)).integrate("omega") < 0.35
    with pytest.warns(DistributionWarning, match="fell back to MaxEnt"):
        other = chi.S.continue_rlista(**options)
    xr.testing.assert_allclose(other.spectral_function, result.spectral_function)
    with pytest.raises(ParameterError, match="omega"):
        chi.S.continue_maxent(beta=BETA, stderr=sigma, statistics="boson")


def test_bins_help_on_coarse_grids():
    def box(w):  # constant within the cells of omega; half at its edges, for the trapezoidal rule
        return np.where(np.abs(w) < 1 - 1e-9, 0.5, np.where(np.abs(w) < 1 + 1e-9, 0.25, 0.0))

    g = green(box, beta=40.0, sigma=1e-5)
    omega = np.linspace(-2.5, 2.5, 26)
    options = {"beta": 40.0, "stderr": 1e-5, "omega": omega}
    result = g.S.continue_maxent(bins=True, **options)
    assert result.status.item() == "ok"
    parts = g.S.continue_maxent(**options)
    assert parts.status.item() == "ok"
    with pytest.warns(DistributionWarning):
        other = g.S.continue_maxent(bins=False, **options)
    assert missed(result, box) < missed(other, box)
    assert missed(parts, box) < missed(other, box)


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


def test_each_slice_has_its_own_errors():
    g = xr.concat([green(SPECTRA["gap"], sigma=s) for s in (1e-5, 1e-2)], "k")
    stderr = xr.DataArray([1e-5, 1e-2], dims="k")
    both = g.S.continue_rlista(beta=BETA, omega=OMEGA, stderr=stderr)
    assert (both.chi2 < 2).all()
    for k, s in enumerate((1e-5, 1e-2)):
        alone = g[k].S.continue_rlista(beta=BETA, omega=OMEGA, stderr=s)
        xr.testing.assert_allclose(alone.spectral_function, both.spectral_function[k], atol=1e-6)
    assert (both.upper - both.lower)[1].sum() > 2 * (both.upper - both.lower)[0].sum()


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
        untold = method(g, beta=BETA, omega=OMEGA, stderr=1e-3, **options)
        assert error(told) < 0.7 * error(untold)


def test_errors_are_measured_if_not_stated():
    g = green(SPECTRA["gap"], sigma=3e-4)
    result = g.S.continue_rlista(beta=BETA, omega=OMEGA)
    assert 2.4e-4 < float(result.stderr.mean()) < 5e-4
    assert missed(result, SPECTRA["gap"]) < 0.25


def test_understated_errors_are_raised():
    g = green(SPECTRA["two peaks"], sigma=3e-4)
    with pytest.warns(DistributionWarning, match="scatter more than stated"):
        result = g.S.continue_rlista(beta=BETA, omega=OMEGA, stderr=1e-4)
    assert "errors raised" in result.status.item()
    assert float(result.stderr.mean()) == pytest.approx(3e-4, rel=0.3)
    assert missed(result, SPECTRA["two peaks"]) < 0.3


def test_outliers_are_left_out():
    g = green(SPECTRA["two peaks"])
    clean = g.S.continue_rlista(beta=BETA, omega=OMEGA, stderr=1e-4)
    spoilt = g.copy()
    spoilt[[13, 77]] += [0.01, -0.02]
    with pytest.warns(DistributionWarning, match="outliers"):
        result = spoilt.S.continue_rlista(beta=BETA, omega=OMEGA, stderr=1e-4)
    assert missed(result, SPECTRA["two peaks"]) < missed(clean, SPECTRA["two peaks"]) + 0.05


def test_wrong_beta_is_noticed():
    g = green(SPECTRA["metal"])
    options = {"omega": OMEGA, "stderr": 1e-4}
    with pytest.warns(DistributionWarning, match="short of beta"):
        g.S.continue_rlista(beta=1.1 * BETA, **options)
    with pytest.raises(AxisError, match="beta"):
        g.S.continue_rlista(beta=0.9 * BETA, **options)
    # A grid that rightly leaves out its last point is no reason to warn.
    g[:-1].S.continue_rlista(beta=BETA, **options)


def test_strange_data_are_flagged():
    g = green(SPECTRA["metal"])
    with pytest.warns(DistributionWarning):
        result = (g + 0.1 * np.sin(7 * g.tau)).S.continue_rlista(
            beta=BETA, omega=OMEGA, stderr=1e-4
        )
    assert result.out_of_distribution


def test_bare_network_and_refinement():
    g = xr.concat([green(SPECTRA["metal"], seed=s) for s in range(5)], "k")
    options = {"beta": BETA, "omega": OMEGA, "stderr": 1e-4}
    bare = g.S.continue_rlista(refine=False, **options)
    refined = g.S.continue_rlista(**options)
    same = g.S.continue_maxent(default_model="rlista", **options)
    assert (refined.chi2 < 2).all()
    assert (bare.chi2 > refined.chi2).all()
    xr.testing.assert_allclose(same.spectral_function, refined.spectral_function)


def test_own_default_model():
    truth = SPECTRA["metal"]
    g = green(truth, sigma=1e-3)
    grid = np.linspace(-4, 4, 500)
    model = xr.DataArray(truth(grid), coords={"omega": grid}, dims="omega")
    options = {"beta": BETA, "omega": OMEGA, "stderr": 1e-3}
    guided = g.S.continue_maxent(default_model=model, **options)
    flat = g.S.continue_maxent(**options)
    assert missed(guided, truth) < 0.3 * missed(flat, truth)
    per_slice = xr.concat([g, g], "k").S.continue_maxent(
        default_model=xr.concat([model, model], "k"), **options
    )
    xr.testing.assert_allclose(per_slice.spectral_function[1], guided.spectral_function)
    again = arpes_ml_plugins.replay(guided, g)
    xr.testing.assert_equal(again.spectral_function, guided.spectral_function)
    for wrong, words in (
        (model.rename(omega="eV"), "omega"),
        (model * 0, "not zero"),
        (-model, "negative"),
        (model.expand_dims(q=2), "lack"),
    ):
        with pytest.raises(ParameterError, match=words):
            g.S.continue_maxent(default_model=wrong, **options)


@pytest.mark.parametrize("recipe", ["trained", "published"])
@pytest.mark.parametrize("norm", [1.0, 1.08, 1.5])
def test_networks_of_ones_own(recipe, norm, own_cache):
    """The network alone, after a short training, is better than a flat spectrum."""
    g = norm * green(SPECTRA["metal"])
    result = g.S.continue_rlista(
        recipe=recipe,
        training_steps=150,
        layers=4,
        training_seed=1,
        refine=False,
        beta=BETA,
        omega=OMEGA,
        stderr=norm * 1e-4,
    )
    flat = 1.0 / 6.0
    a = result.spectral_function / norm
    truth = SPECTRA["metal"](OMEGA)
    assert np.abs(a - truth).integrate("omega") < 0.8 * np.abs(flat - truth).mean() * 6
    if recipe == "trained":
        assert float(a.integrate("omega")) == pytest.approx(1, abs=2e-3)
    assert list(own_cache.glob("rlista-*.safetensors"))


def test_training_for_data_outside_the_range():
    g = green(SPECTRA["metal"], tau=np.linspace(0, BETA, 15))
    options = {"beta": BETA, "omega": OMEGA, "stderr": 1e-4, "training_seed": 1}
    with pytest.warns(DistributionWarning, match="outside what the network was trained for"):
        fallen = g.S.continue_rlista(**options)
    with pytest.warns(DistributionWarning, match="a network was trained"):
        trained = g.S.continue_rlista(outside="train", training_steps=300, **options)
    assert missed(trained, SPECTRA["metal"]) < 1.5 * missed(fallen, SPECTRA["metal"])


@pytest.mark.slow
@pytest.mark.parametrize(("beta", "sigma"), [(10.0, 1e-4), (30.0, 1e-3), (15.0, 1e-5)])
@pytest.mark.parametrize("kind", ["broad", "published"])
def test_bands_cover_what_they_say(beta, sigma, kind):
    """90 % stated, 87 to 93 % measured, on spectra that no training has seen."""
    generator = torch.Generator().manual_seed(20261123)
    tau = np.linspace(0, beta, 100)
    if kind == "broad":
        fine = broad_spectra(900, generator).double().numpy()
        truth = fine.reshape(900, 50, 5).sum(-1)
        grid = centres(fine=5).numpy() * 3
    else:
        fine = truth = published_spectra(600, generator).double().numpy()
        grid = centres().numpy() * 3
    clean = fine @ fermi(tau, grid, beta).T
    noise = sigma * np.random.default_rng(3).normal(size=clean.shape)
    g = xr.DataArray(clean + noise, coords={"tau": tau}, dims=("k", "tau"))
    with warnings.catch_warnings():
        # One in a hundred is unlike the others.
        warnings.simplefilter("ignore", DistributionWarning)
        result = g.S.continue_rlista(beta=beta, stderr=sigma, omega=centres().numpy() * 3)
    width = 6 / 49
    covered = (result.lower <= truth / width + 1e-6) & (truth / width <= result.upper + 1e-6)
    assert 0.87 <= float(covered.mean()) <= 0.93


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
        (lambda g: g, {"omega": OMEGA[::-1]}, ParameterError, "rise"),
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
    ],
)
def test_bad_parameters(method, options, words):
    with pytest.raises(ParameterError, match=words):
        getattr(arpes_ml_plugins, method)(green(SPECTRA["gap"]), **{**GOOD, **options})


def test_as_measured():
    energy = np.linspace(-1, 1, 401)
    flat = xr.DataArray(np.ones((2, 401)), coords={"eV": energy}, dims=("k", "eV"))
    edge = arpes_ml_plugins.as_measured(flat, temperature=100.0, resolution=0.05)
    kt = 8.617333262e-5 * 100
    slope = float(edge[0].differentiate("eV").sel(eV=0, method="nearest"))
    # Gaussian of the resolution and derivative of the Fermi function, in quadrature
    sigma = np.hypot(0.05 / 2.3548, np.pi * kt / np.sqrt(3))
    assert slope == pytest.approx(-1 / (sigma * np.sqrt(2 * np.pi)), rel=0.1)
    assert edge.dims == flat.dims
    sharp = arpes_ml_plugins.as_measured(flat, beta=1 / kt)
    np.testing.assert_allclose(sharp[0], 1 / (np.exp(energy / kt) + 1), rtol=1e-9)
    with pytest.raises(ParameterError, match="either"):
        arpes_ml_plugins.as_measured(flat)
    with pytest.raises(ParameterError, match="positive"):
        arpes_ml_plugins.as_measured(flat, beta=-1.0)
    uneven = flat.assign_coords(eV=np.sinh(energy))
    with pytest.raises(AxisError, match="evenly"):
        arpes_ml_plugins.as_measured(uneven, beta=10.0, resolution=0.1)


def test_train_rlista_fills_the_cache(own_cache):
    """What it trains is what ``recipe="trained"`` uses, and nothing is trained twice."""
    g = green(SPECTRA["metal"])
    told = []
    options = {"training_steps": 100, "layers": 3}
    network = arpes_ml_plugins.train_rlista(
        g.tau.values, beta=BETA, stderr=1e-4, window=3.0, steps=100, layers=3, progress=told.append
    )
    assert told[-1].done == told[-1].total == 100
    files = set(own_cache.iterdir())
    bare = g.S.continue_rlista(
        beta=BETA,
        stderr=1e-4,
        omega=centres().numpy() * 3,
        recipe="trained",
        refine=False,
        **options,
    )
    assert set(own_cache.iterdir()) == files
    with torch.inference_mode():
        direct = network(torch.from_numpy(g.values)[None])[0]
    # The method measures the norm, which is 1 up to the noise.
    np.testing.assert_allclose(bare.spectral_function * 6 / 49, direct, atol=1e-4)
    for wrong in ({"beta": 0.0}, {"stderr": -1.0}, {"prior": "flat"}, {"recipe": "best"}):
        with pytest.raises(ParameterError):
            arpes_ml_plugins.train_rlista(
                g.tau.values, **{"beta": BETA, "stderr": 1e-4, "window": 3.0, **wrong}
            )


def test_large_errors_are_outside_the_training():
    with pytest.warns(DistributionWarning, match="outside"):
        green(SPECTRA["gap"], sigma=0.1).S.continue_rlista(beta=BETA, stderr=0.1, omega=OMEGA)


def test_the_band_goes_with_the_answer():
    """Where the network is not trusted the band is that of maximum entropy, around its answer."""
    spectrum = lambda w: gauss(w, 2.7, 0.08)  # noqa: E731
    g = green(spectrum, sigma=1e-5)
    with pytest.warns(DistributionWarning, match="unlike"):
        result = g.S.continue_rlista(beta=BETA, stderr=1e-5, omega=OMEGA)
    a = result.spectral_function
    assert ((result.lower <= a) & (a <= result.upper)).all()
    wide = green(SPECTRA["two peaks"]).S.continue_rlista(
        beta=BETA, stderr=1e-4, omega=np.linspace(-30, 30, 601)
    )
    assert (wide.upper > 0).all()


def test_numbers_of_numpy_as_beta():
    g = green(SPECTRA["gap"])
    for beta in (np.int64(10), np.float32(10)):
        g.assign_attrs(beta=beta).S.continue_maxent(stderr=1e-4, omega=OMEGA)


def test_double_precision_by_default_does_no_harm(own_cache):
    g = green(SPECTRA["gap"])
    expected = g.S.continue_rlista(beta=BETA, stderr=1e-4, omega=OMEGA)
    torch.set_default_dtype(torch.float64)
    try:
        stored.continuation_network.cache_clear()
        found = g.S.continue_rlista(beta=BETA, stderr=1e-4, omega=OMEGA)
        arpes_ml_plugins.train_rlista(
            g.tau.values, beta=BETA, stderr=1e-4, window=3.0, steps=2, layers=1
        )
    finally:
        torch.set_default_dtype(torch.float32)
        stored.continuation_network.cache_clear()
    xr.testing.assert_allclose(found.spectral_function, expected.spectral_function)


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path / "file" / "networks")
    with pytest.warns(UserWarning, match="could not be kept"):
        arpes_ml_plugins.train_rlista(
            np.linspace(0, BETA, 20), beta=BETA, stderr=1e-3, window=3.0, steps=2, layers=1
        )


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


def test_negative_matsubara_frequencies_would_count_twice():
    frequencies = (2 * np.arange(-5, 5) + 1) * np.pi / BETA
    g = xr.DataArray(1 / (1j * frequencies), coords={"iwn": frequencies}, dims="iwn")
    with pytest.raises(AxisError, match="twice"):
        g.S.continue_maxent(beta=BETA, stderr=1e-4, omega=OMEGA)


def test_a_wide_default_model_reaches_the_ends():
    g = green(SPECTRA["gap"], sigma=0.02)
    omega = np.linspace(-3, 3, 31)
    model = xr.DataArray(np.ones(31) / 6.2, coords={"omega": omega}, dims="omega")
    options = {"beta": BETA, "stderr": 0.02, "omega": omega, "rule": "historic"}
    own = g.S.continue_maxent(default_model=model, **options)
    flat = g.S.continue_maxent(**options)
    xr.testing.assert_allclose(own.spectral_function, flat.spectral_function, rtol=0.02)
    two = xr.concat([g, g], "k").assign_coords(k=[0, 1])
    turned = model.expand_dims(k=[1, 0])
    with pytest.raises(ParameterError, match="not that of the data"):
        two.S.continue_maxent(default_model=turned, **options)
    with pytest.raises(ParameterError, match="wrap the array"):
        g.S.continue_maxent(default_model=model.values, **options)
