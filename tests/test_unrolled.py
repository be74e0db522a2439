"""Unrolled networks: what folding, tying, batching and training must and must not change."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from arpes_ml_plugins.continuation.general_network import GeneralNetwork, condition
from arpes_ml_plugins.continuation.ista import ista
from arpes_ml_plugins.continuation.kernels import fermion
from arpes_ml_plugins.continuation.prior import GaussianPrior
from arpes_ml_plugins.continuation.rlista import UnrolledNetwork, unroll
from arpes_ml_plugins.networks.rlista import cached_network, continuation_network
from arpes_ml_plugins.simulation.spectra import broad_spectra, centres, published_spectra
from arpes_ml_plugins.training.rlista import RECIPES, Samples

QUICK = replace(RECIPES["robust"], steps=60, batch=64, pool=1000)
TAU = tuple(torch.linspace(0, 10, 40, dtype=torch.float64).tolist())
SAMPLES = Samples(TAU, 10.0, 3.0, 1e-4)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def spectra():
    return published_spectra(200, generator(7)).double()


def kernel(sigma=1.0, grid=None):
    grid = centres() if grid is None else grid
    return fermion(torch.tensor(TAU, dtype=torch.float64), grid * 3, 10.0) / sigma


def tied(matrix, sparsity, layers):
    """So many steps of ISTA as a network (paper, below eq. 15)."""
    points = matrix.shape[1]
    network = UnrolledNetwork(len(matrix), points, layers, eta=1.0).double()
    gram = matrix.mT @ matrix
    step = 1 / torch.linalg.matrix_norm(gram, 2)
    with torch.no_grad():
        network.state.copy_(torch.eye(points) - step * gram)
        network.entry.copy_(step * matrix.mT)
        network.threshold.fill_(float(step * sparsity))
    return network


@pytest.mark.parametrize("layers", [1, 7])
def test_tied_weights_are_ista(spectra, layers):
    data = spectra[:5] @ kernel().mT
    network = tied(kernel(), 1e-3, layers)
    steps = ista(kernel(), data, 1e-3, accelerated=False, nonnegative=False, iterations=layers)
    assert torch.allclose(network(data), steps.spectrum, atol=1e-12)


def test_folding_changes_nothing():
    network = UnrolledNetwork(12, 10, 4, positive=True, generator=generator()).double()
    features = torch.randn(12, 30, generator=generator(1)).double()
    data = torch.randn(6, 30, generator=generator(2)).double()
    assert torch.allclose(network.folded(features)(data), network(data @ features.mT), atol=1e-12)


def test_the_general_network_is_a_plain_one_for_each_kind_of_data(spectra):
    network = continuation_network("cpu")
    view = network.prior.view(kernel(1e-4, network.grid))
    terms = condition(30.0, view)
    data = (spectra[:9] @ kernel(1e-4).mT) @ view.features.mT
    told = (data / data[:, -1:]).float()
    state, entry, threshold = network.fold(terms)
    plain = unroll(told, state, entry, threshold, eta=0.5, positive=True)
    plain = plain / plain.sum(-1, keepdim=True)
    assert torch.allclose(network(told, terms), plain, atol=1e-6)
    one_by_one = torch.cat([network(row[None], terms) for row in told])
    assert torch.allclose(network(told, terms), one_by_one, atol=1e-5)


def test_relaxation():
    """With W_t = 1 and no data, RLISTA and LISTA stay where they are: at zero."""
    for eta in (0.5, 1.0):
        network = UnrolledNetwork(3, 4, 2, eta=eta, generator=generator())
        assert (network(torch.zeros(1, 3)) == 0).all()
    state, entry = torch.zeros(1, 2, 2), torch.eye(2)[None]
    half = unroll(torch.ones(1, 2), state, entry, torch.zeros(1), eta=0.5, positive=False)
    assert half.tolist() == [[0.5, 0.5]]


def test_the_published_size():
    rlista = UnrolledNetwork(100, 50, 10, generator=generator())
    size = sum(p.numel() for p in rlista.parameters())
    assert size == 75_000 + 10  # "75000 parameters" and the thresholds


def test_published_spectra_are_those_of_the_paper():
    """Predicting the mean scores 0.131, the mean norm is 0.243 (10 000 spectra)."""
    spectra = published_spectra(10_000, generator(1))
    assert spectra.norm(dim=-1).mean() == pytest.approx(0.243, abs=0.003)
    assert (spectra - spectra.mean(0)).norm(dim=-1).mean() == pytest.approx(0.131, abs=0.003)
    assert spectra.sum(-1) == pytest.approx(1, abs=1e-5)


def test_broad_spectra():
    spectra = broad_spectra(900, generator(1))
    assert spectra.sum(-1) == pytest.approx(1, abs=1e-4)
    assert (spectra >= 0).all()
    assert torch.equal(spectra, broad_spectra(900, generator(1)))


def test_a_view_knows_what_the_data_determine(spectra):
    prior = GaussianPrior.of(published_spectra(5000, generator(2)))
    fine, rough = prior.view(kernel(1e-6)), prior.view(kernel(1e-2))
    assert fine.resolved > rough.resolved > 1
    noise = torch.randn(200, 40, dtype=torch.float64, generator=generator(3))
    data = spectra @ kernel(1e-4).mT + noise
    view = prior.view(kernel(1e-4))
    assert view.norm(data) == pytest.approx(1, abs=1e-3)
    usual, scatter = view.surprise(data)
    assert float(usual.mean()) == pytest.approx(1, abs=0.4)
    assert float(scatter.mean()) == pytest.approx(1, abs=0.1)
    strange = torch.zeros(1, 50, dtype=torch.float64)
    strange[0, 2] = 1.0  # all weight at the rim of the window
    assert view.surprise(strange @ kernel(1e-4).mT)[0] > 20 * usual.max()
    # The features are linear in the data, and their last one is the norm.
    features = data @ view.features.mT
    assert torch.allclose(2 * features, (2 * data) @ view.features.mT)
    assert torch.allclose(features[:, -1], view.norm(data))


def test_training_is_reproducible_and_kept(tmp_path):
    before = torch.get_rng_state()
    told = []
    first = cached_network(
        SAMPLES, QUICK, layers=3, seed=4, folder=tmp_path, report=lambda *a: told.append(a)
    )
    (file,) = tmp_path.iterdir()
    stamp = file.stat().st_mtime_ns
    again = cached_network(SAMPLES, QUICK, layers=3, seed=4, folder=tmp_path)
    fresh = cached_network(SAMPLES, QUICK, layers=3, seed=4)
    other = cached_network(SAMPLES, QUICK, layers=3, seed=5)
    assert sum(steps for steps, _ in told) == QUICK.steps
    assert file.stat().st_mtime_ns == stamp
    assert torch.equal(torch.get_rng_state(), before)
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
        assert torch.equal(value, fresh.state_dict()[name])
    assert not torch.equal(first.entry, other.entry)


def test_a_damaged_cache_is_written_anew(tmp_path):
    cached_network(SAMPLES, QUICK, layers=2, folder=tmp_path)
    (file,) = tmp_path.iterdir()
    good = file.read_bytes()
    file.write_bytes(good[: len(good) // 2])
    cached_network(SAMPLES, QUICK, layers=2, folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    assert file.read_bytes() == good


def test_training_beats_the_best_linear_estimate(spectra):
    data = spectra @ kernel().mT
    prior = GaussianPrior.of(broad_spectra(5000, generator()).unflatten(-1, (50, 5)).sum(-1))
    view = prior.view(kernel(1e-4))
    told = (data / 1e-4) @ view.features.mT
    linear = prior.mean + told[:, :-1] @ prior.root
    trained = cached_network(SAMPLES, replace(QUICK, steps=400, pool=5000), layers=4)
    errors = [(found - spectra).norm(dim=-1).mean() for found in (trained(data), linear)]
    assert errors[0] < errors[1]


def test_published_training_learns(spectra):
    """After a short training as in Table I, closer than the mean spectrum."""
    recipe = replace(RECIPES["published"], steps=300, pool=2000)
    network = cached_network(replace(SAMPLES, prior="published"), recipe, layers=4)
    errors = (network(spectra @ kernel().mT) - spectra).norm(dim=-1)
    of_the_mean = (spectra.mean(0) - spectra).norm(dim=-1)
    assert errors.mean() < 0.9 * of_the_mean.mean()


@pytest.mark.parametrize("name", RECIPES)
def test_thresholds_stay_at_zero_or_above(name, spectra):
    """Below zero a soft threshold adds a constant: the network would be affine."""
    recipe = replace(RECIPES[name], steps=150, batch=128, pool=5000)
    network = cached_network(replace(SAMPLES, prior="published"), recipe, layers=6)
    assert (network.threshold >= 0).all()
    assert (network.threshold > 0).any()


def test_general_network_has_a_prior():
    prior = GaussianPrior.of(published_spectra(500, generator()))
    network = GeneralNetwork(prior, grid=centres(), layers=2)
    assert torch.allclose(network.prior.mean.sum(), torch.tensor(1.0).double(), atol=1e-5)
