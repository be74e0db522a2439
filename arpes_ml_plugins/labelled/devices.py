"""Choose the device, and continue if its memory runs out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from arpes_ml_plugins.errors import DeviceError, DeviceWarning, OutOfMemoryError
from arpes_ml_plugins.frames import warn

__all__ = ["default_batch_size", "resolve_device", "run_in_batches", "small_batch_size"]

logger = logging.getLogger(__name__)

GPU_BATCH = 16
"""Images per call on a GPU, halved if memory runs out. On a CPU more than one at a time gains
nothing and costs memory."""
SMALL_BATCH = 2**16
"""Pixels per call of algorithms whose time goes into calls of torch if images are small."""

KINDS = ("cpu", "cuda", "mps")
NOT_ENOUGH = ("not enough memory", "MPS backend out of memory", "can't allocate memory")
"""Texts in torch's errors when memory of the CPU or of MPS runs out."""

T = TypeVar("T")


def resolve_device(device: str) -> str:
    """A usable device name: ``"auto"`` takes CUDA, then MPS, then the CPU.

    Raises
    ------
    DeviceError
        The device is unknown to torch or absent from this machine.
    """
    import torch

    if device == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        if torch.device(device).type not in KINDS:
            raise TypeError("no kind of device that this package works on")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = str(error).splitlines()[0]
        if reason.startswith("Expected one of"):  # and thirty kinds of device that torch knows
            reason = "torch knows no such device"
        raise DeviceError(
            f"device {device!r} cannot be used here ({reason}); expected 'auto', 'cpu', 'cuda', "
            f"'cuda:1', ... or 'mps'; this machine offers {', '.join(_available())}"
        ) from error
    return "cpu" if torch.device(device).type == "cpu" else str(device)


def _available() -> list[str]:
    import torch

    found = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return [*found, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]


def default_batch_size(device: str) -> int:
    """Images handled by one call on ``device``."""
    return 1 if device == "cpu" else GPU_BATCH


def small_batch_size(device: str, pixels: int) -> int:
    """The same for small images, of which one alone does not keep the device busy.

    Examples
    --------
    >>> small_batch_size("cpu", 16 * 16), small_batch_size("cpu", 512 * 512)
    (256, 1)
    """
    return max(default_batch_size(device), SMALL_BATCH // pixels)


def run_in_batches(
    n_items: int, run: Callable[[slice, str], T], *, device: str, batch_size: int
) -> list[T]:
    """Call ``run(items, device)`` over consecutive slices of items, in order.

    Out of memory halves the batch; if a single item (an image, a series or a whole mixture) does
    not fit on another device, the rest runs on the CPU with a
    :class:`~arpes_ml_plugins.errors.DeviceWarning`.

    Raises
    ------
    OutOfMemoryError
        A single item does not fit into the memory of the CPU either.
    """
    results: list[T] = []
    start = 0
    while start < n_items:
        stop = min(start + batch_size, n_items)
        try:
            results.append(run(slice(start, stop), device))
            start = stop
            continue
        except (MemoryError, RuntimeError) as error:
            if not _out_of_memory(error):
                raise
            # Only the text is kept: the error holds on to the tensors of the failed batch.
            reason = (str(error) or type(error).__name__).splitlines()[0]
        _free(device)
        if stop - start > 1:
            batch_size = (stop - start + 1) // 2
            logger.info("out of memory on %s: batch reduced to %d", device, batch_size)
        elif device == "cpu":
            raise OutOfMemoryError(
                f"the memory of this machine is not enough for one image, series or mixture at a "
                f"time ({reason}); select a part of the data or bin them (data.coarsen), close "
                f"other programs, and, if the data have a batch axis, load it in pieces "
                f"(data.chunk) with fewer workers"
            )
        else:
            warn(
                f"the data do not fit into the memory of {device}, not even one image or series "
                f"at a time ({reason}); the rest is done on the CPU",
                DeviceWarning,
            )
            device, batch_size = "cpu", default_batch_size("cpu")
    return results


def _out_of_memory(error: Exception) -> bool:
    """Whether memory has run out: torch has an error of its own for that on GPUs only."""
    import torch

    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and any(words in text for words in NOT_ENOUGH)


def _free(device: str) -> None:
    import torch

    if device.startswith("cuda"):
        torch.cuda.empty_cache()
