"""What RLISTA is compared with: the networks of the paper (Tables IV and V), and ana-cont."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import warnings
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from torch import nn

__all__ = ["ana_cont_density", "cnn_fcn", "fcn", "has_ana_cont"]

Values = NDArray[np.floating]


def fcn(inputs: int, points: int, width: int, matrices: int) -> nn.Sequential:
    """Fully connected rival with so many weight matrices (paper, Table IV)."""
    sizes = [inputs, *[width] * (matrices - 1)]
    inner = [
        part for before, after in pairwise(sizes) for part in (nn.Linear(before, after), nn.ReLU())
    ]
    return nn.Sequential(*inner, nn.Linear(width, points), nn.Softmax(-1))


def cnn_fcn(inputs: int, points: int, width: int, channels: int = 32) -> nn.Sequential:
    """Convolutional rival (paper, Table V): a full, a convolutional and a full layer."""
    return nn.Sequential(
        nn.Linear(inputs, width),
        nn.ReLU(),
        nn.Unflatten(-1, (1, width)),
        nn.Conv1d(1, channels, 8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(channels * (width - 7), points),
        nn.Softmax(-1),
    )


def has_ana_cont() -> bool:
    return importlib.util.find_spec("ana_cont") is not None


def ana_cont_density(
    points: Values,
    data: NDArray[np.generic],
    sigma: float,
    omega: Values,
    beta: float,
    *,
    kernel: str = "time_fermionic",
    model: Values | None = None,
    offdiag: bool = False,
) -> Values:
    """Spectrum by ana-cont with chi2kink; the default model is flat, with an integral of 1.

    A ``model`` is one on the frequencies that ana-cont solves on: ``beta * omega`` for times.
    """
    if not hasattr(np, "trapz"):  # gone in numpy 2, and ana-cont 1.1.2 needs it
        np.trapz = np.trapezoid  # type: ignore[attr-defined]  # noqa: NPY201
    from ana_cont import continuation

    if model is None:
        unit = beta if kernel.startswith("time") else 1.0
        model = np.full(len(omega), 1 / (unit * (omega[-1] - omega[0])))
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # it overflows at the smallest alphas
        problem = continuation.AnalyticContinuationProblem(
            im_axis=points, re_axis=omega, im_data=data, kernel_mode=kernel, beta=beta
        )
        solution, _ = problem.solve(
            method="maxent_svd",
            alpha_determination="chi2kink",
            optimizer="newton",
            stdev=sigma * np.ones(len(data)),
            model=model,
            offdiag=offdiag,
            verbose=False,
            interactive=False,
        )
    return np.asarray(solution.A_opt)
