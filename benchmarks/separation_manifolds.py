"""Separation on manifolds: the figures and tables of Carloni Gertosio, Bobin and Acero (2023).

Four maps of 346 x 346 pixels, 65 channels (the paper has 75), spectra of the part of each family
that was held out. Held-out spectra that the library holds too (the public thermal family repeats
many) are taken out of the library. White noise; SNR is that of all data. Methods are not told the
noise: it is measured, for every channel, and for all channels together where as published. All
have two scales of the starlet and sources of any sign, and GMCA and sGMCA look at every fifth
pixel, as the methods do by default.
"""

from __future__ import annotations

import functools
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
import xarray as xr
from separation_data import DATA, NAMES, labelled, rows_of, splits_of
from tables import write

import arpes_ml_plugins
from arpes_ml_plugins.networks.iae import cached_autoencoder
from arpes_ml_plugins.separation.blind_start import factorised
from arpes_ml_plugins.separation.gmca import gmca
from arpes_ml_plugins.separation.least_squares import least_squares
from arpes_ml_plugins.separation.manifolds import (
    AutoencoderManifold,
    LocalSimplex,
    Manifold,
    NearestSpectrum,
)
from arpes_ml_plugins.separation.matched import matched
from arpes_ml_plugins.separation.metrics import match, nmse, separation_ratios, spectral_angle
from arpes_ml_plugins.separation.polish import upright
from arpes_ml_plugins.separation.sgmca import sgmca
from arpes_ml_plugins.separation.solvers import Sgmca
from arpes_ml_plugins.separation.whiten import Whitened, thinned, whiten

SHAPE, SCALES = (346, 346), 2
ANCHORS = (3, 3, 2, 2)  # Table 1
REALISATIONS = 10
TOO_ALIKE = 1 - 1e-9
HALS_PIXELS = 10_000
EXACT = 1e-7  # sine of the angle between a spectrum and a mixture of its neighbours
REMOVED = {  # name to the models that are left (Table 3)
    "sync": (1, 2, 3),
    "therm": (0, 2, 3),
    "therm, fe1, fe2": (0,),
}

Kinds = dict[str, list[Manifold]]


def families() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Libraries and held-out spectra; none of these is in the library."""
    train, test = splits_of("random")
    known, held = rows_of(train), rows_of(test)
    return [k[(k @ h.mT).amax(1) < TOO_ALIKE] for k, h in zip(known, held, strict=True)], held


def manifold_kinds(known: list[torch.Tensor]) -> Kinds:
    networks = [
        cached_autoencoder(
            family, "robust", anchors=count, layers=4, steps=None, seed=0, folder=None, report=None
        )
        for family, count in zip(known, ANCHORS, strict=True)
    ]
    return {
        "autoencoder": [AutoencoderManifold(n, f) for n, f in zip(networks, known, strict=True)],
        "local simplex": [LocalSimplex(f) for f in known],
        "nearest": [NearestSpectrum(f) for f in known],
    }


@dataclass(frozen=True)
class Mixture:
    """Data in units of their true noise, the truth, and the data whitened by what is measured."""

    x: torch.Tensor  # (m, t)
    a: torch.Tensor  # (m, n)
    s: torch.Tensor  # (n, t)
    data: Whitened

    @property
    def noise(self) -> torch.Tensor:
        return self.x - self.a @ self.s

    def as_published(self) -> tuple[Whitened, int]:
        """Every fifth pixel, with one noise for all channels; and how far apart the pixels are."""
        common = self.data.noise.square().mean().sqrt()
        factor = (self.data.noise / common)[:, None]
        few = thinned(self.data)
        step = -(-self.data.pixels.shape[1] * self.data.scales // few.shape[1])
        spread = self.data.scale_noise.repeat_interleave(few.shape[1] // self.data.scales)
        return (
            replace(
                self.data,
                pixels=self.data.pixels[:, ::step] * factor,
                sparse=few * factor,
                sparse_noise=spread,
                noise=common.expand(len(factor)),
            ),
            step,
        )


def mixture(a: torch.Tensor, *, snr: float, ratio: float, seed: int) -> Mixture:
    """The four maps with test spectra and white noise, which is then measured."""
    draw = torch.Generator().manual_seed(seed)
    maps = DATA["maps"] / DATA["maps"].norm(dim=(1, 2), keepdim=True)
    strength = torch.tensor([1.0, ratio, ratio, ratio]).double()
    s = maps.reshape(4, -1) * strength[:, None]
    clean = a @ s
    sigma = (clean.square().mean() * 10 ** (-snr / 10)).sqrt()
    x = clean / sigma + torch.randn(clean.shape, generator=draw, dtype=torch.float64)
    whole = torch.ones(SHAPE, dtype=torch.bool)
    data = whiten(x.reshape(-1, *SHAPE), whole, scales=SCALES, nonnegative=False)
    return Mixture(x, a, s / sigma, data)


# Spectra in the units of the data, and sources of every n-th pixel.
Found = tuple[torch.Tensor, torch.Tensor, int]


def rated(found: Found, truth: Mixture, first: int) -> dict[str, float]:
    """SAD of the spectra; ratios of the sources from ``first`` on."""
    spectra, sources, step = found
    spectra = spectra / spectra.norm(dim=0).clamp(min=1e-12)
    order, signs = match(spectra, truth.a)
    sad = spectral_angle(spectra[:, order] * signs, truth.a)
    ratios = separation_ratios(sources[order], truth.s[:, ::step], truth.noise[:, ::step])
    return {"SAD": sad, **{name: float(value[first:].mean()) for name, value in ratios.items()}}


def by_least_squares(spectra: torch.Tensor, data: Whitened) -> Found:
    """The sources of whitened spectra; and these in the units of the data."""
    return spectra * data.noise[:, None], least_squares(data.pixels, spectra)[0], 1


def separations(
    truth: Mixture, kinds: Kinds, count: int, modelled: list[int]
) -> dict[str, Callable[[], Found]]:
    """Each method; all but the published one from the same start of GMCA."""
    data = truth.data
    sparse = thinned(data)
    start = gmca(sparse.float(), count, data.scales).double()

    def seen(kind: str, by: Whitened = data) -> list[Manifold]:
        return [kinds[kind][i].weighted(by.weights) for i in modelled]

    def semi_blind(kind: str) -> torch.Tensor:
        return sgmca(sparse, start, seen(kind), data.scales, noise=data.scale_noise).spectra

    def default() -> Found:
        samples = [manifold.family() for manifold in seen("local simplex")]
        found = matched(data, semi_blind("local simplex"), samples, blind=upright(data, start))
        return by_least_squares(found.spectra, data)

    def published() -> Found:
        plain, step = truth.as_published()
        solver = Sgmca(lambda by, _: seen("autoencoder", by), count, published=True)
        found = solver.separate(plain)
        assert found.sources is not None
        return found.spectra, found.sources, step

    return {
        "GMCA": lambda: by_least_squares(start, data),
        "sGMCA, as published": published,
        **{
            f"sGMCA, {kind}": (lambda k=kind: by_least_squares(semi_blind(k), data))
            for kind in kinds
        },
        "separate_sgmca (matched)": default,
    }


def blind_peers(data: Whitened) -> dict[str, Callable[[], Found]]:
    draw = torch.Generator().manual_seed(0)
    chosen = torch.randperm(data.pixels.shape[1], generator=draw)[:HALS_PIXELS]
    part = data.pixels[:, chosen]

    def peer(sparsity: float) -> Found:
        spectra, _ = factorised(part, 4, seed=0, rounds=1000, sparsity=sparsity)
        return by_least_squares(spectra, data)

    return {
        "HALS (scikit-learn)": lambda: peer(0.0),
        "sparse NMF (scikit-learn)": lambda: peer(1.0),
    }


def collect(
    setting: str,
    value: object,
    kinds: Kinds,
    truths: Callable[[int], torch.Tensor],
    *,
    snr: float = 40.0,
    ratio: float = 1.0,
    modelled: tuple[int, ...] = (0, 1, 2, 3),
    peers: bool = True,
) -> list[dict[str, object]]:
    first = 0 if ratio == 1 else 1  # the paper rates the weak sources
    scores: dict[str, list[dict[str, float]]] = {}
    for i in range(REALISATIONS):
        truth = mixture(truths(i), snr=snr, ratio=ratio, seed=i)
        begin = time.process_time()
        methods = separations(truth, kinds, 4, list(modelled))
        blind = time.process_time() - begin
        methods |= blind_peers(truth.data) if peers else {}
        methods |= {"oracle": lambda t=truth: oracle(t)}
        for name, method in methods.items():
            begin = time.process_time()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = method()
            spent = time.process_time() - begin
            shared = ("GMCA" in name or "sgmca" in name) and "published" not in name
            spent += blind if shared else 0.0
            scores.setdefault(name, []).append({**rated(found, truth, first), "CPU s": spent})
    rows = []
    for name, each in scores.items():
        medians = {key: float(np.median([one[key] for one in each])) for key in each[0]}
        sads = [one["SAD"] for one in each]
        spread = float(np.subtract(*np.percentile(sads, [75, 25])))
        rows.append({setting: value, "method": name, **medians, "SAD, quartile range": spread})
    return rows


def oracle(truth: Mixture) -> Found:
    """The spectra that least squares finds with the true sources."""
    spectra = truth.x @ torch.linalg.pinv(truth.s)
    return spectra, least_squares(truth.x, spectra)[0], 1


@functools.cache
def prepared() -> tuple[Kinds, list[torch.Tensor]]:
    """Manifolds and held-out spectra; the autoencoders are trained once."""
    known, held = families()
    return manifold_kinds(known), held


def truths(i: int) -> torch.Tensor:
    return torch.stack([family[i] for family in prepared()[1]], 1)


def manifold_noise() -> None:
    """Fig. 9a."""
    rows = []
    for snr in (10.0, 20.0, 40.0, 60.0):
        kinds = prepared()[0]
        rows += collect("SNR, dB", snr, kinds, truths, snr=snr, peers=snr == 40.0)
    write("manifolds_noise.csv", rows)


def manifold_balance() -> None:
    """Fig. 9c: all sources but the first weaker by k."""
    rows = []
    for ratio in (0.1, 0.01):
        rows += collect("k", ratio, prepared()[0], truths, ratio=ratio, peers=ratio == 0.01)
    write("manifolds_balance.csv", rows)


def manifold_removed() -> None:
    """Table 3: some components without a model."""
    rows = []
    some = {kind: prepared()[0][kind] for kind in ("autoencoder", "local simplex")}
    for removed, modelled in REMOVED.items():
        for ratio in (1.0, 0.01):
            found = collect(
                "removed",
                removed,
                some,
                truths,
                ratio=ratio,
                modelled=modelled,
                peers=False,
            )
            rows += [{"k": ratio, **row} for row in found if row["method"] != "oracle"]
    write("manifolds_removed.csv", rows)


def manifold_distance() -> None:
    """Fig. 9b: two lines ever closer together; one family of lines at all centres for both."""
    centres = torch.linspace(20, 60, 600).double()
    lines = gaussian_lines(centres)
    network = cached_autoencoder(
        lines, "robust", anchors=2, layers=4, steps=None, seed=0, folder=None, report=None
    )
    of_line: dict[str, Manifold] = {
        "autoencoder": AutoencoderManifold(network, lines),
        "local simplex": LocalSimplex(lines),
        "nearest": NearestSpectrum(lines),
    }
    kinds = prepared()[0]
    both = {kind: [*kinds[kind][:2], of_line[kind], of_line[kind]] for kind in kinds}
    rows = []
    for distance in (5.0, 20.0):

        def close(i: int, apart: float = distance) -> torch.Tensor:
            first = 30.0 + 0.37 * i
            pair = gaussian_lines(torch.tensor([first, first + apart]).double())
            return torch.cat([truths(i)[:, :2], pair.mT], 1)

        rows += collect("distance, channels", distance, both, close, peers=False)
    write("manifolds_distance.csv", rows)


def gaussian_lines(centres: torch.Tensor) -> torch.Tensor:
    """Gaussians whose width is proportional to their centre, as in the paper's Fig. 2c."""
    channel = torch.arange(65).double()
    width = 0.06 * centres[:, None]
    rows = torch.exp(-0.5 * ((channel - centres[:, None]) / width).square())
    return rows / rows.norm(dim=1, keepdim=True)


def manifold_projection() -> None:
    """Table 2: held-out spectra on the manifolds; how long four of them take."""
    kinds, held = prepared()
    rows: list[dict[str, object]] = []
    for kind, models in kinds.items():
        row: dict[str, object] = {"manifold": kind}
        for name, model, family in zip(NAMES, models, held, strict=True):
            found = model.project(family).spectra
            row[f"SAD {name}"] = float(
                np.median(
                    [
                        spectral_angle(p[:, None], t[:, None])
                        for p, t in zip(found, family, strict=True)
                    ]
                )
            )
        begin = time.process_time()
        for i in range(20):
            for model, family in zip(models, held, strict=True):
                model.project(family[i][None])
        row["ms for four"] = 1e3 * (time.process_time() - begin) / 20
        rows.append(row)
    write("manifolds_projection.csv", rows)


def manifold_neighbours() -> None:
    """How many held-out spectra are exact mixtures of their nearest neighbours in the library, and
    what is left of the accuracy if none of a mixture is.
    """
    known, held = families()
    far = torch.stack([LocalSimplex(k).distance(h) for k, h in zip(known, held, strict=True)])
    rows: list[dict[str, object]] = [
        {
            "family": name,
            "exact mixtures": float((one < EXACT).double().mean()),
            "median distance of the others": float(one[one >= EXACT].median()),
        }
        for name, one in zip(NAMES, far, strict=True)
    ]
    write("manifolds_neighbours.csv", rows)
    write("manifolds_exact.csv", [by_exactness(kind, far) for kind in ("exact", "not exact")])


def by_exactness(kind: str, far: torch.Tensor) -> dict[str, object]:
    """``separate_sgmca`` at 30 dB on the raw maps, the thermal spectrum an exact mixture or not."""
    exact = far[NAMES.index("therm")] < EXACT
    chosen = (exact if kind == "exact" else ~exact).nonzero()[:REALISATIONS, 0].tolist()
    known = prepared_library()
    held = families()[1]
    scores: dict[str, list[float]] = {}
    for i in chosen:
        a = torch.stack([family[i] for family in held], 1)
        image = labelled(mixture(a, snr=30.0, ratio=1.0, seed=i).x, SHAPE)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = arpes_ml_plugins.separate_sgmca(image, library=known, rng=0)
        found = torch.from_numpy(result.spectra.values).double().mT
        found = found / found.norm(dim=0)
        for name, one, true in zip(NAMES, found.mT, a.mT, strict=True):
            scores.setdefault(name, []).append(float((one - true).square().sum()))
        scores.setdefault("NMSE(A)", []).append(float(nmse(found, a)))
    return {
        "thermal spectra": kind,
        "realisations": len(chosen),
        **{name: float(np.median(each)) for name, each in scores.items()},
    }


def prepared_library() -> arpes_ml_plugins.SpectrumLibrary:
    """Families of different size, none of which holds a held-out spectrum."""
    return arpes_ml_plugins.SpectrumLibrary(
        {
            name: xr.DataArray(family.numpy(), {"eV": np.arange(65.0)}, ("sample", "eV"))
            for name, family in zip(NAMES, families()[0], strict=True)
        }
    )


def choice() -> None:
    """The number of components: the maps over realisations, and PyARPES's nano-XPS map."""
    from arpes.io import example_data

    rows: list[dict[str, object]] = []
    for snr in (10.0, 20.0, 40.0):
        found = [of_mixture(snr, i) for i in range(REALISATIONS)]
        rows.append(counted(f"four maps, SNR {snr:.0f} dB", found, 4))
    nano = example_data.nano_xps.spectrum
    rows.append(counted("nano_xps", [of_image(nano, seed) for seed in range(REALISATIONS)], 3))
    write("manifolds_choice.csv", rows)


def of_mixture(snr: float, seed: int) -> tuple[int, float]:
    return of_image(labelled(mixture(truths(seed), snr=snr, ratio=1.0, seed=seed).x, SHAPE), seed)


def of_image(image: xr.DataArray, seed: int) -> tuple[int, float]:
    begin = time.process_time()
    result = arpes_ml_plugins.choose_components(image, rng=seed)
    return int(result.recommended), time.process_time() - begin


def counted(name: str, found: list[tuple[int, float]], right: int) -> dict[str, object]:
    numbers, seconds = zip(*found, strict=True)
    return {
        "data": name,
        "components": right,
        "found": sum(number == right for number in numbers),
        "of": len(numbers),
        "CPU s": float(np.median(seconds)),
    }
