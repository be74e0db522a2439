"""``separate_clusters``: planted grains, brightness that is not chemistry, masks and errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from planted import ENERGY, image, odd, peak, wrong

from arpes_ml_plugins.errors import ParameterError
from arpes_ml_plugins.separation.clusters import cluster_means, clustered

CENTRES = (-1.3, -0.5, 0.2)


def grains(noise=1.0, seed=0, shape=(30, 32)):
    """Three kinds of grains, of any brightness; the kind of each pixel."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    kind = np.where(x < 14, 0, np.where(y < 15, 1, 2))
    light = rng.uniform(5, 40, shape)
    maps = np.eye(3)[kind] * light[..., None]
    spectra = np.stack([peak(c) for c in CENTRES])
    return image(spectra, maps, noise, seed), spectra, kind


@pytest.mark.parametrize("kind", ["kmeans", "gaussian"])
def test_grains_are_found_whatever_their_brightness(kind):
    data, spectra, truth = grains()
    result = data.S.separate_clusters(n_components=3, kind=kind, rng=0)
    assert result.status.item() == "ok"
    assert wrong(result, spectra) < 1e-3
    names = [int(n) for n in result.component]
    order = [
        int(np.abs(np.array(CENTRES) - float(c)).argmin()) for c in result.spectra.idxmax("eV")
    ]
    assert sorted(order) == [0, 1, 2]
    wanted = np.array([names[order.index(k)] for k in range(3)])[truth]
    assert float((result.label == wanted).mean()) > 0.99
    assert result.label.dims == ("y", "x")
    strongest = result.maps.argmax("component") + 1
    assert float((strongest == result.label).mean()) > 0.99


@odd
def test_brightness_makes_clusters_if_asked_for():
    spectra = peak(-0.5)[None]
    light = np.where(np.arange(24) < 12, 20.0, 60.0)[None, :, None] * np.ones((20, 1, 1))
    data = image(spectra, light, 1.0)
    result = data.S.separate_clusters(n_components=2, by_shape=False, rng=0)
    left, right = result.label[:, :12], result.label[:, 12:]
    assert float(left.std()) == float(right.std()) == 0
    assert float(left.mean()) != float(right.mean())


def test_errors_are_those_of_means():
    """Scatter between realisations, against the errors of each."""
    found, stated = [], []
    for seed in range(4):
        data, spectra, _ = grains(seed=seed)
        result = data.S.separate_clusters(n_components=3, rng=0)
        order = [int(np.abs(result.spectra.idxmax("eV").values - c).argmin()) for c in CENTRES]
        found.append(result.spectra.values[order] - spectra / spectra.max(1, keepdims=True))
        stated.append(result.spectra_stderr.values[order])
    ratio = float(np.sqrt((np.array(found) ** 2).mean() / (np.array(stated) ** 2).mean()))
    assert 0.6 < ratio < 1.6


def test_masks_gaps_and_types():
    data, spectra, _ = grains()
    data[3, 4, 5] = data[6, 7] = np.nan
    mask = xr.DataArray(np.arange(30) > 1, dims="y")
    result = data.astype(np.float32).S.separate_clusters(n_components=3, mask=mask, rng=0)
    assert result.label.dtype == np.int64
    assert (result.label[:2] == 0).all()
    assert result.label[6, 7] == 0
    assert int((result.label == 0).sum()) == 2 * 32 + 2
    assert sorted(np.unique(result.label)) == [0, *result.component]
    assert np.isfinite(result.maps[:, 3, 4]).all()
    assert wrong(result[["spectra"]].astype(float), spectra) < 1e-3


@odd
def test_more_clusters_than_there_are_kinds():
    values = np.outer([1.0, 1, 1, 1, 2, 2, 2, 2], peak(0.0)) + 0.0
    values[4:] = peak(-1.0)
    data = xr.DataArray(np.tile(values, (6, 1)), {"eV": ENERGY}, ("x", "eV"))
    result = data.S.separate_clusters(n_components=4, rng=0)
    assert "clusters are empty" in result.status.item()
    assert np.isfinite(result.spectra).all()


def test_many_pixels_are_grouped_by_a_part():
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 2, 30_000)
    pixels = torch.from_numpy(np.eye(6)[:, [1, 4]][:, kind] * 30 + rng.normal(size=(6, 30_000)))
    labels = clustered(pixels, 2, kind="kmeans", by_shape=True, seed=0)
    same = (labels.numpy() == kind).mean()
    assert max(same, 1 - same) > 0.999
    means = cluster_means(pixels, labels)
    assert sorted(means.argmax(0).tolist()) == [1, 4]


@pytest.mark.parametrize(
    ("option", "words"), [({"kind": "dbscan"}, "kind"), ({"by_shape": 1}, "by_shape")]
)
def test_bad_parameters(option, words):
    with pytest.raises(ParameterError, match=words):
        grains()[0].S.separate_clusters(n_components=3, **option)
