"""Estimate the mesh in front of a detector from the data, for the methods that divide it out."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from arpes_ml_plugins.errors import CountsWarning
from arpes_ml_plugins.frames import warn
from arpes_ml_plugins.labelled.apply import Image, ImageBatch, Output, Scalar, map_images
from arpes_ml_plugins.labelled.progress import ProgressOption
from arpes_ml_plugins.methods.denoising_input import (
    MESH_DEPTH,
    PROPORTIONAL,
    noise_numbers,
    noise_of,
)
from arpes_ml_plugins.methods.scales_run import scales_of
from arpes_ml_plugins.methods.stored_network import pretrained

if TYPE_CHECKING:
    import torch

    from arpes_ml_plugins.denoising.counts_network import CountsNetwork

__all__ = ["MESH", "divided", "mesh_of", "mesh_words", "without_mesh"]

MESH = ("auto", None)
"""What the parameter ``mesh`` of the denoising methods may be."""
NONE = "No mesh was found."
LATTICE = ("period_1", "period_2", "angle_1", "angle_2")


def mesh_of(
    array: xr.DataArray,
    image: tuple[Hashable, Hashable],
    noise: xr.Dataset,
    make: Callable[[int], CountsNetwork],
    *,
    device: str,
    gain: float | None = None,
    fixed: bool = True,
    progress: ProgressOption = False,
) -> xr.Dataset:
    """Estimate flat, lattice and depth of the mesh; lazy if ``array`` is.

    ``make`` returns the network that estimates the image behind the mesh. With ``fixed`` all images
    share one mesh, which is estimated from their sum.
    """
    batch = [dim for dim in array.dims if dim not in image]
    bare = array.drop_vars(array.coords)
    if fixed and batch:
        number = math.prod(array.sizes[dim] for dim in batch)
        bare = bare.mean(batch) * float(number)
    outputs: dict[str, Output] = {"flat": Image(), "depth": Scalar()}
    outputs |= {name: Scalar() for name in LATTICE}
    arrays = map_images(
        bare,
        image,
        partial(_estimate, make=make, gain=gain),
        outputs,
        method="remove_mesh",
        device=device,
        progress=progress,
        batch_size=1,
        numbers=noise_numbers(noise, PROPORTIONAL),
    )
    arrays["flat"] = arrays["flat"].fillna(1.0)
    return xr.Dataset(arrays)


def without_mesh(
    array: xr.DataArray,
    image: tuple[Hashable, Hashable],
    noise: xr.Dataset,
    mesh: str | None,
    *,
    gain: float | None,
    device: str,
    repeats: Hashable | None = None,
) -> tuple[xr.DataArray, xr.Dataset, dict[str, Any]]:
    """``array`` without its mesh (if it has one), its noise, and what provenance records.

    The flat has a mean of 1, so the gain hardly changes. Behind the wires the variance exceeds the
    mean, because both were divided by the transmission, the variance twice.
    """
    if mesh is None:
        return array, noise, {}
    result = mesh_of(array, image, noise, pretrained, gain=gain, device=device)
    if array.chunks is not None:
        found = {"mesh": "searched for when computed"}
        known = noise.assign({MESH_DEPTH: result["depth"].max()})
    else:
        found = mesh_words(result)
        if "mesh_depth" not in found:
            return array, noise, found
        if len(found["mesh_periods"]) == 1:
            warn(
                f"parallel dark lines {found['mesh_periods'][0]:.1f} px apart were divided out as "
                f"the wires of a mesh; lines of the sample that are as dark in all parts of the "
                f"image look the same: pass mesh=None to keep them",
                CountsWarning,
            )
        known = None
    array = divided(array, result["flat"])
    return array, noise_of(array, image, device, repeats=repeats, known=known), found


def divided(array: xr.DataArray, flat: xr.DataArray) -> xr.DataArray:
    """``array / flat``; integers become float32, floats keep their type."""
    dtype = array.dtype if array.dtype.kind == "f" else "float32"
    result = array / flat.drop_vars(flat.coords)
    return result.transpose(*array.dims).astype(dtype).rename(array.name).assign_attrs(array.attrs)


def mesh_words(mesh: xr.Dataset) -> dict[str, Any]:
    """Description of a computed mesh for provenance: a sentence, and numbers if there is a mesh."""
    depths = mesh["depth"].values.ravel()
    there = depths > 0
    if not there.any():
        return {"mesh": _suspected(mesh["period_1"].values, mesh["angle_1"].values)}
    first = {name: mesh[name].values.ravel()[there][0] for name in LATTICE}
    periods = [float(first[f"period_{n}"]) for n in (1, 2) if first[f"period_{n}"] > 0]
    angles = [float(first[f"angle_{n}"]) for n in (1, 2) if first[f"period_{n}"] > 0]
    wires = " and ".join(
        f"{p:.2f} px at {round(a, 1) + 0.0:.1f}°" for p, a in zip(periods, angles, strict=True)
    )
    depth = float(depths[there].max())
    share = "" if there.all() else f" in {there.sum()} of {there.size} images"
    return {
        "mesh": f"A mesh was divided out{share}: its period is {wires} to the first axis of the "
        f"image, its depth up to {depth:.0%}. A pattern of the sample that is as deep "
        f"everywhere would look the same.",
        "mesh_periods": periods,
        "mesh_angles": angles,
        "mesh_depth": depth,
    }


def _suspected(periods: np.ndarray, angles: np.ndarray) -> str:
    """The sentence for data from which no mesh was divided out."""
    seen = periods.ravel() > 0
    if not seen.any():
        return NONE
    period, angle = periods.ravel()[seen][0], angles.ravel()[seen][0]
    return (
        f"No significant mesh was found. A periodic pattern of {period:.1f} px at {angle:.0f}° to "
        f"the first axis of the image was left in, and may be one: check whether it continues in "
        f"dark parts of the image, and measure the flat field if it does."
    )


def _estimate(
    batch: ImageBatch, *, make: Callable[[int], CountsNetwork], gain: float | None
) -> dict[str, torch.Tensor]:
    import torch

    from arpes_ml_plugins.denoising.defects import bright_lines
    from arpes_ml_plugins.denoising.mesh import estimate_mesh

    unit = gain or batch.numbers["gain"]
    direct = not batch.numbers["transform"]  # functions of counts behind a mesh are not divided
    wanted = bool(gain or (batch.numbers["served"] and direct)) and unit > 0
    flats, numbers = [], []
    scales = None if gain else scales_of(batch, batch.numbers)
    # Lines that were divided by numbers of their own are no wires.
    images = batch.images if scales is None else batch.images / scales
    for picture, mask, scaled in zip(batch.images, batch.valid, images, strict=True):
        # Complex numbers of double precision, which not all devices have.
        image = batch.numbers["sign"] * scaled.cpu().double()[None] / (unit if wanted else 1)
        mask = mask & (picture != batch.numbers["mark"])
        known = (mask & ~bright_lines(picture[None], mask[None])[0]).cpu()[None]
        known = known if wanted else torch.zeros_like(known)
        mesh = estimate_mesh(image, known, _smoother(batch, make))
        flats.append(mesh.flat)
        periods = [0.0, 0.0]
        angles = [0.0, 0.0]
        for number, frequency in enumerate(mesh.frequencies.tolist()):
            periods[number] = 1 / math.hypot(*frequency)
            angles[number] = math.degrees(math.atan2(frequency[1], frequency[0]))
            angles[number] -= 180 * (angles[number] > 90)  # a wire has no direction
        numbers.append([mesh.depth, *periods, *angles])
        if batch.report:
            batch.report(1, None)
    table = torch.tensor(numbers, dtype=torch.float64, device="cpu")
    names = ("depth", *LATTICE)
    return {"flat": torch.stack(flats)} | {name: table[:, k] for k, name in enumerate(names)}


def _smoother(
    batch: ImageBatch, make: Callable[[int], CountsNetwork]
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """A smoother that loads the stored network when it is first called."""
    import torch

    from arpes_ml_plugins.denoising.splitting import Counts, predict

    device = batch.images.device
    ready: list[CountsNetwork] = []

    def smooth(counts: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        if not ready:
            network = make(0).to(device, torch.float32)
            network.correlation = (batch.numbers["rows"], batch.numbers["columns"])
            ready.append(network)
        seen = Counts(counts.to(device, torch.float32), valid.to(device), False)
        with torch.no_grad():
            rate = predict(ready[0], seen, flips=1, pixels=counts.numel())
        return rate.to(counts)

    return smooth
