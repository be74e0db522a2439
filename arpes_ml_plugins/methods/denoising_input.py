"""Common parts of the denoising methods: the noise estimate."""

from __future__ import annotations

import math
from collections.abc import Hashable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from arpes_ml_plugins.labelled.apply import ImageBatch, Output, Scalar, map_images
from arpes_ml_plugins.labelled.progress import ProgressOption
from arpes_ml_plugins.labelled.series import sampled, windows
from arpes_ml_plugins.methods.noise_words import (
    COUNTED,
    NUMBERS,
    PROPORTIONAL,
    SERVED,
    in_words,
)
from arpes_ml_plugins.methods.recorded_run import MARK, TRANSFORM, found_in, recorded
from arpes_ml_plugins.methods.scales_run import (
    MEASURED,
    RATIOS,
    SCALING,
    scales_of,
    scaling_numbers,
)

if TYPE_CHECKING:
    import torch

__all__ = [
    "COUNTED",
    "FOR_WORDS",
    "IMAGES",
    "INTERNAL",
    "MESH_DEPTH",
    "NUMBERS",
    "PRECISIONS",
    "PROPORTIONAL",
    "SERVED",
    "SMALLEST_IMAGE",
    "noise_numbers",
    "noise_of",
    "rounded",
]

SMALLEST_IMAGE = 16
PRECISIONS = ("auto", "float32", "bfloat16")
IMAGES = 32
"""Number of images that the noise is estimated from, evenly spread over a larger data set."""
SIDE, PIXELS = 96, 12 * 96**2
"""Side and total pixels of the windows from which the noise of larger images is estimated."""
MOST_PIXELS = 1_000_000
"""Pixels of whole images that are searched for uneven lines and defects, unseen in windows."""
SEEN_WHOLE = (
    "missing_fraction",
    "negative_fraction",
    "energy_jitter",
    "momentum_jitter",
    "energy_alternation",
    "momentum_alternation",
    "energy_baseline",
    "momentum_baseline",
    "clipped_fraction",
)
DRIFT = ("drift", "drift_error")
ROUNDED = ("scaled counts", "correlated", "offset")
"""Kinds of noise of values whose step, if they have one, is not that of counts."""
UNIT = "unit"
"""Gain of values above their pedestal, where the noise is known from place to place only."""
INTERNAL = (*SCALING, UNIT, *TRANSFORM[1:])
"""Numbers that only methods need."""
KIND = "kind_number"
FOR_WORDS = ("uncertain", "structured", MEASURED, KIND)
"""Numbers that only the verdict needs."""
MESH_DEPTH = "mesh_depth"
"""Depth of the mesh that was divided out, zero if none was found."""


def rounded(precision: str, device: str) -> bool:
    """Whether to compute convolutions in bfloat16 on a ``device`` of this type."""
    from arpes_ml_plugins.denoising.two_stage import bfloat16_is_fast

    return precision == "bfloat16" or (precision == "auto" and bfloat16_is_fast(device))


def noise_numbers(noise: xr.Dataset, kinds: tuple[str, ...]) -> dict[str, xr.DataArray]:
    """The numbers of the noise estimate that every block of data needs; lazy if ``noise`` is.

    ``"served"`` is 1 if the kind is one of ``kinds``, otherwise 0. Correlations are zero unless the
    noise is of the kind ``"correlated"``, so that chance does not correlate independent pixels. If
    the noise is ``"local"``, ``"gain"`` is that of the values above their pedestal.
    """
    local = noise["kind"] == "local"
    correlated = local | (noise["kind"] == "correlated")
    subtracted = local | (noise["kind"] == "negative")
    return {
        "gain": noise["gain"].where(~local, noise[UNIT]),
        "local": local.astype(float),
        "shift": noise["shift"].where(~subtracted, 0.0),
        "pedestal": noise["pedestal"].where(~subtracted, 0.0),
        "curvature": noise["curvature"].where(~subtracted, 0.0),
        "rows": noise["energy_correlation"].where(correlated, 0.0),
        "columns": noise["momentum_correlation"].where(correlated, 0.0),
        "row_jitter": noise["energy_jitter"],
        "column_jitter": noise["momentum_jitter"],
        "row_baseline": noise["energy_baseline"],
        "column_baseline": noise["momentum_baseline"],
        "rounded": noise["step"].where(noise["kind"].isin(ROUNDED), 0.0).fillna(0.0),
        "cut_off": noise["cut_off"],
        "cut_off_noise": noise["cut_off_noise"],
        "served": noise["kind"].isin(kinds).astype(float),
        **{name: noise[name] for name in SCALING},
        **_how_recorded(noise),
    }


def _how_recorded(noise: xr.Dataset) -> dict[str, xr.DataArray]:
    """The numbers that :func:`~arpes_ml_plugins.methods.recorded_run.recorded` needs."""
    return {
        "row_repeats": noise["energy_repeats"],
        "column_repeats": noise["momentum_repeats"],
        "sign": noise["sign"],
        **{name: noise[name] for name in (*TRANSFORM, MARK)},
    }


def noise_of(
    array: xr.DataArray,
    image: tuple[Hashable, Hashable],
    device: str,
    progress: ProgressOption = False,
    repeats: Hashable | None = None,
    known: xr.Dataset | None = None,
) -> xr.Dataset:
    """Estimate the noise of an array whose axes are known; lazy if the array is.

    Along ``repeats`` lie exposures of one scene: the noise of a single exposure is estimated from
    their differences, and ``drift`` and ``drift_error`` show whether they differ by more than
    noise. If a mesh was divided out of the array, or would have been, ``known`` is its noise before
    that, with the depth in ``"mesh_depth"``: if that is zero, nothing is estimated again.
    """
    names = (*NUMBERS, *INTERNAL, *(() if repeats is None else DRIFT))
    exposures = () if repeats is None else (repeats,)
    some = array.isel(dict.fromkeys(exposures, slice(IMAGES // 2)))
    count = math.prod(some.sizes[dim] for dim in exposures)
    some = sampled(some, (*exposures, *image), max(IMAGES // count, 1))
    some = some.drop_vars(some.coords)  # no coordinate belongs to a single number
    parts = windows(some, image, SIDE, PIXELS, exposures) if some.size > PIXELS else some
    batch = [dim for dim in parts.dims if dim not in (*exposures, *image)]
    several = math.prod(some.sizes[dim] for dim in some.dims if dim not in image) > 1
    outputs: dict[str, Output] = {name: Scalar() for name in names}
    result = xr.Dataset(
        map_images(
            parts,
            image,
            partial(_estimate, exposures=count, several=several),
            outputs | {KIND: Scalar("int64")},
            progress=progress,
            series=[*batch, *exposures],
            method="estimate_noise",
            device=device,
            numbers=None
            if known is None
            else {name: known[name] for name in (*names, KIND, MESH_DEPTH)},
        )
    )
    if parts is not some:
        pixels = math.prod(some.sizes[dim] for dim in (*exposures, *image))
        whole = sampled(some, (*exposures, *image), max(MOST_PIXELS // pixels, 1))
        seen = {name: Scalar() for name in SEEN_WHOLE}
        result = result.assign(
            map_images(
                whole,
                image,
                _seen_whole,
                seen,
                series=[dim for dim in whole.dims if dim not in image],
                method="estimate_noise",
                device=device,
                numbers={name: result[name] for name in (*SCALING, "shift")}
                | _how_recorded(result),
            )
        )
    words = xr.apply_ufunc(
        partial(in_words, dims=image),
        *(result[name] for name in (KIND, *NUMBERS)),
        dask="parallelized",
        output_core_dims=[[], [], []],
        output_dtypes=[np.dtype("<U16"), np.dtype("<U16"), np.dtype("<U2000")],
    )
    result["kind"], result["status"], result["verdict"] = words
    return result


def _estimate(batch: ImageBatch, *, exposures: int, several: bool) -> dict[str, torch.Tensor]:
    if not batch.numbers.get(MESH_DEPTH, True):
        return _as_known(batch)
    from arpes_ml_plugins.denoising.cut_counts import cut_counts
    from arpes_ml_plugins.denoising.cut_off import cut_off_of
    from arpes_ml_plugins.denoising.exposures import differences, drift
    from arpes_ml_plugins.denoising.noise_estimate import estimate
    from arpes_ml_plugins.denoising.noise_model import NoiseModel

    measured = found_in(batch, exposures)
    batch = measured.batch
    drifted: dict[str, torch.Tensor] = {}
    if exposures > 1:
        images, valid = (x.unflatten(0, (-1, exposures)) for x in (batch.images, batch.valid))
        noise = estimate(*differences(images, valid), recorded=images[valid])
        drifted = dict(zip(DRIFT, drift(images, valid, noise.gain, noise.shift), strict=True))
    else:
        noise = estimate(batch.images, batch.valid, several=several)
    single = batch.valid & (not noise.scaling.kind)  # with one gain, and one noise in the dark
    model = NoiseModel(
        float(noise.gain), 0.0, float(noise.row_correlation), float(noise.column_correlation)
    )
    cut_off = cut_off_of(batch.images, single, noise.step, model.pixel_gain(batch.images.shape))
    level = cut_off.level.to(noise.gain)
    if exposures == 1 and level.isnan() and cut_counts(batch.images, single, noise.gain):
        level = batch.images[batch.valid].min().to(noise.gain)
    if batch.report:
        batch.report(1, None)
    numbers = (
        noise.gain,
        noise.gain_error,
        noise.step,
        noise.shift,
        noise.shift_error,
        noise.pedestal,
        noise.curvature,
        noise.uncertain.to(noise.gain),
        noise.structured.to(noise.gain),
        noise.row_correlation,
        noise.column_correlation,
        noise.hot + measured.stuck,
        noise.missing - measured.stuck,
        noise.negative,
        noise.counts,
        noise.deviation,
        noise.rows.jitter,
        noise.columns.jitter,
        noise.rows.alternation,
        noise.columns.alternation,
        noise.rows.baseline,
        noise.columns.baseline,
        noise.clipped,
        level,
        cut_off.noise.to(noise.gain),
        *(noise.gain.new_tensor(number) for number in (*measured.repeats, measured.sign)),
    )
    scaling = {k: noise.gain.new_tensor(v) for k, v in scaling_numbers(noise.scaling).items()}
    own = [name for name in NUMBERS if name not in (*RATIOS, MEASURED, TRANSFORM[0], MARK)]
    found = dict(zip(own, numbers, strict=True)) | {KIND: noise.kind, UNIT: noise.unit}
    function = {k: noise.gain.new_tensor(v) for k, v in measured.numbers().items()}
    return found | drifted | scaling | function


def _as_known(batch: ImageBatch) -> dict[str, torch.Tensor]:
    import torch

    known = {name: number for name, number in batch.numbers.items() if name != MESH_DEPTH}
    return {k: torch.tensor(v, dtype=torch.float64, device="cpu") for k, v in known.items()}


def _seen_whole(batch: ImageBatch) -> dict[str, torch.Tensor]:
    """Defects that only whole images show."""
    from arpes_ml_plugins.denoising.irregular import clipped, uneven

    batch = recorded(batch).batch
    images, valid = batch.images, batch.valid
    scales = scales_of(batch, batch.numbers)
    images = images if scales is None else images / scales
    values = images[valid]
    shift = batch.numbers["shift"]  # a beam does not move the pedestal
    rows, columns = uneven(images + (shift if shift < 0 else 0.0), valid)
    numbers = (
        1 - valid.to(images).mean(),
        (values < 0).to(images).mean(),
        rows.jitter,
        columns.jitter,
        rows.alternation,
        columns.alternation,
        rows.baseline,
        columns.baseline,
        clipped(values),
    )
    return dict(zip(SEEN_WHOLE, numbers, strict=True))
