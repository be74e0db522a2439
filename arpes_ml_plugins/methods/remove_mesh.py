"""``remove_mesh``: divide out the mesh in front of a detector, without a reference exposure."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING

import xarray as xr

from arpes_ml_plugins.labelled.progress import ProgressOption
from arpes_ml_plugins.methods.denoising_docstrings import BLOCKS
from arpes_ml_plugins.methods.denoising_input import SMALLEST_IMAGE, noise_of
from arpes_ml_plugins.methods.mesh_run import divided, mesh_of, mesh_words
from arpes_ml_plugins.methods.stored_network import pretrained, weights_used
from arpes_ml_plugins.parameters import check_flag, check_image, check_positive, documented

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["remove_mesh"]


@documented(**BLOCKS)
def remove_mesh(
    data: xr.DataArray | xr.Dataset,
    *,
    gain: float | None = None,
    fixed: bool = True,
    device: str = "auto",
    rng: int | np.random.Generator | torch.Generator | None = None,
    progress: ProgressOption = "auto",
    dims: Mapping[str, str] | Sequence[str] | None = None,
) -> xr.Dataset:
    """Find the mesh in front of the detector in the data themselves, and divide it out.

    A mesh multiplies the intensity by a periodic pattern, equally deep in bright and in dark
    places. Its lattice appears as peaks in the Fourier spectrum of the data after subtraction of a
    smooth image; the pattern is then fitted to the data in turn with the image behind it, which the
    pre-trained network estimates. Periodic structure of the sample (replicas of a band, lines at
    equal distances) is not removed: its depth differs between bright and dark places, or its narrow
    parts are bright, whereas wires are dark.

    Parameters
    ----------
    {image}
    gain : float, optional
        Variance over mean, in the unit of the data; default: the estimate of
        :func:`estimate_noise`. Values whose noise is not that of counts are left as they are.
    fixed : bool
        Whether all images were measured through the mesh at the same place of the detector: it is
        then estimated from their sum, which needs far fewer counts per image. With False each image
        has its own mesh, as when energies are swept over the detector.
    {device}
    {unused_rng}
    {progress}
    {dims}

    Returns
    -------
    xarray.Dataset
        - ``flat``: transmission of the mesh over its mean, in the shape of the data; exactly 1
          everywhere if there is no mesh, NaN where the data are NaN;
        - ``clean``: ``data / flat``;
        - ``depth``: difference of the largest and the smallest transmission over the largest, 0 if
          there is no mesh;
        - ``period_1``, ``period_2``: distances of the wires in pixels; the second is 0 for a grid
          in one direction; ``angle_1``, ``angle_2``: directions across the wires, in degrees from
          the first axis of the image (the energy). If ``depth`` is 0, ``period_1`` and
          ``angle_1`` are those of a periodic pattern that may be a mesh but was left in, or 0 if
          there is no such pattern.

        ``attrs["provenance"]["record"]["found"]["mesh"]`` describes the mesh in words.

    Raises
    ------
    {unusable}

    See Also
    --------
    denoise : remove the mesh before denoising, with ``mesh="auto"`` (the default).

    Notes
    -----
    Periods from 2.6 to 32 pixels are found if the shorter side of the image has at least 64 pixels
    and contains at least seven periods. The pattern may be slightly curved (a cubic polynomial of
    the position). If bands repeat with nearly the period of the mesh, the mesh is often left in,
    because only a significant pattern is divided out.

    Examples
    --------
    >>> import numpy as np, xarray as xr, arpes_ml_plugins
    >>> rows, columns = np.indices((96, 96))
    >>> wires = 1 - 0.3 * ((rows % 12 < 3) | (columns % 12 < 3))
    >>> counts = np.random.default_rng(0).poisson(20 * wires)
    >>> result = xr.DataArray(counts, dims=("phi", "eV")).S.remove_mesh()
    >>> round(float(result.period_1)), round(float(result.period_2))
    (12, 12)
    >>> bool(np.corrcoef(result.flat.values.ravel(), wires.ravel())[0, 1] > 0.9)
    True
    """
    array, image = check_image(data, dims, SMALLEST_IMAGE)
    check_positive("gain", gain, optional=True)
    check_flag("fixed", fixed)
    noise = noise_of(array, image, device)
    mesh = mesh_of(
        array, image, noise, pretrained, device=device, gain=gain, fixed=fixed, progress=progress
    )
    clean = divided(array, mesh["flat"])
    flat = mesh["flat"].broadcast_like(clean.drop_vars(clean.coords)).transpose(*array.dims)
    numbers = mesh.drop_vars("flat")
    if not fixed:
        numbers = numbers.assign_coords(_of_batch(array, image))
    result = xr.Dataset({"flat": clean.copy(data=flat.data).where(array.notnull()), "clean": clean})
    result = result.assign(dict(numbers.data_vars))
    for variable in result.data_vars.values():
        variable.attrs = {}
    if array.chunks is None:
        result.attrs["found"] = mesh_words(mesh) | weights_used()
    else:
        result.attrs["found"] = {"mesh": "searched for when computed, see depth"} | weights_used()
    return result


def _of_batch(array: xr.DataArray, image: tuple[Hashable, Hashable]) -> dict[Hashable, xr.Variable]:
    """Coordinates of the data that do not depend on the axes of the image."""
    return {
        name: coordinate.variable
        for name, coordinate in array.coords.items()
        if not set(coordinate.dims) & set(image)
    }
