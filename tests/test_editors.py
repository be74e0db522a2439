"""What editors and type checkers know of the methods: all of them, with their parameters."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr

import arpes_ml_plugins

ROOT = Path(arpes_ml_plugins.__file__).parents[1]
SCRIPT = ROOT / "tools" / "write_bound_methods.py"

USER = """
import xarray as xr
import arpes_ml_plugins

def clean(cut: xr.DataArray, data: xr.Dataset) -> None:
    methods: arpes_ml_plugins.MethodsAccessor = cut.arpes_ml
    reveal_type(methods.denoise(adapt=False, rng=1))
    of_data: arpes_ml_plugins.MethodsAccessor[xr.Dataset] = data.arpes_ml
    reveal_type(of_data.denoise())
    reveal_type(methods.decompose_pcp())
    reveal_type(methods.short_history())
    methods.denoise(adapted=False)
    methods.denoise_magically()
"""
SEEN = {
    7: "xarray.core.dataarray.DataArray",
    9: "xarray.core.dataset.Dataset",
    10: "xarray.core.dataset.Dataset",
    11: "list[Any]",
    12: 'Unexpected keyword argument "adapted"',
    13: 'has no attribute "denoise_magically"',
}
CONFIG = """
[mypy]
follow_imports = silent
[mypy-torch.*,scipy.*,matplotlib.*,dask.*,pandas.*,pluggy.*]
follow_imports = skip
ignore_missing_imports = true
"""


@pytest.mark.skipif(not SCRIPT.exists(), reason="only in a checkout")
def test_the_stub_is_current():
    spec = importlib.util.spec_from_file_location("write_bound_methods", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.FILE.read_text(encoding="utf-8") == script.stub(), (
        "signatures have changed: run python tools/write_bound_methods.py"
    )


@pytest.mark.slow
def test_mypy_knows_the_methods(tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "mypy.ini").write_text(CONFIG)
    assert_seen(tmp_path, ["mypy", "--cache-dir", "cache"], r"user\.py:(\d+): (.*)", SEEN)


@pytest.mark.slow
def test_pyright_knows_the_methods(tmp_path):
    """It is what editors ask, under the name of Pylance in one of them."""
    pytest.importorskip("pyright")
    seen = {line: words.rpartition(".")[2] for line, words in SEEN.items()}
    seen |= {12: 'No parameter named "adapted"', 13: 'attribute "denoise_magically"'}
    command = ["pyright", "--pythonpath", sys.executable]
    assert_seen(tmp_path, command, r".*user\.py:(\d+):\d+ - (.*)", seen)


def assert_seen(folder, command, pattern, seen):
    """What a checker says of each line of ``USER`` contains the words that are expected."""
    (folder / "user.py").write_text(USER)
    done = subprocess.run(
        [sys.executable, "-m", *command, "user.py"],
        cwd=folder,
        env=os.environ | {"MYPYPATH": str(ROOT), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    said = {}
    for line in done.stdout.splitlines():
        if match := re.match(pattern, line):
            said.setdefault(int(match[1]), match[2])
    assert set(said) == set(seen), done.stdout + done.stderr
    for line, words in seen.items():
        assert words in said[line]


def test_the_annotation_works_at_run_time(cut):
    assert isinstance(cut.arpes_ml, arpes_ml_plugins.MethodsAccessor)
    arpes_ml_plugins.MethodsAccessor[xr.Dataset](cut.to_dataset())
