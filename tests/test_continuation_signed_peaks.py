"""Narrow levels of spectra of either sign: the interval holds them, or ``status`` reports them."""

import numpy as np
import pytest
import torch
import xarray as xr

import arpes_ml_plugins  # noqa: F401
from arpes_ml_plugins.continuation.peaks import peaks_of
from arpes_ml_plugins.continuation.problem import cell_widths

FINE = np.linspace(-4, 4, 1601)
OMEGA = FINE[::20]


def element(*terms):
    """Sum of Gaussians of (weight, centre, standard deviation)."""
    return sum(
        weight * np.exp(-(((FINE - centre) / width) ** 2) / 2) / width / np.sqrt(2 * np.pi)
        for weight, centre, width in terms
    )


def continued(truth, beta=20, sigma=1e-4):
    tau = np.linspace(0, beta, 101)
    g = np.exp(-tau[:, None] * FINE - np.logaddexp(0, -beta * FINE)) @ truth * (FINE[1] - FINE[0])
    noise = sigma * np.random.default_rng(3).standard_normal(len(tau))
    data = xr.DataArray(g + noise, dims="tau", coords={"tau": tau})
    return data.S.continue_maxent(beta=beta, stderr=sigma, omega=OMEGA, signed=True)


@pytest.mark.filterwarnings("ignore::arpes_ml_plugins.errors.DistributionWarning")
@pytest.mark.parametrize("places", [(-0.9, 1.3), (-2, 1), (-0.5, 0.6)])
def test_narrow_levels_of_either_sign_are_reported(places):
    truth = element((0.5, places[0], 0.04), (-0.5, places[1], 0.04))
    result = continued(truth)
    assert "not their width and height" in str(result.status.item())
    seen = truth[::20]
    matters = abs(seen) > 0.01 * abs(seen).max()
    inside = (result.lower.values <= seen) & (seen <= result.upper.values)
    assert inside[matters].mean() > 0.8


def test_wide_structure_of_either_sign_is_not():
    result = continued(element((0.6, -1, 0.7), (-0.4, 1.2, 0.6)))
    assert result.status.item() == "ok"


def test_peaks_of_either_sign_are_found_with_their_sign():
    omega = torch.linspace(-4, 4, 81, dtype=torch.float64)
    density = torch.exp(-((omega + 2) ** 2) * 8) - 0.5 * torch.exp(-((omega - 1) ** 2) * 8)
    spectra = (density * cell_widths(omega)).expand(2, -1)
    found = peaks_of(spectra, cell_widths(omega), omega, even=False, signed=True)
    assert found.owner.tolist() == [0, 0, 1, 1]
    assert found.sign.tolist() == [1, -1, 1, -1]
    assert found.place.tolist() == pytest.approx([-2, 1, -2, 1], abs=0.02)
    assert (found.weight > 0).all()
