"""Training of LPALM and its variants on simulated mixtures."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from arpes_ml_plugins.separation.metrics import nmse
from arpes_ml_plugins.separation.unrolled import UnrolledSeparation
from arpes_ml_plugins.training.mixtures import Mixtures

__all__ = ["LOSSES", "RECIPES", "LpalmRecipe", "train_network"]

SPARSITY = 1e-5  # lambda of the start (paper, Appendix A)
WORST_LOSS = 3.0  # a step with a larger one is skipped
LOG_EVERY = 20

Report = Callable[[int, "float | None"], None]
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


RECIPES = {
    # Appendix A: 100 epochs over 750 mixtures, one at a time.
    "published": LpalmRecipe(75_000, 1, 1e-4, 1e-4, 1e-4, cosine=False, gradient_limit=None),
    "robust": LpalmRecipe(800, 25, 6e-3, 6e-4, 3e-2, cosine=True, gradient_limit=0.1),
}


def train_network(
    network: UnrolledSeparation,
    mixtures: Mixtures,
    recipe: LpalmRecipe,
    generator: torch.Generator,
    report: Report | None = None,
) -> list[float]:
    """Train ``network`` in place, from the start of Appendix A; the loss every 20 steps."""
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
    losses, recent = [], []
    for step in range(recipe.steps):
        x, a, s = mixtures.draw(recipe.batch, generator)
        found_a, found_s = network(x, a if known else None)
        each = LOSSES[recipe.loss](x, a, s, found_a, found_s)
        usable = torch.isfinite(each) & (each < WORST_LOSS)
        fall = 0.5 * (1 + math.cos(math.pi * step / recipe.steps)) if recipe.cosine else 1.0
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * fall
        if usable.all():
            loss = each.mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if recipe.gradient_limit is not None:
                torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.gradient_limit)
            optimizer.step()
            recent.append(float(loss.detach()))
        if (step + 1) % LOG_EVERY == 0:
            losses.append(sum(recent) / max(len(recent), 1) if recent else math.nan)
            recent = []
            if report:
                report(LOG_EVERY, losses[-1])
    return losses
