"""What the denoised image leaves of the data, in words."""

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

__all__ = ["OUTPUTS", "residual_numbers", "say_what_is_left"]


OUTPUTS: dict[str, Output] = {
    name: Scalar() for name in ("structure", "power", "bright", "filter", "replica")
}
LEFT = 0.03  # of the image
WEAK, STRONG = 0.8, 1.3  # power of the residual over that of the noise
SATURATED, BUNCHED = 0.8, 1.5  # power where it is bright over that where it is dim
SERIOUS = {"structure": (0.0, 0.05), "power": (0.5, 2.0), "bright": (SATURATED, 2.5)}
"""Ranges beyond which words are not enough, and a warning is given."""
NOISE = "The residual is noise as it was assumed."


def residual_numbers(result: CountsResult) -> dict[str, torch.Tensor]:
    """One number each for images that are denoised together."""
    import torch

    if result.filtered is not None:  # its residual is small by construction
        unknown = torch.full((1,), math.nan, dtype=torch.float64, device="cpu")
        numbers = dict.fromkeys(OUTPUTS, unknown)
        return numbers | {"filter": torch.full_like(unknown, result.filtered)}
    residual = result.residual()
    return {
        "structure": residual.structure.amax()[None],
        "power": residual.power.nanmedian()[None],
        "bright": residual.bright.nanmedian()[None],
        "filter": torch.full((1,), math.nan, device="cpu"),
        "replica": result.replicas().nan_to_num(0.0).amax()[None],
    }


def say_what_is_left(arrays: dict[str, xr.DataArray]) -> dict[str, Any]:
    """Take the numbers out of ``arrays`` and put them into words; warn if they are serious."""
    values = {name: arrays.pop(name).values.ravel() for name in OUTPUTS}
    filters, replicas = values.pop("filter"), values.pop("replica")
    numbers = {name: _typical(name, known[np.isfinite(known)]) for name, known in values.items()}
    sentences = _filtered(filters) + _sentences(**numbers)
    if any(
        not low <= numbers[name] <= high
        for name, (low, high) in SERIOUS.items()
        if math.isfinite(numbers[name])
    ):
        warn(
            f"what the clean image leaves of the data is not the noise that was assumed. "
            f"{' '.join(sentences)}",
            CountsWarning,
        )
    words = " ".join([*(sentences or [NOISE]), *_replicas(replicas)])
    return {"residual": words} | {f"residual_{name}": number for name, number in numbers.items()}


def _typical(name: str, known: np.ndarray) -> float:
    """Of all images: the worst structure, and the median of the others."""
    if not known.size:
        return math.nan
    return float(known.max() if name == "structure" else np.median(known))


def _filtered(widths: np.ndarray) -> list[str]:
    """Where a Gaussian filter took the place of the network."""
    used = np.isfinite(widths)
    if not used.any():
        return []
    which = "of the image" if used.all() else f"of {used.sum()} of {used.size} images"
    return [
        f"In the place {which} that the network made is one that held-out data prefer: a Gaussian "
        f"filter of {widths[used].max():g} pixels, or the data themselves for 0."
    ]


def _replicas(strengths: np.ndarray) -> list[str]:
    """Weak copies of bands that were added to what the network found."""
    highest = float(np.nanmax(strengths, initial=0.0))
    if highest == 0:
        return []
    return [
        f"A copy of the bands at another place, of {highest:.2g} times their intensity, was too "
        f"weak for the network and has been added back from the data."
    ]


def _sentences(structure: float, power: float, bright: float) -> list[str]:
    said = []
    if structure > LEFT:
        said.append(
            f"Around {structure:.0%} of the pixels (of the worst image) it holds structure, or "
            f"noise that differs from place to place: compare with the data there."
        )
    if power > STRONG or power < WEAK:
        said.append(
            f"It is {power:.2g} times as strong as noise of this gain would be: the gain may be "
            f"wrong, or the detector's pixels differ in sensitivity."
        )
    if structure <= LEFT and bright < SATURATED:
        said.append(
            f"Where it is bright the variance is {bright:.2g} times what the dim parts predict, as "
            f"when the detector saturates: bright bands look flatter and sharper than they are."
        )
    if bright > BUNCHED:
        said.append(
            f"Where it is bright the variance is {bright:.2g} times what the dim parts predict, as "
            f"when the source fluctuates or pixels differ in sensitivity."
        )
    return said
