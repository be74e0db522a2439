"""Tell a detector that saturates by what is left where values are large.

If counts ``n`` are shown as ``n / (1 + n / K)``, about ``n**2 / K`` is missing. In part that looks
like other spectra, or like other maps: if a material is equally bright everywhere, as a whole. But
where brightness varies, the lines of bright pixels are flatter than those of dark ones, in all
components and at all energies by the same ``K``, and no spectra and maps explain that.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

__all__ = ["BentResponse", "bent_response"]

CERTAIN = 5.0  # standard errors
LEAST = 0.02  # of the largest value: what is missing there
PARTS = 3  # of the channels, which show it equally
FEWEST = 0.02  # of what all show: parts of the data that show less are not compared
ALIKE, MOST = 0.3, 2.0  # relative difference of parts; mean square of differences over errors
DARK = 1e-3  # of the largest noise


@dataclass(frozen=True)
class BentResponse:
    """Values are about ``n / (1 + n / largest)`` of intensities ``n``."""

    largest: float
    missing: float
    """Share of the largest intensity that is missing."""


def bent_response(
    residual: torch.Tensor, model: torch.Tensor, spectra: torch.Tensor, maps: torch.Tensor
) -> BentResponse | None:
    """None if ``residual`` and ``model (m, t)`` of ``spectra (m, n)`` and ``maps (n, t)`` agree
    with a response in proportion, or differ from it in other ways.
    """
    left, bend = _beyond_mixtures(residual, model, spectra, maps)
    products, squares = left * bend, bend.square()
    missing, error = _share(products, squares)
    highest = float(model.max())
    if not missing > CERTAIN * error or missing * highest < LEAST:
        return None
    seen = squares.sum(1).cumsum(0)
    part = (seen / seen[-1] * PARTS).long().clamp(max=PARTS - 1)
    strongest = maps.argmax(0)
    differences = []
    for channels in range(PARTS):
        for component in range(len(maps)):
            rows, columns = part == channels, strongest == component
            own = [x[rows][:, columns] for x in (products, squares)]
            if float(own[1].sum()) > FEWEST * float(squares.sum()):
                share, chance = _share(*own)
                differences.append((share - missing) ** 2 / (chance**2 + (ALIKE * missing) ** 2))
    if sum(differences) > MOST * len(differences):
        return None
    return BentResponse(1 / missing, missing * highest)


def _beyond_mixtures(
    residual: torch.Tensor, model: torch.Tensor, spectra: torch.Tensor, maps: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The residual and the squared model, both over their noise, without what small changes of
    spectra and maps explain.
    """
    rows = residual.square().mean(1, keepdim=True).sqrt()
    rows = 1 / rows.clamp(min=DARK * rows.max())
    columns = model.abs().mean(0).sqrt()
    columns = 1 / columns.clamp(min=DARK**0.5 * columns.max())
    basis = torch.linalg.qr(spectra * rows)[0]
    across = torch.linalg.qr((maps * columns).mT)[0]

    def beyond(values: torch.Tensor) -> torch.Tensor:
        values = values * rows * columns
        values = values - basis @ (basis.mT @ values)
        return values - (values @ across) @ across.mT

    return beyond(residual), beyond(model.square())


def _share(products: torch.Tensor, squares: torch.Tensor) -> tuple[float, float]:
    """What is missing per squared intensity, with its error, from the scatter of pixels."""
    pixels, total = products.sum(0), float(squares.sum()) or float("inf")
    return -float(pixels.sum()) / total, float(pixels.square().sum()) ** 0.5 / total
