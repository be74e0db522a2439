"""Error bars of maps of known spectra, also where pixels are few or values are missing."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import arpes_ml_plugins  # noqa: F401
from arpes_ml_plugins.errors import DataError

ENERGY = np.linspace(-36, -29, 60)
CENTRES = {"a": -33.0, "b": -32.0, "c": -31.2}


def doublet(centre):
    def peak(place):
        return np.exp(-4 * np.log(2) * ((ENERGY - place) / 0.5) ** 2)

    return peak(centre) + 0.75 * peak(centre - 2.15) + 0.1


SPECTRA = np.stack([doublet(centre) for centre in CENTRES.values()])
KNOWN = {n: xr.DataArray(s, {"eV": ENERGY}, "eV") for n, s in zip(CENTRES, SPECTRA, strict=True)}
NOISE = {
    "counts": lambda rate, draw: draw.poisson(rate) * 1.0,
    "currents": lambda rate, draw: 3.7e-12 * (draw.poisson(rate) + draw.normal(0, 0.1, rate.shape)),
    "uniform": lambda rate, draw: rate + draw.normal(size=rate.shape),
}
UNIT = {"counts": 1.0, "currents": 3.7e-12, "uniform": 1.0}


def drawn(kind, shape, seed, counts=50, grain=1):
    """Data, and the maps they are drawn from."""
    draw = np.random.default_rng(seed)
    maps = draw.uniform(0.2, 1, (3, *shape)) * counts
    maps = maps[:, ::grain, ::grain].repeat(grain, 1).repeat(grain, 2)
    values = NOISE[kind](np.einsum("kyx,ke->yxe", maps, SPECTRA), draw)
    data = xr.DataArray(values, {"eV": ENERGY}, ("y", "x", "eV"))
    high = SPECTRA.max(1)[:, None, None]
    return data, UNIT[kind] * maps * high


def pull(result, maps):
    return ((result.maps.values - maps) / result.maps_stderr.values).ravel()


@pytest.mark.filterwarnings("ignore:unmix:arpes_ml_plugins.errors.DistributionWarning")
@pytest.mark.parametrize("kind", NOISE)
@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (5, 5)])
def test_errors_of_maps_of_few_pixels(kind, shape):
    pulls = []
    for seed in range(max(120 // np.prod(shape), 4)):
        data, maps = drawn(kind, shape, seed)
        pulls.append(pull(data.S.unmix(spectra=KNOWN), maps))
    assert 0.85 < np.sqrt(np.square(np.concatenate(pulls)).mean()) < 1.15


@pytest.mark.parametrize("kind", NOISE)
@pytest.mark.parametrize("gaps", ["channels", "scattered"])
def test_errors_of_maps_with_gaps(kind, gaps):
    """A channel without values, or gaps in all pixels, leave enough to measure the noise from."""
    data, maps = drawn(kind, (24, 24), 0, grain=6)
    if gaps == "channels":
        data[..., [3, 40]] = np.nan
    else:
        data.values[np.random.default_rng(1).random(data.shape) < 0.1] = np.nan
    result = data.S.unmix(spectra=KNOWN)
    assert result.status.item() == "ok"
    assert 0.9 < np.sqrt(np.square(pull(result, maps)).mean()) < 1.1
    assert 0.93 < float(result.residual_chi2.mean()) < 1.07


@pytest.mark.filterwarnings("ignore:unmix:arpes_ml_plugins.errors.DistributionWarning")
def test_noise_from_the_residual_does_not_test_the_spectra():
    for seed in range(20):
        data, _ = drawn("currents", (1, 1), seed, counts=3)
        assert "chi^2 per degree of freedom is" not in data.S.unmix(spectra=KNOWN).status.item()


@pytest.mark.parametrize("shape", [(12, 12), (1, 1)])
def test_zeros_alone_are_refused(shape):
    """They were divided by the number of channels that change, which is none."""
    data = xr.DataArray(np.zeros((*shape, len(ENERGY))), {"eV": ENERGY}, ("y", "x", "eV"))
    with pytest.raises(DataError, match="all values are zero"):
        data.S.unmix(spectra=KNOWN)
