"""Find the user's frames on the stack: warnings point at them, tracebacks show them."""

from __future__ import annotations

import sys
import threading
import warnings
from types import FrameType, TracebackType

__all__ = ["users_traceback", "warn"]

PACKAGE = __name__.partition(".")[0]
BETWEEN = frozenset(
    {PACKAGE, "pluggy", "wrapt", "xarray", "dask", "distributed", "torch", "numpy"}
    | {"concurrent", "contextlib", "functools", "importlib", "queue", "threading"}
)
"""Packages whose frames lie between those of the user and those of this package."""


def warn(message: str, category: type[Warning]) -> None:
    """Issue a warning at the user's line, however many frames lie between.

    Parameters
    ----------
    message
        Text that says what is wrong and what to do.
    category
        Class of the warning, from :mod:`arpes_ml_plugins.errors`.
    """
    ours = sys._getframe(1)
    frame = _users_frame(ours) or _frame_that_waits() or ours
    space = frame.f_globals
    warnings.warn_explicit(
        message,
        category,
        frame.f_code.co_filename,
        frame.f_lineno,
        module=space.get("__name__") or "<unknown>",
        registry=space.setdefault("__warningregistry__", {}),
    )


def users_traceback(traceback: TracebackType | None) -> TracebackType | None:
    """``traceback`` without the frames of this package and of those between it and the user's."""
    if traceback is None:
        return None
    rest = users_traceback(traceback.tb_next)
    if _is_between(traceback.tb_frame):
        return rest
    return TracebackType(rest, traceback.tb_frame, traceback.tb_lasti, traceback.tb_lineno)


def _is_between(frame: FrameType) -> bool:
    # A doctest runs under the name of the module that it explains, and is the user's all the same.
    if frame.f_code.co_filename.startswith("<doctest"):
        return False
    return str(frame.f_globals.get("__name__")).partition(".")[0] in BETWEEN


def _users_frame(frame: FrameType | None) -> FrameType | None:
    """The innermost frame of the user; None in a thread that the user did not start."""
    while frame is not None and _is_between(frame):
        frame = frame.f_back
    return frame


def _frame_that_waits() -> FrameType | None:
    """The user's line in the main thread, which waits for the result of a dask thread."""
    main = threading.main_thread()
    if threading.current_thread() is main or main.ident is None:
        return None
    return _users_frame(sys._current_frames().get(main.ident))
