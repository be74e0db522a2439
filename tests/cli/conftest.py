"""What the tests of the command line share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import arpes_ml_plugins
from arpes_ml_plugins import cli, hookimpl


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """The program in a folder of its own: its status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        status = cli.main([str(word) for word in words])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture
def files(tmp_path, cut):
    """Readable files at two depths, and files that are not data."""
    for number, name in enumerate(("a.nc", "b.nc", "deep/c.nc", "deep/no_suffix")):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        saved = path.with_suffix(".nc") if path.suffix else path.with_name("saved.nc")
        arpes_ml_plugins.save(cut + number, saved)
        saved.rename(path)
    (tmp_path / "data" / "notes.txt").write_text("sample 3")
    (tmp_path / "data" / ".hidden.nc").write_bytes(b"half")
    return tmp_path / "data"


@pytest.fixture
def saved(tmp_path, cut):
    arpes_ml_plugins.save(cut, tmp_path / "in.nc")
    return tmp_path / "in.nc"


@pytest.fixture
def register(request):
    """Add a method, as a plugin of this name, for one test."""

    def add(name, function):
        class Plugin:
            @hookimpl
            def register_methods(self, registry):
                registry.add(function, roles=("energy",))

        arpes_ml_plugins.register(Plugin(), name)
        request.addfinalizer(lambda: arpes_ml_plugins.unregister(name))

    return add


@pytest.fixture
def environment():
    """For a process of its own that imports this checkout."""
    return os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
