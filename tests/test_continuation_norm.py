"""A wrong ``beta`` or convention shows in the norm, and ``status`` says so."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import xarray as xr
from greens import BETA, FINE, METHODS, OMEGA, SPECTRA, green
from hypothesis import given, settings
from hypothesis import strategies as st

import arpes_ml_plugins
from arpes_ml_plugins.continuation.kernels import boson, fermion_legendre
from arpes_ml_plugins.errors import DataError, ParameterError

OPTIONS = {"omega": OMEGA, "stderr": 1e-4}
NORM, ENDED = "the norm is not 1", "look as if they ended at beta"
NARROW = "the data determine position and weight of the narrow peaks"


def status(g, method="continue_maxent", **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(arpes_ml_plugins, method)(g, **options).status.item()


@pytest.mark.parametrize("method", [*METHODS, "continue_ista"])
@pytest.mark.parametrize(("name", "wrong"), [("metal", 1.005), ("two peaks", 1.05)])
def test_a_wrong_beta_is_never_ok(method, name, wrong):
    found = status(green(SPECTRA[name]), method, beta=wrong * BETA, **OPTIONS)
    assert NORM in found
    assert ENDED in found


@settings(max_examples=6, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(sorted(SPECTRA)),
    sigma=st.sampled_from([1e-2, 1e-3, 1e-5]),
    seed=st.integers(0, 99),
    times=st.sampled_from(["whole", "no last", "middle", "few"]),
)
def test_right_data_are_ok(name, sigma, seed, times):
    tau = {
        "whole": np.linspace(0, BETA, 80),
        "no last": np.linspace(0, BETA, 80, endpoint=False),
        "middle": BETA * (np.arange(80) + 0.5) / 80,
        "few": np.linspace(0, BETA, 24),
    }[times]
    g = green(SPECTRA[name], sigma=sigma, seed=seed, tau=tau)
    found = status(g, beta=BETA, omega=OMEGA, stderr=sigma)
    # The width of the metal's peak may be open.
    assert found == "ok" or (name == "metal" and found.startswith(NARROW))


def test_norms_that_are_meant():
    g = 0.4 * green(SPECTRA["gap"])
    assert NORM in status(g, beta=BETA, **OPTIONS)
    for norm in (0.4, "any"):
        assert status(g, beta=BETA, norm=norm, **OPTIONS) == "ok"
    assert status(g, beta=BETA, moments=[0.4], **OPTIONS) == "ok"
    with pytest.raises(ParameterError, match="'any' or None"):
        g.S.continue_maxent(beta=BETA, norm="some", **OPTIONS)


@pytest.mark.parametrize("stated", [{"norm": 1.01}, {"moments": [1.01]}])
def test_a_stated_norm_that_the_data_contradict(stated):
    g = green(SPECTRA["gap"])
    assert "contradict each other" in status(g, beta=BETA, **stated, **OPTIONS)


def test_a_stated_norm_does_not_hide_a_wrong_beta():
    assert status(green(SPECTRA["two peaks"]), beta=1.02 * BETA, norm=1.0, **OPTIONS) != "ok"


def test_beta_of_bosons():
    omega = np.linspace(0.01, 4, 400)
    tau = np.linspace(0, BETA, 81)
    times, grid = torch.from_numpy(tau), torch.from_numpy(omega)
    kernel = boson(times, grid, BETA) + boson(times, -grid, BETA)
    g = (kernel.numpy() @ np.exp(-(((omega - 1.5) / 0.5) ** 2) / 2)) * 0.01
    sigma = 1e-4 * g[0]
    noisy = g + sigma * np.random.default_rng(0).normal(size=81)
    chi = xr.DataArray(noisy, coords={"tau": tau}, dims="tau")
    options = {"stderr": sigma, "statistics": "boson"}
    for grid_out in (np.linspace(0, 4, 81), np.linspace(-4, 4, 161)):
        assert status(chi, beta=BETA, omega=grid_out, **options) == "ok"
        assert status(chi, beta=1.02 * BETA, omega=grid_out, **options) != "ok"


class TestStatedTwice:
    g = green(SPECTRA["metal"], beta=40.0)

    @pytest.mark.parametrize(
        "data",
        [
            g.assign_coords(beta=40.0),
            g.assign_attrs(beta=40),
            g.expand_dims(T=2).assign_coords(beta=("T", [40.0, 41.0])),
            g.assign_coords(tau=("tau", g.tau.values, {"units": "1/eV"}), temperature=290.0),
        ],
    )
    def test_a_contradiction_is_refused(self, data):
        with pytest.raises(ParameterError, match="beta is 41"):
            data.S.continue_maxent(beta=41.0, **OPTIONS)

    def test_agreement_within_rounding_is_not(self):
        assert status(self.g.assign_attrs(beta=40.1), beta=40.0, **OPTIONS) == "ok"
        both = self.g.assign_attrs(beta=40.0, temperature=290.0)  # tau has no unit
        assert status(both, **OPTIONS) == "ok"


@pytest.mark.parametrize("beta", [5.0, 40.0])
def test_legendre_coefficients_of_another_convention(beta):
    order = np.arange(30)
    kernel = fermion_legendre(torch.from_numpy(order).double(), torch.from_numpy(FINE), beta)
    exact = kernel.numpy() @ SPECTRA["gap"](FINE) * (FINE[1] - FINE[0])
    noise = 1e-4 * np.random.default_rng(0).normal(size=30)
    factors = {
        r"without sqrt\(2 l \+ 1\)": (2 * order + 1) ** -0.5,
        "G = sum_l G_l P_l": (2 * order + 1) ** 0.5 / beta,
        "normalised on": beta**-0.5,
    }
    for words, factor in factors.items():
        for sign in (1, -1):
            g = xr.DataArray(sign * exact * factor + noise, dims="l")
            with pytest.raises(DataError, match=words):
                g.S.continue_maxent(beta=beta, **OPTIONS)
    # A norm that is stated, and an unknown convention, are left to status.
    odd = xr.DataArray(0.77 * exact + noise, dims="l")
    assert NORM in status(odd, beta=beta, **OPTIONS)
    assert status(odd, beta=beta, norm=0.77, **OPTIONS) == "ok"
