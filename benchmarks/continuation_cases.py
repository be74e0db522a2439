"""Spectra and noisy data that the benchmarks of the continuation share, and the error measures."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
import xarray as xr

from arpes_ml_plugins.continuation.kernels import fermion
from arpes_ml_plugins.errors import ConvergenceWarning, DistributionWarning
from arpes_ml_plugins.simulation.spectra import FINE, broad_spectra, centres, published_spectra
from arpes_ml_plugins.training.rlista import Samples

BETA, WINDOW, TIMES = 10.0, 3.0, 100
OMEGA = centres().numpy() * WINDOW
WIDTH = OMEGA[1] - OMEGA[0]
TESTS = 10_000
SEED = 99
TUNING_SEED = 98  # of cases that settings are chosen on; no score is taken on them


@dataclass(frozen=True)
class Case:
    """Spectra as weights of 50 bins, and their noisy data."""

    truth: torch.Tensor
    data: torch.Tensor
    tau: torch.Tensor
    beta: float
    sigma: float

    @property
    def labelled(self) -> xr.DataArray:
        return xr.DataArray(self.data.numpy(), coords={"tau": self.tau.numpy()}, dims=("k", "tau"))

    @property
    def kernel(self) -> torch.Tensor:
        return fermion(self.tau, torch.from_numpy(OMEGA), self.beta)


def make_case(
    sigma: float,
    *,
    beta: float = BETA,
    count: int = TESTS,
    kind: str = "published",
    times: int = TIMES,
    seed: int = SEED,
) -> Case:
    """``published``: eq. 16; ``broad``: the prior of the general network; ``foreign``: neither."""
    generator = torch.Generator().manual_seed(seed)
    tau = torch.linspace(0, beta, times, dtype=torch.float64)
    if kind == "published":
        fine = truth = published_spectra(count, generator).double()
        grid = centres()
    else:
        make = broad_spectra if kind == "broad" else foreign_spectra
        fine = make(count, generator).double()
        truth = fine.unflatten(-1, (-1, FINE)).sum(-1)
        grid = centres(fine=FINE)
    clean = fine @ fermion(tau, grid * WINDOW, beta).mT
    noise = torch.randn(clean.shape, generator=generator, dtype=torch.float64)
    return Case(truth, clean + sigma * noise, tau, beta, sigma)


def foreign_spectra(count: int, generator: torch.Generator) -> torch.Tensor:
    """Triangles and exponentials with an edge, which no prior here holds."""
    omega = centres(fine=FINE).float()
    place = torch.rand((count, 3), generator=generator) * 1.2 - 0.6
    width = 0.1 + 0.3 * torch.rand((count, 3), generator=generator)
    height = torch.rand((count, 3), generator=generator)
    x = (omega - place[..., None]) / width[..., None]
    triangle = (1 - x.abs()).clamp(min=0)
    edge = torch.where(x > 0, (-2 * x).exp(), 0.0)
    kind = torch.rand((count, 3, 1), generator=generator) < 0.5
    spectra = (height[..., None] * torch.where(kind, triangle, edge)).sum(1)
    return spectra / spectra.sum(-1, keepdim=True)


def rse(found: torch.Tensor, truth: torch.Tensor) -> float:
    """Eq. 18, mean."""
    return float((found - truth).norm(dim=-1).mean())


def weights(result: xr.Dataset) -> torch.Tensor:
    return torch.from_numpy(result["spectral_function"].values) * WIDTH


def quiet(run: Callable[[], xr.Dataset]) -> xr.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DistributionWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        return run()


def timed(run: Callable[[], object]) -> tuple[object, float]:
    """What ``run`` returns, and its CPU seconds."""
    started = time.process_time()
    result = run()
    return result, time.process_time() - started


def samples(sigma: float, prior: str = "published") -> Samples:
    tau = torch.linspace(0, BETA, TIMES, dtype=torch.float64)
    return Samples(tuple(tau.tolist()), BETA, WINDOW, sigma, prior)
