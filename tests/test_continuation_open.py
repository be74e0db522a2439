"""What data leave open, times that are too far apart and tails beyond omega, is in ``status``."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import xarray as xr
from greens import METHODS, fermi, gauss

import arpes_ml_plugins
from arpes_ml_plugins.continuation.answer import BEYOND, OUTLIERS, SPARSE, in_words
from arpes_ml_plugins.continuation.kernels import matsubara_frequencies
from arpes_ml_plugins.continuation.problem import Problem
from arpes_ml_plugins.continuation.resolving import below_lowest
from arpes_ml_plugins.continuation.status_numbers import joined, with_factor, with_part

FINE = np.concatenate(
    [-np.geomspace(800, 8, 1500), np.arange(-8, 8, 2e-3)[1:], np.geomspace(8, 800, 1500)]
)
SIDES = lambda w: 0.2 * gauss(w, 0, 0.1) + 0.35 * gauss(w, -2.2, 0.4) + 0.45 * gauss(w, 1.8, 0.5)  # noqa: E731
NARROW = lambda w: gauss(w, 0.02, 0.08)  # noqa: E731
FAR_APART, BEYOND_OMEGA, NORM = "do not resolve", "beyond omega", "the norm is not 1"


def lorentz(fwhm):
    return lambda w: fwhm / 2 / np.pi / ((w - 0.3) ** 2 + fwhm**2 / 4)


def data(spectrum, beta, tau, sigma, seed=0):
    weights = spectrum(FINE) * np.gradient(FINE)
    clean = fermi(tau, FINE, beta) @ (weights / weights.sum())
    noise = sigma * np.random.default_rng(seed).normal(size=len(tau))
    return xr.DataArray(clean + noise, coords={"tau": tau}, dims="tau")


def continued(g, method="continue_maxent", **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(arpes_ml_plugins, method)(g, **options)


def held(result, spectrum):
    truth = spectrum(result.omega.values)
    big = truth > 0.01 * truth.max()
    return float(((result.lower <= truth) & (truth <= result.upper)).values[big].mean())


class TestTimes:
    @pytest.mark.parametrize(("beta", "count"), [(200, 51), (800, 161)])
    @pytest.mark.parametrize("sigma", [1e-3, 1e-5])
    def test_times_that_are_too_far_apart(self, beta, count, sigma):
        tau = np.linspace(0, beta, count)
        found = continued(data(SIDES, beta, tau, sigma), "continue_rlista", beta=beta, stderr=sigma)
        assert FAR_APART in found.status.item()
        assert held(found, SIDES) > 0.8

    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_where_they_show_nothing_there_may_be_nothing(self, seed):
        """Intervals began above the truth between its peaks, and held 0.66 of it."""
        three = lambda w: 0.2 * gauss(w, 0, 0.1) + 0.4 * (gauss(w, -2, 0.5) + gauss(w, 2, 0.5))  # noqa: E731
        g = data(three, 1000.0, np.linspace(0, 1000, 401), 1e-5, seed)
        found = continued(g, "continue_rlista", beta=1000.0, stderr=1e-5)
        assert FAR_APART in found.status.item()
        assert held(found, three) > 0.9

    def test_the_remedy_is_one(self):
        beta, sigma = 300.0, 1e-5
        tau = np.linspace(0, beta, 101)
        extra = np.geomspace(tau[1] / 30, tau[1], 20)[:-1]
        more = np.sort(np.concatenate([tau, extra, beta - extra]))
        errors = []
        for times, flagged in ((tau, True), (more, False)):
            found = continued(
                data(SIDES, beta, times, sigma),
                beta=beta,
                stderr=sigma,
                omega=np.linspace(-4.5, 4.5, 121),
            )
            assert (FAR_APART in found.status.item()) is flagged
            off = np.abs(found.spectral_function - SIDES(found.omega))
            errors.append(float(off.integrate("omega")))
        assert errors[1] < 0.3 * errors[0]

    def test_a_spectrum_near_zero_needs_none(self):
        g = data(NARROW, 300.0, np.linspace(0, 300, 101), 1e-4)
        found = continued(g, beta=300.0, stderr=1e-4, omega=np.linspace(-0.6, 0.6, 81))
        assert found.status.item() == "ok"

    def test_too_few_matsubara_frequencies(self):
        beta, sigma = 200.0, 1e-5
        weights = SIDES(FINE) * np.gradient(FINE)
        for count, flagged in ((25, True), (160, False)):
            w_n = (2 * np.arange(count) + 1) * np.pi / beta
            g = (weights / (1j * w_n[:, None] - FINE)).sum(1)
            noise = sigma * np.random.default_rng(0).normal(size=(2, count))
            g = xr.DataArray(g + noise[0] + 1j * noise[1], coords={"iwn": w_n}, dims="iwn")
            found = continued(g, beta=beta, stderr=sigma, omega=np.linspace(-4.5, 4.5, 121))
            assert (FAR_APART in found.status.item()) is flagged


class TestTails:
    OPTIONS = {"omega": np.linspace(-2.5, 2.5, 101)}  # noqa: RUF012

    @pytest.mark.parametrize("fwhm", [0.4, 1.0])
    @pytest.mark.parametrize("grid", ["middles", "both ends", "no last"])
    def test_tails_are_no_wrong_beta(self, fwhm, grid):
        tau = np.linspace(0, 40, 121)
        tau = {"middles": (tau[1:] + tau[:-1]) / 2, "both ends": tau, "no last": tau[:-1]}[grid]
        g = data(lorentz(fwhm), 40, tau, 1e-4)
        said = continued(g, beta=40, stderr=1e-4, **self.OPTIONS).status.item()
        assert BEYOND_OMEGA in said
        assert "beta" not in said
        assert NORM not in said

    @pytest.mark.parametrize("wrong", [0.995, 1.005, 1.05])
    @pytest.mark.parametrize("spectrum", [SIDES, lorentz(0.4)])
    def test_a_wrong_beta_is_told_of(self, wrong, spectrum):
        tau = np.linspace(0, 40, 121)[: None if wrong > 1 else -2]
        omega = np.linspace(-5, 5, 121)
        found = continued(data(spectrum, 40, tau, 1e-5), beta=wrong * 40, stderr=1e-5, omega=omega)
        assert f"{NORM}: check beta" in found.status.item()

    def test_data_that_show_their_norm_do_not_question_beta(self):
        g = 0.99 * data(SIDES, 20, np.linspace(0, 20, 81), 1e-4)
        said = continued(g, beta=20, stderr=1e-4, omega=np.linspace(-5, 5, 121)).status.item()
        assert NORM in said
        assert "beta" not in said


class TestLowestFrequencies:
    @staticmethod
    def said(first, method="continue_maxent"):
        w = (2 * np.arange(first, first + 40) + 1) * np.pi / 40
        weights = SIDES(FINE) * np.gradient(FINE)
        clean = (weights / weights.sum() / (1j * w[:, None] - FINE)).sum(1)
        noise = np.random.default_rng(0).normal(size=(2, len(w)))
        g = xr.DataArray(clean + 1e-3 * (noise[0] + 1j * noise[1]), {"iwn": w}, "iwn")
        options = {"beta": 40, "omega": np.linspace(-5, 5, 121), "stderr": 1e-3}
        return continued(g, method, **options).status.item()

    @pytest.mark.parametrize("method", METHODS)
    def test_that_are_missing_are_reported(self, method):
        assert "lowest Matsubara frequencies are missing" in self.said(15, method)

    def test_all_of_them_or_all_that_matter(self):
        assert "lowest" not in self.said(0) + self.said(2)  # the first is below most of the weight

    @pytest.mark.parametrize(("statistics", "first"), [("fermion", 1), ("boson", 1)])
    def test_one_may_be_missing(self, statistics, first):
        w = matsubara_frequencies(30, 10.0, statistics)[first:]
        problem = Problem(w, torch.linspace(0, 9, 91).double(), 10.0, statistics, "matsubara")
        used = torch.ones(1, 2 * len(w), dtype=torch.bool)
        assert not bool(below_lowest(problem, used).any())
        used[:, :3] = False  # outliers: the first that is left is that of number 3
        low = problem.omega[below_lowest(problem, used)[0]]
        assert float(low.max()) == pytest.approx(float(w[3]), abs=0.1)


def test_zeros_are_not_explained_by_a_spectrum_of_norm_one():
    g = 0 * data(SIDES, 20, np.linspace(0, 20, 81), 1e-3)
    found = continued(g, beta=20, stderr=1e-3, omega=np.linspace(-5, 5, 121))
    assert found.out_of_distribution
    assert "does not explain" in found.status.item()


def test_numbers_in_the_words():
    code = torch.tensor([BEYOND | SPARSE])
    code = with_factor(
        with_part(code, "beyond", torch.tensor([0.234])), "wider", torch.tensor([2.4])
    )
    larger = with_part(torch.tensor([OUTLIERS]), "beyond", torch.tensor([0.5]))
    words = in_words(int(joined(code, larger)))
    assert "about 50 % of its weight; make omega about 3 times as wide" in words
    assert "outliers left out" in words
    assert joined(code.numpy(), larger.numpy()) == joined(code, larger).numpy()
    assert "23 %" in in_words(int(code))
