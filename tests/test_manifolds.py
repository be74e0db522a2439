"""Manifolds of spectra: the nearest, the local simplex, the interpolatory autoencoder."""

from __future__ import annotations

import pytest
import torch
from planted import family

from arpes_ml_plugins.separation.iae import (
    AutoencoderManifold,
    InterpolatoryAutoencoder,
    farthest_points,
)
from arpes_ml_plugins.separation.manifolds import MANIFOLDS, LocalSimplex, NearestSpectrum
from arpes_ml_plugins.separation.projection import WeightedManifold
from arpes_ml_plugins.training.autoencoder import AUTOENCODERS, train_autoencoder


@pytest.fixture(scope="module")
def trained():
    """An autoencoder of one family, and the family."""
    rows = family(-0.5, 120)
    network = InterpolatoryAutoencoder(farthest_points(rows.float(), 2))
    recipe = AUTOENCODERS["robust"].__class__(1000, 64, 5e-3, cosine=True)
    train_autoencoder(network, rows.float(), recipe, torch.Generator().manual_seed(0))
    return network.requires_grad_(False), rows


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


def test_first_weights_are_drawn_apart_from_torchs_own_generator():
    corners = family(-0.5, 120)[:2].float()
    before = torch.get_rng_state()
    one, same, other = (InterpolatoryAutoencoder(corners, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.encoder[0].weight, same.encoder[0].weight)
    assert not torch.equal(one.encoder[0].weight, other.encoder[0].weight)
    assert not torch.equal(one.encoder[0].weight, one.decoder[0].weight)


@pytest.mark.parametrize("name", MANIFOLDS)
def test_seen_with_weights(name, trained):
    """Spectra of the manifold stay on it; what is projected is nearest in the weighted metric."""
    network, rows = trained
    kind = MANIFOLDS[name]
    plain = kind(network, rows) if name == "iae" else kind(rows)
    factors = torch.linspace(0.3, 3, 40).double()
    factors[7] = 0
    seen = plain.weighted(factors)
    assert seen.neighbours == plain.neighbours
    used = factors > 0
    on = (plain.family() * factors)[:3, used]
    assert float(seen.distance(on).max()) < 1e-3
    wrapped = WeightedManifold(plain, factors)
    off = on + 0.1 * on.norm(dim=1, keepdim=True) * torch.eye(39).double()[:3]
    assert bool((seen.project(off).distance <= wrapped.project(off).distance + 1e-6).all())
    assert float(wrapped.distance(on).max()) < 2e-2


def test_a_plain_manifold_is_weighted_exactly_where_all_factors_are_alike():
    manifold, spectra = LocalSimplex(family(-0.5)), noisy_spectra()
    alike = WeightedManifold(manifold, torch.full((40,), 0.2).double())
    one, other = manifold.project(spectra), alike.project(0.2 * spectra)
    torch.testing.assert_close(one.spectra, other.spectra)
    torch.testing.assert_close(0.2 * one.distance, other.distance)
