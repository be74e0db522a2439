"""Mixtures whose spectra are shifted, each component of each pixel by its own energy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from arpes_ml_plugins.separation.least_squares import least_squares, nonnegative_sources
from arpes_ml_plugins.separation.shift_scan import beyond, moved

__all__ = ["designs", "pieces", "refitted", "shifted_maps", "shifted_model"]

PIECE = 8_000  # pixels at a time
FINE = 16  # tabulated moves per channel


def pieces(number: int) -> Iterator[slice]:
    """Slices of all pixels: the designs of a few at a time fit into memory."""
    return (slice(start, start + PIECE) for start in range(0, number, PIECE))


def designs(spectra: torch.Tensor, channels: torch.Tensor) -> torch.Tensor:
    """Spectra ``(m, n)``, moved up by ``channels (n, t)``: one matrix per pixel, ``(t, m, n)``."""
    columns = [_copies(one, number) for one, number in zip(spectra.mT, channels, strict=True)]
    return torch.stack(columns, -1)


def _copies(spectrum: torch.Tensor, channels: torch.Tensor) -> torch.Tensor:
    """``(t, m)``: a spectrum ``(m,)``, moved up by ``channels (t,)``; between tabulated moves."""
    place = channels * FINE
    first = place.min().floor()
    size = int(place.max().floor() - first) + 2
    moves = (torch.arange(size, device="cpu").to(place) + first) / FINE
    table = moved(spectrum[:, None].expand(-1, size), moves).mT.contiguous()
    below = (place - first).floor()
    part = (place - first - below)[:, None]
    index = below.long()
    return table[index].lerp_(table[index + 1], part.expand(-1, len(spectrum)))


def shifted_maps(
    data: torch.Tensor,
    spectra: torch.Tensor,
    channels: torch.Tensor,
    noise: torch.Tensor,
    *,
    nonnegative: bool = True,
) -> torch.Tensor:
    """Maps ``(n, t)`` of data ``(m, t)`` by least squares with shifted spectra ``(m, n)``.

    ``noise`` ``(m,)``: infinite for channels that do not count.
    """
    scaled, scale = data / noise[:, None], noise[:, None]
    found = []
    for some in pieces(data.shape[1]):
        each, mixing = scaled[:, some].mT[..., None], designs(spectra, channels[:, some]) / scale
        solved = (
            nonnegative_sources(each, mixing) if nonnegative else least_squares(each, mixing)[0]
        )
        found.append(solved[..., 0].mT)
    return torch.cat(found, 1)


def shifted_model(
    spectra: torch.Tensor, maps: torch.Tensor, channels: torch.Tensor
) -> torch.Tensor:
    """Data ``(m, t)`` of maps ``(n, t)`` and spectra ``(m, n)`` moved up by ``channels (n, t)``."""
    total = maps.new_zeros(len(spectra), maps.shape[1])
    for one, weight, number in zip(spectra.mT, maps, channels, strict=True):
        total += _copies(one, number).mT * weight
    return total


def refitted(
    data: torch.Tensor,
    spectra: torch.Tensor,
    maps: torch.Tensor,
    channels: torch.Tensor,
    noise: torch.Tensor,
    spans: Sequence[torch.Tensor] | None = None,
) -> torch.Tensor:
    """Spectra ``(m, n)`` by least squares with these maps and shifts, each beside the others.

    Channels that shifts have moved beyond the axis count for the pixels that measured them.

    Parameters
    ----------
    spans
        Orthonormal directions ``(m, r)`` over the ``noise`` in which each spectrum may change; of
        one, that of the spectrum itself, it stays as it is. Default: any.
    """
    spectra, scale = spectra.clone(), noise[:, None]
    free = [j for j in range(len(maps)) if spans is None or spans[j].shape[1] > 1]
    known = {j: ~beyond(len(data), -channels[j]) for j in free}
    weight = {j: (known[j] * maps[j].square()).sum(1).clamp(min=1e-30) for j in free}
    rest = data - shifted_model(spectra, maps, channels)
    for j in free:
        back = moved(rest, -channels[j])
        change = ((known[j] * back * maps[j]).sum(1) / weight[j])[:, None] / scale
        change = (change if spans is None else spans[j] @ (spans[j].mT @ change)) * scale
        spectra[:, [j]] += change
        rest = rest - shifted_model(change, maps[[j]], channels[[j]])
    return spectra
