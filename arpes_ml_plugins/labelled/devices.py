"""Which device does the work, and what happens when its memory runs out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from arpes_ml_plugins.errors import DeviceError, DeviceWarning
from arpes_ml_plugins.frames import warn

if TYPE_CHECKING:
    import torch

__all__ = ["default_batch_size", "resolve_device", "run_in_batches"]

logger = logging.getLogger(__name__)

GPU_BATCH = 16
"""Images per call on a GPU, halved if memory runs out. On a CPU more than one at a time gains
nothing and costs memory."""

KINDS = ("cpu", "cuda", "mps")

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


def run_in_batches(
    n_items: int, run: Callable[[slice, str], T], *, device: str, batch_size: int
) -> list[T]:
    """Call ``run(items, device)`` over consecutive slices of items, in order.

    Out of memory halves the batch; if a single item (an image, a series or a whole mixture) does
    not fit, the rest runs on the CPU with a :class:`~arpes_ml_plugins.errors.DeviceWarning`.
    """
    results: list[T] = []
    start = 0
    while start < n_items:
        stop = min(start + batch_size, n_items)
        try:
            results.append(run(slice(start, stop), device))
        except _out_of_memory() as error:
            if device == "cpu":
                raise
            _free(device)
            if batch_size > 1:
                batch_size = (stop - start + 1) // 2 if stop - start > 1 else 1
                logger.info("out of memory on %s: batch reduced to %d", device, batch_size)
                continue
            warn(
                f"the data do not fit into the memory of {device}, not even one image or series "
                f"at a time ({error}); the rest is done on the CPU",
                DeviceWarning,
            )
            device, batch_size = "cpu", default_batch_size("cpu")
            continue
        start = stop
    return results


def _out_of_memory() -> type[torch.OutOfMemoryError]:
    import torch

    return torch.OutOfMemoryError


def _free(device: str) -> None:
    import torch

    if device.startswith("cuda"):
        torch.cuda.empty_cache()
