"""Spectra that are known exactly: some beside free ones, or all of them (``unmix``)."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from planted import CENTRES, ENERGY, family, image, odd, peak, truth, wrong

from arpes_ml_plugins import SpectrumLibrary, unmix
from arpes_ml_plugins.errors import AxisError, DataError, ParameterError


def labelled(values):
    return xr.DataArray(values, {"eV": ENERGY}, "eV")


def library_of(spectra, fixed):
    """Families, and in the place of those of ``fixed`` the true spectra."""
    found = {}
    for i, (name, centre) in enumerate(CENTRES.items()):
        rows = spectra[i][None] if name in fixed else family(centre).numpy()
        found[name] = xr.DataArray(rows, {"eV": ENERGY}, ("sample", "eV"))
    return SpectrumLibrary(found)


def test_single_spectra_are_fixed():
    gold = SpectrumLibrary.from_spectra({"gold": labelled(peak(0.0))})
    assert gold.fixed == ("gold",)
    both = SpectrumLibrary.from_spectra({"a": labelled(peak(-1.0))}, shift=0.1, count=5) | gold
    assert list(both) == ["a", "gold"]
    assert both.fixed == ("gold",)
    assert repr(both).startswith("SpectrumLibrary(a: 5 spectra, gold: fixed; eV")
    with pytest.raises(TypeError):
        both | 3


@pytest.mark.filterwarnings("ignore:separate_sgmca:arpes_ml_plugins.errors.DistributionWarning")
@pytest.mark.parametrize("fixed", ["a", "abc"])
def test_fixed_spectra_stay(fixed):
    """Also a little wrong ones, which the data would correct: nothing but the maps follows."""
    spectra, maps = truth(shape=(20, 24))
    spectra_given = spectra.copy()
    spectra_given[0] = peak(CENTRES["a"] + 0.02)
    library = library_of(spectra_given, fixed)
    result = image(spectra, maps, noise=0.3).S.separate_sgmca(library=library, rng=0, shift=False)
    for i, name in enumerate(CENTRES):
        given = spectra_given[i] / spectra_given[i].max()
        found = result.spectra.sel(component=name)
        if name in fixed:
            np.testing.assert_allclose(found, given, atol=1e-9)
            assert float(result.spectra_stderr.sel(component=name).max()) == 0
        else:
            assert float(result.spectra_stderr.sel(component=name).min()) > 0
            assert float(np.abs(found - spectra[i] / spectra[i].max()).max()) < 0.05


@pytest.mark.parametrize(
    ("method", "option"),
    [("separate_palm", {}), ("separate_lpalm", {"training_steps": 20, "layers": 6})],
)
def test_every_method_with_a_library_keeps_them(method, option):
    spectra, maps = truth(shape=(20, 24))
    data = image(spectra, maps)
    result = getattr(data.S, method)(library=library_of(spectra, "b"), rng=0, **option)
    np.testing.assert_allclose(
        result.spectra.sel(component="b"), spectra[1] / spectra[1].max(), atol=1e-9
    )
    assert wrong(result, spectra) < 0.02


def test_a_fixed_spectrum_that_is_not_there_is_told():
    spectra, maps = truth(shape=(20, 24))
    other = library_of(spectra, "bc") | SpectrumLibrary.from_spectra(
        {"a": labelled(peak(0.8, 0.1))}
    )
    with pytest.warns(match="'a'"):
        result = image(spectra, maps).S.separate_sgmca(library=other, rng=0, shift=False)
    assert "chi^2" in result.status.item()
    assert float(result.spectra.sel(component="a").idxmax("eV")) == pytest.approx(0.8, abs=0.08)


# -- all of them ---------------------------------------------------------------------------------


@pytest.mark.parametrize("counts", [3, 100])
def test_maps_of_known_spectra_and_their_errors(counts):
    """Counts: errors are those of each value, and as large as the scatter."""
    spectra, maps = truth(shape=(12, 12))
    maps = counts / 100 * (maps.repeat(4, 0).repeat(4, 1) + 20)  # grains
    drawn = np.random.default_rng(5).poisson(maps @ spectra).astype(float)
    data = xr.DataArray(drawn, {"eV": ENERGY}, ("y", "x", "eV"))
    known = xr.DataArray(spectra, {"component": list("abc"), "eV": ENERGY}, ("component", "eV"))
    result = data.S.unmix(spectra=known)
    assert result.component.values.tolist() == list("abc")
    assert result.status.item() == "ok"
    assert float(result.residual_chi2.mean()) == pytest.approx(0.95, abs=0.15)
    assert float(result.maps.min()) >= 0
    truly = np.moveaxis(maps * spectra.max(1), -1, 0)
    pulls = ((result.maps.values - truly) / result.maps_stderr.values)[truly > 0.3 * counts]
    assert 0.85 < float(pulls.std()) < 1.15
    assert abs(float(pulls.mean())) < 0.15


@pytest.mark.filterwarnings("ignore:unmix:arpes_ml_plugins.errors.DistributionWarning")
def test_spectra_of_one_map_in_another():
    spectra, maps = truth(shape=(48, 32))
    data = image(spectra, maps)
    parts = data[:32].S.separate_gmca(n_components=3, rng=0)
    others = unmix(data[32:], spectra=parts.spectra)
    assert (others.component == parts.component).all()
    np.testing.assert_allclose(others.spectra, parts.spectra, atol=1e-9)
    order = [int(np.argmin(np.abs(ENERGY[s.argmax()] - parts.spectra.idxmax("eV").values)))
             for s in spectra]  # fmt: skip
    truly = np.moveaxis(maps[32:], -1, 0) * spectra.max(1)[:, None, None]
    assert float(np.abs(others.maps.values[order] - truly).mean()) < 1.0
    few = unmix(data[32:33, :3], spectra=parts.spectra.isel(eV=slice(None, None, -1)))
    np.testing.assert_allclose(few.maps, others.maps[:, :1, :3], atol=2.0)


def test_missing_values_have_no_weight():
    spectra, maps = truth(shape=(20, 24))
    data = image(spectra, maps)
    whole = unmix(data, spectra={n: labelled(s) for n, s in zip("abc", spectra, strict=True)})
    holed = data.copy(deep=True)
    holed[3, 4, ::2], holed[5, 6], holed[7, 8, 2:] = np.nan, np.nan, np.nan
    result = unmix(holed, spectra=whole.spectra)
    assert result.maps.isnull().sum() == 6
    np.testing.assert_allclose(result.maps[:, 3, 4], whole.maps[:, 3, 4], atol=3)
    assert (result.maps_stderr[:, 3, 4] > 1.2 * whole.maps_stderr[:, 3, 4]).all()


@odd
@pytest.mark.filterwarnings("ignore:unmix:arpes_ml_plugins.errors.DistributionWarning")
def test_what_known_spectra_do_not_explain_is_told():
    spectra, maps = truth(shape=(20, 24))
    named = {n: labelled(s) for n, s in zip("abc", spectra, strict=True)}
    data = image(spectra, maps)
    assert "chi^2" in unmix(data, spectra={n: named[n] for n in "ab"}).status.item()
    twice = unmix(data, spectra=named | {"again": labelled(spectra[0])}).status.item()
    assert "'a' and 'again' are nearly the same" in twice


@pytest.mark.parametrize(
    ("spectra", "error", "words"),
    [
        ("gold", ParameterError, "result.spectra"),
        (labelled(peak(0)), ParameterError, "dimension 'component'"),
        (labelled(peak(0)).expand_dims(component=2) * np.nan, DataError, "NaN"),
        ({"a": labelled(peak(0)).assign_coords(eV=ENERGY + 9)}, AxisError, "library only from"),
        ({"a": labelled(peak(0)).expand_dims(sample=2)}, ParameterError, "one spectrum per"),
    ],
)
def test_bad_spectra(spectra, error, words):
    with pytest.raises(error, match=words):
        unmix(image(*truth(shape=(12, 12))), spectra=spectra)


# -- several maps --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["separate_gmca", "separate_nmf"])
def test_several_maps_share_their_spectra(name):
    """Of different size: what is beyond a smaller one is missing."""
    spectra, maps = truth(shape=(52, 24))
    data = image(spectra, maps)
    one, other = (part.assign_coords(y=range(part.sizes["y"])) for part in (data[:32], data[32:]))
    together = xr.concat([one, other], "scan", join="outer")
    assert together.sizes["y"] == 32
    result = getattr(together.S, name)(n_components=3, rng=0)
    assert wrong(result, spectra) < 0.02
    assert result.spectra.dims == ("component", "eV")
    assert result.maps[:, 1, 20:].isnull().all()
    assert result.maps[:, 1, :20].notnull().all()


@pytest.mark.filterwarnings("ignore:unmix.*hot:arpes_ml_plugins.errors.DistributionWarning")
@pytest.mark.parametrize("lazy", [False, True])
def test_hot_values_are_left_out(lazy):
    spectra, maps = truth(shape=(20, 24))
    data = image(spectra, maps)
    given = {name: labelled(row) for name, row in zip("abc", spectra, strict=True)}
    clean = unmix(data, spectra=given)
    hot = data.copy()
    hot[3, 4, 8] = hot[15, 7, 20] = 1e4 * float(data.max())
    hot = hot.chunk(y=5) if lazy else hot
    result = unmix(hot, spectra=given).compute()
    assert result.status.item() == "2 hot values were left out"
    scale = float(clean.maps.max())
    np.testing.assert_allclose(result.maps, clean.maps, atol=0.05 * scale)
    np.testing.assert_allclose(result.residual_chi2.mean(), clean.residual_chi2.mean(), rtol=0.02)


@pytest.mark.filterwarnings("ignore::arpes_ml_plugins.errors.DistributionWarning")
def test_a_weak_fixed_spectrum_that_is_wrong_is_named():
    """Spectra that are known exactly fill directions only where the data lack some."""
    energy = np.linspace(-3, 3, 60)
    y, x = np.mgrid[:30, :30]
    maps = np.stack([x < 10, (x >= 10) & (y < 15), (x >= 10) & (y >= 15)], -1) * [1.0, 0.1, 1.0]
    centres = {"a": -1.4, "b": 0.0, "c": 1.3}

    def line(centre):
        return np.exp(-(((energy - centre) / 0.35) ** 2))

    for seed in range(2):
        rate = 50 * maps @ np.stack([line(c) for c in centres.values()])
        data = xr.DataArray(
            np.random.default_rng(seed).poisson(rate) * 1.0, {"eV": energy}, ("y", "x", "eV")
        )
        known = centres | {"b": 0.1}
        fixed = SpectrumLibrary.from_spectra(
            {n: xr.DataArray(line(c), {"eV": energy}, "eV") for n, c in known.items()}
        )
        status = data.S.separate_sgmca(library=fixed, shift=False, rng=0).status.item()
        assert "'b'" in status
