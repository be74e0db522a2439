"""Denoise along several axes in turn, and take the mean: each result sees other neighbours."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import xarray as xr

from arpes_ml_plugins.errors import AxisError, ParameterError
from arpes_ml_plugins.labelled.series import one_of
from arpes_ml_plugins.methods.denoising_input import SMALLEST_IMAGE, noise_of
from arpes_ml_plugins.methods.mesh_run import without_mesh
from arpes_ml_plugins.parameters import check_image

if TYPE_CHECKING:
    from arpes_ml_plugins.methods.counts_run import CountsRun

__all__ = ["mean_along_each", "several"]

Image = tuple[Hashable, Hashable]


def several(series: Hashable | Sequence[Hashable] | None) -> tuple[Hashable, ...] | None:
    """The dimensions in a sequence, which may be of one; None if ``series`` is the name of one."""
    if isinstance(series, Hashable) and not isinstance(series, tuple):
        return None
    return tuple(series)


def mean_along_each(
    run: CountsRun,
    array: xr.DataArray,
    image: Image,
    series: tuple[Hashable, ...],
    *,
    gain: float | None,
    device: str,
    repeats: Hashable | None,
    mesh: str | None,
    noise: xr.Dataset | None,
    **parameters: Any,
) -> dict[str, xr.DataArray]:
    """The mean of the results of ``run`` along each of ``series``, for images without error bars.

    An axis of the image changes places with the first of ``series`` that is none. A mesh is divided
    out before, because only images in front of the detector show it as one.
    """
    if run.draws:
        raise ParameterError(
            f"{run.method} takes one series: error bars of a mean over several are not known; "
            f"expected the name of one dimension, got series={series!r}"
        )
    turns = _turns(array, image, series, repeats)
    flat = array
    meshed: dict[str, Any] = {}
    if mesh is not None:
        noise = noise_of(array, image, device, repeats=repeats) if noise is None else noise
        flat, _, meshed = without_mesh(
            array, image, noise, mesh, gain=gain, device=device, repeats=repeats
        )
    results = [
        run(
            flat,
            dims=turned,
            series=dim,
            gain=gain,
            device=device,
            repeats=repeats,
            mesh=None,
            **parameters,
        )["clean"]
        for turned, dim in turns
    ]
    first = results[0]
    others = [result.transpose(*first.dims).data for result in results[1:]]
    mean = sum(others, first.data) / len(results)
    names = [str(dim) for dim in series]
    found = _found_in_turn(names, [result.attrs["found"] for result in results])
    found |= meshed | {"series": names}
    return {"clean": first.copy(data=mean.astype(first.dtype)).assign_attrs(found=found)}


def _turns(
    array: xr.DataArray, image: Image, series: tuple[Hashable, ...], repeats: Hashable | None
) -> list[tuple[Image, Hashable]]:
    """The images and the series of each turn."""
    possible = [dim for dim in array.dims if dim != repeats]
    scanned = [dim for dim in series if dim not in image]
    unknown = [dim for dim in series if dim not in possible]
    if unknown or len(set(series)) < len(series) or not scanned:
        batch = [dim for dim in possible if dim not in image]
        raise AxisError(
            f"series={series!r} must be different dimensions of the data, at least one of them not "
            f"an axis of the image {image!r}; {one_of(batch)}, or several of "
            f"{', '.join(map(repr, possible))}"
        )
    first = scanned[0]
    turns: list[tuple[Image, Hashable]] = []
    for dim in series:
        turned = [first if each == dim else each for each in image]
        turns.append(((turned[0], turned[1]), dim))
        check_image(array, turns[-1][0], SMALLEST_IMAGE)
    return turns


def _found_in_turn(names: list[str], found: list[dict[str, Any]]) -> dict[str, Any]:
    """What provenance records: words and numbers by series if they are not the same for all."""
    result = {}
    for name, value in found[0].items():
        each = [one.get(name) for one in found]
        if all(other == value for other in each):
            result[name] = value
        elif isinstance(value, str):
            told = zip(names, each, strict=True)
            result[name] = " ".join(f"Series along {dim}: {words}" for dim, words in told)
        else:
            result[name] = dict(zip(names, each, strict=True))
    return result
