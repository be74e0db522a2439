"""Networks: of stored weights, one of each a device, or trained once and kept in the cache."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from arpes_ml_plugins.labelled.progress import ProgressOption, reporter
from arpes_ml_plugins.training.store import stored_weights

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.continuation.general import GeneralNetwork
    from arpes_ml_plugins.continuation.observation import Observation
    from arpes_ml_plugins.continuation.unrolled import UnrolledNetwork

__all__ = ["cache_folder", "continuation_network", "trained_network"]


@functools.cache
def continuation_network(device: str) -> GeneralNetwork:
    """The general network of ``continue_rlista``."""
    import torch

    from arpes_ml_plugins.continuation.general import GeneralNetwork

    weights = stored_weights("continuation")
    layers, points = weights["threshold"].shape[0], weights["mean"].shape[0]
    with torch.random.fork_rng(devices=[]):  # layers are filled at random before they are loaded
        network = GeneralNetwork(points=points, layers=layers)
    network.load_state_dict(weights)
    return network.to(device).eval().requires_grad_(False)


def cache_folder() -> Path:
    """Where trained networks are kept: the user's cache, as the system has it."""
    from platformdirs import user_cache_path

    return user_cache_path("arpes_ml_plugins")


def trained_network(
    seen: Observation,
    *,
    recipe: str,
    stderr: float | None,
    eta: float,
    layers: int,
    steps: int | None,
    seed: int,
    progress: ProgressOption,
) -> tuple[UnrolledNetwork, torch.Tensor]:
    """The network for one kind of data, and the frequencies of its output.

    ``stderr`` None takes the errors that were measured.
    """
    import torch

    from arpes_ml_plugins.training.rlista import RECIPES, Samples, cached_network
    from arpes_ml_plugins.training.spectra import POINTS

    problem = seen.problem
    window = float(problem.omega.abs().max())
    error = stderr or float(1 / seen.whitener.norm(dim=1).mean())
    samples = Samples(
        times=tuple(problem.times.tolist()),
        beta=problem.beta,
        window=window,
        stderr=error / seen.scale,
        prior="published" if recipe == "published" else "broad",
        axis=problem.axis,
    )
    chosen = RECIPES[recipe]
    chosen = chosen if steps is None else replace(chosen, steps=steps)
    with reporter(progress, f"training ({recipe})", chosen.steps) as report:
        network = cached_network(
            samples, chosen, layers=layers, eta=eta, seed=seed, folder=cache_folder(), report=report
        )
    return network, torch.linspace(-window, window, POINTS, dtype=torch.float64)
