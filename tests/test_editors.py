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
    (tmp_path / "user.py").write_text(USER)
    (tmp_path / "mypy.ini").write_text(CONFIG)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", "cache", "user.py"],
        cwd=tmp_path,
        env=os.environ | {"MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    said = {}
    for line in done.stdout.splitlines():
        if match := re.match(r"user\.py:(\d+): (.*)", line):
            said.setdefault(int(match[1]), match[2])
    assert set(said) == set(SEEN), done.stdout + done.stderr
    for line, words in SEEN.items():
        assert words in said[line]


def test_the_annotation_works_at_run_time(cut):
    assert isinstance(cut.arpes_ml, arpes_ml_plugins.MethodsAccessor)
    arpes_ml_plugins.MethodsAccessor[xr.Dataset](cut.to_dataset())
