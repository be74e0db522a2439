"""Train the network that mixes the general network's solution with that of a flat model.

    python -m arpes_ml_plugins.training.referee continuation.safetensors

The training data are spectra of the broad prior, data of the kinds that the general network was
trained on, both solutions as ``continue_rlista`` finds them, and the errors of their mixtures. The
mixing network learns the share with the least error. The loss has a penalty if a mixture is much
worse than the solution of the flat model: no result should be worse with the network than without.
Then it learns the factor on the interval with which the final one, that also allows for what the
data do not resolve, contains enough of the truth.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from arpes_ml_plugins.continuation.answer import Solution
from arpes_ml_plugins.continuation.checked import Checked
from arpes_ml_plugins.continuation.general_network import GeneralNetwork
from arpes_ml_plugins.continuation.network_estimate import (
    UNDETERMINED,
    Estimate,
    estimate,
    measured_norm,
)
from arpes_ml_plugins.continuation.observation import Observation, observations
from arpes_ml_plugins.continuation.problem import Problem, cell_widths, subdivided
from arpes_ml_plugins.continuation.referee import STRETCHES, Referee
from arpes_ml_plugins.continuation.solvers import (
    MaxEnt,
    Pretrained,
    referee_features,
)
from arpes_ml_plugins.simulation.spectra import FINE, broad_spectra
from arpes_ml_plugins.training.general_continuation import LOWEST, draw_kind, pinball, save

__all__ = ["train_referee"]

KINDS = 1000  # for the shares; a third of these for the interval
SPECTRA = 16  # of each kind
POINTS = (81, 241)  # frequencies of the result
SHARES = 11  # of the network, whose errors are measured
WORSE = 1.15  # times the error of the flat model: more has a penalty
PUNISHED = 4.0
COVERED = 0.94  # of the prior by the interval: of sharp spectra, which are rare in it, 0.9
FACTORS = 12  # on the network's interval, with which the final one is computed
CHOSEN = 32  # frequencies of a spectrum at which it is tested
BEYOND = 3.0  # logarithm of a factor, further than the last, where none of them is enough
STEPS = 2500

Example = tuple[torch.Tensor, torch.Tensor]


def train_referee(file: Path, *, seed: int, kinds: int) -> None:
    """Train the mixing network of the weights in ``file``, and write it to them.

    First the shares, then the factors on the intervals around the mixtures that follow from them.
    """
    from safetensors.torch import load_file

    stored = {name: value.float() for name, value in load_file(file).items()}
    network = GeneralNetwork(grid=stored["grid"], layers=len(stored["threshold"]))
    network.load_state_dict(network.state_dict() | stored)
    generator = torch.Generator().manual_seed(seed)
    features, errors = _examples(network, _compared, kinds, generator)
    network.referee = _weighing(features, errors, generator)
    features, needed = _examples(network, _factors_needed, kinds // 3, generator)
    _train_stretching(network.referee, features, needed, generator)
    save(network, file)


def _examples(
    network: GeneralNetwork,
    measured: Callable[[GeneralNetwork, _Data, torch.Generator], Example],
    kinds: int,
    generator: torch.Generator,
) -> Example:
    """Features ``(b, FEATURES)`` of data of many kinds, and what was ``measured`` of them."""
    parts: list[Example] = []
    for number in range(kinds):
        data_sets = _data_sets(network, generator)
        parts += (measured(network, data, generator) for data in data_sets)
        if number % 100 == 99:
            print(f"{number + 1} kinds", flush=True)
    told, found = zip(*parts, strict=True)
    return torch.cat(told).float(), torch.cat(found).float()


@dataclass(frozen=True)
class _Data:
    """Data sets of one kind with what the network makes of them, and their true spectra."""

    seen: Observation
    view: Estimate
    truth: torch.Tensor
    """``(b, n)``: densities in the middle of the cells around ``omega`` times their widths."""
    omega: torch.Tensor

    def solutions(self) -> tuple[Solution, Solution]:
        """That of the network, and that with a flat default model."""
        both = Pretrained(True, None), MaxEnt("chi2kink")
        neural, flat = (solve(self.seen, self.view) for solve in both)
        return neural, flat

    def of_cells(self, weights: torch.Tensor) -> torch.Tensor:
        """Weights of all frequencies ``(b, k)`` as those of the cells around ``omega``."""
        assert self.seen.problem.named is not None
        inside = weights[:, slice(*self.seen.problem.named)]
        return inside.unflatten(-1, (len(self.omega), -1)).sum(-1)


def _data_sets(network: GeneralNetwork, generator: torch.Generator) -> Iterator[_Data]:
    """Data of one kind within the range of the network."""
    kind = draw_kind(generator)
    low, high = POINTS
    count = int(torch.randint(low, high + 1, (), generator=generator, device="cpu"))
    omega = torch.linspace(-1, 1, count, dtype=torch.float64, device="cpu")
    inner = subdivided(omega, FINE)
    fine = broad_spectra(SPECTRA, generator, omega).double()
    fine = fine[torch.randperm(SPECTRA, generator=generator, device="cpu")]
    problem = Problem(kind.times, omega, kind.reach, kind.statistics, kind.axis, window=1.0)
    data = fine @ problem.on(inner).kernel.mT
    errors = kind.errors.expand_as(data)
    data = data + errors * torch.randn(
        data.shape, generator=generator, dtype=torch.float64, device="cpu"
    )
    parts = max(1, int(kind.reach * float(omega.diff()[0]) / 1.5))
    problem = Problem(
        kind.times, subdivided(omega, min(parts, 9)), kind.reach, kind.statistics, kind.axis
    ).extended()
    used = torch.ones_like(data, dtype=torch.bool)
    for seen in observations(problem, data, errors, None, used):
        if kind.statistics == "fermion" and bool(
            (measured_norm(network, seen)[1] > UNDETERMINED).any()
        ):
            seen = seen.with_norm(1.0)
        view = estimate(network, seen)
        if isinstance(view, Estimate):
            yield _Data(seen, view, FINE * fine[seen.which, FINE // 2 :: FINE], omega)


def _compared(network: GeneralNetwork, data: _Data, generator: torch.Generator) -> Example:
    """Features, and the errors of mixtures ``(b, SHARES)``."""
    neural, flat = data.solutions()
    errors = []
    for share in torch.linspace(0, 1, SHARES, device="cpu").tolist():
        mixed = data.of_cells(torch.lerp(flat.weights, neural.weights, share))
        errors.append((mixed - data.truth).abs().sum(-1))
    return referee_features(data.seen, data.view, neural, flat), torch.stack(errors, -1)


def _factors_needed(network: GeneralNetwork, data: _Data, generator: torch.Generator) -> Example:
    """Features, and at some frequencies the logarithm of the factor from which on the final
    interval contains the truth, ``(b, CHOSEN)``.
    """
    seen, view, truth = data.seen, data.view, data.truth
    neural, flat = data.solutions()
    mixed = Pretrained(True, None, weighed=True).mixed(seen, view, neural, flat)
    assert mixed.stretch is not None
    widths = cell_widths(seen.problem.omega)
    matters = (truth > LOWEST * truth.amax(-1, keepdim=True)).double()
    at = torch.multinomial(matters, CHOSEN, replacement=True, generator=generator)
    logs = torch.linspace(*STRETCHES, FACTORS, dtype=truth.dtype, device="cpu")
    needed = torch.full_like(truth, float(logs[-1]) + BEYOND)
    for log in logs.flip(0).tolist():
        given = replace(mixed, stretch=torch.full_like(mixed.stretch, math.exp(log)))
        lower, upper = (
            data.of_cells(end * widths) for end in _final_interval(network, seen, given)
        )
        needed = torch.where((lower <= truth) & (truth <= upper), log, needed)
    needed = torch.where(needed <= logs[0], needed - BEYOND, needed)
    return referee_features(seen, view, neural, flat), needed.gather(1, at)


def _final_interval(
    network: GeneralNetwork, seen: Observation, solution: Solution
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ends of the interval ``(b, n)`` that users get around a solution, as densities."""

    def given(seen: Observation, view: Estimate | str) -> Solution:
        return solution

    found = Checked(network, given).everywhere(seen)
    assert found.lower is not None
    assert found.upper is not None
    return found.lower, found.upper


def _weighing(features: torch.Tensor, errors: torch.Tensor, generator: torch.Generator) -> Referee:
    """A mixing network that is trained for shares."""
    referee = Referee(generator)
    referee.centre.copy_(features.mean(0))
    referee.scale.copy_(features.std(0).clamp(min=1e-3))
    training, others = _parts(len(features))

    def weighed(chosen: torch.Tensor) -> torch.Tensor:
        return _loss(referee.share(features[chosen]), errors[chosen])

    _fit(referee.weighing, weighed, training, generator)
    with torch.no_grad():
        whole = errors[others]
        mixed = _between(whole, referee.share(features[others]))
        print(
            f"error {float(mixed.mean()):.4f}; network {float(whole[:, -1].mean()):.4f}, flat "
            f"{float(whole[:, 0].mean()):.4f}, best share {float(whole.amin(1).mean()):.4f}; worse "
            f"than 1.3 times flat {float((mixed > 1.3 * whole[:, 0]).float().mean()):.4f}, network "
            f"{float((whole[:, -1] > 1.3 * whole[:, 0]).float().mean()):.4f}",
            flush=True,
        )
    return referee


def _train_stretching(
    referee: Referee, features: torch.Tensor, needed: torch.Tensor, generator: torch.Generator
) -> None:
    training, others = _parts(len(features))

    def stretched_enough(chosen: torch.Tensor) -> torch.Tensor:
        stretch = referee.stretch(features[chosen]).log()[:, None]
        return pinball(stretch, needed[chosen], COVERED)

    _fit(referee.stretching, stretched_enough, training, generator)
    with torch.no_grad():
        stretch = referee.stretch(features[others]).log()
        held = (needed[others] <= stretch[:, None]).float().mean()
        print(f"band holds {float(held):.3f}, stretch {float(stretch.exp().median()):.2f}")


def _parts(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Examples for training, and the last ones, of other kinds of data, for tests."""
    every = torch.arange(count, device="cpu")
    kept = int(0.85 * count)
    return every[:kept], every[kept:]


def _fit(
    part: torch.nn.Module,
    loss: Callable[[torch.Tensor], torch.Tensor],
    training: torch.Tensor,
    generator: torch.Generator,
) -> None:
    optimizer = torch.optim.AdamW(part.parameters(), lr=3e-3, weight_decay=5e-2)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        chosen = training[torch.randint(len(training), (512,), generator=generator, device="cpu")]
        optimizer.zero_grad(set_to_none=True)
        loss(chosen).backward()
        optimizer.step()
        scheduler.step()


def _loss(share: torch.Tensor, errors: torch.Tensor) -> torch.Tensor:
    mixed, flat = _between(errors, share), errors[:, 0]
    return (mixed / errors.amin(1).clamp(min=0.02)).log1p().mean() + PUNISHED * torch.relu(
        mixed - WORSE * flat - 0.005
    ).mean()


def _between(errors: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Error of a mixture, linear between the measured shares."""
    place = share * (SHARES - 1)
    below = place.detach().floor().long().clamp(0, SHARES - 2)
    part = place - below
    left, right = (errors.gather(1, (below + k)[:, None])[:, 0] for k in (0, 1))
    return left + part * (right - left)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--kinds", type=int, default=KINDS)
    train_referee(**vars(parser.parse_args()))
