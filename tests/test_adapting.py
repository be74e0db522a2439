"""Training on the counts themselves: how much of it is used."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from arpes_ml_plugins import simulate_scene
from arpes_ml_plugins.denoising.adapting import Training, adapt, best_share
from arpes_ml_plugins.denoising.counts_denoiser import new_network
from arpes_ml_plugins.denoising.splitting import Counts, predict

ROUGH = 0.1  # relative change from the first image to the new one


@pytest.fixture
def data():
    scene = simulate_scene((48, 48), counts=5, rng=0)
    images = torch.from_numpy(scene.spectrum.values[None]).float()
    return Counts(images, torch.ones_like(images, dtype=torch.bool))


def one_flip(state, data):
    return predict(state, data, flips=1, pixels=10_000)


@pytest.mark.parametrize("checks", [0, 3])
def test_a_useless_training_is_not_used(data, checks):
    """A learning rate that destroys the network: the held-out counts send it back."""
    network = new_network(0)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    training = Training(steps=6, learning_rate=30.0, checks=checks)
    assert adapt(network, data, training, one_flip, seed=0) == 0
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


@pytest.mark.parametrize("checks", [0, 3])
def test_a_training_that_helps_is_used(data, checks):
    network = new_network(0)
    training = Training(steps=30, learning_rate=4e-3, checks=checks)
    first = one_flip(network, data)
    assert adapt(network, data, training, one_flip, seed=0) > 0
    truth = torch.from_numpy(simulate_scene((48, 48), counts=5, rng=0).truth.values)
    assert (one_flip(network, data) - truth).square().mean() < (first - truth).square().mean()


@pytest.mark.parametrize("checks", [0, 3])
def test_steps_are_those_that_were_told(data, checks):
    taken, tested = [], []

    def denoised(network, seen):
        tested.append(network)
        return torch.full_like(seen.images, 3.0)

    training = Training(steps=9, learning_rate=1e-4, checks=checks)
    adapt(
        new_network(0, (4, 4, 4)),
        data,
        training,
        denoised,
        seed=0,
        report=lambda n, _: taken.append(n),
    )
    assert taken == [training.passes(1, 48 * 48)] * 9
    assert len(tested) == training.tests


def shares(best: float, pixels: int, draws: int = 40) -> np.ndarray:
    """Shares that are found if the truth lies at the share ``best``, from new counts each time."""
    rng = np.random.default_rng(0)
    change = ROUGH * rng.standard_normal(pixels)
    other = ROUGH * rng.standard_normal(pixels)  # what neither of the images has
    first = np.full(pixels, 2.0)
    truth = first * np.exp(best * change + other)
    halfway = first * np.exp(change / 2)
    found = []
    for _ in range(draws):
        counts = rng.poisson(truth)
        gain = counts * np.log(halfway / first) - (halfway - first)
        found.append(best_share(gain.sum(), gain.std() * np.sqrt(pixels)))
    return np.array(found)


@pytest.mark.parametrize("best", [0.0, 0.3, 0.7, 1.0])
def test_many_counts_show_the_best_share(best):
    assert shares(best, 20_000).mean() == pytest.approx(best, abs=0.08)


@pytest.mark.parametrize("best", [0.0, 0.7])
def test_the_share_from_few_counts_is_that_of_other_data(best):
    found = shares(best, 100)
    assert 0.2 < found.mean() < 0.5
    assert found.std() < 0.15


@pytest.mark.parametrize("gain", [float("nan"), float("-inf"), -1e9])
def test_images_without_likelihood_take_no_share(gain):
    assert best_share(gain, 1.0) == 0
    assert best_share(1.0, float("nan")) == 0
