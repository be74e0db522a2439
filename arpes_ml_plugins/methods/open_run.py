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
HIDDEN = "too few pixels show the spectrum without the others"
HOLDING = (
    "the spectrum holds the lines of another, which may be part of it or lie under it in every "
    "pixel"
)


def left_open(
    cube: Cube,
    data: Whitened,
    spectra: torch.Tensor,
    mixed: torch.Tensor,
    holding: torch.Tensor,
    setup: Setup,
) -> str | None:
    """Status of components that are not determined; None if all are.

    Those are not for which other spectra that are far from ``spectra (m, n)`` explain the data as
    well without being negative. Looked at are only components that are ``mixed`` in all pixels, and
    those ``holding`` the lines of another one, each ``(n,)`` bool.
    """
    import torch

    from arpes_ml_plugins.separation.feasible import feasible

    if not bool((mixed | holding).any()) or spectra.shape[1] < 2 or not data.nonnegative:
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
    wide = bands.width > WIDE
    reasons = {HIDDEN: wide & mixed, HOLDING: wide & holding & ~mixed}
    notes = [_note(bands.width, some, why, setup) for why, some in reasons.items() if some.any()]
    return "; ".join(notes) or None


def _note(width: torch.Tensor, some: torch.Tensor, reason: str, setup: Setup) -> str:
    """On components ``some (n,)`` with bands of this ``width (n,)``."""
    pairs = zip(setup.components, some.tolist(), strict=True)
    names = [repr(str(name)) for name, one in pairs if one]
    apart = min(float(width[some].max()), 1)
    verb = "is" if len(names) == 1 else "are"
    return (
        f"{', '.join(names)} {verb} not determined: {reason}, and other spectra, different by "
        f"{apart:.2g} of the largest value or more, explain the data as well (see feasible_bands); "
        f"give a library, or references"
    )
