"""Results are as close to their data as the truth is, or their status says that they are not."""

import numpy as np
import pytest
import xarray as xr

BETA = 20.0
OMEGA = np.linspace(0, 1.5, 151)


def peak(centre: float, width: float) -> np.ndarray:
    return np.exp(-(((OMEGA - centre) / width) ** 2) / 2) / width


def susceptibility(spectrum: np.ndarray, seed: int, error: float) -> tuple[xr.DataArray, float]:
    """Of ``A(w) / w``, and chi^2 of its noise."""
    nu = 2 * np.pi * np.arange(60) / BETA
    kernel = OMEGA**2 / (OMEGA**2 + nu[:, None] ** 2 + 1e-30)
    kernel[0] = 1
    values = kernel @ (spectrum / spectrum.sum())
    noise = error * np.random.default_rng(seed).standard_normal(60)
    return xr.DataArray(values + noise, coords={"iwn": nu}, dims="iwn"), (
        (noise / error) ** 2
    ).sum()


@pytest.mark.parametrize("method", ["continue_maxent", "continue_rlista"])
@pytest.mark.filterwarnings("ignore::arpes_ml_plugins.errors.DistributionWarning")
def test_structure_that_data_demand_is_not_smoothed_away(method):
    """Two phonons; chi^2 is at most 20 above that of the noise."""
    narrow = []
    for seed in range(3):
        data, noise = susceptibility(peak(0.5, 0.05) + 0.5 * peak(1.0, 0.1), seed, 1e-4)
        result = getattr(data.S, method)(beta=BETA, stderr=1e-4, statistics="boson", omega=OMEGA)
        assert result.chi2 * 60 < noise + 20
        narrow.append("narrow peaks" in result.status.item())
    assert sum(narrow) >= 2


def test_smooth_spectra_stay_smooth():
    data, noise = susceptibility(peak(0.5, 0.2), 1, 1e-3)
    result = data.S.continue_maxent(beta=BETA, stderr=1e-3, statistics="boson", omega=OMEGA)
    assert result.chi2 * 60 < noise + 20
    assert result.status == "ok"
    density = result.spectral_function.values
    rises = np.diff(np.sign(np.diff(density[density > 0.02 * density.max()])))
    assert (rises != 0).sum() <= 1


def test_status_reports_a_rule_that_fits_too_loosely():
    """``historic`` takes the number of data for chi^2, whatever the noise turned out to be."""
    tau = np.linspace(0, BETA, 400)
    omega = np.linspace(-3, 3, 121)
    spectrum = np.exp(-((omega - 0.8) ** 2) / 0.3)
    kernel = np.exp(-tau[:, None] * omega) / (1 + np.exp(-BETA * omega))
    noise = 1e-3 * np.random.default_rng(0).standard_normal(400)
    values = xr.DataArray(
        kernel @ (spectrum / spectrum.sum()) + 0.85 * noise, coords={"tau": tau}, dims="tau"
    )
    options = {"beta": BETA, "omega": omega, "stderr": 1e-3}
    with pytest.warns(UserWarning, match="smoother than the data allow"):
        assert "classic" in values.S.continue_maxent(rule="historic", **options).status.item()
    assert values.S.continue_maxent(**options).status == "ok"
