"""Noise of a labelled mixture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arpes_ml_plugins.labelled.border import Cube
from arpes_ml_plugins.methods.separation_input import Setup

if TYPE_CHECKING:
    from arpes_ml_plugins.separation.value_noise import ValueNoise

__all__ = ["noise_of_values"]


def noise_of_values(cube: Cube, setup: Setup) -> ValueNoise | None:
    """Noise in proportion to intensity, if the data have it and no other is given."""
    from arpes_ml_plugins.separation.value_noise import value_noise

    if setup.noise is not None or setup.common_noise:
        return None
    return value_noise(cube.values, cube.valid)
