"""Lines of pixels that repeat the one before, as after interpolation to the nearest neighbour.

Such an image holds fewer lines than it has, and no noise of its own in the others. Its distinct
lines are denoised, and repeated again.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

__all__ = ["Distinct", "distinct_lines"]

SHARE = 0.25  # of the lines that are not of one value
FEWEST_REPEATED = 6
FEWEST_DISTINCT = 16


@dataclass(frozen=True)
class Distinct:
    """The place of each row and column among the distinct ones."""

    rows: torch.Tensor
    columns: torch.Tensor

    @property
    def repeats(self) -> tuple[float, float]:
        """Rows and columns over the number of distinct ones."""
        rows, columns = (len(of) / (int(of[-1]) + 1) for of in (self.rows, self.columns))
        return rows, columns

    def chosen(self, images: torch.Tensor) -> torch.Tensor:
        """The distinct rows and columns of ``images``, ``(..., height, width)``."""
        rows, columns = (_first(of) for of in (self.rows, self.columns))
        return images[..., rows, :][..., columns]

    def repeated(self, images: torch.Tensor) -> torch.Tensor:
        """The inverse of :meth:`chosen`."""
        return images[..., self.rows, :][..., self.columns]


def distinct_lines(images: torch.Tensor, valid: torch.Tensor) -> Distinct | None:
    """Find lines that repeat the one before in all images; None if they are not many.

    Parameters
    ----------
    images, valid
        Shape ``(n, height, width)``.

    Examples
    --------
    >>> values = torch.rand(1, 20, 30, generator=torch.Generator().manual_seed(0))
    >>> twice = values.repeat_interleave(2, 1)
    >>> distinct_lines(twice, twice >= 0).repeats
    (2.0, 1.0)
    """
    values = torch.where(valid, images, -torch.inf)
    rows, columns = _places(values), _places(values.mT)
    if int(rows[-1]) == len(rows) - 1 and int(columns[-1]) == len(columns) - 1:
        return None
    return Distinct(rows, columns)


def _places(values: torch.Tensor) -> torch.Tensor:
    """Place of each row among the distinct ones; all are distinct if few repeat the one before.

    No row is repeated more often than those that are not of one value: dark ones are all alike.
    """
    number = values.shape[1]
    every = torch.arange(number, device=values.device)
    varied = (values != values[..., :1]).any(-1).any(0)
    alike = torch.cat([varied.new_zeros(1), (values[:, 1:] == values[:, :-1]).all(-1).all(0)])
    repeated = alike & varied
    if repeated.sum() < max(FEWEST_REPEATED, SHARE * float(varied.sum())):
        return every
    since = every - torch.where(alike, -1, every).cummax(0).values  # the first row of a run
    new = since % (int(since[varied].max()) + 1) == 0
    places = new.long().cumsum(0) - 1
    return places if int(places[-1]) + 1 >= FEWEST_DISTINCT else every


def _first(places: torch.Tensor) -> torch.Tensor:
    """Index of the first line at each place."""
    return torch.searchsorted(places, torch.arange(int(places[-1]) + 1, device=places.device))
