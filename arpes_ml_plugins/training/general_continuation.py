"""Train the network of ``continue_rlista``, on simulated spectra alone.

The released weights are the result of two trainings, 70 minutes together on one core that was also
used otherwise, and of that of the mixing network (:mod:`arpes_ml_plugins.training.referee`):

- ``FILE --steps 30000``, on fermions alone;
- ``FILE --start FIRST --steps 32000 --learning-rate 1.2e-3 --muon 0.012 --seed 2``.

Each step sees spectra of the broad prior through a few kinds of data: inverse temperatures, time
grids (or Matsubara frequencies) and errors.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from arpes_ml_plugins.continuation.general_network import REACH, GeneralNetwork, condition
from arpes_ml_plugins.continuation.kernels import KERNELS, matsubara_frequencies, real_rows
from arpes_ml_plugins.continuation.prior import GaussianPrior
from arpes_ml_plugins.continuation.problem import cell_widths, subdivided
from arpes_ml_plugins.simulation.spectra import (
    FINE,
    broad_spectra,
    window_grid,
)
from arpes_ml_plugins.training.muon import StackedMuon

__all__ = ["Kind", "Kinds", "draw_kind", "train_general"]

NOISE = (5e-8, 3e-2)  # standard error over the norm
KINDS = 2000
BOSONS = 0.2  # of the kinds
EVEN = 0.7  # of the spectra of bosons
GROUPS = 4  # kinds of data in a step
BATCH = 256  # spectra of each
POOL = 60_000
COVERED = 0.9  # coverage of the truth by the interval
LOWEST = 0.01  # of the largest density, below which the interval is not tested


def draw_times(generator: torch.Generator) -> torch.Tensor:
    """Imaginary times over the inverse temperature: 20 to 400 points, of many kinds."""
    count = int(20 * 20 ** float(torch.rand((), generator=generator, device="cpu")))
    kind = int(torch.randint(5, (), generator=generator, device="cpu"))
    ends = torch.linspace(0, 1, count, dtype=torch.float64, device="cpu")
    if kind == 0:
        return (ends * (count - 1) + 0.5) / count  # bins
    if kind == 1:
        return (1 - torch.cos(torch.pi * ends)) / 2  # Chebyshev
    if kind == 2:
        return (
            torch.rand(count, generator=generator, dtype=torch.float64, device="cpu").sort().values
        )
    return ends


@dataclass(frozen=True)
class Kind:
    """One kind of data, on the window [-1, 1]."""

    reach: float
    rough: torch.Tensor
    """Whitened kernel ``(m, n)`` at the centres of the cells."""
    fine: torch.Tensor
    """The same at the fine points, ``(m, n * FINE)``."""
    statistics: str
    axis: str
    times: torch.Tensor
    errors: torch.Tensor


def draw_kind(generator: torch.Generator) -> Kind:
    """A kind of data: inverse temperature, times or frequencies, errors."""
    uniform = torch.rand(5, generator=generator, device="cpu").tolist()
    reach = REACH[0] * (REACH[1] / REACH[0]) ** uniform[0]
    noise = NOISE[0] * (NOISE[1] / NOISE[0]) ** uniform[1]
    statistics = "boson" if uniform[4] < BOSONS else "fermion"
    if uniform[2] < 0.15:
        count = int(15 * 15 ** uniform[3])
        axis, times = "matsubara", matsubara_frequencies(count, reach, statistics)
    else:
        axis, times = "tau", draw_times(generator) * reach
    kernel = KERNELS[statistics, axis]
    grid = window_grid()
    rough, fine = (real_rows(kernel(times, at, reach)) for at in (grid, subdivided(grid, FINE)))
    errors = torch.full((len(rough),), noise, dtype=torch.float64, device="cpu")
    if statistics == "boson":  # whose data are not of the order of the norm
        errors = errors * 2 * rough.abs().mean(1).max()
    if (
        float(torch.rand((), generator=generator, device="cpu")) < 0.3
    ):  # errors that change along tau
        knots = torch.rand(4, generator=generator, dtype=torch.float64, device="cpu") * 2 - 1
        along = torch.linspace(0, 1, len(rough), dtype=torch.float64, device="cpu")
        waves = torch.stack([torch.cos(torch.pi * order * along) for order in range(1, 5)])
        errors = errors * (0.6 * knots @ waves).exp()
    rough, fine = (kernel / errors[:, None] for kernel in (rough, fine))
    return Kind(reach, rough, fine, statistics, axis, times, errors)


class Kinds:
    """Kinds of data, reduced to what training needs: how features come out of spectra."""

    def __init__(self, prior: GaussianPrior, count: int, generator: torch.Generator) -> None:
        terms, signal, noise, bosons = [], [], [], []
        for _ in range(count):
            kind = draw_kind(generator)
            view = prior.view(kind.rough)
            features = view.features
            terms.append(condition(kind.reach, view))
            signal.append((features @ kind.fine).float())
            values, vectors = torch.linalg.eigh(features @ features.mT)
            noise.append((vectors * values.clamp(min=0).sqrt()).float())
            bosons.append(kind.statistics == "boson")
        self.terms, self.signal, self.noise = map(torch.stack, (terms, signal, noise))
        self.bosons = torch.tensor(bosons, device="cpu")

    def batch(
        self, spectra: torch.Tensor, groups: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Features and terms of fine spectra that are dealt to ``groups`` kinds of data, and these.

        Most spectra of bosons are made even.
        """
        chosen = torch.randint(len(self.terms), (groups,), generator=generator, device="cpu")
        dealt = spectra.unflatten(0, (groups, -1))
        shape = (*dealt.shape[:2], self.noise.shape[-1])
        even = (
            torch.rand(shape[:2], generator=generator, device="cpu")
            < EVEN * self.bosons[chosen, None]
        )
        dealt = torch.where(even[..., None], (dealt + dealt.flip(-1)) / 2, dealt)
        drawn = torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")
        features = dealt @ self.signal[chosen].mT + drawn @ self.noise[chosen].mT
        # As with real data, the norm is only known from them.
        return features / features[..., -1:], self.terms[chosen], dealt


def pinball(value: torch.Tensor, truth: torch.Tensor, level: float) -> torch.Tensor:
    """The loss that a quantile minimises."""
    gap = truth - value
    return torch.maximum(level * gap, (level - 1) * gap).mean()


@torch.inference_mode()
def calibrate(network: GeneralNetwork, data: Kinds, generator: torch.Generator) -> None:
    """Set the fine prior of the network, and stretch the interval to its nominal coverage.

    Quantiles alone cover too much: where the truth is zero, nothing is below the lower one. The
    coverage is that above a hundredth of the largest density of each spectrum.
    """
    grid = network.grid
    fine = GaussianPrior.of(torch.cat([broad_spectra(5000, generator, grid) for _ in range(10)]))
    network.fine_mean.copy_(fine.mean)
    network.fine_root.copy_(fine.root)
    network.stretch.fill_(1.0)
    ratios = []
    for _ in range(100):
        spectra = broad_spectra(GROUPS * BATCH, generator, grid)
        spectra = spectra[torch.randperm(len(spectra), generator=generator, device="cpu")]
        features, terms, dealt = data.batch(spectra, GROUPS, generator)
        spectrum = network(features, terms)
        lower, upper = network.quantiles(spectrum, features, terms)
        truth = _in_the_middle(dealt)
        off = truth - spectrum
        reach = torch.where(off < 0, spectrum - lower, upper - spectrum).clamp(min=1e-9)
        # A truth of zero below a lower end that was cut at zero is inside at any stretch.
        ratio = torch.where((off < 0) & (lower == 0), 0.0, off.abs() / reach)
        ratios.append(ratio[_matters(truth, network)])
    network.stretch.fill_(float(np.quantile(torch.cat(ratios).numpy(), COVERED)))


def _in_the_middle(fine: torch.Tensor) -> torch.Tensor:
    """Density in the middle of each cell times the width of the cell."""
    return FINE * fine[..., FINE // 2 :: FINE]


def _matters(truth: torch.Tensor, network: GeneralNetwork) -> torch.Tensor:
    density = truth / cell_widths(network.grid).to(truth)
    return density > LOWEST * density.amax(-1, keepdim=True)


def train_general(
    file: Path,
    *,
    start: Path | None,
    steps: int,
    seed: int,
    learning_rate: float,
    muon: float,
    layers: int,
    kinds: int,
) -> None:
    """Train, from ``start`` if given, and write ``file`` every 5000 steps and at the end."""
    from safetensors.torch import load_file

    generator = torch.Generator().manual_seed(seed)
    grid = window_grid()
    pool = torch.cat([broad_spectra(POOL // 20, generator, grid) for _ in range(20)])
    prior = GaussianPrior.of(pool.unflatten(-1, (-1, FINE)).sum(-1))
    begun = {} if start is None else {name: w.float() for name, w in load_file(start).items()}
    if begun:  # features are those of the prior that it learned with
        prior = GaussianPrior(begun["mean"].double(), begun["root"].double())
    data = Kinds(prior, kinds, generator)
    network = GeneralNetwork(
        prior, grid=grid, layers=layers, generator=torch.Generator().manual_seed(seed)
    )
    network.load_state_dict(begun or network.state_dict())
    matrices = [network.state]
    others = [p for name, p in network.named_parameters() if name != "state"]
    optimizers = [
        StackedMuon(matrices, lr=muon),
        torch.optim.AdamW(others, lr=learning_rate, weight_decay=1e-4),
    ]
    schedulers = [
        torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda step: min(1, (step + 1) / 500) * 0.5 * (1 + math.cos(math.pi * step / steps)),
        )
        for optimizer in optimizers
    ]
    average = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    started, seen = time.perf_counter(), torch.zeros(2, device="cpu")
    for step in range(steps):
        if step % 4 == 0:
            places = torch.randint(len(pool), (256,), generator=generator, device="cpu")
            pool[places] = broad_spectra(256, generator, grid)
        chosen = torch.randint(len(pool), (GROUPS * BATCH,), generator=generator, device="cpu")
        features, terms, dealt = data.batch(pool[chosen], GROUPS, generator)
        truth = dealt.unflatten(-1, (-1, FINE)).sum(-1)
        spectrum = network(features, terms)
        error = (spectrum - truth).square().sum(-1).sqrt().mean()
        error = (error + (spectrum - truth).abs().sum(-1).mean()) / 2
        at = _in_the_middle(dealt)
        lower, upper = network.quantiles(spectrum.detach(), features, terms)
        band = pinball(lower, at, 0.05) + pinball(upper, at, 0.95)
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        (error + len(grid) * band).backward()
        for optimizer, scheduler in zip(optimizers, schedulers, strict=True):
            optimizer.step()
            scheduler.step()
        keep = min(0.999, (step + 1) / (step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.values()), list(network.parameters()), 1 - keep)
        seen += torch.tensor(
            [float(error.detach()), float(band.detach()) * len(grid)], device="cpu"
        )
        if (step + 1) % 500 == 0:
            spent = time.perf_counter() - started
            print(
                f"step {step + 1}: error {seen[0] / 500:.5f}, band {seen[1] / 500:.5f}, "
                f"{spent:.0f} s",
                flush=True,
            )
            seen.zero_()
        if (step + 1) % 5000 == 0 or step + 1 == steps:
            trained = GeneralNetwork(prior, grid=grid, layers=layers)
            trained.load_state_dict({**network.state_dict(), **average})
            if step + 1 == steps:
                calibrate(trained, data, generator)
            save(trained, file)


def save(network: GeneralNetwork, file: Path) -> None:
    """Weights in half precision; what features are made of stays in single."""
    from safetensors.torch import save_file

    half = ("data", "state", "band.", "fine_root")
    save_file(
        {
            name: (value.half() if name.startswith(half) else value).contiguous()
            for name, value in network.state_dict().items()
        },
        file,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--start", type=Path, help="weights to go on from")
    parser.add_argument("--steps", type=int, default=60000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--muon", type=float, default=0.02)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--kinds", type=int, default=KINDS)
    train_general(**vars(parser.parse_args()))
