"""What is written at the axes."""

from __future__ import annotations

import xarray as xr

__all__ = ["axis_label"]

UNITS = {"eV": "eV", "kp": "1/Å", "kx": "1/Å", "ky": "1/Å", "kz": "1/Å"} | dict.fromkeys(
    ("phi", "theta", "psi", "chi"), "rad"
)
SYMBOLS = {"eV": "energy", "omega": "ω", "tau": "τ"}


def axis_label(axis: xr.DataArray) -> str:
    """Name and unit of a coordinate."""
    unit = axis.attrs.get("units", UNITS.get(str(axis.name), ""))
    name = SYMBOLS.get(str(axis.name), str(axis.name))
    return f"{name} ({unit})" if unit else name
