"""``denoise``: choose a method by the noise of the data, and run it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arpes_ml_plugins.errors import DataError
from arpes_ml_plugins.labelled.apply import Image, ImageBatch, map_images
from arpes_ml_plugins.labelled.progress import ProgressOption
from arpes_ml_plugins.labelled.series import choose_series
from arpes_ml_plugins.methods.chunks_run import together_or_in_chunks
from arpes_ml_plugins.methods.counts_run import adapting, run_pretrained
from arpes_ml_plugins.methods.denoise_counts import denoise_counts, denoise_pretrained
from arpes_ml_plugins.methods.denoise_pcp_unet import denoise_pcp_unet
from arpes_ml_plugins.methods.denoising_docstrings import BLOCKS
from arpes_ml_plugins.methods.denoising_input import (
    SERVED,
    SMALLEST_IMAGE,
    noise_numbers,
    noise_of,
)
from arpes_ml_plugins.methods.mesh_run import MESH, without_mesh
from arpes_ml_plugins.methods.repeats_run import repeated_dim, together
from arpes_ml_plugins.methods.stored_network import pretrained, weights_used
from arpes_ml_plugins.methods.two_stage_run import fit_each
from arpes_ml_plugins.parameters import (
    check_choice,
    check_flag,
    check_image,
    check_positive,
    documented,
)

if TYPE_CHECKING:
    import torch

__all__ = ["CHOICE", "REASON", "denoise"]

METHODS = {
    "pretrained": denoise_pretrained,
    "counts": denoise_counts,
    "pcp_unet": denoise_pcp_unet,
}
UNSPLIT = ("correlated", "local")
"""Kinds of noise that the network takes, and of which no independent parts can be made."""
CHOICE, REASON = "denoise_method", "denoise_reason"
"""Coordinates of lazy results that hold the chosen method and the reason."""


@documented(**BLOCKS)
def denoise(
    data: xr.DataArray | xr.Dataset,
    *,
    method: str = "auto",
    gain: float | None = None,
    adapt: bool = True,
    repeats: str | None = "auto",
    mesh: str | None = "auto",
    device: str = "auto",
    rng: int | np.random.Generator | torch.Generator | None = None,
    progress: ProgressOption = "auto",
    dims: Mapping[str, str] | Sequence[str] | None = None,
    out: str | os.PathLike[str] | None = None,  # handled by the call, see plugins.into_store
) -> xr.DataArray | xr.Dataset:
    """Denoise ARPES data with the method that suits their noise.

    The noise is estimated first (:func:`estimate_noise`). Counts are denoised with the pre-trained
    network (:func:`denoise_pretrained`), also if they are multiplied by a gain, lie on a pedestal,
    or are correlated by a camera or an interpolation. It had the smallest errors in our benchmarks
    and takes seconds. Differences and asymmetries go to it as well: their noise is measured from
    place to place, and the network is not adapted to them. Values whose noise cannot be measured
    (too few pixels, constant values) are denoised with the two-stage method
    (:func:`denoise_pcp_unet`), which does not assume counts and takes about a minute per image.

    Parameters
    ----------
    {image}
    method : {"auto", "pretrained", "counts", "pcp_unet"}
        Method to use; ``"auto"`` chooses between ``"pretrained"`` and ``"pcp_unet"``.
    gain : float, optional
        Variance over mean, in the unit of the data: 1 for single electrons. If it is given, the
        data are treated as counts with this gain. ``"pcp_unet"`` does not need it.
    adapt : bool
        Whether to train the pre-trained network further on the data: on each image, or once on a
        sample of all series, which takes up to minutes. The other methods ignore it.
    {repeats}
        The methods ``"counts"`` and ``"pcp_unet"`` denoise the mean of the exposures and make no
        other use of them.
    {mesh}
        Only ``"pretrained"`` searches for a mesh.
    {device}
    {rng}
    {progress}
    {dims}
    {out}

    Returns
    -------
    {clean}
        ``attrs["provenance"]["record"]["found"]`` holds the chosen method and the reason. For lazy
        (dask) data the method is chosen when they are computed, so the choice cannot be in the
        provenance. The result then has two scalar coordinates, ``denoise_method`` and
        ``denoise_reason``, which hold it after ``compute()``.

    Raises
    ------
    DataError
        The data are a second derivative: denoise the measured intensity, and differentiate that.
    {unusable}

    Examples
    --------
    >>> import arpes_ml_plugins
    >>> from arpes_ml_plugins import simulate_scene
    >>> scene = simulate_scene((32, 32), counts=5, rng=1)
    >>> clean = scene.S.denoise(rng=0)
    >>> clean.attrs["provenance"]["record"]["found"]["method"]
    'denoise_pretrained'
    """
    array, image = check_image(data, dims, SMALLEST_IMAGE)
    check_choice("method", method, ("auto", *METHODS))
    check_positive("gain", gain, optional=True)
    check_flag("adapt", adapt)
    repeated = repeated_dim(array, image, repeats)
    check_choice("mesh", mesh, MESH)
    noise = None
    if method != "auto":
        why = "it was requested"
    elif gain is not None:
        method, why = "pretrained", "gain was given"
    else:
        noise = noise_of(array, image, device, repeats=repeated)
        if array.chunks is not None:
            return _chosen_later(array, image, repeated, noise, adapt, mesh, device, rng)
        method = _choice(str(noise["kind"].values))
        why = str(_reason(noise["kind"].values, noise["verdict"].values, adapt=adapt))
    chosen = METHODS[method]
    if method == "pretrained":
        result = adapting(chosen.__name__, adapt)(
            array,
            dims=image,
            gain=gain,
            device=device,
            rng=rng,
            progress=progress,
            repeats=repeated,
            mesh=mesh,
            noise=noise,
        )["clean"]
    else:
        exposures = 1 if repeated is None else array.sizes[repeated]
        array = array if repeated is None else together(array, repeated)
        common = {"device": device, "rng": rng, "progress": progress, "dims": image}
        of_mean = None if gain is None else gain / exposures
        own = {"gain": of_mean} if method == "counts" else {}
        result = chosen(array, **common, **own)  # type: ignore[operator]
    found = dict(result.attrs.get("found", {}))
    if repeated is not None:
        found["averaged"] = [str(repeated)]
    result.attrs["found"] = {"method": chosen.__name__, "why": why} | found
    return result


def _choice(kind: str) -> str:
    """The method for this kind of noise."""
    return "pretrained" if kind in SERVED else "pcp_unet"


def _reason(kind: object, verdict: object, *, adapt: bool) -> np.ndarray:
    """The verdict on the noise, and what follows from it: an error, if no method suits."""
    if str(kind) == "derivative":
        raise DataError(f"{verdict} To filter it all the same, pass method='pcp_unet'.")
    if str(kind) not in SERVED:
        so = "No law of the noise is known, so the two-stage method is used, which needs none."
    elif str(kind) in UNSPLIT:
        so = "Such data cannot be split, so the pre-trained network is used without adapting it."
    elif adapt:
        so = "Such data can be split, so the pre-trained network is adapted to them."
    else:
        so = "The pre-trained network is used without adapting it, as requested."
    return np.array(f"{verdict} {so}")


def _name_of_choice(kind: object) -> np.ndarray:
    return np.array(METHODS[_choice(str(kind))].__name__)


def _chosen_later(
    array: xr.DataArray,
    image: tuple[object, object],
    repeated: object | None,
    noise: xr.Dataset,
    adapt: bool,
    mesh: str | None,
    device: str,
    rng: object,
) -> xr.DataArray:
    """Denoise lazy data; the method is chosen when the noise is computed."""
    exposures = [] if repeated is None else [repeated]
    series = choose_series(array, (*exposures, *image), "auto")  # type: ignore[arg-type]
    count = 1 if repeated is None else array.sizes[repeated]
    array, noise, meshed = without_mesh(
        array, image, noise, mesh, gain=None, device=device, repeats=repeated
    )
    seed = int(rng)  # type: ignore[call-overload]
    run = adapting("denoise", adapt)
    layout = together_or_in_chunks(
        array,
        image,
        series,
        exposures,
        noise_numbers(noise, SERVED),
        pretrained,
        run.training,
        once=run.once,
        alone=True,
        gain=None,
        precision="auto",
        method="denoise",
        device=device,
        seed=seed,
    )
    arrays = map_images(
        array,
        image,
        partial(_denoise, adapt=adapt, series=bool(series), exposures=count),
        {"clean": Image(averaged=(*exposures,))},
        method="denoise",
        device=device,
        seed=seed,
        batch_size=1,
        **layout,
    )
    names = xr.apply_ufunc(
        _name_of_choice,
        noise["kind"],
        dask="parallelized",
        output_dtypes=[np.dtype("<U32")],
    )
    reasons = xr.apply_ufunc(
        partial(_reason, adapt=adapt),
        noise["kind"],
        noise["verdict"],
        dask="parallelized",
        output_dtypes=[noise["verdict"].dtype],
    )
    clean = arrays["clean"].assign_coords({CHOICE: names, REASON: reasons})
    clean.attrs["found"] = {
        "method": f"chosen when computed, see the coordinate {CHOICE}",
        "why": f"see the coordinate {REASON}",
        "series": [str(dim) for dim in series],
        "averaged": [str(dim) for dim in exposures],
    }
    clean.attrs["found"] |= meshed | weights_used()
    return clean


def _denoise(
    batch: ImageBatch, *, adapt: bool, series: bool, exposures: int
) -> Mapping[str, torch.Tensor]:
    if batch.numbers["served"]:
        return run_pretrained(batch, adapt=adapt, series=series, exposures=exposures)
    if batch.own is not None:
        return fit_each(_without_neighbours(batch, batch.own))
    mean = replace(
        batch,
        images=batch.images.unflatten(0, (-1, exposures)).mean(1),
        valid=batch.valid.unflatten(0, (-1, exposures)).all(1),
        seeds=batch.seeds[::exposures],
    )
    return fit_each(mean)


def _without_neighbours(batch: ImageBatch, own: NDArray[np.integer]) -> ImageBatch:
    """The images of a chunk without their neighbours in other chunks."""
    return replace(
        batch,
        images=batch.images[own],
        valid=batch.valid[own],
        seeds=[batch.seeds[place] for place in own],
        index=batch.index[own],
        own=None,
    )
