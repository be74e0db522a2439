"""Stored weights: small, checked, and no pickle."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import arpes_ml_plugins
from arpes_ml_plugins.errors import DataError
from arpes_ml_plugins.networks import stored as store


def test_weights_come_with_the_package():
    weights = arpes_ml_plugins.library("denoiser")
    assert sum(w.numel() for w in weights.values()) > 1e6
    files = list(Path(str(store._folder())).iterdir())
    assert {file.suffix for file in files} == {".safetensors", ""}
    assert sum(file.stat().st_size for file in files) < 9e6


def test_damaged_weights_are_refused(tmp_path, monkeypatch):
    folder = tmp_path / "weights"
    shutil.copytree(str(store._folder()), folder)
    with (folder / "denoiser.safetensors").open("r+b") as file:
        file.seek(5000)
        file.write(b"\x00\x01")
    monkeypatch.setattr(store, "_folder", lambda: folder)
    with pytest.raises(DataError, match="damaged"):
        store.stored_weights.__wrapped__("denoiser")


def test_unknown_weights():
    with pytest.raises(DataError, match="denoiser"):
        store.stored_hash("nobody's")
