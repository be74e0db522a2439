"""What is done differently where the data are large, on small data."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from planted import image, truth, wrong

from arpes_ml_plugins.separation import pixel_maps, whiten
from arpes_ml_plugins.separation.whiten import Whitened


@pytest.fixture
def data():
    return image(*truth(shape=(24, 24)))


def test_details_in_single_precision(data, monkeypatch):
    wide = data.S.separate_gmca(n_components=3, rng=0)
    kinds = []
    plain = Whitened.without_details

    def seen(self):
        kinds.append(self.sparse.dtype)
        return plain(self)

    monkeypatch.setattr(Whitened, "without_details", seen)
    monkeypatch.setattr(whiten, "MANY", 100)
    narrow = data.S.separate_gmca(n_components=3, rng=0)
    assert kinds == [torch.float32]
    assert narrow.maps.dtype == np.float64
    np.testing.assert_allclose(narrow.spectra, wide.spectra, atol=1e-4)
    np.testing.assert_allclose(narrow.maps, wide.maps, atol=1e-2)


def test_a_part_of_the_pixels_shows_dim_components_too(monkeypatch):
    """The brightest tenth of the pixels lie in one of three regions."""
    monkeypatch.setattr(whiten, "MOST_COLUMNS", 400)
    row, column = np.indices((64, 64))
    maps = np.stack([column < 20, 0.6 * ((column >= 20) & (row < 30))], -1) * 100.0
    maps = np.concatenate([maps, 40.0 * ((column >= 20) & (row >= 30))[..., None]], -1)
    spectra, _ = truth()
    result = image(spectra, maps).S.separate_nmf(n_components=3, rng=0)
    assert wrong(result, spectra) < 0.02
    assert result.status.item() == "ok"


def test_columns_that_stand_for_all(monkeypatch):
    monkeypatch.setattr(whiten, "MOST_COLUMNS", 40)
    data = torch.ones(3, 1000, dtype=torch.float64)
    data[:, 500:600] = 9.0  # bright
    data[:, 7] = 50.0  # one pixel
    chosen = whiten.telling_columns(data, data.new_ones(1000))
    assert len(chosen) == len(chosen.unique()) == 40
    assert 7 in chosen
    assert int(((chosen < 500) | (chosen >= 600)).sum()) > 15


@pytest.mark.slow
def test_errors_from_a_part_of_the_pixels(monkeypatch):
    """Stated errors are those of the pixels that were used."""
    monkeypatch.setattr(whiten, "MOST_COLUMNS", 400)
    ratios = []
    for seed in range(4):
        spectra, maps = truth(shape=(48, 48))
        result = image(spectra, maps, seed=seed).S.separate_gmca(n_components=3, rng=0)
        shown = spectra / spectra.max(1, keepdims=True)
        order = np.argmax(result.spectra.values @ shown.T, 0)
        ratios.append((result.spectra.values[order] - shown) / result.spectra_stderr.values[order])
    assert 0.75 < np.sqrt(np.mean(np.square(ratios))) < 1.3


@pytest.mark.filterwarnings("ignore:.*not determined:arpes_ml_plugins.errors.DistributionWarning")
@pytest.mark.parametrize("counted", [False, True])
def test_chi2_and_errors_in_pieces(data, counted, monkeypatch):
    if counted:
        data[:] = np.random.default_rng(0).poisson(data.clip(0))
    data[3, 4, :5] = np.nan
    whole = data.S.separate_nmf(n_components=3, rng=0)
    monkeypatch.setattr(pixel_maps, "PIECE", 100)
    pieces = data.S.separate_nmf(n_components=3, rng=0)
    np.testing.assert_allclose(pieces.maps_stderr, whole.maps_stderr, atol=1e-12)
    np.testing.assert_allclose(pieces.residual_chi2, whole.residual_chi2, atol=1e-12)
