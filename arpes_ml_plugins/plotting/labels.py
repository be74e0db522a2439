"""Labels, titles, ticks and aspect ratios of axes."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr

from arpes_ml_plugins.labelled.axes import plain_name, plays

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "LONGEST_TITLE",
    "aspect_of",
    "axis_label",
    "curve_title",
    "derivative_label",
    "drawn_dims",
    "has_energy",
    "readable_ticks",
    "status_title",
    "upright",
]

LONGEST_TITLE = 80  # characters per line
MOST_LINES = 3
PAGE, SMALLEST_TEXT = 10.0, 10.0  # width of a page in inches, and of text on it in points
MOST_STRETCHED = 5  # longest ratio of two axes that are drawn with equal scales
MOST_STEPS = 5  # intervals between ticks
MOMENTA = frozenset({"kx", "ky", "kz", "kp"})

UNITS = {"eV": "eV", "kp": "1/Å", "kx": "1/Å", "ky": "1/Å", "kz": "1/Å"} | dict.fromkeys(
    ("phi", "theta", "psi", "chi"), "rad"
)
SYMBOLS = {"eV": "energy", "omega": "ω", "tau": "τ"}


def axis_label(axis: xr.DataArray) -> str:
    """Name and unit of a coordinate."""
    unit, name = _unit(axis), _name(axis.name)
    return f"{name} ({unit})" if unit else name


def curve_title(image: xr.DataArray, fixed: int, value: float) -> str:
    """Title of the curve through ``image`` at ``value`` on the axis ``fixed``.

    Examples
    --------
    >>> image = xr.DataArray([[1.0, 2.0]], {"kx": [0.1], "ky": [0.0, 0.1]}, ("kx", "ky"))
    >>> curve_title(image, 0, 0.1)
    'Along ky at kx = 0.1 1/Å'
    """
    axis = image.coords[image.dims[fixed]]
    kind = ("MDC", "EDC")[fixed] if has_energy(image) else f"Along {_name(image.dims[1 - fixed])}"
    number = f"{value:.3g}".replace("-", "−")
    return f"{kind} at {_name(axis.name)} = {number} {_unit(axis)}".rstrip()


def derivative_label(image: xr.DataArray) -> str:
    """Label of the negative second derivative along energy, or of both axes if there is none."""
    return "−d²I/dE²" if has_energy(image) else "−∇²I"


def upright(dims: tuple[Hashable, Hashable]) -> tuple[Hashable, Hashable]:
    """The vertical and the horizontal of two axes: x is horizontal, and y and energy vertical.

    Axes of other names stay as they are, the first one vertical.

    Examples
    --------
    >>> upright(("x", "y")), upright(("kx", "ky")), upright(("phi", "eV"))
    (('y', 'x'), ('ky', 'kx'), ('eV', 'phi'))
    """
    first, second = dims
    return (second, first) if _height(first) > _height(second) else dims


def drawn_dims(image: xr.DataArray) -> tuple[Hashable, Hashable]:
    """The vertical and the horizontal axis of an image, energy by momentum or without energy."""
    rows, columns = image.dims
    return (rows, columns) if has_energy(image) else upright((rows, columns))


def _height(dim: Hashable) -> int:
    """Order of the axes from top (0), where they are vertical, to bottom."""
    if plays(dim, "energy"):
        return 0
    plain = plain_name(dim)
    letter = plain.removeprefix("k") if len(plain) == 2 else plain
    return {"z": 1, "y": 2, "x2": 2, "spatial1": 2, "x": 4, "x1": 4, "spatial0": 4}.get(
        letter.lower(), 3
    )


def status_title(figure: Figure, text: str) -> None:
    """Write sentences above a figure, in letters that are legible where it is scaled down.

    Long ones end with "..." at the end of a clause: the result holds all of them.
    """
    import textwrap

    size = SMALLEST_TEXT * max(1.0, figure.get_figwidth() / PAGE)
    shown = _shortened(text.replace("chi^2", "χ²"), MOST_LINES * LONGEST_TITLE)
    figure.suptitle(textwrap.fill(shown, LONGEST_TITLE), fontsize=size)


def _shortened(text: str, most: int) -> str:
    """The beginning, of at most ``most`` characters, up to the end of a clause, or of a word."""
    if len(text) <= most:
        return text
    for mark in ("; ", ". ", ": ", ", ", " "):
        place = text.rfind(mark, most // 3, most - 4)
        if place > 0:
            return f"{text[:place]}\N{NO-BREAK SPACE}..."
    return f"{text[: most - 4]}..."


def has_energy(image: xr.DataArray) -> bool:
    """Whether the first axis is an energy; maps at constant energy or in space have none."""
    return not any(plays(image.dims[0], role) for role in ("momentum", "space"))


def aspect_of(image: xr.DataArray) -> Literal["equal", "auto"]:
    """``"equal"`` if both axes are lengths, or both momenta, of similar range."""
    lengths = all(plays(dim, "space") for dim in image.dims)
    momenta = MOMENTA.issuperset(map(plain_name, image.dims))
    axes = [image.coords[dim] for dim in image.dims if dim in image.coords]
    if len(axes) != 2 or not (lengths or momenta):
        return "auto"
    if any(axis.dtype.kind not in "iuf" for axis in axes):
        return "auto"
    spans = [float(np.ptp(axis.values)) for axis in axes]
    return "equal" if 0 < max(spans) < MOST_STRETCHED * min(spans) else "auto"


def readable_ticks(axes: Axes) -> None:
    """Set at most six ticks with complete numbers, without an offset; axes of dates stay.

    Of axes with equal scales the shorter one gets fewer, so call this after drawing the data.
    """
    from matplotlib.ticker import MaxNLocator, ScalarFormatter

    spans = [abs(np.ptp(limits)) for limits in (axes.get_xlim(), axes.get_ylim())]
    for axis, span in zip((axes.xaxis, axes.yaxis), spans, strict=True):
        formatter = axis.get_major_formatter()
        if isinstance(formatter, ScalarFormatter):
            share = 1.0 if axes.get_aspect() == "auto" else span / max(spans)
            steps = max(2, round(MOST_STEPS * share))
            axis.set_major_locator(MaxNLocator(steps, steps=[1, 2, 2.5, 5, 10]))
            formatter.set_useOffset(False)


def _name(dim: Hashable) -> str:
    return SYMBOLS.get(str(dim), str(dim))


def _unit(axis: xr.DataArray) -> str:
    return str(axis.attrs.get("units", UNITS.get(str(axis.name), "")))
