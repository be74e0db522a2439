"""Describe the residual of a denoised image in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import CountsWarning
from arpes_ml_plugins.frames import warn
from arpes_ml_plugins.labelled.outputs import Output, Scalar

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.denoising.counts_denoiser import CountsResult

__all__ = ["OUTPUTS", "residual_numbers", "say_what_is_left", "spot_numbers"]


OUTPUTS: dict[str, Output] = dict.fromkeys(
    (
        "structure",
        "power",
        "bright",
        "bright_error",
        "lines",
        "excess",
        "shared",
        "filter",
        "replica",
        "spots",
        "spot_row",
        "spot_column",
    ),
    Scalar(),
)
LEFT = 0.03  # fraction of the image
WEAK, STRONG = 0.8, 1.3  # power of the residual over that of the noise
SATURATED, BUNCHED = 0.8, 1.5  # power in bright places over that in dim ones
BENT, CERTAIN = 0.9, 3.0  # the same of a detector that saturates a little; standard errors below 1
UNEVEN = 0.005  # of the intensity of a line
MORE = 0.01  # of all intensity
SHARED = 0.1  # correlation of the noise of images that follow each other
SERIOUS = {
    "structure": (0.0, 0.05),
    "power": (0.5, 2.0),
    "bright": (SATURATED, 2.5),
    "lines": (0.0, 0.05),
    "excess": (-0.02, 0.02),
    "shared": (-0.2, 0.2),
}
"""Ranges beyond which a warning is issued."""
NOISE = "The residual is noise as assumed."


def spot_numbers(counts: torch.Tensor, spots: torch.Tensor) -> dict[str, torch.Tensor]:
    """Number of the pixels left out that look like ``spots``, and the place of the brightest."""
    import torch

    place = int(torch.where(spots, counts, -math.inf).argmax()) % spots[0].numel()
    row, column = divmod(place, spots.shape[-1])
    numbers = int(spots.sum()), row, column
    return {
        name: torch.tensor([number], dtype=torch.float64, device="cpu")
        for name, number in zip(("spots", "spot_row", "spot_column"), numbers, strict=True)
    }


def residual_numbers(result: CountsResult, excess: torch.Tensor) -> dict[str, torch.Tensor]:
    """Summarise the residual of images that are denoised together, one number per kind.

    ``excess`` is that of their intensity over that of the data.
    """
    import torch

    if result.filtered is not None:  # its residual is small by construction
        unknown = torch.full((1,), math.nan, dtype=torch.float64, device="cpu")
        numbers = dict.fromkeys(OUTPUTS, unknown)
        numbers |= {"filter": torch.full_like(unknown, result.filtered), "excess": excess[None]}
        return numbers
    residual = result.residual()
    return {
        "structure": residual.structure.amax()[None],
        "power": residual.power.nanmedian()[None],
        "bright": residual.bright.nanmedian()[None],
        "bright_error": residual.bright_error.nanmedian()[None],
        "lines": residual.lines.nanmedian()[None],
        "excess": excess[None],
        "shared": torch.tensor([result.shared()], dtype=torch.float64, device="cpu"),
        "filter": torch.full((1,), math.nan, device="cpu"),
        "replica": result.replicas().nan_to_num(0.0).amax()[None],
    }


def say_what_is_left(arrays: dict[str, xr.DataArray], *, kind: str = "counts") -> dict[str, Any]:
    """Remove the numbers from ``arrays`` and describe them in words; warn if they are serious.

    ``kind`` of the noise: if it is "local", it was measured from place to place, and follows the
    intensity by no law.
    """
    values = {name: arrays.pop(name).values.ravel() for name in OUTPUTS}
    filters, replicas = values.pop("filter"), values.pop("replica")
    spots = [values.pop(name) for name in ("spots", "spot_row", "spot_column")]
    numbers = {name: _typical(name, known[np.isfinite(known)]) for name, known in values.items()}
    sentences = _filtered(filters) + _sentences(**numbers, kind=kind)
    if any(
        not low <= numbers[name] <= high
        for name, (low, high) in SERIOUS.items()
        if math.isfinite(numbers[name])
    ):
        warn(
            f"the difference between data and clean image is not the noise that was assumed. "
            f"{' '.join(sentences)}",
            CountsWarning,
        )
    words = " ".join([*(sentences or [NOISE]), *_replicas(replicas), *_spots(*spots)])
    known = {f"residual_{name}": x for name, x in numbers.items() if math.isfinite(x)}
    return {"residual": words} | known


def _typical(name: str, known: np.ndarray) -> float:
    """Summary over all images: the maximum of structure, excess and shared noise, or the median."""
    if not known.size:
        return math.nan
    if name in ("excess", "shared"):
        return float(known[np.abs(known).argmax()])
    return float(known.max() if name == "structure" else np.median(known))


def _filtered(widths: np.ndarray) -> list[str]:
    """A sentence if a Gaussian filter replaced the network."""
    used = np.isfinite(widths)
    if not used.any():
        return []
    which = "" if used.all() else f" for {used.sum()} of {used.size} images"
    return [
        f"A Gaussian filter replaces the network{which}, because it predicts held-out data "
        f"better: its width is {widths[used].max():g} pixels (0 stands for the data themselves)."
    ]


def _replicas(strengths: np.ndarray) -> list[str]:
    """A sentence if weak copies of bands were added to the network's image."""
    highest = float(np.nanmax(strengths, initial=0.0))
    if highest == 0:
        return []
    return [
        f"A weak replica of the bands ({highest:.2g} times their intensity) was missing from the "
        f"network's image and has been added from the data."
    ]


def _spots(number: np.ndarray, row: np.ndarray, column: np.ndarray) -> list[str]:
    """A sentence about pixels that were left out as hot, and may be none."""
    if not number.sum() > 0:
        return []
    most = int(number.argmax())
    return [
        f"Pixels that were left out as hot and have bright neighbours: {number.sum():.0f}, the "
        f"brightest in row {row[most]:.0f} and column {column[most]:.0f}. Cosmic rays look like "
        f"this, and so do spots of the sample narrower than a pixel, whose intensity is missing."
    ]


def _sentences(
    structure: float,
    power: float,
    bright: float,
    bright_error: float,
    lines: float,
    excess: float,
    shared: float,
    *,
    kind: str,
) -> list[str]:
    said = []
    bent = bright < SATURATED or bright < min(BENT, 1 - CERTAIN * bright_error)
    if structure > LEFT:
        said.append(
            f"Around {structure:.0%} of the pixels (of the worst image) the residual contains "
            f"structure, or noise that varies from place to place: compare with the data there."
        )
    if power > STRONG or power < WEAK:
        sharp = power > STRONG and kind == "correlated"
        said.append(
            f"The variance of the residual is {power:.2g} times that of noise of this gain: the "
            f"gain may be wrong, or the detector's pixels differ in sensitivity"
            f"{', or splines or Fourier transforms have interpolated the data' * sharp}."
        )
    if lines > UNEVEN:
        said.append(
            f"Whole lines of pixels are brighter or darker than the clean image, by {lines:.1%} "
            f"beyond noise, as if the beam or the gain of a channel fluctuated from one to the "
            f"next, or where structure along them was missed: error bars contain this."
        )
    if abs(excess) > MORE:
        said.append(
            f"The sum of all pixels is {abs(excess):.1%} {'larger' if excess > 0 else 'smaller'} "
            f"than that of the data, which is no chance: as where negative values come from a "
            f"filter, or from noise that is not that of counts."
        )
    if abs(shared) > SHARED:
        said.append(
            f"Images that follow each other share noise (correlation {shared:.2g}), as after a "
            f"running mean, a sum or an interpolation along the series, with a reference in "
            f"common, or if pixels differ in sensitivity: part of it stays in the clean images, "
            f"and error bars do not contain that. Denoise before such steps, or each image alone "
            f"(series=None)."
        )
    if kind == "local":
        if (structure <= LEFT and bent) or bright > BUNCHED:
            said.append(
                f"Where values are high, the variance is {bright:.2g} times that which was "
                f"measured around them."
            )
        return said
    if structure <= LEFT and bent:
        said.append(
            f"In bright places the variance is {bright:.2g} times what dim places predict, as "
            f"for a detector that saturates: bright bands look flatter and sharper than they are."
        )
    if bright > BUNCHED:
        said.append(
            f"In bright places the variance is {bright:.2g} times what dim places predict, as "
            f"for a source that fluctuates, or pixels that differ in sensitivity."
        )
    return said
