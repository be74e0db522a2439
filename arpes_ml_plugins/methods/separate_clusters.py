"""``separate_clusters``: group pixels with similar spectra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import xarray as xr

from arpes_ml_plugins.labelled.progress import ProgressOption
from arpes_ml_plugins.methods.separation_input import SEPARATION, seed_of, setup_of
from arpes_ml_plugins.methods.separation_run import LABELS, run
from arpes_ml_plugins.parameters import check_choice, check_count, check_flag, documented

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["separate_clusters"]

KINDS = ("kmeans", "gaussian")
OUTSIDE = 0
"""Label of pixels that belong to no component."""


@documented(**SEPARATION)
def separate_clusters(
    data: xr.DataArray | xr.Dataset,
    *,
    n_components: int,
    kind: str = "kmeans",
    by_shape: bool = True,
    noise: float | xr.DataArray | None = None,
    nonnegative: bool | None = None,
    channels: Sequence[str] | None = None,
    mask: xr.DataArray | None = None,
    device: str = "auto",
    rng: int | np.random.Generator | torch.Generator | None = None,
    progress: ProgressOption = "auto",
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.Dataset:
    """Group the pixels of a spectral image by their spectra (k-means or Gaussian mixture).

    Use it if each pixel shows one material: grains, domains, terraces larger than the spot. If
    pixels are mixtures, so are the clusters, and the other ``separate_*`` methods take them apart.
    Spectra are divided by their noise and compared in the space of their strong principal
    components.

    Parameters
    ----------
    {data}
    {n_components}
    kind : {"kmeans", "gaussian"}
        ``"kmeans"``: clusters are about equally wide in all directions. ``"gaussian"``: each is a
        Gaussian distribution with its own width in each direction, which needs more pixels.
    by_shape : bool
        Compare the shapes of spectra, whatever their brightness; in k-means, bright pixels count
        most. If False, spectra of one shape and different brightness may form different clusters.
    {noise}
    {nonnegative}
    {channels}
    {mask}
    {device}
    {rng}
    {progress}
    {dims}

    Returns
    -------
    xarray.Dataset
        {parts}
        - ``label`` (space): number of the component of each pixel, a whole number counted from 1;
          0 for pixels that are left out. ``label.where(label > 0)`` has NaN there.

        Spectra are the mean spectra of the clusters; maps hold the amount of each in a pixel.
        Components come in the order of decreasing intensity.

    Raises
    ------
    {raises}

    Warns
    -----
    {warns}

    References
    ----------
    .. [1] scikit-learn, ``KMeans`` and ``GaussianMixture``.

    Examples
    --------
    >>> import numpy as np, xarray as xr, arpes_ml_plugins
    >>> rng, energy = np.random.default_rng(0), np.linspace(-1, 1, 40)
    >>> peaks = np.stack([np.exp(-((energy - p) ** 2) / 0.02) for p in (-0.3, 0.2)])
    >>> grains = np.arange(24)[:, None] + np.zeros(24) < 10
    >>> image = xr.DataArray(
    ...     100 * peaks[grains.astype(int)] + rng.normal(size=(24, 24, 40)),
    ...     {"eV": energy},
    ...     ("y", "x", "eV"),
    ... )
    >>> result = image.S.separate_clusters(n_components=2)
    >>> result.spectra.idxmax("eV").round(1).values.tolist()
    [-0.3, 0.2]
    >>> result.label[:, 0].values[[0, 9, 10, 23]].tolist()
    [2, 2, 1, 1]
    """
    check_count("n_components", n_components)
    check_choice("kind", kind, KINDS)
    check_flag("by_shape", by_shape)
    setup = setup_of(data, dims, channels, n_components, "none", noise, nonnegative, mask=mask)
    from arpes_ml_plugins.separation.solvers import Clusters

    seed = seed_of(rng)
    solver = Clusters(n_components, kind, by_shape, seed)
    result = run("separate_clusters", setup, solver, 1, device, seed, progress, LABELS)
    return result.assign(label=result["label"].fillna(OUTSIDE).astype("int64"))
