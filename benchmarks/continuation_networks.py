"""The paper's claims about networks: the parts of ``continuation.py`` that train them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
import xarray as xr
from continuation_cases import (
    BETA,
    OMEGA,
    SEED,
    TIMES,
    TUNING_SEED,
    Case,
    make_case,
    quiet,
    rse,
    samples,
    timed,
    weights,
)
from continuation_peers import cnn_fcn, fcn
from tables import write
from torch import nn

import arpes_ml_plugins
from arpes_ml_plugins.continuation.general_network import condition
from arpes_ml_plugins.continuation.maxent import RULES, maxent
from arpes_ml_plugins.continuation.prior import GaussianPrior
from arpes_ml_plugins.continuation.rlista import UnrolledNetwork
from arpes_ml_plugins.networks.rlista import cached_network, continuation_network
from arpes_ml_plugins.simulation.spectra import published_spectra
from arpes_ml_plugins.training.general_continuation import draw_kind
from arpes_ml_plugins.training.rlista import RECIPES, Recipe, new_network, train

ARCHITECTURES: dict[str, Callable[[int, torch.Generator], nn.Module]] = {
    **{
        f"LISTA {n}": lambda m, g, n=n: UnrolledNetwork(m, 50, n, eta=1.0, generator=g)
        for n in (4, 5, 6, 7)
    },
    **{
        f"RLISTA {n}": lambda m, g, n=n: UnrolledNetwork(m, 50, n, generator=g)
        for n in (4, 6, 8, 10, 20, 40)
    },
    **{f"FCN-2 {w}": lambda m, g, w=w: fcn(m, 50, w, 2) for w in (100, 400, 1600)},
    **{f"FCN-3 {w}": lambda m, g, w=w: fcn(m, 50, w, 3) for w in (100, 300, 600)},
    **{f"FCN-4 {w}": lambda m, g, w=w: fcn(m, 50, w, 4) for w in (100, 256, 500)},
    **{f"CNN-FCN {w}": lambda m, g, w=w: cnn_fcn(m, 50, w) for w in (50, 100)},
}
RATES = (1e-3, 3e-3, 1e-2, 3e-2)
TUNING, FINAL = 600, 4000  # steps of 256 spectra
FINALISTS = 2  # rates that are trained in full
TUNED_ON = 3000  # spectra that the learning rate is chosen on
INPUTS = (False, True)  # raw data, whitened data


def networks() -> None:
    """Fig. 2b: every architecture at its own learning rate, on raw and on whitened data.

    Of four rates the two best in a short training are trained in full, and the better one is taken:
    both judged on other spectra and other noise than those scored.
    """
    rows: list[dict[str, object]] = []
    tuning, case = make_case(1e-5, count=TUNED_ON, seed=TUNING_SEED), make_case(1e-5)
    for whitened in INPUTS:
        rows.append(
            {
                "network": "none: linear estimate",
                "input": "whitened" if whitened else "raw",
                "parameters": 0,
                "rse": _linear(case),
            }
        )
        for name, make in ARCHITECTURES.items():
            chosen = _chosen(make, whitened, tuning)
            rows.append(
                {
                    "network": name,
                    "input": "whitened" if whitened else "raw",
                    "parameters": sum(p.numel() for p in chosen.network.parameters()),
                    "learning rate": chosen.rate,
                    "rse": chosen.score(case),
                    **_thresholds(chosen.network),
                    "training CPU s": chosen.seconds,
                }
            )
            write("continuation_networks.csv", rows)


def _linear(case: Case) -> float:
    """RSE of the posterior mean under a Gaussian prior, which is affine in the data."""
    own = samples(1e-5)
    prior = GaussianPrior.of(_pool(50_000)[0])
    view = prior.view(own.kernel() / own.stderr)
    inputs = case.data @ view.features.mT / own.stderr
    inputs = inputs / inputs[:, -1:]
    return rse(prior.mean + inputs[:, :-1] @ prior.root, case.truth)


@cache
def _drawn(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return samples(1e-5).spectra(count, generator), generator.get_state()


def _pool(count: int) -> tuple[torch.Tensor, torch.Generator]:
    """Spectra to train on, the same for all networks, and the generator that drew them."""
    spectra, state = _drawn(count)
    generator = torch.Generator()
    generator.set_state(state)
    return spectra, generator


def _thresholds(network: nn.Module) -> dict[str, object]:
    """All thresholds of an unrolled network, first layer first."""
    if not isinstance(network, UnrolledNetwork):
        return {"thresholds": ""}
    return {"thresholds": " ".join(f"{t:.4f}" for t in network.threshold.tolist())}


Maker = Callable[[int, torch.Generator], nn.Module]


@dataclass(frozen=True)
class Fitted:
    """A network trained from scratch, the matrix that makes its input, and how it was trained."""

    network: nn.Module
    features: torch.Tensor
    whitened: bool
    rate: float
    seconds: float  # of the CPU

    def score(self, case: Case) -> float:
        """RSE."""
        inputs = case.data @ self.features.mT
        inputs = inputs / inputs[:, -1:] if self.whitened else inputs
        with torch.inference_mode():
            return rse(self.network(inputs.float()).double(), case.truth)


def _chosen(make: Maker, whitened: bool, tuning: Case) -> Fitted:
    short = {rate: _fitted(make, whitened, rate, TUNING).score(tuning) for rate in RATES}
    finalists = sorted(RATES, key=lambda rate: short[rate])[:FINALISTS]
    full = [_fitted(make, whitened, rate, FINAL) for rate in finalists]
    return min(full, key=lambda one: one.score(tuning))


def _fitted(make: Maker, whitened: bool, rate: float, steps: int) -> Fitted:
    own = samples(1e-5)
    recipe = Recipe(
        whitened=whitened,
        steps=steps,
        batch=256,
        pool=100_000,
        fresh_noise=True,
        learning_rate=rate,
    )
    pool, generator = _pool(recipe.pool)
    torch.manual_seed(1)
    _, features = new_network(own, recipe, pool, generator, layers=1, eta=0.5)
    network = make(len(features), generator)
    _, seconds = timed(lambda: train(own, network, features, recipe, pool, generator))
    return Fitted(network, features, whitened, rate, seconds)


def published() -> None:
    """RLISTA of 10 layers as Table I says, with and without the penalty on the weights."""
    rows: list[dict[str, object]] = []
    case = make_case(1e-5)
    for penalty in (0.01, 0.0):
        recipe = replace(RECIPES["published"], weight_penalty=penalty)
        network, seconds = timed(lambda recipe=recipe: cached_network(samples(1e-5), recipe))
        assert isinstance(network, UnrolledNetwork)
        with torch.inference_mode():
            found = network(case.data)
        rows.append(
            {
                "l2 penalty": penalty,
                "rse": rse(found, case.truth),
                **_thresholds(network),
                "training CPU s": seconds,
            }
        )
        write("continuation_published.csv", rows)


def noise() -> None:
    """Fig. 4: trained without noise (raw) or for the noise (whitened); 200 noisy copies each."""
    rows: list[dict[str, object]] = []
    generator = torch.Generator().manual_seed(5)
    truth = published_spectra(50, generator).double()
    kernel = make_case(1e-5, count=1).kernel
    makers: dict[str, Callable[[float], Callable[[torch.Tensor], torch.Tensor]]] = {
        "RLISTA, trained without noise": lambda sigma: _noiseless("RLISTA 10"),
        "CNN-FCN, trained without noise": lambda sigma: _noiseless("CNN-FCN 50"),
        "FCN-4, trained without noise": lambda sigma: _noiseless("FCN-4 256"),
        "continue_rlista(refine=False)": lambda sigma: _through(sigma, refine=False),
        "continue_rlista()": lambda sigma: _through(sigma),
    }
    for name, maker in makers.items():
        for sigma in (1e-5, 1e-4, 1e-3):
            run = maker(sigma)
            error, scatter = [], []
            for one in truth:
                copies = one @ kernel.mT + sigma * torch.randn(
                    200, TIMES, generator=generator, dtype=torch.float64
                )
                found = run(copies)
                error.append(float((found.mean(0) - one).norm()))
                scatter.append(float(found.var(0).sum().sqrt()))
            rows.append(
                {
                    "network": name,
                    "sigma": sigma,
                    "rse of the mean": float(np.mean(error)),
                    "std": float(np.mean(scatter)),
                }
            )
    write("continuation_noise.csv", rows)


_trained: dict[str, nn.Module] = {}


def _noiseless(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
    if name not in _trained:
        own = replace(samples(1e-5), stderr=0.0)
        recipe = Recipe(
            whitened=False,
            steps=8000,
            batch=256,
            pool=100_000,
            fresh_noise=False,
            learning_rate=1e-3,
        )
        generator = torch.Generator().manual_seed(1)
        torch.manual_seed(1)
        pool = own.spectra(recipe.pool, generator)
        network = ARCHITECTURES[name](TIMES, generator)
        train(own, network, torch.eye(TIMES, dtype=torch.float64), recipe, pool, generator)
        _trained[name] = network

    def run(data: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return _trained[name](data.float()).double()

    return run


def _through(sigma: float, **options: object) -> Callable[[torch.Tensor], torch.Tensor]:
    tau = np.linspace(0, BETA, TIMES)

    def run(data: torch.Tensor) -> torch.Tensor:
        g = xr.DataArray(data.numpy(), coords={"tau": tau}, dims=("k", "tau"))
        return weights(
            quiet(
                lambda: arpes_ml_plugins.continue_rlista(
                    g, beta=BETA, stderr=sigma, omega=OMEGA, bins=False, **options
                )
            )
        )

    return run


def neural() -> None:
    """Fig. 5 over 1000 spectra: a 6-layer network, MaxEnt with a flat and its default model."""
    rows: list[dict[str, object]] = []
    for sigma in (1e-5, 1e-4, 1e-3):
        case = make_case(sigma, count=1000)
        recipe = replace(RECIPES["robust"], steps=1000)
        network = cached_network(samples(sigma), recipe, layers=6)
        kernel, data = case.kernel / sigma, case.data / sigma
        flat = torch.full((50,), 0.02, dtype=torch.float64)
        with torch.inference_mode():
            found = network(case.data)
        row: dict[str, object] = {"sigma": sigma, "6-layer RLISTA": rse(found, case.truth)}
        for rule in RULES:
            row[f"flat, {rule}"] = rse(maxent(kernel, data, flat, rule=rule).spectrum, case.truth)
        for share in (0.5, 0.9, 0.98, 1.0):
            for rule in ("chi2kink", "classic"):
                mixed = share * found + (1 - share) * flat
                better = maxent(kernel, data, mixed, rule=rule).spectrum
                row[f"neural {share:g}, {rule}"] = rse(better, case.truth)
                if share == 0.98 and rule == "classic":
                    gain = (better - case.truth).norm(dim=-1) < (found - case.truth).norm(dim=-1)
                    row["better than the network in"] = float(gain.double().mean())
        rows.append(row)
    write("continuation_neural.csv", rows)


def times() -> None:
    """Table VI: seconds for 10 000 spectra, whole forward pass, batch of 10 000."""
    rows: list[dict[str, object]] = []
    generator = torch.Generator().manual_seed(0)
    for points in (50, 100, 200, 400):
        makers = {
            "RLISTA 6": UnrolledNetwork(2 * points, points, 6, generator=generator),
            "RLISTA 20": UnrolledNetwork(2 * points, points, 20, generator=generator),
            "CNN-FCN 500": cnn_fcn(2 * points, points, 500),
            "FCN-4 256": fcn(2 * points, points, 256, 4),
        }
        for name, network in makers.items():
            data = torch.randn(2000, 2 * points, generator=generator)

            def run(network: nn.Module = network, data: torch.Tensor = data) -> None:
                with torch.inference_mode():
                    for _ in range(5):
                        network(data)

            run()
            spent = [timed(run)[1] for _ in range(3)]
            rows.append({"network": name, "frequencies": points, "CPU s for 10 000": min(spent)})
    write("continuation_times.csv", rows)


def thresholds() -> None:
    """Thresholds of the network that comes with the package, over kinds of data of its training."""
    network = continuation_network("cpu")
    generator = torch.Generator().manual_seed(SEED)
    terms = []
    for _ in range(1000):
        kind = draw_kind(generator)
        terms.append(condition(kind.reach, network.prior.view(kind.rough)))
    values = network.fold(torch.stack(terms))[2]  # (kinds, layers)
    rows: list[dict[str, object]] = [
        {
            "layer": layer + 1,
            "smallest": float(column.min()),
            "median": float(column.median()),
            "largest": float(column.max()),
            "negative": float((column < 0).double().mean()),
        }
        for layer, column in enumerate(values.mT)
    ]
    write("continuation_thresholds.csv", rows)
