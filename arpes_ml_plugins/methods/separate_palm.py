"""``separate_palm``: separate spectral images by proximal alternating minimisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import xarray as xr

from arpes_ml_plugins.labelled.progress import ProgressOption
from arpes_ml_plugins.methods.separation_input import (
    SEPARATION,
    check_one_of,
    prior_of,
    seed_of,
    setup_of,
)
from arpes_ml_plugins.methods.separation_run import run
from arpes_ml_plugins.methods.shift_run import BLIND_SHIFT, check_shift
from arpes_ml_plugins.parameters import check_count, check_flag, check_positive, documented
from arpes_ml_plugins.spectrum_library import SpectrumLibrary

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["separate_palm"]


@documented(**SEPARATION, shift=BLIND_SHIFT)
def separate_palm(
    data: xr.DataArray | xr.Dataset,
    *,
    library: SpectrumLibrary | Mapping[str, xr.DataArray] | None = None,
    n_components: int | None = None,
    sparsity: float = 3.0,
    iterations: int = 200,
    transform: str = "starlet",
    refine: bool = True,
    noise: float | xr.DataArray | None = None,
    nonnegative: bool | None = None,
    shift: str | bool | float = "auto",
    channels: Sequence[str] | None = None,
    mask: xr.DataArray | None = None,
    device: str = "auto",
    rng: int | np.random.Generator | torch.Generator | None = None,
    progress: ProgressOption = "auto",
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.Dataset:
    """Separate a spectral image into components by proximal alternating minimisation (PALM).

    Finds the spectra and sparse maps that minimise the squared misfit plus an l1 penalty on the
    maps [1]_, [2]_, for decreasing penalties, each from the solution for the one before. The result
    depends on the start and on ``sparsity``; :func:`separate_lpalm` has learned both.

    Parameters
    ----------
    {data}
    library : SpectrumLibrary, optional
        A family of spectra for each component; the iteration starts from the mean of each.
    n_components : int, optional
        Number of components if there is no library: the start is then a non-negative matrix
        factorisation (independent components if the data are negative in places).
    sparsity : float
        Last penalty, in standard deviations of the noise: anything weaker counts as noise. Larger
        values give emptier maps and lose weak components.
    iterations : int
        Upper limit on the iterations for each of eight penalties. More is slower and rarely
        changes the result.
    {transform}
    refine : bool
        Polish the spectra by alternating least squares, without penalty on strong values.
    {noise}
    {nonnegative}
    {shift}
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

        Components come in the order of the library, or of decreasing intensity.

    Raises
    ------
    {raises}

    Warns
    -----
    {warns}

    See Also
    --------
    feasible_bands : How far spectra and maps can change without changing the fit.

    References
    ----------
    .. [1] Bolte, Sabach and Teboulle, Math. Program. 146, 459 (2014).
    .. [2] Fahes, Kervazo, Bobin and Tupin (ICLR 2022), eq. 6.

    Examples
    --------
    >>> import numpy as np, xarray as xr, arpes_ml_plugins
    >>> rng, energy = np.random.default_rng(0), np.linspace(-1, 1, 40)
    >>> peaks = np.stack([np.exp(-((energy - p) ** 2) / 0.02) for p in (-0.3, 0.2)])
    >>> maps = 100 * (rng.random((12, 12, 2)) < 0.3)
    >>> image = xr.DataArray(
    ...     maps @ peaks + rng.normal(size=(12, 12, 40)), {"eV": energy}, ("y", "x", "eV")
    ... )
    >>> result = image.S.separate_palm(n_components=2)
    >>> dict(result.maps.sizes), result.status.item()
    ({'component': 2, 'y': 12, 'x': 12}, 'ok')
    """
    check_positive("sparsity", sparsity)
    check_count("iterations", iterations)
    check_flag("refine", refine)
    check_one_of(library, n_components)
    setup = setup_of(
        data,
        dims,
        channels,
        n_components,
        transform,
        noise,
        nonnegative,
        library=library,
        mask=mask,
    )
    check_shift(shift, setup)
    setup = replace(setup, shift=shift)
    from arpes_ml_plugins.separation.solvers import Palm

    seed = seed_of(rng)
    solver = Palm(partial(prior_of, setup=setup, seed=seed), sparsity, iterations, refine)
    return run("separate_palm", setup, solver, iterations, device, seed, progress)
