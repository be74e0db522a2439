"""Check that a Dataset has the variables that a figure needs."""

from __future__ import annotations

from typing import Any

from arpes_ml_plugins.errors import DataError

__all__ = ["check_result"]


def check_result(result: Any, needed: tuple[str, ...], source: str) -> None:
    """Refuse a Dataset that is not a result of ``source``, and name the missing variables."""
    missing = [name for name in needed if name not in getattr(result, "data_vars", {})]
    if missing:
        got = ", ".join(map(str, getattr(result, "data_vars", {}))) or type(result).__name__
        raise DataError(
            f"expected the Dataset of {source} with the variables {', '.join(needed)}; got {got}"
        )
