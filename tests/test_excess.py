"""More components asked for than the data hold are told; fewer, or weak ones, are not."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import arpes_ml_plugins  # noqa: F401
from arpes_ml_plugins.errors import DistributionWarning

ENERGY = np.linspace(-6, 1, 40)
CENTRES = np.linspace(-5, 0, 6)
ROWS, COLUMNS = np.mgrid[:24, :24]
LEFT, TOP = (COLUMNS < 10) * 1.0, (ROWS < 12) * 1.0


def measured(maps, noise=0.005):
    lines = np.exp(-(((ENERGY - CENTRES[:, None]) / 0.4) ** 2)) + 0.05
    clean = np.einsum("kyx,ke->yxe", maps, lines[: len(maps)])
    draw = np.random.default_rng(0).standard_normal(clean.shape)
    return xr.DataArray(clean + noise * draw, {"eV": ENERGY}, ("y", "x", "eV"))


TWO = np.stack([LEFT, 1 - LEFT])
PROPORTIONAL = np.stack([LEFT, 0.7 * LEFT, 1 - LEFT])
HIDDEN = np.stack([LEFT, 1 - LEFT, 3e-4 * TOP])


@pytest.mark.parametrize(
    ("method", "maps"),
    [
        ("separate_gmca", TWO),
        ("separate_gmca", HIDDEN),
        ("separate_palm", PROPORTIONAL),
        ("separate_nmf", PROPORTIONAL),
    ],
    ids=["two", "hidden", "proportional", "factorised"],
)
def test_more_than_there_are(method, maps):
    with pytest.warns(DistributionWarning, match="2 components stand out .* 3 were asked for"):
        getattr(measured(maps).S, method)(n_components=3, shift=False, rng=0)


@pytest.mark.filterwarnings("ignore::arpes_ml_plugins.errors.DistributionWarning")
@pytest.mark.parametrize("share", [0.05, 1.0])
def test_a_weak_one_that_is_there(share):
    maps = np.stack([LEFT, 1 - LEFT, share * TOP * LEFT])
    result = measured(maps).S.separate_gmca(n_components=3, shift=False, rng=0)
    assert "out of the noise" not in result.status.item()


@pytest.mark.filterwarnings("ignore::arpes_ml_plugins.errors.DistributionWarning")
def test_fewer_than_there_are_is_another_matter():
    grains = (ROWS // 8) * 2 + (COLUMNS // 12)
    maps = np.stack([(grains == k) * 1.0 for k in range(6)])
    result = measured(maps).S.separate_gmca(n_components=2, shift=False, rng=0)
    assert "out of the noise" not in result.status.item()


@pytest.mark.parametrize("seed", [0, 1])
def test_counts_of_two_materials_in_three(seed):
    """Noise that differs between the materials has no sharp edge in its eigenvalues."""
    rng = np.random.default_rng(seed)
    energy = np.linspace(-2, 2, 60)
    spectra = [
        height * np.exp(-(((energy - centre) / 0.3) ** 2)) + floor
        for centre, height, floor in ((-0.5, 1.0, 0.1), (0.4, 0.8, 0.15))
    ]
    rate = 60 * np.where((COLUMNS < 12)[..., None], *spectra)
    data = xr.DataArray(rng.poisson(rate) * 1.0, {"eV": energy}, ("y", "x", "eV"))
    assert data.S.separate_nmf(n_components=2, shift=False, rng=0).status.item() == "ok"
    with pytest.warns(DistributionWarning, match="2 components stand out .* 3 were asked for"):
        data.S.separate_nmf(n_components=3, shift=False, rng=0)
