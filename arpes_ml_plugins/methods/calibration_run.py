"""Report in words whether held-out data confirm the stated errors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import CountsWarning
from arpes_ml_plugins.frames import warn
from arpes_ml_plugins.labelled.outputs import Output, Scalar

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.denoising.counts_denoiser import CountsResult

__all__ = ["CALIBRATION", "calibration_numbers", "say_how_calibrated"]

CALIBRATION: dict[str, Output] = {
    name: Scalar() for name in ("error_ratio", "error_ratio_error", "stretched")
}
FAR = 1.5  # ratio of actual to stated errors above which the network's prior does not hold


def calibration_numbers(result: CountsResult) -> dict[str, torch.Tensor]:
    """The calibration of images that are denoised together, as numbers."""
    import torch

    found = result.calibration
    numbers = (math.nan,) * 3 if found is None else (found.ratio, found.error, found.stretch)
    return {
        name: torch.tensor([number], dtype=torch.float64, device="cpu")
        for name, number in zip(CALIBRATION, numbers, strict=True)
    }


def say_how_calibrated(numbers: Mapping[str, xr.DataArray]) -> dict[str, Any]:
    """Entries for the provenance; warn if errors had to be stretched by a large factor."""
    ratio, error, stretched = (numbers[name].values.ravel() for name in CALIBRATION)
    known = np.isfinite(ratio)
    if not known.any():
        return {}
    worst = int(np.nanargmax(stretched))
    factor = float(stretched[worst])
    root = float(np.sqrt(max(np.mean(ratio[known]), 0)))
    scatter = float(np.sqrt(np.mean(error[known] ** 2) / known.sum()) / (2 * max(root, 0.5)))
    words = (
        f"Held-out data: errors are {root:.2f} ± {scatter:.2f} times those stated (averaged over "
        f"the image); "
    )
    words += (
        f"the stated errors were stretched by at most {factor:.2f}."
        if factor > 1
        else "the stated errors were not changed."
    )
    if factor > FAR:
        warn(
            f"the clean image is further from held-out data than its error bars allow, so they "
            f"were stretched by {factor:.2g}. The data differ from those that the network was "
            f"trained on: compare the image with the data",
            CountsWarning,
        )
    return {"calibration": words, "stretched": factor}
