"""``separate_gmca`` and ``separate_nmf``: separate without any knowledge of the spectra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from arpes_ml_plugins.labelled.progress import ProgressOption
from arpes_ml_plugins.methods.separation_input import SEPARATION, seed_of, setup_of
from arpes_ml_plugins.methods.separation_run import run
from arpes_ml_plugins.methods.shift_run import BLIND_SHIFT, check_shift
from arpes_ml_plugins.parameters import check_count, check_flag, check_number, documented

if TYPE_CHECKING:
    import torch

__all__ = ["separate_gmca", "separate_nmf"]


@documented(**SEPARATION, shift=BLIND_SHIFT)
def separate_gmca(
    data: xr.DataArray | xr.Dataset,
    *,
    n_components: int,
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
    """Separate a spectral image blindly, by the sparsity of its maps in wavelets (GMCA).

    Use it for maps of grains, flakes and edges, whose details tell components apart [1]_, [2]_. For
    smooth maps, which have no details, :func:`separate_nmf` is the better start.

    Parameters
    ----------
    {data}
    {n_components}
    {transform}
    refine : bool
        Polish spectra by alternating least squares on wavelet coefficients and pixels,
        non-negative if the data are.
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

        Components come in the order of decreasing intensity.

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
    .. [1] Bobin, Starck, Fadili and Moudden, IEEE Trans. Image Process. 16, 2662 (2007).
    .. [2] Carloni Gertosio, Bobin and Acero, Signal Process. 202, 108776 (2023), Section 3.3, for
       the thresholds.

    Examples
    --------
    >>> import numpy as np, xarray as xr, arpes_ml_plugins
    >>> rng, energy = np.random.default_rng(0), np.linspace(-1, 1, 40)
    >>> peaks = np.stack([np.exp(-((energy - p) ** 2) / 0.02) for p in (-0.3, 0.2)])
    >>> maps = 100 * (rng.random((24, 24, 2)) < 0.3)
    >>> image = xr.DataArray(
    ...     maps @ peaks + rng.normal(size=(24, 24, 40)), {"eV": energy}, ("y", "x", "eV")
    ... )
    >>> result = image.S.separate_gmca(n_components=2)
    >>> sorted(result.spectra.idxmax("eV").round(1).values.tolist())
    [-0.3, 0.2]
    """
    check_count("n_components", n_components)
    check_flag("refine", refine)
    setup = setup_of(data, dims, channels, n_components, transform, noise, nonnegative, mask=mask)
    check_shift(shift, setup)
    setup = replace(setup, shift=shift)
    from arpes_ml_plugins.separation.solvers import Gmca

    solver = Gmca(n_components, refine)
    return run("separate_gmca", setup, solver, 1, device, seed_of(rng), progress)


@documented(**SEPARATION, shift=BLIND_SHIFT)
def separate_nmf(
    data: xr.DataArray | xr.Dataset,
    *,
    n_components: int,
    sparsity: float = 0.0,
    noise: float | xr.DataArray | None = None,
    shift: str | bool | float = "auto",
    channels: Sequence[str] | None = None,
    mask: xr.DataArray | None = None,
    device: str = "auto",
    rng: int | np.random.Generator | torch.Generator | None = None,
    progress: ProgressOption = "auto",
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.Dataset:
    """Separate a spectral image blindly into non-negative spectra and maps (NMF).

    Factorises the data, divided by their noise, with scikit-learn (coordinate descent, HALS [1]_),
    starting from the principal components. If the mean of the data is below eight times their
    noise, the spectra of noisy pixels would come out too far apart: they are then polished by
    alternating least squares as in :func:`separate_gmca`, unless all pixels look like mixtures. If
    it is above, a factorisation ends at any mixture that explains the data: unless ``sparsity`` is
    given, the spectra are polished if pixels then show each of them without the others.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        Intensities as in :func:`separate_gmca`, not negative beyond their noise.
    {n_components}
    sparsity : float
        l1 penalty on maps and spectra, in units of the noise. Larger values give emptier maps.
    {noise}
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

        Components come in the order of decreasing intensity.

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
    .. [1] Gillis and Glineur, Neural Comput. 24, 1085 (2012).

    Examples
    --------
    >>> import numpy as np, xarray as xr, arpes_ml_plugins
    >>> rng, energy = np.random.default_rng(0), np.linspace(-1, 1, 40)
    >>> peaks = np.stack([np.exp(-((energy - p) ** 2) / 0.02) for p in (-0.3, 0.2)])
    >>> maps = 100 * (rng.random((12, 12, 2)) < 0.3)
    >>> image = xr.DataArray(
    ...     maps @ peaks + rng.normal(size=(12, 12, 40)), {"eV": energy}, ("y", "x", "eV")
    ... )
    >>> result = image.S.separate_nmf(n_components=2)
    >>> sorted(result.spectra.idxmax("eV").round(1).values.tolist())
    [-0.3, 0.2]
    """
    check_count("n_components", n_components)
    check_number("sparsity", sparsity, least=0)
    setup = setup_of(data, dims, channels, n_components, "none", noise, mask=mask)
    check_shift(shift, setup)
    setup = replace(setup, shift=shift)
    from arpes_ml_plugins.separation.solvers import Nmf

    seed = seed_of(rng)
    solver = Nmf(n_components, sparsity, seed)
    return run("separate_nmf", setup, solver, 1, device, seed, progress)
