"""Whether a Dataset is what a picture needs."""

from __future__ import annotations

from typing import Any

from arpes_ml_plugins.errors import DataError

__all__ = ["check_result"]


def check_result(result: Any, needed: tuple[str, ...], source: str) -> None:
    """Refuse what is not the Dataset of ``source``, by the variables that it lacks."""
    missing = [name for name in needed if name not in getattr(result, "data_vars", {})]
    if missing:
        raise DataError(f"expected the Dataset of {source}; it lacks {', '.join(missing)}")
