"""What is done differently where the data are large, on small data."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from planted import image, truth

from arpes_ml_plugins.separation import separated, whiten
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


def test_errors_from_a_part_of_the_pixels(data, monkeypatch):
    """Those with most signal, which tell the spectra."""
    whole = data.S.separate_gmca(n_components=3, rng=0)
    monkeypatch.setattr(separated, "MOST_COLUMNS", 300)
    part = data.S.separate_gmca(n_components=3, rng=0)
    ratio = float(part.spectra_stderr.mean() / whole.spectra_stderr.mean())
    assert 0.9 < ratio < 2
    np.testing.assert_allclose(part.spectra, whole.spectra, atol=1e-9)


@pytest.mark.parametrize("counted", [False, True])
def test_chi2_and_errors_in_pieces(data, counted, monkeypatch):
    from arpes_ml_plugins.methods import goodness_run

    if counted:
        data[:] = np.random.default_rng(0).poisson(data.clip(0))
    data[3, 4, :5] = np.nan
    whole = data.S.separate_nmf(n_components=3, rng=0)
    monkeypatch.setattr(goodness_run, "PIECE", 100)
    monkeypatch.setattr(separated, "PIECE", 100)
    pieces = data.S.separate_nmf(n_components=3, rng=0)
    np.testing.assert_allclose(pieces.maps_stderr, whole.maps_stderr, atol=1e-12)
    np.testing.assert_allclose(pieces.residual_chi2, whole.residual_chi2, atol=1e-12)
