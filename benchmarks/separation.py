"""Source separation, measured: every number about it in the documentation.

python benchmarks/separation.py --data FOLDER            all of it (about forty minutes)
python benchmarks/separation.py --data FOLDER splits     Table 1, on a random and on a hard split
python benchmarks/separation.py --data FOLDER variants   Tables 3 and 4
python benchmarks/separation.py --data FOLDER layers     Figs. 2b and 10
python benchmarks/separation.py --data FOLDER penalties  Fig. 2a: PALM against its penalty
python benchmarks/separation.py --data FOLDER known      Fig. 8: S-updates for known A
python benchmarks/separation.py --data FOLDER images     Table 2: the four maps, permuted and raw
python benchmarks/separation.py --data FOLDER shifts     other data than it was trained on
python benchmarks/separation.py --data FOLDER speed      training samples and separations a second

FOLDER holds cassiopeia_xray.npz, the public simulations of Fahes et al. (ICLR 2022): families
``spectra_*`` (750 x 65) and ``map_*`` (346 x 346) of four components. One thread. Errors are
medians over test mixtures of NMSE (eq. 10); 750 matrices, 150 of them to test on; the hard split
tests on those whose columns are most alike.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from tables import write

import arpes_ml_plugins
from arpes_ml_plugins.errors import DistributionWarning
from arpes_ml_plugins.separation.metrics import match, nmse
from arpes_ml_plugins.separation.palm import palm
from arpes_ml_plugins.separation.refine import refine
from arpes_ml_plugins.separation.subspace import match_families, signal_space
from arpes_ml_plugins.separation.unrolled import UnrolledSeparation, start_mixing
from arpes_ml_plugins.training.lpalm import RECIPES, train_network
from arpes_ml_plugins.training.mixtures import Mixtures, hard_split, random_split

NAMES = ("sync", "therm", "fe1", "fe2")
TESTS = 150
DATA: dict[str, torch.Tensor] = {}
SHIFTS: dict[str, dict[str, object]] = {
    "as trained": {},
    "50 pixels": {"pixels": 50},
    "5000 pixels": {"pixels": 5000},
    "50 000 pixels": {"pixels": 50_000},
    "SNR 10 dB": {"snr": (10.0, 10.0)},
    "SNR 20 dB": {"snr": (20.0, 20.0)},
    "SNR 50 dB": {"snr": (50.0, 50.0)},
    "shape parameter 0.6": {"exponents": (0.6, 0.6)},
    "shape parameter 1": {"exponents": (1.0, 1.0)},
    "data x 1e-6": {"scale": 1e-6},
    "data x 1000": {"scale": 1e3},
    "one source x 3": {"strength": 3.0},
    "one source x 1/3": {"strength": 1 / 3},
    "one source x 1/100": {"strength": 0.01},
    "one source absent": {"strength": 0.0},
    "an unknown source more": {"unknown": 1.0},
}


def load(folder: Path) -> None:
    file = np.load(folder / "cassiopeia_xray.npz")
    DATA["spectra"] = torch.tensor(np.stack([file[f"spectra_{n}"] for n in NAMES])).double()
    DATA["maps"] = torch.tensor(np.stack([file[f"map_{n}"] for n in NAMES])).double()


def splits_of(kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Spectra to train and to test on, ``(4, samples, 65)``."""
    spectra = DATA["spectra"]
    chosen = random_split(750, TESTS) if kind == "random" else hard_split(spectra, TESTS)
    return spectra[:, chosen[0]], spectra[:, chosen[1]]


def rows_of(spectra: torch.Tensor) -> list[torch.Tensor]:
    return [family / family.norm(dim=1, keepdim=True) for family in spectra]


def trained(
    spectra: torch.Tensor, *, layers: int = 25, loss: str | None = None, **updates: str
) -> tuple[UnrolledSeparation, float]:
    """On the paper's mixtures with the robust recipe's steps; and its CPU seconds."""
    network = UnrolledSeparation(65, 4, layers, **updates)
    recipe = RECIPES["robust"] if loss is None else replace(RECIPES["robust"], loss=loss)
    if updates.get("s_update") in ("lista", "ista-llt"):
        recipe = replace(recipe, weight_rate=1e-3)  # diverges at more
    begin = time.process_time()
    train_network(
        network, Mixtures(spectra, together=True), recipe, torch.Generator().manual_seed(0)
    )
    return network.requires_grad_(False), time.process_time() - begin


def tests(spectra: torch.Tensor, **options: object) -> tuple[torch.Tensor, ...]:
    mixtures = Mixtures(spectra, together=True, **options)
    return mixtures.draw(TESTS, torch.Generator().manual_seed(1))


def median(values: torch.Tensor) -> float:
    return float(values.nan_to_num(torch.inf).median())


def fitted(x: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    return torch.linalg.pinv(a) @ x


def splits() -> None:
    """Table 1, and what comes after the network."""
    rows: list[dict[str, object]] = []
    for kind in ("random", "hard"):
        train, test = splits_of(kind)
        network, seconds = trained(train)
        x, a, s = tests(test)
        begin = time.process_time()
        found_a, found_s = network(x)
        each = (time.process_time() - begin) / TESTS
        wide, noise = x.double(), (x - a @ s).double().std(dim=(1, 2))
        begin_a = found_a.double() / found_a.double().norm(dim=1, keepdim=True).clamp(min=1e-12)
        fine_a, fine_s = refine(wide, begin_a, noise)
        families = rows_of(train)
        own = torch.stack(
            [
                match_families(signal_space(w / n), families, f).spectra
                for w, n, f in zip(wide, noise, fine_a, strict=True)
            ]
        )
        for name, (one_a, one_s) in {
            "network": (found_a, found_s),
            "refined": (fine_a, fine_s),
            "matched": (own, fitted(wide, own)),
            "least squares, true A": (a, fitted(wide, a.double())),
        }.items():
            rows.append(
                {
                    "split": kind,
                    "method": name,
                    "NMSE(S)": median(nmse(one_s, s)),
                    "NMSE(A)": median(nmse(one_a, a)),
                    "worst NMSE(S)": float(nmse(one_s, s).max()),
                    "training CPU s": seconds if name == "network" else "",
                    "ms a mixture": 1e3 * each if name == "network" else "",
                }
            )
        start = torch.randint(train.shape[1], (45,), generator=torch.Generator().manual_seed(2))
        first = torch.stack([r[start] for r in rows_of(train)], -1)
        begin = time.process_time()
        best = palm(wide[:45], first, 2e-3, tolerance=1e-7, iterations=5000)
        spent = time.process_time() - begin
        scores = [ordered(p, q, w, v) for p, q, w, v in zip(*best_pair(best), a, s, strict=False)]
        rows.append(
            {
                "split": kind,
                "method": "PALM, penalty 2e-3",
                "NMSE(S)": float(np.median([score[1] for score in scores])),
                "NMSE(A)": float(np.median([score[0] for score in scores])),
                "worst NMSE(S)": max(score[1] for score in scores),
                "ms a mixture": 1e3 * spent / 45,
            }
        )
    write("separation_splits.csv", rows)


def best_pair(result: object) -> tuple[torch.Tensor, torch.Tensor]:
    return result.mixing, result.sources  # type: ignore[attr-defined]


def ordered(
    mixing: torch.Tensor, sources: torch.Tensor, a: torch.Tensor, s: torch.Tensor
) -> tuple[float, float]:
    """NMSE of A and S, order, sign and scale put right first."""
    length = mixing.norm(dim=0).clamp(min=1e-12)
    mixing, sources = mixing / length, sources * length[:, None]
    order, signs = match(mixing, a.double())
    mixing, sources = mixing[:, order] * signs, sources[order] * signs[:, None]
    return float(nmse(mixing, a.double())), float(nmse(sources, s.double()))


def variants() -> None:
    """Tables 3 and 4."""
    train, test = splits_of("random")
    x, a, s = tests(test)
    rows: list[dict[str, object]] = []
    for s_update in ("lista-cp", "ista-llt"):
        for a_update in ("ista-ll", "explicit"):
            network, seconds = trained(train, s_update=s_update, a_update=a_update)
            found_a, found_s = network(x)
            rows.append(
                {
                    "S update": s_update,
                    "A update": a_update,
                    "loss": "sources and mixing",
                    "NMSE(S)": median(nmse(found_s, s)),
                    "NMSE(S) + NMSE(A)": median(nmse(found_s, s) + nmse(found_a, a)),
                    "training CPU s": seconds,
                }
            )
    for loss in ("unsupervised", "sources", "mixing"):
        network, seconds = trained(train, loss=loss)
        found_a, found_s = network(x)
        rows.append(
            {
                "S update": "lista-cp",
                "A update": "ista-ll",
                "loss": loss,
                "NMSE(S)": median(nmse(found_s, s)),
                "NMSE(S) + NMSE(A)": median(nmse(found_s, s) + nmse(found_a, a)),
                "training CPU s": seconds,
            }
        )
    write("separation_variants.csv", rows)


def layers() -> None:
    """Figs. 2b and 10."""
    train, test = splits_of("random")
    x, a, s = tests(test)
    rows: list[dict[str, object]] = []
    for depth in (5, 10, 25, 50):
        network, seconds = trained(train, layers=depth)
        found_a, found_s = network(x)
        rows.append(
            {
                "layers": depth,
                "of": depth,
                "NMSE(S)": median(nmse(found_s, s)),
                "NMSE(A)": median(nmse(found_a, a)),
                "training CPU s": seconds,
            }
        )
        if depth == 25:
            rows += after_each_layer(network, x, a, s)
    write("separation_layers.csv", rows)


def after_each_layer(
    network: UnrolledSeparation, x: torch.Tensor, a: torch.Tensor, s: torch.Tensor
) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for depth in (1, 5, 10, 15, 20):
        short = UnrolledSeparation(65, 4, depth)
        short.load_state_dict({k: v[:depth] for k, v in network.state_dict().items()})
        found_a, found_s = short(x)
        rows.append(
            {
                "layers": depth,
                "of": 25,
                "NMSE(S)": median(nmse(found_s, s)),
                "NMSE(A)": median(nmse(found_a, a)),
            }
        )
    return rows


def penalties() -> None:
    """Fig. 2a: from a matrix of the training set, 45 mixtures of it."""
    train, _ = splits_of("random")
    x, a, s = Mixtures(train, together=True).draw(45, torch.Generator().manual_seed(5))
    other = torch.randint(train.shape[1], (45,), generator=torch.Generator().manual_seed(6))
    start = torch.stack([family[other] for family in rows_of(train)], -1)
    rows: list[dict[str, object]] = []
    for penalty in (1e-5, 1e-4, 5e-4, 1e-3, 2e-3, 4e-3, 1e-2):
        begin = time.process_time()
        result = palm(x.double(), start, penalty, tolerance=1e-7, iterations=5000)
        scores = [
            ordered(*each)[1] for each in zip(result.mixing, result.sources, a, s, strict=True)
        ]
        rows.append(
            {
                "penalty": penalty,
                "NMSE(S)": float(np.median(scores)),
                "iterations": float(result.iterations.double().median()),
                "CPU ms a mixture": 1e3 * (time.process_time() - begin) / 45,
            }
        )
    write("separation_penalties.csv", rows)


def known() -> None:
    """Fig. 8: A known, or known with an error at 10 dB."""
    train, test = splits_of("random")
    x, a, s = tests(test)
    noisy = a + a.std() * 10**-0.5 * torch.randn(
        a.shape, generator=torch.Generator().manual_seed(3)
    )
    rows: list[dict[str, object]] = []
    for update in ("lista", "lista-cp", "ista-llt"):
        network, _ = trained(train, s_update=update, a_update="fixed")
        rows.append(
            {
                "S update": update,
                "NMSE(S), true A": median(nmse(network(x, a)[1], s)),
                "NMSE(S), A at 10 dB": median(nmse(network(x, noisy)[1], s)),
            }
        )
    rows.append(
        {
            "S update": "ISTA, 25 iterations",
            "NMSE(S), true A": median(nmse(ista(x, a), s)),
            "NMSE(S), A at 10 dB": median(nmse(ista(x, noisy), s)),
        }
    )
    write("separation_known.csv", rows)


def ista(x: torch.Tensor, a: torch.Tensor, penalty: float = 1.1e-5) -> torch.Tensor:
    gram = a.mT @ a
    step = 1 / torch.linalg.eigvalsh(gram)[:, -1, None, None]
    s = x.new_zeros(len(x), a.shape[-1], x.shape[-1])
    for _ in range(25):
        s = torch.nn.functional.softshrink(
            s - step * (gram @ s - a.mT @ x), penalty * float(step.mean())
        )
    return s


def labelled(x: torch.Tensor, shape: tuple[int, ...]) -> xr.DataArray:
    """Channels as energies, in keV."""
    dims = ("eV", "y", "x")[: 1 + len(shape)]
    return xr.DataArray(
        x.reshape(65, *shape).numpy(), {"eV": np.arange(65.0)}, dims, name="spectrum"
    )


def library_of(spectra: torch.Tensor) -> arpes_ml_plugins.SpectrumLibrary:
    families = {
        name: xr.DataArray(family.numpy(), {"eV": np.arange(65.0)}, ("sample", "eV"))
        for name, family in zip(NAMES, spectra, strict=True)
    }
    return arpes_ml_plugins.SpectrumLibrary(families)


def score(result: xr.Dataset, a: torch.Tensor) -> float:
    """NMSE(A) without any use of the truth but the order of the components."""
    found = torch.from_numpy(result.spectra.transpose("eV", "component").values).double()
    found = found / found.norm(dim=0).clamp(min=1e-12)
    order, _ = match(found, a)
    return float(nmse(found[:, order], a))


def images() -> None:
    """Table 2: test spectra times the four maps, SNR 30 dB."""
    from sklearn.decomposition import NMF, FastICA

    train, test = splits_of("random")
    known_spectra = library_of(train)
    network = arpes_ml_plugins.train_lpalm(known_spectra)
    maps = DATA["maps"] / DATA["maps"].norm(dim=(1, 2), keepdim=True)
    options: dict[str, dict[str, object]] = {
        "LPALM, network": {"network": network, "refine": False},
        "LPALM, refined": {"network": network, "match": False},
        "LPALM, matched (default)": {"network": network},
    }
    rows: list[dict[str, object]] = []
    for kind in ("permuted", "raw"):
        scores: dict[str, list[float]] = {}
        seconds: dict[str, list[float]] = {}
        for i in range(10):
            draw = torch.Generator().manual_seed(i)
            a = torch.stack([family[i] for family in rows_of(test)], 1)
            s = maps.reshape(4, -1)
            if kind == "permuted":
                s = torch.stack([one[torch.randperm(one.numel(), generator=draw)] for one in s])
            clean = a @ s
            sigma = (clean.square().mean() * 1e-3).sqrt()
            x = clean + sigma * torch.randn(clean.shape, generator=draw, dtype=torch.float64)
            image = labelled(x, (346, 346))

            def run(name: str, of: Callable[[], float]) -> None:
                begin = time.process_time()
                scores.setdefault(name, []).append(of())  # noqa: B023
                seconds.setdefault(name, []).append(time.process_time() - begin)  # noqa: B023

            for name, option in options.items():
                run(
                    name,
                    lambda o=option: score(
                        arpes_ml_plugins.separate_lpalm(image, rng=0, **o),  # noqa: B023
                        a,  # noqa: B023
                    ),
                )
            run(
                "PALM, from the library's means",
                lambda: score(
                    arpes_ml_plugins.separate_palm(image, library=known_spectra, rng=0),  # noqa: B023
                    a,  # noqa: B023
                ),
            )
            if i >= 3:
                continue
            flat = x.mT.numpy()

            def columns(found: np.ndarray) -> float:
                unit = torch.from_numpy(found).double()
                unit = unit / unit.norm(dim=0).clamp(min=1e-12)
                order, signs = match(unit, a)  # noqa: B023
                return float(nmse(unit[:, order] * signs, a))  # noqa: B023

            nmf = NMF(4, init="nndsvda", max_iter=500, random_state=0)
            run(
                "scikit-learn NMF",
                lambda: columns(nmf.fit(flat.clip(min=0)).components_.T),  # noqa: B023
            )
            ica = FastICA(4, whiten="unit-variance", random_state=0, max_iter=500)
            run("scikit-learn FastICA", lambda: columns(ica.fit(flat).mixing_))  # noqa: B023
        rows += [
            {
                "maps": kind,
                "method": name,
                "NMSE(A)": float(np.median(values)),
                "worst NMSE(A)": max(values),
                "realisations": len(values),
                "CPU s": float(np.median(seconds[name])),
            }
            for name, values in scores.items()
        ]
    write("separation_images.csv", rows)


def shifts() -> None:
    """The network alone, and the whole method, on data unlike those of the training."""
    train, test = splits_of("random")
    alone, _ = trained(train)
    network = arpes_ml_plugins.train_lpalm(library_of(train))
    foreign = rows_of(test)[1].flip(-1)  # a spectrum that no family has
    rows = [
        shifted(name, dict(options), test, alone, network, foreign)
        for name, options in SHIFTS.items()
    ]
    write("separation_shifts.csv", rows)


def shifted(
    name: str,
    options: dict[str, object],
    test: torch.Tensor,
    alone: UnrolledSeparation,
    network: object,
    foreign: torch.Tensor,
) -> dict[str, object]:
    scale, strength = float(options.pop("scale", 1.0)), float(options.pop("strength", 1.0))
    unknown = float(options.pop("unknown", 0.0))
    count = 10 if options.get("pixels", 0) == 50_000 else 30
    x, a, s = Mixtures(test, together=True, **options).draw(count, torch.Generator().manual_seed(1))
    change = torch.ones(4)
    change[1] = strength
    x = x + a @ (s * (change[:, None] - 1))
    s = s * change[:, None]
    if unknown:
        extra = s[:, :1].roll(1, dims=0)
        x = x + unknown * foreign[:count].float()[..., None] * extra
    x, s = x * scale, s * scale
    there = change > 0
    _, found_s = alone(x)
    whole, flagged, spectra = [], 0, []
    for one, truth_s, truth_a in zip(x, s, a, strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DistributionWarning)
            result = arpes_ml_plugins.separate_lpalm(
                labelled(one, (one.shape[1],)), network=network, transform="none", rng=0
            )
        length = torch.from_numpy(result.spectra.values).double().norm(dim=1)
        maps = torch.from_numpy(result.maps.values).double() * length[:, None]
        whole.append(float(nmse(maps[there], truth_s[there].double())))
        units = torch.from_numpy(result.spectra.values).double().mT / length
        spectra.append(float(nmse(units[:, there], truth_a[:, there].double())))
        flagged += result.status.item() != "ok"
    return {
        "data": name,
        "trained network alone: NMSE(S)": median(nmse(found_s[:, there], s[:, there])),
        "separate_lpalm: NMSE(S)": float(np.median(whole)),
        "NMSE(A)": float(np.median(spectra)),
        "worst NMSE(S)": max(whole),
        "flagged": flagged / count,
    }


def speed() -> None:
    """Training samples a second; the published code: 5 (28 without anomaly detection)."""
    train, _ = splits_of("random")
    mixtures = Mixtures(train, together=True)
    rows: list[dict[str, object]] = []
    for batch in (1, 5, 25):
        network = UnrolledSeparation(65, 4)
        steps = max(20, 500 // batch)
        recipe = replace(RECIPES["robust"], steps=steps, batch=batch)
        begin = time.process_time()
        train_network(network, mixtures, recipe, torch.Generator().manual_seed(0))
        spent = time.process_time() - begin
        rows.append({"batch": batch, "samples a CPU second": steps * batch / spent})
    x, _, _ = mixtures.draw(200, torch.Generator().manual_seed(0))
    network.requires_grad_(False)
    begin = time.process_time()
    for one in x:
        network(one[None], start_mixing(one[None], 4))
    rows.append(
        {
            "batch": "inference, one at a time",
            "samples a CPU second": 200 / (time.process_time() - begin),
        }
    )
    write("separation_speed.csv", rows)


PARTS = {f.__name__: f for f in (splits, variants, layers, penalties, known, images, shifts, speed)}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of cassiopeia_xray.npz")
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], default=[])
    options = parser.parse_args()
    load(options.data)
    torch.set_num_threads(1)
    for part in options.part or PARTS:
        PARTS[part]()
