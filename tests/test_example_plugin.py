"""The plugin that the documentation ships installs, shows up on ``.S`` and passes the suite."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parents[1] / "docs" / "example_plugin"


def python(*arguments: str, path: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(path)}
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    python(
        *("-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"),
        *("--target", str(folder), str(PLUGIN)),
        path=folder,
    )
    return folder


def test_it_appears_on_the_accessor(installed):
    out = python(
        "-c",
        "import arpes_ml_plugins as a; print(a.methods_available()['denoise_median'])",
        path=installed,
    )
    assert out.startswith("Replace every pixel by the median")


def test_it_passes_the_conformance_suite(installed):
    out = python(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", str(PLUGIN / "test_median.py")),
        *("--rootdir", str(installed), "-c", os.devnull),
        path=installed,
    )
    assert " passed" in out
    assert "failed" not in out
