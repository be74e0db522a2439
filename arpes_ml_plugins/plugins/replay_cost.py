"""Estimate the time and the memory that a recorded step takes, before it is run."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import xarray as xr

from arpes_ml_plugins.labelled.spectrum import select_spectrum
from arpes_ml_plugins.plugins.record_check import Step, kind_of_work, refuse_work

__all__ = ["check_cost"]

REPEATED = ("iterations", "steps", "networks", "layers")
"""Last words of the names of parameters that say how often the work is repeated."""
COPIED = ("draws", "components")
"""The same of those that say how many results as large as the data there are."""
SECONDS = 1e-6
"""Per value and repetition on one core: two-stage fits take 0.6e-6, all else less."""
LONGEST = 6 * 3600.0
BYTES = 16.0  # per value and copy: double precision, and room to work
SHARE = 0.5  # of the memory of this machine


def check_cost(step: Step, parent: xr.DataArray | xr.Dataset) -> None:
    """Refuse a step that would take hours, or more memory than there is.

    Raises
    ------
    ParameterError
        The estimate exceeds six hours on one core or half of the memory.
    """
    values = float(select_spectrum(parent)[0].size)
    seconds = SECONDS * values * _product(step.parameters, REPEATED)
    if seconds > LONGEST:
        refuse_work(f"about {seconds / 3600:.3g} h on one core, more than {LONGEST / 3600:g} h")
    needed = BYTES * values * _product(step.parameters, COPIED)
    available = SHARE * _memory()
    if needed > available:
        asked, limit = (f"{size / 2**30:.3g} GiB" for size in (needed, available))
        refuse_work(f"about {asked} of memory, more than {limit}")


def _product(parameters: Mapping[str, Any], words: tuple[str, ...]) -> float:
    return math.prod(_numbers(parameters, words))


def _numbers(parameters: Mapping[str, Any], words: tuple[str, ...]) -> Iterator[float]:
    for name, value in parameters.items():
        counted = isinstance(value, (int, float)) and not isinstance(value, bool)
        if counted and kind_of_work(name) in words and value > 1:
            yield float(value)


def _memory() -> float:
    """The memory of this machine in bytes; unlimited where the system does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return math.inf
