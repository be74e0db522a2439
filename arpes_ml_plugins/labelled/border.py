"""Convert numpy arrays to torch: finite, contiguous tensors with a mask and a seed per image.

Algorithms in torch do not handle names, NaN, units, chunks or dtypes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from arpes_ml_plugins.labelled.missing import fill_missing
from arpes_ml_plugins.report import Report

if TYPE_CHECKING:
    import torch

__all__ = [
    "Cube",
    "ImageBatch",
    "as_cube",
    "as_images",
    "as_numpy",
    "plain_numpy",
    "plain_torch",
    "without_filling",
]


@dataclass(frozen=True)
class ImageBatch:
    """Input of the algorithm of :func:`~arpes_ml_plugins.labelled.apply.map_images`."""

    images: torch.Tensor  # (n, height, width) float64 (float32 on MPS), finite; NaN were filled
    valid: torch.Tensor  # (n, height, width) bool; False where a NaN was filled
    seeds: list[int]  # one per image, independent of the batching
    index: NDArray[np.integer]  # which slice of the whole array each image is, (n,)
    report: Report | None
    numbers: Mapping[str, float] = field(default_factory=dict)
    """Numbers for the algorithm, see ``map_images``."""
    weights: NDArray[Any] | None = None
    """Numbers of a network, see ``map_images``."""
    own: NDArray[np.integer] | None = None
    """Images for which results are returned, if the others are only their neighbours."""


@dataclass(frozen=True)
class Cube:
    """Input of the algorithm of :func:`~arpes_ml_plugins.labelled.apply.map_mixture`."""

    values: torch.Tensor  # (m, *space) float64, finite; NaN were filled
    valid: torch.Tensor  # (m, *space) bool; False where a NaN was filled
    report: Report | None


@contextmanager
def plain_torch() -> Iterator[None]:
    """Gradients, plain tensors and full precision, whatever mode the caller has set; numpy silent
    where it is by default. For this thread only.
    """
    import torch

    # A device as a context costs every call of torch time: as much again for small tensors.
    # Torch 2.6 does not say which is the default once it was reset, so an empty tensor does.
    plain = torch.empty(0).device == torch.device("cpu")
    device = nullcontext() if plain else torch.device("cpu")
    with ExitStack() as modes:
        modes.enter_context(torch.inference_mode(False))
        modes.enter_context(torch.enable_grad())
        modes.enter_context(device)
        modes.enter_context(plain_numpy())
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                modes.enter_context(torch.autocast(kind, enabled=False))
        yield


def plain_numpy() -> np.errstate:
    """Numpy's default reaction to overflow, division by zero and the like, for this thread only."""
    return np.errstate(divide="warn", over="warn", under="ignore", invalid="warn")


def as_images(
    images: np.ndarray,
    seeds: list[int],
    index: NDArray[np.integer],
    device: str,
    report: Report | None,
    numbers: Mapping[str, float],
) -> ImageBatch:
    """Images ``(n, height, width)``, or curves ``(n, length)``."""
    import torch

    # float64 here so that large counts survive; MPS has none.
    wide = np.result_type(images.dtype, np.float64)
    single = np.complex64 if wide.kind == "c" else np.float32
    precision = single if device.startswith("mps") else wide
    images_wide = images.astype(wide)
    if images.ndim == 3:
        images_wide = fill_missing(images_wide)
    filled = np.nan_to_num(images_wide)  # empty images of a series; curves have no surroundings
    return ImageBatch(
        images=torch.from_numpy(np.ascontiguousarray(filled, dtype=precision)).to(device),
        valid=torch.from_numpy(~np.isnan(images)).to(device),
        seeds=seeds,
        index=index,
        report=report,
        numbers=numbers,
    )


def as_cube(
    values: np.ndarray,
    channels: int,
    device: str,
    report: Report | None,
    used: NDArray[np.bool_] | None = None,
) -> Cube:
    """``(*channels, *space)``: the first ``channels`` axes are a spectrum, the last two images.

    Pixels that are not ``used`` ``(*space)`` are missing.
    """
    import torch

    cube = values.reshape(-1, *values.shape[channels:]).astype(np.float64)
    if used is not None:
        cube[:, ~used] = np.nan
    missing = np.isnan(cube)
    filled = cube
    if missing.any():
        height, width = (1, 1, *cube.shape[1:])[-2:]
        images = cube.reshape(-1, height, width)
        filled = np.nan_to_num(fill_missing(images)).reshape(cube.shape)
    if device.startswith("mps"):  # which has neither float64 nor the eigenvalues needed here
        device = "cpu"
    return Cube(
        torch.from_numpy(np.ascontiguousarray(filled)).to(device),
        torch.from_numpy(~missing).to(device),
        report,
    )


def without_filling(values: np.ndarray, channels: int, device: str) -> Cube:
    """The same for algorithms that give missing values no weight: zeros stand for them."""
    import torch

    cube = values.reshape(-1, *values.shape[channels:]).astype(np.float64)
    missing = np.isnan(cube)
    cube[missing] = 0
    device = "cpu" if device.startswith("mps") else device
    return Cube(torch.from_numpy(cube).to(device), torch.from_numpy(~missing).to(device), None)


def as_numpy(value: Any) -> np.ndarray:
    """An output of an algorithm: a tensor, a number or a text."""
    return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)
