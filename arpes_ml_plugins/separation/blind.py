"""A start where nothing is known of the components."""

from __future__ import annotations

import warnings

import torch

__all__ = ["blind_start", "factorised"]

MOST_PIXELS = 5000
ROUNDS = 400
TOLERANCE = 1e-5  # relative change of scikit-learn's stopping rule


def blind_start(
    pixels: torch.Tensor, count: int, *, nonnegative: bool, seed: int, rounds: int = ROUNDS
) -> torch.Tensor:
    """Spectra ``(m, count)`` of length 1 from whitened data ``(m, t)``.

    Non-negative matrix factorisation; independent components of data with negative values.
    """
    chosen = torch.randperm(pixels.shape[1], generator=torch.Generator().manual_seed(seed))
    sample = pixels[:, chosen[:MOST_PIXELS].to(pixels.device)]
    if nonnegative:
        return factorised(sample, count, seed=seed, rounds=rounds)[0]
    from sklearn.decomposition import FastICA
    from sklearn.exceptions import ConvergenceWarning

    model = FastICA(count, whiten="unit-variance", max_iter=rounds, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a start need not be converged
        spectra = model.fit(sample.double().cpu().mT.numpy()).mixing_
    return _unit(torch.from_numpy(spectra.copy()).to(pixels))


def factorised(
    pixels: torch.Tensor, count: int, *, seed: int, sparsity: float = 0.0, rounds: int = ROUNDS
) -> tuple[torch.Tensor, bool]:
    """Spectra ``(m, count)``, length 1, of whitened data by scikit-learn's NMF; if it converged.

    Coordinate descent there is hierarchical alternating least squares (HALS).

    Parameters
    ----------
    sparsity
        l1 penalty of the maps, in standard deviations of the noise of a spectrum of length 1.
    """
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning

    sample = pixels.double().cpu().mT.clamp(min=0).numpy()
    start = "nndsvda" if count <= min(sample.shape) else "random"
    # scikit-learn multiplies by the number of channels, and leaves the scale of spectra free: a
    # penalty on these alone would be undone by the maps, so both have one.
    penalty = sparsity / len(pixels)
    model = NMF(
        count,
        init=start,
        max_iter=rounds,
        tol=TOLERANCE,
        random_state=seed,
        alpha_W=penalty,
        alpha_H=0.0 if sparsity == 0 else "same",
        l1_ratio=1.0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # told by the result
        model.fit(sample)
    spectra = torch.from_numpy(model.components_.T.copy()).to(pixels)
    return _unit(spectra), model.n_iter_ < rounds


def _unit(spectra: torch.Tensor) -> torch.Tensor:
    return spectra / spectra.norm(dim=0).clamp(min=1e-12)
