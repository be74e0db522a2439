"""Check integrals of spectra, and ``beta``, against the data and what the statistics demand.

The spectrum of ``<<c, c+>>`` has an integral of 1 for fermions. An integral that the data determine
and that differs from this shows what no chi^2 shows: a wrong ``beta``, unit or convention, to which
a spectrum adapts.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from arpes_ml_plugins.continuation.general_network import GeneralNetwork
from arpes_ml_plugins.continuation.network_estimate import UNDETERMINED, measured_norm
from arpes_ml_plugins.continuation.observation import Observation

__all__ = [
    "contradicted_norm",
    "is_mistimed",
    "is_open",
    "is_unnormed",
    "looks_fermionic",
    "shows_norm",
]

ROUGH = 0.02  # relative error of the norm: above it 1 is assumed, if the data do not exclude it
CERTAIN = 6.0  # standard errors
LEAST_OFF = 2e-3  # relative: what frequencies on a grid may change
COMPLETE = 3.0  # standard errors, within which data fulfil the sum rule of their end points
UNEQUAL = 10.0
"""Standard errors by which data of fermions at 0 and beta differ if those of even bosons, which may
have any value, do not."""
END = 1e-6  # of beta: closer times are at 0 or beta


def is_unnormed(network: GeneralNetwork, seen: Observation, weights: torch.Tensor) -> torch.Tensor:
    """Whether spectra ``(b, n)`` have an integral that is not 1, beyond its error, ``(b,)``."""
    _, error = measured_norm(network, seen)
    total = weights.sum(-1)
    return (total - 1).abs() > (CERTAIN * error * total.abs()).clamp(min=LEAST_OFF)


def is_open(value: torch.Tensor, error: torch.Tensor, *, usual: bool) -> torch.Tensor:
    """Whether measured norms with their relative errors are worse than assuming 1, ``(b,)``.

    Parameters
    ----------
    usual
        Whether spectra should have a norm of 1.
    """
    allowed = usual & ((value - 1).abs() < CERTAIN * error)
    return (error > UNDETERMINED) | (allowed & (error > ROUGH))


def contradicted_norm(
    network: GeneralNetwork, seen: Observation, stated: torch.Tensor | float
) -> torch.Tensor:
    """Whether data that determine their norm have another one than is stated, ``(b,)``."""
    value, error = measured_norm(network, seen)
    off = (value - stated).abs() / value.abs().clamp(min=1e-30)
    return (error <= UNDETERMINED) & (off > (CERTAIN * error).clamp(min=LEAST_OFF))


def shows_norm(seen: Observation) -> bool:
    """Whether the data contain their norm whatever ``beta`` is: times that begin at 0 and end at
    ``beta``, or Matsubara frequencies.
    """
    problem = seen.problem
    if problem.axis != "tau" or problem.coefficients:
        return problem.axis.endswith("matsubara")
    slack = END * problem.beta
    return bool(problem.times[0] <= slack) and bool(problem.times[-1] >= problem.beta - slack)


def looks_fermionic(seen: Observation) -> torch.Tensor:
    """Whether data of bosons add up to 1 at 0 and ``beta``, as those of fermions do, ``(b,)``; not
    if they are equal there.

    Any such data are those of a positive spectrum of bosons, too, so that nothing else shows it.
    """
    problem, count = seen.problem, len(seen.problem.times)
    boson = problem.statistics == "boson" and problem.axis == "tau"
    if not (boson and shows_norm(seen)):
        return torch.zeros_like(seen.which, dtype=torch.bool)
    first, last = seen.rows[:, 0], seen.rows[:, count - 1]
    error = _error_at_ends(seen, seen.rows.new_ones(2))
    unequal = (first - last).abs() > UNEQUAL * error
    measured = seen.used[:, 0] & seen.used[:, count - 1]
    return measured & unequal & ((first + last - 1).abs() < COMPLETE * error) & (error < ROUGH)


def _error_at_ends(seen: Observation, signs: torch.Tensor) -> torch.Tensor:
    """Error of the sum of the first and the last datum with these signs, ``(b,)``."""
    last = len(seen.problem.times) - 1
    if seen.covariance is None:
        return seen.errors[:, [0, last]].norm(dim=-1)
    both = seen.covariance[..., [0, last], :][..., [0, last]]
    return (both * signs[:, None] * signs).sum((-2, -1)).sqrt().expand(len(seen.rows))


def is_mistimed(
    seen: Observation, weights: torch.Tensor, norm: torch.Tensor | float | None
) -> torch.Tensor:
    """Whether data that end short of ``beta`` look as if they ended there, ``(b,)``.

    At 0 and ``beta`` data of fermions add up to the norm, and those of even bosons are equal. If
    the first and the last datum fulfil this although a spectrum that explains them changes
    between the last time and ``beta``, the last time is ``beta``.
    """
    problem = seen.problem
    no = torch.zeros(len(weights), dtype=torch.bool, device=weights.device)
    fermion = problem.statistics == "fermion"
    if problem.axis != "tau" or problem.coefficients or (fermion and norm is None):
        return no
    short = float(problem.times[-1]) < problem.beta * (1 - END)
    complete = float(problem.times[0]) <= problem.beta * END and short
    count = len(problem.times)
    if not complete:
        return no
    ends = seen.rows[:, [0, count - 1]]
    signs = ends.new_tensor([1.0, 1.0 if fermion else -1.0])
    error = _error_at_ends(seen, signs)
    at_beta = replace(problem, times=problem.times.new_tensor([problem.beta]), moments=())
    value = (weights @ at_beta.kernel.mT)[:, 0]
    demanded = norm if fermion and norm is not None else 0.0
    fulfilled = (ends @ signs - demanded).abs() < COMPLETE * error
    change = (value - ends[:, 1]).abs()
    least = LEAST_OFF * seen.rows[:, :count].abs().amax(-1)
    measured = seen.used[:, 0] & seen.used[:, count - 1]
    return measured & fulfilled & (change > least.maximum(CERTAIN * error))
