"""Energies that shift from pixel to pixel, found and undone before a separation with a library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from arpes_ml_plugins.errors import AxisError, ParameterError
from arpes_ml_plugins.labelled.axes import numbers_along
from arpes_ml_plugins.labelled.border import Cube
from arpes_ml_plugins.methods.gaps_run import usable_pixels
from arpes_ml_plugins.methods.separation_input import Setup
from arpes_ml_plugins.networks.families import rows_of

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.separation.energy_shift import Shifts

__all__ = ["SHIFT", "aligned", "check_shift", "fewer", "hint", "undone_note"]

EVEN = 1e-3  # relative deviation of an evenly spaced axis
ENOUGH = 10_000  # pixels that tell whether there are shifts
LEAST_NOISE = 0.05  # of the mean of all channels

SHIFT = """
        shift : {"auto"}, bool or float
            Whether the energies of a pixel may be shifted, all of its components alike, as by
            charging, band bending or strain. ``"auto"``: shifts are looked for if all components
            are in the library and the pixels are complete, and undone if the data have any; True or
            a number, the largest shift in the unit of the axis: undone in any case. Shifts are
            relative to their median; components that shift against each other need families that
            do (``SpectrumLibrary.from_spectra(..., shift=)``)."""
"""Block of docstrings."""


def check_shift(shift: Any, setup: Setup) -> None:
    """Refuse what cannot be asked for."""
    number = isinstance(shift, (int, float)) and not isinstance(shift, bool)
    if not (shift == "auto" or isinstance(shift, bool) or (number and shift > 0)):
        raise ParameterError(
            f"shift must be 'auto', True, False or a positive number, got {shift!r}"
        )
    if shift == "auto" or shift is False:
        return
    if setup.library is None or setup.known < len(setup.components):
        raise ParameterError(
            "shifts are found by a library of all components; give one, or pass shift=False"
        )
    if _step(setup) is None:
        raise AxisError(
            f"shifts need an evenly spaced axis {setup.channels[0]!r} without other channels; "
            f"interpolate the data, or pass shift=False"
        )


def aligned(cube: Cube, setup: Setup) -> tuple[Cube, Shifts | None]:
    """The data with their shifts undone, if there are any."""
    import torch

    if setup.shift is False or setup.library is None or setup.known < len(setup.components):
        return cube, None
    centres = np.stack([rows_of(family).mean(0) for family in setup.library.values()])
    largest = float(setup.shift) if type(setup.shift) in (int, float) else None
    found = _found(cube, torch.from_numpy(centres), setup, largest, certain=setup.shift != "auto")
    if found is None or not found.found:
        return cube, found
    flat = found.undone(cube.values.flatten(1))
    # The gaps were filled, and now have moved.
    whole = usable_pixels(cube).expand_as(cube.valid)
    return replace(cube, values=flat.reshape(cube.values.shape), valid=whole), found


def undone_note(shifts: Shifts) -> str:
    """What to say of data whose shifts were undone."""
    spread = float(shifts.shift.std())
    return f"energies shift from pixel to pixel, by {spread:.2g} (standard deviation): undone"


def hint(cube: Cube, spectra: torch.Tensor, setup: Setup) -> str | None:
    """What to say of a blind result whose spectra ``(n, m)`` explain more when they may move."""
    some = _spaced(cube)
    found = _found(some, spectra, setup) if bool(spectra.isfinite().all()) else None
    if found is None or not found.found:
        return None
    spread = float(found.shift.std())
    return (
        f"the spectra explain more if they shift from pixel to pixel, by {spread:.2g} (standard "
        f"deviation): components may be missing, or what looks like chemistry is charging, which a "
        f"library of the components undoes: separate_sgmca(library=library)"
    )


def _spaced(cube: Cube) -> Cube:
    """Evenly spaced pixels of a large image: whether there are shifts needs no more."""
    axes = cube.values.ndim - 1
    every = max(1, round((cube.values[0].numel() / ENOUGH) ** (1 / max(axes, 1))))
    some = (slice(None), *[slice(None, None, every)] * axes)
    return replace(cube, values=cube.values[some], valid=cube.valid[some])


def fewer(
    cube: Cube, setup: Setup, most: int, spectra: Sequence[torch.Tensor]
) -> tuple[int, float] | None:
    """Fewer components than ``most``, and the spread of their shifts, if these explain more.

    ``spectra`` are those of a separation into 1, 2, ... components, ``(m, n)``.
    """
    from arpes_ml_plugins.separation.shifted_count import fewer_with_shifts

    cube = _spaced(cube)
    known = _step_and_noise(cube, setup)
    if known is None or most < 2:
        return None
    step, noise = known
    usable = usable_pixels(cube).flatten()
    return fewer_with_shifts(cube.values, noise, step, spectra[: most + 1], usable)


def _found(
    cube: Cube,
    centres: torch.Tensor,
    setup: Setup,
    largest: float | None = None,
    *,
    certain: bool = False,
) -> Shifts | None:
    """Shifts of data that can have them: on an evenly spaced axis."""
    from arpes_ml_plugins.separation.energy_shift import find_shifts

    known, values = _step_and_noise(cube, setup), cube.values
    if known is None:
        return None
    step, noise = known
    shape = tuple(values.shape[1:]) or (1,)
    usable = usable_pixels(cube).flatten()
    return find_shifts(
        values.flatten(1), noise, centres.to(values), step, shape, largest, usable, certain=certain
    )


def _step_and_noise(cube: Cube, setup: Setup) -> tuple[float, torch.Tensor] | None:
    """Step of the energy axis and noise of the channels, of data that can have shifts."""
    from arpes_ml_plugins.separation.whiten import channel_noise

    step, usable = _step(setup), usable_pixels(cube)
    empty = ~cube.valid.any(0)
    if step is None or not bool((usable | empty).all()) or int(usable.sum()) < 2:
        return None
    noise = channel_noise(cube.values, usable)
    return step, noise.clamp(min=LEAST_NOISE * float(noise.mean()) or 1.0)


def _step(setup: Setup) -> float | None:
    """Step of the energy axis, if it is the only one and evenly spaced."""
    dim = setup.channels[0]
    if len(setup.channels) > 1 or dim not in setup.data.coords:
        return None
    if setup.data.sizes[dim] < 8:
        return None
    try:
        energy = numbers_along(setup.data[dim])
    except AxisError:  # such an axis is as good as none
        return None
    steps = np.diff(energy)
    even = np.abs(steps - steps.mean()).max() <= EVEN * abs(steps.mean())
    return float(steps.mean()) if even and steps.mean() != 0 else None
