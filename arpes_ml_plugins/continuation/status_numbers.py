"""Numbers beside the bits of a status, which its words report.

A status is one integer per data set. Its low bits say what is unusual; the fields above hold sizes:
a part of the spectrum in per cent, or a factor that is rounded up to one of ``FACTORS``.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["FACTORS", "FIELDS", "joined", "numbers_of", "with_factor", "with_part"]

FACTORS = (1.5, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 30, 40, 60, 80, 100, 200, 400, 1000)
PARTS = ("beyond", "unresolved", "narrow")
"""Fields that hold parts of the spectrum; the others hold factors."""
FIRST = 32  # the bits below say what is unusual
FIELDS = {"beyond": 32, "unresolved": 39, "narrow": 46, "wider": 53, "closer": 58}
"""First bit of each field, of which parts have seven and factors five."""
MASKS = {name: (1 << (7 if name in PARTS else 5)) - 1 for name in FIELDS}

Code = TypeVar("Code", torch.Tensor, NDArray[np.integer])


def with_part(status: torch.Tensor, name: str, part: torch.Tensor) -> torch.Tensor:
    """Codes ``(b,)`` that hold a part of the spectrum, between 0 and 1; the larger one stays."""
    percent = (100 * part).round().clamp(1, 100).to(torch.int64)
    return joined(status, percent << FIELDS[name])


def with_factor(status: torch.Tensor, name: str, factor: torch.Tensor) -> torch.Tensor:
    """Codes ``(b,)`` that hold a factor, rounded up; the larger one stays."""
    known = torch.tensor(FACTORS, dtype=factor.dtype, device="cpu").to(factor)
    index = torch.searchsorted(known, factor.contiguous()).clamp(max=len(FACTORS) - 1)
    return joined(status, (index + 1) << FIELDS[name])


def joined(one: Code, other: Code) -> Code:
    """All bits of both, and the larger number of each field."""
    below = (1 << FIRST) - 1
    found = (one | other) & below
    for name, shift in FIELDS.items():
        first, second = (one >> shift) & MASKS[name], (other >> shift) & MASKS[name]
        larger = first > second
        found = found | ((first * larger + second * ~larger) << shift)
    return found


def numbers_of(status: int) -> dict[str, str]:
    """The number in each field as text.

    Examples
    --------
    >>> code = with_part(torch.tensor([0]), "beyond", torch.tensor([0.034]))
    >>> code = with_factor(code, "wider", torch.tensor([1.7]))
    >>> found = numbers_of(int(code))
    >>> found["beyond"], found["wider"]
    ('3', '2')
    """
    values = {name: (status >> shift) & MASKS[name] for name, shift in FIELDS.items()}
    return {
        name: str(value) if name in PARTS else f"{FACTORS[max(value, 1) - 1]:g}"
        for name, value in values.items()
    }
