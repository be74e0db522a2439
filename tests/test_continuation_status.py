"""What ``continue_*`` say of their results is true."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import xarray as xr
from greens import BETA, OMEGA, SPECTRA, gauss, green, missed

import arpes_ml_plugins
from arpes_ml_plugins.errors import AxisError, ConvergenceWarning, DistributionWarning


def test_understated_errors_are_raised():
    g = green(SPECTRA["two peaks"], sigma=3e-4)
    with pytest.warns(DistributionWarning, match="scatter more than stated"):
        result = g.S.continue_rlista(beta=BETA, omega=OMEGA, stderr=1e-4)
    assert "errors raised" in result.status.item()
    assert float(result.stderr.mean()) == pytest.approx(3e-4, rel=0.3)
    assert missed(result, SPECTRA["two peaks"]) < 0.3


WITH_OUTLIERS = [
    ("continue_rlista", {}),
    ("continue_rlista", {"refine": False}),
    ("continue_rlista", {"recipe": "trained", "refine": False}),
    ("continue_rlista", {"recipe": "published"}),
    ("continue_lista", {}),
    ("continue_maxent", {}),
    ("continue_ista", {}),
    ("continue_ista", {"recipe": "published"}),
]


def spoken(run, *arguments, **options):
    """A result, and its warnings: pairs of category and text."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = run(*arguments, **options)
    return result, [(warning.category, str(warning.message)) for warning in caught]


@pytest.mark.parametrize(("method", "options"), WITH_OUTLIERS)
def test_outliers_are_left_out(method, options, quick_training):
    """Said by ``status``, done to the spectrum, and not counted in ``chi2``."""
    g = green(SPECTRA["two peaks"])
    options = {"beta": BETA, "omega": OMEGA, "stderr": 1e-4, **options}
    spoilt = g.copy()
    spoilt[[13, 77]] += [0.01, -0.02]
    run = getattr(arpes_ml_plugins, method)
    clean, _ = spoken(run, g, **options)
    result, said = spoken(run, spoilt, **options)
    assert (DistributionWarning, f"{method}: 1 of 1: outliers left out") in said
    assert "outliers left out" in result.status.item()
    assert "outliers" not in clean.status.item()
    changed = np.abs(result.spectral_function - clean.spectral_function).integrate("omega")
    assert float(changed) < 0.1
    assert float(result.chi2) == pytest.approx(float(clean.chi2), rel=0.5)


def test_everything_is_said_at_once():
    g = green(SPECTRA["two peaks"], sigma=3e-4)
    g[13] += 0.05
    result, said = spoken(g.S.continue_maxent, beta=BETA, omega=OMEGA, stderr=1e-4)
    for words in ("errors raised", "outliers left out"):
        assert words in result.status.item()
        assert sum(words in text for _, text in said) == 1


UNEXPLAINED = "does not explain the data"
UNLIKE = "the data are unlike those of all training spectra"
NARROW = np.linspace(-0.5, 0.5, 51)


@pytest.mark.parametrize(
    ("method", "options", "spectrum", "change", "words"),
    [
        # A wave that no spectrum makes, ten times the errors.
        ("continue_maxent", {}, "metal", lambda g: g + 1e-3 * np.sin(7 * g.tau), UNEXPLAINED),
        ("continue_rlista", {}, "metal", lambda g: g + 1e-3 * np.sin(7 * g.tau), UNEXPLAINED),
        # A window that leaves half of the spectrum out.
        ("continue_ista", {"omega": np.linspace(0, 3, 61)}, "gap", lambda g: g, UNEXPLAINED),
        # Too few peaks for these errors.
        ("continue_ista", {"sparsity": 0.1}, "metal", lambda g: g, UNEXPLAINED),
        # All of the spectrum is further away than the problem goes.
        ("continue_maxent", {"omega": NARROW}, "far", lambda g: g, UNLIKE),
        ("continue_rlista", {"omega": NARROW, "refine": False}, "far", lambda g: g, UNLIKE),
        (
            "continue_rlista",
            {"omega": NARROW},
            "far",
            lambda g: g,
            "fell back to MaxEnt: " + UNLIKE,
        ),
    ],
)
def test_what_is_flagged_is_not_ok(method, options, spectrum, change, words):
    spectra = {**SPECTRA, "far": lambda w: gauss(w, 2.8, 0.08)}
    g = change(green(spectra[spectrum], sigma=1e-5))
    options = {"beta": BETA, "omega": OMEGA, "stderr": 1e-5, **options}
    result, said = spoken(getattr(arpes_ml_plugins, method), g, **options)
    assert result.out_of_distribution
    assert words in result.status.item()
    assert [category for category, text in said if words in text] == [DistributionWarning]


@pytest.mark.filterwarnings("ignore:continue_")
def test_a_constant_is_a_peak_at_zero_frequency():
    """A small one does the harm of its weight only; one that would be a negative peak is seen."""
    beta, sigma = 40.0, 1e-5
    g = green(SPECTRA["gap"], sigma=sigma, beta=beta)
    change = 10 * sigma
    data = xr.concat([g, g + change, g - change], "n")
    result = data.S.continue_maxent(beta=beta, omega=OMEGA, stderr=sigma)
    clean, positive, negative = result.status.values
    assert clean == positive == "ok"
    assert UNEXPLAINED in negative
    more = result.spectral_function.diff("n")[0].sel(omega=slice(-0.3, 0.3)).integrate("omega")
    assert float(more) == pytest.approx(2 * change, rel=0.2)


def test_ista_says_where_it_stopped():
    g = green(SPECTRA["two peaks"], sigma=1e-3)
    options = {"beta": BETA, "omega": OMEGA, "stderr": 1e-3}
    early, said = spoken(g.S.continue_ista, iterations=10, **options)
    assert (ConvergenceWarning, "continue_ista: 1 of 1: not converged") in said
    assert "not converged" in early.status.item()
    assert g.S.continue_ista(iterations=20_000, **options).status.item() == "ok"


def test_wrong_beta_is_noticed():
    g = green(SPECTRA["metal"])
    options = {"omega": OMEGA, "stderr": 1e-4}
    result, said = spoken(g.S.continue_rlista, beta=1.1 * BETA, **options)
    assert any("short of beta" in text for _, text in said)
    assert "the norm is not 1" in result.status.item()
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


@pytest.mark.filterwarnings("ignore:.*norm 1 assumed:arpes_ml_plugins.errors.DistributionWarning")
def test_large_errors_are_outside_the_training():
    with pytest.warns(DistributionWarning, match="outside"):
        green(SPECTRA["gap"], sigma=0.1).S.continue_rlista(beta=BETA, stderr=0.1, omega=OMEGA)


@pytest.mark.filterwarnings("ignore:continue_")
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("continue_rlista", {}),
        ("continue_rlista", {"refine": False}),
        ("continue_maxent", {}),
        ("continue_ista", {"iterations": 200}),
    ],
)
def test_the_spectrum_lies_in_its_own_band(method, options):
    """One narrow peak: unlike the training, so that network and refinement disagree."""
    for width in (0.03, 0.3):
        g = green(lambda w, s=width: gauss(w, 0.4, s), sigma=1e-4)
        result = getattr(g.S, method)(beta=BETA, omega=OMEGA, stderr=1e-4, **options)
        assert bool((result.lower <= result.spectral_function).all())
        assert bool((result.spectral_function <= result.upper).all())


@pytest.mark.filterwarnings("ignore::arpes_ml_plugins.errors.DistributionWarning")
def test_off_diagonal_elements_are_named():
    """Not wider frequencies, which explain them no better."""
    tau, omega = np.linspace(0, 20, 101), np.linspace(-6, 6, 241)
    parts = [np.exp(-((omega - at) ** 2) / 0.3) for at in (-1, 1.2)]
    kernel = np.exp(-tau[:, None] * omega - np.logaddexp(0, -20 * omega))
    noise = 1e-3 * np.random.default_rng(0).standard_normal(101)
    for sign in (-1, 1):
        clean = kernel @ (parts[0] + sign * parts[1]) / parts[0].sum() / 2
        g = xr.DataArray(clean + noise, {"tau": tau}, "tau")
        status = g.S.continue_maxent(beta=20, stderr=1e-3, omega=omega).status.item()
        assert ("off-diagonal elements" in status) == (sign < 0)
        assert "beyond omega" not in status
