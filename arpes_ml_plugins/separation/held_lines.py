"""Tell that a spectrum found holds the lines of another one found.

What lies under everything, as a substrate or a strong component does, is in every pixel, so that
no pixel shows the others alone. A separation then finds mixtures, pixels show these as purely as
they would show true spectra, and no value of a map or a spectrum is negative. But a mixture has the
slopes of both its parts. If a spectrum without a share of another one is not negative and has lost
structure, it is as good as the one found. A background, which spectra have in common as well, is
different: what is subtracted from it leaves a hole in the shape of the other's lines.
"""

from __future__ import annotations

import torch

from arpes_ml_plugins.separation.few_counts import UNSURE
from arpes_ml_plugins.separation.purity import CERTAIN, share_inside

__all__ = ["holds_another"]

MOST = 0.5  # of the other's slopes that are in the spectrum, in one proportion
ALIKE, CHANCE = 0.3, 2.0  # proportions that agree: relative difference, or standard errors
EXACT = 1e-6  # of the largest value: no slope is known better, even if no error is stated
SURE = 4.0  # standard errors of a share, the largest of many


def holds_another(spectra: torch.Tensor, errors: torch.Tensor) -> torch.Tensor:
    """Which of ``spectra (m, n)`` of largest value 1 hold the lines of any other, ``(n,)`` bool.

    Shares do not count that turn a spectrum by less than what makes a blind one uncertain.
    """
    count = spectra.shape[1]
    held = torch.zeros(count, dtype=torch.bool, device=spectra.device)
    for own in range(count):
        for other in range(count):
            share = 0.0 if other == own else _share_of_slopes(spectra, errors, own, other)
            if share and share_inside(spectra, errors, own, other) > (1 - ALIKE) * share:
                rest = spectra[:, own] - share * spectra[:, other]
                held[own] |= _angle(rest, spectra[:, own]) > UNSURE
    return held


def _angle(one: torch.Tensor, other: torch.Tensor) -> float:
    """In degrees."""
    cosine = torch.nn.functional.cosine_similarity(one, other, dim=0)
    return float(torch.rad2deg(cosine.clamp(-1, 1).arccos()))


def _share_of_slopes(spectra: torch.Tensor, errors: torch.Tensor, own: int, other: int) -> float:
    """How much of ``other`` the slopes of ``own`` hold, in one proportion; 0 if hardly any do.

    Where lines of both overlap, any proportion is possible.
    """
    steps = spectra.diff(dim=0)
    noise = (errors[1:].square() + errors[:-1].square()).sqrt().clamp(min=EXACT)
    weight = (steps[:, other].abs() - CERTAIN * noise[:, other]).clamp(min=0)
    seen = weight > 0
    if not bool(seen.any()):
        return 0.0
    weight, ratio = weight[seen], steps[seen, own] / steps[seen, other]
    error = (noise[seen, own] / steps[seen, other]).abs()
    apart = (ratio - ratio[:, None]).abs()
    alike = apart <= (CHANCE * error).maximum(ALIKE * ratio.abs()[:, None])
    agreeing = alike[(alike * weight).sum(1).argmax()]
    precise = agreeing / error.square()
    share = float((precise * ratio).sum() / precise.sum())
    certain = share > SURE / float(precise.sum().sqrt())
    enough = float(weight[agreeing].sum()) > MOST * float(weight.sum())
    return share if certain and enough else 0.0
