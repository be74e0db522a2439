"""The smooth spectrum of correlated noise: its gain, and how it falls along both axes.

The logarithm of the power is a constant and a polynomial of the squared frequency along each axis:
behind Gaussian clouds it is linear, of any width, and the square serves narrow filters and
interpolation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from arpes_ml_plugins.constants import MAD_TO_SIGMA

__all__ = ["Fit", "fitted", "frequencies", "trusted"]

WEAKEST = 3e-3  # of the largest power: weaker ones are rounding and leakage
LOWEST = 1  # groups of modes along either axis that structure spoils
FIT_ROUNDS = 20
LEAST_SPREAD = 0.05  # of the logarithm of the power
GRID = 200  # frequencies of the correlation's integral
EACH = 3  # powers for each term of the fit
GAUSSIAN = 1, 1, 0, 1, 0  # mask of its terms
STEEPEST = 1.0  # logarithm of a power above that at frequency zero: nothing that blurs has more


@dataclass(frozen=True)
class Fit:
    """Power of the noise against frequency, over the mean intensity."""

    terms: torch.Tensor  # logarithm at frequency zero, two terms along rows, two along columns
    model: torch.Tensor  # power of groups of modes
    spread: torch.Tensor
    """Standard deviation of the logarithm of the power at frequency zero."""

    @property
    def gain(self) -> torch.Tensor:
        """Power at frequency zero."""
        return self.terms[0].exp()

    @property
    def correlation(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Correlation of neighbours along rows and columns."""
        rows, columns = (_shape(part, _grid(part)) for part in self.terms[1:].split(2))
        cosine = torch.cos(math.pi * _grid(rows))
        return (rows * cosine).mean() / rows.mean(), (columns * cosine).mean() / columns.mean()

    @property
    def pixel_share(self) -> torch.Tensor:
        """Variance of a pixel over that at long wavelengths."""
        rows, columns = (_shape(part, _grid(part)).mean() for part in self.terms[1:].split(2))
        return rows * columns

    @property
    def area(self) -> float:
        """Pixels over which squares of noise are the same, in effect: a sum of correlations."""
        rows, columns = (_shape(part, _grid(part)) for part in self.terms[1:].split(2))
        return float(
            (rows.square().mean() * columns.square().mean())
            / (rows.mean() * columns.mean()).square()
        )

    def transfer(self, shape: torch.Size) -> torch.Tensor:
        """Power over that at frequency zero, for ``rfft2`` of images of this ``shape``."""
        height, width = shape[-2:]
        rows = 2 * torch.fft.fftfreq(height, dtype=torch.float64, device="cpu").abs()
        columns = 2 * torch.fft.rfftfreq(width, dtype=torch.float64, device="cpu")
        along = (
            _shape(part, f.to(self.terms))
            for part, f in zip(self.terms[1:].split(2), (rows, columns), strict=True)
        )
        return torch.outer(*along)


def _grid(like: torch.Tensor) -> torch.Tensor:
    return torch.linspace(0, 1, GRID, dtype=like.dtype, device=like.device)


def _shape(terms: torch.Tensor, f: torch.Tensor) -> torch.Tensor:
    """Power along one axis, over that at frequency zero."""
    logs = sum(term * part for term, part in zip(terms, _parts(f), strict=True))
    return logs.clamp(max=STEEPEST).exp()


def frequencies(groups: int) -> torch.Tensor:
    """Frequencies of groups of two modes, in units of the Nyquist frequency."""
    modes = 2 * torch.arange(groups, dtype=torch.float64, device="cpu") + 0.5
    return modes / (2 * groups)


def _parts(f: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return f.square(), f.square().square()


def _design(groups: int) -> torch.Tensor:
    """Terms of the logarithm of the power, ``(groups, groups, terms)``."""
    f = frequencies(groups)
    rows, columns = torch.meshgrid(f, f, indexing="ij")
    return torch.stack([torch.ones_like(rows), *_parts(rows), *_parts(columns)], -1)


def fitted(power: torch.Tensor, *, zeros: bool = False) -> Fit:
    """Give no weight to what stands out (structure at low frequencies, the lattice of a mesh).

    If ``zeros`` stand for powers that are not known, a Gaussian is fitted to few others.
    """
    design = _design(len(power)).to(power)
    usable = trusted(power)
    if int(usable.sum()) < EACH * design.shape[-1]:
        if zeros and bool((power > 0).any()):
            design = design * design.new_tensor(GAUSSIAN)
            usable = usable if int(usable.sum()) >= EACH * sum(GAUSSIAN) else power > 0
        else:
            usable = torch.ones_like(usable)
    logs = power.clamp(min=torch.finfo(power.dtype).tiny).log()
    flat, weight = design.flatten(0, 1), usable.to(power)
    for _ in range(FIT_ROUNDS):
        weighted = flat * weight.flatten()[:, None]
        inverse = torch.linalg.pinv(weighted.mT @ flat)
        terms = inverse @ weighted.mT @ logs.flatten()
        off = logs - design @ terms
        spread = (MAD_TO_SIGMA * off[usable].abs().median()).clamp(min=LEAST_SPREAD)
        weight = usable / (1 + (off / (2 * spread)).square())
    return Fit(terms, (design @ terms).exp(), spread * inverse[0, 0].sqrt())


def trusted(power: torch.Tensor) -> torch.Tensor:
    """Mask of the frequencies that neither structure nor rounding dominates."""
    trusted = power > WEAKEST * power.max()
    trusted[: LOWEST + 1, : LOWEST + 1] = False
    return trusted
