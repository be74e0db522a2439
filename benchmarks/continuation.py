"""Analytic continuation, measured: every number about it in the documentation.

python benchmarks/continuation.py            all of it (about two hours on one core)
python benchmarks/continuation.py targets    accuracy and time of all methods on the paper's spectra
python benchmarks/continuation.py spectra    the same on broad and on foreign spectra
python benchmarks/continuation.py bands      how often the 90 % band holds the truth
python benchmarks/continuation.py rough      wrong beta, wrong errors, outliers, ...
python benchmarks/continuation.py networks   Fig. 2b: error against the number of parameters
python benchmarks/continuation.py published  training as in Table I
python benchmarks/continuation.py noise      Fig. 4: error and scatter against noise
python benchmarks/continuation.py neural     Fig. 5, over 1000 spectra
python benchmarks/continuation.py times      Table VI

One thread. Unless said otherwise: beta = 10, frequencies in [-3, 3] (50 points), tau uniform on
[0, beta] (100 points), spectra of eq. 16 with the quasiparticle peak, RSE of eq. 18 with weights
that add up to 1; predicting the mean spectrum scores 0.131.

ana-cont is compared where it is installed (``pip install cython`` and
``pip install --no-build-isolation ana-cont``; under numpy 2 it needs the ``np.trapz`` that is put
back below).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
import xarray as xr
from tables import write
from torch import nn

import arpes_ml_plugins
from arpes_ml_plugins.continuation.answer import BAND
from arpes_ml_plugins.continuation.kernels import fermion
from arpes_ml_plugins.continuation.maxent import RULES, maxent
from arpes_ml_plugins.continuation.rlista import UnrolledNetwork, cnn_fcn, fcn
from arpes_ml_plugins.errors import ConvergenceWarning, DistributionWarning
from arpes_ml_plugins.networks.rlista import cached_network
from arpes_ml_plugins.simulation.spectra import FINE, broad_spectra, centres, published_spectra
from arpes_ml_plugins.training.rlista import RECIPES, Recipe, Samples, train

BETA, WINDOW, TIMES = 10.0, 3.0, 100
OMEGA = centres().numpy() * WINDOW
WIDTH = OMEGA[1] - OMEGA[0]
TESTS = 10_000
SEED = 99


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
) -> Case:
    """``published``: eq. 16; ``broad``: the prior of the general network; ``foreign``: neither."""
    generator = torch.Generator().manual_seed(SEED)
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


def methods(
    sigma: float, kind: str = "published"
) -> dict[str, Callable[[xr.DataArray, float], xr.Dataset]]:
    """The paper's spectra live on the points of the grid; others are continuous."""
    bins = False if kind == "published" else None

    def of(name: str, **options: object) -> Callable[[xr.DataArray, float], xr.Dataset]:
        method = getattr(arpes_ml_plugins, name)
        return lambda g, beta: method(g, beta=beta, stderr=sigma, omega=OMEGA, bins=bins, **options)

    return {
        "continue_rlista(refine=False)": of("continue_rlista", refine=False),
        "continue_rlista()": of("continue_rlista"),
        **{f"continue_maxent(rule={rule!r})": of("continue_maxent", rule=rule) for rule in RULES},
        "continue_ista()": of("continue_ista"),
        "continue_ista(recipe='published')": of("continue_ista", recipe="published"),
    }


def targets() -> None:
    """Accuracy of all methods on the paper's spectra, time a spectrum, ana-cont."""
    rows: list[dict[str, object]] = []
    for sigma in (1e-5, 1e-4, 1e-3):
        case = make_case(sigma, count=2000)
        for name, run in methods(sigma).items():
            quiet(lambda run=run, case=case: run(case.labelled[:2], BETA))
            result, seconds = timed(
                lambda run=run, case=case: quiet(lambda: run(case.labelled, BETA))
            )
            assert isinstance(result, xr.Dataset)
            rows.append(
                {
                    "method": name,
                    "sigma": sigma,
                    "rse": rse(weights(result), case.truth),
                    "chi2 a point": float(result["chi2"].median()),
                    "ms a spectrum": 1e3 * seconds / len(case.truth),
                    "not ok": int((result["status"] != "ok").sum()),
                }
            )
        rows += peer(case)
    for beta in (5.0, 20.0, 40.0):
        case = make_case(1e-5, beta=beta, count=2000)
        for name in (
            "continue_rlista(refine=False)",
            "continue_rlista()",
            "continue_maxent(rule='chi2kink')",
        ):
            result = quiet(
                lambda case=case, name=name, beta=beta: methods(1e-5)[name](case.labelled, beta)
            )
            rows.append(
                {
                    "method": name,
                    "sigma": 1e-5,
                    "beta": beta,
                    "rse": rse(weights(result), case.truth),
                }
            )
    write("continuation_targets.csv", rows)
    dedicated()


def peer(case: Case, count: int = 40) -> list[dict[str, object]]:
    """ana-cont, chi2kink, on the first spectra of the case; ours on the same."""
    np.trapz = np.trapezoid  # type: ignore[attr-defined]  # noqa: NPY201
    try:
        from ana_cont import continuation
    except ImportError:
        print("ana-cont is not installed: left out")
        return []
    flat = np.ones(len(OMEGA)) / len(OMEGA)

    def run() -> torch.Tensor:
        found = []
        for g in case.data[:count].numpy():
            problem = continuation.AnalyticContinuationProblem(
                im_axis=case.tau.numpy(),
                re_axis=OMEGA,
                im_data=g,
                kernel_mode="time_fermionic",
                beta=case.beta,
            )
            solution, _ = problem.solve(
                method="maxent_svd",
                alpha_determination="chi2kink",
                optimizer="newton",
                stdev=case.sigma * np.ones(len(g)),
                model=flat,
                verbose=False,
                interactive=False,
            )
            found.append(torch.from_numpy(np.asarray(solution.A_opt)) * WIDTH)
        return torch.stack(found)

    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # it overflows at the smallest alphas
        theirs, seconds = timed(run)
    ours, own = timed(
        lambda: (
            maxent(
                case.kernel / case.sigma, case.data[:count] / case.sigma, torch.from_numpy(flat)
            ).spectrum
        )
    )
    truth = case.truth[:count]
    runs = {"ana-cont, chi2kink": (theirs, seconds), "ours, chi2kink": (ours, own)}
    return [
        {
            "method": f"{name}, first {count}",
            "sigma": case.sigma,
            "rse": rse(found, truth),
            "ms a spectrum": 1e3 * spent / count,
        }
        for name, (found, spent) in runs.items()
    ]


def samples(sigma: float, prior: str = "published") -> Samples:
    tau = torch.linspace(0, BETA, TIMES, dtype=torch.float64)
    return Samples(tuple(tau.tolist()), BETA, WINDOW, sigma, prior)


def dedicated() -> None:
    """RLISTA trained for one kind of data: 30 and 120 CPU seconds; inference."""
    rows: list[dict[str, object]] = []
    for sigma, steps in ((1e-5, 2500), (1e-5, 11000), (1e-4, 2500), (1e-3, 2500)):
        case = make_case(sigma)
        recipe = replace(RECIPES["robust"], steps=steps)
        network, seconds = timed(
            lambda sigma=sigma, recipe=recipe: cached_network(samples(sigma), recipe)
        )
        assert isinstance(network, UnrolledNetwork)
        row: dict[str, object] = {"sigma": sigma, "steps": steps, "training CPU s": seconds}
        for precision in (torch.float64, torch.float32):
            cast, data = network.to(precision), case.data.to(precision)
            with torch.inference_mode():
                cast(data)
                found, spent = timed(lambda cast=cast, data=data: cast(data))
            assert isinstance(found, torch.Tensor)
            name = str(precision).removeprefix("torch.")
            row[f"rse, {name}"] = rse(found.double(), case.truth)
            row[f"ms for {TESTS}, {name}"] = 1e3 * spent
        rows.append(row)
    write("continuation_dedicated.csv", rows)


def spectra() -> None:
    """Broad and foreign spectra: relative L1 error, flags."""
    rows: list[dict[str, object]] = []
    for kind in ("published", "broad", "foreign"):
        for sigma in (1e-5, 1e-4, 1e-3):
            case = make_case(sigma, kind=kind, count=1000, beta=20.0)
            for name in (
                "continue_rlista(refine=False)",
                "continue_rlista()",
                "continue_maxent(rule='chi2kink')",
            ):
                run = methods(sigma, kind)[name]
                result = quiet(partial(run, case.labelled, 20.0))
                error = (weights(result) - case.truth).abs().sum(-1)
                rows.append(
                    {
                        "spectra": kind,
                        "sigma": sigma,
                        "method": name,
                        "relative L1 error": float(error.mean()),
                        "flagged": float(result["out_of_distribution"].mean()),
                    }
                )
    write("continuation_spectra.csv", rows)


def bands() -> None:
    """Coverage of the 90 % band, fresh spectra."""
    rows: list[dict[str, object]] = []
    for kind in ("published", "broad", "foreign"):
        for beta in (5.0, 10.0, 20.0, 50.0):
            for sigma in (1e-6, 1e-5, 1e-4, 1e-3, 1e-2):
                case = make_case(sigma, kind=kind, count=600, beta=beta)
                run = methods(sigma, kind)["continue_rlista()"]
                result = quiet(partial(run, case.labelled, beta))
                truth = case.truth.numpy() / WIDTH
                lower, upper = result["lower"].values, result["upper"].values
                inside = (lower <= truth + 1e-9) & (truth - 1e-9 <= upper)
                rows.append(
                    {
                        "spectra": kind,
                        "beta": beta,
                        "sigma": sigma,
                        "covered": float(inside.mean()),
                        "mean width": float((upper - lower).mean()),
                        "flagged": float(result["out_of_distribution"].mean()),
                    }
                )
    # Without a network (bosons, too few times): MaxEnt's own band.
    for sigma in (1e-5, 1e-4, 1e-3):
        case = make_case(sigma, count=600)
        found = maxent(
            case.kernel / sigma, case.data / sigma, torch.full((50,), 0.02, dtype=torch.float64)
        )
        off = (found.spectrum - case.truth).abs()
        rows.append(
            {
                "spectra": "published, MaxEnt's own band",
                "beta": BETA,
                "sigma": sigma,
                "covered": float((off <= BAND * found.deviation).double().mean()),
            }
        )
    write("continuation_bands.csv", rows)


def rough() -> None:
    """What users bring: relative L1 error on published spectra at sigma 1e-4, and what is said."""
    sigma, count = 1e-4, 300
    base = make_case(sigma, count=count)
    rng = np.random.default_rng(0)
    tau = base.tau.numpy()
    clean = base.truth @ base.kernel.mT

    def with_tau(times: np.ndarray) -> xr.DataArray:
        kernel = fermion(torch.from_numpy(times), torch.from_numpy(OMEGA), BETA)
        values = (base.truth @ kernel.mT).numpy()
        return xr.DataArray(
            values + sigma * rng.normal(size=values.shape), coords={"tau": times}, dims=("k", "tau")
        )

    spoilt = base.labelled.copy(deep=True)
    for row in spoilt.values:
        row[rng.choice(TIMES, 3, replace=False)] += 100 * sigma * rng.normal(size=3)
    distance = np.abs(tau[:, None] - tau)
    covariance = sigma**2 * (0.99 * np.exp(-distance) + 0.01 * np.eye(TIMES))
    correlated = base.labelled.copy(
        data=clean.numpy() + rng.multivariate_normal(np.zeros(TIMES), covariance, size=count)
    )
    cases: dict[str, tuple[xr.DataArray, dict[str, object]]] = {
        "as it should be": (base.labelled, {"stderr": sigma}),
        "errors not stated": (base.labelled, {}),
        "beta 2 % too large": (base.labelled, {"stderr": sigma, "beta": 1.02 * BETA}),
        "beta 10 % too large": (base.labelled, {"stderr": sigma, "beta": 1.1 * BETA}),
        "errors stated 3 times too small": (base.labelled, {"stderr": sigma / 3}),
        "errors stated 3 times too large": (base.labelled, {"stderr": 3 * sigma}),
        "no end points": (with_tau((np.arange(100) + 0.5) * BETA / 100), {"stderr": sigma}),
        "24 times": (with_tau(np.linspace(0, BETA, 24)), {"stderr": sigma}),
        "Chebyshev times": (
            with_tau(BETA * (1 - np.cos(np.linspace(0, np.pi, 60))) / 2),
            {"stderr": sigma},
        ),
        "3 outliers of 100 errors": (spoilt, {"stderr": sigma}),
        "correlated errors, said so": (correlated, {"covariance": covariance}),
        "correlated errors, not said": (correlated, {"stderr": sigma}),
    }
    rows: list[dict[str, object]] = []
    for name, (data, options) in cases.items():
        row: dict[str, object] = {"data": name}
        given = {"beta": BETA, "omega": OMEGA, "bins": False, **options}
        for method in ("continue_rlista", "continue_maxent"):
            run = getattr(arpes_ml_plugins, method)
            result = quiet(lambda run=run, data=data, given=given: run(data, **given))
            error = (weights(result) - base.truth).abs().sum(-1)
            row[f"{method}, error"] = float(error.mean())
            if method == "continue_rlista":
                row["flagged"] = float(result["out_of_distribution"].mean())
                row["status not ok"] = float((result["status"] != "ok").mean())
        rows.append(row)
    write("continuation_rough.csv", rows)


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
    **{f"CNN-FCN {w}": lambda m, g, w=w: cnn_fcn(m, 50, w) for w in (50, 100, 200)},
}
RATES = (3e-4, 1e-3, 3e-3, 1e-2)
TUNING, FINAL = 600, 4000  # steps of 256 spectra
INPUTS = (False, True)  # raw data, whitened data


def networks() -> None:
    """Fig. 2b: every architecture at its own best learning rate, on raw and on whitened data."""
    rows: list[dict[str, object]] = []
    case = make_case(1e-5)
    for whitened in INPUTS:
        for name, make in ARCHITECTURES.items():
            tuned = {rate: _score(make, whitened, rate, TUNING, case)[0] for rate in RATES}
            rate = min(tuned, key=lambda r: tuned[r])
            error, size, seconds = _score(make, whitened, rate, FINAL, case)
            rows.append(
                {
                    "network": name,
                    "input": "whitened" if whitened else "raw",
                    "parameters": size,
                    "learning rate": rate,
                    "rse": error,
                    "training CPU s": seconds,
                }
            )
            write("continuation_networks.csv", rows)


def _score(
    make: Callable[[int, torch.Generator], nn.Module],
    whitened: bool,
    rate: float,
    steps: int,
    case: Case,
) -> tuple[float, int, float]:
    """RSE, number of parameters and CPU seconds of a network trained from scratch."""
    from arpes_ml_plugins.training.rlista import new_network

    own = samples(1e-5)
    recipe = Recipe(
        whitened=whitened,
        steps=steps,
        batch=256,
        pool=100_000,
        fresh_noise=True,
        learning_rate=rate,
    )
    generator = torch.Generator().manual_seed(1)
    torch.manual_seed(1)
    pool = own.spectra(recipe.pool, generator)
    _, features = new_network(own, recipe, pool, generator, layers=1, eta=0.5)
    network = make(len(features), generator)
    _, seconds = timed(lambda: train(own, network, features, recipe, pool, generator))
    told = case.data @ features.mT
    told = told / told[:, -1:] if whitened else told
    with torch.inference_mode():
        found = network(told.float()).double()
    return rse(found, case.truth), sum(p.numel() for p in network.parameters()), seconds


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
            {"l2 penalty": penalty, "rse": rse(found, case.truth), "training CPU s": seconds}
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


PARTS = {
    f.__name__: f
    for f in (targets, spectra, bands, rough, neural, times, noise, published, networks)
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], default=[])
    torch.set_num_threads(1)
    for part in parser.parse_args().part or PARTS:
        PARTS[part]()
