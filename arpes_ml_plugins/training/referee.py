"""Train the network that mixes the general network's solution with that of a flat model.

    python -m arpes_ml_plugins.training.referee continuation.safetensors

The training data are spectra of the broad prior, data of the kinds that the general network was
trained on, both solutions as ``continue_rlista`` finds them, and the errors of their mixtures. The
mixing network learns the share with the least error. The loss has a penalty if a mixture is much
worse than the solution of the flat model: no result should be worse with the network than without.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch

from arpes_ml_plugins.continuation.general_network import GeneralNetwork
from arpes_ml_plugins.continuation.network_estimate import (
    UNDETERMINED,
    Estimate,
    estimate,
    measured_norm,
)
from arpes_ml_plugins.continuation.observation import Observation, observations
from arpes_ml_plugins.continuation.problem import Problem, cell_widths, subdivided
from arpes_ml_plugins.continuation.referee import Referee
from arpes_ml_plugins.continuation.solvers import (
    MaxEnt,
    Pretrained,
    referee_features,
)
from arpes_ml_plugins.continuation.strengths import LOOSE_RULE
from arpes_ml_plugins.simulation.spectra import FINE, broad_spectra
from arpes_ml_plugins.training.general_continuation import COVERED, LOWEST, draw_kind, pinball, save

__all__ = ["train_referee"]

KINDS = 500
SPECTRA = 16  # of each kind
POINTS = (81, 241)  # frequencies of the result
SHARES = 11  # of the network, whose errors are measured
WORSE = 1.15  # times the error of the flat model: more has a penalty
PUNISHED = 4.0
CHOSEN = 32  # frequencies of a spectrum at which its interval is tested
STEPS = 2500


def train_referee(file: Path, *, seed: int, kinds: int) -> None:
    """Train the mixing network of the weights in ``file``, and write it to them."""
    from safetensors.torch import load_file

    stored = {name: value.float() for name, value in load_file(file).items()}
    network = GeneralNetwork(grid=stored["grid"], layers=len(stored["threshold"]))
    network.load_state_dict(network.state_dict() | stored)
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for number in range(kinds):
        parts += _examples(network, generator)
        if number % 100 == 99:
            print(f"{number + 1} kinds", flush=True)
    features, errors, points = (torch.cat(part).float() for part in zip(*parts, strict=True))
    network.referee = _trained(features, errors, points, generator)
    save(network, file)


def _examples(
    network: GeneralNetwork, generator: torch.Generator
) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Features of both solutions ``(b, FEATURES)``, errors of mixtures ``(b, SHARES)``, and at some
    frequencies the truth, both solutions and the interval ``(b, 5, CHOSEN)``.
    """
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
    found = []
    for seen in observations(problem, data, errors, None, used):
        if kind.statistics == "fermion" and bool(
            (measured_norm(network, seen)[1] > UNDETERMINED).any()
        ):
            seen = seen.with_norm(1.0)
        view = estimate(network, seen)
        if isinstance(view, Estimate):
            found.append(_compared(seen, view, fine[seen.which], omega, generator))
    return found


def _compared(
    seen: Observation,
    view: Estimate,
    fine: torch.Tensor,
    omega: torch.Tensor,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    neural = Pretrained(True, None)(seen, view)
    flat = MaxEnt(LOOSE_RULE)(seen, view)
    assert seen.problem.named is not None
    inside = slice(*seen.problem.named)
    truth = FINE * fine[:, FINE // 2 :: FINE]  # density in the middle of cells times their width
    errors = []
    for share in torch.linspace(0, 1, SHARES, device="cpu").tolist():
        mixed = torch.lerp(flat.weights, neural.weights, share)[:, inside]
        cells = mixed.unflatten(-1, (len(omega), -1)).sum(-1)
        errors.append((cells - truth).abs().sum(-1))
    widths = cell_widths(seen.problem.omega)
    densities = (neural.weights / widths, flat.weights / widths, view.lower, view.upper)
    step = omega[1] - omega[0]
    cells = (part[:, inside].unflatten(-1, (len(omega), -1)).mean(-1) * step for part in densities)
    matters = (truth > LOWEST * truth.amax(-1, keepdim=True)).double()
    at = torch.multinomial(matters, CHOSEN, replacement=True, generator=generator)
    points = torch.stack([part.gather(1, at) for part in (truth, *cells)], 1)
    return referee_features(seen, view, neural, flat), torch.stack(errors, -1), points


def _trained(
    features: torch.Tensor, errors: torch.Tensor, points: torch.Tensor, generator: torch.Generator
) -> Referee:
    referee = Referee(generator)
    referee.centre.copy_(features.mean(0))
    referee.scale.copy_(features.std(0).clamp(min=1e-3))
    kept = torch.rand(len(features), generator=generator, device="cpu") < 0.85
    training = torch.nonzero(kept)[:, 0]

    def weighed(chosen: torch.Tensor) -> torch.Tensor:
        return _loss(referee.share(features[chosen]), errors[chosen])

    _fit(referee.weighing, weighed, training, generator)
    with torch.no_grad():
        ratios = _ratios(points, referee.share(features)).log()

    def stretched_enough(chosen: torch.Tensor) -> torch.Tensor:
        wanted = referee.stretch(features[chosen]).log()[:, None]
        return pinball(wanted, ratios[chosen].clamp(-6, 6), COVERED)

    _fit(referee.stretching, stretched_enough, training, generator)
    with torch.no_grad():
        seen, whole = features[~kept], errors[~kept]
        mixed = _between(whole, referee.share(seen))
        held = ratios[~kept] <= referee.stretch(seen).log()[:, None]
        print(
            f"error {float(mixed.mean()):.4f}; network {float(whole[:, -1].mean()):.4f}, flat "
            f"{float(whole[:, 0].mean()):.4f}, best share {float(whole.amin(1).mean()):.4f}; worse "
            f"than 1.3 times flat {float((mixed > 1.3 * whole[:, 0]).float().mean()):.4f}, network "
            f"{float((whole[:, -1] > 1.3 * whole[:, 0]).float().mean()):.4f}; band holds "
            f"{float(held.float().mean()):.3f}, unstretched "
            f"{float((ratios[~kept] <= 0).float().mean()):.3f}, stretch "
            f"{float(referee.stretch(seen).median()):.2f}",
            flush=True,
        )
    return referee


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


def _ratios(points: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Errors of the mixtures over the interval on their side, ``(b, CHOSEN)``."""
    truth, neural, flat, lower, upper = points.unbind(1)
    answer = torch.lerp(flat, neural, share[:, None])
    below, above = answer - torch.minimum(lower, answer), torch.maximum(upper, answer) - answer
    reach = torch.where(truth < answer, below, above)
    return (truth - answer).abs().clamp(min=1e-9) / reach.clamp(min=1e-9)


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
