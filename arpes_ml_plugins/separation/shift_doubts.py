"""What shifts may be mistaken for: properties of the components."""

from __future__ import annotations

import torch

from arpes_ml_plugins.separation.energy_shift import Shifts
from arpes_ml_plugins.separation.shift_scan import moved

__all__ = ["copies", "copies_within", "following", "lonely", "uncertain"]

COPY = 0.985  # cosine of two spectra, one of them shifted
RANGE = 0.02, 0.98  # quantiles of the shifts
FAINT = 0.2  # of the mean intensity
WIDE = 0.08  # of the width of lines
SHARED = 0.1  # of the intensity of a component, in pixels that hold as much of others


def copies(spectra: torch.Tensor, shifts: Shifts) -> list[tuple[int, int, float]]:
    """Pairs of spectra ``(n, m)`` that a shift in the range of those found makes alike.

    With that shift, which of the two a pixel holds is not determined.
    """
    found = shifts.shift[shifts.shift.isfinite()]
    low, high = (float(found.kthvalue(1 + round(q * (len(found) - 1))).values) for q in RANGE)
    return copies_within(spectra, shifts.step, high - low)


def copies_within(
    spectra: torch.Tensor, step: float, largest: float, cosine_above: float = COPY
) -> list[tuple[int, int, float]]:
    """Pairs of spectra ``(n, m)`` that a shift of up to ``largest`` makes alike."""
    most = int(largest / abs(step))
    columns = spectra.mT
    unit = columns / columns.norm(dim=0).clamp(min=1e-30)
    best: dict[tuple[int, int], tuple[float, float]] = {}
    for channels in range(-most, most + 1):
        there = moved(columns, columns.new_full((columns.shape[1],), float(channels)))
        cosine = (there / there.norm(dim=0).clamp(min=1e-30)).mT @ unit
        for first in range(len(cosine)):
            for second in range(first + 1, len(cosine)):
                one = float(cosine[first, second]), channels * step
                best[first, second] = max(best.get((first, second), one), one)
    return [(*pair, shift) for pair, (cosine, shift) in best.items() if cosine > cosine_above]


def following(maps: torch.Tensor, shift: torch.Tensor) -> float:
    """Share of the variance of shifts ``(t,)`` that shares of the components in the intensity,
    given their maps ``(n, t)``, explain.

    Such shifts may as well be chemical ones: only pixels of several components show the difference.
    """
    used = shift.isfinite() & maps.isfinite().all(0)
    maps, shift = maps[:, used].clamp(min=0).double(), shift[used].double()
    total = maps.sum(0)
    bright = total > FAINT * total.mean()
    share, shift = (maps / total.clamp(min=1e-30))[:, bright], shift[bright]
    shift = shift - shift.mean()
    explained = share.mT @ torch.linalg.lstsq(share.mT, shift[:, None]).solution
    return float(
        1 - (shift - explained[:, 0]).square().sum() / shift.square().sum().clamp(min=1e-30)
    )


def lonely(maps: torch.Tensor) -> list[int]:
    """Components whose maps ``(n, t)`` share hardly any pixel with another component.

    How far these are shifted against the others is not determined by any pixel.
    """
    maps = maps.nan_to_num().clamp(min=0)
    others = maps.sum(0) - maps
    shared = torch.minimum(maps, others).sum(1) / maps.sum(1).clamp(min=1e-30)
    return (shared < SHARED).nonzero()[:, 0].tolist() if len(maps) > 1 else []


def uncertain(spectra: torch.Tensor, shifts: Shifts) -> float | None:
    """The typical error of shifts of single pixels, if it is no longer small against the lines of
    spectra ``(n, m)``.

    Then spectra that are averages over pixels with wrong shifts are not those of the right ones.
    """
    if shifts.energies is None or len(spectra) < 2:
        return None
    slope = spectra.diff(dim=1).norm(dim=1).clamp(min=1e-30) / abs(shifts.step)
    width = float((spectra.norm(dim=1) / slope).median())
    error = float(shifts.stderr[shifts.stderr.isfinite()].median())
    return error if error > WIDE * width else None
