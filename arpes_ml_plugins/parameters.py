"""Parameters that several methods share: checks, and blocks of their docstrings.

All checks run before any work starts. In the docstring of a function decorated with
:func:`documented`, a line ``{device}`` stands for the block of that name.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import (
    ConvergenceWarning,
    DataError,
    DataTypeError,
    ParameterError,
)
from arpes_ml_plugins.frames import warn

__all__ = [
    "check_choice",
    "check_count",
    "check_flag",
    "check_image",
    "check_number",
    "check_positive",
    "documented",
    "is_number",
    "shown",
    "warn_unconverged",
]

F = TypeVar("F", bound=Callable[..., Any])

BLOCKS = {
    "device": """
        device : str
            Device for the computation: ``"auto"`` (CUDA, then MPS, then the CPU) or the name of a
            torch device.""",
    "progress": """
        progress : {"auto"}, bool or callable
            Whether to show a progress bar, or a function that is called with
            :class:`~arpes_ml_plugins.Progress` objects. "auto" shows a bar in a terminal or a
            notebook if the call will take more than five seconds.""",
}
"""Blocks of docstrings that all families of methods share; families add their own."""


def documented(**blocks: str) -> Callable[[F], F]:
    """Decorator that replaces each line ``{name}`` of a docstring by the block of that name.

    Blocks are those given and :data:`BLOCKS`; an unknown name is an error when the module is
    imported. It must come before (below) anything that reads the docstring.

    Examples
    --------
    >>> @documented(size='''
    ...     size : int
    ...         In pixels.''')
    ... def method(size):
    ...     '''Do it.
    ...
    ...     {size}
    ...     '''
    >>> print(method.__doc__.strip())
    Do it.
    <BLANKLINE>
        size : int
            In pixels.
    """
    known = BLOCKS | blocks

    def fill(function: F) -> F:
        def block(found: re.Match[str]) -> str:
            return textwrap.indent(textwrap.dedent(known[found[2]]).strip("\n"), found[1])

        text = function.__doc__ or ""
        function.__doc__ = re.sub(r"^( *)\{(\w+)\}$", block, text, flags=re.MULTILINE)
        return function

    return fill


def check_image(
    data: xr.DataArray | xr.Dataset, dims: Any, smallest: int
) -> tuple[xr.DataArray, tuple[Hashable, Hashable]]:
    """Return the array and its image dimensions; refuse fewer than ``smallest`` pixels along one.

    The caller has resolved both: the spectrum of a Dataset, and one dimension per role.
    """
    if not isinstance(data, xr.DataArray) or not isinstance(dims, tuple):
        raise DataTypeError(
            "this is the inner function of a method; call arpes_ml_plugins.<name>(data) instead, "
            "which finds the spectrum and its axes"
        )
    sizes = [data.sizes[dim] for dim in dims]
    if min(sizes) < smallest:
        got = " x ".join(f"{dim}: {size}" for dim, size in zip(dims, sizes, strict=True))
        raise DataError(
            f"the image is too small: expected at least {smallest} x {smallest} pixels, got "
            f"{got}; select a larger region, or name other axes with dims="
        )
    return data, (dims[0], dims[1])


def shown(value: Any) -> str:
    """``value`` in a message: its repr, or the shape of an array, whose repr has several lines."""
    if isinstance(value, (np.ndarray, xr.DataArray, xr.Dataset)):
        shape = tuple(value.sizes.values()) if hasattr(value, "sizes") else value.shape
        return f"{type(value).__name__} of shape {shape}"
    return repr(value)


def is_number(value: Any) -> bool:
    """Whether a ``value`` is a finite real number, and not a bool."""
    number = isinstance(value, (int, float, np.integer, np.floating))
    if not number or isinstance(value, (bool, np.timedelta64)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an int that no float holds
        return False


def check_number(
    name: str, value: Any, *, least: float = -math.inf, optional: bool = False
) -> None:
    """Refuse a ``value`` that is not a finite number of at least ``least`` (or None, if
    ``optional``).
    """
    if value is None and optional:
        return
    if not is_number(value) or value < least:
        kind = "a finite real number" if least == -math.inf else f"a number of at least {least:g}"
        choice = " or None" if optional else ""
        raise ParameterError(f"{name} must be {kind}{choice}, got {shown(value)}")


def check_positive(name: str, value: Any, *, optional: bool = False) -> None:
    """Refuse a ``value`` that is not a finite number above zero (or None, if ``optional``)."""
    if value is None and optional:
        return
    if not is_number(value) or value <= 0:
        choice = " or None" if optional else ""
        raise ParameterError(f"{name} must be a positive number{choice}, got {shown(value)}")


def check_count(name: str, value: Any, *, optional: bool = False, least: int = 1) -> None:
    """Refuse a ``value`` that is not an int of at least ``least`` (or None, if ``optional``)."""
    if value is None and optional:
        return
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < least:
        choice = " or None" if optional else ""
        raise ParameterError(
            f"{name} must be a whole number of at least {least}{choice}, got {shown(value)}"
        )


def check_flag(name: str, value: Any, *, optional: bool = False) -> None:
    """Refuse a ``value`` that is not True or False (or None, if ``optional``)."""
    if value is None and optional:
        return
    if not isinstance(value, (bool, np.bool_)):
        choice = ", False or None" if optional else " or False"
        raise ParameterError(f"{name} must be True{choice}, got {shown(value)}")


def check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    """Refuse a ``value`` that is not one of ``choices``."""
    if not isinstance(value, Hashable) or value not in choices:
        raise ParameterError(
            f"unknown {name} {shown(value)}; expected one of {', '.join(map(repr, choices))}"
        )


def warn_unconverged(result: xr.Dataset, method: str, remedy: str) -> None:
    """Warn if ``result.converged`` is False; lazy results are not checked."""
    if result["converged"].chunks is not None:
        return
    failed = int((~result["converged"] & result["residual"].notnull()).sum())
    if failed:
        warn(
            f"{method}: {failed} of {result['converged'].size} images did not converge (largest "
            f"residual {float(result['residual'].max()):.2g}); {remedy}",
            ConvergenceWarning,
        )
