"""Maximum entropy against its optimality conditions; basis pursuit against its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from arpes_ml_plugins.continuation.ista import ista
from arpes_ml_plugins.continuation.kernels import fermion
from arpes_ml_plugins.continuation.maxent import RULES, choose_alpha, maxent, maxent_path
from arpes_ml_plugins.errors import ParameterError
from arpes_ml_plugins.simulation.spectra import centres, published_spectra

BETA, SIGMA = 10.0, 1e-4


@pytest.fixture(scope="module")
def case():
    generator = torch.Generator().manual_seed(3)
    truth = published_spectra(20, generator).double()
    tau = torch.linspace(0, BETA, 60, dtype=torch.float64)
    kernel = fermion(tau, centres() * 3, BETA) / SIGMA
    data = truth @ kernel.mT + torch.randn(20, 60, dtype=torch.float64, generator=generator)
    return kernel, data, truth


def flat():
    return torch.full((50,), 1 / 50, dtype=torch.float64)


def test_the_gradient_vanishes_along_the_path(case):
    kernel, data, _ = case
    path = maxent_path(kernel, data, flat())
    assert path.converged.all()
    assert torch.isfinite(path.unknowns).all()
    for alpha, spectrum in zip(path.alphas, path.spectra, strict=True):
        pull = (data - spectrum @ kernel.mT) @ kernel
        # alpha log(a / d), by the paper's eq. 6, where a has not underflown
        entropy = alpha[:, None] * (spectrum.clamp(min=1e-300) / flat()).log()
        balance = (pull - entropy) * spectrum
        size = (pull.abs() * spectrum).sum(-1) + alpha
        # Singular values below a thousandth of the noise are left out of the solution.
        left_out = 1e-3 * (data - spectrum @ kernel.mT).norm(dim=-1)
        assert (balance.abs().sum(-1) < 1e-4 * size + left_out).all()


def test_no_other_spectrum_is_better(case):
    kernel, data, truth = case
    default = flat()
    path = maxent_path(kernel, data, default)
    at = 14

    def cost(a):
        misfit = (data - a @ kernel.mT).square().sum(-1) / 2
        return misfit + path.alphas[at] * (a * (a / default).log() - a + default).sum(-1)

    best = cost(path.spectra[at])
    for other in (truth.clamp(min=1e-9), path.spectra[at - 1], path.spectra[at + 1]):
        for share in (1e-3, 0.1, 1.0):
            assert (cost(path.spectra[at].lerp(other, share)) >= best - 1e-6 * best.abs()).all()


def test_chi2_falls_and_entropy_too(case):
    kernel, data, _ = case
    path = maxent_path(kernel, data, flat())
    assert (path.chi2.diff(dim=0) <= 1e-6 * path.chi2[:-1]).all()
    assert (path.entropy.diff(dim=0) <= 1e-9).all()


def test_historic_takes_as_much_misfit_as_data(case):
    kernel, data, _ = case
    found = maxent(kernel, data, flat(), rule="historic")
    chi2 = (data - found.spectrum @ kernel.mT).square().sum(-1)
    assert chi2.median() == pytest.approx(60, rel=0.05)


def test_classic_is_the_top_of_the_evidence(case):
    kernel, data, _ = case
    path = maxent_path(kernel, data, flat())
    alpha = choose_alpha(path, "classic", 60)
    best = path.alphas.gather(0, path.evidence.argmax(0)[None])[0]
    assert ((alpha / best).log().abs() <= (path.alphas[0] / path.alphas[1]).log() + 1e-9).all()


@pytest.mark.parametrize("rule", RULES)
def test_rules_find_the_spectrum(case, rule):
    kernel, data, truth = case
    found = maxent(kernel, data, flat(), rule=rule)
    assert found.converged.all()
    assert (found.spectrum >= 0).all()
    # Predicting the mean of all spectra scores 0.131.
    assert (found.spectrum - truth).norm(dim=-1).mean() < 0.065
    assert found.spectrum.sum(-1) == pytest.approx(1, abs=2e-3)


def test_many_rough_data_are_worth_as_much_as_few_good_ones(case):
    kernel, data, truth = case
    many = (kernel / 8).repeat(64, 1)  # 64 times as many data, with 8 times the error
    generator = torch.Generator().manual_seed(4)
    noise = torch.randn(20, len(many), dtype=torch.float64, generator=generator)
    pairs = [(kernel, data), (many, truth @ many.mT + noise)]
    errors = [(maxent(*pair, flat()).spectrum - truth).norm(dim=-1).mean() for pair in pairs]
    assert errors[1] < 1.15 * errors[0]


@pytest.mark.parametrize("rule", RULES)
def test_alone_or_in_company(case, rule):
    kernel, data, _ = case
    together = maxent(kernel, data, flat(), rule=rule).spectrum
    alone = torch.cat([maxent(kernel, one[None], flat(), rule=rule).spectrum for one in data])
    assert torch.allclose(together, alone, atol=1e-6)


def test_an_unknown_rule_is_refused(case):
    kernel, data, _ = case
    with pytest.raises(ParameterError, match="unknown rule 'best'; expected one of 'chi2kink'"):
        maxent(kernel, data, flat(), rule="best")


def test_without_information_the_default_model_is_returned(case):
    kernel, data, _ = case
    default = torch.rand(50, generator=torch.Generator().manual_seed(0)).double() + 0.1
    default /= default.sum()
    found = maxent(kernel * 1e-6, data * 0, default, rule="classic")
    assert torch.allclose(found.spectrum[0], default, rtol=1e-3)


def test_data_that_say_nothing_do_not_make_the_interval_small(case):
    """Any large strength explains them, and would give bars as small as one likes."""
    kernel, data, truth = case
    noise = data - truth @ kernel.mT
    rough = kernel * SIGMA / 3.0
    result = maxent(rough, truth @ rough.mT + noise, flat())
    half = 1.9 * result.deviation
    held = (truth >= result.spectrum - half) & (truth <= result.spectrum + half)
    assert held[truth > 0.01 * truth.amax()].double().mean() > 0.9
    again = maxent(kernel, data, flat())
    torch.testing.assert_close(again.loose, again.alpha)


def test_a_perfect_default_model_is_kept(case):
    kernel, data, truth = case
    found = maxent(kernel, data, truth.clamp(min=1e-6), rule="classic")
    assert (found.spectrum - truth).norm(dim=-1).max() < 0.01


@pytest.mark.parametrize("accelerated", [True, False])
@pytest.mark.parametrize("nonnegative", [True, False])
def test_basis_pursuit_optimality(accelerated, nonnegative):
    """The subdifferential of eq. 9 holds zero, on a matrix good enough to get there."""
    generator = torch.Generator().manual_seed(1)
    kernel = torch.randn(40, 60, generator=generator).double()
    data = torch.randn(3, 40, generator=generator).double()
    found = ista(
        kernel,
        data,
        5.0,
        accelerated=accelerated,
        nonnegative=nonnegative,
        iterations=20000,
        tolerance=1e-9,
    )
    assert found.converged.all()
    pull = (data - found.spectrum @ kernel.mT) @ kernel
    used = found.spectrum != 0
    assert torch.allclose(pull[used], 5.0 * found.spectrum[used].sign(), atol=1e-5)
    rest = pull[~used] if nonnegative else pull[~used].abs()
    assert (rest <= 5.0 + 1e-5).all()
    assert (found.spectrum >= 0).all() or not nonnegative


@pytest.mark.filterwarnings("ignore:continue_maxent")  # that not all of them converge is told
@pytest.mark.parametrize("seed", [0, 3])
def test_errors_of_rounding_do_not_break_a_batch(seed):
    """Sharp peaks at errors of 1e-8: the Hessian's eigenvalues span more decades than doubles."""
    tau, omega = np.linspace(0, 20, 201), np.linspace(-6, 6, 241)
    peaks = [(0.7, 4.0, 0.3), (0.3, 2.8, 0.15)]
    truth = sum(w * np.exp(-(((omega - c) / s) ** 2) / 2) / s for w, c, s in peaks)
    truth /= truth.sum() * (omega[1] - omega[0])
    fine = np.linspace(0, 8, 8001)
    dense = sum(w * np.exp(-(((fine - c) / s) ** 2) / 2) / s for w, c, s in peaks)
    kernel = np.exp(-tau[:, None] * fine) / (1 + np.exp(-20 * fine))
    noise = 1e-8 * np.random.default_rng(seed).standard_normal((4, 201))
    g = xr.DataArray(kernel @ (dense / dense.sum()) + noise, dims=("k", "tau"), coords={"tau": tau})
    result = g.S.continue_maxent(beta=20, omega=omega, stderr=1e-8)
    apart = abs(result.spectral_function - truth).sum("omega") * (omega[1] - omega[0])
    assert float(apart.max()) < 0.3
    assert np.isfinite(result.upper.values).all()


@pytest.mark.parametrize("error", [1e-2, 1e-4])
@pytest.mark.parametrize("place", [0.0, 1.0, 3.0])
def test_resolution_is_the_width_of_a_delta_function(error, place):
    """On a flat background; the area of what comes back over its height."""
    beta, rng = 20.0, np.random.default_rng(0)
    tau, omega = np.linspace(0, beta, 201), np.linspace(-6, 6, 121)
    fine = np.linspace(-6, 6, 2401)
    decay = np.where(fine > 0, -tau[:, None] * fine, (beta - tau[:, None]) * fine)
    kernel = np.exp(decay) / (1 + np.exp(-beta * np.abs(fine)))
    truth = 0.95 / len(fine) + 0.05 * (np.abs(fine - place) < 0.001)
    data = kernel @ (truth / truth.sum()) + error * rng.standard_normal(len(tau))
    green = xr.DataArray(data, dims="tau", coords={"tau": tau})
    result = green.S.continue_maxent(beta=beta, omega=omega, stderr=error)
    found = result.spectral_function - 0.95 / 12
    near = found.sel(omega=slice(place - 2.5, place + 2.5)).clip(0)
    width = float(near.sum()) * 0.1 / float(near.max())
    stated = float(result.resolution.sel(omega=place, method="nearest"))
    assert 0.65 * width < stated < 1.6 * width


def test_resolution_of_signed_spectra_is_that_of_positive_ones():
    """The same kernel and errors: about as much can be told of a difference."""
    beta, tau, omega = 10.0, np.linspace(0, 10, 101), np.linspace(-4, 4, 81)
    kernel = np.exp(-tau[:, None] * omega) / (1 + np.exp(-beta * omega))
    bump = np.exp(-(omega**2) / 2)
    data = kernel @ (bump / bump.sum()) + 1e-3 * np.random.default_rng(0).standard_normal(101)
    green = xr.DataArray(data, dims="tau", coords={"tau": tau})
    options = {"beta": beta, "omega": omega, "stderr": 1e-3}
    plain = green.S.continue_maxent(**options).resolution
    signed = green.S.continue_maxent(signed=True, **options).resolution
    assert float(signed.min()) > 1.5 * 0.1  # wider than a cell everywhere
    assert 0.3 < float((signed / plain).median()) < 3
