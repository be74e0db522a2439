"""Train interpolatory autoencoders, one per family of spectra."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from arpes_ml_plugins.report import Report
from arpes_ml_plugins.separation.iae import (
    SCALE,
    InterpolatoryAutoencoder,
)

__all__ = ["AUTOENCODERS", "AutoencoderRecipe", "dimension_of", "train_autoencoder"]

VERSION = 1  # of what is cached: raise it when training changes
HELD_OUT = 0.1
CHECKS = 40  # of the held-out loss, over a training
LOG_EVERY = 50
NARROW = 0.03  # of the variance: directions with less do not count as dimensions


@dataclass(frozen=True)
class AutoencoderRecipe:
    """How an autoencoder is trained."""

    steps: int
    batch: int
    rate: float
    cosine: bool


AUTOENCODERS = {
    # Table 1 of the paper: 10 000 epochs of some 24 batches.
    "published": AutoencoderRecipe(240_000, 25, 1e-4, cosine=False),
    "robust": AutoencoderRecipe(5000, 64, 5e-3, cosine=True),
}


def dimension_of(samples: torch.Tensor) -> int:
    """Estimate the number of parameters of a family, 1 or 2, from its principal components.

    A family of one parameter is a curve, and as a curve bends, its components decrease slowly. Two
    anchors are used only if a straight line explains a neighbourhood.

    Examples
    --------
    >>> line = torch.linspace(0, 1, 200)[:, None] * torch.tensor([[1.0, 2.0, 0.5]]) + 1
    >>> dimension_of(line)
    1
    """
    unit = samples / samples.norm(dim=1, keepdim=True)
    centre = unit[torch.cdist(unit, unit.mean(0, keepdim=True))[:, 0].argmin()]
    nearest = unit[torch.cdist(unit, centre[None])[:, 0].argsort()[: max(12, len(unit) // 25)]]
    spread = torch.linalg.svdvals(nearest - nearest.mean(0)).square()
    return 2 if len(spread) > 1 and spread[1] > NARROW * spread[0] else 1


def train_autoencoder(
    network: InterpolatoryAutoencoder,
    samples: torch.Tensor,
    recipe: AutoencoderRecipe,
    generator: torch.Generator,
    report: Report | None = None,
) -> None:
    """Fit ``network`` to spectra ``(samples, m)`` of length 1, in place (eq. B.2).

    The weights that do best on a tenth of the spectra, which is held out, are kept.
    """
    order = torch.randperm(len(samples), generator=generator, device="cpu")
    held = max(1, int(HELD_OUT * len(samples)))
    test, train = samples[order[:held]], samples[order[held:]]
    optimizer = torch.optim.Adam(network.parameters(), lr=recipe.rate)
    best, kept = math.inf, network.state_dict()
    check = max(recipe.steps // CHECKS, 1)
    for step in range(recipe.steps):
        if recipe.cosine:
            fall = 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
            optimizer.param_groups[0]["lr"] = recipe.rate * fall
        batch = train[torch.randint(len(train), (recipe.batch,), generator=generator, device="cpu")]
        loss = (network(batch) - batch).square().sum(1).mean() * SCALE**2
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if report and (step + 1) % LOG_EVERY == 0:
            report(LOG_EVERY, float(loss.detach()))
        if (step + 1) % check == 0 or step + 1 == recipe.steps:
            with torch.no_grad():
                error = float((network(test) - test).square().sum(1).mean())
            if error < best:
                best = error
                kept = {key: value.clone() for key, value in network.state_dict().items()}
    network.load_state_dict(kept)
    if report:
        report(recipe.steps % LOG_EVERY, None)
