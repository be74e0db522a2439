"""Find spectra without prior knowledge: non-negative or independent components."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from arpes_ml_plugins.separation.least_squares import unit_columns

__all__ = ["blind_start", "factorised", "unconverged"]

MOST_PIXELS = 5000
ROUNDS = 400
TOLERANCE = 1e-5  # relative change of scikit-learn's stopping rule
ONE_AT_A_TIME = threading.Lock()


def blind_start(
    pixels: torch.Tensor, count: int, *, nonnegative: bool, seed: int, rounds: int = ROUNDS
) -> torch.Tensor:
    """Spectra ``(m, count)`` of length 1 from whitened data ``(m, t)``.

    Non-negative matrix factorisation; independent components of data with negative values.
    """
    chosen = torch.randperm(
        pixels.shape[1], generator=torch.Generator().manual_seed(seed), device="cpu"
    )
    sample = pixels[:, chosen[:MOST_PIXELS].to(pixels.device)]
    if nonnegative:
        return factorised(sample, count, seed=seed, rounds=rounds)[0]
    return _independent(sample, count, seed, rounds)


def _independent(sample: torch.Tensor, count: int, seed: int, rounds: int) -> torch.Tensor:
    """Independent components of the principal ones; the mean is not taken out, as it is signal."""
    from sklearn.decomposition import FastICA

    left, size, right = torch.linalg.svd(sample.cpu().double(), full_matrices=False)
    if count == 1:
        return unit_columns(left[:, :1].to(sample))
    strong = right[:count] * sample.shape[1] ** 0.5
    model = FastICA(whiten=False, max_iter=rounds, random_state=seed)
    with unconverged():  # a start need not be more
        model.fit(strong.mT.numpy())
    mixing = torch.linalg.pinv(torch.from_numpy(model.components_))
    return unit_columns((left[:, :count] * size[:count] @ mixing).to(sample))


def factorised(
    pixels: torch.Tensor, count: int, *, seed: int, sparsity: float = 0.0, rounds: int = ROUNDS
) -> tuple[torch.Tensor, bool]:
    """Spectra ``(m, count)``, length 1, of whitened data by scikit-learn's NMF; if it converged.

    Coordinate descent there is hierarchical alternating least squares (HALS).

    Parameters
    ----------
    sparsity
        l1 penalty of maps and spectra, in units of the noise.
    """
    from sklearn.decomposition import NMF

    positive = pixels.cpu().double().clamp(min=0)
    sample = positive.mT.numpy()
    # scikit-learn divides by zero if there are fewer components than asked for.
    rank = int(torch.linalg.matrix_rank(positive @ positive.mT, hermitian=True))
    start = "nndsvda" if count <= rank else "random"
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
    with unconverged():  # the result reports it
        model.fit(sample)
    spectra = torch.from_numpy(model.components_.T.copy()).to(pixels)
    # One component is exact at once; nothing decreases then, which scikit-learn tests.
    return unit_columns(spectra), count == 1 or model.n_iter_ < rounds


@contextmanager
def unconverged() -> Iterator[None]:
    """Without scikit-learn's warning of too few rounds.

    Filters of warnings belong to the process: two threads that set and restore them in turns would
    leave one behind, so one thread at a time.
    """
    from sklearn.exceptions import ConvergenceWarning

    with ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield
