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
    chosen = torch.randperm(pixels.shape[1], generator=torch.Generator().manual_seed(seed))
    sample = pixels[:, chosen[:MOST_PIXELS].to(pixels.device)].double().cpu()
    found = (_factorise if nonnegative else _independent)(sample, count, seed).to(pixels)
    return found / found.norm(dim=0).clamp(min=1e-12)


def _factorise(sample: torch.Tensor, count: int, seed: int) -> torch.Tensor:
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning

    model = NMF(count, init="nndsvda", max_iter=ROUNDS, tol=1e-6, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a start need not be converged
        model.fit(sample.clamp(min=0).mT.numpy())
    return torch.from_numpy(model.components_.T.copy())


def _independent(sample: torch.Tensor, count: int, seed: int) -> torch.Tensor:
    from sklearn.decomposition import FastICA
    from sklearn.exceptions import ConvergenceWarning

    model = FastICA(count, whiten="unit-variance", max_iter=ROUNDS, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(sample.mT.numpy())
    return torch.from_numpy(model.mixing_.copy())
