"""Compute the inelastic backgrounds of photoelectron spectra.

Electrons that have lost energy arrive at lower kinetic energy. The background of a spectrum ``F``
is linear in it: ``B(E) = int_E K(E' - E) F(E') dE'``, where ``K`` is 1 for Shirley's background and
``T / (C + T^2)^2`` for Tougaard's.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arpes_ml_plugins.errors import ParameterError
from arpes_ml_plugins.labelled.axes import is_binding
from arpes_ml_plugins.labelled.energy_units import electron_volts

__all__ = ["BACKGROUNDS", "LOSSES", "lost", "polynomials"]

UNIVERSAL = 1643.0  # eV^2: C of Tougaard's universal cross section
LOSSES = ("shirley", "tougaard")
BACKGROUNDS = ("constant", "polynomial", *LOSSES)


def lost(
    kind: str, spectra: NDArray[np.floating], energy: xr.DataArray, binding: bool | None = None
) -> NDArray[np.floating]:
    """Compute backgrounds of ``spectra (samples, energy, ...)``, with a largest value of 1.

    Parameters
    ----------
    kind
        ``"shirley"``: the area of the spectrum at higher kinetic energy [1]_ [2]_.
        ``"tougaard"``: single losses with the universal cross section, C = 1643 eV² [3]_. Its
        parameter B only sets the height, which is normalised here.
    energy
        Energy axis, in eV or in the unit that its attribute ``units`` names.
    binding
        Whether kinetic energy decreases along the axis. Default: according to its name.

    References
    ----------
    .. [1] Shirley, Phys. Rev. B 5, 4709 (1972).
    .. [2] Proctor and Sherwood, Anal. Chem. 54, 13 (1982).
    .. [3] Tougaard, Surf. Interface Anal. 11, 453 (1988).

    Examples
    --------
    >>> energy = xr.DataArray(np.arange(5.0), dims="eV", name="eV")
    >>> lost("shirley", np.array([[0.0, 0, 1, 0, 0]]), energy)
    array([[1. , 1. , 0.5, 0. , 0. ]])
    """
    values = energy.values.astype(np.float64)
    falls = is_binding(str(energy.name)) if binding is None else binding
    kinetic = -values if falls else values
    loss = kinetic - kinetic[:, None]  # (arriving, leaving)
    if kind == "shirley":
        kernel = (np.sign(loss) + 1) / 2
    else:
        loss *= electron_volts(energy)
        kernel = np.where(loss > 0, loss / (UNIVERSAL + loss**2) ** 2, 0.0)
    width = np.abs(np.gradient(values))
    result = np.moveaxis(np.tensordot(kernel * width, spectra, (1, 1)), 1, 0)
    top = np.abs(result).max(tuple(range(1, result.ndim)), keepdims=True)
    return result / np.where(top == 0, 1.0, top)


def polynomials(
    degree: int, energy: NDArray[np.floating], count: int, draw: np.random.Generator
) -> NDArray[np.floating]:
    """Draw nonnegative polynomials ``(count, energy)``: mixtures of Bernstein polynomials.

    The Bernstein polynomials themselves come first.

    Examples
    --------
    >>> polynomials(1, np.arange(3.0), 2, np.random.default_rng(0))
    array([[1. , 0.5, 0. ],
           [0. , 0.5, 1. ]])
    """
    from scipy.special import comb

    if count <= degree:
        raise ParameterError(f"count must be larger than degree={degree}, got {count}")
    x, k = (energy - energy.min()) / np.ptp(energy), np.arange(degree + 1)[:, None]
    basis = comb(degree, k) * x**k * (1 - x) ** (degree - k)
    mixed = draw.dirichlet(np.ones(degree + 1), count - degree - 1) @ basis
    return np.concatenate([basis, mixed])
