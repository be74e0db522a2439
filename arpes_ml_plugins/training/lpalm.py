"""Train LPALM and its variants on simulated mixtures."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from arpes_ml_plugins.report import Report
from arpes_ml_plugins.separation.lpalm import UnrolledSeparation
from arpes_ml_plugins.separation.metrics import nmse
from arpes_ml_plugins.simulation.mixtures import Mixtures, random_split

__all__ = ["LOSSES", "RECIPES", "LpalmRecipe", "mixtures_like", "train_network"]

VERSION = 2  # of what is cached: raise it when training changes
VALIDATION = 50  # mixtures
CHECKS = 20  # of the validation loss, over a training
PATIENCE = 6  # checks without a better one
FEWEST_TO_SPLIT = 20

SPARSITY = 1e-5  # lambda of the start (paper, Appendix A)
LOG_EVERY = 20
MOST = 15  # usable steps of twenty, for weights to go back to
SLOWER = 0.5  # learning rates, after a training that has diverged

Loss = Callable[..., torch.Tensor]


def supervised(
    x: torch.Tensor, a: torch.Tensor, s: torch.Tensor, found_a: torch.Tensor, found_s: torch.Tensor
) -> torch.Tensor:
    """Eq. 9."""
    return nmse(found_s, s) + nmse(found_a, a)


def on_sources(
    x: torch.Tensor, a: torch.Tensor, s: torch.Tensor, found_a: torch.Tensor, found_s: torch.Tensor
) -> torch.Tensor:
    """Supervised on S only (Appendix D.5)."""
    return nmse(found_s, s)


def on_mixing(
    x: torch.Tensor, a: torch.Tensor, s: torch.Tensor, found_a: torch.Tensor, found_s: torch.Tensor
) -> torch.Tensor:
    """Supervised on A only (Appendix D.5)."""
    return nmse(found_a, a)


def unsupervised(
    x: torch.Tensor, a: torch.Tensor, s: torch.Tensor, found_a: torch.Tensor, found_s: torch.Tensor
) -> torch.Tensor:
    """Misfit of the data (Appendix D.5)."""
    return nmse(found_a @ found_s, x)


LOSSES: dict[str, Loss] = {
    "sources and mixing": supervised,
    "sources": on_sources,
    "mixing": on_mixing,
    "unsupervised": unsupervised,
}


@dataclass(frozen=True)
class LpalmRecipe:
    """How a network is trained."""

    steps: int
    batch: int
    weight_rate: float
    threshold_rate: float
    step_rate: float  # of log L_A and log L_S
    cosine: bool
    gradient_limit: float | None
    loss: str = "sources and mixing"
    worst_loss: float = 3.0  # a step with a larger one is skipped
    held_out: float = 0.1  # of the spectra of a family, for a validation that may stop training


RECIPES = {
    # Appendix A: as many steps as 100 epochs over 750 mixtures have, one at a time.
    "published": LpalmRecipe(
        75_000,
        1,
        1e-4,
        1e-4,
        1e-4,
        cosine=False,
        gradient_limit=None,
        worst_loss=math.inf,
        held_out=0.0,
    ),
    "robust": LpalmRecipe(3000, 5, 6e-3, 6e-4, 3e-2, cosine=True, gradient_limit=0.1),
}


def train_network(
    network: UnrolledSeparation,
    mixtures: Mixtures,
    recipe: LpalmRecipe,
    generator: torch.Generator,
    report: Report | None = None,
    validation: Mixtures | None = None,
) -> list[float]:
    """Train ``network`` in place, from the start of Appendix A; the loss every 20 steps.

    With ``validation``, the weights with the lowest loss on its mixtures are kept, and training
    stops after six checks, of twenty in all, without a lower one. If hardly any of twenty steps was
    usable, training continues from the weights before them, at half the rates.
    """
    _, mixing, sources = mixtures.draw(1, generator)
    network.initialise(mixing[0], sources[0], SPARSITY)
    optimizer = torch.optim.Adam(
        [
            {"params": [network.weight, network.memory], "lr": recipe.weight_rate},
            {"params": [network.threshold], "lr": recipe.threshold_rate},
            {"params": [network.log_a_step, network.log_s_step], "lr": recipe.step_rate},
        ]
    )
    rates = [group["lr"] for group in optimizer.param_groups]
    known = network.a_update == "fixed"
    losses, recent, sound, slower = [], [], _copied(network), 1.0
    watch = _Watch(network, recipe, validation, generator) if validation else None
    for step in range(recipe.steps):
        x, a, s = mixtures.draw(recipe.batch, generator)
        found_a, found_s = network(x, a if known else None)
        each = LOSSES[recipe.loss](x, a, s, found_a, found_s)
        usable = torch.isfinite(each) & (each < recipe.worst_loss)
        fall = 0.5 * (1 + math.cos(math.pi * step / recipe.steps)) if recipe.cosine else 1.0
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * fall * slower
        if usable.all():
            loss = each.mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if recipe.gradient_limit is not None:
                torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.gradient_limit)
            optimizer.step()
            with torch.no_grad():  # below zero it would push values away from zero
                network.threshold.clamp_(min=0)
            recent.append(float(loss.detach()))
        if (step + 1) % LOG_EVERY == 0:
            losses.append(sum(recent) / len(recent) if recent else math.nan)
            if len(recent) > MOST:
                sound = _copied(network)
            elif len(recent) < LOG_EVERY - MOST:
                network.load_state_dict(sound)
                optimizer.state.clear()
                slower *= SLOWER
            recent = []
            if report:
                report(LOG_EVERY, losses[-1])
        if watch and (step + 1) % max(recipe.steps // CHECKS, 1) == 0 and watch.enough():
            break
    if report:
        report(recipe.steps - LOG_EVERY * len(losses), None)
    if watch:
        watch.restore()
    return losses


def _copied(network: UnrolledSeparation) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in network.state_dict().items()}


class _Watch:
    """The best weights so far, by a validation loss."""

    def __init__(
        self,
        network: UnrolledSeparation,
        recipe: LpalmRecipe,
        mixtures: Mixtures,
        generator: torch.Generator,
    ) -> None:
        self._network, self._loss = network, LOSSES[recipe.loss]
        self._set = mixtures.draw(VALIDATION, generator)
        self._best, self._weights, self._since = math.inf, _copied(network), 0

    @torch.no_grad()
    def enough(self) -> bool:
        x, a, s = self._set
        found = self._network(x, a if self._network.a_update == "fixed" else None)
        loss = float(self._loss(x, a, s, *found).median())
        self._since += 1
        if loss < self._best:
            self._best, self._weights, self._since = loss, _copied(self._network), 0
        return self._since >= PATIENCE

    def restore(self) -> None:
        self._network.load_state_dict(self._weights)


def mixtures_like(
    families: torch.Tensor, recipe: str, *, snr: tuple[float, float], pixels: int
) -> tuple[Mixtures, Mixtures | None]:
    """Mixtures for training and, if the recipe has it, for validation.

    As published, or with sources of any strength.

    Parameters
    ----------
    families
        ``(n, samples, m)``.
    """
    if recipe == "published":
        base = Mixtures(families, pixels=pixels, snr=snr)
    else:
        base = Mixtures(
            families, pixels=pixels, snr=snr, exponents=(0.3, 0.8), strongest=3.0, normalised=True
        )
    count, share = families.shape[1], RECIPES[recipe].held_out
    if share == 0:
        return base, None
    if count < FEWEST_TO_SPLIT:
        return base, base
    train, test = random_split(count, max(2, int(share * count)))
    return replace(base, spectra=families[:, train]), replace(base, spectra=families[:, test])
