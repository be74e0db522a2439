"""Large images: everything that all pixels have in common from a sample, then maps in pieces."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import xarray as xr

from arpes_ml_plugins.labelled.apply import Cube, Trace, map_mixture
from arpes_ml_plugins.labelled.outputs import Image, Output, Part
from arpes_ml_plugins.labelled.pixels import map_pixels, rows_of
from arpes_ml_plugins.labelled.progress import ProgressOption, stages
from arpes_ml_plugins.labelled.tiles import is_large, sampled
from arpes_ml_plugins.methods.separation_input import Setup
from arpes_ml_plugins.methods.shift_run import hint, searched

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.separation.energy_shift import Shifts
    from arpes_ml_plugins.separation.value_noise import ValueNoise

__all__ = [
    "FIT",
    "in_pieces",
    "may_be_mapped_in_pieces",
    "one_above_another",
    "shifted_tiles",
    "sticking_out",
    "without_hot",
]

FIT = "fit"
"""Output of a method for its sample: what :func:`map_pixels` passes on to all pixels."""
OF_PIXELS = ("maps", "data", "space")
"""Kinds of outputs that a sample does not give for all pixels."""

Results = Mapping[str, Any]


def may_be_mapped_in_pieces(setup: Setup) -> bool:
    """Whether there are many pixels, which are not to be shifted in any case, and whose noise is
    not given value by value.
    """
    if setup.each_noise is not None:
        return False
    return is_large(setup.data, setup.channels) and setup.shift in (None, False, "auto")


def in_pieces(
    setup: Setup,
    prepare: Callable[[Cube, Setup], Results],
    algorithm: Callable[[Cube, Any], Results],
    outputs: Mapping[str, str],
    *,
    method: str,
    steps: int,
    device: str,
    progress: ProgressOption,
) -> tuple[xr.Dataset, xr.DataArray]:
    """The result in ``outputs`` (names to kinds of :func:`map_mixture`), and the fit; lazy if the
    data are.

    Parameters
    ----------
    prepare
        Function from the sample to the outputs that all pixels have in common, and the fit.
    algorithm
        Function from a band of pixels and the fit to the other outputs.
    """
    sample = sampled(setup.data, setup.channels, setup.used)
    setup_of_sample = replace(setup, data=sample, used=None)
    common = {name: kind for name, kind in outputs.items() if kind not in OF_PIXELS}
    common[FIT] = "object"
    rows = rows_of(setup.data, setup.channels)
    with stages(progress, method, steps + rows) as stage:
        found = map_mixture(
            sample,
            setup.channels,
            partial(_only, tuple(common), prepare, setup_of_sample),
            common,
            components=setup.components,
            method=method,
            device=device,
            steps=steps,
            progress=stage,
        )
        fit = found[FIT]
        pixels = map_pixels(
            setup.data,
            setup.channels,
            algorithm,
            fit.drop_vars(fit.coords),
            _outputs_of_pixels(setup, outputs, found.coords["component"]),
            method=method,
            device=device,
            used=setup.used,
            progress=stage if setup.data.chunks is None else False,
        )
    each = {name: pixels[name] if name in pixels else found[name] for name in outputs}
    return xr.Dataset(each), fit


def one_above_another(cube: Cube) -> Cube:
    """Tiles ``(m, tile, row, column)`` as one image: tiles are no neighbours."""
    return replace(cube, values=cube.values.flatten(1, 2), valid=cube.valid.flatten(1, 2))


def shifted_tiles(
    image: Cube, setup: Setup, noise: ValueNoise | None, *, lazy: bool
) -> tuple[str | None, Shifts | None]:
    """Status if the sample, as one image, shows that energies shift, otherwise None; and what was
    found in it.
    """
    blind, complete = setup.known == 0, setup.known == len(setup.components)
    if setup.shift is None or not (blind or (complete and setup.shift == "auto")):
        return None, None
    found = searched(image, setup, noise)
    told = hint(found)
    if told is None or not (lazy and setup.shift == "auto"):
        return told, found
    return (
        "the fit improves if energies may shift from pixel to pixel, which is not corrected in "
        "lazy data of this size: either components are missing, or charging looks like chemistry; "
        "to correct shifts, load the data beforehand: data.load()"
    ), found


def sticking_out(
    cube: Cube, noise: torch.Tensor, by_value: ValueNoise | None
) -> torch.Tensor | None:
    """Values ``(m, *space)`` that stick out of image and spectrum, however many; None if none do.

    It may look at the next pixels only, so that it does not depend on pieces.
    """
    import torch

    from arpes_ml_plugins.methods.gaps_run import FEW
    from arpes_ml_plugins.separation.gaps import HOT, hot_values

    noise = torch.where(noise > 0, noise, float("inf"))
    if by_value is not None:
        noise = noise.clamp(min=FEW * by_value.gain / HOT)
    if not _may_be_hot(cube.values, noise):
        return None
    hot = hot_values(cube.values, cube.valid, noise, most=1.0)
    return hot if bool(hot.any()) else None


def without_hot(cube: Cube, noise: torch.Tensor, by_value: ValueNoise | None) -> Cube:
    """A band of pixels in which hot values count as missing."""
    hot = sticking_out(cube, noise, by_value)
    if hot is None:
        return cube
    return replace(cube, values=cube.values.masked_fill(hot, 0), valid=cube.valid & ~hot)


def _may_be_hot(values: torch.Tensor, noise: torch.Tensor) -> bool:
    """Whether any value sticks out of the channels beside it; medians of all would take long.

    The median of five channels is not below both of those beside the middle one.
    """
    import torch

    from arpes_ml_plugins.separation.gaps import HOT, TIMES

    if len(values) < 5:
        return False
    above = HOT * noise.reshape(-1, *[1] * (values.ndim - 1))
    before, after = torch.cat([values[1:2], values[:-1]]), torch.cat([values[1:], values[-2:-1]])
    beside = torch.minimum(before, after)
    return bool(((values > beside + above) & (values > TIMES * beside.clamp(min=0))).any())


def _only(
    names: tuple[str, ...], prepare: Callable[[Cube, Setup], Results], setup: Setup, cube: Cube
) -> dict[str, Any]:
    found = prepare(cube, setup)
    return {name: found[name] for name in names}


def _outputs_of_pixels(
    setup: Setup, outputs: Mapping[str, str], components: xr.DataArray
) -> dict[str, Output]:
    space: tuple[Hashable, ...] = tuple(dim for dim in setup.data.dims if dim not in setup.channels)
    new = Trace("component", len(components), None, components.variable)
    kinds: dict[str, Output] = {"maps": Part(space, new), "data": Image(), "space": Part(space)}
    return {name: kinds[kind] for name, kind in outputs.items() if kind in OF_PIXELS}
