"""Say which components of a blind separation the data leave open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arpes_ml_plugins.errors import DataError
from arpes_ml_plugins.labelled.border import Cube
from arpes_ml_plugins.methods.gaps_run import usable_pixels
from arpes_ml_plugins.methods.separation_input import Setup
from arpes_ml_plugins.methods.shift_run import spaced

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.separation.whiten import Whitened

__all__ = ["WIDE", "left_open"]

WIDE = 0.1  # of the largest value of a spectrum: what is wider is not determined
ENOUGH = 5_000  # pixels


def left_open(
    cube: Cube,
    data: Whitened,
    spectra: torch.Tensor,
    mixed: torch.Tensor,
    setup: Setup,
) -> str | None:
    """Status of ``mixed`` components ``(n,)`` that are not determined; None if all are.

    Those are not for which other spectra that are far from ``spectra (m, n)`` explain the data as
    well without being negative.
    """
    import torch

    from arpes_ml_plugins.separation.feasible import feasible

    if not bool(mixed.any()) or spectra.shape[1] < 2 or not data.nonnegative:
        return None
    some = spaced(cube, ENOUGH)
    try:
        bands = feasible(
            some.values,
            usable_pixels(some),
            some.valid,
            spectra.nan_to_num(),
            noise=None if setup.noise is None else torch.from_numpy(setup.noise).to(some.values),
            thorough=False,
        )
    except DataError:  # fewer components than asked for: that has a note of its own
        return None
    width = bands.width.tolist()
    names = [
        repr(str(name))
        for name, one, wide in zip(setup.components, mixed.tolist(), width, strict=True)
        if one and wide > WIDE
    ]
    if not names:
        return None
    verb = "is" if len(names) == 1 else "are"
    return (
        f"{', '.join(names)} {verb} not determined: too few pixels show the spectrum without the "
        f"others, and other spectra, different by {min(max(width), 1):.2g} of the largest value or "
        f"more, explain the data as well (see feasible_bands); give a library, or references"
    )
