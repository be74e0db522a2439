"""Check families of spectra, draw them from models, and vary them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arpes_ml_plugins.constants import FWHM
from arpes_ml_plugins.errors import AxisError, DataError, DataTypeError, ParameterError
from arpes_ml_plugins.labelled.axes import resolve_dims
from arpes_ml_plugins.labelled.energy_units import unit_text

__all__ = [
    "SAMPLE",
    "Range",
    "checked_family",
    "drawn_spectrum",
    "family_of",
    "leaky",
    "same_axes",
    "varied",
]

SAMPLE = "sample"
ROUNDING = 1e-14  # of the length of a spectrum of length 1
TRIES = 50  # draws of a model before its parameter ranges are refused

Range = tuple[float, float]


def checked_family(
    name: str, family: xr.DataArray, channels: Sequence[str] | None = None
) -> xr.DataArray:
    """``(sample, energy, *channels)``, finite, each spectrum of length 1.

    Without ``channels`` all dimensions beside ``sample`` belong to the spectra; if there is no
    ``sample``, energy alone does.
    """
    if not isinstance(family, xr.DataArray):
        raise DataTypeError(
            f"component {name!r}: expected an xarray.DataArray, got {type(family).__name__}; give "
            f"it the energies of its values: xarray.DataArray(values, {{'eV': energies}}, 'eV')"
        )
    if family.dtype.kind not in "iuf":
        raise DataTypeError(f"component {name!r}: expected real numbers, got {family.dtype}")
    for needed in channels or ():
        if needed not in family.dims:
            raise AxisError(
                f"component {name!r} has no dimension {needed!r}, which channels= names; it has "
                f"{', '.join(map(str, family.dims))}"
            )
    beside = [d for d in family.dims if d != SAMPLE and d not in (channels or ())]
    if family.ndim == 2 and len(beside) == 1:
        (dim,) = beside  # a family, whatever its axis is called
    else:
        (dim,) = resolve_dims(family, ("energy",))
    if channels is None:
        inner = [d for d in beside if d != dim] if SAMPLE in family.dims else []
    else:
        inner = list(channels)
    if dim not in family.coords:
        raise AxisError(f"component {name!r}: the axis {dim!r} has no coordinate")
    others = [d for d in family.dims if d != dim and d not in inner]
    if not others:
        family = family.expand_dims(SAMPLE)
    elif others != [SAMPLE]:
        family = family.stack({SAMPLE: others}, create_index=False)
    plain = family.transpose(SAMPLE, dim, *inner).astype(np.float64)
    values = plain.values
    if values.size == 0 or not np.isfinite(values).all():
        raise DataError(f"component {name!r}: spectra must be finite and not empty")
    if not values.reshape(len(values), -1).any(1).all():
        raise DataError(f"component {name!r}: a spectrum is zero; leave it out")
    return family_of(values, plain[dim], *(plain[d] for d in inner))


def family_of(values: NDArray[np.floating], *axes: xr.DataArray) -> xr.DataArray:
    """Spectra ``(sample, *axes)`` of length 1, with coordinates and units of their axes."""
    length = np.sqrt((values**2).sum(tuple(range(1, values.ndim)), keepdims=True))
    # Spectra that have length 1 already stay as they are, to the last bit.
    unit = values / np.where(np.abs(length - 1) < ROUNDING, 1.0, length)
    coords = {a.name: (a.name, a.values, _unit(a)) for a in axes if a.name in a.coords}
    return xr.DataArray(unit, dims=(SAMPLE, *(axis.name for axis in axes)), coords=coords)


def _unit(axis: xr.DataArray) -> dict[str, str]:
    return {"units": unit_text(axis)} if unit_text(axis) else {}


def same_axes(one: xr.DataArray, other: xr.DataArray) -> bool:
    """Whether two families have the same axes."""
    if one.dims != other.dims or one.shape[1:] != other.shape[1:]:
        return False
    return all(
        (dim in one.coords) == (dim in other.coords)
        and np.array_equal(one[dim].values, other[dim].values)
        for dim in one.dims[1:]
    )


def leaky(
    spectra: NDArray[np.floating],
    error: NDArray[np.floating] | float,
    leak: float,
    count: int,
    draw: np.random.Generator,
) -> NDArray[np.floating]:
    """Families ``(n, count, m)`` around spectra ``(n, m)`` of length 1, with shares of the others.

    Spectra without negative values stay so.
    """
    n, m = spectra.shape
    shares = draw.uniform(-leak, leak, (n, count, n))
    shares[np.arange(n), :, np.arange(n)] = 1
    spread = np.broadcast_to(error, spectra.shape)[:, None]
    varied = shares @ spectra + spread * draw.normal(size=(n, count, m))
    return varied.clip(min=0) if (spectra >= 0).all() else varied


def drawn_spectrum(
    name: str,
    model: Any,
    ranges: Mapping[str, float | Range],
    variable: Mapping[str, NDArray[np.floating]],
    draw: np.random.Generator,
) -> NDArray[np.floating]:
    """A finite spectrum of a model whose parameters are drawn between the ends of their ranges."""
    for _ in range(TRIES):
        parameters = model.make_params()
        for key, parameter in parameters.items():
            if key in ranges:
                given = ranges[key]
                value = float(draw.uniform(*given)) if np.ndim(given) else float(given)  # type: ignore[misc, arg-type]
                parameter.set(value=value)
            elif parameter.expr is None and np.isfinite([parameter.min, parameter.max]).all():
                parameter.set(value=float(draw.uniform(parameter.min, parameter.max)))
            elif parameter.expr is None and not np.isfinite(parameter.value):
                raise ParameterError(
                    f"component {name!r}: parameter {key!r} needs a number or a range "
                    f"(lowest, highest); the model has no default for it"
                )
        spectrum = np.asarray(model.eval(parameters, **variable), dtype=np.float64)
        if np.isfinite(spectrum).all() and np.ptp(spectrum) > 0:
            return spectrum
    raise ParameterError(
        f"component {name!r}: the model gives no finite, changing spectrum on this energy axis "
        f"with these ranges; check that peaks lie within it"
    )


def varied(
    spectrum: NDArray[np.floating],
    step: float,
    shift: float,
    broaden: float,
    strength: float,
    draw: np.random.Generator,
) -> NDArray[np.floating]:
    """A spectrum, energy first, shifted, broadened and tilted at random along energy; the ends are
    repeated beyond the axis.

    It is moved by cubic splines: linear ones would broaden lines, by 4 % of their height if they
    are four channels wide. Splines swing beside sharp steps, but not below the spectrum. The kernel
    is the discrete analogue of a Gaussian (Lindeberg, IEEE Trans. Pattern Anal. Mach. Intell. 12,
    234 (1990)), which has the variance that it should have even if that is below a channel.
    """
    from scipy.ndimage import convolve1d
    from scipy.ndimage import shift as shifted
    from scipy.special import ive

    beside = spectrum.ndim - 1
    by = (draw.uniform(-shift, shift) / step, *[0.0] * beside)
    moved = np.maximum(shifted(spectrum, by, order=3, mode="nearest"), spectrum.min())
    variance = (draw.uniform(0, broaden) / FWHM / step) ** 2
    reach = 4 + int(5 * variance**0.5)
    kernel = ive(np.arange(-reach, reach + 1), variance)
    smooth = convolve1d(moved, kernel / kernel.sum(), axis=0, mode="nearest")
    ramp = np.linspace(-1, 1, len(spectrum)).reshape(-1, *[1] * beside)
    lift, tilt = draw.uniform(-strength, strength, 2)
    result: NDArray[np.floating] = smooth + np.ptp(smooth) * (max(lift, 0) + tilt * ramp / 2)
    return result
