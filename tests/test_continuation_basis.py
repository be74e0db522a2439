"""Coefficients of Legendre polynomials and of bases that users bring."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from greens import BETA, FINE, METHODS, OMEGA, SPECTRA, fermi, green, missed

import arpes_ml_plugins
from arpes_ml_plugins.continuation.kernels import KERNELS
from arpes_ml_plugins.errors import AxisError, DataTypeError, ParameterError

TWO = SPECTRA["two peaks"]
STEP = FINE[1] - FINE[0]
NODES, WEIGHTS = np.polynomial.legendre.leggauss(400)
TAU, DTAU = BETA * (NODES + 1) / 2, BETA * WEIGHTS / 2


def legendre_functions(count, tau=TAU, beta=BETA):
    """``(tau, l)``: of which G(tau) is the sum (Boehnke et al., eq. 1)."""
    values = np.polynomial.legendre.legvander(2 * tau / beta - 1, count - 1)
    return values * np.sqrt(2 * np.arange(count) + 1) / beta


def legendre_data(count=24, sigma=1e-4, seed=0, spectrum=TWO):
    exact = fermi(TAU, FINE) @ spectrum(FINE) * STEP
    # The inverse: sqrt(2 l + 1) times the integral with P_l.
    coefficients = BETA * legendre_functions(count).T @ (DTAU * exact)
    noise = sigma * np.random.default_rng(seed).normal(size=count)
    return xr.DataArray(coefficients + noise, dims="l")


@pytest.mark.parametrize("statistics", ["fermion", "boson"])
@pytest.mark.parametrize("beta", [1.0, 300.0])
def test_the_legendre_kernel_is_the_integral(statistics, beta):
    omega = torch.tensor([-40.0, -2.0, -1e-3, 0.0, 0.3, 7.0], dtype=torch.float64)
    order = torch.tensor([0.0, 1, 2, 7, 30], dtype=torch.float64)
    # Pieces towards both ends: exp(-beta w) falls within 1e-4 of the range.
    half = np.concatenate([[0.0], 2.0 ** -np.arange(16, 0, -1.0)])
    edges = np.concatenate([half, 1 - half[-2::-1]])
    x, w = np.polynomial.legendre.leggauss(40)
    size = np.diff(edges)[:, None]
    tau = (edges[:-1, None] + size * (x + 1) / 2).ravel() * beta
    dtau = (size * w / 2).ravel() * beta
    plain = KERNELS[statistics, "tau"](torch.from_numpy(tau), omega, beta).numpy()
    values = np.polynomial.legendre.legvander(2 * tau / beta - 1, 30)[:, order.long().numpy()]
    expected = np.sqrt(2 * order.numpy() + 1)[:, None] * (values.T * dtau) @ plain
    found = KERNELS[statistics, "legendre"](order, omega, beta).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11 * abs(expected).max())


@pytest.mark.parametrize("method", [*METHODS, "continue_ista"])
def test_legendre_coefficients(method):
    g = legendre_data()
    run = getattr(arpes_ml_plugins, method)
    result = run(g, beta=BETA, stderr=1e-4, omega=OMEGA)
    assert result.sign == 1
    assert result.back_transform.dims == ("l",)
    assert missed(result, TWO) < 0.25
    if method in METHODS:
        assert result.status.item() == "ok"
        assert float(result.chi2) == pytest.approx(1, abs=0.8)
    negative = run(-g, beta=BETA, stderr=1e-4, omega=OMEGA)
    assert negative.sign == -1
    xr.testing.assert_allclose(negative.spectral_function, result.spectral_function)


def test_orders_may_be_named_and_left_out():
    """Of an even spectrum every other coefficient is zero, and often not stored."""
    spectrum = SPECTRA["gap"]
    g = legendre_data(40, spectrum=spectrum)[::2].assign_coords(l=np.arange(0, 40, 2))
    result = g.S.continue_maxent(beta=BETA, stderr=1e-4, omega=OMEGA, even=True)
    assert result.status.item() == "ok"
    assert missed(result, spectrum) < 0.25
    for wrong in (np.arange(20) + 0.5, np.arange(20)[::-1], np.arange(20) - 3):
        with pytest.raises(AxisError, match="orders"):
            g.assign_coords(l=wrong).S.continue_maxent(beta=BETA, stderr=1e-4, omega=OMEGA)
    with pytest.raises(DataTypeError, match="real coefficients"):
        (g + 0j).S.continue_maxent(beta=BETA, stderr=1e-4, omega=OMEGA)


def test_own_frequencies_and_covariance():
    g = legendre_data()
    own = g.S.continue_rlista(beta=BETA, stderr=1e-4)
    assert 1.5 < float(own.omega.max()) < 5
    plain = g.S.continue_maxent(beta=BETA, stderr=1e-4, omega=OMEGA)
    matrix = g.S.continue_maxent(beta=BETA, covariance=np.eye(24) * 1e-8, omega=OMEGA)
    np.testing.assert_allclose(matrix.spectral_function, plain.spectral_function, atol=1e-5)


def singular_functions(count, tau, weights):
    """The intermediate representation: left singular functions of the kernel, orthonormal."""
    wide = np.linspace(-6, 6, 1201)
    u, *_ = np.linalg.svd(np.sqrt(weights)[:, None] * fermi(tau, wide), full_matrices=False)
    return u[:, :count] / np.sqrt(weights)[:, None]


class TestBases:
    tau, dtau = TAU, DTAU
    functions = singular_functions(20, TAU, DTAU)

    def data(self, functions, sigma=1e-4):
        exact = fermi(self.tau, FINE) @ TWO(FINE) * STEP
        solved = np.linalg.lstsq(functions, exact, rcond=None)[0]
        noise = sigma * np.random.default_rng(2).normal(size=functions.shape[1])
        return xr.DataArray(solved + noise, dims="l")

    @pytest.mark.parametrize("method", METHODS)
    def test_an_array(self, method):
        basis = xr.DataArray(self.functions, dims=("tau", "l"), coords={"tau": self.tau})
        g = self.data(self.functions)
        run = getattr(arpes_ml_plugins, method)
        result = run(g, beta=BETA, stderr=1e-4, omega=OMEGA, basis=basis)
        assert result.status.item() == "ok"
        assert missed(result, TWO) < 0.25
        # As many times as functions are enough for a basis that holds all Green's functions.
        few = basis.isel(tau=np.linspace(3, 396, 40).astype(int))
        again = run(g, beta=BETA, stderr=1e-4, omega=OMEGA, basis=few.transpose())
        np.testing.assert_allclose(again.spectral_function, result.spectral_function, atol=1e-2)
        replayed = arpes_ml_plugins.replay(result, g)
        xr.testing.assert_equal(replayed.spectral_function, result.spectral_function)

    def test_functions_and_objects(self):
        """Legendre polynomials as an own basis: the closed form's answer."""
        g = legendre_data()
        options = {"beta": BETA, "stderr": 1e-4, "omega": OMEGA}
        expected = g.S.continue_maxent(**options).spectral_function

        class Like:
            """With the attributes of a basis of sparse-ir."""

            beta, statistics = BETA, "F"

            def u(self, tau):
                return legendre_functions(24, tau).T

        for basis in (lambda tau: legendre_functions(24, tau), Like()):
            found = g.rename(l="n").S.continue_maxent(basis=basis, **options).spectral_function
            np.testing.assert_allclose(found, expected, atol=1e-5)
        told = g.S.continue_maxent(basis=Like(), stderr=1e-4, omega=OMEGA).spectral_function
        np.testing.assert_allclose(told, expected, atol=1e-5)
        with pytest.raises(ParameterError, match="beta = 10"):
            g.S.continue_maxent(basis=Like(), **{**options, "beta": 11.0})
        with pytest.raises(ParameterError, match="fermions"):
            g.S.continue_maxent(basis=Like(), statistics="boson", **options)

    @pytest.mark.parametrize(
        ("basis", "words"),
        [
            (lambda tau: np.ones(3), "shape"),
            (lambda tau: np.ones((24, len(tau))), "not independent"),
            (lambda tau: legendre_functions(7, tau), "7 functions"),
            ("legendre", "function of tau"),
            (xr.DataArray(np.ones((5, 24)), dims=("tau", "l")), "coordinate"),
            (
                xr.DataArray(np.ones((5, 24)), dims=("tau", "l"), coords={"tau": np.arange(5.0)}),
                "at least as many",
            ),
            (
                xr.DataArray(np.ones((50, 24)), dims=("t", "l"), coords={"t": np.arange(50.0)}),
                "within",
            ),
        ],
    )
    def test_what_is_no_basis(self, basis, words):
        with pytest.raises(ParameterError, match=words):
            legendre_data().S.continue_maxent(beta=BETA, stderr=1e-4, omega=OMEGA, basis=basis)

    def test_networks_are_not_trained_for_a_basis(self):
        with pytest.raises(ParameterError, match="recipe='general'"):
            legendre_data().S.continue_rlista(
                beta=BETA, stderr=1e-4, omega=OMEGA, basis=legendre_functions, recipe="trained"
            )


def test_tau_wins_over_a_dimension_called_l():
    g = xr.concat([green(TWO, seed=seed) for seed in range(2)], "l")
    result = g.S.continue_maxent(beta=BETA, stderr=1e-4, omega=OMEGA)
    assert result.spectral_function.dims == ("l", "omega")
