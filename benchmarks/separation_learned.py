"""LPALM against PALM: the tables of Fahes et al. (ICLR 2022) on simulated mixtures."""

from __future__ import annotations

import time
import warnings
from dataclasses import replace

import numpy as np
import torch
from separation_data import (
    TESTS,
    fitted,
    labelled,
    library_of,
    median,
    ordered,
    rows_of,
    splits_of,
    test_mixtures,
)
from tables import write

import arpes_ml_plugins
from arpes_ml_plugins.errors import DistributionWarning
from arpes_ml_plugins.separation.least_squares import refine, unit_columns
from arpes_ml_plugins.separation.lpalm import UnrolledSeparation, start_mixing
from arpes_ml_plugins.separation.matching import match_families, signal_space
from arpes_ml_plugins.separation.metrics import nmse
from arpes_ml_plugins.separation.palm import palm
from arpes_ml_plugins.separation.whiten import channel_noise
from arpes_ml_plugins.simulation.mixtures import Mixtures
from arpes_ml_plugins.training.lpalm import LOSSES, RECIPES, LpalmRecipe, train_network

SPLITS = ("random", "hard")
S_FORMS, A_FORMS = ("lista-cp", "ista-llt"), ("ista-ll", "explicit")
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


def trained(
    spectra: torch.Tensor,
    *,
    layers: int = 25,
    loss: str | None = None,
    recipe: LpalmRecipe = RECIPES["robust"],
    **updates: str,
) -> tuple[UnrolledSeparation, float]:
    """On the paper's mixtures and its CPU seconds."""
    network = UnrolledSeparation(65, 4, layers, **updates)
    recipe = recipe if loss is None else replace(recipe, loss=loss)
    if updates.get("s_update") in ("lista", "ista-llt"):
        recipe = replace(recipe, weight_rate=1e-3)  # diverges at more
    begin = time.process_time()
    train_network(
        network, Mixtures(spectra, together=True), recipe, torch.Generator().manual_seed(0)
    )
    return network.requires_grad_(False), time.process_time() - begin


def splits() -> None:
    """Table 1, and what comes after the network."""
    rows: list[dict[str, object]] = []
    for kind in ("random", "distant", "hard"):
        train, test = splits_of(kind)
        x, a, s = test_mixtures(test)
        network, seconds = trained(train)
        begin = time.process_time()
        found_a, found_s = network(x)
        each = 1e3 * (time.process_time() - begin) / TESTS
        answers = {"network": (found_a, found_s), **polished(x, a, s, found_a, rows_of(train))}
        rows += [{"split": kind, "method": n, **errors(*f, a, s)} for n, f in answers.items()]
        rows[-len(answers)] |= {"training CPU s": seconds, "ms a mixture": each}
        rows.append({"split": kind, "method": "PALM, penalty 2e-3", **of_palm(train, x, a, s)})
    write("separation_splits.csv", rows)


def published() -> None:
    """The recipe of Appendix A on the split of the paper's code."""
    train, test = splits_of("distant")
    x, a, s = test_mixtures(test)
    network, seconds = trained(train, recipe=RECIPES["published"])
    rows: list[dict[str, object]] = [{**errors(*network(x), a, s), "training CPU s": seconds}]
    write("separation_published.csv", rows)


def errors(
    found_a: torch.Tensor, found_s: torch.Tensor, a: torch.Tensor, s: torch.Tensor
) -> dict[str, object]:
    return {
        "NMSE(S)": median(nmse(found_s, s)),
        "NMSE(A)": median(nmse(found_a, a)),
        "worst NMSE(S)": float(nmse(found_s, s).max()),
    }


def polished(
    x: torch.Tensor,
    a: torch.Tensor,
    s: torch.Tensor,
    found: torch.Tensor,
    families: list[torch.Tensor],
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """After the network: refined, matched with the library; and what the true matrix gives.

    The noise is measured in each mixture, as the methods do.
    """
    wide = x.double()
    noise = torch.stack([channel_noise(one, torch.ones(one.shape[1]).bool()) for one in wide])
    start = found.double() / found.double().norm(dim=1, keepdim=True).clamp(min=1e-12)
    fine_a, fine_s = refine(wide, start, noise.square().mean(1).sqrt())
    own = torch.stack(
        [from_library(*each, families) for each in zip(wide, noise, fine_a, strict=True)]
    )
    return {
        "refined": (fine_a, fine_s),
        "matched": (own, fitted(wide, own)),
        "least squares, true A": (a, fitted(wide, a.double())),
    }


def from_library(
    x: torch.Tensor, noise: torch.Tensor, near: torch.Tensor, families: list[torch.Tensor]
) -> torch.Tensor:
    """Where the signal space of the whitened data meets the whitened families."""
    seen = [unit_columns((family / noise).mT).mT for family in families]
    space = signal_space(x / noise[:, None])
    found = match_families(space, seen, unit_columns(near / noise[:, None])).spectra
    return unit_columns(found * noise[:, None])


def of_palm(
    train: torch.Tensor, x: torch.Tensor, a: torch.Tensor, s: torch.Tensor, count: int = 45
) -> dict[str, object]:
    """From a matrix of the training set, as in Section 3.1.2."""
    start = torch.randint(train.shape[1], (count,), generator=torch.Generator().manual_seed(2))
    first = torch.stack([r[start] for r in rows_of(train)], -1)
    begin = time.process_time()
    best = palm(x[:count].double(), first, 2e-3, tolerance=1e-7, iterations=5000)
    each = 1e3 * (time.process_time() - begin) / count
    scores = [ordered(*four) for four in zip(best.mixing, best.sources, a, s, strict=False)]
    of_a, of_s = (np.array(column) for column in zip(*scores, strict=True))
    return {
        "NMSE(S)": float(np.median(of_s)),
        "NMSE(A)": float(np.median(of_a)),
        "worst NMSE(S)": float(of_s.max()),
        "ms a mixture": each,
    }


def variants() -> None:
    """Tables 3 and 4."""
    both = "sources and mixing"
    choices = [
        *((s_update, a_update, both) for s_update in S_FORMS for a_update in A_FORMS),
        *(("lista-cp", "ista-ll", loss) for loss in LOSSES if loss != both),
    ]
    rows: list[dict[str, object]] = []
    for kind in SPLITS:
        train, test = splits_of(kind)
        x, a, s = test_mixtures(test)
        for s_update, a_update, loss in choices:
            network, seconds = trained(train, loss=loss, s_update=s_update, a_update=a_update)
            found_a, found_s = network(x)
            rows.append(
                {
                    "split": kind,
                    "S update": s_update,
                    "A update": a_update,
                    "loss": loss,
                    "NMSE(S)": median(nmse(found_s, s)),
                    "NMSE(S) + NMSE(A)": median(nmse(found_s, s) + nmse(found_a, a)),
                    "training CPU s": seconds,
                }
            )
    write("separation_variants.csv", rows)


def layers() -> None:
    """Figs. 2b and 10."""
    rows: list[dict[str, object]] = []
    for kind in SPLITS:
        train, test = splits_of(kind)
        x, a, s = test_mixtures(test)
        for depth in (5, 10, 25, 50):
            network, seconds = trained(train, layers=depth)
            row = {"split": kind, "layers": depth, "of": depth}
            rows.append({**row, **errors(*network(x), a, s), "training CPU s": seconds})
            if depth == 25:
                rows += [{"split": kind, **row} for row in after_each_layer(network, x, a, s)]
    write("separation_layers.csv", rows)


def after_each_layer(
    network: UnrolledSeparation, x: torch.Tensor, a: torch.Tensor, s: torch.Tensor
) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for depth in (1, 5, 10, 15, 20):
        short = UnrolledSeparation(65, 4, depth)
        short.load_state_dict({k: v[:depth] for k, v in network.state_dict().items()})
        rows.append({"layers": depth, "of": 25, **errors(*short(x), a, s)})
    return rows


def penalties() -> None:
    """Fig. 2a: from a matrix of the training set, 45 mixtures of it."""
    rows = [row for kind in SPLITS for row in by_penalty(kind, splits_of(kind)[0])]
    write("separation_penalties.csv", rows)


def by_penalty(kind: str, train: torch.Tensor) -> list[dict[str, object]]:
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
                "split": kind,
                "penalty": penalty,
                "NMSE(S)": float(np.median(scores)),
                "iterations": float(result.iterations.double().median()),
                "CPU ms a mixture": 1e3 * (time.process_time() - begin) / 45,
            }
        )
    return rows


def known() -> None:
    """Fig. 8: A known, or known with an error at 10 dB."""
    train, test = splits_of("random")
    x, a, s = test_mixtures(test)
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
