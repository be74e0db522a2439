"""Moments of the spectrum beside the data."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from greens import BETA, FINE, METHODS, OMEGA, SPECTRA, gauss, green, missed

import arpes_ml_plugins
from arpes_ml_plugins.errors import DistributionWarning, ParameterError

TWO, GAP = SPECTRA["two peaks"], SPECTRA["gap"]
OPTIONS = {"beta": BETA, "stderr": 1e-3, "omega": OMEGA}


def moment(spectrum, order):
    return float((FINE**order * spectrum(FINE)).sum() * (FINE[1] - FINE[0]))


def of(result, order):
    """Over the cells, the first and the last of which reach beyond their frequency."""
    a = result.spectral_function
    return (a * a.omega**order).sum("omega") * (OMEGA[1] - OMEGA[0])


@pytest.mark.parametrize("method", METHODS)
def test_exact_moments_are_met_and_help(method):
    run = getattr(arpes_ml_plugins, method)
    known = [moment(TWO, n) for n in range(3)]
    errors = {}
    for name, moments in (("without", None), ("with", known)):
        found = [run(green(TWO, sigma=1e-3, seed=s), moments=moments, **OPTIONS) for s in range(2)]
        errors[name] = np.mean([missed(result, TWO) for result in found])
    assert errors["with"] < 0.6 * errors["without"]
    assert found[0].status.item() == "ok"
    for order, value in enumerate(known):
        assert float(of(found[0], order)) == pytest.approx(value, abs=5e-4)


def test_an_error_decides_how_much_a_moment_counts():
    g, true = green(GAP, sigma=1e-3), moment(GAP, 2)
    plain = float(of(g.S.continue_maxent(**OPTIONS), 2))
    off = {}
    for error in (1e-3, 1e-2, 10.0):
        result = g.S.continue_maxent(moments={2: (true, error)}, **OPTIONS)
        off[error] = abs(float(of(result, 2)) - true)
    assert off[1e-3] < 0.1 * off[10.0]
    assert off[1e-2] < 1.05 * off[10.0]  # the strength of the entropy differs a little
    assert off[10.0] == pytest.approx(abs(plain - true), rel=0.05)


def test_each_slice_has_its_own():
    """The first moment is the bare dispersion, whatever the interaction."""
    k = np.linspace(0, 1, 3)
    spectra = [lambda w, e=e: gauss(w, e, 0.3) for e in k - 0.5]
    g = xr.concat([green(s, sigma=1e-3) for s in spectra], "k").assign_coords(k=k)
    dispersion = xr.DataArray(k - 0.5, dims="k", coords={"k": k})
    result = g.S.continue_maxent(moments=[1.0, dispersion], **OPTIONS)
    np.testing.assert_allclose(of(result, 1), dispersion, atol=5e-4)
    with pytest.raises(ParameterError, match="not that of the data"):
        g.S.continue_maxent(moments=[1.0, dispersion[::-1]], **OPTIONS)
    with pytest.raises(ParameterError, match="dimensions"):
        g.S.continue_maxent(moments=[1.0, dispersion.rename(k="q")], **OPTIONS)
    lazy = g.chunk(k=1).S.continue_maxent(moments=[1.0, dispersion], **OPTIONS)
    np.testing.assert_allclose(lazy.spectral_function, result.spectral_function, atol=1e-6)
    again = arpes_ml_plugins.replay(result, g)
    xr.testing.assert_equal(again.spectral_function, result.spectral_function)


def test_off_diagonal_elements():
    """Their norm is zero and their first moment the hopping."""
    element = lambda w: 0.5 * (gauss(w, 0.8, 0.3) - gauss(w, -0.8, 0.3))  # noqa: E731
    g = green(element, sigma=3e-3)
    options = {**OPTIONS, "stderr": 3e-3, "signed": True}
    result = g.S.continue_maxent(moments=[0.0, moment(element, 1)], **options)
    assert float(of(result, 0)) == pytest.approx(0, abs=1e-3)
    assert float(of(result, 1)) == pytest.approx(0.8, abs=1e-3)
    plain = g.S.continue_maxent(**options)
    assert abs(float(of(plain, 1)) - 0.8) > abs(float(of(result, 1)) - 0.8)


def test_a_contradiction_is_told_of():
    g = green(TWO, sigma=1e-4)
    options = {**OPTIONS, "stderr": 1e-4}
    with pytest.warns(DistributionWarning) as told:
        wrong = g.S.continue_maxent(moments={0: 1.2}, **options)
    assert wrong.out_of_distribution
    assert any("explain" in str(w.message) or "contradict" in str(w.message) for w in told)
    with pytest.warns(DistributionWarning, match="contradict"):
        wide = g.S.continue_maxent(moments={2: (1.2, 0.05)}, **options)
    assert "contradict" in wide.status.item()
    with pytest.warns(DistributionWarning):
        exact = g.S.continue_maxent(moments={1: -2.0}, **options)
    assert "contradict" in exact.status.item()  # it has this moment, and misses the data


@pytest.mark.parametrize(
    ("moments", "words"),
    [
        (1.0, "must list"),
        ("1", "must list"),
        ({-1: 1.0}, "whole number"),
        ({7: 1.0}, "whole number"),
        ({"first": 1.0}, "whole number"),
        ([np.nan], "finite"),
        (["one"], "must list"),
        ([(1.0, 0.0)], "above zero"),
        ([(1.0, 0.1, 0.1)], "must list"),
        ([0.0], "above zero"),
        ([1.0, 0.5, 0.2], "no positive spectrum"),
        ({2: -0.3}, "above zero"),
    ],
)
def test_what_are_no_moments(moments, words):
    with pytest.raises(ParameterError, match=words):
        green(TWO).S.continue_rlista(moments=moments, **OPTIONS)


def test_norm_is_the_moment_of_order_zero():
    g = green(TWO)
    with pytest.raises(ParameterError, match="not both"):
        g.S.continue_maxent(moments=[1.0], norm=1.0, **OPTIONS)
    inner = g.isel(tau=slice(30, 70))
    with pytest.warns(DistributionWarning, match="do not resolve"):
        told = inner.S.continue_maxent(moments=[1.0], **{**OPTIONS, "stderr": 1e-4})
    assert "norm 1 assumed" not in told.status.item()
    assert float(of(told, 0)) == pytest.approx(1, abs=1e-3)
