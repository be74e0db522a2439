"""Continuation where data, window or temperature are not what one would choose."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
import torch
import xarray as xr
from greens import BETA, OMEGA, SPECTRA, fermi, gauss, green, missed

import arpes_ml_plugins
from arpes_ml_plugins.continuation.monte_carlo import mean_and_covariance, merged_until_independent
from arpes_ml_plugins.continuation.self_energy import kramers_kronig
from arpes_ml_plugins.errors import DataError, DistributionWarning, ParameterError

WIDE = np.linspace(-12, 12, 48001)  # of the truths
TRIO = lambda w: 0.2 * gauss(w, 0.1, 0.12) + 0.4 * gauss(w, -1.7, 0.4) + 0.4 * gauss(w, 1.9, 0.5)  # noqa: E731


def wide_green(spectrum, beta, sigma, *, tau=None, seed=0, repeats=None):
    tau = np.linspace(0, beta, 301) if tau is None else tau
    step = WIDE[1] - WIDE[0]
    pieces = np.array_split(WIDE, 40)
    clean = sum(fermi(tau, piece, beta) @ spectrum(piece) * step for piece in pieces)
    shape = (len(tau),) if repeats is None else (repeats, len(tau))
    values = clean + sigma * np.random.default_rng(seed).normal(size=shape)
    dims = ("tau",) if repeats is None else ("n", "tau")
    return xr.DataArray(values, dims=dims, coords={"tau": tau})


def held(result, spectrum):
    """Part of the frequencies, of those with 1 % of the maximum, where the band holds the truth."""
    truth = spectrum(result.omega.values)
    big = truth > 0.01 * truth.max()
    return float(((result.lower <= truth) & (truth <= result.upper)).values[..., big].mean())


@pytest.mark.parametrize(("beta", "sigma"), [(60, 1e-3), (300, 1e-3), (1500, 1e-4)])
def test_low_temperatures(beta, sigma):
    """Neither the window nor the norm is lost, named or not, and the band holds the truth."""
    half = np.concatenate([[0], np.geomspace(0.1, beta / 2, 150)])  # close at both ends
    g = wide_green(TRIO, beta, sigma, tau=np.concatenate([half, beta - half[-2::-1]]))
    own = g.S.continue_rlista(beta=beta, stderr=sigma)
    assert own.status.item() == "ok"
    assert 2.5 < float(own.omega.max()) < 8
    assert float(own.spectral_function.integrate("omega")) == pytest.approx(1, abs=0.02)
    options = {"beta": beta, "stderr": sigma, "omega": np.linspace(-4, 4, 161)}
    g = wide_green(TRIO, beta, sigma)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DistributionWarning)  # of times too far apart
        named, flat = (run(**options) for run in (g.S.continue_rlista, g.S.continue_maxent))
    assert missed(named, TRIO) < 0.8 * missed(flat, TRIO)
    assert held(named, TRIO) > 0.75


@pytest.mark.parametrize("method", ["continue_rlista", "continue_maxent"])
def test_a_spectrum_that_goes_on_beyond_omega(method):
    """What lies outside is not squeezed into the window, and is told of."""
    g = wide_green(TRIO, 20, 1e-4)
    with pytest.warns(DistributionWarning, match="beyond omega"):
        cut = getattr(g.S, method)(beta=20, stderr=1e-4, omega=np.linspace(-1.2, 1.2, 121))
    inside = (np.abs(WIDE) <= 1.2) * (WIDE[1] - WIDE[0])
    part = float((TRIO(WIDE) * inside).sum())
    # The flat default model lies in the window, and draws maximum entropy there.
    allowed = 0.05 if method == "continue_rlista" else 0.15
    assert float(cut.spectral_function.integrate("omega")) == pytest.approx(part, abs=allowed)
    assert float(cut.chi2) == pytest.approx(1, abs=0.5)
    whole = getattr(g.S, method)(beta=20, stderr=1e-4, omega=np.linspace(-5, 5, 201))
    assert whole.status.item() == "ok"


def test_a_norm_that_the_data_do_not_tell_is_assumed_and_said():
    g = wide_green(TRIO, 80, 1e-4, tau=np.linspace(5, 75, 41))
    options = {"beta": 80, "stderr": 1e-4, "omega": np.linspace(-4, 4, 161)}
    with pytest.warns(DistributionWarning) as caught:
        assumed = g.S.continue_maxent(**options)
    assert any("norm 1 assumed" in str(warning.message) for warning in caught)
    options["stderr"] = 2e-4
    assert float(assumed.spectral_function.integrate("omega")) == pytest.approx(1, abs=0.02)
    with pytest.warns(DistributionWarning, match="do not resolve"):  # times from 5 on
        told = (2 * g).S.continue_maxent(**options, norm=2.0)
    assert "norm" not in told.status.item()
    assert float(told.spectral_function.integrate("omega")) == pytest.approx(2, abs=0.04)
    with pytest.raises(ParameterError, match="norm"):
        g.S.continue_maxent(**options, norm=0)


def test_errors_of_few_times_are_believed():
    """A spectrum can make anything of eleven times: nothing is left to measure errors from."""
    tau = np.linspace(0, 20, 11)
    g = wide_green(TRIO, 20, 1e-5, tau=tau)
    with pytest.warns(DistributionWarning, match="do not resolve"):
        result = g.S.continue_maxent(beta=20, stderr=1e-5, omega=np.linspace(-5, 5, 161))
    assert "errors" not in result.status.item()
    assert float(result.stderr.max()) == 1e-5


def test_negative_weight_is_told_of_and_nothing_else_is():
    """One spectrum in ten thousand would be flagged by chance."""
    omega, sigma = np.linspace(-5, 5, 161), 1e-3
    positive = lambda w: gauss(w, 0.2, 0.5)  # noqa: E731
    negative = lambda w: gauss(w, 0.2, 0.5) - 0.07 * gauss(w, 2.1, 0.4)  # noqa: E731
    flagged = []
    for spectrum in (positive, negative):
        g = wide_green(spectrum, 20, sigma, repeats=40, seed=3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DistributionWarning)
            result = g.S.continue_maxent(beta=20, stderr=sigma, omega=omega)
        flagged.append(float(result.out_of_distribution.mean()))
    assert flagged[0] == 0
    assert flagged[1] > 0.9


class TestMonteCarloBins:
    def bins(self, count=400, correlated=1, beta=15.0, points=61, sigma=2e-3, seed=0):
        """Bins of TRIO, each as long as ``correlated`` of them, that obey the sum rule."""
        tau = np.linspace(0, beta, points)
        clean = wide_green(TRIO, beta, 0.0, tau=tau).values
        noise = np.random.default_rng(seed).normal(size=(count // correlated, points))
        noise = noise.repeat(correlated, 0)
        smooth = 0.6 * noise + 0.8 * np.roll(noise, 1, axis=1)
        smooth[:, -1] = -smooth[:, 0]
        values = clean + sigma * smooth
        return xr.DataArray(values, dims=("bin", "tau"), coords={"tau": tau}), clean

    def test_an_answer_with_errors_of_their_own(self):
        g, clean = self.bins()
        result = g.S.continue_rlista(beta=15, omega=np.linspace(-4, 4, 161))
        assert result.status.item() == "ok"
        assert result.back_transform.dims == ("tau",)
        assert float(result.chi2) == pytest.approx(1, abs=0.5)
        assert missed(result, TRIO) < 0.6
        error = result.stderr.values[1:-1].mean()
        assert error == pytest.approx(2e-3 / 400**0.5, rel=0.2)
        assert np.abs(g.mean("bin").values - clean).mean() == pytest.approx(0.8 * error, rel=0.3)

    def test_bins_that_depend_on_each_other_are_merged(self):
        g, _ = self.bins(1600, correlated=8)
        result = g.S.continue_maxent(beta=15, omega=np.linspace(-4, 4, 161))
        assert result.attrs["provenance"]["record"]["found"]["bins_merged"] >= 8
        assert float(result.stderr[5]) == pytest.approx(2e-3 / 200**0.5, rel=0.25)
        assert float(result.chi2) == pytest.approx(1, abs=0.6)

    def test_every_slice_has_its_own_covariance(self):
        one, _ = self.bins(seed=1)
        other, _ = self.bins(sigma=8e-3, seed=2)
        both = xr.concat([one, other], "k")
        options = {"beta": 15, "omega": np.linspace(-4, 4, 81)}
        result = both.S.continue_maxent(**options)
        alone = other.S.continue_maxent(**options)
        found = result.spectral_function[1]
        np.testing.assert_allclose(found, alone.spectral_function, atol=1e-6)
        assert float((result.stderr[1] / result.stderr[0]).mean()) == pytest.approx(4, rel=0.2)

    def test_too_few(self):
        g, _ = self.bins()
        with pytest.raises(DataError, match="too few"):
            g.isel(bin=slice(10)).S.continue_maxent(beta=15, omega=OMEGA)
        with pytest.raises(DataError, match="load"):
            g.chunk().S.continue_maxent(beta=15, omega=OMEGA)

    def test_white_bins_stay(self):
        white = np.random.default_rng(0).normal(size=(1000, 4))
        mean, covariance, merged = mean_and_covariance(white)
        assert merged == 1
        np.testing.assert_allclose(mean, white.mean(0))
        np.testing.assert_allclose(np.diag(covariance), 1e-3, rtol=0.15)
        assert len(merged_until_independent(np.repeat(white, 4, 0))) <= 1000

    @pytest.mark.parametrize("memory", [0.5, 0.8])
    def test_bins_that_remain_correlated_have_the_right_error(self, memory):
        """An autoregression of variance 1: so long a chain is as good as fewer independent bins."""
        count, ratios = 400, []
        for seed in range(4):
            noise = np.random.default_rng(seed).normal(size=(count, 40))
            bins = noise.copy()
            for before, now in itertools.pairwise(bins):
                now *= (1 - memory**2) ** 0.5
                now += memory * before
            _, covariance, _ = mean_and_covariance(bins)
            ratios.append(np.median(np.diag(covariance)) * count * (1 - memory) / (1 + memory))
        assert 0.75 < np.mean(ratios) < 1.25


class TestBosons:
    def chi(self, spectrum, sigma, beta=20.0):
        x = np.linspace(-8, 8, 16001) + 1e-7
        tau = np.linspace(0, beta, 121)
        below = np.where(x > 0, -tau[:, None], beta - tau[:, None])
        kernel = np.abs(x) / -np.expm1(-beta * np.abs(x)) * np.exp(below * x)
        g = kernel @ spectrum(x) * (x[1] - x[0])
        error = sigma * g[0]
        noise = error * np.random.default_rng(0).normal(size=len(tau))
        return xr.DataArray(g + noise, dims="tau", coords={"tau": tau}), error

    def test_the_network_serves_them(self):
        def truth(w):
            sides = gauss(w, 2.2, 0.4) + gauss(w, -2.2, 0.4)
            return 0.6 * gauss(w, 0, 0.15) + 0.25 * sides

        g, error = self.chi(truth, 1e-4)
        options = {"beta": 20, "stderr": error, "statistics": "boson"}
        omega = np.linspace(0, 5, 101)
        network = g.S.continue_rlista(**options, omega=omega)
        flat = g.S.continue_maxent(**options, omega=omega)
        assert network.status.item() == "ok"
        assert missed(network, truth) < missed(flat, truth) + 0.02
        assert network.lower[0] <= truth(0.0) <= network.upper[0]
        both = g.S.continue_rlista(**options, omega=np.linspace(-5, 5, 201))
        assert missed(both, truth) < 2 * missed(flat, truth) + 0.05


class TestSelfEnergy:
    BETA = 25.0

    def sigma(self, constant=1.7, error=1e-4, seed=0):
        w_n = (2 * np.arange(90) + 1) * np.pi / self.BETA
        values = (1.4 * TRIO(WIDE) / (1j * w_n[:, None] - WIDE)).sum(1) * (WIDE[1] - WIDE[0])
        draw = np.random.default_rng(seed)
        noise = error * (draw.normal(size=90) + 1j * draw.normal(size=90))
        return xr.DataArray(values + constant + noise, dims="iwn", coords={"iwn": w_n})

    def test_constant_moment_and_real_part(self):
        omega = np.linspace(-5, 5, 201)
        off = []
        for seed in range(5):
            found = self.sigma(seed=seed).S.continue_self_energy(
                beta=self.BETA, stderr=1e-4, omega=omega
            )
            assert found.status.item() == "ok"
            off += [float((found.constant - 1.7) / found.constant_stderr)]
            off += [float((found.moment - 1.4) / found.moment_stderr)]
        assert np.abs(off).max() < 4
        truth = kramers_kronig(
            torch.from_numpy(1.4 * TRIO(WIDE[::20])), torch.from_numpy(WIDE[::20])
        )
        exact = 1.7 + np.interp(omega, WIDE[::20], truth.numpy())
        assert float(np.abs(found.self_energy.real - exact).mean()) < 0.12
        np.testing.assert_allclose(
            found.self_energy.imag, -np.pi * found.spectral_function, rtol=1e-12
        )

    def test_the_constant_does_not_matter_to_the_rest(self):
        options = {"beta": self.BETA, "stderr": 1e-4, "omega": np.linspace(-5, 5, 101)}
        one, other = (self.sigma(c).S.continue_self_energy(**options) for c in (0.0, 30.0))
        np.testing.assert_allclose(one.spectral_function, other.spectral_function, atol=1e-4)
        assert float(other.constant - one.constant) == pytest.approx(30, abs=1e-6)

    def test_what_is_known_is_used(self):
        options = {"beta": self.BETA, "omega": np.linspace(-5, 5, 101)}
        known = self.sigma().S.continue_self_energy(**options, constant=1.7, moment=1.4)
        assert float(known.constant) == 1.7
        assert float(known.constant_stderr) == 0
        assert float(known.moment) == pytest.approx(1.4, abs=0.01)
        with pytest.raises(ParameterError, match="one number for each of the 90"):
            self.sigma().S.continue_self_energy(**options, stderr=np.full(80, 1e-4))
        with pytest.raises(ParameterError, match="moment"):
            self.sigma().S.continue_self_energy(**options, moment=-1.0)

    def test_errors_that_grow_with_the_frequency(self):
        """As those from Dyson's equation do: the accurate data count, and no outliers are found."""
        errors = 1e-4 * (1 + (self.sigma(error=0).iwn / 2) ** 2)
        draw = np.random.default_rng(2)
        options = {"beta": self.BETA, "omega": np.linspace(-5, 5, 101)}
        noise = draw.normal(size=(3, 90)) + 1j * draw.normal(size=(3, 90))
        data = self.sigma(error=0) + errors * xr.DataArray(noise, dims=("k", "iwn"))
        data = data.transpose("k", "iwn")
        found = data.S.continue_self_energy(**options, stderr=errors)
        assert set(found.status.values) == {"ok"}
        assert float(abs(found.constant - 1.7).max()) < 0.03
        for name, truth in (("constant", 1.7), ("moment", 1.4)):
            off = (found[name] - truth) / found[f"{name}_stderr"]
            assert float(abs(off).max()) < 4
        np.testing.assert_allclose(found.stderr.real, np.tile(errors, (3, 1)), rtol=1e-9)
        each = xr.DataArray([1.0, 1.0, 2.0], dims="k") * errors
        own = data.S.continue_self_energy(**options, stderr=each)
        np.testing.assert_allclose(
            own.spectral_function[:2], found.spectral_function[:2], atol=1e-4
        )
        assert float(own.moment_stderr[2]) > 1.3 * float(found.moment_stderr[2])

    def test_kramers_kronig_of_a_semicircle(self):
        omega = torch.linspace(-3, 3, 1201, dtype=torch.float64)
        density = 2 / torch.pi * (1 - omega**2).clamp(min=0).sqrt()
        real = kramers_kronig(density, omega)
        inside = omega.abs() < 0.9
        assert real[inside] == pytest.approx(2 * omega[inside].numpy(), abs=0.01)
        outside = omega > 1.2
        exact = 2 * (omega - (omega**2 - 1).clamp(min=0).sqrt())
        assert real[outside] == pytest.approx(exact[outside].numpy(), abs=0.005)

    def test_on_to_a_measured_cut(self):
        """Bands of a renormalised metal: slope divided by 1 - dSigma/dw."""
        omega = xr.DataArray(np.linspace(-2, 2, 801), dims="omega")
        sigma = (-0.5 * omega - 0.02j).assign_coords(omega=omega)
        k = np.linspace(-1, 1, 41)
        bare = xr.DataArray(1.2 * k, dims="k", coords={"k": k})
        cut = arpes_ml_plugins.spectral_function_of(sigma, bare)
        assert cut.dims == ("k", "omega")
        np.testing.assert_allclose(cut.idxmax("omega"), 1.2 * k / 1.5, atol=0.004)
        assert float(cut.isel(k=20).integrate("omega")) == pytest.approx(1 / 1.5, rel=0.02)
        shown = arpes_ml_plugins.as_measured(cut, beta=40)
        assert float(shown.sel(omega=1.0).max()) < 1e-6 * float(shown.max())
        with pytest.raises(ParameterError, match="retarded"):
            arpes_ml_plugins.spectral_function_of(sigma.conj(), bare)
        with pytest.raises(ParameterError, match="complex"):
            arpes_ml_plugins.spectral_function_of(sigma.real, bare)


def test_known_spectra_are_as_good_as_before():
    """On the paper's own kind of data, beta 10."""
    g = green(SPECTRA["semicircle"], sigma=1e-5)
    result = g.S.continue_rlista(beta=BETA, stderr=1e-5, omega=OMEGA)
    assert missed(result, SPECTRA["semicircle"]) < 0.1


class TestEitherSign:
    """An off-diagonal element of two orbitals that are mixed."""

    def elements(self, sigma=1e-4, beta=20.0):
        first = 0.7 * gauss(WIDE, -1.4, 0.4) + 0.3 * gauss(WIDE, 0.7, 0.3)
        second = 0.6 * gauss(WIDE, 1.6, 0.4) + 0.4 * gauss(WIDE, -0.4, 0.3)
        turned = {
            "11": 0.8 * first + 0.2 * second,
            "22": 0.2 * first + 0.8 * second,
            "12": 0.4 * (first - second),
        }
        interpolated = {name: lambda w, v=v: np.interp(w, WIDE, v) for name, v in turned.items()}
        data = {
            name: wide_green(spectrum, beta, sigma, seed=k)
            for k, (name, spectrum) in enumerate(interpolated.items())
        }
        return data, interpolated["12"]

    def test_diagonal_elements_help(self):
        data, truth = self.elements()
        options = {"beta": 20, "stderr": 1e-4, "omega": np.linspace(-4, 4, 161)}
        diagonal = [data[n].S.continue_rlista(**options).spectral_function for n in ("11", "22")]
        size = np.sqrt(diagonal[0] * diagonal[1])
        flat = data["12"].S.continue_maxent(signed=True, **options)
        told = data["12"].S.continue_maxent(signed=True, default_model=size, **options)
        whole = float(np.abs(truth(WIDE)).sum() * (WIDE[1] - WIDE[0]))
        assert missed(flat, truth) < 0.6 * whole
        assert missed(told, truth) < 0.6 * missed(flat, truth)
        for result in (flat, told):
            assert result.status.item() == "ok"
            assert (result.spectral_function < -0.05).any()
            assert (result.lower <= result.spectral_function).all()
            assert (result.spectral_function <= result.upper).all()

    def test_the_sign_is_kept(self):
        data, _ = self.elements()
        options = {"beta": 20, "stderr": 1e-4, "omega": np.linspace(-4, 4, 81), "signed": True}
        one = data["12"].S.continue_maxent(**options)
        other = (-data["12"]).S.continue_maxent(**options)
        np.testing.assert_allclose(one.spectral_function, -other.spectral_function, atol=1e-4)

    def test_what_makes_no_sense_is_refused(self):
        data, _ = self.elements()
        options = {"beta": 20, "stderr": 1e-4, "omega": np.linspace(-4, 4, 81), "signed": True}
        with pytest.raises(ParameterError, match="positive spectra only"):
            data["12"].S.continue_maxent(default_model="rlista", **options)
        with pytest.raises(ParameterError, match="no norm"):
            data["12"].S.continue_maxent(norm=1.0, **options)


def test_negative_matsubara_frequencies_are_folded():
    """They hold the complex conjugates: half the noise, the same answer, in any order."""
    w_n = (2 * np.arange(-60, 60) + 1) * np.pi / 15
    values = (TRIO(WIDE) / (1j * w_n[:, None] - WIDE)).sum(1) * (WIDE[1] - WIDE[0])
    g = xr.DataArray(values, dims="iwn", coords={"iwn": w_n})
    options = {"stderr": 1e-4, "omega": np.linspace(-5, 5, 121)}
    both = g.S.continue_maxent(beta=15, **options)
    half = g.sel(iwn=slice(0, None)).S.continue_maxent(beta=15, **options)
    np.testing.assert_allclose(both.spectral_function, half.spectral_function, atol=1e-6)
    assert both.back_transform.sizes["iwn"] == 60
    only = g.sel(iwn=slice(None, 0)).S.continue_maxent(beta=15, **options)
    np.testing.assert_allclose(only.spectral_function, half.spectral_function, atol=1e-6)
