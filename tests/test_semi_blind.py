"""``separate_sgmca``, ``separate_gmca``, ``separate_nmf`` and what they are made of."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from planted import CENTRES, ENERGY, family, image, odd, peak, truth, unit, wrong

import arpes_ml_plugins
from arpes_ml_plugins import SpectrumLibrary
from arpes_ml_plugins.errors import AxisError, DataError, DistributionWarning, ParameterError
from arpes_ml_plugins.separation.gmca import gmca, spectra_of, threshold_sources
from arpes_ml_plugins.separation.least_squares import refine
from arpes_ml_plugins.separation.manifolds import (
    AutoencoderManifold,
    LocalSimplex,
    Manifold,
    NearestSpectrum,
    measured,
)
from arpes_ml_plugins.separation.matching import match_families, signal_space
from arpes_ml_plugins.separation.metrics import (
    match,
    nmse,
    separation_ratios,
    spectral_angle,
)
from arpes_ml_plugins.separation.sgmca import identify, returned, sgmca
from arpes_ml_plugins.separation.solvers import Sgmca
from arpes_ml_plugins.separation.starlet import starlet
from arpes_ml_plugins.separation.whiten import Whitened, whiten

# -- algorithms ----------------------------------------------------------------------------------


def mixing_of(spectra):
    rows = torch.from_numpy(spectra)
    return (rows / rows.norm(dim=1, keepdim=True)).mT


def flat_data(spectra, maps, noise=1.0):
    values = image(spectra, maps, noise).values
    return torch.from_numpy(values.reshape(-1, values.shape[-1]).T / noise)


def test_gmca_finds_sparse_sources():
    spectra, maps = truth()
    found = gmca(flat_data(spectra, maps), 3)
    true = mixing_of(spectra)
    order, signs = match(found, true)
    assert nmse(found[:, order] * signs, true) < 1e-3
    torch.testing.assert_close(found.norm(dim=0), torch.ones(3).double())


def test_thresholds_of_the_noise_leave_less_of_dense_sources():
    """The median absolute deviation of a source that is hardly ever zero is not its noise."""
    spectra, maps = truth()
    dense = maps + np.random.default_rng(3).exponential(30, size=maps.shape)
    data, true = flat_data(spectra, dense), mixing_of(spectra)
    manifolds = [LocalSimplex(family(centre)) for centre in CENTRES.values()]
    own = sgmca(data, true, manifolds).spectra
    measured = sgmca(data, true, manifolds, noise=torch.ones(1).double()).spectra
    assert spectral_angle(measured, true) > spectral_angle(own, true) + 5


def test_gmca_of_too_many_sources_stays_finite():
    spectra, maps = truth(strengths=(1, 0, 0))
    assert torch.isfinite(gmca(flat_data(spectra, maps).float(), 6)).all()
    assert torch.isfinite(gmca(torch.zeros(5, 40), 2)).all()


def test_thresholds_are_three_deviations():
    """Noise alone leaves 0.27 % of the coefficients."""
    noise = torch.randn(1, 200_000, generator=torch.Generator().manual_seed(0))
    left = threshold_sources(noise, torch.ones(1, 1), 2)
    assert float((left != 0).double().mean()) == pytest.approx(0.0027, rel=0.2)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_identification_follows_a_permutation(order):
    spectra, _ = truth()
    mixing = mixing_of(spectra)[:, list(order)]
    signs = torch.tensor([1.0, -1.0, 1.0]).double()
    found = identify(mixing * signs, [LocalSimplex(family(c)) for c in CENTRES.values()])
    assert [order[i] for i in found.columns] == [0, 1, 2]
    assert nmse(found.spectra, mixing_of(spectra)) < 1e-4


def test_identification_sees_through_interference():
    """A column that is 95 % somebody else's."""
    spectra, _ = truth()
    mixing = mixing_of(spectra).clone()
    mixing[:, 1] = 0.95 * mixing[:, 0] + 0.05 * mixing[:, 1]
    mixing = mixing / mixing.norm(dim=0)
    found = identify(mixing, [LocalSimplex(family(c)) for c in CENTRES.values()])
    assert found.columns == [0, 1, 2]


def test_sgmca_is_better_than_its_start():
    spectra, maps = truth()
    maps[..., 1] += 0.7 * maps[..., 0]  # correlated, so that sparsity misleads
    data, true = flat_data(spectra, maps), mixing_of(spectra)
    start = gmca(data, 3)
    found = sgmca(data, start, [LocalSimplex(family(c)) for c in CENTRES.values()])
    order, signs = match(start, true)
    assert nmse(found.spectra, true) < 0.2 * nmse(start[:, order] * signs, true)
    assert found.iterations <= 50
    if found.end == "converged":
        again = threshold_sources(data, found.spectra, 1, before=found.sources)
        assert float((again - found.sources).norm() / again.norm()) < 1e-5


@pytest.mark.parametrize("cleaned", [True, False])
def test_the_first_projection(cleaned):
    """Algorithm 1 projects the column itself; by default the interference in it is taken off."""
    spectra, _ = truth()
    manifolds = [NearestSpectrum(family(centre)) for centre in CENTRES.values()]
    mixing = mixing_of(spectra).clone()
    mixing[:, 1] = -(0.95 * mixing[:, 0] + 0.05 * mixing[:, 1])
    mixing = mixing / mixing.norm(dim=0)
    draw = np.random.default_rng(0)
    sources = torch.from_numpy(
        300 * draw.exponential(size=(3, 400)) * (draw.random((3, 400)) < 0.2)
    )
    data = mixing @ sources + torch.from_numpy(draw.normal(size=(40, 400)))
    first = sgmca(
        data, mixing, manifolds, noise=torch.ones(1).double(), iterations=0, cleaned=cleaned
    )
    column = spectra_of(data, first.sources, mixing)[:, 1]
    own = manifolds[1].project(-column[None]).spectra[0]
    assert torch.allclose(first.spectra[:, 1], own) != cleaned
    if cleaned:
        assert float(first.spectra[:, 1] @ mixing_of(spectra)[:, 1]) > 0.99


def test_a_cycle_is_seen():
    """Spectra that come back after three steps, but not those that rest."""
    points = [torch.full((4, 2), float(i)) for i in range(4)]
    assert returned(points[0], points[:3])
    assert not returned(points[3], points[:3])
    assert not returned(points[2], points[:3])


def test_fixed_columns_stay():
    spectra, maps = truth()
    true, data = mixing_of(spectra), flat_data(spectra, maps)
    start = true.clone()
    start[:, 2] = family(0.0)[0]
    fixed = torch.tensor([True, True, False])
    found, _ = refine(data[None], start[None], torch.ones(1).double(), sweeps=100, fixed=fixed)
    assert torch.equal(found[0][:, :2], true[:, :2])
    assert nmse(found[0], true) < 1e-4


def test_two_components_of_one_family_are_kept_apart():
    lines = torch.stack(
        [
            torch.exp(-0.5 * ((torch.arange(60.0) - c) / 2.5) ** 2)
            for c in torch.linspace(15, 45, 400)
        ]
    ).double()
    lines = lines / lines.norm(dim=1, keepdim=True)
    true = lines[[120, 230]].mT
    draw = torch.Generator().manual_seed(0)
    x = true @ (20 * torch.rand(2, 2000, generator=draw)).double()
    x = x + torch.randn(60, 2000, generator=draw).double()
    found = match_families(signal_space(x), [lines, lines], true)
    assert nmse(found.spectra, true) < 1e-3
    assert found.present.all()


def test_ratios_separate_what_is_wrong():
    draw = torch.Generator().manual_seed(0)
    s = torch.randn(2, 5000, generator=draw).double()
    noise = torch.randn(6, 5000, generator=draw).double()
    rest = torch.randn(2, 5000, generator=draw).double()
    found = s + 0.1 * s.flip(0) + 0.03 * noise[:2] + 0.01 * rest
    ratios = separation_ratios(found, s, noise)
    for name, expected in {"SIR": 20.0, "SNR": 30.5, "SAR": 40.0}.items():
        assert float(ratios[name].mean()) == pytest.approx(expected, abs=0.7)
    assert float(ratios["SDR"].mean()) < 20.1
    assert spectral_angle(s.mT, s.mT) > 100


# -- methods -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["simplex", "nearest", pytest.param("iae", marks=pytest.mark.slow)]
)
def test_planted_mixture_is_found(kind, library):
    spectra, maps = truth()
    result = image(spectra, maps).S.separate_sgmca(
        library=library, manifold=kind, training_steps=1000, rng=0, device="cpu"
    )
    assert result.status.item() == "ok"
    assert list(result.component.values) == list(CENTRES)
    assert wrong(result, spectra) < 1e-4
    assert float(result.residual_chi2.mean()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("names", [("b",), ("c", "a")])
def test_free_components_beside_known_ones(names, library):
    spectra, maps = truth()
    known = SpectrumLibrary({name: library[name] for name in names})
    result = image(spectra, maps).S.separate_sgmca(library=known, n_components=3, rng=0)
    free = [f"free {i + 1}" for i in range(3 - len(names))]
    assert list(result.component.values) == [*names, *free]
    assert wrong(result, spectra) < 1e-3
    at = list(CENTRES).index(names[0])
    found = unit(result)[:, 0] @ mixing_of(spectra)[:, at]
    assert float(found) > 0.999


def test_a_strong_free_component_like_the_known_ones(library):
    """What is looked for across the known ones finds the part of it that is unlike them only."""
    spectra, maps = truth()
    broad = np.exp(-((ENERGY + 0.5) ** 2) / 2) + 0.1
    stronger = truth(seed=7)[1][..., :1] * 10
    data = image(np.vstack([spectra, broad]), np.concatenate([maps, stronger], -1))
    result = data.S.separate_sgmca(library=library, n_components=4, rng=0)
    found = unit(result)[:, 3] @ torch.from_numpy(broad / np.linalg.norm(broad))
    assert float(found) > 0.9999


@pytest.mark.parametrize("strength", [1 / 3, 3, 0.01])
def test_sources_of_unequal_strength(strength, library):
    spectra, maps = truth(strengths=(1, strength, 1))
    result = image(spectra, maps, noise=0.1).S.separate_sgmca(library=library, rng=0)
    assert wrong(result, spectra) < 0.006


@pytest.mark.parametrize("name", ["separate_gmca", "separate_nmf"])
def test_blind(name):
    spectra, maps = truth()
    result = getattr(image(spectra, maps).S, name)(n_components=3, rng=0)
    assert wrong(result, spectra) < 1e-2
    strength = (result.maps**2).sum(("x", "y")) * (result.spectra**2).sum("eV")
    assert (np.diff(strength) <= 0).all()


def test_any_scale_gives_the_same(library):
    data = image(*truth())
    for name, options in (
        ("separate_sgmca", {"library": library}),
        ("separate_gmca", {"n_components": 3}),
    ):
        one = getattr(data.S, name)(**options, rng=0)
        other = getattr((data * 1e5).S, name)(**options, rng=0)
        np.testing.assert_allclose(other.spectra, one.spectra, atol=1e-5)


def test_unknown_component_is_told(library):
    spectra, maps = truth()
    stranger = np.random.default_rng(5).random((32, 32, 1)) * 80
    data = image(np.vstack([spectra, peak(0.8, 0.1)]), np.concatenate([maps, stranger], -1))
    with pytest.warns(DistributionWarning, match="do not explain"):
        data.S.separate_sgmca(library=library, rng=0)


@odd
def test_published_form_is_the_algorithm_and_nothing_else(library):
    """Spectra on the manifolds; maps of thresholded details, and the coarse scale."""
    spectra, maps = truth()
    trained = arpes_ml_plugins.train_iae(library, steps=1000)
    data = image(spectra, maps)
    result = data.S.separate_sgmca(library=trained, recipe="published", rng=0)
    assert result.library_distance.isnull().all()
    xr.testing.assert_equal(arpes_ml_plugins.replay(result, data), result)
    network = next(iter(trained.networks.values()))
    rows = torch.from_numpy(library["a"].values)
    manifold = AutoencoderManifold(network, rows)
    assert float(manifold.distance(unit(result)[:, :1].mT)) < 1e-4
    model = result.spectra.values.T
    fitted = np.linalg.lstsq(model, data.values.reshape(-1, 40).T, rcond=None)[0]
    own = result.maps.values.reshape(3, -1)
    assert np.linalg.norm(own - fitted) > 0.01 * np.linalg.norm(fitted)


def test_published_sources_are_those_of_the_last_update():
    spectra, maps = truth()
    pixels = flat_data(spectra, maps)
    ones = torch.ones(40).double()
    data = Whitened(pixels, pixels, torch.ones(1024).double(), ones, ones > 0, False)
    manifolds = [LocalSimplex(family(centre)) for centre in CENTRES.values()]
    found = Sgmca(lambda *_: manifolds, 3, published=True).separate(data)
    alone = sgmca(pixels, gmca(pixels.float(), 3).double(), manifolds, cleaned=False)
    torch.testing.assert_close(found.spectra, alone.spectra)
    torch.testing.assert_close(found.sources, alone.sources)
    assert float((found.sources == 0).double().mean()) > 0.3  # the maps are empty to 60 %


def test_published_maps_are_thresholded_details_and_the_coarse_scale():
    spectra, maps = truth()
    cube = torch.from_numpy(image(spectra, maps).transpose("eV", "y", "x").values)
    ones = torch.ones(40).double()
    data = whiten(cube, torch.ones(32, 32).bool(), noise=ones, scales=2, nonnegative=False)
    manifolds = [LocalSimplex(family(centre)) for centre in CENTRES.values()]
    found = Sgmca(lambda *_: manifolds, 3, published=True).separate(data)
    start = gmca(data.sparse.float(), 3, 2).double()
    alone = sgmca(data.sparse, start, manifolds, 2, cleaned=False)
    fitted = (torch.linalg.pinv(found.spectra) @ data.pixels).reshape(3, 32, 32)
    coarse = starlet(fitted, 2)[-1].flatten(1)
    expected = coarse + alone.sources.unflatten(1, (2, -1)).sum(1)
    torch.testing.assert_close(found.sources, expected, atol=1e-5, rtol=1e-5)


class Lines(Manifold):
    """Peaks at any centre near a given one: a class that a user may have written."""

    def __init__(self, centre):
        self.fine = family(centre, 2000)
        super().__init__(self.fine[::25])

    def project(self, spectra):
        return measured(spectra, self.fine[(spectra @ self.fine.mT).argmax(1)])


@pytest.mark.parametrize("match_them", [True, False])
def test_manifolds_of_the_users_own(match_them):
    spectra, maps = truth()
    own = {name: Lines(centre) for name, centre in CENTRES.items()}
    data = image(spectra, maps)
    result = data.S.separate_sgmca(library=own, match=match_them, rng=0)
    assert result.status.item() == "ok"
    assert list(result.component.values) == list(CENTRES)
    assert wrong(result, spectra) < 1e-4
    two = data.S.separate_sgmca(library=[own["b"], own["c"]], n_components=3, rng=0)
    assert list(two.component.values) == ["component 1", "component 2", "free 1"]
    assert wrong(two, spectra) < 1e-3


@pytest.mark.parametrize(
    ("manifolds", "error", "words"),
    [
        ([], ParameterError, "there is none"),
        ({"a": Lines(0.0), "b": 3.0}, ParameterError, "'b' is float"),
        ([Lines(0.0), None], ParameterError, "'component 2' is NoneType"),
        ([NearestSpectrum(torch.eye(7))], AxisError, "7 channels, the data 40 along 'eV'"),
    ],
)
def test_bad_manifolds_of_the_users_own(manifolds, error, words):
    with pytest.raises(error, match=words):
        image(*truth()).S.separate_sgmca(library=manifolds)


def test_a_manifold_of_ones_own_knows_what_lies_between():
    with pytest.raises(ParameterError, match="manifold is an option for families"):
        image(*truth()).S.separate_sgmca(library=[Lines(0.0)], manifold="nearest")


@odd
def test_a_spectrum_that_is_not_of_its_family_is_named(library):
    """It follows from the data, so the library does not stand in for it."""
    spectra, maps = truth()
    far = xr.DataArray(np.exp(-((ENERGY - 0.9) ** 2) / 0.02), {"eV": ENERGY}, "eV")
    other = SpectrumLibrary.from_spectra({"b": far}, shift=0.05, count=100)
    known = SpectrumLibrary({"a": library["a"], "b": other["b"], "c": library["c"]})
    result = image(spectra, maps).S.separate_sgmca(library=known, rng=0)
    assert wrong(result, spectra) < 1e-2  # all three peaks, of the data
    status = result.status.item()
    assert "'b' was not detected" not in status
    assert "the spectrum shown for 'b' lies outside its family" in status
    assert "'a'" not in status


@odd
def test_a_component_that_the_library_stands_in_for_is_of_its_family(library):
    spectra, maps = truth(strengths=(1, 0, 1))
    result = image(spectra, maps).S.separate_sgmca(library=library, rng=0)
    assert "'b' was not detected" in result.status.item()
    at = LocalSimplex(torch.from_numpy(library["b"].values))
    assert float(at.distance(unit(result)[:, 1][None])) < 1e-3


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"n_components": 2}, ParameterError, "at least the 3 components that are known"),
        ({"manifold": "torus"}, ParameterError, "manifold"),
        ({"recipe": "best"}, ParameterError, "recipe"),
        ({"n_components": 99}, DataError, "too small for 99 components"),
        ({"library": "W 4f"}, ParameterError, "SpectrumLibrary"),
        ({"training_steps": 0}, ParameterError, "training_steps"),
    ],
)
def test_bad_parameters(options, error, words, library):
    with pytest.raises(error, match=words):
        image(*truth()).S.separate_sgmca(**{"library": library, **options})


def test_bad_manifolds(library):
    data = image(*truth())
    trained = arpes_ml_plugins.train_iae(library, steps=2)
    with pytest.raises(ParameterError, match="trained autoencoders"):
        data.S.separate_sgmca(library=trained, manifold="simplex")
    with pytest.raises(AxisError, match="other energies"):
        data.isel(eV=slice(2, -2)).S.separate_sgmca(library=trained)
    with pytest.raises(ParameterError, match="anchors"):
        arpes_ml_plugins.train_iae(library, anchors=1)
    with pytest.raises(ParameterError, match="anchors names 'd'"):
        arpes_ml_plugins.train_iae(library, anchors={"d": 2})
    few = SpectrumLibrary({name: one[:3] for name, one in library.items()})
    with pytest.raises(ParameterError, match="too few to train on"):
        arpes_ml_plugins.train_iae(few)
    with pytest.raises(DataError, match="negative beyond their noise"):
        (data - 100).S.separate_nmf(n_components=2)
    with pytest.raises(ParameterError, match="sparsity"):
        data.S.separate_nmf(n_components=2, sparsity=-1.0)


def test_training_is_cached_and_reproducible(library, own_cache):
    first = arpes_ml_plugins.train_iae(library, steps=7)
    files = set(own_cache.glob("iae-*"))
    seen = []
    again = arpes_ml_plugins.train_iae(library, steps=7, progress=seen.append)
    assert set(own_cache.glob("iae-*")) == files
    assert seen[-1].done == seen[-1].total == 21
    for name in library:
        one, other = first.networks[name], again.networks[name]
        assert torch.equal(one.decoder[0].weight, other.decoder[0].weight)


def test_nano_xps_by_lmfit(examples):
    """Two W 4f doublets from a fit model, the substrate free."""
    from lmfit.models import LinearModel, PseudoVoigtModel

    nano = examples.nano_xps.spectrum
    model = PseudoVoigtModel(prefix="r_") + PseudoVoigtModel(prefix="l_") + LinearModel()
    model.set_param_hint("l_center", expr="r_center - 2.13")
    model.set_param_hint("l_amplitude", expr="r_amplitude * 0.62")
    model.set_param_hint("l_sigma", expr="r_sigma")
    shared = {
        "r_sigma": (0.15, 0.45),
        "r_fraction": (0.2, 0.8),
        "l_fraction": (0.2, 0.8),
        "r_amplitude": 1.0,
        "slope": (-0.02, 0.02),
        "intercept": (0.7, 1.0),
    }
    known = SpectrumLibrary.from_lmfit(
        {
            "flake": (model, {"r_center": (-32.7, -32.35), **shared}),
            "particle": (model, {"r_center": (-32.3, -31.9), **shared}),
        },
        nano.eV,
    )
    result = nano.S.separate_sgmca(library=known, n_components=3, rng=0)
    assert result.status.item() == "ok"
    assert (result.library_distance[:2] < 0.1).all()
    assert float(result.spectra.sel(component="flake").idxmax("eV")) == pytest.approx(
        -32.5, abs=0.1
    )
    particle = result.maps.sel(component="particle")
    assert float((particle > 0.5 * particle.max()).mean()) < 0.02  # a spot


# -- odd data and failures ----------------------------------------------------------------------


def test_scales_of_the_transform():
    cube = torch.randn(5, 48, 48, generator=torch.Generator().manual_seed(0)).double()
    whole = torch.ones(48, 48).bool()
    assert whiten(cube, whole).scales == 3
    for scales in (1, 2):
        ready = whiten(cube, whole, scales=scales)
        assert ready.scales == scales
        assert ready.sparse.shape == (5, scales * 48 * 48)


def test_dense_maps_leave_something_to_work_with():
    """No coefficient of uniform maps lies above three deviations."""
    draw = torch.Generator().manual_seed(0)
    dense = 50 * torch.rand(2, 4000, generator=draw)
    sources = threshold_sources(dense - 25, torch.eye(2), 1)
    assert 0.001 < float((sources != 0).double().mean()) < 0.01


def test_nearest_spectrum_is_one_of_the_family(library):
    spectra, maps = truth()
    result = image(spectra, maps, noise=20.0).S.separate_sgmca(
        library=library, manifold="nearest", rng=0
    )
    for name in library:
        alike = library[name].values @ unit(result)[:, list(library).index(name)].numpy()
        assert alike.max() == pytest.approx(1, abs=1e-6)


@odd
def test_a_stuck_channel_does_not_set_the_scale(library):
    data = image(*truth())
    data[..., 7] = 1e4
    data[..., 9] = np.nan
    result = data.S.separate_sgmca(library=library, rng=0)
    assert "1 constant channel was" in result.status.item()
    assert "1 channel without values" in result.status.item()
    assert result.spectra[:, 9].isnull().all()
    others = result.spectra.drop_isel(eV=[7, 9])
    np.testing.assert_allclose(others.max("eV"), 1)


def test_a_family_of_another_shape_is_told(library):
    _, maps = truth()
    wide = np.stack([peak(c, 0.3) for c in CENTRES.values()])
    with pytest.warns(DistributionWarning, match="no spectrum close to the family"):
        image(wide, maps).S.separate_sgmca(library=library, rng=0)


@odd
def test_published_form_reports_in_units_of_the_noise(library):
    data = 1e-3 * (image(*truth()) - 30)
    result = data.S.separate_sgmca(library=library, recipe="published", manifold="simplex", rng=0)
    assert float(result.residual_chi2.median()) > 0.5
    assert float(result.maps_stderr.median()) < 0.02


def test_pictures_of_lazy_results():
    import arpes_ml_plugins.plotting as plotting

    data = image(*truth()).chunk(y=16)
    plotting.components(data.S.separate_gmca(n_components=3, rng=0))
    plotting.component_count(data.S.choose_components(rng=0, max_components=4))
    with pytest.raises(DataError, match="choose_components"):
        plotting.component_count(data.S.separate_gmca(n_components=3, rng=0))


def test_bad_data(library):
    data = image(*truth(shape=(12, 12)))[..., :20]
    with pytest.raises(DataError, match="one spectrum cannot be separated"):
        data[0, 0].S.separate_gmca(n_components=2)
    with pytest.raises(ParameterError, match="SpectrumLibrary"):
        data.S.separate_sgmca(library=None)
    moved = xr.DataArray(np.ones(20), {"eV": ENERGY[:20] + 1}, "eV")
    with pytest.raises(AxisError, match="other coordinates"):
        data.S.separate_gmca(n_components=2, noise=moved)


@pytest.mark.filterwarnings("ignore::arpes_ml_plugins.errors.DistributionWarning")
@pytest.mark.parametrize("wrong", [0, 1, 2])
def test_one_wrong_family_leaves_the_others(wrong):
    """A line too broad: its spectrum follows from the data, the others stay."""
    energy, centres = np.linspace(-3, 3, 60), (-1.0, 0.0, 0.8)

    def line(centre, width):
        return np.exp(-(((energy - centre) / width) ** 2)) + 0.1

    truth = np.stack([line(c, 0.3) for c in centres])
    row, column = np.mgrid[:36, :36]
    maps = np.stack([column < 12, (column >= 12) & (row < 18), (column >= 12) & (row >= 18)])
    data = np.einsum("kyx,ke->yxe", maps * 1.0, truth)
    data += 2e-3 * np.random.default_rng(0).standard_normal(data.shape)
    known = {
        name: xr.DataArray(line(c, 0.38 if k == wrong else 0.3), {"eV": energy}, "eV")
        for k, (name, c) in enumerate(zip("abc", centres, strict=True))
    }
    library = SpectrumLibrary.from_spectra(known, shift=0.02, broaden=0.02, count=200, rng=0)
    image = xr.DataArray(data, {"eV": energy}, ("y", "x", "eV"))
    result = image.S.separate_sgmca(library=library, rng=0)
    found = result.spectra.values / np.linalg.norm(result.spectra, axis=1, keepdims=True)
    cosines = (found * truth).sum(1) / np.linalg.norm(truth, axis=1)
    angles = np.degrees(np.arccos(cosines.clip(-1, 1)))
    assert np.delete(angles, wrong).max() < 0.2
    assert angles[wrong] < 6
    assert f"'{'abc'[wrong]}'" in result.status.item()
