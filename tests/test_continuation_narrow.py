"""Peaks that are narrower than the data resolve: their interval, status, and no false tails."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import xarray as xr
from greens import METHODS, fermi, gauss
from hypothesis import given, settings
from hypothesis import strategies as st

import arpes_ml_plugins
from arpes_ml_plugins.continuation.answer import NARROW, Solution, in_words
from arpes_ml_plugins.continuation.narrow_peaks import possible_widths
from arpes_ml_plugins.continuation.observation import observed
from arpes_ml_plugins.continuation.problem import Problem, cell_widths

WINDOW, BETA = 4.0, 30.0
FINE = np.linspace(-WINDOW, WINDOW, 8001)
OMEGA = FINE[::40]
TAU = np.linspace(0, BETA, 121)
WIDTHS, BEYOND = "but not their width and height", "beyond omega"


def continued(data, method="continue_rlista", **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(arpes_ml_plugins, method)(data, **{"beta": BETA, "omega": OMEGA, **options})


def in_cells(spectra):
    """Means over the cells of ``OMEGA``, in which a peak may lie between two frequencies."""
    inner = spectra[:, 20:-21].reshape(len(spectra), len(OMEGA) - 2, 40)
    return np.pad(inner.mean(-1), ((0, 0), (1, 1)))


def in_time(spectra, sigma, seed=0):
    g = spectra @ fermi(TAU, FINE, BETA).T * (FINE[1] - FINE[0])
    g = g + sigma * np.random.default_rng(seed).normal(size=g.shape)
    return xr.DataArray(g, coords={"tau": TAU}, dims=("n", "tau"))


def bar(omega, centre, width):
    return (np.abs(omega - centre) < width) / (2 * width)


def sharp_spectra(shape, count=5):
    """One or two peaks of 0.2 to 1 % of the window, not at zero."""
    rng = np.random.default_rng(17)
    made = []
    for _ in range(count):
        places = rng.uniform(0.2, 0.8, 2) * WINDOW * np.array([1, -1])
        widths = WINDOW * np.geomspace(0.004, 0.02, 9)[rng.integers(0, 9, 2)] / 2.355
        weights = [rng.uniform(0.3, 1.0), rng.integers(0, 2)]
        both = zip(places, widths, weights, strict=True)
        made.append(sum(w * shape(FINE, c, s) for c, s, w in both))
    made = np.array(made)
    return made / (made.sum(1, keepdims=True) * (FINE[1] - FINE[0]))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [gauss, bar])
def test_sharp_peaks_lie_within_the_interval_and_are_reported(method, shape):
    spectra = sharp_spectra(shape)
    result = continued(in_time(spectra, 1e-4), method, stderr=1e-4)
    truth = in_cells(spectra)
    held = (result.lower.values <= truth + 1e-9) & (truth <= result.upper.values + 1e-9)
    covered = [h[t > 0.01 * t.max()].mean() for h, t in zip(held, truth, strict=True)]
    said = [WIDTHS in words for words in result.status.values]
    assert np.mean(said) >= 0.6
    assert np.mean([c for c, s in zip(covered, said, strict=True) if s]) > 0.9
    assert not any(BEYOND in words for words in result.status.values)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sigma", [1e-3, 1e-5])
def test_wide_peaks_are_not_reported(method, sigma):
    spectra = np.array(
        [
            gauss(FINE, 1.0, 0.45),
            0.6 * gauss(FINE, -1.6, 0.5) + 0.4 * gauss(FINE, 1.2, 0.6),
            np.sqrt(np.clip(1 - ((FINE - 0.5) / 1.8) ** 2, 0, None)) * 2 / np.pi / 1.8,
        ]
    )
    result = continued(in_time(spectra, sigma), method, stderr=sigma)
    assert set(result.status.values) == {"ok"}


def test_a_narrow_peak_whose_width_the_data_show_is_not_reported():
    """At zero the thermal resolution is good, and so are these data."""
    narrow = 0.3 * gauss(FINE, 0.0, 0.06) + 0.35 * (gauss(FINE, -2, 0.5) + gauss(FINE, 2, 0.5))
    result = continued(in_time(narrow[None], 1e-5), stderr=1e-5)
    assert result.status.item() == "ok"


@pytest.mark.parametrize("places", [(-4.0,), (4.0,), (-2.0, 2.0)])
def test_sharp_peaks_are_no_weight_beyond_omega(places):
    """Ten Matsubara frequencies: a smooth spectrum with such data would have another norm."""
    omega = np.linspace(-8, 8, 401)
    truth = sum(gauss(omega, place, 0.04) for place in places) / len(places)
    w_n = (2 * np.arange(10) + 1) * np.pi / 20
    g = (truth * 0.04 / (1j * w_n[:, None] - omega)).sum(1)
    noise = np.random.default_rng(2).normal(size=(2, 10)) * 1e-6
    data = xr.DataArray(g + noise[0] + 1j * noise[1], coords={"iwn": w_n}, dims="iwn")
    result = continued(data, beta=20.0, omega=omega, stderr=1e-6)
    said = result.status.item()
    assert BEYOND not in said
    assert "norm" not in said
    assert "explain" not in said
    assert float(result.spectral_function.integrate("omega")) == pytest.approx(1, abs=5e-3)
    top = float(abs(result.spectral_function.idxmax("omega")))
    assert top == pytest.approx(abs(places[0]), abs=0.05)


def test_weight_just_inside_omega_stays_inside():
    spectra = np.array([gauss(FINE, place, 0.02) for place in (3.7, -3.8)])
    result = continued(in_time(spectra, 1e-4), stderr=1e-4)
    assert not any(BEYOND in words for words in result.status.values)
    np.testing.assert_allclose(result.spectral_function.integrate("omega"), 1, atol=0.01)


def test_draws_of_a_sharp_peak_explain_its_place_and_weight():
    result = continued(in_time(gauss(FINE, 1.5, 0.02)[None], 1e-4), stderr=1e-4, draws=24, rng=0)
    draws = result.draws[0]
    near = draws.sel(omega=slice(0.8, 2.2))
    np.testing.assert_allclose(near.integrate("omega"), 1, atol=0.02)
    np.testing.assert_allclose((near * near.omega).integrate("omega"), 1.5, atol=0.05)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
    sigma=st.sampled_from([1e-2, 1e-4, 1e-6]),
)
def test_intervals_only_become_wider_in_any_unit(seed, scale, sigma):
    rng = np.random.default_rng(seed)
    omega = torch.from_numpy(np.sort(rng.uniform(-3, 3, 80)) * scale)
    problem = Problem(torch.linspace(0, 10, 40, dtype=torch.float64) / scale, omega, 10 / scale)
    weights = torch.from_numpy(rng.gamma(0.3, size=(2, 80)))
    weights = weights / weights.sum(-1, keepdim=True)
    rows = weights @ problem.kernel.mT
    errors = torch.full_like(rows, sigma)
    rows = rows + sigma * torch.from_numpy(rng.normal(size=rows.shape))
    seen = observed(problem, rows, errors, None, torch.ones_like(rows, dtype=torch.bool))
    density = weights / cell_widths(omega)
    resolution = torch.full_like(weights, 0.5 * scale)
    found = possible_widths(seen, weights, 0.9 * density, 1.1 * density, resolution)
    assert bool((found.lower <= 0.9 * density).all())
    assert bool((found.lower >= 0).all())
    assert bool((found.upper >= 1.1 * density).all())
    assert bool(torch.isfinite(found.upper).all())
    assert bool(((found.part >= 0) & (found.part <= 1 + 1e-9)).all())


def test_solutions_are_replaced_for_some_data_sets():
    zeros = torch.zeros(3, 4, dtype=torch.float64)
    first = Solution(zeros, torch.zeros(3, dtype=torch.int64), zeros, zeros, resolution=zeros + 2)
    which = torch.tensor([False, True, False])
    other = Solution(zeros[:1, :2] + 1, torch.tensor([NARROW]), resolution=zeros[:1, :2] + 5)
    found = first.replaced(other, which, (1, 3))
    assert found.weights.tolist() == [[0.0] * 4, [0.0, 1.0, 1.0, 0.0], [0.0] * 4]
    assert found.resolution.tolist()[1] == [2.0, 5.0, 5.0, 2.0]
    assert found.status.tolist() == [0, NARROW, 0]
    assert WIDTHS in in_words(NARROW)
    assert float(first.weights.sum()) == 0


def test_widths_of_each_spectrum_do_not_depend_on_those_beside_it():
    omega = torch.linspace(-4, 4, 161, dtype=torch.float64)
    peaks = [(-(((omega - c) / s) ** 2)).exp() for c, s in ((1.5, 0.1), (-2, 0.1), (0, 1.5))]
    shapes = [peaks[0], peaks[0] + 2 * peaks[1] + peaks[2], peaks[2], torch.ones(161).double()]
    weights = torch.stack([each / each.sum() for each in shapes])
    problem = Problem(torch.linspace(0, BETA, 60, dtype=torch.float64), omega, BETA)
    rows = weights @ problem.kernel.mT
    errors = torch.tensor([[3e-3], [3e-4], [1e-3], [1e-3]]).double().expand_as(rows)
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=rows.shape))
    used = torch.ones_like(rows, dtype=torch.bool)
    seen = observed(problem, rows + errors * noise, errors, None, used, alike=False)
    density = weights / cell_widths(omega)
    given = weights, 0.9 * density, 1.1 * density, torch.full_like(weights, 0.5)
    together = possible_widths(seen, *given)
    assert (together.part > 0).tolist() == [True, True, False, False]
    for item in range(4):
        which = torch.arange(4) == item
        alone = possible_widths(seen.take(which), *(each[which] for each in given))
        for name in ("lower", "upper", "part"):
            torch.testing.assert_close(getattr(alone, name)[0], getattr(together, name)[item])
