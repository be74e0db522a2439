"""Components that are images of energy and momentum, in maps of cuts."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from arpes_ml_plugins import SpectrumLibrary, plotting
from arpes_ml_plugins.errors import AxisError, ParameterError

ENERGY, MOMENTUM = np.linspace(-0.6, 0.2, 16), np.linspace(-0.5, 0.5, 10)


def band(bottom, mass, energy=ENERGY, momentum=MOMENTUM):
    """A parabola below the Fermi level, along energy and momentum."""
    line = bottom + momentum**2 / mass
    values = np.exp(-(((energy[:, None] - line) / 0.08) ** 2)) / (
        1 + np.exp(energy[:, None] / 0.02)
    )
    return xr.DataArray(values + 0.02, {"eV": energy, "kx": momentum}, ("eV", "kx"))


BANDS = {"film": (-0.5, 0.6), "substrate": (-0.35, -1.2), "edge": (-0.15, 1e9)}


def cuts(shape=(12, 11), noise=0.5, seed=0):
    """A map of cuts, grains of three materials, and the true images."""
    rng = np.random.default_rng(seed)
    images = np.stack([band(*one).values for one in BANDS.values()])
    maps = 50 * rng.exponential(size=(*shape, 3)) * (rng.random((*shape, 3)) < 0.5)
    values = np.einsum("yxn,nek->yxek", maps, images)
    values += noise * rng.normal(size=values.shape)
    data = xr.DataArray(values, {"eV": ENERGY, "kx": MOMENTUM}, ("y", "x", "eV", "kx"))
    return data, images, maps


def library_of(*names):
    """Bands whose bottoms are known within 40 meV."""
    families = {}
    for name in names:
        bottom, mass = BANDS[name]
        families[name] = xr.concat(
            [band(bottom + d, mass) for d in np.linspace(-0.05, 0.03, 40)], "sample"
        )
    return SpectrumLibrary(families)


def cosines(result, images):
    found = result.spectra.transpose("component", "eV", "kx").values.reshape(len(images), -1)
    truth = images.reshape(len(images), -1)
    found, truth = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (found, truth))
    return (found @ truth.T).max(1)


def test_libraries_of_images():
    library = library_of("film", "edge")
    assert library.channels == ("kx",)
    assert repr(library).endswith("eV: 16 points, -0.6 to 0.2, kx: 10 points, -0.5 to 0.5)")
    finer = library.on(library.energy[2:-2], library["film"].kx[::-1])
    assert finer["film"].shape == (40, 12, 10)
    np.testing.assert_allclose(finer["film"].kx, MOMENTUM[::-1])
    one = SpectrumLibrary.from_spectra(
        {"film": band(-0.5, 0.6)}, shift=0.1, broaden=0.1, count=30, channels=("kx",)
    )
    assert one["film"].dims == ("sample", "eV", "kx")
    lowest = one["film"].sel(kx=0, method="nearest").idxmax("eV")
    assert 0.1 < float(np.ptp(lowest.values)) < 0.25


@pytest.mark.parametrize(
    ("method", "option"),
    [
        ("separate_sgmca", {"library": library_of("film", "substrate"), "n_components": 3}),
        ("separate_palm", {"library": library_of("film", "substrate", "edge")}),
        ("separate_sgmca", {"library": library_of("edge", "film", "substrate")}),
    ],
)
def test_semi_blind_in_one_line(method, option):
    """The channels are those of the library."""
    data, images, _ = cuts()
    result = getattr(data.S, method)(rng=0, **option)
    assert result.spectra.dims == ("component", "eV", "kx")
    assert result.maps.dims == ("component", "y", "x")
    assert result.status.item() == "ok"
    assert cosines(result, images).min() > 0.999


def test_blind_and_again_with_what_was_found():
    data, images, _ = cuts()
    blind = data.transpose("kx", "y", "x", "eV").S.separate_nmf(
        n_components=3, channels=("kx",), rng=0
    )
    library = SpectrumLibrary.from_blind(blind, leak=0.1, shift=0.02)
    assert library.channels == ("kx",)
    result = data.S.separate_sgmca(library=library, rng=0)
    assert cosines(result, images).min() > 0.99
    again = data.S.unmix(spectra=result.spectra)
    np.testing.assert_allclose(again.maps, result.maps, atol=0.05 * float(result.maps.max()))


def test_spectra_of_images_fixed_or_not_at_all():
    data, images, _ = cuts()
    fixed = SpectrumLibrary.from_spectra({"film": band(*BANDS["film"])}, channels=("kx",))
    result = data.S.separate_sgmca(library=fixed, n_components=3, rng=0)
    np.testing.assert_allclose(result.spectra[0] / result.spectra[0].max(),
                               images[0] / images[0].max(), atol=1e-9)  # fmt: skip
    assert cosines(result, images).min() > 0.999
    whole = data.S.choose_components(channels=("kx",), max_components=5, rng=0)
    assert int(whole.recommended) == 3


@pytest.mark.filterwarnings("ignore:separate_:arpes_ml_plugins.errors.DistributionWarning")
def test_channels_that_are_forgotten_are_pointed_out():
    data, *_ = cuts()
    for method in ("separate_gmca", "choose_components"):
        option = {"n_components": 3} if method == "separate_gmca" else {}
        with pytest.raises(
            AxisError, match=r"'kx' beside the space 'y' and 'x'.*channels=\('kx',\)"
        ):
            getattr(data.S, method)(**option)
    line = data.isel(x=0, y=slice(4))
    apart = line.S.separate_gmca(n_components=2, channels=(), rng=0, transform="none")
    assert apart.maps.dims == ("component", "y", "kx")
    with pytest.raises(ParameterError, match="tuple"):
        data.S.separate_gmca(n_components=3, channels="kx")


def test_libraries_that_do_not_fit():
    data, *_ = cuts()
    with pytest.raises(AxisError, match="'eV' and 'kx', those of the data 'eV'"):
        data.S.separate_sgmca(library=library_of("film"), channels=())
    with pytest.raises(AxisError, match="along 'kx'"):
        data.assign_coords(kx=MOMENTUM * 3).S.separate_sgmca(library=library_of("film"))
    with pytest.raises(AxisError, match="no dimension 'ky'"):
        SpectrumLibrary.from_spectra({"film": band(-0.5, 0.6)}, channels=("ky",))


def test_they_are_drawn():
    data, *_ = cuts()
    result = data.S.separate_nmf(n_components=3, channels=("kx",), rng=0)
    figure = plotting.components(result)
    meshes = [ax for ax in figure.axes if ax.collections]
    assert len(meshes) >= 7  # three spectra, three maps, chi^2
    plt.close(figure)
