"""netCDF from stdin and to stdout."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
import xarray as xr

import arpes_ml_plugins
from arpes_ml_plugins import cli

METHOD = "decompose_pcp"


def test_streams(saved, cut, monkeypatch, register):
    """Bytes in, bytes out, and nothing that a method prints between them."""

    def denoise_chatty(data, *, device="auto", rng=None, progress=False, dims=None):
        """Print."""
        sys.stdout.write("thinking")
        return data.astype(float)

    register("chatty", denoise_chatty)
    out = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(saved.read_bytes())))
    monkeypatch.setattr(sys, "stdout", out)
    assert cli.main(["run", "denoise_chatty", "-", "-"]) == 0
    result = saved.with_name("streamed.nc")
    result.write_bytes(out.buffer.getvalue())
    loaded = arpes_ml_plugins.load(result)
    assert isinstance(loaded, xr.DataArray)
    assert (loaded == cut).all()


def test_a_reader_of_results_that_goes_away(run, files, monkeypatch):
    """What was written so far stays; it is no failure of a file."""
    monkeypatch.setattr(cli.work, "say", lambda text: (_ for _ in ()).throw(BrokenPipeError))
    status, _, err = run("run", METHOD, "data", "--out", "clean")
    assert status == 141
    assert "failed" not in err
    assert [path.name for path in Path("clean").iterdir()] == ["a.nc"]


@pytest.mark.parametrize("content", [b"", b"junk"])
def test_stdin_without_netcdf(run, monkeypatch, content):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    status, _, err = run("run", METHOD, "-", "out.nc")
    assert status == 1
    assert "expected a netCDF file on stdin" in err


def test_terminals_get_no_netcdf(run, saved, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    status, out, err = run("run", METHOD, saved, "-")
    assert (status, out) == (2, "")
    assert "terminal" in err
