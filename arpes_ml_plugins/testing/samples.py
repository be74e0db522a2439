"""Small labelled data for tests: real coordinates, attributes of every kind, a batch."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

__all__ = ["ROLE_AXES", "sample_cut"]

ROLE_AXES = {
    "energy": ("eV", -0.4, 0.1, 20),
    "momentum": ("phi", 0.2, 0.6, 18),
    "time": ("delay", -1.0, 3.0, 6),
    "space": ("x", 0.0, 5.0, 16),
    "tau": ("tau", 0.0, 10.0, 24),
}
"""Dimension for each axis role as PyARPES names it: name, first, last, length."""


def sample_cut(
    roles: tuple[str, ...] = ("energy", "momentum"), batch: int = 0, seed: int = 0
) -> xr.DataArray:
    """Poisson counts of a parabolic band (or of a smooth hump, for other axes).

    Along an axis of space, if it is not the first role, two lines are mixed, each with its own map.
    The axes are in the reverse order of ``roles``, as in PyARPES's ``cut``; with ``batch`` a
    non-uniform ``temperature`` axis comes first.
    """
    axes = {name: np.linspace(lo, hi, n) for name, lo, hi, n in (ROLE_AXES[r] for r in roles[::-1])}
    grids = np.meshgrid(*(np.linspace(-1, 1, len(v)) for v in axes.values()), indexing="ij")
    last, others = grids[-1], grids[:-1]
    if "space" in roles[1:]:
        share = (1 + others[-1]) / 2
        humps = share * _hump(last + 0.4) + (1 - share) * _hump(last - 0.4)
    else:
        humps = _hump(last - 0.5 + sum((g**2 for g in others), np.zeros_like(last)))
    rate = 2 + 30 * humps
    coords: dict[str, object] = {name: (name, values) for name, values in axes.items()}
    dims = list(axes)
    if batch:
        rate = rate * np.linspace(1, 2, batch).reshape(-1, *[1] * rate.ndim)
        coords["temperature"] = ("temperature", np.geomspace(10.0, 80.0, batch))
        dims = ["temperature", *dims]
    counts = np.random.default_rng(seed).poisson(rate)
    coords["hv"] = 5.93
    coords["sample"] = "FeSe"
    coords["channel"] = (dims[-1], np.arange(counts.shape[-1]))
    cut = xr.DataArray(
        counts,
        dims=dims,
        coords=coords,
        name="spectrum",
        attrs={"location": "ALG-MC", "mcp_voltage": None, "pass_energy": 5, "tags": ["a", "b"]},
    )
    cut[dims[-1]].attrs["long_name"] = "the last axis"
    return cut


def _hump(off: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.exp(-((off / 0.25) ** 2))
