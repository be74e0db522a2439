"""Large images: spectra from a sample of tiles, maps in bands of pixels, lazily chunk by chunk."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from planted import CENTRES, ENERGY, family, image, odd, peak, truth, wrong
from scipy.ndimage import gaussian_filter

from arpes_ml_plugins import SpectrumLibrary, replay
from arpes_ml_plugins.errors import DataError
from arpes_ml_plugins.labelled import pixels, tiles
from arpes_ml_plugins.methods import separation_run

dask = pytest.importorskip("dask")
pytestmark = odd

SHAPE = (66, 71)
OF_PIXELS = ("maps", "maps_stderr", "reconstruction", "residual", "residual_chi2")
CHUNKS = [{"y": 20, "x": 33}, {"y": 7, "eV": 13}, {"x": (70, 1)}]


@pytest.fixture
def small_tiles(monkeypatch):
    """A sample of 16 x 64 pixels, and bands of a few rows."""
    monkeypatch.setattr(tiles, "TILES", 16)
    monkeypatch.setattr(tiles, "SIDE", 8)
    monkeypatch.setattr(tiles, "OUTSTANDING", 4)
    monkeypatch.setattr(pixels, "BAND", 300)


def planted(counted=False):
    spectra, maps = truth(shape=SHAPE)
    data = image(spectra, maps)
    if counted:
        data[:] = np.random.default_rng(2).poisson(data.clip(0))
    data[3, 4, 7] = 4e4  # a cosmic ray
    data[20, 30, :9] = np.nan
    data[40:44, 50] = np.nan
    return data, spectra


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("name", ["separate_gmca", "separate_nmf"])
def test_in_pieces_as_together(name, counted, monkeypatch):
    data, spectra = planted(counted)
    options = {"n_components": 3, "rng": 0, "shift": False}
    together = getattr(data.S, name)(**options)
    monkeypatch.setattr(tiles, "TILES", 32)
    monkeypatch.setattr(tiles, "SIDE", 8)
    monkeypatch.setattr(pixels, "BAND", 300)
    pieces = getattr(data.S, name)(**options)
    assert wrong(pieces, spectra) < 3 * wrong(together, spectra) + 1e-4
    for variable in OF_PIXELS:
        assert pieces[variable].dims == together[variable].dims
        xr.testing.assert_equal(pieces[variable].isnull(), together[variable].isnull())
    change = pieces.reconstruction - together.reconstruction
    assert float((change**2).mean()) ** 0.5 < 0.3 * float((together.residual**2).mean()) ** 0.5
    assert float(abs(pieces.residual_chi2 - together.residual_chi2).mean()) < 0.05
    assert np.nanmean(pieces.maps_stderr) == pytest.approx(
        np.nanmean(together.maps_stderr), rel=0.3
    )


@pytest.mark.parametrize("chunks", CHUNKS)
def test_chunks_do_not_change_anything(chunks, small_tiles):
    data, _ = planted()
    eager = data.S.separate_gmca(n_components=3, rng=0)
    with dask.config.set(scheduler=_refuse):
        lazy = data.chunk(chunks).S.separate_gmca(n_components=3, rng=0)
    for variable in OF_PIXELS:
        assert lazy[variable].data.npartitions > 1
    computed = lazy.compute(scheduler="synchronous")
    for variable in (*OF_PIXELS, "spectra", "spectra_stderr"):
        unit = "maps" if variable.startswith("re") else variable
        size = float(abs(eager[unit]).max())
        xr.testing.assert_allclose(computed[variable], eager[variable], rtol=0, atol=1e-6 * size)
    assert computed.status.item() == eager.status.item()
    assert list(computed.variables) == list(eager.variables)


def _refuse(*args, **kwargs):
    raise AssertionError("computed")


def test_types_names_mask_and_replay(small_tiles):
    data, _ = planted(counted=True)
    counts = data.fillna(0).astype(np.int32).rename(y="spectra position")
    mask = xr.DataArray(np.arange(SHAPE[1]) < 60, dims="x")
    options = {"n_components": 3, "mask": mask, "rng": 0}
    eager = counts.S.separate_nmf(**options)
    assert eager.maps.dtype == eager.reconstruction.dtype == np.float32
    assert eager.reconstruction.dims == counts.dims
    assert eager.maps.isel(x=slice(60, None)).isnull().all()
    assert eager.maps.isel(x=slice(60)).notnull().all()
    lazy = counts.chunk({"spectra position": 25}).S.separate_nmf(**options).compute()
    np.testing.assert_allclose(lazy.maps, eager.maps, atol=1e-3)
    xr.testing.assert_equal(replay(eager, counts), eager)


def test_momentum_as_channels_and_a_third_axis_of_space(small_tiles):
    rng = np.random.default_rng(0)
    spectra = rng.random((2, 5, 6))
    maps = 50 * rng.exponential(size=(2, 3, 40, 41)) * (rng.random((2, 3, 40, 41)) < 0.4)
    values = np.einsum("nek,ntyx->tyexk", spectra, maps)
    values += rng.normal(size=values.shape)
    data = xr.DataArray(values, {"eV": np.arange(5.0)}, ("temperature", "y", "eV", "x", "kx"))
    eager = data.S.separate_gmca(n_components=2, channels=("kx",), rng=0)
    assert eager.maps.dims == ("component", "temperature", "y", "x")
    assert float(eager.residual_chi2.mean()) == pytest.approx(1, abs=0.05)
    lazy = data.chunk(temperature=1, y=17).S.separate_gmca(n_components=2, channels=("kx",), rng=0)
    np.testing.assert_allclose(lazy.maps.compute(), eager.maps, atol=1e-4)


@pytest.mark.parametrize("where", ["grain", "scattered"])
def test_a_component_in_few_pixels_is_found(where, monkeypatch):
    """One that 0.2 % of the pixels hold: all pixels at once give 0.6 degrees for the grain."""
    monkeypatch.setattr(tiles, "TILES", 16)
    monkeypatch.setattr(tiles, "SIDE", 16)
    monkeypatch.setattr(tiles, "OUTSTANDING", 4)
    rng, shape = np.random.default_rng(71), (192, 192)
    rare = np.zeros(shape)
    if where == "grain":
        rare[71:80, 117:125] = 1
    else:
        rare[rng.random(shape) < 0.002] = 1
    first = gaussian_filter(rng.normal(size=shape), 8) > 0
    maps = np.stack([first * (1 - rare), ~first * (1 - rare), rare], -1)
    spectra = np.stack([peak(centre) for centre in (-1.3, -0.5, 0.2)])
    data = image(spectra, 100 * maps, noise=3.0)
    share = np.einsum("tyxe,e->tyx", tiles.sampled(data, ("eV",)).transpose(..., "eV"), _own(2))
    if where == "grain":  # which evenly spaced tiles miss
        assert int((share > 50).sum()) == 72
    result = data.S.separate_gmca(n_components=3, rng=0, shift=False)
    assert _angle(result, spectra[2]) < 2.0


def _own(number):
    """What a spectrum is multiplied by to give the map of one component."""
    return np.linalg.pinv(np.stack([peak(centre) for centre in (-1.3, -0.5, 0.2)]).T)[number]


def _angle(result, spectrum):
    """The smallest one between a spectrum and those of the result, in degrees."""
    rows = result.spectra.transpose("component", "eV").values
    cosine = rows @ spectrum / np.linalg.norm(rows, axis=1) / np.linalg.norm(spectrum)
    return float(np.degrees(np.arccos(cosine.max().clip(-1, 1))))


def test_shifts_are_corrected_or_reported(small_tiles, monkeypatch):
    spectra, maps = truth(shape=SHAPE)
    ramp = np.linspace(-0.25, 0.25, SHAPE[1])
    mixed = np.stack(
        [
            np.stack([np.interp(ENERGY - s, ENERGY, one) for one in spectra]).T @ maps[:, i].T
            for i, s in enumerate(ramp)
        ]
    )  # (x, eV, y)
    noisy = mixed + np.random.default_rng(0).normal(size=mixed.shape)
    data = xr.DataArray(noisy, {"eV": ENERGY}, ("x", "eV", "y"))

    def all_pixels(*args, **options):
        raise InterruptedError

    monkeypatch.setattr(separation_run, "map_mixture", all_pixels)
    with pytest.raises(InterruptedError):  # neighbours far away are needed
        data.S.separate_gmca(n_components=3, rng=0)
    lazy = data.chunk(x=30).S.separate_gmca(n_components=3, rng=0)
    assert "load the data" in lazy.status.compute().item()


def test_infinite_values_are_refused(small_tiles):
    data, _ = planted()
    data[60, 60, 3] = np.inf
    lazy = data.chunk(y=30).S.separate_nmf(n_components=3, rng=0)
    with pytest.raises(DataError, match="infinite"):
        lazy.maps.compute(scheduler="synchronous")


def test_a_library_in_pieces(small_tiles):
    data, spectra = planted()
    library = SpectrumLibrary(
        {
            name: xr.DataArray(family(centre).numpy(), {"eV": ENERGY}, ("sample", "eV"))
            for name, centre in CENTRES.items()
        }
    )
    result = data.S.separate_sgmca(library=library, rng=0)
    assert wrong(result, spectra) < 1e-6
    lazy = data.chunk(y=30).S.separate_sgmca(library=library, rng=0)
    np.testing.assert_allclose(lazy.maps.compute(), result.maps, atol=1e-4)


def test_known_spectra_of_lazy_data_chunk_by_chunk(small_tiles):
    data, spectra = planted(counted=True)
    data[3, 4, 7] = np.nan
    known = {n: xr.DataArray(s, {"eV": ENERGY}, "eV") for n, s in zip("abc", spectra, strict=True)}
    with dask.config.set(scheduler=_refuse):
        lazy = data.chunk(y=20).S.unmix(spectra=known)
    assert lazy.maps.data.npartitions > 1
    eager = data.S.unmix(spectra=known)
    lazy = lazy.compute(scheduler="synchronous")
    for variable in (*OF_PIXELS, "status"):
        xr.testing.assert_allclose(lazy[variable], eager[variable])


def test_components_of_lazy_data_are_counted_in_a_sample(small_tiles):
    data, _ = planted()
    eager = data.S.choose_components(max_components=4, rng=0)
    assert eager.recommended.item() == 3
    lazy = data.chunk(y=20).S.choose_components(max_components=4, rng=0)
    xr.testing.assert_equal(lazy.compute(scheduler="synchronous"), eager)
