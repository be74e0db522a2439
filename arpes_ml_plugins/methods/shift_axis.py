"""The energy axis and the noise of data that shifts are looked for in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arpes_ml_plugins.errors import AxisError
from arpes_ml_plugins.labelled.axes import numbers_along
from arpes_ml_plugins.labelled.border import Cube
from arpes_ml_plugins.labelled.spacing import even_step
from arpes_ml_plugins.methods.gaps_run import usable_pixels
from arpes_ml_plugins.methods.separation_input import Setup

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.separation.value_noise import ValueNoise

__all__ = ["LEAST_NOISE", "independent", "step_and_noise", "step_of"]

LEAST_NOISE = 0.05  # of the mean of all channels


def independent(cube: Cube, noise: torch.Tensor) -> int:
    """Smallest distance of channels whose noise, ``(m,)``, is independent."""
    from arpes_ml_plugins.separation.shared_noise import independent_every

    return independent_every(cube.values.flatten(1)[:, usable_pixels(cube).flatten()], noise)


def step_and_noise(
    cube: Cube, setup: Setup, by_value: ValueNoise | None = None
) -> tuple[float, torch.Tensor] | None:
    """Step of the energy axis and noise of the channels, of data that can have shifts."""
    from arpes_ml_plugins.separation.whiten import channel_noise

    step, usable = step_of(setup), usable_pixels(cube)
    empty = ~cube.valid.any(0)
    if step is None or not bool((usable | empty).all()) or int(usable.sum()) < 2:
        return None
    if by_value is not None:  # less disturbed by shifts and by few counts
        noise = by_value.variance(cube.values.flatten(1)[:, usable.flatten()].mean(1)).sqrt()
    else:
        noise = channel_noise(cube.values, usable, cube.valid)
    if not bool((noise > 0).any()):  # nothing changes from pixel to pixel
        return None
    return step, noise.clamp(min=LEAST_NOISE * float(noise.mean()))


def step_of(setup: Setup) -> float | None:
    """Step of the energy axis, if it is the only one and evenly spaced."""
    dim = setup.channels[0]
    if len(setup.channels) > 1 or dim not in setup.data.coords:
        return None
    if setup.data.sizes[dim] < 8:
        return None
    try:
        return even_step(numbers_along(setup.data[dim]))
    except AxisError:  # such an axis is as good as none
        return None
