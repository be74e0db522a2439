"""Weak copies of bands come back if they are certain, and none appears where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from arpes_ml_plugins.denoising.replicas import recover_replicas, replica_strengths

SIZE = 128
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE].astype(float)
ALL = torch.ones((1, SIZE, SIZE), dtype=torch.bool)


def band(at: float) -> np.ndarray:
    """A parabola, as wide as bands are."""
    return 1 / (1 + ((ROWS - 100 + 0.02 * (COLUMNS - at) ** 2) / 3) ** 2)


MAIN, BACKGROUND = 25 * band(40), 1.0 + 0 * ROWS
COPIES = {
    "shifted": 25 * band(95),
    "mirrored": 25 * (1 / (1 + ((ROWS - 30 - 0.02 * (COLUMNS - 40) ** 2) / 3) ** 2)),
}


def added(copy: np.ndarray, seed: int) -> tuple[float, float]:
    """Amplitude of ``copy`` in what is added to the image without it, and its standard error."""
    clean = MAIN + BACKGROUND
    counts = np.random.default_rng(seed).poisson(clean + copy)
    given = [torch.from_numpy(each)[None].float() for each in (counts, clean)]
    found = (recover_replicas(*given, ALL) - given[1])[0].numpy()
    information = (copy**2 / clean).sum()
    return float((found * copy / clean).sum() / information), information**-0.5


@pytest.mark.parametrize("kind", COPIES)
@pytest.mark.parametrize("seed", range(3))
def test_a_certain_copy_returns_with_its_strength(kind, seed):
    copy = 0.03 * COPIES[kind]
    amplitude, error = added(copy, seed)
    assert error < 1 / 7
    assert amplitude == pytest.approx(1, abs=4 * error)


def test_nothing_appears_without_a_copy():
    """Thirty images without one; the threshold lets fewer than one in a hundred through."""
    clean = torch.from_numpy(MAIN + BACKGROUND).float().expand(30, -1, -1)
    counts = torch.from_numpy(np.random.default_rng(1).poisson(clean.numpy())).float()
    strengths = replica_strengths(counts, clean, ALL.expand(30, -1, -1))
    assert int(torch.isfinite(strengths).sum()) <= 1


def test_sparse_counts_are_no_copies():
    """Two electrons in a dark place exceed a Gaussian error by far; one image in a hundred may."""
    clean = torch.from_numpy(MAIN + 0.1 * BACKGROUND).float()
    clean = (clean * 0.02 / clean.mean()).expand(60, -1, -1)
    counts = torch.from_numpy(np.random.default_rng(3).poisson(clean.numpy())).float()
    strengths = replica_strengths(counts, clean, ALL.expand(60, -1, -1))
    assert int(torch.isfinite(strengths).sum()) <= 2


def test_images_of_a_series_need_more_evidence():
    """A copy of 4.6 standard deviations may be chance in one of a hundred images."""
    clean = torch.from_numpy(MAIN + BACKGROUND)[None].float()
    copy = torch.from_numpy(COPIES["shifted"])[None].float()
    noise = torch.poisson(clean, generator=torch.Generator().manual_seed(0)) - clean
    strengths = [
        replica_strengths(clean + noise + share * copy, clean, ALL, series=series)
        for share in (0.012, 0.03)
        for series in (False, True)
    ]
    assert [bool(torch.isfinite(one)) for one in strengths] == [True, False, True, True]


def test_a_band_that_was_missed_is_no_copy_of_itself():
    """What is missing at the structure's own place is left to the other stages: a fifth, here."""
    clean = torch.from_numpy(MAIN + BACKGROUND)[None].float()
    counts = torch.from_numpy(1.2 * MAIN + BACKGROUND)[None].float()
    change = (recover_replicas(counts, clean, ALL) - clean).abs()
    assert float(change.amax()) < 0.15 * 0.2 * MAIN.max()


def test_flat_and_empty_images_are_left_alone():
    flat = torch.full((2, SIZE, SIZE), 3.0)
    flat[1] = 0
    valid = ALL.expand(2, -1, -1)
    assert torch.equal(recover_replicas(torch.poisson(flat), flat, valid), flat)


def test_missing_pixels_take_no_part():
    clean = torch.from_numpy(MAIN + BACKGROUND)[None].float()
    counts = torch.poisson(clean, generator=torch.Generator().manual_seed(0))
    valid = ALL.clone()
    valid[:, :, :30] = False
    spoilt = torch.where(valid, counts, 1e6)
    assert torch.equal(
        recover_replicas(counts, clean, valid), recover_replicas(spoilt, clean, valid)
    )


@pytest.mark.parametrize("strength", [0.0, 0.015])
def test_users_are_told(strength):
    """The network alone keeps too little of this copy; without it, nothing is said."""
    copy = strength * COPIES["shifted"]
    counts = np.random.default_rng(0).poisson(MAIN + BACKGROUND + copy)
    cut = xr.DataArray(counts, dims=("eV", "phi"))
    clean = cut.S.denoise_pretrained(adapt=False, gain=1, mesh=None, rng=0)
    said = clean.attrs["provenance"]["record"]["found"]["residual"]
    assert ("replica of the bands" in said and "has been added" in said) == (strength > 0)
    if strength:
        kept = (clean.values - MAIN - BACKGROUND) * copy
        assert kept.sum() / (copy**2).sum() > 0.6
