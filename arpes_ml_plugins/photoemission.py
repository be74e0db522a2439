"""Spectral functions of bands, and as a photoemission experiment would measure them."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arpes_ml_plugins.constants import BOLTZMANN, FWHM
from arpes_ml_plugins.errors import AxisError, DataTypeError, ParameterError
from arpes_ml_plugins.frames import warn
from arpes_ml_plugins.labelled.axes import resolve_dims
from arpes_ml_plugins.labelled.energies import energies_along
from arpes_ml_plugins.labelled.energy_units import electron_volts
from arpes_ml_plugins.labelled.outputs import result_dtype
from arpes_ml_plugins.labelled.spacing import even_step
from arpes_ml_plugins.labelled.spectrum import check_array
from arpes_ml_plugins.labelled.units import strip_unit

__all__ = ["as_measured", "spectral_function_of"]


def spectral_function_of(
    self_energy: xr.DataArray,
    dispersion: xr.DataArray,
    *,
    mu: float = 0.0,
    broadening: float = 0.0,
    dims: Hashable | None = None,
) -> xr.DataArray:
    """Compute the momentum-resolved spectral function of a band and a self-energy.

    ``A(k, w) = -Im [1 / (w + mu - e(k) - Sigma(k, w))] / pi``.

    Parameters
    ----------
    self_energy : xarray.DataArray
        Complex self-energy along ``eV`` or ``omega`` (zero at the chemical potential), and along
        dimensions of the dispersion unless it is local, as :func:`continue_self_energy` returns it.
    dispersion : xarray.DataArray
        Bare band ``e(k)`` along any dimensions, in the unit of the self-energy.
    mu : float
        Chemical potential, in the same unit; a larger value shifts the bands down. A constant part
        of the self-energy has the opposite effect.
    broadening : float
        Half width at half maximum that is added to ``-Im Sigma``. A larger value broadens the
        bands; without it, those with a vanishing self-energy are narrower than any grid.
    dims : str, optional
        Energy axis, if its name is not recognised.

    Returns
    -------
    xarray.DataArray
        Spectral function per unit of energy, along the dimensions of both arguments, the energy
        last. :func:`as_measured` converts it to a measured cut.

    Raises
    ------
    AxisError, ParameterError
        There is no energy axis, or its values are not finite numbers; the self-energy is real or
        has a positive imaginary part; or the broadening is negative.

    Examples
    --------
    >>> energy = xr.DataArray(np.linspace(-2, 2, 401), dims="omega")
    >>> k = xr.DataArray(np.linspace(-1, 1, 21), dims="k")
    >>> sigma = (-0.3 * energy - 0.05j).assign_coords(omega=energy)  # mass renormalised by 1.3
    >>> cut = spectral_function_of(sigma, (1.3 * k).assign_coords(k=k))
    >>> round(float(cut.sel(k=0.5, method="nearest").idxmax("omega")), 2)
    0.5
    """
    (dim,) = resolve_dims(self_energy, ("energy",), None if dims is None else [dims])
    if self_energy.dtype.kind != "c":
        raise ParameterError(
            f"self_energy must be complex, got dtype {self_energy.dtype}; pass the variable "
            f"self_energy of the result of continue_self_energy"
        )
    if dim in dispersion.dims:
        raise AxisError(f"dispersion must not depend on the energy {dim!r}; pass e(k)")
    if not broadening >= 0:
        raise ParameterError(f"broadening must not be negative, got {broadening!r}")
    if bool((self_energy.imag > 0).any()):
        raise ParameterError(
            "the imaginary part of self_energy must not be positive (a retarded self-energy); for "
            "the other convention pass its conjugate"
        )
    energies_along(self_energy, dim)
    damped = self_energy - 1j * broadening
    try:
        with xr.set_options(arithmetic_join="exact"):
            green = 1 / (self_energy[dim] + mu - dispersion - damped)
    except ValueError as error:
        raise AxisError(
            f"self_energy and dispersion must have the same coordinates along their common "
            f"dimensions ({error}); assign those of one to the other, or interpolate"
        ) from error
    spectral = (-green.imag / np.pi).transpose(..., dim)
    return spectral.rename("spectral_function")


def as_measured(
    spectral_function: xr.DataArray,
    *,
    beta: float | None = None,
    temperature: float | None = None,
    resolution: float = 0.0,
    dims: Hashable | None = None,
) -> xr.DataArray:
    """Compute EDCs as measured: the spectral function times the Fermi function, broadened.

    Matrix elements and background are not included. NaN stay NaN, and the values beside them are
    averaged over the points that are not NaN.

    Parameters
    ----------
    spectral_function : xarray.DataArray
        Spectral function along ``eV`` or ``omega`` (zero at the chemical potential, evenly spaced
        if there is a resolution) and any other dimensions. It is not changed.
    beta : float, optional
        Inverse temperature, in the inverse unit of the energy axis; pass this or ``temperature``.
        A larger value gives a sharper Fermi edge.
    temperature : float, optional
        Temperature in K, instead of ``beta``, for an axis in eV, or in the unit that its attribute
        ``units`` names (meV, Ha, Ry).
    resolution : float
        Full width at half maximum of the (Gaussian) energy resolution, in the unit of the axis. A
        larger value broadens edges and bands. The axis needs smaller steps than this.
    dims : str, optional
        Energy axis, if its name is not recognised.

    Returns
    -------
    xarray.DataArray
        Intensity of the same shape and unit. For the broadening, the first and the last value are
        repeated beyond the ends.

    Raises
    ------
    AxisError, DataTypeError, ParameterError
        There is no energy axis, it is uneven, or its values are not finite numbers; the spectral
        function is not real; both or neither of ``beta`` and ``temperature`` are given.

    Warns
    -----
    UserWarning
        The resolution is below the step of the axis.

    Examples
    --------
    >>> energy = np.linspace(-1, 1, 201)
    >>> flat = xr.DataArray(np.ones(201), coords={"eV": energy}, dims="eV")
    >>> edge = as_measured(flat, temperature=20, resolution=0.01)
    >>> round(float(edge.sel(eV=0.0, method="nearest")), 3)
    0.5
    """
    from scipy.special import expit

    if (beta is None) == (temperature is None):
        raise ParameterError(
            f"expected one of beta=... (in the inverse unit of the energy axis) and "
            f"temperature=... (in K), got {'neither' if beta is None else 'both'}"
        )
    name = "temperature" if beta is None else "beta"
    given = _number(name, temperature if beta is None else beta)
    resolution = _number("resolution", resolution)
    if not given > 0 or not resolution >= 0:
        raise ParameterError(
            f"{name} must be positive and resolution not negative, got {name}={given:g} and "
            f"resolution={resolution:g}"
        )
    if not isinstance(spectral_function, xr.DataArray):
        raise DataTypeError(
            f"expected a DataArray, got {type(spectral_function).__name__}; pass a variable of a "
            f"Dataset, for example result.spectral_function"
        )
    bare, restore_unit = strip_unit(spectral_function)
    check_array(bare)
    (dim,) = resolve_dims(bare, ("energy",), None if dims is None else [dims])
    energy = energies_along(bare, dim)
    inverse = given if beta is not None else electron_volts(bare[dim]) / (BOLTZMANN * given)
    dtype = result_dtype(bare.dtype)
    wide = np.promote_types(dtype, np.float32)
    occupied = xr.DataArray(expit(-inverse * energy).astype(wide), dims=[dim])
    seen = (bare.astype(wide) * occupied).rename(bare.name)
    if resolution > 0:
        step = _even_step(energy, dim)
        if resolution < step:
            warn(
                f"as_measured: resolution={resolution:g} is below the step {step:.3g} of {dim!r}, "
                f"so hardly anything is broadened; interpolate first, for example with .interp",
                UserWarning,
            )
        seen = xr.apply_ufunc(
            _broadened,
            seen if seen.chunks is None else seen.chunk({dim: -1}),
            kwargs={"sigma": resolution / FWHM / step},
            input_core_dims=[[dim]],
            output_core_dims=[[dim]],
            dask="parallelized",
            output_dtypes=[wide],
        )
    return restore_unit(seen.astype(dtype, copy=False).transpose(*bare.dims)).assign_attrs(
        spectral_function.attrs
    )


def _number(name: str, value: Any) -> float:
    """The number in ``value``, which may be an array without dimensions, such as a coordinate."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ParameterError(f"{name} must be a number, got {value!r}") from None


def _even_step(energy: NDArray[np.float64], dim: Hashable) -> float:
    step = even_step(energy)
    if step is None:
        raise AxisError(
            f"broadening needs an evenly spaced axis of several points, and {dim!r} is not one; "
            f"interpolate first, for example with .interp"
        )
    return abs(step)


def _broadened(values: NDArray[np.floating], sigma: float) -> NDArray[np.floating]:
    """Broaden along the last axis by a Gaussian of ``sigma`` points; the ends are repeated."""
    from scipy.ndimage import gaussian_filter1d

    missing = np.isnan(values)
    if not missing.any():
        return gaussian_filter1d(values, sigma, mode="nearest")
    weight = gaussian_filter1d((~missing).astype(values.dtype), sigma, mode="nearest")
    total = gaussian_filter1d(np.where(missing, 0, values), sigma, mode="nearest")
    return np.where(missing, np.nan, total / np.where(missing, 1, weight))
