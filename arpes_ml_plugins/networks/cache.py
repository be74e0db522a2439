"""Trained networks in a folder, each under a hash of everything that it depends on."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from arpes_ml_plugins.frames import warn

if TYPE_CHECKING:
    import torch

__all__ = ["cache_folder", "cached_tensors", "content_key"]

Tensors = dict[str, "torch.Tensor"]


def cache_folder() -> Path:
    """Where trained networks are kept: the user's cache, as the system has it."""
    from platformdirs import user_cache_path

    return user_cache_path("arpes_ml_plugins")


def content_key(**content: object) -> str:
    """A name for what follows from ``content``; tensors go in by their values.

    Examples
    --------
    >>> content_key(steps=3) == content_key(steps=3), content_key(steps=3) == content_key(steps=4)
    (True, False)
    """
    text = json.dumps(content, sort_keys=True, default=_described)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _described(value: object) -> str:
    import torch

    if isinstance(value, torch.Tensor):
        values = value.detach().cpu().contiguous().numpy()
        return f"{values.dtype} {values.shape} {hashlib.sha256(values.tobytes()).hexdigest()}"
    return str(value)


def cached_tensors(
    folder: Path | None, name: str, make: Callable[[], Tensors]
) -> tuple[Tensors, bool]:
    """The tensors kept as ``name``, or those of ``make()``, which are kept; and if they were there.

    A damaged file is written again; a folder that cannot be written to is warned of.
    """
    path = None if folder is None else folder / f"{name}.safetensors"
    if path is not None and path.exists():
        stored = _load(path)
        if stored is not None:
            return stored, True
    made = {key: tensor.detach().contiguous() for key, tensor in make().items()}
    if path is not None:
        try:
            _store(path, made)
        except OSError as error:
            warn(
                f"the trained network could not be kept in {folder} ({error}); it will be trained "
                f"again next time",
                UserWarning,
            )
    return made, False


def _load(path: Path) -> Tensors | None:
    """The stored tensors; None for a file that is damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError):
        return None


def _store(path: Path, tensors: Tensors) -> None:
    """Write beside the name and rename, so that no half-written file is ever found."""
    from safetensors.torch import save

    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(save(tensors))
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
