"""The algorithms of source separation, on tensors."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from arpes_ml_plugins.separation.least_squares import refine
from arpes_ml_plugins.separation.lpalm import (
    A_UPDATES,
    S_UPDATES,
    UnrolledSeparation,
    lpalm,
    project_columns,
    start_mixing,
    unroll_separation,
)
from arpes_ml_plugins.separation.metrics import match, nmse, spectral_angle
from arpes_ml_plugins.separation.palm import palm, palm_path
from arpes_ml_plugins.separation.starlet import largest_scales, starlet
from arpes_ml_plugins.simulation.mixtures import (
    Mixtures,
    add_noise,
    generalised_gaussian,
    random_split,
)
from arpes_ml_plugins.training.lpalm import LOSSES, RECIPES, train_network


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def planted(count=3, channels=12, sources=3, pixels=200, snr=40.0, seed=0):
    """Mixtures of sparse sources: X, A, S in float64."""
    draw = generator(seed)
    a = torch.randn(count, channels, sources, generator=draw).double()
    a = a / a.norm(dim=1, keepdim=True)
    s = generalised_gaussian((count, sources, pixels), 0.4, draw).double()
    s = s / s.norm(dim=-1, keepdim=True)
    return add_noise(a @ s, torch.full((count,), snr), draw), a, s


# -- starlet ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(32, 40), (7, 5), (1, 50), (3, 2, 16, 9)])
def test_starlet_adds_up(shape):
    images = torch.randn(shape, generator=generator()).double()
    coefficients = starlet(images, 3)
    assert coefficients.shape == (4, *shape)
    assert torch.allclose(coefficients.sum(0), images, atol=1e-12)


def test_starlet_is_isotropic_and_blind_to_constants():
    image = torch.randn(24, 24, generator=generator()).double()
    assert torch.allclose(starlet(image.mT, 2), starlet(image, 2).mT, atol=1e-12)
    details = starlet(torch.full((24, 30), 5.0).double(), 3)[:-1]
    assert details.abs().max() < 1e-12


def test_scales_fit_the_image():
    assert largest_scales((1, 1)) == 1
    assert largest_scales((10_000, 10_000)) == 4


# -- unrolled networks --------------------------------------------------------------------------


def small_network(layers=4, **updates):
    network = UnrolledSeparation(12, 3, layers, **updates).double()
    _, a, s = planted(1)
    network.initialise(a[0], s[0], 1e-3)
    return network


def test_hand_written_backward():
    x, _, _ = planted(2)
    network = small_network()
    start = start_mixing(x, 3) + 0.05 * torch.rand(2, 12, 3, generator=generator()).double()

    def run(weight, threshold, log_step):
        return lpalm(x, start, weight, threshold, log_step.exp())

    inputs = (network.weight, network.threshold, network.log_a_step)
    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)


def test_fast_form_is_the_plain_one():
    x, _, _ = planted(2)
    network = small_network()
    start = start_mixing(x, 3) + 0.05 * torch.rand(2, 12, 3, generator=generator()).double()
    for fast, plain in zip(network(x, start), unroll_separation(network, x, start), strict=True):
        assert torch.allclose(fast, plain, atol=1e-12)


def test_tied_weights_are_palm():
    """One layer with W = A / L_S, theta = lambda / L_S and L_A of the sources is a PALM step."""
    x, a, _ = planted(1)
    network = UnrolledSeparation(12, 3, 1).double()
    start = project_columns(a + 0.1)
    s0 = torch.zeros(1, 3, x.shape[-1]).double()
    step = palm(x, start, 1e-2, sources=s0, iterations=1)
    with torch.no_grad():
        constant = torch.linalg.matrix_norm(start[0], 2).square()
        network.weight.copy_(start / constant)
        network.threshold.fill_(float(1e-2 / constant))
        network.log_a_step.copy_(-torch.linalg.matrix_norm(step.sources[0], 2).square().log()[None])
        found_a, found_s = network(x, start)
    assert torch.allclose(found_s, step.sources, atol=1e-12)
    assert torch.allclose(found_a, step.mixing, atol=1e-12)


@pytest.mark.parametrize("s_update", S_UPDATES)
@pytest.mark.parametrize("a_update", A_UPDATES)
def test_variants_run_and_learn(s_update, a_update):
    """Every pair of updates has gradients for just the parameters it uses."""
    x, a, _ = planted(2)
    network = small_network(s_update=s_update, a_update=a_update)
    found_a, found_s = network(x, a if a_update == "fixed" else None)
    assert found_a.shape == a.shape
    (found_s.square().sum() + found_a.square().sum()).backward()
    used = {"lista-cp": "weight", "ista-llt": "log_s_step", "lista": "memory"}[s_update]
    assert getattr(network, used).grad.abs().sum() > 0
    if a_update == "fixed":
        assert torch.equal(found_a, a)


def test_batch_is_one_by_one():
    x, _, _ = planted(3)
    network = small_network()
    together = network(x)
    for i in range(3):
        for part, alone in zip(together, network(x[i : i + 1]), strict=True):
            assert torch.allclose(part[i], alone[0], atol=1e-12)


def test_pixels_in_any_order():
    x, _, _ = planted(1)
    order = torch.randperm(x.shape[-1], generator=generator())
    network = small_network()
    a, s = network(x)
    b, t = network(x[..., order])
    assert torch.allclose(a, b, atol=1e-10)
    assert torch.allclose(s[..., order], t, atol=1e-10)


def test_sources_in_any_order():
    """Columns of W permuted: sources and mixing matrix permuted."""
    x, a, _ = planted(1)
    network, other = small_network(), small_network()
    order = [2, 0, 1]
    with torch.no_grad():
        other.weight.copy_(network.weight[..., order])
    start = a + 0.05
    found, moved = network(x, start), other(x, start[..., order])
    assert torch.allclose(found[0][..., order], moved[0], atol=1e-12)
    assert torch.allclose(found[1][:, order], moved[1], atol=1e-12)


# -- PALM and refinement ------------------------------------------------------------------------


def test_palm_stops_at_a_critical_point():
    x, a, _ = planted(2, snr=30.0)
    found = palm(x, project_columns(a + 0.02), 1e-3, iterations=20000, tolerance=1e-8)
    assert found.converged.all()
    pull = found.mixing.mT @ (x - found.mixing @ found.sources)
    used = found.sources != 0
    assert torch.allclose(pull[used], 1e-3 * found.sources[used].sign(), atol=1e-6)
    assert (pull[~used].abs() <= 1e-3 + 1e-6).all()
    # The gradient for A may only point outwards of the unit ball.
    gradient = (x - found.mixing @ found.sources) @ found.sources.mT
    along = (gradient * found.mixing).sum(-2, keepdim=True)
    rim = found.mixing.norm(dim=-2, keepdim=True) > 1 - 1e-9
    assert ((gradient - torch.where(rim, along, 0) * found.mixing).abs() < 1e-6).all()
    assert (along[rim] >= -1e-9).all()


def test_palm_scales_with_the_data():
    x, a, _ = planted(1)
    one = palm(x, a + 0.05, 1e-3, iterations=300, tolerance=0)
    ten = palm(10 * x, a + 0.05, 1e-2, iterations=300, tolerance=0)
    assert torch.allclose(10 * one.sources, ten.sources, atol=1e-9)
    assert torch.allclose(one.mixing, ten.mixing, atol=1e-9)


def test_palm_path_and_refinement_come_closer_step_by_step():
    x, a, s = planted(3)
    start = project_columns(a + 0.15 * torch.rand(a.shape, generator=generator()).double())
    path = palm_path(x, start, torch.tensor([1e-1, 1e-2, 1e-3]).double())
    noise = (x - a @ s).std(dim=(-2, -1))
    mixing, sources = refine(x, path[-1].mixing, noise)
    blind = nmse(torch.linalg.pinv(start) @ x, s)
    assert (nmse(path[-1].sources, s) < blind / 2).all()
    assert nmse(sources, s).mean() < nmse(path[-1].sources, s).mean()
    assert nmse(mixing, a).mean() < nmse(path[-1].mixing, a).mean()
    assert torch.allclose(mixing.norm(dim=-2), torch.ones(3, 3).double())


def test_refinement_keeps_to_the_constraints():
    x, a, s = planted(2)
    mixing, sources = refine(x.abs(), a, (x - a @ s).std(dim=(-2, -1)), nonnegative=True)
    assert (mixing >= 0).all()
    assert (sources >= 0).all()


def test_an_empty_source_does_no_harm():
    _, a, s = planted(1)
    s[:, 1] = 0
    noise = torch.tensor([1e-5]).double()
    mixing, sources = refine(a @ s, a, noise)
    assert torch.isfinite(mixing).all()
    assert nmse(sources, s) < 1e-3


# -- simulated mixtures and training ------------------------------------------------------------


def test_mixtures_are_what_they_say():
    spectra = torch.rand(3, 20, 12, generator=generator())
    mixtures = Mixtures(spectra, pixels=300, snr=(20.0, 20.0), strongest=3.0)
    x, a, s = mixtures.draw(50, generator(1))
    strength = s.norm(dim=-1)
    assert a.norm(dim=1) == pytest.approx(1, abs=1e-5)
    assert strength.min() >= 1 / 3.001
    assert strength.max() <= 3.001
    snr = 10 * torch.log10((a @ s).square().mean((1, 2)) / (x - a @ s).square().mean((1, 2)))
    assert snr == pytest.approx(20, abs=0.5)
    again = mixtures.draw(50, generator(1))
    assert torch.equal(again[0], x)


def test_generalised_gaussians_have_the_right_tails():
    drawn = generalised_gaussian((200_000,), 1.0, generator())  # Laplace
    assert drawn.abs().mean() == pytest.approx(1, abs=0.02)
    kurtosis = drawn.pow(4).mean() / drawn.square().mean().square()
    assert kurtosis == pytest.approx(6, abs=0.5)


def test_a_random_split_has_every_index_once():
    train, test = random_split(40, 10)
    assert len(test) == 10
    assert sorted([*train.tolist(), *test.tolist()]) == list(range(40))
    assert train.tolist() != sorted(train.tolist())


@pytest.mark.parametrize("loss", LOSSES)
def test_training_learns_and_is_reproducible(loss):
    spectra = torch.rand(3, 30, 12, generator=generator())
    mixtures = Mixtures(spectra, pixels=150)
    recipe = replace(RECIPES["robust"], steps=60, batch=8, loss=loss)

    def run():
        network = UnrolledSeparation(12, 3, 10)
        return network, train_network(network, mixtures, recipe, generator(4))

    network, losses = run()
    assert losses[-1] < losses[0]
    again, _ = run()
    assert torch.equal(network.weight, again.weight)


def test_matching_and_scores():
    _, a, _ = planted(1)
    moved = -a[0][:, [2, 0, 1]] * 3
    order, signs = match(moved, a[0])
    restored = moved[:, order] * signs / 3
    assert torch.allclose(restored, a[0])
    assert nmse(restored, a[0]) < 1e-20
    assert spectral_angle(a[0], a[0]) > 100
    turned = torch.tensor([[1.0], [0.1]]), torch.tensor([[1.0], [0.0]])
    angle = math.atan(0.1)
    assert spectral_angle(*turned) == pytest.approx(-10 * math.log10(angle), abs=0.01)
