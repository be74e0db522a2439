"""Arrays of any kind: counts and other values, gaps, small sizes, axes that fall or repeat."""

from __future__ import annotations

import numpy as np
import xarray as xr
from hypothesis import strategies as st

__all__ = ["any_array", "any_axis", "greens_functions"]

KINDS = ("counts", "scaled", "normal", "zero", "constant", "negative", "coarse", "binary", "ramp")
GAPS = ("none", "none", "scattered", "column", "most", "all", "hot", "infinite")
TYPES = ("float64", "float32", "float16", "int32", "uint16", ">f8")
AXES = ("even", "even", "falling", "uneven", "none", "repeated", "nan", "text", "whole", "dates")


def any_values(
    kind: str, shape: tuple[int, ...], exponent: float, random: np.random.Generator
) -> np.ndarray:
    """Values of one kind; a peak along the last axis whose height is ``10**exponent``."""
    grid = np.linspace(-1, 1, shape[-1])
    peak = np.exp(-(((grid - random.uniform(-1, 1)) / random.uniform(0.02, 1)) ** 2))
    rate = 10.0**exponent * (0.2 + peak) * random.uniform(0.5, 2, (*shape[:-1], 1))
    return {
        "counts": lambda: random.poisson(rate),
        "scaled": lambda: 10.0 ** random.uniform(-8, 8) * random.poisson(rate),
        "normal": lambda: rate + random.normal(size=shape),
        "zero": lambda: np.zeros(shape),
        "constant": lambda: np.full(shape, random.choice([1.0, -2.5, 1e5])),
        "negative": lambda: -random.poisson(rate).astype(float),
        "coarse": lambda: 3.0 * random.poisson(rate / 3),
        "binary": lambda: random.random(shape) < 0.1,
        "ramp": lambda: np.broadcast_to(grid, shape).copy(),
    }[kind]()


def with_gaps(values: np.ndarray, gaps: str, random: np.random.Generator) -> np.ndarray:
    if gaps == "none" or not values.size:
        return values
    values, chance = values.astype(float), random.random(values.shape)
    if gaps == "column":
        values[..., random.integers(values.shape[-1])] = np.nan
    elif gaps == "hot":
        values[chance < 0.02] = random.choice([1e6, -1e6, 65535])
    elif gaps == "infinite":
        values[chance < 0.02] = np.inf
    else:
        values[chance < {"scattered": 0.1, "most": 0.95, "all": 2}[gaps]] = np.nan
    return values


def any_axis(kind: str, size: int, random: np.random.Generator) -> np.ndarray:
    """Values of a coordinate."""
    even = np.linspace(-1, 0.2, size)
    if kind == "uneven":
        return np.sort(random.normal(size=size))
    if kind in ("repeated", "nan") and size > 1:
        even[1] = even[0] if kind == "repeated" else np.nan
    return {
        "falling": even[::-1],
        "text": np.array([f"a{i}" for i in range(size)]),
        "whole": np.arange(size),
        "dates": np.arange(size).astype("M8[s]").astype("M8[ns]"),
    }.get(kind, even)


@st.composite
def any_array(draw: st.DrawFn, dims: tuple[tuple[str, ...], ...]) -> xr.DataArray:
    """An array with one of the given sets of dimensions, lazy sometimes."""
    names = draw(st.sampled_from(dims))
    size = st.sampled_from([16, 20, 12, 8, 24, 3, 2, 1, 0])
    shape = tuple(draw(st.integers(1, 3)) if n == "temperature" else draw(size) for n in names)
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    values = any_values(draw(st.sampled_from(KINDS)), shape, draw(st.floats(-2, 4)), random)
    values = with_gaps(values, draw(st.sampled_from(GAPS)), random)
    dtype = np.dtype(draw(st.sampled_from(TYPES)))
    if dtype.kind == "f" or (np.isfinite(values).all() and (values >= 0).all()):
        with np.errstate(over="ignore"):
            values = np.minimum(values, 6e4).astype(dtype) if dtype.itemsize < 8 else values
    data = xr.DataArray(values, dims=names, attrs={"note": "kept", "nothing": None})
    for name, length in zip(names, shape, strict=True):
        kind = draw(st.sampled_from(AXES))
        if kind != "none":
            data = data.assign_coords({name: (name, any_axis(kind, length, random))})
    return data.chunk({names[0]: 1}) if data.size and draw(st.booleans()) else data


@st.composite
def greens_functions(draw: st.DrawFn, beta: float) -> xr.DataArray:
    """Green's functions of one peak with any sign, size and noise, sometimes with gaps."""
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    tau = np.linspace(0, beta, draw(st.sampled_from([41, 12, 5, 2, 1])))
    energy = np.linspace(-3, 3, 201)
    width = draw(st.floats(0.02, 1))
    spectrum = np.exp(-(((energy - draw(st.floats(-3, 3))) / width) ** 2))
    exact = np.exp(-tau[:, None] * energy - np.logaddexp(0, -beta * energy)) @ spectrum
    noise = 10.0 ** draw(st.floats(-12, -1)) * random.normal(size=(2, len(tau)))
    values = draw(st.sampled_from([1, -1, 0.5, 2, 1e-30, 0])) * (exact / spectrum.sum() + noise)
    values[random.random(values.shape) < draw(st.sampled_from([0, 0, 0.2, 1.1]))] = np.nan
    kind = draw(st.sampled_from(AXES + ("even",) * 10))
    axis = tau if kind in ("even", "none") else any_axis(kind, len(tau), random)
    return xr.DataArray(values, {"tau": axis}, ("k", "tau"), attrs={"note": "kept"})
