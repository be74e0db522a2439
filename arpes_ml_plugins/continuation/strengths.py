"""Rules that choose the strength of the entropy from solutions along a path of strengths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch

__all__ = ["RULES"]


class Path(Protocol):
    """Solutions along falling strengths, ``(k, b)`` each."""

    @property
    def alphas(self) -> torch.Tensor: ...

    @property
    def chi2(self) -> torch.Tensor: ...

    @property
    def evidence(self) -> torch.Tensor: ...

    @property
    def rest(self) -> torch.Tensor: ...

    @property
    def freedom(self) -> torch.Tensor:
        """Number of components that the data determine at the weakest of them, ``(b,)``."""
        ...


LEAST_FALL = 4.0
"""chi^2 at the start of the path over that at its end, below which it has no kink: data that hold
next to nothing, such as those of an off-diagonal element that is zero, would be fitted closely."""
MOST_REST = 50.0
"""Largest part of chi^2 that is the same for all spectra. It shows the size of the noise. All of it
grows with the number of data, whatever they hold: the fall of ``log chi^2`` would end earlier, and
thousands of times would give a smoother spectrum than a hundred that are as many times as good."""
KINK_OFFSET = 2.5
"""Distance of the kink from the middle of the fall of chi^2, in units of its width."""


def _most_probable(path: Path, count: torch.Tensor) -> torch.Tensor:
    return _peak(path.alphas.log(), path.evidence).exp()


def _as_much_misfit_as_data(path: Path, count: torch.Tensor) -> torch.Tensor:
    return _crossing(path.alphas.log(), path.chi2, count).exp()


def _end_of_the_fall(path: Path, count: torch.Tensor) -> torch.Tensor:
    logs = path.alphas.log()
    chi2 = path.chi2 - (path.rest - MOST_REST).clamp(min=0)
    kink = _kink(logs, chi2.clamp(min=1e-12).log())
    # Where the fall is not of the usual form it may end too early. On average chi^2 of the truth
    # is as far above the least as the number of components that were fitted, and further where
    # errors are understated. That does not grow with the number of data: a bound per datum leaves
    # structure out that 40 of them demand.
    excess = path.freedom * (path.chi2[-1] / count).clamp(min=1)
    found = torch.minimum(kink, _crossing(logs, path.chi2, path.chi2[-1] + excess)).exp()
    return torch.where(chi2[0] < LEAST_FALL * chi2[-1], _most_probable(path, count), found)


RULES: dict[str, Callable[[Path, torch.Tensor], torch.Tensor]] = {
    "chi2kink": _end_of_the_fall,
    "classic": _most_probable,
    "bryan": _most_probable,
    "historic": _as_much_misfit_as_data,
}
"""Rules that choose the strength, from a path and numbers of data; ``"bryan"`` then averages."""


def _peak(logs: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Where values ``(k, b)`` are largest, by a parabola through three points."""
    index = values.argmax(0).clamp(1, len(logs) - 2)
    left, middle, right = (values.gather(0, (index + o)[None])[0] for o in (-1, 0, 1))
    bend = left - 2 * middle + right
    shift = torch.where(bend < 0, (left - right) / (2 * bend.clamp(max=-1e-30)), 0).clamp(-1, 1)
    return logs.gather(0, index[None])[0] + shift * (logs[1] - logs[0])


def _crossing(logs: torch.Tensor, chi2: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Where chi^2, which falls along the path, reaches ``target``; the end where it never does."""
    index = (chi2 > target).sum(0).clamp(1, len(logs) - 1)
    before, after = chi2.gather(0, index[None] - 1)[0], chi2.gather(0, index[None])[0]
    share = ((before - target) / (before - after).clamp(min=1e-30)).clamp(0, 1)
    start = logs.gather(0, index[None] - 1)[0]
    return start + share * (logs[1] - logs[0])


def _kink(logs: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """The kink below the fall of ``log chi^2``, from the best logistic curve through it.

    ``values = p + q / (1 + exp((k - c) / w))`` along the number ``k`` of the strength: for each
    ``c`` and ``w`` on a grid ``p`` and ``q`` are linear; the kink is ``KINK_OFFSET`` widths past
    ``c``.
    """
    count = len(logs)
    number = torch.arange(count, device="cpu").to(logs)
    fine = torch.linspace(0, count - 1, 4 * count, dtype=logs.dtype, device=logs.device)
    widths = torch.logspace(-0.85, 0.85, 18, dtype=logs.dtype, device=logs.device)
    curves = torch.sigmoid((fine[:, None] - number[:, None, None]) / widths).flatten(1)  # (k, cw)
    curves = curves - curves.mean(0)
    curves = curves / curves.norm(dim=0).clamp(min=1e-12)
    best = (curves.mT @ (values - values.mean(0))).argmax(0)  # largest correlation
    centre, width = fine[best // len(widths)], widths[best % len(widths)]
    at = (centre + KINK_OFFSET * width).clamp(0, count - 1)
    return logs[0] + at * (logs[1] - logs[0])
