"""Tell of energies that shift along an axis on which shifts are not looked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from arpes_ml_plugins.errors import AxisError
from arpes_ml_plugins.labelled.axes import numbers_along
from arpes_ml_plugins.labelled.border import Cube
from arpes_ml_plugins.methods.gaps_run import usable_pixels
from arpes_ml_plugins.methods.separation_input import Setup
from arpes_ml_plugins.methods.shift_axis import LEAST_NOISE, step_of

if TYPE_CHECKING:
    import torch

__all__ = ["left_alone"]

FEWEST = 8  # energies, whose residual shows shifts
MODEL = "residual", "reconstruction"


def left_alone(cube: Cube, setup: Setup, result: dict[str, Any]) -> str | None:
    """Status of data that seem to shift, but along an axis on which shifts are not looked for."""
    energies = None if step_of(setup) is not None else _energies_in_order(setup)
    spread = None if energies is None else _spread_left(cube, energies, result)
    if spread is None:
        return None
    remedy = (
        "shifts are not looked for in images of several channels: align the data beforehand"
        if len(setup.channels) > 1
        else f"shifts are not looked for on an uneven axis: interpolate {str(setup.channels[0])!r} "
        f"to even steps"
    )
    return (
        f"the residual looks as if energies shifted from pixel to pixel, by {spread:.2g} (standard "
        f"deviation) more than the spectra contain: they do, or components are missing; {remedy}"
    )


def _spread_left(cube: Cube, energies: np.ndarray, result: dict[str, Any]) -> float | None:
    """Standard deviation of shifts that the residual shows, at energies that were measured."""
    import torch

    from arpes_ml_plugins.separation.left_shifts import left_shifts
    from arpes_ml_plugins.separation.whiten import channel_noise

    usable = usable_pixels(cube)
    measured = result["spectra"].isfinite().all(0).unflatten(0, (len(energies), -1)).any(1)
    if int(measured.sum()) < FEWEST:
        return None

    def there(values: torch.Tensor) -> torch.Tensor:
        of_energies = values.to(cube.values).unflatten(0, (len(energies), -1))
        return of_energies[measured].flatten(0, 1).nan_to_num()

    noise = channel_noise(cube.values, usable, cube.valid)
    noise = there(noise.clamp(min=1e-9 + LEAST_NOISE * float(noise.nanmean())))
    residual, model = (there(result[name].flatten(1)[:, usable.flatten()]) for name in MODEL)
    axis = torch.from_numpy(energies).to(cube.values)[measured]
    return left_shifts(residual, model, there(result["spectra"].mT), noise, axis)


def _energies_in_order(setup: Setup) -> np.ndarray | None:
    """Numbers along the first axis of the channels, if they rise or fall, and suffice."""
    dim = setup.channels[0]
    if dim not in setup.data.coords:
        return None
    try:
        energies = numbers_along(setup.data[dim])
    except AxisError:  # such an axis is as good as none
        return None
    step = np.diff(energies)
    return energies if len(step) >= FEWEST - 1 and ((step > 0).all() or (step < 0).all()) else None
