"""Noise of counts down to zero: chi^2 of right answers is 1, errors hold, and nothing is warned of.

The energy axis ends above the Fermi level, where channels have hardly any count or none.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from arpes_ml_plugins import SpectrumLibrary
from arpes_ml_plugins.errors import DistributionWarning
from arpes_ml_plugins.separation.goodness import active_leverage, weighted_leverage
from arpes_ml_plugins.separation.value_noise import value_noise

ENERGY = np.linspace(-4, 2, 48)
CENTRES = {"a": -1.4, "b": -0.6, "c": 0.0}
SIZE = 32
DETECTORS = {"counts": (1, 0), "gain": (26, 0), "read noise": (1, 0.5)}


def spectra(dark=0.0):
    """Three doublets that end at the Fermi level."""
    lines = [
        np.exp(-(((ENERGY - c) / 0.3) ** 2)) + 0.75 * np.exp(-(((ENERGY - c + 1.6) / 0.3) ** 2))
        for c in CENTRES.values()
    ]
    return (np.stack(lines) + 0.1) / (1 + np.exp((ENERGY - 0.4) / 0.03)) + dark


def maps(kind):
    row, column = np.indices((SIZE, SIZE))
    left, top = column < 12, row < 16
    regions = np.stack([left, 0.8 * (~left & top), 0.6 * (~left & ~top)])
    rng = np.random.default_rng(0)
    if kind == "smooth":
        phase = rng.uniform(0, 6, (3, 2, 1, 1))
        waves = np.sin(row / 5 + phase[:, 0]) * np.sin(column / 6 + phase[:, 1])
        return 1 + 0.9 * waves
    if kind == "speckled":  # a fifth of the pixels are empty
        return regions * (rng.random((SIZE, SIZE)) > 0.2)
    return regions


def measured(counts, detector="counts", kind="regions", seed=0, dark=0.0):
    """The image, and the true maps for spectra of largest value 1."""
    gain, read = DETECTORS[detector]
    rate = np.einsum("kyx,ke->yxe", maps(kind), spectra(dark))
    scale = counts / rate.max()
    rng = np.random.default_rng(seed)
    values = gain * rng.poisson(scale * rate) + read * rng.standard_normal(rate.shape)
    true = gain * scale * maps(kind) * spectra(dark).max(1)[:, None, None]
    return xr.DataArray(values, {"eV": ENERGY}, ("y", "x", "eV")), true


def known(dark=0.0):
    return {
        name: xr.DataArray(spectrum, {"eV": ENERGY}, ("eV",))
        for name, spectrum in zip(CENTRES, spectra(dark), strict=True)
    }


def as_cube(image):
    cube = torch.from_numpy(np.moveaxis(image.values, -1, 0).copy())
    return cube, torch.ones_like(cube, dtype=torch.bool)


@pytest.mark.parametrize("kind", ["regions", "smooth", "speckled"])
@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("counts", [1, 10, 1000])
def test_known_spectra_have_chi2_of_one(counts, detector, kind):
    image, true = measured(counts, detector, kind, seed=counts, dark=0.001)
    result = image.S.unmix(spectra=known(0.001))  # and no warning
    assert float(result.residual_chi2.mean()) == pytest.approx(1, abs=0.06)
    brightness = true.sum(0).ravel()
    assert abs(np.corrcoef(result.residual_chi2.values.ravel(), brightness)[0, 1]) < 0.2
    pulls = ((result.maps.values - true) / result.maps_stderr.values)[true > 0]
    assert 0.75 < np.sqrt(np.mean(pulls**2)) < 1.25  # maps that must not be negative have less


@pytest.mark.parametrize("counts", [10, 100])
@pytest.mark.parametrize("detector", ["counts", "gain"])
def test_one_spectrum_too_few_is_told(counts, detector):
    image, _ = measured(counts, detector, "smooth")
    few = {name: spectrum for name, spectrum in known().items() if name != "c"}
    with pytest.warns(DistributionWarning, match="do not explain"):
        result = image.S.unmix(spectra=few)
    assert float(result.residual_chi2.mean()) > 1.2


@pytest.mark.parametrize("width", [0.3, 0.5])
@pytest.mark.parametrize("counts", [100, 1000])
def test_lines_without_a_background_have_chi2_of_one(counts, width):
    """Most pixels are dark where a line is, and say nothing of the noise of the bright ones."""

    def line(centre):
        return np.exp(-(((ENERGY - centre) / width) ** 2))

    doublets = np.stack([line(centre) + 0.75 * line(centre - 1.6) for centre in CENTRES.values()])
    rate = counts * np.einsum("kyx,ke->yxe", maps("regions"), doublets)
    values = np.random.default_rng(counts).poisson(rate) * 1.0
    image = xr.DataArray(values, {"eV": ENERGY}, ("y", "x", "eV"))
    result = image.S.separate_nmf(n_components=3, shift=False, rng=0)
    assert float(result.residual_chi2.mean()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("counts", [pytest.param(3, marks=pytest.mark.slow), 100])
@pytest.mark.parametrize("method", ["separate_sgmca", "separate_gmca"])
@pytest.mark.filterwarnings("ignore:.*uncertain:arpes_ml_plugins.errors.DistributionWarning")
def test_separated_spectra_and_maps_have_errors_that_hold(method, counts):
    """Channels without any count are as good as others: nothing is left out."""
    spectra_pulls, map_pulls = [], []
    for seed in range(3):
        image, true = measured(counts, seed=seed)
        if method == "separate_sgmca":
            library = SpectrumLibrary.from_spectra(known(), shift=0.1, broaden=0.1, count=100)
            result = image.S.separate_sgmca(library=library, rng=0)
        else:
            result = image.S.separate_gmca(n_components=3, rng=0)
        assert (image == 0).all(("y", "x")).any()
        blind = method == "separate_gmca"
        told = result.status.item()
        assert told == "ok" or (blind and counts == 3 and "uncertain" in told)
        assert float(result.residual_chi2.mean()) == pytest.approx(1, abs=0.05)
        truth = spectra() / spectra().max(1, keepdims=True)
        order = (truth @ result.spectra.values.T).argmax(1)
        assert (result.spectra_stderr > 0).all()
        wide = truth > 1e-3
        off = (result.spectra.values[order] - truth) / result.spectra_stderr.values[order]
        spectra_pulls.append(off[wide])
        off = (result.maps.values[order] - true) / result.maps_stderr.values[order]
        map_pulls.append(off[true > 0])
    least = 0.3 if method == "separate_sgmca" else 0.75  # the sampling of a library is a bound
    assert least < np.sqrt(np.mean(np.square(spectra_pulls))) < 1.3
    assert 0.8 < np.sqrt(np.mean(np.square(map_pulls))) < 1.2


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("kind", ["regions", "smooth", "speckled"])
def test_gain_of_the_noise(detector, kind):
    image, _ = measured(10, detector, kind)
    gain, read = DETECTORS[detector]
    found = value_noise(*as_cube(image))
    assert found.gain == pytest.approx(gain, rel=0.08)
    assert found.read == pytest.approx(read**2, abs=0.03)


def test_pixels_in_no_order_and_hot_values_do_not_change_the_gain():
    image, _ = measured(30, kind="smooth")
    cube, valid = as_cube(image)
    mixed = torch.randperm(SIZE * SIZE, generator=torch.Generator().manual_seed(0))
    cube = cube.flatten(1)[:, mixed].unflatten(1, (SIZE, SIZE))
    assert value_noise(cube, valid).gain == pytest.approx(1, rel=0.06)
    cube = as_cube(image)[0]
    cube[::5, 3, 4] = 1e5
    assert value_noise(cube, valid).gain == pytest.approx(1, rel=0.06)


@pytest.mark.parametrize("kernel", [(0.5, 0.5), (0.25, 0.5, 0.25)])
def test_energies_that_were_interpolated_keep_their_noise(kernel):
    """Neighbouring channels then share noise, and all but explain each other."""
    image, _ = measured(100, kind="smooth", dark=0.1)
    image.values[:] = np.apply_along_axis(np.convolve, -1, image.values, kernel, "same")
    assert value_noise(*as_cube(image)).gain == pytest.approx(sum(k**2 for k in kernel), rel=0.1)
    smooth = {n: s.copy(data=np.convolve(s, kernel, "same")) for n, s in known(0.1).items()}
    result = image.S.unmix(spectra=smooth)
    assert float(result.residual_chi2.mean()) == pytest.approx(1, abs=0.1)


def test_a_count_in_a_dark_channel_is_not_hot():
    image, _ = measured(300)
    dark = int((image > 0).any(("y", "x")).values.nonzero()[0].max()) + 1
    image[5, 6, dark] = 1.0
    result = image.S.separate_gmca(n_components=3, rng=0)
    assert result.status.item() == "ok"
    image[5, 6, dark] = 500.0
    with pytest.warns(DistributionWarning, match="1 hot value was left out"):
        image.S.separate_gmca(n_components=3, rng=0)


@pytest.mark.parametrize("method", ["separate_gmca", "separate_nmf", "separate_clusters"])
def test_no_families_are_blamed_if_there_are_none(method):
    image, _ = measured(100, kind="smooth")
    with pytest.warns(DistributionWarning, match="do not explain") as caught:
        getattr(image.S, method)(n_components=2, rng=0)
    text = str(caught[0].message)
    assert "families" not in text
    assert ("mixtures of the clusters" in text) == (method == "separate_clusters")


def test_leverages():
    """Shares of the variance that a fit takes: their sum is the number of fitted components."""
    draw = torch.Generator().manual_seed(0)
    mixing = torch.rand(12, 3, generator=draw, dtype=torch.float64)
    sources = torch.tensor([[1.0, 0, 2, 0], [1, 1, 0, 0], [1, 0, 1, 0]], dtype=torch.float64)
    plain = active_leverage(mixing, sources)
    torch.testing.assert_close(plain.sum(0), torch.tensor([3.0, 1, 2, 0]).double())
    weights = 0.5 + torch.rand(12, 4, generator=draw, dtype=torch.float64)
    torch.testing.assert_close(
        weighted_leverage(weights, mixing, sources).sum(0), plain.sum(0), atol=1e-6, rtol=0
    )
    same = weighted_leverage(torch.ones_like(weights), mixing, sources)
    torch.testing.assert_close(same, plain, atol=1e-6, rtol=0)


def two_lines(shape):
    """Counts of two components in a few pixels."""
    energy = np.linspace(-1, 1, 40)
    rng = np.random.default_rng(11)
    share = rng.random(shape)[..., None] ** 2
    left, right = (np.exp(-(((energy - centre) / 0.25) ** 2)) + 0.05 for centre in (-0.4, 0.4))
    counts = rng.poisson(30 * (share * left + (1 - share) * right))
    return xr.DataArray(counts * 1.0, {"eV": energy}, (*"xy"[: len(shape)], "eV"))


@pytest.mark.filterwarnings("ignore:separate_nmf:arpes_ml_plugins.errors.DistributionWarning")
@pytest.mark.parametrize(("shape", "units"), [((16,), 1.0), ((7, 7), 1.0), ((7, 7), 12.0)])
def test_chi2_of_raw_counts_needs_few_pixels(shape, units):
    """Two components in so few pixels that their noise cannot be measured; one is too few."""
    data = units * two_lines(shape)
    chi2 = [
        float(data.S.separate_nmf(n_components=n, shift=False, rng=0).residual_chi2.mean())
        for n in (2, 1)
    ]
    assert 0.8 < chi2[0] < 1.2
    assert chi2[1] > 2


@pytest.mark.filterwarnings("ignore:separate_nmf:arpes_ml_plugins.errors.DistributionWarning")
def test_few_pixels_of_which_none_is_complete():
    data = two_lines((16,))
    data.values[np.arange(16), np.arange(16)] = np.nan
    result = data.S.separate_nmf(n_components=2, shift=False, rng=0)
    assert bool(np.isfinite(result.spectra).all())
