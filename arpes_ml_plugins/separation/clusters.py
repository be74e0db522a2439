"""Group pixels with similar spectra by k-means or a mixture of Gaussian distributions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from arpes_ml_plugins.separation.blind_start import unconverged
from arpes_ml_plugins.separation.least_squares import unit_columns
from arpes_ml_plugins.separation.matching import signal_space

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["cluster_means", "clustered"]

MOST_PIXELS = 20_000  # from which clusters are found
MOST_DIRECTIONS = 20
STARTS = 10


def clustered(
    pixels: torch.Tensor, count: int, *, kind: str, by_shape: bool, seed: int
) -> torch.Tensor:
    """Number of the cluster of each pixel ``(t,)``, from whitened data ``(m, t)``.

    Parameters
    ----------
    kind
        ``"kmeans"``: as many pixels as near to a centre as possible; ``"gaussian"``: clusters may
        have any size and direction.
    by_shape
        Compare spectra of length 1. Bright pixels, whose shapes are known best, count most in
        k-means.
    """
    scores = _scores(pixels, count)
    size = scores.norm(dim=0)
    if by_shape:
        scores = scores / size.clamp(min=1e-12)
    draw = torch.Generator().manual_seed(seed)
    some = torch.randperm(pixels.shape[1], generator=draw, device="cpu")[:MOST_PIXELS].to(
        pixels.device
    )
    points, weights = (part.mT.cpu().double().numpy() for part in (scores, size[None].square()))
    sample = some.cpu().numpy()
    with unconverged():  # clusters of data without any are no better after more rounds
        labels = _fit(points, sample, count, kind, weights[:, 0] if by_shape else None, seed)
    return torch.from_numpy(labels).to(pixels.device, torch.int64)


def _fit(
    points: NDArray[np.floating],
    sample: NDArray[np.integer],
    count: int,
    kind: str,
    weights: NDArray[np.floating] | None,
    seed: int,
) -> NDArray[np.integer]:
    from sklearn.cluster import KMeans
    from sklearn.mixture import GaussianMixture

    labels: NDArray[np.integer]
    means = KMeans(count, n_init=STARTS, random_state=seed)
    means.fit(points[sample], sample_weight=None if weights is None else weights[sample])
    if kind == "kmeans":
        labels = means.predict(points)
        return labels
    model = GaussianMixture(count, means_init=means.cluster_centers_, random_state=seed)
    labels = model.fit(points[sample]).predict(points)
    return labels


def _scores(pixels: torch.Tensor, count: int) -> torch.Tensor:
    """Pixels along their strong principal directions ``(r, t)``: the others hold noise."""
    strong = signal_space(pixels).directions.shape[1]
    wanted = min(max(strong, count), MOST_DIRECTIONS, len(pixels))
    directions = torch.linalg.eigh(pixels @ pixels.mT).eigenvectors[:, -wanted:]
    return directions.mT @ pixels


def cluster_means(
    pixels: torch.Tensor, labels: torch.Tensor, otherwise: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean spectra ``(m, n)`` of the clusters, length 1; ``otherwise`` of those without pixels.

    Examples
    --------
    >>> cluster_means(torch.tensor([[1.0, 3.0, 0.0], [0.0, 0.0, 2.0]]), torch.tensor([0, 0, 1]))
    tensor([[1., 0.],
            [0., 1.]])
    """
    count = int(labels.max()) + 1 if otherwise is None else otherwise.shape[1]
    sums = pixels.new_zeros(len(pixels), count).index_add_(1, labels, pixels)
    if otherwise is not None:
        sums = torch.where(torch.bincount(labels, minlength=count) > 0, sums, otherwise)
    return unit_columns(sums)
