"""Blind separations begin again where they miss a component that the data show."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.ndimage import gaussian_filter
from scipy.optimize import linear_sum_assignment

import arpes_ml_plugins  # noqa: F401
from arpes_ml_plugins.separation.polish import polish_on_pixels
from arpes_ml_plugins.separation.restarts import misses, restarted
from arpes_ml_plugins.separation.value_noise import value_noise
from arpes_ml_plugins.separation.whiten import Whitened, whiten

ENERGY = np.linspace(-3, 3, 60)


def doublet(centre: float, width: float) -> np.ndarray:
    def peak(place: float) -> np.ndarray:
        return np.exp(-(((ENERGY - place) / width) ** 2))

    return peak(centre) + 0.7 * peak(centre - 1.2) + 0.1


def covered(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Spectra of grains that cover the surface, with blurred edges, and the expected values: edges
    are differences of spectra, and hold one dimension less than pixels.
    """
    rng = np.random.default_rng(seed)
    each = zip(np.linspace(-0.6, 1.9, count), rng.uniform(0.2, 0.4, count), strict=True)
    spectra = np.stack([doublet(centre, width) for centre, width in each])
    owner = gaussian_filter(rng.standard_normal((count, 40, 40)), (0, 3, 3)).argmax(0)
    maps = [gaussian_filter((owner == i) * 1.0, 0.7) for i in range(count)]
    return spectra, np.einsum("kyx,ke->yxe", np.stack(maps), spectra)


def worst_angle(found: np.ndarray, spectra: np.ndarray) -> float:
    one, other = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (found, spectra))
    cosine = one @ other.T
    least = cosine[linear_sum_assignment(-cosine)].min()
    return float(np.degrees(np.arccos(min(least, 1))))


def whitened(counts: np.ndarray) -> Whitened:
    cube = torch.from_numpy(counts).permute(2, 0, 1).contiguous()
    whole = torch.ones(cube.shape[1:], dtype=torch.bool)
    return whiten(cube, whole, by_value=value_noise(cube, whole.expand_as(cube)))


@pytest.mark.filterwarnings("ignore:.*not determined:arpes_ml_plugins.errors.DistributionWarning")
@pytest.mark.parametrize(("method", "seed", "counts"), [("gmca", 8, 1000), ("palm", 6, 5000)])
def test_grains_that_cover_the_surface_do_not_collapse(method, seed, counts):
    spectra, rate = covered(seed, 2)
    values = np.random.default_rng(seed).poisson(counts * rate / rate.max()) * 1.0
    data = xr.DataArray(values, {"eV": ENERGY}, ("y", "x", "eV"))
    result = getattr(data.S, f"separate_{method}")(n_components=2, shift=False, rng=0)
    assert worst_angle(result.spectra.values, spectra) < 1
    assert float(result.residual_chi2.mean()) < 1.1


def test_spectra_that_explain_the_data_are_kept():
    spectra, rate = covered(1, 3)
    data = whitened(np.random.default_rng(1).poisson(300 * rate) * 1.0)
    right = torch.from_numpy(spectra.T)[data.kept] / data.noise[data.kept][:, None]
    right = polish_on_pixels(data.pixels, right / right.norm(dim=0), True, 20)
    assert not misses(data, right)
    assert restarted(data, right, right) is right


def test_spectra_that_miss_a_component_are_replaced():
    spectra, rate = covered(1, 3)
    data = whitened(np.random.default_rng(1).poisson(300 * rate) * 1.0)
    right = torch.from_numpy(spectra.T)[data.kept] / data.noise[data.kept][:, None]
    lost = right / right.norm(dim=0)
    lost[:, 2] = (lost[:, 0] - lost[:, 1]) / (lost[:, 0] - lost[:, 1]).norm()
    assert misses(data, lost)
    better = restarted(data, lost, lost)
    assert not misses(data, better)
    found = (better * data.noise[data.kept][:, None]).mT.numpy()
    assert worst_angle(found, spectra[:, data.kept.numpy()]) < 1
