"""The public test set ACT100: its hundred spectra, their data, and the score."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import trapezoid

MODULE = Path(__file__).parent.parent / "benchmarks" / "act100_spectra.py"


def act100():
    """The module of the benchmarks, which are no package."""
    spec = importlib.util.spec_from_file_location("act100_spectra", MODULE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


DATA = act100()
CASES = DATA.all_cases()
OMEGA, BETA = DATA.OMEGA, DATA.BETA


def exact(axis, points=12):
    return DATA.Condition("exact", axis, points, 0.0)


def of(statistics, kind):
    return [case for case in CASES if (case.statistics, case.kind) == (statistics, kind)]


def test_a_hundred_tests_of_six_classes():
    assert [case.number for case in CASES] == list(range(1, 101))
    for statistics in ("fermion", "boson"):
        counts = [len(of(statistics, kind)) for kind in ("continuous", "discrete", "not positive")]
        assert counts == [20, 20, 10]


def test_positive_spectra_have_norm_one_and_the_others_change_sign_or_are_negative():
    for case in CASES:
        if case.signed:
            assert (case.spectrum < -1e-3).any()
        else:
            assert (case.spectrum >= 0).all()
            assert trapezoid(case.spectrum, OMEGA) == pytest.approx(1, abs=1e-12)


def test_peaks_are_where_and_as_wide_as_defined():
    """Moments of single peaks; the weights of unlike ones; the only bosonic exceptions."""
    first, last = of("fermion", "continuous")[1], of("fermion", "discrete")[4]
    for case, place, width in ((first, -2.0, 0.8), (last, 4.0, 0.02)):
        mean = trapezoid(OMEGA * case.spectrum, OMEGA)
        assert mean == pytest.approx(place, abs=1e-6)
        spread = trapezoid((OMEGA - mean) ** 2 * case.spectrum, OMEGA)
        assert spread == pytest.approx(width**2, rel=1e-3)
    unlike = of("fermion", "continuous")[8].spectrum
    assert unlike[OMEGA > 0].sum() / unlike[OMEGA < 0].sum() == pytest.approx(3, rel=1e-6)
    assert of("fermion", "not positive")[0].spectrum.min() == pytest.approx(-1)
    pairs = zip(CASES[:50], CASES[50:], strict=True)
    differ = [f.number for f, b in pairs if not np.array_equal(f.spectrum, b.spectrum)]
    assert differ == [21, 42, 44]


@pytest.mark.parametrize("number", [15, 40, 50, 65, 90, 100])
def test_data_at_times_and_at_frequencies_belong_together(number):
    """The Fourier transform of G(tau) is G(i w_n): both kernels, fermions and bosons."""
    case = CASES[number - 1]
    tau, g = case.data(exact("tau", 4001))
    points, at = case.data(exact("iwn", 4))
    sign = 1 if case.statistics == "boson" else -1
    transform = [sign * trapezoid(np.exp(1j * w * tau) * g, tau) for w in points]
    np.testing.assert_allclose(transform, at, atol=3e-5)


def test_sum_rules_of_the_data():
    for case in (CASES[16], CASES[47]):
        _, g = case.data(exact("tau"))
        assert g[0] + g[-1] == pytest.approx(trapezoid(case.spectrum, OMEGA), abs=1e-9)
    boson = CASES[66]
    _, chi = boson.data(exact("iwn"))
    assert chi[0] == pytest.approx(trapezoid(boson.spectrum, OMEGA))


def test_noise_has_the_stated_size_and_is_the_same_every_time():
    case, stated = CASES[0], DATA.CONDITIONS[0]
    _, first = case.data(stated)
    _, again = case.data(stated)
    np.testing.assert_array_equal(first, again)
    _, clean = case.data(exact("iwn", stated.points))
    noise = (first - clean) / stated.sigma
    assert 0.5 < np.sqrt(np.mean(np.concatenate([noise.real, noise.imag]) ** 2)) < 1.5
    _, other = CASES[1].data(stated)
    assert not np.allclose(other - CASES[1].data(exact("iwn", stated.points))[1], first - clean)


def test_errors_of_known_answers():
    """The truth has none; nothing has 1, double has 1, and the negative of the truth has 2."""
    for case in (CASES[3], CASES[45], CASES[53], CASES[95]):
        for factor, error in ((1.0, 0.0), (0.0, 1.0), (2.0, 1.0), (-1.0, 2.0), (1.1, 0.1)):
            assert DATA.error_of(factor * case.spectrum, case) == pytest.approx(error, abs=1e-12)


def test_errors_of_bosons_are_those_of_the_spectrum_not_of_its_quotient():
    """What is wrong at zero frequency, where A(w) vanishes, does not count for bosons."""
    bump = np.where(np.abs(OMEGA) < 0.01, 5.0, 0.0)
    fermion, boson = CASES[5], CASES[55]
    assert DATA.error_of(fermion.spectrum + bump, fermion) > 0.09
    assert DATA.error_of(boson.spectrum + bump, boson) < 1e-12


def test_displacement_of_a_peak_that_is_moved_or_wider():
    """The whole distance for one, the mean distance from the middle for the other."""
    narrow, case = CASES[22], CASES[2]  # at 2, of widths 0.02 and 0.8
    assert DATA.displacement(np.roll(narrow.spectrum, 25), narrow) == pytest.approx(0.5, abs=1e-6)
    assert DATA.displacement(3 * case.spectrum, case) == pytest.approx(0, abs=1e-12)
    between = (0.8 - 0.02) * np.sqrt(2 / np.pi)
    assert DATA.displacement(case.spectrum, narrow) == pytest.approx(between, abs=2e-3)


def test_random_spectra_follow_the_rules_of_actest():
    """Positive ones have norm 1, and the others have a negative part: of A(w), if bosons."""
    cases = DATA.random_cases(40)
    assert len(cases) == 160
    for case in cases:
        weight = OMEGA if case.statistics == "boson" else 1.0
        if case.signed:
            assert (case.spectrum * weight < 0).any()
        else:
            assert (case.spectrum >= 0).all()
            assert trapezoid(case.spectrum, OMEGA) == pytest.approx(1, abs=1e-12)
    again = DATA.random_cases(40)
    assert all(np.array_equal(a.spectrum, b.spectrum) for a, b in zip(cases, again, strict=True))


def test_the_score_counts_nothing_below_zero():
    assert DATA.score([0.0, 0.25, 1.0, 1.7, np.inf]) == pytest.approx(1.75)
    assert DATA.score([]) == 0
    assert DATA.score(DATA.error_of(case.spectrum, case) for case in CASES) == pytest.approx(100)
