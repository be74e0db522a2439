"""From whitened data to spectra without a network: GMCA, sGMCA, NMF, and what follows each."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from arpes_ml_plugins.separation.blind import factorised
from arpes_ml_plugins.separation.chain import MANY_SWEEPS, Separated, matched, polish, upright
from arpes_ml_plugins.separation.gmca import gmca
from arpes_ml_plugins.separation.manifolds import Manifold
from arpes_ml_plugins.separation.sgmca import sgmca
from arpes_ml_plugins.separation.whitened import Whitened, strongest_columns, thinned

__all__ = ["gmca_spectra", "nmf_spectra", "sgmca_spectra"]

ENDS = {
    "cycle": "sGMCA ended in a cycle of nearly equal solutions",
    "limit": "sGMCA was still moving after its last iteration",
}
ROUNDS = 1000  # of NMF


def gmca_spectra(data: Whitened, count: int, *, refined: bool) -> Separated:
    """GMCA on the sparse coefficients, then alternating least squares on coefficients and pixels:
    what is smooth has no details, and only the pixels show it.
    """
    spectra = upright(data, _blind(data, thinned(data), count))
    return Separated(polish(data, spectra, MANY_SWEEPS) if refined else spectra)


def sgmca_spectra(
    data: Whitened,
    manifolds: Sequence[Manifold],
    count: int,
    *,
    match: bool,
    refined: bool,
    published: bool = False,
) -> Separated:
    """Spectra by sGMCA from GMCA; where there are manifolds the signal space then decides.

    Parameters
    ----------
    count
        Components: those beyond the manifolds are free.
    match
        Else the spectra are those of sGMCA.
    refined
        Polish the free spectra by alternating least squares.
    published
        Look at all pixels, not only at some ten thousand, and take the noise from the sources.
    """
    sparse, noise = (data.sparse, None) if published else (thinned(data), data.scale_noise)
    start = _blind(data, sparse, count)
    found = sgmca(sparse, start, manifolds, data.scales, noise=noise)
    spectra = upright(data, found.spectra)
    spectra[:, : len(manifolds)] = found.spectra[:, : len(manifolds)]
    if match:
        return matched(
            data,
            spectra,
            [manifold.family() for manifold in manifolds],
            neighbours=manifolds[0].neighbours,
            blind=upright(data, start),
            refined=refined,
        )
    notes = () if found.end == "converged" else (ENDS[found.end],)
    if refined and count > len(manifolds):
        fixed = torch.arange(count, device=spectra.device) < len(manifolds)
        spectra = polish(data, spectra, MANY_SWEEPS, fixed)
    return Separated(spectra, notes=notes)


def nmf_spectra(data: Whitened, count: int, *, sparsity: float, seed: int) -> Separated:
    """Non-negative matrix factorisation of the strongest pixels."""
    chosen = strongest_columns(data.pixels, data.pixels.new_ones(data.pixels.shape[1]))
    spectra, done = factorised(
        data.pixels[:, chosen], count, seed=seed, sparsity=sparsity, rounds=ROUNDS
    )
    notes = () if done else (f"the factorisation was still moving after {ROUNDS} rounds",)
    return Separated(spectra, notes=notes)


def _blind(data: Whitened, sparse: torch.Tensor, count: int) -> torch.Tensor:
    # Single precision is enough for what is thresholded at three times the noise.
    found = gmca(sparse.float(), count, data.scales)
    return found.to(data.pixels)
