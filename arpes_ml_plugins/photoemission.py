"""From a spectral function to what a photoemission experiment would show of it."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import xarray as xr

from arpes_ml_plugins.constants import BOLTZMANN, FWHM
from arpes_ml_plugins.errors import AxisError, ParameterError
from arpes_ml_plugins.labelled.axes import resolve_dims

__all__ = ["as_measured"]

EVEN = 1e-3  # relative deviation of an evenly spaced grid


def as_measured(
    spectral_function: xr.DataArray,
    *,
    beta: float | None = None,
    temperature: float | None = None,
    resolution: float = 0.0,
    dims: Hashable | None = None,
) -> xr.DataArray:
    """An EDC as measured: the spectral function times the Fermi function, then broadened.

    Matrix elements and background are left to the user.

    Parameters
    ----------
    spectral_function : xarray.DataArray
        Along ``eV`` or ``omega``, zero at the chemical potential, evenly spaced if there is a
        resolution; any other dimensions. Not changed.
    beta : float, optional
        Inverse temperature, in the inverse unit of the energy axis.
    temperature : float, optional
        In K instead, for an axis in eV.
    resolution : float
        Full width at half maximum of the (Gaussian) energy resolution, in the unit of the axis.
    dims : str, optional
        The energy axis where its name does not tell.

    Returns
    -------
    xarray.DataArray
        Same shape and unit. Broadening repeats the first and the last value beyond the ends.

    Raises
    ------
    AxisError, ParameterError
        No energy axis, an uneven one; both or none of ``beta`` and ``temperature``.

    Examples
    --------
    >>> energy = np.linspace(-1, 1, 201)
    >>> flat = xr.DataArray(np.ones(201), coords={"eV": energy}, dims="eV")
    >>> edge = as_measured(flat, temperature=20, resolution=0.01)
    >>> round(float(edge.sel(eV=0.0, method="nearest")), 3)
    0.5
    """
    from scipy.ndimage import gaussian_filter1d
    from scipy.special import expit

    if (beta is None) == (temperature is None):
        raise ParameterError("pass either beta or temperature (in K)")
    given = float(beta) if beta is not None else float(temperature or 0.0)
    if not given > 0 or not resolution >= 0:
        raise ParameterError("beta or temperature must be positive, resolution not negative")
    inverse = given if beta is not None else 1 / (BOLTZMANN * given)
    (dim,) = resolve_dims(spectral_function, ("energy",), None if dims is None else [dims])
    energy = spectral_function[dim].astype(float)
    seen = spectral_function * expit(-inverse * energy)
    if resolution > 0:
        steps = np.diff(energy.values)
        if np.abs(steps - steps.mean()).max() > EVEN * abs(steps.mean()):
            raise AxisError(f"broadening needs an evenly spaced axis, {dim!r} is not; interpolate")
        sigma = resolution / FWHM / abs(steps.mean())
        axis = seen.get_axis_num(dim)
        seen = seen.copy(data=gaussian_filter1d(seen.values, sigma, axis=axis, mode="nearest"))
    return seen.transpose(*spectral_function.dims).assign_attrs(spectral_function.attrs)
