"""Counts of which a function was stored: logarithms, square roots, pictures with a gamma.

Such values are still discrete. The lowest of them belong to 0, 1, 2, ... electrons, and the ratio
of the first two steps gives the one parameter of each function that is tried. If all others then
belong to whole numbers as well, these are the counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch

from arpes_ml_plugins.denoising.interpolated import interpolated
from arpes_ml_plugins.denoising.poisson import poisson_chances

__all__ = ["FUNCTIONS", "Transform", "transform_of"]

FUNCTIONS = ("none", "power", "root", "logarithm", "asinh")
LIMITS = {"power": (0.02, 0.98), "root": (0.0, 1e3), "logarithm": (1e-6, 1e4), "asinh": (1e-4, 1e4)}
"""Of the parameter, with which the ratio of the steps grows."""
FEWEST_LEVELS, SHARE = 6, 0.1  # different values, and how many of them per pixel at most
COMMON = 5  # lowest values that none of between is missing
LINEAR = 0.97  # ratio of the first two steps
OFF = 0.03  # of a step: deviation of a value
MOST = 3000  # electrons
BISECTIONS = 60
POINTS = 512  # of a table


@dataclass(frozen=True)
class Transform:
    """``zero + scale * function(counts)``."""

    kind: int
    """Index into :data:`FUNCTIONS`."""
    parameter: float
    scale: float
    zero: float

    def of(self, counts: torch.Tensor) -> torch.Tensor:
        """The values of these counts."""
        function = _function(FUNCTIONS[self.kind], self.parameter)
        return self.zero + self.scale * function(counts.clamp(min=0))

    def counts(self, values: torch.Tensor) -> torch.Tensor:
        """The counts with these values."""
        table = self.of(torch.arange(MOST, dtype=torch.float64, device="cpu"))
        number = torch.arange(MOST, dtype=torch.float64, device="cpu")
        found = interpolated(values.cpu().double().contiguous(), table, number)
        return found.round().to(values)

    def means(self, expected: torch.Tensor) -> torch.Tensor:
        """Mean values of Poisson numbers of counts with these ``expected`` ones."""
        places, table = self._table
        return interpolated(expected.cpu().double(), places, table).to(expected)

    @cached_property
    def _table(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Expected counts, and mean values of them."""
        most = 1.2 * MOST
        number = torch.arange(int(1.1 * most), dtype=torch.float64, device="cpu")
        places = torch.linspace(0, most**0.5, POINTS, dtype=torch.float64, device="cpu").square()
        return places, poisson_chances(number, places) @ self.of(number)


def transform_of(images: torch.Tensor, valid: torch.Tensor) -> Transform | None:
    """The function of counts that the values of ``images (n, height, width)`` are, if they are any.

    Examples
    --------
    >>> counts = torch.poisson(torch.full((1, 64, 64), 3.0), torch.Generator().manual_seed(0))
    >>> found = transform_of((counts + 1).log(), counts >= 0)
    >>> FUNCTIONS[found.kind], bool((found.counts((counts + 1).log()) == counts).all())
    ('logarithm', True)
    >>> transform_of(2.5 * counts, counts >= 0)
    """
    values = images[valid].cpu().double()
    levels = values.unique()
    if not FEWEST_LEVELS <= len(levels) <= min(SHARE * len(values), MOST):
        return None
    first, second = levels[:3].diff()
    if not 0 < second < LINEAR * first:
        return None
    for kind, name in enumerate(FUNCTIONS[1:], 1):
        found = _fitted(kind, name, levels, float(second / first))
        if found is not None and _belongs(found, levels):
            return found
    return None


def _function(name: str, parameter: float) -> Callable[[torch.Tensor], torch.Tensor]:
    return {
        "power": lambda counts: counts**parameter,
        "root": lambda counts: (counts + parameter).sqrt(),
        "logarithm": lambda counts: (counts + parameter).log(),
        "asinh": lambda counts: (counts / parameter).asinh(),
    }[name]


def _fitted(kind: int, name: str, levels: torch.Tensor, ratio: float) -> Transform | None:
    """The function whose first two steps have this ratio; None if no parameter gives it."""
    number = torch.arange(3, dtype=torch.float64, device="cpu")
    low, high = LIMITS[name]
    for _ in range(BISECTIONS):
        middle = (low + high) / 2 if name == "power" else ((low + 1e-9) * high) ** 0.5
        first, second = _function(name, middle)(number).diff()
        low, high = (middle, high) if second / first < ratio else (low, middle)
    shape = _function(name, middle)(number)
    scale = float((levels[1] - levels[0]) / (shape[1] - shape[0]))
    return Transform(kind, middle, scale, float(levels[0]) - scale * float(shape[0]))


def _belongs(transform: Transform, levels: torch.Tensor) -> bool:
    """Whether all values belong to whole numbers, and the lowest to the first of them."""
    number = transform.counts(levels)
    if not torch.equal(number[:COMMON], torch.arange(COMMON).to(number)):
        return False
    step = transform.of(number + 1) - transform.of(number)
    return bool(((transform.of(number) - levels).abs() < OFF * step).all())
