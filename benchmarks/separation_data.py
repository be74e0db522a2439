"""The public simulations, splits of them, and scores: what the separation benchmarks share.

The folder holds cassiopeia_xray.npz, the public simulations of Fahes et al. (ICLR 2022): families
``spectra_*`` (750 x 65) and ``map_*`` (346 x 346) of four components. Errors are medians over test
mixtures of NMSE (eq. 10); 750 matrices, 150 of them to test on.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import xarray as xr

import arpes_ml_plugins
from arpes_ml_plugins.separation.metrics import match, nmse
from arpes_ml_plugins.simulation.mixtures import Mixtures, random_split

NAMES = ("sync", "therm", "fe1", "fe2")
TESTS = 150
DATA: dict[str, torch.Tensor] = {}


def load(folder: Path) -> None:
    file = np.load(folder / "cassiopeia_xray.npz")
    DATA["spectra"] = torch.tensor(np.stack([file[f"spectra_{n}"] for n in NAMES])).double()
    DATA["maps"] = torch.tensor(np.stack([file[f"map_{n}"] for n in NAMES])).double()


def splits_of(kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Spectra to train and to test on, ``(4, samples, 65)``: at random, those with the columns
    most alike (hard), or those least like the first, as in the paper's code (distant).
    """
    spectra = DATA["spectra"]
    if kind == "random":
        chosen = random_split(spectra.shape[1], TESTS)
    else:
        chosen = {"hard": hard_split, "distant": distant_split}[kind](spectra, TESTS)
    return spectra[:, chosen[0]], spectra[:, chosen[1]]


def hard_split(spectra: torch.Tensor, tests: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The same by difficulty: tests are the mixing matrices whose columns are most alike."""
    unit = spectra / spectra.norm(dim=-1, keepdim=True)
    gram = torch.einsum("isk,jsk->sij", unit, unit)
    gram.diagonal(dim1=1, dim2=2).zero_()
    order = gram.amax((1, 2)).argsort()
    return order[:-tests], order[-tests:]


def distant_split(spectra: torch.Tensor, tests: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The split of the paper's code: tests are the matrices least like the first, by the sum of
    the cosines between their columns and its own.
    """
    unit = spectra / spectra.norm(dim=-1, keepdim=True)
    order = (unit * unit[:, :1]).sum((0, 2)).argsort()
    return order[tests:], order[:tests]


def rows_of(spectra: torch.Tensor) -> list[torch.Tensor]:
    return [family / family.norm(dim=1, keepdim=True) for family in spectra]


def test_mixtures(spectra: torch.Tensor, **options: object) -> tuple[torch.Tensor, ...]:
    mixtures = Mixtures(spectra, together=True, **options)
    return mixtures.draw(TESTS, torch.Generator().manual_seed(1))


def median(values: torch.Tensor) -> float:
    return float(values.nan_to_num(torch.inf).median())


def fitted(x: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    return torch.linalg.pinv(a) @ x


def ordered(
    mixing: torch.Tensor, sources: torch.Tensor, a: torch.Tensor, s: torch.Tensor
) -> tuple[float, float]:
    """NMSE of A and S, order, sign and scale put right first."""
    length = mixing.norm(dim=0).clamp(min=1e-12)
    mixing, sources = mixing / length, sources * length[:, None]
    order, signs = match(mixing, a.double())
    mixing, sources = mixing[:, order] * signs, sources[order] * signs[:, None]
    return float(nmse(mixing, a.double())), float(nmse(sources, s.double()))


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


def columns_score(found: torch.Tensor, a: torch.Tensor) -> float:
    """NMSE(A) without any use of the truth but the order of the components, and their sign."""
    unit = found.double() / found.double().norm(dim=0).clamp(min=1e-12)
    order, signs = match(unit, a)
    return float(nmse(unit[:, order] * signs, a))


def score(result: xr.Dataset, a: torch.Tensor) -> float:
    return columns_score(torch.from_numpy(result.spectra.transpose("eV", "component").values), a)
