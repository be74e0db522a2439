"""``denoise``: the front door, which looks at the data and chooses a method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import xarray as xr

from arpes_ml_plugins.labelled.apply import Image, ImageBatch, map_images
from arpes_ml_plugins.labelled.progress import ProgressOption
from arpes_ml_plugins.labelled.series import choose_series
from arpes_ml_plugins.methods.denoise_counts import (
    COUNTED,
    counted,
    denoise_counts,
    denoise_pretrained,
    run_pretrained,
)
from arpes_ml_plugins.methods.denoise_pcp_unet import denoise_pcp_unet, fit_each
from arpes_ml_plugins.methods.estimate_noise import noise_of
from arpes_ml_plugins.parameters import check_choice, check_image, check_positive

if TYPE_CHECKING:
    import torch

__all__ = ["denoise"]

SMALLEST_IMAGE = 16
METHODS = {
    "pretrained": denoise_pretrained,
    "counts": denoise_counts,
    "pcp_unet": denoise_pcp_unet,
}


def denoise(
    data: xr.DataArray | xr.Dataset,
    *,
    method: str = "auto",
    gain: float | None = None,
    adapt: bool = True,
    device: str = "auto",
    rng: int | torch.Generator | None = None,
    progress: ProgressOption = False,
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.DataArray | xr.Dataset:
    """Denoise ARPES data with the method that suits them.

    Looks at the noise first (:func:`estimate_noise`). Counts, and counts times a gain, go to the
    pre-trained network, adapted to them (:func:`denoise_pretrained`): the best method measured,
    in seconds. Where the values are not counts (interpolated, background subtracted, offset), the
    two-stage method is used, which assumes nothing of the kind (:func:`denoise_pcp_unet`), a
    minute an image. What was chosen, and why, is in the provenance.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        Intensities with an energy and a momentum (or angle) axis, at least 16 x 16 pixels; other
        dimensions (time, temperature, photon energy, a second angle) may be there. NaN stay NaN.
    method : {"auto", "pretrained", "counts", "pcp_unet"}
        Insist on a method; ``"auto"`` chooses.
    gain : float, optional
        Variance over mean, in the unit of the data: 1 for single electrons. If given, the data
        are taken for counts of this gain. ``"pcp_unet"`` does not need it.
    adapt : bool
        Adapt the pre-trained network to the data; without, it answers at once. The other methods
        have nothing to adapt.
    device : str
        ``"auto"`` (CUDA, then MPS, then CPU) or the name of a torch device.
    rng : int or torch.Generator, optional
        Seed; the one used is recorded.
    progress : bool or callable
        Show a bar, or call a function with a :class:`~arpes_ml_plugins.Progress`.
    dims : mapping or sequence of str, optional
        The energy and the momentum axis where names do not tell.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        As given, in the same unit. Integers become float32. ``attrs["provenance"]["record"]``
        holds under ``"found"`` the method chosen and why; lazy data choose when they are computed.

    Raises
    ------
    AxisError, DataError, DataTypeError, ParameterError, DeviceError
        Unusable input; the message says what to do.

    Examples
    --------
    >>> import arpes_ml_plugins
    >>> from arpes_ml_plugins import simulate_scene
    >>> scene = simulate_scene((64, 64), counts=5, rng=1)
    >>> clean = scene.S.denoise(rng=0)
    >>> clean.attrs["provenance"]["record"]["found"]["method"]
    'denoise_pretrained'
    """
    array, image = check_image(data, dims, SMALLEST_IMAGE)
    check_choice("method", method, ("auto", *METHODS))
    check_positive("gain", gain, optional=True)
    common: dict[str, object] = {"device": device, "rng": rng, "progress": progress, "dims": image}
    if method != "auto":
        why = "asked for"
    elif gain is not None:
        method, why = "pretrained", "gain was given"
    else:
        noise = noise_of(array, image, device)
        if array.chunks is not None:
            return _chosen_later(array, image, noise, adapt, device, rng)
        counts = str(noise["kind"].values) in COUNTED
        method, why = "pretrained" if counts else "pcp_unet", str(noise["verdict"].values)
    chosen = METHODS[method]
    if method != "pcp_unet":
        common["gain"] = gain
    if method == "pretrained":
        common["adapt"] = adapt
    result = chosen(array, **common)  # type: ignore[operator]
    found = dict(result.attrs.get("found", {}))
    result.attrs["found"] = {"method": chosen.__name__, "why": why} | found
    return result


def _chosen_later(
    array: xr.DataArray,
    image: tuple[object, object],
    noise: xr.Dataset,
    adapt: bool,
    device: str,
    rng: object,
) -> xr.DataArray:
    """For lazy data: the choice is made when the values come."""
    together = choose_series(array, image, "auto")

    def algorithm(batch: ImageBatch) -> Mapping[str, torch.Tensor]:
        if batch.numbers["counted"]:
            return run_pretrained(batch, adapt=adapt, series=bool(together))
        return fit_each(batch)

    arrays = map_images(
        array,
        image,
        algorithm,
        {"clean": Image()},
        method="denoise",
        device=device,
        seed=int(rng),  # type: ignore[call-overload]
        batch_size=1,
        series=together,
        numbers={"gain": noise["gain"], "counted": counted(noise)},
    )
    clean = arrays["clean"]
    clean.attrs["found"] = {"method": "chosen when computed, from the noise"}
    return clean
