"""A start where nothing is known of the components."""

from __future__ import annotations

import warnings

import torch

__all__ = ["blind_start"]

MOST_PIXELS = 5000
ROUNDS = 400


def blind_start(pixels: torch.Tensor, count: int, *, nonnegative: bool, seed: int) -> torch.Tensor:
    """Spectra ``(m, count)`` of length 1 from whitened data ``(m, t)``.

    Non-negative matrix factorisation; independent components of data with negative values.
    """
    from sklearn.decomposition import NMF, FastICA
    from sklearn.exceptions import ConvergenceWarning

    chosen = torch.randperm(pixels.shape[1], generator=torch.Generator().manual_seed(seed))
    sample = pixels[:, chosen[:MOST_PIXELS].to(pixels.device)].double().cpu().mT
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a start need not be converged
        if nonnegative:
            model = NMF(count, init="nndsvda", max_iter=ROUNDS, tol=1e-6, random_state=seed)
            spectra = model.fit(sample.clamp(min=0).numpy()).components_.T
        else:
            model = FastICA(count, whiten="unit-variance", max_iter=ROUNDS, random_state=seed)
            spectra = model.fit(sample.numpy()).mixing_
    found = torch.from_numpy(spectra.copy()).to(pixels)
    return found / found.norm(dim=0).clamp(min=1e-12)
