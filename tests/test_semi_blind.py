"""sGMCA, GMCA, NMF, manifolds and the number of components: planted, public and real data."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

import arpes_ml_plugins
from arpes_ml_plugins import SpectrumLibrary
from arpes_ml_plugins.errors import AxisError, DataError, DistributionWarning, ParameterError
from arpes_ml_plugins.separation.autoencoder import (
    AutoencoderManifold,
    InterpolatoryAutoencoder,
    farthest_points,
)
from arpes_ml_plugins.separation.gmca import gmca, threshold_sources
from arpes_ml_plugins.separation.manifolds import LocalSimplex, NearestSpectrum
from arpes_ml_plugins.separation.metrics import (
    match,
    nmse,
    separation_ratios,
    spectral_angle,
)
from arpes_ml_plugins.separation.refine import refine
from arpes_ml_plugins.separation.sgmca import identify, returned, sgmca
from arpes_ml_plugins.separation.subspace import match_families, signal_space
from arpes_ml_plugins.separation.whitened import whiten
from arpes_ml_plugins.training.autoencoder import AUTOENCODERS, train_autoencoder

ENERGY = np.linspace(-2, 1, 40)
CENTRES = {"a": -1.3, "b": -0.5, "c": 0.2}
odd = pytest.mark.filterwarnings("ignore:separate_:arpes_ml_plugins.errors.DistributionWarning")


def peak(centre, width=0.15):
    return np.exp(-((ENERGY - centre) ** 2) / (2 * width**2)) + 0.1


def family(centre, count=80, reach=0.12):
    """Rows of length 1, as a tensor."""
    rows = torch.tensor(
        np.stack([peak(centre + d) for d in np.linspace(-reach, reach, count)]), dtype=torch.float64
    )
    return rows / rows.norm(dim=1, keepdim=True)


def truth(seed=0, shape=(32, 32), strengths=(1, 1, 1)):
    rng = np.random.default_rng(seed)
    spectra = np.stack([peak(c + rng.uniform(-0.08, 0.08)) for c in CENTRES.values()])
    maps = rng.exponential(size=(*shape, 3)) * (rng.random((*shape, 3)) < 0.4)
    return spectra, 100 * maps * np.array(strengths)


def image(spectra, maps, noise=1.0, seed=1):
    shape = (*maps.shape[:2], spectra.shape[1])
    values = maps @ spectra + noise * np.random.default_rng(seed).normal(size=shape)
    return xr.DataArray(
        values, {"eV": ENERGY, "x": np.arange(shape[1], dtype=float)}, ("y", "x", "eV")
    )


@pytest.fixture(scope="module")
def library():
    known = {n: xr.DataArray(peak(c), {"eV": ENERGY}, "eV") for n, c in CENTRES.items()}
    return SpectrumLibrary.from_spectra(known, shift=0.12, count=150)


@pytest.fixture(scope="module")
def trained():
    """An autoencoder of one family, and the family."""
    rows = family(-0.5, 120)
    torch.manual_seed(0)
    network = InterpolatoryAutoencoder(farthest_points(rows.float(), 2))
    recipe = AUTOENCODERS["robust"].__class__(1000, 64, 5e-3, cosine=True)
    train_autoencoder(network, rows.float(), recipe, torch.Generator().manual_seed(0))
    return network.requires_grad_(False), rows


def unit(result):
    found = torch.from_numpy(result.spectra.transpose("eV", "component").values)
    return found / found.norm(dim=0)


def wrong(result, spectra):
    """NMSE of the spectra, best assigned."""
    expected = torch.from_numpy(spectra.T / np.linalg.norm(spectra.T, axis=0))
    found = unit(result)
    order, signs = match(found, expected)
    return float(nmse(found[:, order] * signs, expected))


# -- manifolds -----------------------------------------------------------------------------------


@pytest.fixture(params=["nearest", "simplex", "autoencoder"])
def manifold(request, trained):
    if request.param == "autoencoder":
        return AutoencoderManifold(*trained)
    return {"nearest": NearestSpectrum, "simplex": LocalSimplex}[request.param](family(-0.5))


def noisy_spectra(count=5):
    draw = torch.Generator().manual_seed(3)
    return family(-0.47, count) + 0.05 * torch.randn(count, 40, generator=draw).double()


def test_projection_is_idempotent(manifold):
    once = manifold.project(noisy_spectra())
    again = manifold.project(once.spectra)
    torch.testing.assert_close(again.spectra, once.spectra, atol=1e-5, rtol=0)
    assert float(again.distance.max()) < 1e-5
    torch.testing.assert_close(again.scale, torch.ones_like(again.scale))


def test_projection_follows_the_scale(manifold):
    spectra = noisy_spectra()
    one, other = manifold.project(spectra), manifold.project(1e4 * spectra)
    torch.testing.assert_close(other.spectra, one.spectra, atol=1e-6, rtol=0)
    torch.testing.assert_close(other.scale, 1e4 * one.scale, rtol=1e-6, atol=0)
    torch.testing.assert_close(manifold.distance(spectra), manifold.distance(7 * spectra))


def test_projection_is_the_nearest_point(manifold):
    """No sample of the manifold is nearer, and the guess is not either."""
    spectra = noisy_spectra()
    found = manifold.project(spectra)
    draw = torch.Generator().manual_seed(0)
    for others in (manifold.samples, manifold.sample(200, draw)):
        assert torch.allclose(others.norm(dim=1), torch.ones(len(others)).double())
        reach = (spectra @ others.mT).amax(1)
        nearest = (spectra.square().sum(1) - reach.square()).sqrt()
        assert bool((found.distance <= nearest + 2e-3).all())
    assert bool((found.distance <= manifold.guess(spectra).distance + 1e-9).all())


def test_what_points_away_gets_no_scale(manifold):
    found = manifold.project(-family(-0.5)[:2])
    assert bool((found.scale == 0).all())
    assert torch.allclose(found.distance, torch.ones(2).double())


def test_between_samples():
    """The simplex fills in what the nearest spectrum misses."""
    coarse, between = family(-0.5, 9), family(-0.5, 9 * 4 + 1)
    nearest, simplex = NearestSpectrum(coarse), LocalSimplex(coarse)
    assert simplex.distance(between).max() < 0.2 * nearest.distance(between).max()


def test_weights_of_the_autoencoder_sum_to_one(trained):
    network, rows = trained
    weights = network.weights(rows.float())
    torch.testing.assert_close(weights.sum(-1), torch.ones(len(rows)))
    at_anchors = network.weights(network.anchors)
    torch.testing.assert_close(at_anchors, torch.eye(2), atol=1e-3, rtol=0)
    assert float((network(rows.float()) - rows).norm(dim=1).median()) < 0.02


def test_tangents_are_derivatives(trained):
    network, rows = trained
    network = AutoencoderManifold(network, rows)._network
    weights = network.weights(rows[:3])
    value, slope = network.tangents(weights, network.encode(network.anchors))
    torch.testing.assert_close(value, network.generate(weights))
    step = 1e-6 * torch.tensor([1.0, -1.0]).double()
    change = (network.generate(weights + step) - network.generate(weights - step)) / 2e-6
    torch.testing.assert_close(slope[..., 0], change, atol=1e-7, rtol=1e-5)


def test_weights_of_channels(trained):
    """Whitened spectra are projected in their own metric; channels of weight 0 are left out."""
    network, rows = trained
    factors = torch.linspace(0.5, 2, 40).double()
    factors[3] = 0
    weighted = AutoencoderManifold(network, rows, factors)
    seen = (rows * factors)[:, factors > 0]
    assert weighted.samples.shape == (120, 39)
    assert float(weighted.distance(seen).median()) < 0.02
    dirty = rows.clone()
    dirty[:, 3] = 100
    torch.testing.assert_close(
        weighted.project((dirty * factors)[:, factors > 0]).spectra, weighted.project(seen).spectra
    )


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
    assert found.end in ("converged", "cycle", "limit")


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


@pytest.mark.parametrize("kind", ["simplex", "nearest", "iae"])
def test_planted_mixture_is_found(kind, library):
    spectra, maps = truth()
    result = image(spectra, maps).S.separate_sgmca(
        manifolds=library, manifold=kind, training_steps=1000, rng=0, device="cpu"
    )
    assert result.status.item() == "ok"
    assert list(result.component.values) == list(CENTRES)
    assert wrong(result, spectra) < 1e-4
    assert float(result.residual_chi2.mean()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("names", [("b",), ("c", "a")])
def test_free_components_beside_known_ones(names, library):
    spectra, maps = truth()
    known = SpectrumLibrary({name: library[name] for name in names})
    result = image(spectra, maps).S.separate_sgmca(manifolds=known, n_components=3, rng=0)
    free = [f"free {i + 1}" for i in range(3 - len(names))]
    assert list(result.component.values) == [*names, *free]
    assert wrong(result, spectra) < 1e-3
    at = list(CENTRES).index(names[0])
    found = unit(result)[:, 0] @ mixing_of(spectra)[:, at]
    assert float(found) > 0.999


@pytest.mark.parametrize("strength", [1 / 3, 3, 0.01])
def test_sources_of_unequal_strength(strength, library):
    spectra, maps = truth(strengths=(1, strength, 1))
    result = image(spectra, maps, noise=0.1).S.separate_sgmca(manifolds=library, rng=0)
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
        ("separate_sgmca", {"manifolds": library}),
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
        data.S.separate_sgmca(manifolds=library, rng=0)


@odd
def test_published_form_stays_on_the_manifolds(library):
    spectra, maps = truth()
    trained = arpes_ml_plugins.train_iae(library, steps=300)
    result = image(spectra, maps).S.separate_sgmca(manifolds=trained, recipe="published", rng=0)
    assert result.library_distance.isnull().all()
    network = next(iter(trained.networks.values()))
    rows = torch.from_numpy(library["a"].values)
    manifold = AutoencoderManifold(network, rows)
    assert float(manifold.distance(unit(result)[:, :1].mT)) < 1e-4


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"n_components": 2}, ParameterError, "at least the 3 components that are known"),
        ({"manifold": "torus"}, ParameterError, "manifold"),
        ({"recipe": "best"}, ParameterError, "recipe"),
        ({"n_components": 99}, DataError, "too small for 99 components"),
        ({"manifolds": "W 4f"}, ParameterError, "SpectrumLibrary"),
        ({"training_steps": 0}, ParameterError, "training_steps"),
    ],
)
def test_bad_parameters(options, error, words, library):
    with pytest.raises(error, match=words):
        image(*truth()).S.separate_sgmca(**{"manifolds": library, **options})


def test_bad_manifolds(library):
    data = image(*truth())
    trained = arpes_ml_plugins.train_iae(library, steps=2)
    with pytest.raises(ParameterError, match="trained autoencoders"):
        data.S.separate_sgmca(manifolds=trained, manifold="simplex")
    with pytest.raises(AxisError, match="other energies"):
        data.isel(eV=slice(2, -2)).S.separate_sgmca(manifolds=trained)
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


# -- how many ------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("noise", [2.0, 30.0])
def test_the_number_of_components_is_found(count, noise):
    rng = np.random.default_rng(count)
    spectra = np.stack([peak(c, 0.12) for c in np.linspace(-1.6, 0.6, count)])
    maps = rng.exponential(size=(40, 40, count)) * (rng.random((40, 40, count)) < 0.4)
    found = image(spectra, 100 * maps, noise).S.choose_components(rng=0, max_components=8)
    assert int(found.recommended) == count, found.reason.item()
    assert found.reason.item().startswith(f"{count}: ")
    assert dict(found.sizes) == {"n_components": 8}


def test_the_number_tried_is_told_if_too_small():
    spectra, maps = truth()
    found = image(spectra, maps).S.choose_components(max_components=3, rng=0)
    assert "largest number tried" in found.reason.item()


@pytest.mark.parametrize("seed", range(3))
def test_nano_xps_has_three_components(examples, seed):
    found = examples.nano_xps.spectrum.S.choose_components(rng=seed)
    assert int(found.recommended) == 3


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
    result = nano.S.separate_sgmca(manifolds=known, n_components=3, rng=0)
    assert result.status.item() == "ok"
    assert (result.library_distance[:2] < 0.1).all()
    assert float(result.spectra.sel(component="flake").idxmax("eV")) == pytest.approx(
        -32.5, abs=0.1
    )
    particle = result.maps.sel(component="particle")
    assert float((particle > 0.5 * particle.max()).mean()) < 0.02  # a spot


# -- what a review found -------------------------------------------------------------------------


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
        manifolds=library, manifold="nearest", rng=0
    )
    for name in library:
        alike = library[name].values @ unit(result)[:, list(library).index(name)].numpy()
        assert alike.max() == pytest.approx(1, abs=1e-6)


@odd
def test_a_stuck_channel_does_not_set_the_scale(library):
    data = image(*truth())
    data[..., 7] = 1e4
    data[..., 9] = np.nan
    result = data.S.separate_sgmca(manifolds=library, rng=0)
    assert "1 constant channels" in result.status.item()
    assert "1 channels without values" in result.status.item()
    assert result.spectra[:, 9].isnull().all()
    others = result.spectra.drop_isel(eV=[7, 9])
    np.testing.assert_allclose(others.max("eV"), 1)


def test_a_family_of_another_shape_is_told(library):
    _, maps = truth()
    wide = np.stack([peak(c, 0.3) for c in CENTRES.values()])
    with pytest.warns(DistributionWarning, match="nothing quite like the family"):
        image(wide, maps).S.separate_sgmca(manifolds=library, rng=0)


@odd
def test_published_form_reports_in_units_of_the_noise(library):
    data = 1e-3 * (image(*truth()) - 30)
    result = data.S.separate_sgmca(manifolds=library, recipe="published", manifold="simplex", rng=0)
    assert float(result.residual_chi2.median()) > 0.5
    assert float(result.maps_stderr.median()) < 0.02


def test_negative_data_and_a_background():
    """A component that hardly varies counts too."""
    spectra, maps = truth()
    spectra[2], maps[..., 2] = 1.0, -20.0
    found = image(spectra, maps).S.choose_components(rng=0, max_components=6)
    assert int(found.recommended) == 3, found.reason.item()


@odd
def test_small_data_are_tried_with_fewer():
    data = image(*truth(shape=(12, 12)))[..., :20]
    data[..., :10] = 5.0
    found = data.S.choose_components(rng=0)
    assert found.chi2.notnull().sum() == 5
    with pytest.raises(DataError, match="one spectrum cannot be separated"):
        data[0, 0].S.separate_gmca(n_components=2)
    with pytest.raises(ParameterError, match="SpectrumLibrary"):
        data.S.separate_sgmca(manifolds=None)
    moved = xr.DataArray(np.ones(20), {"eV": ENERGY[:20] + 1}, "eV")
    with pytest.raises(AxisError, match="other coordinates"):
        data.S.separate_gmca(n_components=2, noise=moved)


def test_pictures_of_lazy_results():
    import arpes_ml_plugins.plotting as plotting

    data = image(*truth()).chunk(y=16)
    plotting.components(data.S.separate_gmca(n_components=3, rng=0))
    plotting.component_count(data.S.choose_components(rng=0, max_components=4))
    with pytest.raises(DataError, match="choose_components"):
        plotting.component_count(data.S.separate_gmca(n_components=3, rng=0))
