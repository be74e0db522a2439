"""``train_rlista``: networks for continuation, from the package, the cache or a training."""

from __future__ import annotations

import functools
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from arpes_ml_plugins.errors import ParameterError
from arpes_ml_plugins.labelled.progress import ProgressOption, reporter
from arpes_ml_plugins.networks import cache
from arpes_ml_plugins.networks.stored import stored_weights
from arpes_ml_plugins.parameters import check_choice, check_count, check_positive, documented
from arpes_ml_plugins.report import Report

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.continuation.general_network import GeneralNetwork
    from arpes_ml_plugins.continuation.observation import Observation
    from arpes_ml_plugins.continuation.rlista import UnrolledNetwork
    from arpes_ml_plugins.training.rlista import Recipe, Samples

__all__ = ["cached_network", "continuation_network", "train_rlista", "trained_network"]


@functools.cache
def continuation_network(device: str) -> GeneralNetwork:
    """The general network of ``continue_rlista``."""
    from arpes_ml_plugins.continuation.general_network import GeneralNetwork

    weights = stored_weights("continuation")
    network = GeneralNetwork(grid=weights["grid"], layers=len(weights["threshold"]))
    network.load_state_dict(weights)
    return network.to(device).eval().requires_grad_(False)


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

    All of ``seen`` have the same typical error and scale; if ``stderr`` is None, the estimated
    errors are used.
    """
    import torch

    from arpes_ml_plugins.simulation.spectra import POINTS
    from arpes_ml_plugins.training.rlista import RECIPES, Samples

    problem = seen.problem
    window = problem.half_width
    error = stderr or float(1 / seen.precision[0])
    samples = Samples(
        times=tuple(problem.times.tolist()),
        beta=problem.beta,
        window=window,
        stderr=error / float(seen.scale[0]),
        prior="published" if recipe == "published" else "broad",
        axis=problem.axis,
    )
    chosen = RECIPES[recipe]
    chosen = chosen if steps is None else replace(chosen, steps=steps)
    network = _train(samples, chosen, layers, eta, seed, progress)
    return network, torch.linspace(-window, window, POINTS, dtype=torch.float64, device="cpu")


@documented()
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
    progress: ProgressOption = "auto",
) -> UnrolledNetwork:
    """Train an RLISTA (or LISTA) network for one kind of data, or take it from the user's cache.

    ``continue_rlista(recipe="trained")`` does this automatically. Call it to train ahead of time,
    to use the network on bare tensors, or to reproduce [1]_.

    Parameters
    ----------
    tau : array_like
        Imaginary times, ascending, in ``[0, beta]``, ``(m,)``.
    beta : float
        Inverse temperature, in the unit of ``tau``.
    stderr : float
        Standard error of the data, for a spectrum of integral 1.
    window : float
        Largest frequency of the spectra, which have 50 points from ``-window`` to ``window``.
    prior : {"broad", "published"}
        Training spectra: of many kinds, or those of [1]_, eq. 16.
    recipe : {"robust", "published"}
        ``"robust"``: whitened data, non-negative normalised spectra, fresh noise in every step,
        Muon and Adam with a cosine schedule. ``"published"``: raw data and Table I of [1]_. Both
        keep thresholds at zero or above.
    layers : int
        Depth of the network.
    relaxation : float
        ``eta`` of [1]_, eq. 15, above 0 and at most 1. A value of 1 gives LISTA.
    steps : int, optional
        Number of training steps; default 4000, about half a minute on one core (published: 58 650,
        some minutes).
    seed : int
        Seed of the training; the same seed gives the same network.
    {progress}

    Returns
    -------
    torch.nn.Module
        Maps data ``(b, m)`` float64, normalised to an integral of 1, to weights ``(b, 50)``.

    Raises
    ------
    ParameterError
        A parameter is out of its range.

    References
    ----------
    .. [1] Huang and Yang, Phys. Rev. B 105, 075112 (2022), eq. 15, Appendix A.

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
    with reporter(progress, "train_rlista", recipe.steps) as report:
        return cached_network(
            samples,
            recipe,
            layers=layers,
            eta=eta,
            seed=seed,
            folder=cache.cache_folder(),
            report=report,
        )


def cached_network(
    samples: Samples,
    recipe: Recipe,
    *,
    layers: int = 10,
    eta: float = 0.5,
    seed: int = 0,
    folder: Path | None = None,
    report: Report | None = None,
) -> UnrolledNetwork:
    """A trained network for raw data (normalised to a norm of 1), from the cache if it is there.

    Parameters
    ----------
    folder
        Where networks are kept, named by a hash of everything that they depend on; None keeps
        nothing.
    """
    from arpes_ml_plugins.continuation.rlista import UnrolledNetwork
    from arpes_ml_plugins.simulation.spectra import POINTS
    from arpes_ml_plugins.training.rlista import VERSION, trained

    key = cache.content_key(
        version=VERSION,
        samples=asdict(samples),
        recipe=asdict(recipe),
        layers=layers,
        eta=eta,
        seed=seed,
    )

    def empty() -> UnrolledNetwork:
        inputs = len(samples.kernel())
        network = UnrolledNetwork(inputs, POINTS, layers, eta=eta, positive=recipe.whitened)
        return network.double()

    def train() -> UnrolledNetwork:
        return trained(samples, recipe, layers, eta, seed, report)

    return cache.kept_network(folder, f"rlista-{key}", empty, train, report, recipe.steps)
