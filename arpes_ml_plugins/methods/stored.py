"""Networks: of stored weights, one of each a device, or trained once and kept in the cache."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from arpes_ml_plugins.errors import ParameterError
from arpes_ml_plugins.labelled.progress import ProgressOption, reporter
from arpes_ml_plugins.methods.checks import check_choice, check_count, check_positive
from arpes_ml_plugins.training.store import stored_weights

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.continuation.general import GeneralNetwork
    from arpes_ml_plugins.continuation.observation import Observation
    from arpes_ml_plugins.continuation.unrolled import UnrolledNetwork
    from arpes_ml_plugins.training.rlista import Recipe, Samples

__all__ = ["cache_folder", "continuation_network", "train_rlista", "trained_network"]


@functools.cache
def continuation_network(device: str) -> GeneralNetwork:
    """The general network of ``continue_rlista``."""
    import torch

    from arpes_ml_plugins.continuation.general import GeneralNetwork

    weights = stored_weights("continuation")
    layers, points = weights["threshold"].shape[0], weights["mean"].shape[0]
    with torch.random.fork_rng(devices=[]):  # layers are filled at random before they are loaded
        network = GeneralNetwork(points=points, layers=layers)
    network.float().load_state_dict(weights)  # float, whatever torch's default is
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

    from arpes_ml_plugins.training.rlista import RECIPES, Samples
    from arpes_ml_plugins.training.spectra import POINTS

    problem = seen.problem
    window = problem.half_width
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
    network = _train(samples, chosen, layers, eta, seed, progress)
    return network, torch.linspace(-window, window, POINTS, dtype=torch.float64)


def train_rlista(
    tau: ArrayLike,
    *,
    beta: float,
    stderr: float,
    window: float,
    prior: str = "broad",
    recipe: str = "robust",
    layers: int = 10,
    relaxation: float = 0.5,
    steps: int | None = None,
    seed: int = 0,
    progress: ProgressOption = False,
) -> UnrolledNetwork:
    """Train an RLISTA (or LISTA) network for one kind of data, or take it from the user's cache.

    ``continue_rlista(recipe="trained")`` does this by itself. Call it to train ahead of time, to
    use the network on bare tensors, or to repeat the paper.

    Parameters
    ----------
    tau : array_like
        Imaginary times, ascending, in ``[0, beta]``, ``(m,)``.
    beta : float
        Inverse temperature, in the unit of ``tau``.
    stderr : float
        Standard error of the data, for a spectrum of integral 1.
    window : float
        Spectra live on 50 frequencies from ``-window`` to ``window``.
    prior : {"broad", "published"}
        Spectra of many kinds, or those of eq. 16.
    recipe : {"robust", "published"}
        Whitened data, non-negative normalised spectra, fresh noise in every step, Muon and Adam
        with a cosine schedule; or raw data and Table I.
    layers : int
        Depth.
    relaxation : float
        ``eta`` of eq. 15, above 0; 1 is LISTA.
    steps : int, optional
        Default 4000, about half a minute on one core (published: 58 650, some minutes).
    seed : int
        Same seed, same network.
    progress : bool or callable
        Show a bar, or call a function with a :class:`~arpes_ml_plugins.Progress`.

    Returns
    -------
    torch.nn.Module
        From data ``(b, m)`` float64, normalised to an integral of 1, to weights ``(b, 50)``.

    Raises
    ------
    ParameterError
        A parameter is out of its range.

    References
    ----------
    Huang and Yang, Phys. Rev. B 105, 075112 (2022), eq. 15, Appendix A.

    Examples
    --------
    >>> import numpy as np
    >>> network = train_rlista(np.linspace(0, 10, 40), beta=10, stderr=1e-4, window=3, steps=5)
    >>> network.entry.shape
    torch.Size([10, 50, 40])
    """
    import numpy as np

    from arpes_ml_plugins.training.rlista import PRIORS, RECIPES, Samples

    for name, value in (("beta", beta), ("stderr", stderr), ("window", window)):
        check_positive(name, value)
    check_choice("prior", prior, PRIORS)
    check_choice("recipe", recipe, tuple(RECIPES))
    check_count("layers", layers)
    check_count("steps", steps, optional=True)
    if not 0 < relaxation <= 1:
        raise ParameterError(f"relaxation must lie above 0 and at most at 1, got {relaxation!r}")
    times = np.asarray(tau, dtype=np.float64)
    finite = times.ndim == 1 and len(times) > 1 and bool(np.isfinite(times).all())
    if not finite or times.min() < 0 or times.max() > beta * (1 + 1e-6):
        raise ParameterError(
            f"tau must be a row of imaginary times in [0, beta] = [0, {beta:g}], got shape "
            f"{times.shape}, largest {times.max(initial=0):g}"
        )
    chosen = RECIPES[recipe]
    chosen = chosen if steps is None else replace(chosen, steps=steps)
    samples = Samples(tuple(times.tolist()), float(beta), float(window), float(stderr), prior)
    return _train(samples, chosen, layers, relaxation, seed, progress)


def _train(
    samples: Samples,
    recipe: Recipe,
    layers: int,
    eta: float,
    seed: int,
    progress: ProgressOption,
) -> UnrolledNetwork:
    from arpes_ml_plugins.training.rlista import cached_network

    with reporter(progress, "train_rlista", recipe.steps) as report:
        return cached_network(
            samples, recipe, layers=layers, eta=eta, seed=seed, folder=cache_folder(), report=report
        )
