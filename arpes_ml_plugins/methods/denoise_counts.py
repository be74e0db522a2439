"""Denoisers for counts: a network trained on the image itself, or one trained on simulations."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import xarray as xr

from arpes_ml_plugins.labelled.progress import ProgressOption
from arpes_ml_plugins.methods.counts_run import adapting, from_scratch
from arpes_ml_plugins.methods.denoising_docstrings import BLOCKS
from arpes_ml_plugins.parameters import documented

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["decompose_counts", "decompose_pretrained", "denoise_counts", "denoise_pretrained"]

OWN = {
    "iterations": """
        iterations : int, optional
            Training steps per image or series; default 120, more for a large series. More steps
            take longer; they do not fit the noise, because held-out counts decide when to stop.""",
    "adapt": """
        adapt : bool
            Whether to train the network further on the data: on each image, or once on a sample of
            all series, which takes up to minutes. Without it (False) the result is immediate, and
            nearly as accurate for data that resemble the simulations.""",
}


@documented(**BLOCKS, **OWN)
def denoise_counts(
    data: xr.DataArray | xr.Dataset,
    *,
    gain: float | None = None,
    iterations: int | None = None,
    series: str | Sequence[str] | None = "auto",
    precision: str = "auto",
    device: str = "auto",
    rng: int | np.random.Generator | torch.Generator | None = None,
    progress: ProgressOption = "auto",
    dims: Mapping[str, str] | Sequence[str] | None = None,
    out: str | os.PathLike[str] | None = None,  # handled by the call, see plugins.into_store
) -> xr.DataArray | xr.Dataset:
    """Denoise counts with a network that is trained on these counts alone, by splitting them.

    Every training step splits the counts at random into two independent images of the same scene,
    and a small network learns to predict one from the other: it can learn the scene but not the
    noise. No other data are used. Training stops when the likelihood of held-out counts no
    longer improves.

    Parameters
    ----------
    {counts}
    {gain}
    {iterations}
    {several_series}
    {precision}
    {device}
    {rng}
    {progress}
    {dims}
    {out}

    Returns
    -------
    {clean}

    Raises
    ------
    {no_counts}

    Warns
    -----
    {contradicted}

    See Also
    --------
    denoise_pretrained : more accurate and faster for most ARPES data.
    decompose_counts : the same with error bars.

    Notes
    -----
    Binomial thinning of a Poisson number gives two independent Poisson numbers; the loss is the
    Poisson likelihood of one, given the prediction from the other.

    Examples
    --------
    >>> import numpy as np, xarray as xr, arpes_ml_plugins
    >>> rate = 20 * np.outer(np.hanning(32), np.hanning(32))
    >>> counts = np.random.default_rng(0).poisson(rate)
    >>> cut = xr.DataArray(counts, dims=("phi", "eV"))
    >>> clean = cut.S.denoise_counts(iterations=20, gain=1, rng=0)
    >>> bool(((clean - rate) ** 2).mean() < ((cut - rate) ** 2).mean() / 3)
    True
    """
    return from_scratch("denoise_counts", iterations)(
        data,
        dims=dims,
        gain=gain,
        series=series,
        precision=precision,
        device=device,
        rng=rng,
        progress=progress,
    )["clean"]


@documented(**BLOCKS, **OWN)
def decompose_counts(
    data: xr.DataArray | xr.Dataset,
    *,
    gain: float | None = None,
    iterations: int | None = None,
    series: str | None = "auto",
    calibrate: bool = False,
    precision: str = "auto",
    device: str = "auto",
    rng: int | np.random.Generator | torch.Generator | None = None,
    progress: ProgressOption = "auto",
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.Dataset:
    """Denoise as :func:`denoise_counts` does, with error bars.

    Parameters
    ----------
    {counts}
    {gain}
    {iterations}
    {series}
    {calibrate}
    {precision}
    {device}
    {rng}
    {progress}
    {dims}

    Returns
    -------
    {error_bars}

    Raises
    ------
    {no_counts}

    Warns
    -----
    {contradicted}

    Examples
    --------
    >>> import numpy as np, xarray as xr, arpes_ml_plugins
    >>> counts = np.random.default_rng(0).poisson(9.0, size=(32, 32))
    >>> cut = xr.DataArray(counts, dims=("phi", "eV"))
    >>> result = cut.S.decompose_counts(iterations=10, gain=1, rng=0)
    >>> list(result), bool((result.upper > result.lower).all())
    (['clean', 'lower', 'upper'], True)
    """
    return (
        from_scratch("decompose_counts", iterations)
        .with_errors(calibrate)
        .dataset(
            data,
            dims=dims,
            gain=gain,
            series=series,
            precision=precision,
            device=device,
            rng=rng,
            progress=progress,
        )
    )


@documented(**BLOCKS, **OWN)
def denoise_pretrained(
    data: xr.DataArray | xr.Dataset,
    *,
    adapt: bool = True,
    gain: float | None = None,
    mesh: str | None = "auto",
    series: str | Sequence[str] | None = "auto",
    repeats: str | None = "auto",
    precision: str = "auto",
    device: str = "auto",
    rng: int | np.random.Generator | torch.Generator | None = None,
    progress: ProgressOption = "auto",
    dims: Mapping[str, str] | Sequence[str] | None = None,
    out: str | os.PathLike[str] | None = None,  # handled by the call, see plugins.into_store
) -> xr.DataArray | xr.Dataset:
    """Denoise counts with a network trained on simulated ARPES scenes, and adapt it to the data.

    The network was trained on bands of many kinds with simulated noise (:func:`simulate_scene`);
    its weights come with the package. With ``adapt`` it is trained further on the data themselves,
    which are split at random as in :func:`denoise_counts`. Held-out counts decide how far its
    weights are moved. If the noise of neighbouring pixels is correlated, counts cannot be split,
    and the network is not trained further.

    Parameters
    ----------
    {counts}
    {adapt}
    {gain}
    {mesh}
    {several_series}
    {repeats}
    {precision}
    {device}
    {rng}
    {progress}
    {dims}
    {out}

    Returns
    -------
    {clean}
        The provenance holds the gain used and the SHA-256 of the weights.

    Raises
    ------
    {no_counts}

    Warns
    -----
    {contradicted}

    See Also
    --------
    denoise : choose the method by the noise of the data.
    decompose_pretrained : the same with error bars.

    Examples
    --------
    >>> import arpes_ml_plugins
    >>> from arpes_ml_plugins import simulate_scene
    >>> scene = simulate_scene((64, 64), counts=5, rng=1)
    >>> clean = scene.spectrum.S.denoise_pretrained(adapt=False, rng=0)
    >>> error, noise = ((clean - scene.truth) ** 2).mean(), scene.truth.mean()
    >>> bool(error < noise / 5)
    True
    """
    return adapting("denoise_pretrained", adapt)(
        data,
        dims=dims,
        gain=gain,
        mesh=mesh,
        series=series,
        repeats=repeats,
        precision=precision,
        device=device,
        rng=rng,
        progress=progress,
    )["clean"]


@documented(**BLOCKS, **OWN)
def decompose_pretrained(
    data: xr.DataArray | xr.Dataset,
    *,
    adapt: bool = True,
    gain: float | None = None,
    mesh: str | None = "auto",
    series: str | None = "auto",
    calibrate: bool = False,
    precision: str = "auto",
    device: str = "auto",
    rng: int | np.random.Generator | torch.Generator | None = None,
    progress: ProgressOption = "auto",
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.Dataset:
    """Denoise as :func:`denoise_pretrained` does, with error bars.

    Parameters
    ----------
    {counts}
    {adapt}
    {gain}
    {mesh}
    {series}
    {calibrate}
    {precision}
    {device}
    {rng}
    {progress}
    {dims}

    Returns
    -------
    {error_bars}

    Raises
    ------
    {no_counts}

    Warns
    -----
    {contradicted}

    Examples
    --------
    >>> import arpes_ml_plugins
    >>> from arpes_ml_plugins import simulate_scene
    >>> scene = simulate_scene((64, 64), counts=5, rng=1)
    >>> result = scene.spectrum.S.decompose_pretrained(adapt=False, rng=0)
    >>> inside = (result.lower < scene.truth) & (scene.truth < result.upper)
    >>> bool(inside.mean() > 0.5)
    True
    """
    return (
        adapting("decompose_pretrained", adapt)
        .with_errors(calibrate)
        .dataset(
            data,
            dims=dims,
            gain=gain,
            mesh=mesh,
            series=series,
            precision=precision,
            device=device,
            rng=rng,
            progress=progress,
        )
    )
