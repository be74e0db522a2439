"""Noise of a labelled mixture."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from arpes_ml_plugins.labelled.border import Cube
from arpes_ml_plugins.methods.separation_input import Setup

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.separation.value_noise import Classes, ValueNoise

__all__ = [
    "ENOUGH",
    "bent",
    "deviations",
    "evened",
    "noise_and_levels",
    "noise_of_values",
    "saturated",
]


ENOUGH = 20_000  # pixels, which show what is left of all
STRONG = 2.0  # K over the largest value: with less, what is missing is no longer small


def noise_of_values(cube: Cube, setup: Setup) -> ValueNoise | None:
    """Noise in proportion to intensity, if the data have it and no other is given."""
    return noise_and_levels(cube, setup)[0]


def noise_and_levels(cube: Cube, setup: Setup) -> tuple[ValueNoise | None, Classes | None]:
    """The same, and how the variance depends on the intensity."""
    from arpes_ml_plugins.separation.value_noise import noise_and_classes

    if setup.noise is not None or setup.common_noise:
        return None, None
    return noise_and_classes(cube.values, cube.valid)


def saturated(cube: Cube, classes: Classes | None) -> str | None:
    """Status of data that were cut off at a largest value, and of counts whose noise shows that the
    detector saturates.
    """
    from arpes_ml_plugins.separation.clipping import clipped
    from arpes_ml_plugins.separation.raw_counts import units_per_count
    from arpes_ml_plugins.separation.saturation import NEAREST, saturation
    from arpes_ml_plugins.separation.whiten import strips

    if classes is None:
        return None
    number = clipped(cube.values, cube.valid, float(classes.variance.max()) ** 0.5)
    if number:
        return (
            f"values are cut off: {number} are equal to the largest one, "
            f"{float(cube.values[cube.valid].max()):.4g}, as if the detector or the file could "
            f"hold no more; spectra are too low and too flat there: measure with less intensity, "
            f"or leave out what is that bright (mask=, or a part of the energies)"
        )
    found = saturation(classes, units_per_count(*strips(cube.values, cube.valid)))
    if found is None:
        return None
    largest = max(found.largest, NEAREST * float(cube.values[cube.valid].max()))
    return (
        f"the noise grows less than the intensity (variance over intensity falls to "
        f"{found.fallen:.0%} at the brightest values), as if values were compressed by a detector "
        f"that saturates: spectra are distorted, most where they are high; for a response of "
        f"n / (1 + n / {largest:.3g}), use data / (1 - data / {largest:.3g})"
    )


def bent(result: dict[str, Any]) -> str | None:
    """Status of a result that leaves what a detector that saturates would."""
    from arpes_ml_plugins.separation.bent_response import bent_response

    spectra, maps = result["spectra"].mT, result["maps"].flatten(1)
    whole = result["residual"].flatten(1)
    rows = spectra.isfinite().all(1)
    columns = (whole[rows].isfinite() & maps.isfinite().all(0)).all(0)
    if int(columns.sum()) <= len(maps) or int(rows.sum()) <= len(maps):
        return None
    some = columns.nonzero()[:: max(1, int(columns.sum()) // ENOUGH), 0]
    residual, model = (
        result[name].flatten(1)[rows][:, some] for name in ("residual", "reconstruction")
    )
    found = bent_response(residual, model, spectra[rows], maps[:, some])
    if found is None:
        return None
    told = "bright pixels have flatter lines than dark ones, as if values were"
    if found.largest < STRONG * float((residual + model).max()):
        return (
            f"{told} strongly compressed by a detector that saturates: spectra and maps are much "
            f"too low where they are high; measure with less intensity"
        )
    return (
        f"{told} compressed by a detector that saturates (about {found.missing:.0%} at the "
        f"brightest values): spectra and maps are too low where they are high; for a response of "
        f"n / (1 + n / {found.largest:.3g}), use data / (1 - data / {found.largest:.3g})"
    )


def evened(cube: Cube, setup: Setup) -> tuple[Cube, Setup, torch.Tensor | None]:
    """Data whose noise is about the same in all pixels, if that of every value is given; the noise
    of their channels; and what pixels ``(*space)`` were divided by, None if by nothing.

    The spectra of a mixture stay the same, and its maps are divided alike.
    """
    from arpes_ml_plugins.separation.given_noise import noise_of_channels_and_pixels

    deviation = deviations(setup, cube.values)
    if deviation is None:
        return cube, setup, None
    channels, pixels = noise_of_channels_and_pixels(deviation, cube.valid)
    even = replace(cube, values=cube.values / pixels)
    return even, replace(setup, noise=channels.cpu().numpy()), pixels


def deviations(setup: Setup, like: torch.Tensor) -> torch.Tensor | None:
    """Noise of every value ``(m, *space)``, if it is given."""
    import torch

    return None if setup.each_noise is None else torch.from_numpy(setup.each_noise).to(like)
