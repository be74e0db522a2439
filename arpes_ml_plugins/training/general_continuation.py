"""Training of the network behind ``continue_rlista``, on simulated spectra alone.

    python -m arpes_ml_plugins.training.general_continuation continuation.safetensors --steps 60000

Each step sees spectra of the broad prior through a few kinds of data: inverse temperatures, time
grids (or Matsubara frequencies) and errors.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch

from arpes_ml_plugins.continuation.general_network import REACH, GeneralNetwork, condition
from arpes_ml_plugins.continuation.kernels import KERNELS, matsubara_frequencies, real_rows
from arpes_ml_plugins.continuation.prior import GaussianPrior
from arpes_ml_plugins.simulation.spectra import (
    FINE,
    POINTS,
    broad_spectra,
    centres,
    published_spectra,
)
from arpes_ml_plugins.training.muon import StackedMuon

__all__ = ["Kinds", "draw_data", "train_general"]

NOISE = (5e-7, 2e-2)  # standard error over the norm
KINDS = 3000
GROUPS = 4  # kinds of data in a step
BATCH = 256  # spectra of each
POOL = 100_000
COVERED = 0.9  # of the truths, by the band


def draw_times(generator: torch.Generator) -> torch.Tensor:
    """Imaginary times over the inverse temperature: 20 to 400 points, of many makes."""
    count = int(20 * 20 ** float(torch.rand((), generator=generator)))
    kind = int(torch.randint(5, (), generator=generator))
    ends = torch.linspace(0, 1, count, dtype=torch.float64)
    if kind == 0:
        return (ends * (count - 1) + 0.5) / count  # bins
    if kind == 1:
        return (1 - torch.cos(torch.pi * ends)) / 2  # Chebyshev
    if kind == 2:
        return torch.rand(count, generator=generator, dtype=torch.float64).sort().values
    return ends


def draw_data(
    generator: torch.Generator,
) -> tuple[float, torch.Tensor, torch.Tensor, torch.Tensor]:
    """One kind of data: reach, whitened kernels at the centres and at the fine points, noise.

    The window is [-1, 1].
    """
    uniform = torch.rand(4, generator=generator).tolist()
    reach = REACH[0] * (REACH[1] / REACH[0]) ** uniform[0]
    noise = NOISE[0] * (NOISE[1] / NOISE[0]) ** uniform[1]
    if uniform[2] < 0.15:
        count = int(15 * 15 ** uniform[3])
        axis, times = "matsubara", matsubara_frequencies(count, reach)
    else:
        axis, times = "tau", draw_times(generator) * reach
    kernel = KERNELS["fermion", axis]
    rough, fine = (real_rows(kernel(times, centres(fine=points), reach)) for points in (1, FINE))
    errors = torch.full((len(rough),), noise, dtype=torch.float64)
    if float(torch.rand((), generator=generator)) < 0.3:  # errors that change along tau
        knots = torch.rand(4, generator=generator, dtype=torch.float64) * 2 - 1
        along = torch.linspace(0, 1, len(rough), dtype=torch.float64)
        waves = torch.stack([torch.cos(torch.pi * order * along) for order in range(1, 5)])
        errors = errors * (0.6 * knots @ waves).exp()
    return reach, rough / errors[:, None], fine / errors[:, None], errors


class Kinds:
    """Kinds of data, reduced to what training needs: how features come out of spectra."""

    def __init__(self, prior: GaussianPrior, count: int, generator: torch.Generator) -> None:
        terms, signal, noise = [], [], []
        for _ in range(count):
            reach, rough, fine, _ = draw_data(generator)
            view = prior.view(rough)
            features = view.features
            terms.append(condition(reach, view))
            signal.append((features @ fine).float())
            values, vectors = torch.linalg.eigh(features @ features.mT)
            noise.append((vectors * values.clamp(min=0).sqrt()).float())
        self.terms, self.signal, self.noise = map(torch.stack, (terms, signal, noise))

    def batch(
        self, spectra: torch.Tensor, groups: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Features, terms and truth of fine spectra, dealt to ``groups`` kinds of data."""
        chosen = torch.randint(len(self.terms), (groups,), generator=generator)
        dealt = spectra.unflatten(0, (groups, -1))
        shape = (*dealt.shape[:2], self.noise.shape[-1])
        drawn = torch.randn(shape, generator=generator, dtype=torch.float32)
        features = dealt @ self.signal[chosen].mT + drawn @ self.noise[chosen].mT
        # As with real data, the norm is only known from them.
        features = features / features[..., -1:]
        truth = dealt.unflatten(-1, (POINTS, FINE)).sum(-1)
        return features, self.terms[chosen], truth


def pinball(value: torch.Tensor, truth: torch.Tensor, level: float) -> torch.Tensor:
    """The loss that a quantile minimises."""
    gap = truth - value
    return torch.maximum(level * gap, (level - 1) * gap).mean()


@torch.inference_mode()
def calibrate(network: GeneralNetwork, data: Kinds, generator: torch.Generator) -> None:
    """Give the network its fine prior, and stretch the band so that it holds what it says.

    Quantiles alone hold too much: where the truth is zero nothing is below the lower one. Broad
    and published spectra count alike.
    """
    spectra = torch.cat([broad_spectra(5000, generator) for _ in range(10)])
    fine = GaussianPrior.of(spectra)
    network.fine_mean.copy_(fine.mean)
    network.fine_root.copy_(fine.root)
    network.stretch.fill_(1.0)
    ratios = []
    for draw in (broad_spectra, _published_fine):
        for _ in range(100):
            spectra = draw(GROUPS * BATCH, generator)
            features, terms, truth = data.batch(spectra, GROUPS, generator)
            spectrum = network(features, terms)
            lower, upper = network.quantiles(spectrum, features, terms)
            off = truth - spectrum
            reach = torch.where(off < 0, spectrum - lower, upper - spectrum).clamp(min=1e-9)
            # A truth of zero below a lower end that was cut at zero is inside at any stretch.
            ratio = torch.where((off < 0) & (lower == 0), 0.0, off.abs() / reach)
            ratios.append(ratio.flatten())
    network.stretch.fill_(float(np.quantile(torch.cat(ratios).numpy(), COVERED)))


def _published_fine(count: int, generator: torch.Generator) -> torch.Tensor:
    fine = torch.zeros(count, POINTS, FINE, dtype=torch.float32)
    fine[:, :, FINE // 2] = published_spectra(count, generator)
    return fine.flatten(1)


def train_general(
    file: Path, *, steps: int, seed: int, learning_rate: float, muon: float, layers: int, kinds: int
) -> None:
    """Train and write ``file`` every 5000 steps and at the end."""
    generator = torch.Generator().manual_seed(seed)
    pool = torch.cat([broad_spectra(POOL // 20, generator) for _ in range(20)])
    prior = GaussianPrior.of(pool.unflatten(-1, (POINTS, FINE)).sum(-1))
    data = Kinds(prior, kinds, generator)
    network = GeneralNetwork(prior, layers=layers, generator=torch.Generator().manual_seed(seed))
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
    started, seen = time.perf_counter(), torch.zeros(2)
    for step in range(steps):
        if step % 4 == 0:
            fresh = broad_spectra(256, generator)
            pool[torch.randint(len(pool), (256,), generator=generator)] = fresh
        chosen = pool[torch.randint(len(pool), (GROUPS * BATCH,), generator=generator)]
        features, terms, truth = data.batch(chosen, GROUPS, generator)
        spectrum = network(features, terms)
        error = (spectrum - truth).square().sum(-1).sqrt().mean()
        lower, upper = network.quantiles(spectrum.detach(), features, terms)
        band = pinball(lower, truth, 0.05) + pinball(upper, truth, 0.95)
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        (error + POINTS * band).backward()
        for optimizer, scheduler in zip(optimizers, schedulers, strict=True):
            optimizer.step()
            scheduler.step()
        keep = min(0.999, (step + 1) / (step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.values()), list(network.parameters()), 1 - keep)
        seen += torch.tensor([float(error.detach()), float(band.detach()) * POINTS])
        if (step + 1) % 500 == 0:
            spent = time.perf_counter() - started
            print(
                f"step {step + 1}: error {seen[0] / 500:.5f}, band {seen[1] / 500:.5f}, "
                f"{spent:.0f} s",
                flush=True,
            )
            seen.zero_()
        if (step + 1) % 5000 == 0 or step + 1 == steps:
            trained = GeneralNetwork(prior, layers=layers)
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
    parser.add_argument("--steps", type=int, default=60000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--muon", type=float, default=0.02)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--kinds", type=int, default=KINDS)
    train_general(**vars(parser.parse_args()))
