"""The function by which algorithms say how far they are."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Report"]

Report = Callable[[int, "float | None"], None]
"""``report(steps, loss)``: further ``steps`` are done, with this loss, if there is any."""
