"""Train LISTA and RLISTA networks for one kind of data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from arpes_ml_plugins.continuation.kernels import KERNELS, real_rows
from arpes_ml_plugins.continuation.prior import GaussianPrior
from arpes_ml_plugins.continuation.rlista import UnrolledNetwork
from arpes_ml_plugins.report import Report
from arpes_ml_plugins.simulation.spectra import (
    FINE,
    POINTS,
    broad_spectra,
    centres,
    published_spectra,
)
from arpes_ml_plugins.training.muon import StackedMuon

__all__ = ["PRIORS", "RECIPES", "Recipe", "Samples", "new_network", "train", "trained"]

VERSION = 2  # of what is cached: raise it when training changes
LOG_EVERY = 50  # steps
POOL_CHUNK = 4096
PRIORS = ("broad", "published")


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    ``"published"`` is Table I and Appendix A of the paper: Adam, 150 epochs of 100 000 spectra of
    eq. 16 in batches of 256, the rate falling by 0.9 every 3906 steps, the root of the squared
    error, a penalty of 0.01 on the squared weights of all layers but the last, LeCun's initial
    weights. Differences from the paper, or settings not stated there:

    - Thresholds are kept at zero or above by setting negative ones to zero after each step; the
      paper calls them learnable and says no more. Free ones become negative, and with whitened data
      the network is then affine. Compared with a softplus, short trainings of RLISTA came out
      better and those of LISTA up to 3 % worse.
    - Thresholds start at 1e-3.
    - The noise of a training spectrum is drawn once, as its data are.
    - ``W_t`` is ``(n, n)``; Tables II and III print another size.
    - ``beta`` is that of the data; the paper does not give one.

    ``"robust"`` shares the layers and the loss: whitened data, non-negative normalised spectra,
    fresh noise in every step, Muon for ``W_t``, a cosine schedule, no penalty.
    """

    whitened: bool
    """Feed the posterior mean of :mod:`arpes_ml_plugins.continuation.prior`, not the raw data, and
    keep spectra non-negative and normalised."""
    steps: int
    batch: int
    pool: int  # spectra
    fresh_noise: bool
    learning_rate: float
    matrix_rate: float = 0.0
    """Of Muon on ``W_t``; 0 leaves all to Adam."""
    decay: tuple[int, float] | None = None
    """Exponential decay ``(steps, rate)`` of the learning rate; a cosine otherwise."""
    weight_penalty: float = 0.0
    """Of the squared weights, but for the last layer."""


RECIPES: dict[str, Recipe] = {
    # Table I: 150 epochs of 100 000 spectra in batches of 256.
    "published": Recipe(
        whitened=False,
        steps=150 * math.ceil(100_000 / 256),
        batch=256,
        pool=100_000,
        fresh_noise=False,
        learning_rate=0.01,
        decay=(3906, 0.9),
        weight_penalty=0.01,
    ),
    "robust": Recipe(
        whitened=True,
        steps=4000,
        batch=512,
        pool=200_000,
        fresh_noise=True,
        learning_rate=5e-3,
        matrix_rate=0.02,
    ),
}


@dataclass(frozen=True)
class Samples:
    """Training samples: spectra of a prior on ``[-window, window]``, and their data."""

    times: tuple[float, ...]
    beta: float
    window: float
    stderr: float
    prior: str = "broad"
    axis: str = "tau"

    def kernel(self, fine: int = 1) -> torch.Tensor:
        """Real rows of the forward model, float64."""
        times = torch.tensor(self.times, dtype=torch.float64, device="cpu")
        kernel = KERNELS["fermion", self.axis]
        return real_rows(kernel(times, centres(POINTS, fine) * self.window, self.beta))

    def spectra(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """``(count, POINTS * fine)``, with one point per bin for the published prior."""
        draw = broad_spectra if self.prior == "broad" else published_spectra
        chunks = [
            draw(min(POOL_CHUNK, count - start), generator) for start in range(0, count, POOL_CHUNK)
        ]
        return torch.cat(chunks)

    @property
    def fine(self) -> int:
        return FINE if self.prior == "broad" else 1


def new_network(
    samples: Samples,
    recipe: Recipe,
    spectra: torch.Tensor,
    generator: torch.Generator,
    *,
    layers: int,
    eta: float,
) -> tuple[UnrolledNetwork, torch.Tensor]:
    """An untrained network, and the matrix ``(inputs, rows)`` that makes its input from data."""
    kernel = samples.kernel()
    if not recipe.whitened:
        network = UnrolledNetwork(len(kernel), POINTS, layers, eta=eta, generator=generator)
        return network, torch.eye(len(kernel), dtype=torch.float64, device="cpu")
    prior = GaussianPrior.of(coarse(spectra[:50_000]))
    features = prior.view(kernel / samples.stderr).features / samples.stderr
    network = UnrolledNetwork(
        POINTS + 1, POINTS, layers, eta=eta, positive=True, generator=generator
    )
    with torch.no_grad():
        # Start from the best linear estimate, in units of a flat spectrum.
        network.state.mul_(0.1)
        network.entry.copy_(torch.cat([prior.root, prior.mean[:, None]], 1) * POINTS)
    return network, features


def train(
    samples: Samples,
    network: nn.Module,
    features: torch.Tensor,
    recipe: Recipe,
    spectra: torch.Tensor,
    generator: torch.Generator,
    report: Report | None = None,
) -> list[float]:
    """Train ``network`` in place by the root of the squared error (paper, Appendix A).

    Returns
    -------
    list of float
        The loss, mean of every 50 steps.
    """
    optimizers = _optimizers(network, recipe)
    losses, seen = [], 0.0
    batches = _batches(samples, features, recipe, spectra, generator)
    for step in range(recipe.steps):
        data, truth = next(batches)
        error = (network(data) - truth).square().sum(-1).sqrt().mean()
        loss = error + recipe.weight_penalty * _penalty(network) if recipe.weight_penalty else error
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        factor = _rate(recipe, step)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
            optimizer.step()
        _keep_thresholds(network)
        seen += float(error.detach())
        if (step + 1) % LOG_EVERY == 0:
            losses.append(seen / LOG_EVERY)
            seen = 0.0
            if report:
                report(LOG_EVERY, losses[-1])
    if report and recipe.steps % LOG_EVERY:
        report(recipe.steps % LOG_EVERY, None)
    return losses


@torch.no_grad()
def _keep_thresholds(network: nn.Module) -> None:
    """Set thresholds that a step has made negative to zero (a projected gradient step).

    The proximal operator of the l1 norm has no other ones. Below zero the formula of the soft
    threshold shifts every value by the same constant, and the network is affine.
    """
    if isinstance(network, UnrolledNetwork):
        network.threshold.clamp_(min=0)


def coarse(spectra: torch.Tensor) -> torch.Tensor:
    """Weights of the bins."""
    return spectra.unflatten(-1, (POINTS, -1)).sum(-1)


def _optimizers(network: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    state: list[torch.Tensor] = []
    if recipe.matrix_rate and isinstance(network, UnrolledNetwork):
        state = [network.state]
    others = [p for p in network.parameters() if not any(p is s for s in state)]
    optimizers: list[torch.optim.Optimizer] = [torch.optim.Adam(others, lr=recipe.learning_rate)]
    if state:
        optimizers.append(StackedMuon(state, lr=recipe.matrix_rate))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return optimizers


def _rate(recipe: Recipe, step: int) -> float:
    if recipe.decay is not None:
        return recipe.decay[1] ** (step / recipe.decay[0])
    warm = min(1.0, (step + 1) / 200)
    return warm * 0.5 * (1 + math.cos(math.pi * step / recipe.steps))


def _penalty(network: nn.Module) -> torch.Tensor:
    """Squared weights of all layers but the last."""
    if isinstance(network, UnrolledNetwork):
        return network.state[:-1].square().sum() + network.entry[:-1].square().sum()
    matrices = [p for p in network.parameters() if p.ndim > 1]
    return torch.stack([p.square().sum() for p in matrices[:-1]]).sum()


def _batches(
    samples: Samples,
    features: torch.Tensor,
    recipe: Recipe,
    spectra: torch.Tensor,
    generator: torch.Generator,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Endless batches of inputs and truth."""
    signal = (features @ samples.kernel(samples.fine)).float().mT
    noise = (features * samples.stderr).float().mT
    if not recipe.whitened:
        kernel = samples.kernel(samples.fine)
        clean = torch.cat([(part.double() @ kernel.mT).float() for part in spectra.split(20_000)])
        fixed = samples.stderr * _normal(clean.shape, generator)
    while True:
        order = torch.randperm(len(spectra), generator=generator, device="cpu")
        for chosen in order.split(recipe.batch):
            truth = coarse(spectra[chosen])
            if recipe.whitened:
                drawn = _normal((len(chosen), len(noise)), generator)
                data = spectra[chosen] @ signal + drawn @ noise
                yield data / data[:, -1:], truth
            elif recipe.fresh_noise:
                drawn = _normal((len(chosen), clean.shape[1]), generator)
                yield clean[chosen] + samples.stderr * drawn, truth
            else:
                yield clean[chosen] + fixed[chosen], truth


def _normal(shape: Sequence[int], generator: torch.Generator) -> torch.Tensor:
    return torch.randn(tuple(shape), generator=generator, dtype=torch.float32, device="cpu")


def trained(
    samples: Samples, recipe: Recipe, layers: int, eta: float, seed: int, report: Report | None
) -> UnrolledNetwork:
    """A network trained from the start, for raw data."""
    generator = torch.Generator().manual_seed(seed)
    spectra = samples.spectra(min(recipe.pool, recipe.steps * recipe.batch), generator)
    network, features = new_network(samples, recipe, spectra, generator, layers=layers, eta=eta)
    train(samples, network, features, recipe, spectra, generator, report)
    return network.folded(features)
