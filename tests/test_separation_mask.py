"""``mask=``: pixels that take no part in a separation."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from planted import CENTRES, ENERGY, family, image, peak, truth, wrong

from arpes_ml_plugins import SpectrumLibrary, replay
from arpes_ml_plugins.errors import AxisError, DataError, ParameterError

SHAPE = (24, 28)


@pytest.fixture
def data():
    """A planted mixture, of which the first rows hold something bright and unknown."""
    spectra, maps = truth(shape=SHAPE)
    mixed = image(spectra, maps)
    mixed[:8] += 400 * np.random.default_rng(3).random((8, 28, 1)) * peak(-0.9, 0.05)
    mixed[:4] += 300 * np.random.default_rng(4).random((4, 28, 1)) * peak(-0.1, 0.05)
    return mixed, spectra


@pytest.fixture
def mask():
    return xr.DataArray(np.arange(SHAPE[0]) >= 8, dims="y")


@pytest.fixture
def library():
    known = {
        name: xr.DataArray(family(c).numpy(), {"eV": ENERGY}, ("sample", "eV"))
        for name, c in CENTRES.items()
    }
    return SpectrumLibrary(known)


@pytest.mark.parametrize("name", ["separate_gmca", "separate_nmf"])
def test_what_is_masked_takes_no_part(name, data, mask):
    mixed, spectra = data
    result = getattr(mixed.S, name)(n_components=3, mask=mask, rng=0)
    alone = getattr(mixed[8:].S, name)(n_components=3, rng=0)
    assert wrong(result, spectra) < 1.5 * wrong(alone, spectra) + 1e-4
    for variable in ("maps", "maps_stderr", "reconstruction", "residual", "residual_chi2"):
        assert result[variable][{"y": slice(8)}].isnull().all(), variable
        assert result[variable][{"y": slice(8, None)}].notnull().all(), variable
    assert float(result.residual_chi2.mean()) < 1.15


def test_the_number_of_components_of_a_part(data, mask):
    mixed, _ = data
    assert int(mixed.S.choose_components(mask=mask, rng=0, max_components=6).recommended) == 3
    assert int(mixed.S.choose_components(rng=0, max_components=6).recommended) > 3


def test_shifts_are_found_beside_a_mask(library):
    """As without the pixels that are left out, which hold another shift."""
    _, maps = truth(shape=(32, 32))
    ramp = np.linspace(-0.15, 0.15, 32) + np.zeros((32, 1))
    moving = np.stack(
        [
            np.exp(-((ENERGY - c - ramp[..., None]) ** 2) / (2 * 0.15**2)) + 0.1
            for c in (-1.3, -0.5, 0.2)
        ]
    )
    values = np.einsum("yxn,nyxe->yxe", 20 + maps, moving)
    values += np.random.default_rng(0).normal(size=values.shape)
    values[:10] = 500 * np.random.default_rng(1).random((10, 32, 1)) * peak(-0.9, 0.05)
    mixed = xr.DataArray(values, {"eV": ENERGY}, ("y", "x", "eV"))
    mask = xr.DataArray(np.arange(32) >= 10, dims="y")
    with pytest.warns(match="corrected"):
        result = mixed.S.separate_sgmca(library=library, mask=mask, rng=0)
    found = result["shift"][10:] - result["shift"][10:].mean()
    assert float(np.abs(found - ramp[10:]).mean()) < 0.02
    assert result.maps[:, :10].isnull().all()
    assert result["shift"][:10].isnull().all()


def test_types_laziness_and_replay(data, mask):
    mixed, _ = data
    counts = mixed.clip(0).round().astype(np.int32)
    eager = counts.S.separate_nmf(n_components=3, mask=mask, rng=0)
    assert eager.maps.dtype == eager.reconstruction.dtype == np.float32
    lazy = counts.chunk(y=5).S.separate_nmf(n_components=3, mask=mask, rng=0)
    assert lazy.maps.chunks is not None
    xr.testing.assert_allclose(lazy.maps.compute(), eager.maps)
    xr.testing.assert_equal(replay(eager, counts), eager)


@pytest.mark.parametrize(
    ("mask", "error", "words"),
    [
        (np.ones(SHAPE, bool), ParameterError, "DataArray of True"),
        (xr.DataArray(np.ones(SHAPE), dims=("y", "x")), ParameterError, "type float64"),
        (xr.DataArray(np.ones(40, bool), dims="eV"), AxisError, "single values"),
        (xr.DataArray(np.ones(5, bool), dims="y"), AxisError, "other coordinates"),
        (xr.DataArray(np.ones(28, bool), {"x": np.arange(28) + 0.5}, "x"), AxisError, "along 'x'"),
        (xr.DataArray(np.zeros(SHAPE, bool), dims=("y", "x")), DataError, "mask= selects"),
        (xr.DataArray(np.ones(24, bool), dims="y").chunk(y=5), ParameterError, "lazy"),
    ],
)
def test_bad_masks(mask, error, words, data):
    with pytest.raises(error, match=words):
        data[0].S.separate_gmca(n_components=3, mask=mask)
