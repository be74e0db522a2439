"""Training of interpolatory autoencoders, one a family of spectra."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from arpes_ml_plugins.separation.autoencoder import (
    SCALE,
    InterpolatoryAutoencoder,
    farthest_points,
)
from arpes_ml_plugins.training.cache import cached_tensors, content_key, single_precision

__all__ = ["AUTOENCODERS", "AutoencoderRecipe", "cached_autoencoder", "dimension_of"]

VERSION = 1  # of what is cached: raise it when training changes
HELD_OUT = 0.1
CHECKS = 40  # of the held-out loss, over a training
LOG_EVERY = 50
NARROW = 0.03  # of the variance: directions with less do not count as dimensions

Report = Callable[[int, "float | None"], None]


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
    """How many parameters a family seems to have, 1 or 2: from its widest principal components.

    A family of one parameter is a curve, and a curve bends: its components fall off slowly. Two
    anchors are taken only where a straight line through neighbours explains a neighbourhood.

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
    order = torch.randperm(len(samples), generator=generator)
    held = max(1, int(HELD_OUT * len(samples)))
    test, train = samples[order[:held]], samples[order[held:]]
    optimizer = torch.optim.Adam(network.parameters(), lr=recipe.rate)
    best, kept = math.inf, network.state_dict()
    check = max(recipe.steps // CHECKS, 1)
    for step in range(recipe.steps):
        if recipe.cosine:
            fall = 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
            optimizer.param_groups[0]["lr"] = recipe.rate * fall
        batch = train[torch.randint(len(train), (recipe.batch,), generator=generator)]
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


def cached_autoencoder(
    samples: torch.Tensor,
    recipe: str,
    *,
    anchors: int | None,
    layers: int,
    steps: int | None,
    seed: int,
    folder: Path | None,
    report: Report | None,
) -> InterpolatoryAutoencoder:
    """An autoencoder of a family, from the cache if it is there."""
    chosen = AUTOENCODERS[recipe] if steps is None else replace(AUTOENCODERS[recipe], steps=steps)
    samples = samples.float().cpu()
    count = dimension_of(samples) + 1 if anchors is None else anchors
    corners = farthest_points(samples, count)
    key = content_key(
        version=VERSION, samples=samples, recipe=asdict(chosen), layers=layers, seed=seed, n=count
    )

    def made() -> InterpolatoryAutoencoder:
        with single_precision(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return InterpolatoryAutoencoder(corners, layers)

    def train_it() -> dict[str, torch.Tensor]:
        network = made()
        draw = torch.Generator().manual_seed(seed)
        with single_precision():
            train_autoencoder(network, samples, chosen, draw, report)
        return network.state_dict()

    stored, found = cached_tensors(folder, f"iae-{key}", train_it)
    if found and report:
        report(chosen.steps, None)
    network = made()
    network.load_state_dict(stored)
    return network.requires_grad_(False)
