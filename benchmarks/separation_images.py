"""Table 2 of Fahes et al. (ICLR 2022): test spectra times the four maps, SNR 30 dB."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
import xarray as xr
from separation_data import DATA, columns_score, labelled, library_of, rows_of, score, splits_of
from tables import write
from unrolled_peers import PEERS

import arpes_ml_plugins
from arpes_ml_plugins.separation.lpalm import UnrolledSeparation
from arpes_ml_plugins.separation.starlet import starlet
from arpes_ml_plugins.simulation.mixtures import Mixtures
from arpes_ml_plugins.training.lpalm import RECIPES, train_network

SHAPE = (346, 346)
REALISATIONS = 3

# From an image and its true mixing matrix to NMSE(A).
Scored = Callable[[xr.DataArray, torch.Tensor], float]


def mixed(i: int, kind: str, test: torch.Tensor) -> tuple[xr.DataArray, torch.Tensor]:
    draw = torch.Generator().manual_seed(i)
    a = torch.stack([family[i] for family in rows_of(test)], 1)
    maps = DATA["maps"] / DATA["maps"].norm(dim=(1, 2), keepdim=True)
    s = maps.reshape(4, -1)
    if kind == "permuted":
        s = torch.stack([one[torch.randperm(one.numel(), generator=draw)] for one in s])
    clean = a @ s
    sigma = (clean.square().mean() * 1e-3).sqrt()
    x = clean + sigma * torch.randn(clean.shape, generator=draw, dtype=torch.float64)
    return labelled(x, SHAPE), a


def images() -> None:
    """Table 2, on maps as they are and with the pixels of each permuted."""
    train, test = splits_of("random")
    methods = {**with_library(train), **without_library()}
    rows: list[dict[str, object]] = []
    for kind in ("permuted", "raw"):
        for name, method in methods.items():
            scores, seconds = [], []
            for i in range(REALISATIONS):
                image, a = mixed(i, kind, test)
                begin = time.process_time()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # fits without convergence are scored too
                    scores.append(method(image, a))
                seconds.append(time.process_time() - begin)
            rows.append(
                {
                    "maps": kind,
                    "method": name,
                    "NMSE(A)": float(np.median(scores)),
                    "worst NMSE(A)": max(scores),
                    "realisations": REALISATIONS,
                    "CPU s": float(np.median(seconds)),
                }
            )
    write("separation_images.csv", rows)


def with_library(train: torch.Tensor) -> dict[str, Scored]:
    known = library_of(train)
    network = arpes_ml_plugins.train_lpalm(known)
    lista = trained_lista(train)
    forms: dict[str, dict[str, object]] = {
        "LPALM, network": {"refine": False},
        "LPALM, refined": {"match": False},
        "LPALM, matched (default)": {},
    }
    separate = arpes_ml_plugins.separate_lpalm

    def lpalm(form: dict[str, object]) -> Scored:
        return lambda image, a: score(separate(image, network=network, rng=0, **form), a)

    def palm(image: xr.DataArray, a: torch.Tensor) -> float:
        return score(arpes_ml_plugins.separate_palm(image, library=known, rng=0), a)

    return {
        **{name: lpalm(form) for name, form in forms.items()},
        "PALM, from the library's means": palm,
        "LISTA": lambda image, a: lista_score(lista, image, a),
    }


def without_library() -> dict[str, Scored]:
    from sklearn.decomposition import NMF, FastICA

    def peer(fit: Callable[[torch.Tensor, int], torch.Tensor]) -> Scored:
        return lambda image, a: columns_score(fit(pixels_of(image), 4), a)

    def nmf(image: xr.DataArray, a: torch.Tensor) -> float:
        model = NMF(4, init="nndsvda", max_iter=500, random_state=0)
        model.fit(pixels_of(image).clamp(min=0).mT.numpy())
        return columns_score(torch.from_numpy(model.components_.T), a)

    def ica(image: xr.DataArray, a: torch.Tensor) -> float:
        model = FastICA(4, whiten="unit-variance", random_state=0, max_iter=500)
        model.fit(pixels_of(image).mT.numpy())
        return columns_score(torch.from_numpy(model.mixing_), a)

    return {
        **{name: peer(fit) for name, fit in PEERS.items()},
        "scikit-learn NMF": nmf,
        "scikit-learn FastICA": ica,
    }


def pixels_of(image: xr.DataArray) -> torch.Tensor:
    return torch.from_numpy(image.values.reshape(image.sizes["eV"], -1))


def trained_lista(train: torch.Tensor) -> UnrolledSeparation:
    """Sources from data without a mixing matrix (eq. 4)."""
    from dataclasses import replace

    network = UnrolledSeparation(65, 4, s_update="lista", a_update="fixed")
    recipe = replace(RECIPES["robust"], weight_rate=1e-3, loss="sources")  # diverges at more
    draw = torch.Generator().manual_seed(0)
    train_network(network, Mixtures(train, together=True), recipe, draw)
    return network.requires_grad_(False)


def lista_score(network: UnrolledSeparation, image: xr.DataArray, a: torch.Tensor) -> float:
    """Of the wavelet details; the mixing matrix from the sources by least squares."""
    details = starlet(torch.from_numpy(image.values), 3)[:-1].permute(1, 0, 2, 3).flatten(1)
    scale = 2 * (details.shape[1] / 500) ** 0.5 / details.norm()
    x = (details * scale).float()
    _, s = network(x[None], a[None].float())  # which this network does not look at
    return columns_score((x @ torch.linalg.pinv(s[0])).double(), a)
