"""Load the weights of the package: safetensors, checked by SHA-256, never pickles."""

from __future__ import annotations

import functools
import hashlib
from importlib import resources
from typing import TYPE_CHECKING

from arpes_ml_plugins.errors import DataError

if TYPE_CHECKING:
    import torch

__all__ = ["STORED", "stored_hash", "stored_weights"]

STORED = ("continuation", "denoiser")
"""Names of the stored networks."""


@functools.cache
def stored_weights(name: str) -> dict[str, torch.Tensor]:
    """The weights called ``name``, in float32.

    Raises
    ------
    DataError
        The file is not the released one.
    """
    from safetensors.torch import load

    content = (_folder() / f"{name}.safetensors").read_bytes()
    found, expected = hashlib.sha256(content).hexdigest(), stored_hash(name)
    if found != expected:
        raise DataError(
            f"the weights {name!r} are damaged (SHA-256 {found[:12]}..., expected "
            f"{expected[:12]}...); install the package again"
        )
    return {key: value.float() for key, value in load(content).items()}


def stored_hash(name: str) -> str:
    """SHA-256 of the file of the weights called ``name``, as released."""
    for line in (_folder() / "SHA256SUMS").read_text().splitlines():
        digest, _, file = line.partition("  ")
        if file == f"{name}.safetensors":
            return digest
    raise DataError(f"no weights {name!r} come with this version; there are {', '.join(STORED)}")


def _folder() -> resources.abc.Traversable:
    return resources.files("arpes_ml_plugins.networks") / "weights"
