"""Green's functions of known spectra, as quantum Monte Carlo would give them."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import AxisError, DataError, ParameterError
from arpes_ml_plugins.labelled.axes import resolve_dims
from arpes_ml_plugins.labelled.energies import energies_along
from arpes_ml_plugins.labelled.seeds import seed_from

if TYPE_CHECKING:
    import torch

__all__ = ["simulate_greens_function"]


def simulate_greens_function(
    spectral_function: xr.DataArray,
    *,
    beta: float,
    times: int = 101,
    stderr: float = 0.0,
    rng: int | np.random.Generator | torch.Generator | None = None,
    dims: Hashable | None = None,
) -> xr.DataArray:
    """Simulate the fermionic Green's function in imaginary time of a known spectrum.

    ``G(tau) = int A(w) exp(-tau w) / (1 + exp(-beta w)) dw`` ([1]_, eqs. 1 and 2), integrated
    by the trapezoidal rule on the grid of the spectrum, with independent Gaussian errors added.

    Parameters
    ----------
    spectral_function : xarray.DataArray
        ``A(w)`` along ``eV`` or ``omega``, which is zero at the chemical potential and may be
        unevenly spaced; all other dimensions are kept. The grid has to resolve every peak.
    beta : float
        Inverse temperature, in the inverse unit of the energy axis.
    times : int
        Number of evenly spaced times from 0 to beta, both included.
    stderr : float
        Standard deviation of the errors. A larger value hides more of the spectrum; quantum Monte
        Carlo reaches 1e-3 to 1e-5.
    rng : int, numpy or torch Generator, optional
        Seed of the errors.
    dims : str, optional
        Energy axis, if its name is not recognised.

    Returns
    -------
    xarray.DataArray
        Green's function, positive, along the other dimensions and ``tau`` (in 1/eV if the energy
        axis is ``eV``), with a scalar coordinate ``beta`` that the ``continue_*`` methods read.

    Raises
    ------
    AxisError, DataError, ParameterError
        There is no energy axis, values are not finite, ``beta`` or ``times`` is too small, or
        ``stderr`` is negative.

    References
    ----------
    .. [1] Huang and Yang, "Learned optimizers for analytic continuation", Phys. Rev. B 105, 075112
       (2022).

    Examples
    --------
    >>> energy = np.linspace(-2, 2, 401)
    >>> peak = np.exp(-((energy - 0.5) ** 2) / 0.02) / np.sqrt(0.02 * np.pi)
    >>> spectrum = xr.DataArray(peak, coords={"eV": energy}, dims="eV")
    >>> g = simulate_greens_function(spectrum, beta=20, stderr=1e-3, rng=0)
    >>> round(float(g[0] + g[-1]), 2)  # the norm of the spectrum
    1.0
    >>> import arpes_ml_plugins
    >>> result = g.S.continue_rlista(stderr=1e-3)
    >>> bool(abs(result.spectral_function.idxmax("eV") - 0.5) < 0.1)
    True
    """
    import torch
    from scipy.integrate import trapezoid

    from arpes_ml_plugins.continuation.kernels import fermion

    if not (np.isfinite(beta) and beta > 0):
        raise ParameterError(f"beta must be positive and finite, got {beta!r}")
    if not (isinstance(times, (int, np.integer)) and times >= 2):
        raise ParameterError(f"times must be an int of at least 2, got {times!r}")
    if not (np.isfinite(stderr) and stderr >= 0):
        raise ParameterError(f"stderr must be finite and not negative, got {stderr!r}")
    (dim,) = resolve_dims(spectral_function, ("energy",), None if dims is None else [dims])
    if energies_along(spectral_function, dim).size < 2:
        raise AxisError(f"expected at least two energies along {dim!r}, got 1")
    spectrum = spectral_function.sortby(dim).transpose(..., dim)
    if not np.isfinite(spectrum.values).all():
        raise DataError("the spectral function holds NaN or infinite values; fill or cut them")
    omega = spectrum[dim].values.astype(float)
    tau = np.linspace(0.0, beta, int(times))
    kernel = fermion(torch.from_numpy(tau), torch.from_numpy(omega), float(beta)).numpy()
    clean = trapezoid(spectrum.values[..., None, :] * kernel, omega, axis=-1)
    noise = np.random.default_rng(seed_from(rng)).normal(size=clean.shape)
    others = {name: c for name, c in spectrum.coords.items() if dim not in c.dims}
    unit = {"units": "1/eV"} if dim == "eV" else {}
    return xr.DataArray(
        clean + stderr * noise,
        coords={**others, "tau": ("tau", tau, unit), "beta": float(beta)},
        dims=(*spectrum.dims[:-1], "tau"),
        name="greens_function",
    )
