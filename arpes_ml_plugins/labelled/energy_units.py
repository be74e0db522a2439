"""Read units of energies and of imaginary times from attributes, as text or by pint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import xarray as xr

from arpes_ml_plugins.constants import BOLTZMANN, HBAR

__all__ = ["EnergyUnit", "electron_volts", "energy_unit", "time_unit", "unit_text"]

ENERGIES = {
    "eV": (1.0, ("ev", "electron_volt", "electronvolt", "electron volt")),
    "meV": (1e-3, ("mev", "millielectron_volt", "millielectronvolt")),
    "Ha": (27.211386245981, ("ha", "hartree", "e_h", "eh")),
    "Ry": (13.605693122990, ("ry", "rydberg")),
    "K": (BOLTZMANN, ("k", "kelvin")),
}
"""Name to value in eV (CODATA 2018), and spellings in small letters."""
TIMES = {
    "s": (1e15, ("s", "second")),
    "ps": (1e3, ("ps", "picosecond")),
    "fs": (1.0, ("fs", "femtosecond")),
    "as": (1e-3, ("as", "attosecond")),
}
"""Name to value in fs, and spellings."""


@dataclass(frozen=True)
class EnergyUnit:
    """Unit of real frequencies."""

    name: str
    electron_volts: float | None
    """How many eV it is; None for units of a model, such as a hopping."""


def unit_text(coordinate: xr.DataArray) -> str:
    """The unit of a coordinate as text: of pint, or its attribute; empty without one."""
    own: Any = getattr(coordinate.variable._data, "units", None)
    if own is not None:
        return str(own)
    return str(coordinate.attrs.get("units", coordinate.attrs.get("unit", "")))


def energy_unit(text: str) -> EnergyUnit | None:
    """The energy that a text stands for; None if it is none that is known.

    Examples
    --------
    >>> energy_unit("meV").electron_volts, energy_unit("1/eV")
    (0.001, None)
    """
    found = _look_up(text, ENERGIES)
    return None if found is None else EnergyUnit(found, ENERGIES[found][0])


def time_unit(text: str) -> EnergyUnit | None:
    """The energy of which a text is the inverse: 1/meV, hbar/eV, 1/t, fs; None for other texts.

    Examples
    --------
    >>> time_unit("1 / millielectron_volt").name, time_unit("eV^-1").name, time_unit("1/t").name
    ('meV', 'eV', 't')
    >>> round(time_unit("fs").electron_volts, 4)
    0.6582
    """
    span = _look_up(text, TIMES)
    if span is not None:
        return EnergyUnit(f"hbar/{span}", HBAR / TIMES[span][0])
    plain = text.strip().replace("⁻¹", "^-1").replace(" ", "")
    forms = (
        r"(?:1|hbar|ħ)/\(?(.+?)\)?",
        r"(.+?)(?:\^|\*\*)?(?:-1|\{-1\}|\(-1\))(?:\*?(?:hbar|ħ))?",
    )
    for form in forms:
        match = re.fullmatch(form, plain)
        if match:
            return energy_unit(match[1]) or EnergyUnit(match[1], None)
    return None


def electron_volts(axis: xr.DataArray) -> float:
    """The unit of an energy axis in eV: that of its attribute, otherwise 1."""
    text = unit_text(axis)
    found = energy_unit(text) or (time_unit(text[5:]) if text.startswith("hbar/") else None)
    if found is None or found.electron_volts is None:
        return 1.0
    return found.electron_volts


def _look_up(text: str, table: Mapping[str, tuple[float, tuple[str, ...]]]) -> str | None:
    plain = text.strip()
    if plain == "MeV":  # not meV
        return None
    for name, (_, spellings) in table.items():
        if plain == name or plain.lower().rstrip("s" if len(plain) > 3 else "") in spellings:
            return name
    return None
