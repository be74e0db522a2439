"""Times, signs and frequencies in the conventions of other codes."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from greens import BETA, FINE, METHODS, OMEGA, SPECTRA, fermi, green, missed

import arpes_ml_plugins
from arpes_ml_plugins.errors import AxisError, DataError, DistributionWarning, ParameterError

OPTIONS = {"beta": BETA, "stderr": 1e-4, "omega": OMEGA}
GAP, TWO = SPECTRA["gap"], SPECTRA["two peaks"]


@pytest.mark.parametrize("method", [*METHODS, "continue_ista"])
def test_half_of_the_times_of_an_even_spectrum(method):
    """With particle-hole symmetry [0, beta / 2] says all: the same answer as from all times."""
    half = green(GAP)[:50]
    result = getattr(arpes_ml_plugins, method)(half, even=True, **OPTIONS)
    a = result.spectral_function
    assert "assumed" not in result.status.item()  # G(0) is half of the norm
    np.testing.assert_allclose(a, a.values[::-1], atol=1e-9)
    assert missed(result, GAP) < 0.25
    assert float(a.integrate("omega")) == pytest.approx(1, abs=1e-3)


def test_the_network_knows_that_a_spectrum_is_even():
    """Lorentzians at zero: it must not take an odd part that the data do not show for possible.

    Then its solution has shoulders, and is worse than maximum entropy around a flat model.
    """
    widths = np.linspace(0.1, 0.2, 4)[:, None]
    truth = widths / (FINE**2 + widths**2)
    truth /= truth.sum(-1, keepdims=True) * (FINE[1] - FINE[0])
    tau = np.linspace(0, 2, 61)
    g = truth @ fermi(tau, FINE, 4.0).T * (FINE[1] - FINE[0])
    g += 1e-3 * np.random.default_rng(1).normal(size=g.shape)
    data = xr.DataArray(g, dims=("spectrum", "tau"), coords={"tau": tau})
    off = []
    for method in (arpes_ml_plugins.continue_rlista, arpes_ml_plugins.continue_maxent):
        a = method(data, beta=4.0, stderr=1e-3, omega=OMEGA, even=True).spectral_function
        off.append(float(abs(a - truth[:, ::25]).mean()))
    assert off[0] < 0.8 * off[1]


def test_data_of_fermions_that_are_passed_as_those_of_bosons():
    """A positive spectrum explains them, and nothing else would tell."""
    with pytest.warns(DistributionWarning, match="add up to 1, as those of fermions"):
        green(TWO).S.continue_maxent(statistics="boson", **OPTIONS)


def test_without_the_symmetry_half_of_the_times_leave_the_rest_open():
    half = green(GAP)[:50]
    with pytest.warns(DistributionWarning):
        result = half.S.continue_maxent(**OPTIONS)
    assert "norm 1 assumed" in result.status.item()
    assert "do not resolve" in result.status.item()
    above = {"omega": slice(0, None)}
    off = abs(result.spectral_function - GAP(OMEGA)).sel(above).integrate("omega")
    assert float(off) < 0.2  # positive frequencies are seen
    assert missed(result, GAP) > 0.4


def test_half_of_the_times_of_bosons():
    beta, omega = 8.0, np.linspace(0, 5, 101)
    x = np.linspace(1e-6, 5, 4001)
    truth = lambda w: np.exp(-(((w - 2) / 0.5) ** 2) / 2)  # noqa: E731
    tau = np.linspace(0, beta / 2, 41)
    kernel = np.exp(-tau[:, None] * x) + np.exp(-(beta - tau[:, None]) * x)
    g = (x / -np.expm1(-beta * x) * kernel) @ truth(x) * (x[1] - x[0])
    sigma = 1e-4 * g[0]
    noise = sigma * np.random.default_rng(0).normal(size=41)
    chi = xr.DataArray(g + noise, coords={"tau": tau}, dims="tau")
    for method in METHODS:
        run = getattr(arpes_ml_plugins, method)
        result = run(chi, beta=beta, omega=omega, stderr=sigma, statistics="boson")
        a = result.spectral_function
        assert result.status.item() == "ok"
        assert float(abs(a - truth(omega)).integrate("omega")) < 0.2 * truth(x).mean() * 5


def test_even_wants_both_signs_and_the_general_network():
    g = green(GAP)
    with pytest.raises(ParameterError, match="both signs"):
        g.S.continue_maxent(beta=BETA, stderr=1e-4, omega=OMEGA[60:], even=True)
    with pytest.raises(ParameterError, match="recipe='general'"):
        g.S.continue_rlista(recipe="trained", even=True, **OPTIONS)
    with pytest.raises(ParameterError, match="even must be True"):
        g.S.continue_ista(even="yes", **OPTIONS)


class TestTimes:
    def test_times_over_beta_whose_data_rise_again(self):
        scaled = green(TWO, beta=20.0).assign_coords(tau=np.linspace(0, 1, 100))
        with pytest.raises(AxisError, match="tau / beta"):
            scaled.S.continue_maxent(beta=20.0, stderr=1e-4, omega=OMEGA)
        middle = (np.arange(100) + 0.5) / 100
        with pytest.raises(AxisError, match="tau / beta"):
            scaled.assign_coords(tau=middle).S.continue_maxent(beta=20.0, stderr=1e-4, omega=OMEGA)

    @pytest.mark.filterwarnings("ignore:continue_maxent")
    def test_times_over_beta_that_may_be_true(self):
        tau = np.linspace(0, 1, 40)
        falling = green(lambda w: 2 * TWO(w) * (w > 0), tau=tau, beta=20.0)
        with pytest.warns(DistributionWarning, match="looks like tau / beta"):
            falling.S.continue_maxent(beta=20.0, stderr=1e-4, omega=OMEGA)

    def test_twice_the_beta(self):
        g = green(GAP)
        with pytest.raises(AxisError, match="not beyond half of beta"):
            g.S.continue_maxent(beta=20.0, stderr=1e-4, omega=OMEGA, even=True)
        with (
            pytest.warns(DistributionWarning, match="not beyond half of beta"),
            pytest.warns(DistributionWarning, match="continue_maxent"),
        ):
            g.S.continue_maxent(beta=20.0, stderr=1e-4, omega=OMEGA)

    @pytest.mark.parametrize("filling", [0.1, 0.5, 0.9])
    @pytest.mark.filterwarnings("ignore:continue_maxent")
    def test_true_halves_are_not_complained_of(self, filling):
        spectrum = lambda w: 2 * GAP(w) * np.where(w < 0, filling, 1 - filling)  # noqa: E731
        green(spectrum)[:50].S.continue_maxent(**OPTIONS)


class TestSign:
    @pytest.mark.parametrize("method", [*METHODS, "continue_ista"])
    def test_stated_and_taken_from_the_data(self, method):
        g, run = green(GAP), getattr(arpes_ml_plugins, method)
        plain = run(g, **OPTIONS)
        for sign in (1, -1):
            stated = run(sign * g, sign=sign, **OPTIONS)
            assert stated.sign.item() == sign
            xr.testing.assert_allclose(stated.spectral_function, plain.spectral_function)
            xr.testing.assert_allclose(stated.back_transform, sign * plain.back_transform)
            with pytest.raises(DataError, match=f"sign={-sign}"):
                run(sign * g, sign=-sign, **OPTIONS)
        with pytest.raises(ParameterError, match="1, -1 or None"):
            run(g, sign="negative", **OPTIONS)

    def test_data_that_do_not_say(self):
        noise = 1e-2 * np.random.default_rng(1).normal(size=100)
        faint = (1e-4 * green(GAP, sigma=0)).copy()
        faint[:] = faint + noise
        with pytest.warns(DistributionWarning, match="hardly differ from zero"):
            faint.S.continue_maxent(beta=BETA, stderr=1e-2, omega=OMEGA, norm=1e-4)

    def test_slices_of_both_signs_are_told_of(self):
        g = xr.concat([green(GAP), -green(GAP, seed=1)], "k")
        with pytest.warns(DistributionWarning, match="1 of 2 slices"):
            g.S.continue_maxent(**OPTIONS)

    def test_off_diagonal_elements_of_the_negative_convention(self):
        element = lambda w: 0.5 * TWO(w) * np.sign(w)  # noqa: E731
        g = green(element)
        plain = g.S.continue_maxent(signed=True, **OPTIONS)
        negative = (-g).S.continue_maxent(signed=True, sign=-1, **OPTIONS)
        xr.testing.assert_allclose(negative.spectral_function, plain.spectral_function)


class TestNegativeFrequencies:
    w_n = (2 * np.arange(-40, 40) + 1) * np.pi / BETA

    def exact(self):
        values = (TWO(FINE) / (1j * self.w_n[:, None] - FINE)).sum(1) * (FINE[1] - FINE[0])
        return xr.DataArray(values, coords={"iwn": self.w_n}, dims="iwn")

    def noisy(self, seed=0, sigma=1e-3):
        rng = np.random.default_rng(seed)
        noise = rng.normal(size=80) + 1j * rng.normal(size=80)
        return self.exact() + sigma * noise

    def test_complex_conjugates_are_pointed_out(self):
        """Read as -G they give the mirror image, and explain the data as well."""
        half = self.noisy().sel(iwn=slice(0, None))
        with pytest.warns(DistributionWarning, match="comes out mirrored"):
            half.conj().S.continue_maxent(omega=OMEGA, stderr=1e-3)
        (-half).S.continue_maxent(omega=OMEGA, stderr=1e-3, sign=-1)

    def test_means_have_smaller_errors_and_copies_have_not(self):
        g = self.noisy()
        options = {"omega": OMEGA, "stderr": 1e-3}
        both = g.S.continue_maxent(**options)
        np.testing.assert_allclose(both.stderr.real, 1e-3 / 2**0.5)
        assert float(both.chi2) == pytest.approx(1, abs=0.35)
        half = g.sel(iwn=slice(0, None))
        mirrored = half.conj().assign_coords(iwn=-half.iwn)[::-1]
        copied = xr.concat([mirrored, half], "iwn").S.continue_maxent(**options)
        np.testing.assert_allclose(copied.stderr.real, 1e-3)
        plain = half.S.continue_maxent(**options)
        xr.testing.assert_allclose(copied.spectral_function, plain.spectral_function)

    def test_the_better_half_counts_more(self):
        sigma = xr.DataArray(np.where(self.w_n > 0, 1e-4, 1e-2), dims="iwn")
        result = self.noisy(sigma=sigma).S.continue_maxent(omega=OMEGA, stderr=sigma)
        np.testing.assert_allclose(result.stderr.real, 1e-4, rtol=1e-3)
        assert result.status.item() == "ok"

    def test_a_covariance_follows(self):
        options = {"omega": OMEGA}
        g = self.noisy()
        by_matrix = g.S.continue_maxent(covariance=np.eye(160) * 1e-6, **options)
        by_error = g.S.continue_maxent(stderr=1e-3, **options)
        xr.testing.assert_allclose(
            by_matrix.spectral_function, by_error.spectral_function, atol=1e-5
        )

    def test_lone_frequencies_stay(self):
        g = self.noisy()[10:]  # 30 negative ones, 40 positive ones
        result = g.S.continue_maxent(omega=OMEGA, stderr=1e-3)
        errors = np.full(40, 1e-3 / 2**0.5)
        errors[30:] = 1e-3
        np.testing.assert_allclose(result.stderr.real, errors)
        more = self.noisy()[:70].S.continue_maxent(omega=OMEGA, stderr=1e-3)
        np.testing.assert_allclose(more.stderr.real, errors)

    @pytest.mark.parametrize("stderr", [1e-3, None])
    def test_halves_that_are_no_conjugates_are_refused(self, stderr):
        g = self.noisy()
        wrong = g.where(g.iwn > 0, 1j * g)  # G_12(-i w_n) is the conjugate of G_21(i w_n)
        with pytest.raises(DataError, match="complex conjugates"):
            wrong.S.continue_maxent(omega=OMEGA, stderr=stderr)


@pytest.mark.filterwarnings("ignore:continue_:arpes_ml_plugins.errors.DistributionWarning")
def test_twice_beta_is_told_where_the_data_add_up_to_one():
    """Peaks on either side, whose data fall and rise again."""
    energy = np.linspace(-2, 2, 401)
    peaks = np.exp(-((energy + 0.6) ** 2) / 0.1) + np.exp(-((energy - 0.7) ** 2) / 0.1)
    spectrum = xr.DataArray(peaks / peaks.sum() / 0.01, {"omega": energy}, ("omega",))
    g = arpes_ml_plugins.simulate_greens_function(spectrum, beta=20, stderr=1e-4, rng=0)
    g = xr.DataArray(g.values, {"tau": g.tau.values}, ("tau",))
    with pytest.warns(DistributionWarning, match="as if they ended at beta; if so, beta is wrong"):
        g.S.continue_maxent(beta=40, stderr=1e-4, omega=OMEGA)


def test_arguments_of_linspace_are_no_frequencies():
    with pytest.raises(ParameterError, match=r"perhaps numpy.linspace\(-4, 4, 201\)"):
        green(GAP).S.continue_maxent(beta=BETA, stderr=1e-4, omega=(-4, 4, 201))
