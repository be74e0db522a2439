"""Training of the network behind ``denoise_pretrained``, on simulated scenes alone.

    python -m arpes_ml_plugins.training.denoiser first.safetensors --steps 9000 --gaps 0
    python -m arpes_ml_plugins.training.denoiser denoiser.safetensors --start first.safetensors \
        --steps 2000 --learning-rate 3e-4 --seed 2

makes weights like the released ones in 73 and 17 minutes on one core (the released ones began with
exposures above 0.1 counts a pixel and a coarser Kramers-Kronig grid). Single images and slices of
series take turns, so that one network serves both; some images have gaps.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from arpes_ml_plugins.denoising.counts_network import AROUND, NEIGHBOURS, CountsNetwork
from arpes_ml_plugins.denoising.two_stage import bfloat16_is_fast
from arpes_ml_plugins.simulation.scene import draw_exposure, draw_scene

__all__ = ["Scenes", "scene_loss", "train_denoiser"]

SIZE = 128  # pixels of a training image
WHOLE = (128, 420)  # pixels of the detector it is cut from
SERIES = 4  # slices of a series in a batch
POOL = 128  # scenes kept; each is used about three times, with fresh noise
BATCH = 8
GAPS = 0.3  # fraction of images of which corners are missing, as after conversion to momentum
IMPERFECT = 0.2  # fraction of images whose variance is not quite the mean
DECAY = 0.999  # of the running mean of the weights
GRADIENT_LIMIT = 1.0
WARM_UP = 200  # steps


class Scenes:
    """Batches of counts, neighbours and truth, drawn for ever."""

    def __init__(self, seed: int, gaps: float = GAPS) -> None:
        self.gaps = gaps
        self.rng = np.random.default_rng(seed)
        self.singles: list[NDArray[np.floating]] = []
        self.series: list[NDArray[np.floating]] = []

    def batch(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Counts, which are valid, neighbours (with one more axis) and expectation."""
        self._refill(self.singles, 1, 2)
        if self.rng.random() < 0.4:
            self._refill(self.series, SERIES + NEIGHBOURS, 1)
        series = len(self.series) > 0 and self.rng.random() < 0.5
        chosen = self.series if series else self.singles
        images = [self._exposed(chosen) for _ in range(BATCH // SERIES if series else BATCH)]
        counts, beside, truth = (
            torch.from_numpy(np.concatenate(part).astype(np.float32))
            for part in zip(*images, strict=True)
        )
        valid = torch.from_numpy(np.stack([self._valid() for _ in counts]))
        return counts, valid, beside.masked_fill(~valid[:, None], torch.nan), truth

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

    def _refill(self, pool: list[NDArray[np.floating]], slices: int, count: int) -> None:
        for _ in range(count):
            whole = int(self.rng.integers(*WHOLE))
            rate = draw_scene((SIZE, SIZE), slices, self.rng, whole=whole).rate
            rate = rate.astype(np.float32)
            if len(pool) < POOL:
                pool.append(rate)
            else:
                pool[self.rng.integers(POOL)] = rate

    def _exposed(
        self, pool: list[NDArray[np.floating]]
    ) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]]:
        rate = self._turned(pool[self.rng.integers(len(pool))])
        rate = rate * draw_exposure(rate, self.rng)
        gain = self.rng.uniform(0.6, 1.6) if self.rng.random() < IMPERFECT else 1.0
        counts = gain * self.rng.poisson(rate / gain)
        if len(rate) == 1:
            return counts, np.full((1, NEIGHBOURS, *rate.shape[1:]), np.nan), rate
        middle = np.arange(NEIGHBOURS // 2, len(rate) - NEIGHBOURS // 2)
        beside = counts[middle[:, None] + np.array(AROUND)].astype(np.float32)
        # Slices at the ends of a series, and images alone, have fewer neighbours.
        beside[0, self.rng.random(NEIGHBOURS) < 0.5] = np.nan
        return counts[middle], beside, rate[middle]

    def _turned(self, rate: NDArray[np.floating]) -> NDArray[np.floating]:
        for axis in range(3):
            if self.rng.random() < 0.5:
                rate = np.flip(rate, axis)
        return np.swapaxes(rate, 1, 2) if self.rng.random() < 0.25 else rate


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


def train_denoiser(
    file: Path,
    *,
    start: Path | None,
    steps: int,
    seed: int,
    learning_rate: float,
    gaps: float,
    device: str,
) -> None:
    """Train, from ``start`` if given, and write ``file`` every 500 steps and at the end."""
    from safetensors.torch import load_file, save_file

    torch.manual_seed(seed)
    network = CountsNetwork().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.rounded = bfloat16_is_fast(device)
    if start is not None:
        network.load_state_dict({key: value.float() for key, value in load_file(start).items()})
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=1e-4)
    average = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    scenes = Scenes(seed, gaps)
    started, seen = time.perf_counter(), 0.0
    for step in range(steps):
        warm = min(1.0, (step + 1) / WARM_UP)
        fall = 0.5 * (1 + math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * warm * fall
        counts, valid, beside, truth = (part.to(device) for part in scenes.batch())
        loss = scene_loss(network(counts, valid, beside), truth, valid)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_LIMIT)
        optimizer.step()
        keep = min(DECAY, (step + 1) / (step + 10))
        with torch.no_grad():
            for name, weight in network.named_parameters():
                average[name].lerp_(weight, 1 - keep)
        seen += float(loss.detach())
        if (step + 1) % 100 == 0:
            minutes = (time.perf_counter() - started) / 60
            print(f"step {step + 1}: loss {seen / 100:.4f}, {minutes:.1f} min", flush=True)
            seen = 0.0
        if (step + 1) % 500 == 0 or step + 1 == steps:
            half = {name: weight.half().cpu().contiguous() for name, weight in average.items()}
            save_file(half, file)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--start", type=Path)
    parser.add_argument("--steps", type=int, default=9000)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--gaps", type=float, default=GAPS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    train_denoiser(**vars(parser.parse_args()))
