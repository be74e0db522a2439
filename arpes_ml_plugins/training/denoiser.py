"""Train the network of ``denoise_pretrained``, on simulated scenes alone.

The released weights are the result of six trainings: five of about six hours in all on one core,
and a last one on a GPU (NVIDIA H200), 7.2 minutes or 7700 steps of 64 images:

- 90 minutes on soft scenes and series alone, without the second part of the network;
- 69, 52, 84 and 53 minutes with sharp scenes and detectors, at learning rates of 4e-4 to 5e-4, the
  last two with the second part of the network run twice; four neighbouring slices were seen;
- ``FILE --start FIFTH --minutes 7.2 --together 8 --workers 13 --device cuda --learning-rate 8e-4
  --seed 41 --gaps 0.2``, with eight neighbouring slices on either side, volumes, and weights of
  zero for the channels that were new.

Single images and slices of series take turns, so that one network serves both; some images have
gaps.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from arpes_ml_plugins.denoising.choices import REACHES
from arpes_ml_plugins.denoising.counts_network import BESIDE, CountsNetwork
from arpes_ml_plugins.denoising.splitting import Counts
from arpes_ml_plugins.denoising.two_stage import bfloat16_is_fast
from arpes_ml_plugins.simulation.bands import log_uniform
from arpes_ml_plugins.simulation.detectors import (
    clouds,
    neighbour_correlation,
    over_dispersed,
    resampled,
)
from arpes_ml_plugins.simulation.scene import EXPOSURES, draw_exposure, draw_scene
from arpes_ml_plugins.simulation.sharp import draw_sharp

__all__ = ["Batch", "Scenes", "amplitude_loss", "scene_loss", "train_denoiser"]

Array = NDArray[np.floating]

SIZE = 128  # pixels of a training image
WHOLE = (128, 420)  # pixels of the detector it is cut from
VOLUME = 24  # slices of a simulated volume
SERIES = 4  # of these that follow each other in a batch
DARKEST = 1e-9  # mean of a scene whose brightest pixel is 1
DARKER = 0.01  # counts per pixel: the faintest volumes, whose slices are seen together
POOL = 128  # scenes kept; each is used about three times, with fresh noise
BATCH = 8
GAPS = 0.3  # fraction of images of which corners are missing, as after conversion to momentum
IMPERFECT = 0.2  # fraction of images whose variance is not quite the mean
DECAY = 0.999  # of the running mean of the weights
GRADIENT_LIMIT = 1.0
WARM_UP = 200  # steps
SHARES = (0.27, 0.4, 0.33)  # of soft scenes, sharp scenes and volumes
DETECTORS = (0.65, 0.2, 0.1, 0.05)  # counts, clouds, resampled, bunched
AMPLITUDE = 3.0  # weight of the amplitudes of weak patterns in the loss
SHOWN = 5.0  # standard deviations at which half of an amplitude's error counts


@dataclass(frozen=True)
class Batch:
    """Input ``(n, height, width)`` and target of a training step."""

    counts: torch.Tensor
    valid: torch.Tensor
    beside: torch.Tensor  # (n, 8, height, width)
    correlation: torch.Tensor  # (n, 2)
    truth: torch.Tensor
    probe: torch.Tensor
    """A weak pattern, present in the truth or not, whose amplitude must be recovered."""

    def on(self, device: str) -> Batch:
        return Batch(*(x.to(device, non_blocking=True) for x in self._tensors()))

    def pin_memory(self) -> Batch:
        """The same in memory that a GPU reads directly."""
        return Batch(*(x.pin_memory() for x in self._tensors()))

    def _tensors(self) -> Iterator[torch.Tensor]:
        return (getattr(self, each.name) for each in fields(self))

    @classmethod
    def joined(cls, batches: list[Batch]) -> Batch:
        """Several batches as one."""
        return cls(*map(torch.cat, zip(*(one._tensors() for one in batches), strict=True)))


@dataclass(frozen=True)
class _Example:
    """One scene before its exposure, ``(slices, height, width)``."""

    rate: Array
    probe: Array


class Scenes(IterableDataset[Batch]):
    """Endless batches of counts with their truth; each process that loads them draws its own.

    Iteration yields ``together`` batches as one.
    """

    def __init__(self, seed: int, gaps: float = GAPS, together: int = 1) -> None:
        self.gaps = gaps
        self.together = together
        self.seed = seed
        self.rng = np.random.default_rng(seed)
        self.soft: list[_Example] = []
        self.volumes: list[_Example] = []
        self.sharp: list[_Example] = []

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        if worker is not None:
            self.rng = np.random.default_rng((self.seed, worker.id))
            torch.set_num_threads(1)
        while True:
            yield Batch.joined([self.batch() for _ in range(self.together)])

    def batch(self) -> Batch:
        """One kind of scene after the other, at random."""
        self._keep(self.soft, self._soft(1))
        for _ in range(4):
            self._keep(self.sharp, self._sharp())
        if self.rng.random() < 0.2:
            self._keep(self.volumes, self._soft(VOLUME))
        kinds = (self.soft, self.sharp, self.volumes or self.soft)
        chosen = kinds[self.rng.choice(3, p=SHARES)]
        count = BATCH // SERIES if chosen is self.volumes else BATCH
        parts = zip(*(self._exposed(chosen) for _ in range(count)), strict=True)
        counts, beside, correlation, truth, probe = (
            torch.from_numpy(np.concatenate(part).astype(np.float32)) for part in parts
        )
        valid = torch.from_numpy(np.stack([self._valid() for _ in counts]))
        beside = beside.masked_fill(~valid[:, None], torch.nan)
        return Batch(counts, valid, beside, correlation, truth, probe)

    def _valid(self) -> NDArray[np.bool_]:
        """Mask of an image with, at times, one or two corners or sides cut off."""
        valid = np.ones((SIZE, SIZE), dtype=bool)
        if self.rng.random() >= self.gaps:
            return valid
        rows, columns = np.indices(valid.shape) / SIZE - 0.5
        for _ in range(self.rng.integers(1, 3)):
            angle = self.rng.uniform(0, 2 * np.pi)
            bend = self.rng.uniform(-0.5, 0.5)
            across = rows * np.cos(angle) + columns * np.sin(angle)
            along = columns * np.cos(angle) - rows * np.sin(angle)
            valid &= across + bend * along**2 < self.rng.uniform(0.1, 0.7)
        return valid

    def _soft(self, slices: int) -> _Example:
        whole = int(self.rng.integers(*WHOLE))
        scene = draw_scene((SIZE, SIZE), slices, self.rng, whole=whole, volume=slices > 1)
        return _Example(scene.rate.astype(np.float32), np.zeros((1, 1, 1), np.float32))

    def _sharp(self) -> _Example:
        scene = draw_sharp((SIZE, SIZE), self.rng)
        return _Example(scene.rate[None].astype(np.float32), scene.probe[None].astype(np.float32))

    def _keep(self, pool: list[_Example], example: _Example) -> None:
        if not np.isfinite(example.rate).all() or example.rate.mean() < DARKEST:
            return  # nothing was in the window
        if len(pool) < POOL:
            pool.append(example)
        else:
            pool[self.rng.integers(POOL)] = example

    def _exposed(self, pool: list[_Example]) -> tuple[Array, Array, Array, Array, Array]:
        example = self._turned(pool[self.rng.integers(len(pool))])
        factor = draw_exposure(example.rate, self.rng)
        if len(example.rate) > 1:
            return self._volume_exposed(example.rate * factor * self._fainter())
        rate = example.rate * factor
        probe = np.broadcast_to(example.probe * factor, rate.shape)
        counts, truth, seen = self._detected(rate[0], probe[0])
        correlation = np.array(neighbour_correlation(counts, truth)) + self.rng.normal(0, 0.02, 2)
        nobody = np.full((1, len(BESIDE), *truth.shape), np.nan, np.float32)
        return counts[None], nobody, correlation[None], truth[None], seen[None]

    def _fainter(self) -> float:
        """Some volumes have fewer counts than any image."""
        return log_uniform(self.rng, DARKER / EXPOSURES[0], 1) if self.rng.random() < 0.3 else 1.0

    def _volume_exposed(self, rate: Array) -> tuple[Array, Array, Array, Array, Array]:
        """Slices that follow each other, at times with the near ones alone, or none."""
        counts, truth = self._volume_detected(rate)
        start = int(self.rng.integers(len(rate) - SERIES + 1))
        shown = torch.arange(start, start + SERIES)
        images = torch.from_numpy(counts.astype(np.float32))
        reach = int(self.rng.choice(REACHES, p=(0.7, 0.2, 0.1)))
        beside = Counts(images, torch.ones_like(images, dtype=torch.bool), reach).neighbours(shown)
        if beside is None:
            beside = torch.full((SERIES, len(BESIDE), *images.shape[-2:]), torch.nan)
        counts, truth = (x[start : start + SERIES] for x in (counts, truth))
        found = [neighbour_correlation(*pair) for pair in zip(counts, truth, strict=True)]
        correlation = np.array(found) + self.rng.normal(0, 0.02, (SERIES, 2))
        return counts, beside.numpy(), correlation, truth, np.zeros_like(truth)

    def _volume_detected(self, rate: Array) -> tuple[Array, Array]:
        """Values of all slices in units of the gain at long wavelengths, and their expectation."""
        kind = self.rng.choice(("counts", "clouds", "bunched"), p=(0.65, 0.2, 0.15))
        if kind == "clouds":
            width, spread, gain = self._cloud()
            values, truth = clouds(rate, (0, *width), spread, self.rng)
            return values / gain, truth / gain
        if kind == "bunched":
            return over_dispersed(rate, log_uniform(self.rng, 1.5, 300), self.rng), rate
        return self._imperfect(rate), rate

    def _cloud(self) -> tuple[tuple[float, float], float, float]:
        """Widths of a cloud, spread of the pulse heights, and the gain that is assumed."""
        width = log_uniform(self.rng, 0.3, 1.3) * self.rng.uniform((0.5, 0.5), (1.2, 1.2))
        spread = self.rng.choice((0.0, self.rng.uniform(0.1, 0.7)))
        return tuple(width), spread, (1 + spread**2) * log_uniform(self.rng, 0.7, 1.4)

    def _detected(self, rate: Array, probe: Array) -> tuple[Array, Array, Array]:
        """Values in units of the gain at long wavelengths, their expectation, and the probe's."""
        kind = self.rng.choice(("counts", "clouds", "resampled", "bunched"), p=DETECTORS)
        if kind == "clouds":
            width, spread, gain = self._cloud()
            values, truth = clouds(rate, width, spread, self.rng)
            return values / gain, truth / gain, gaussian_filter(probe, width) / gain
        counts = self._imperfect(rate)
        if kind == "resampled":
            state = self.rng.integers(2**32)
            values, truth = resampled(counts, rate, np.random.default_rng(state))
            _, seen = resampled(counts, probe, np.random.default_rng(state))
            return values, truth, seen
        if kind == "bunched":
            return over_dispersed(rate, log_uniform(self.rng, 3, 300), self.rng), rate, probe
        return counts, rate, probe

    def _imperfect(self, rate: Array) -> Array:
        gain = self.rng.uniform(0.6, 1.6) if self.rng.random() < IMPERFECT else 1.0
        return gain * self.rng.poisson(rate / gain)

    def _turned(self, example: _Example) -> _Example:
        rate, probe = example.rate, example.probe
        for axis in range(3):
            if self.rng.random() < 0.5:
                rate, probe = np.flip(rate, axis), np.flip(probe, axis)
        if self.rng.random() < 0.25:
            rate, probe = np.swapaxes(rate, 1, 2), np.swapaxes(probe, 1, 2)
        return _Example(rate, probe)


def scene_loss(rate: torch.Tensor, truth: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Mean logarithm of each image's error, so that bright and dark images count alike.

    Half of it is the squared error of the square roots (the error in units of the noise), half
    the plain squared error (what PSNR measures).
    """
    tiny = 1e-12

    def mean(values: torch.Tensor) -> torch.Tensor:
        return (values * valid).sum((-2, -1)) / valid.sum((-2, -1))

    rooted = mean((rate.sqrt() - truth.sqrt()).square())
    plain = mean((rate - truth).square()) / mean(truth.square())
    return ((rooted + tiny).log() + (plain + tiny).log()).mean() / 2


def amplitude_loss(
    rate: torch.Tensor, truth: torch.Tensor, probe: torch.Tensor, valid: torch.Tensor
) -> torch.Tensor:
    """How much of a weak pattern is missing, or was invented; 0 if there is no pattern.

    The error of its amplitude by weighted least squares, counted where the data show it.
    """
    weight = valid / (truth + 1e-2 * truth.mean((-2, -1), keepdim=True) + 1e-6)
    information = (probe.square() * weight).sum((-2, -1))
    error = (probe * (rate - truth) * weight).sum((-2, -1)) / information.clamp(min=1e-6)
    shown = information / (information + SHOWN**2)
    return (shown * torch.nn.functional.huber_loss(error, 0 * error, reduction="none")).mean()


def train_denoiser(
    file: Path,
    *,
    start: Path | None,
    minutes: float,
    seed: int,
    learning_rate: float,
    gaps: float,
    together: int,
    workers: int,
    device: str,
) -> None:
    """Train, from ``start`` if given, and write ``file`` every 500 steps and at the end.

    A step takes ``together`` batches, which ``workers`` processes draw (this one if there are
    none). The learning rate rises at first and falls to zero as the time runs out.
    """
    torch.manual_seed(seed)
    network = _network(start, device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=1e-4)
    average = [weight.detach().clone() for weight in network.parameters()]
    loader = DataLoader(
        Scenes(seed, gaps, together), None, num_workers=workers, pin_memory=device != "cpu"
    )
    scenes = iter(loader)
    started, seen = time.perf_counter(), torch.zeros((), device=device)
    step, done = 0, 0.0
    while done < 1:
        for group in optimizer.param_groups:
            rise, fall = min(1.0, (step + 1) / WARM_UP), (1 + math.cos(math.pi * done)) / 2
            group["lr"] = learning_rate * rise * fall
        batch = next(scenes).on(device)
        rate = network(batch.counts, batch.valid, batch.beside, batch.correlation)
        loss = scene_loss(rate, batch.truth, batch.valid)
        loss = loss + AMPLITUDE * amplitude_loss(rate, batch.truth, batch.probe, batch.valid)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for weight in network.parameters():
            if weight.grad is not None:  # one bad batch must not spoil hours
                weight.grad.nan_to_num_(0, 0, 0)
        torch.nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_LIMIT)
        optimizer.step()
        step += 1
        keep = min(DECAY, step / (step + 9))
        with torch.no_grad():
            torch._foreach_lerp_(average, list(network.parameters()), 1 - keep)
        seen += loss.detach()
        done = (time.perf_counter() - started) / 60 / minutes
        if step % 100 == 0:
            print(
                f"step {step}: loss {seen.item() / 100:.4f}, {done * minutes:.1f} min", flush=True
            )
            seen.zero_()
        if step % 500 == 0 or done >= 1:
            _save(network, average, file)


def _network(start: Path | None, device: str) -> CountsNetwork:
    from safetensors.torch import load_file

    network = CountsNetwork()
    network.rounded = bfloat16_is_fast(device)
    network.arranged(torch.device(device), to_train=True)
    if start is not None:
        weights = {key: value.float() for key, value in load_file(start).items()}
        network.load_state_dict(weights, strict=False)  # a part that is new starts from nothing
    return network


def _save(network: CountsNetwork, average: list[torch.Tensor], file: Path) -> None:
    from safetensors.torch import save_file

    names = [name for name, _ in network.named_parameters()]
    half = {n: x.half().cpu().contiguous() for n, x in zip(names, average, strict=True)}
    save_file(half, file)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--start", type=Path)
    parser.add_argument("--minutes", type=float, default=90)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--gaps", type=float, default=GAPS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--together", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    torch.backends.cudnn.benchmark = True
    train_denoiser(**vars(parser.parse_args()))
