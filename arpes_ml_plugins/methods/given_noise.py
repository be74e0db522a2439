"""Check ``noise=``: one number, one per channel, or one per value."""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arpes_ml_plugins.errors import AxisError, ParameterError
from arpes_ml_plugins.labelled.axes import same_along
from arpes_ml_plugins.parameters import check_positive

__all__ = ["GivenNoise", "given_noise"]


class GivenNoise(NamedTuple):
    """Standard deviations of the data as the user gives them."""

    channels: NDArray[np.floating]
    """``(m,)``; the root mean square of each channel if every value has its own."""
    values: NDArray[np.floating] | None
    """``(m, *space)``, if every value has its own; 1 where there are no data."""


def given_noise(
    noise: float | xr.DataArray | None,
    data: xr.DataArray,
    spectrum: tuple[Hashable, ...],
    used: NDArray[np.bool_] | None,
    *,
    each_value: bool = True,
) -> GivenNoise | None:
    """Standard deviations on the axes of ``data``, all of them checked.

    Parameters
    ----------
    spectrum
        Dimensions of a spectrum; all others are space.
    used
        Pixels to use, ``(*space)``; what is given for others does not matter.
    each_value
        Whether every value may have its own.
    """
    if noise is None:
        return None
    size = int(np.prod([data.sizes[dim] for dim in spectrum]))
    if not isinstance(noise, xr.DataArray):
        if np.ndim(noise):
            raise ParameterError(
                f"noise must be a number or a DataArray, got {type(noise).__name__} of shape "
                f"{np.shape(noise)}; name its dimensions: noise=xr.DataArray(noise, dims=...)"
            )
        check_positive("noise", noise)
        return GivenNoise(np.full(size, float(noise)), None)
    space = tuple(dim for dim in data.dims if dim not in spectrum)
    of_values = set(noise.dims) == set(data.dims)
    if not of_values and set(noise.dims) != set(spectrum):
        raise AxisError(
            f"noise must be one number, one per channel along {spectrum}, or one per value along "
            f"{data.dims}; got the dimensions {noise.dims}"
        )
    if of_values and not each_value:
        raise AxisError(
            f"noise must be one number or one per channel here, got one per value; pass the root "
            f"mean square of each channel: noise=(noise**2).mean({space!r}) ** 0.5"
        )
    if noise.chunks is not None:
        raise ParameterError("noise is lazy; compute it first: noise=noise.compute()")
    if noise.dtype.kind not in "iuf":
        raise ParameterError(f"noise must hold real numbers, got {noise.dtype}")
    _check_axes(noise, data)
    if not of_values:
        channels = noise.transpose(*spectrum).values.astype(np.float64).reshape(-1)
        if not _good(channels).all():
            raise ParameterError(f"noise must be positive in each of the {size} channels")
        return GivenNoise(channels, None)
    return _of_values(noise, data, spectrum, space, used)


def _check_axes(noise: xr.DataArray, data: xr.DataArray) -> None:
    for dim in noise.dims:
        if not same_along(noise, data, dim):
            raise AxisError(
                f"noise has other coordinates along {dim!r} than the data; give it on theirs, "
                f"for example noise.interp({dim}=data.{dim})"
            )


def _of_values(
    noise: xr.DataArray,
    data: xr.DataArray,
    spectrum: tuple[Hashable, ...],
    space: tuple[Hashable, ...],
    used: NDArray[np.bool_] | None,
) -> GivenNoise:
    values = noise.transpose(*spectrum, *space).values.astype(np.float64)
    good, needed = _good(values), np.ones(values.shape, dtype=bool)
    if used is not None:
        needed &= used
    if data.chunks is None:  # values that are missing need none
        needed &= np.isfinite(data.transpose(*spectrum, *space).values)
    wrong = np.argwhere(needed & ~good)
    if len(wrong):
        first = dict(zip((*spectrum, *space), wrong[0].tolist(), strict=True))
        zero = bool((values[tuple(wrong.T)] == 0).any())
        advice = (
            "; the noise of counts that are zero in every repeat is not zero: set a lower limit, "
            "noise.clip(min=...), of the order of one count"
            if zero
            else ""
        )
        raise ParameterError(
            f"noise must be positive and finite for every value of the data, but is not for "
            f"{len(wrong)} of {needed.sum()}, the first {values[tuple(wrong[0])]:g} at {first} "
            f"(positions){advice}"
        )
    values[~good] = 1.0
    number = needed.reshape(-1, *needed.shape[len(spectrum) :]).sum(tuple(range(1, 1 + len(space))))
    squares = np.where(needed, values, 0).reshape(len(number), -1)
    channels = np.sqrt((squares**2).sum(1) / np.maximum(number, 1))
    values = values.reshape(len(number), *values.shape[len(spectrum) :])
    return GivenNoise(np.where(number > 0, channels, 1.0), values)


def _good(values: NDArray[np.floating]) -> NDArray[np.bool_]:
    return np.isfinite(values) & (values > 0)
