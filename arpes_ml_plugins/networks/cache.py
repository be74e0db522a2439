"""Trained networks in a folder, each under a hash of everything that it depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from arpes_ml_plugins.frames import warn
from arpes_ml_plugins.labelled.whole import whole_file
from arpes_ml_plugins.report import Report

if TYPE_CHECKING:
    import torch

__all__ = ["cache_folder", "content_key", "kept_network"]

Tensors = dict[str, "torch.Tensor"]
Network = TypeVar("Network", bound="torch.nn.Module")
CHECKSUM = "sha256"
"""Entry of the metadata of a file, with the checksum of its tensors."""


def cache_folder() -> Path:
    """Folder of trained networks: the user's cache folder of the system."""
    from platformdirs import user_cache_path

    return user_cache_path("arpes_ml_plugins")


def content_key(**content: object) -> str:
    """A hash of ``content``, with tensors by their values.

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


def kept_network(
    folder: Path | None,
    name: str,
    empty: Callable[[], Network],
    train: Callable[[], Network],
    report: Report | None,
    steps: int,
) -> Network:
    """The network kept in ``folder`` as ``name``, or that of ``train()``, which is then kept.

    A file that is damaged, by as little as one bit, or that holds tensors of other names, shapes or
    types than the network ``empty()``, is written again. A folder that cannot be read counts as
    empty; there is a warning for one that cannot be written to. ``report`` is called with all
    ``steps`` at once if no training is needed.
    """
    network = empty()
    path = None if folder is None else folder / f"{name}.safetensors"
    stored = None if path is None else _load(path)
    if stored is not None and _described_all(stored) == _described_all(network.state_dict()):
        if report:
            report(steps, None)
        network.load_state_dict(stored)
        return network.requires_grad_(False)
    made = {key: value.detach().contiguous() for key, value in train().state_dict().items()}
    if path is not None:
        try:
            _store(path, made)
        except OSError as error:
            warn(
                f"the trained network could not be kept in {folder} ({error}); it will be trained "
                f"again next time",
                UserWarning,
            )
    network.load_state_dict(made)
    return network.requires_grad_(False)


def _described_all(tensors: Tensors) -> dict[str, tuple[tuple[int, ...], str]]:
    return {key: (tuple(value.shape), str(value.dtype)) for key, value in tensors.items()}


def _checksum(tensors: Tensors) -> str:
    """SHA-256 of names, types, shapes and values."""
    text = "\n".join(f"{key} {_described(tensors[key])}" for key in sorted(tensors))
    return hashlib.sha256(text.encode()).hexdigest()


def _load(path: Path) -> Tensors | None:
    """The stored tensors; None if there are none, or not those that were stored."""
    from safetensors import SafetensorError, safe_open

    try:
        if not path.is_file():
            return None
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            told = (file.metadata() or {}).get(CHECKSUM)
        return tensors if told == _checksum(tensors) else None
    except (SafetensorError, OSError, ValueError, TypeError, RuntimeError):
        return None


def _store(path: Path, tensors: Tensors) -> None:
    from safetensors.torch import save

    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        part.write_bytes(save(tensors, {CHECKSUM: _checksum(tensors)}))
