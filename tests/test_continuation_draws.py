"""Draws of the spectrum: coherent along frequency, in the band, in agreement with the data."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from greens import BETA, OMEGA, SPECTRA, fermi, gauss, green

import arpes_ml_plugins
from arpes_ml_plugins.errors import AxisError, ParameterError
from arpes_ml_plugins.simulation.spectra import broad_spectra, centres

OPTIONS = {"beta": BETA, "stderr": 1e-3, "omega": OMEGA}
STEP = OMEGA[1] - OMEGA[0]
TRUTHS = 30


@pytest.fixture(scope="module")
def many():
    """Spectra that the network has not seen, by bins, and what comes of their data."""
    fine = broad_spectra(TRUTHS, torch.Generator().manual_seed(11)).double().numpy()
    grid = 3 * centres(fine=5).numpy()
    tau = np.linspace(0, BETA, 100)
    noise = 1e-3 * np.random.default_rng(3).normal(size=(TRUTHS, 100))
    g = xr.DataArray(fine @ fermi(tau, grid).T + noise, coords={"tau": tau}, dims=("k", "tau"))
    edges = np.concatenate([[grid[0]], (grid[1:] + grid[:-1]) / 2, [grid[-1]]])
    total = np.concatenate([np.zeros((TRUTHS, 1)), fine.cumsum(1)], 1)
    return g, lambda low, high: np.array(
        [np.interp(high, edges, row) - np.interp(low, edges, row) for row in total]
    )


@pytest.mark.filterwarnings("ignore:continue_")
@pytest.mark.parametrize("method", ["continue_rlista", "continue_maxent"])
def test_weights_in_windows_have_the_errors_that_draws_show(many, method):
    """68 % stated. A window holds many points of the band, whose errors nearly cancel."""
    g, weight = many
    result = getattr(arpes_ml_plugins, method)(g, draws=50, rng=0, **OPTIONS)
    held, sizes = [], []
    for low, high in ((-2.0, 0.0), (-1.0, -0.3), (-0.5, 0.5), (0.3, 1.3)):
        inside = np.abs(OMEGA - (low + high) / 2) < (high - low) / 2
        low, high = OMEGA[inside][0] - STEP / 2, OMEGA[inside][-1] + STEP / 2
        drawn = result.draws.sel(omega=OMEGA[inside]).sum("omega") * STEP
        truth = weight(low, high)
        lower, upper = drawn.quantile([0.16, 0.84], "draw").values
        held.append(((lower <= truth) & (truth <= upper))[truth > 0.02])
        band = (result.upper - result.lower).sel(omega=OMEGA[inside]).sum("omega") * STEP
        sizes.append(float((drawn.std("draw") / band).median()))
    assert 0.55 <= np.concatenate(held).mean() <= 0.9
    assert max(sizes) < 0.15  # errors of one sign everywhere would make 0.3


@pytest.mark.parametrize("method", ["continue_rlista", "continue_maxent", "continue_ista"])
@pytest.mark.filterwarnings("ignore:continue_ista")
def test_draws_agree_with_the_band_and_the_data(method):
    g = green(SPECTRA["two peaks"], sigma=1e-3)
    result = getattr(arpes_ml_plugins, method)(g, draws=200, rng=1, **OPTIONS)
    draws, a = result.draws, result.spectral_function
    assert draws.dims == ("draw", "omega")
    assert (draws >= 0).all()
    width = result.upper - result.lower
    ends = draws.quantile([0.05, 0.95], "draw")
    matters = a > 0.1 * a.max()
    for end, stated in zip(ends, (result.lower, result.upper), strict=True):
        assert float((abs(end - stated) / width).where(matters).mean()) < 0.25
    explained = fermi(g.tau.values, OMEGA) @ draws.values.T * STEP  # up to the faint rest beyond
    misfit = ((explained - g.values[:, None]) / 1e-3) ** 2
    assert np.median(misfit.mean(0)) < 2.5
    assert float(draws.sum("omega").std() * STEP) < 0.01  # the norm is known


def test_seeds_batches_and_lazy_data():
    g = xr.concat([green(SPECTRA["gap"], sigma=1e-3, seed=s) for s in range(3)], "k")
    run = arpes_ml_plugins.continue_maxent
    result = run(g, draws=8, rng=0, **OPTIONS)
    assert result.draws.dims == ("k", "draw", "omega")
    other = run(g, draws=8, rng=1, **OPTIONS)
    assert float(abs(other.draws - result.draws).max()) > 0.01
    lazy = run(g.chunk(k=1), draws=8, rng=0, **OPTIONS)
    assert lazy.draws.chunks is not None
    np.testing.assert_allclose(lazy.draws, result.draws, atol=1e-4)
    xr.testing.assert_equal(arpes_ml_plugins.replay(result, g).draws, result.draws)
    assert "draws" not in run(g, **OPTIONS)
    with pytest.raises(AxisError, match="rename"):
        run(g.rename(k="draw"), draws=8, **OPTIONS)
    with pytest.raises(ParameterError, match="draws must be"):
        run(g, draws=-1, **OPTIONS)


def test_coarse_frequencies_and_either_sign():
    """Cells that are divided in the problem; and spectra that may be negative."""
    g = green(SPECTRA["two peaks"], sigma=1e-3)
    coarse = np.linspace(-3, 3, 21)
    result = g.S.continue_maxent(draws=50, beta=BETA, stderr=1e-3, omega=coarse, rng=0)
    assert result.draws.shape == (50, 21)
    np.testing.assert_allclose(result.draws.sum("omega") * 0.3, 1, atol=0.02)
    element = lambda w: 0.5 * np.sign(w) * gauss(abs(w), 1.0, 0.3)  # noqa: E731
    signed = green(element, sigma=1e-3).S.continue_maxent(draws=200, signed=True, rng=0, **OPTIONS)
    ends = signed.draws.quantile([0.05, 0.95], "draw")
    width = signed.upper - signed.lower
    assert float((abs(ends[0] - signed.lower) / width).mean()) < 0.15
    assert float((abs(ends[1] - signed.upper) / width).mean()) < 0.15


def test_fits_of_draws():
    """The position of a peak, with an error that holds it."""
    models = pytest.importorskip("lmfit.models")
    g = green(lambda w: gauss(w, 0.5, 0.4), sigma=1e-3)
    result = g.S.continue_rlista(draws=24, rng=0, **OPTIONS)
    fit = arpes_ml_plugins.fit_draws(result.draws, models.GaussianModel(), "omega")
    assert 0 < float(fit.center_error) < 0.05
    assert abs(float(fit.center) - 0.5) < 4 * float(fit.center_error)


def gaussian_data(sigma, norm, tau=None, count=8):
    """Data of one wide peak with another norm than 1, and its frequencies."""
    beta, omega = 20.0, np.linspace(-4, 4, 201)
    tau = np.linspace(0, beta, 101) if tau is None else tau
    truth = norm * np.exp(-((omega - 0.4) ** 2) / 0.5) / np.sqrt(0.5 * np.pi)
    exponent = np.where(omega < 0, beta - tau[:, None], -tau[:, None]) * omega
    kernel = np.exp(exponent - np.log1p(np.exp(-beta * np.abs(omega)))) * (omega[1] - omega[0])
    noise = sigma * np.random.default_rng(5).standard_normal((count, len(tau)))
    data = xr.DataArray(kernel @ truth + noise, coords={"tau": tau}, dims=("k", "tau"))
    return data, {"beta": beta, "omega": omega, "stderr": sigma, "rng": 1, "draws": 24}, kernel


@pytest.mark.parametrize("sigma", [1e-2, 1e-3, 1e-5])
def test_each_draw_explains_the_data_and_has_the_norm_that_is_stated(sigma):
    data, options, kernel = gaussian_data(sigma, 2.5, count=3)
    result = data.S.continue_rlista(norm=2.5, **options)
    drawn = result.draws.transpose("k", "draw", "omega").values
    left = (drawn @ kernel.T - data.values[:, None]) / sigma
    assert np.square(left).mean(-1).max() < 2
    norms = drawn.sum(-1) * (options["omega"][1] - options["omega"][0])
    np.testing.assert_allclose(norms, 2.5, rtol=4e-3)


@pytest.mark.parametrize(("first", "sigma"), [(0.0, 2.5e-2), (0.1, 2.5e-2), (0.1, 2.5e-3)])
def test_draws_have_the_error_of_a_norm_that_is_not_stated(first, sigma):
    """Not that of the norm beside the data, which keeps the entropy from pulling at solutions."""
    data, options, _ = gaussian_data(sigma, 2.5, np.linspace(first, 20 - first, 81))
    result = data.S.continue_rlista(norm="any", **options)
    found = result.spectral_function.integrate("omega").std("k")
    shown = result.draws.integrate("omega").std("draw").mean()
    assert 0.5 < float(shown / found) < 2
