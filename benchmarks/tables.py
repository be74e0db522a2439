"""Tables of measured numbers: printed, and kept where the documentation reads them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

__all__ = ["RESULTS", "read", "write"]

RESULTS = Path(__file__).parent.parent / "docs" / "measured"


def read(name: str) -> list[dict[str, Any]]:
    """Rows of a table as it is on file; none if it is not."""
    path = RESULTS / name
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write(name: str, rows: list[dict[str, object]]) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    rows = [{key: _short(value) for key, value in row.items()} for row in rows]
    names = list(dict.fromkeys(key for row in rows for key in row))
    with (RESULTS / name).open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=names)
        writer.writeheader()
        writer.writerows(rows)
    print(f"\n{name}", flush=True)
    for row in rows:
        print("  ", row, flush=True)


def _short(value: object) -> object:
    """Four digits: more would not be reproduced."""
    return f"{value:.4g}" if isinstance(value, float) else value
