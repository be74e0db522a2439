"""Results that are written while they are computed: an interrupted run goes on where it stopped."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import xarray as xr

import arpes_ml_plugins
from arpes_ml_plugins.cli import main
from arpes_ml_plugins.errors import FileError, MissingPackageError
from arpes_ml_plugins.labelled import unfinished

dask = pytest.importorskip("dask")
# Seeds are drawn, and the images show nothing that a wide filter would blur.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.* held-out data better:arpes_ml_plugins.errors.CountsWarning"
)
OPTIONS = {"adapt": False, "mesh": None, "gain": 1}


@pytest.fixture(scope="module")
def series():
    counts = np.random.default_rng(0).poisson(9.0, (24, 16, 17))
    coords = {"scan": np.arange(24), "eV": np.linspace(-1, 0, 16)}
    return xr.DataArray(counts, coords, ("scan", "eV", "phi"), attrs={"sample": "gold"})


@pytest.fixture
def written(monkeypatch):
    """Chunks written so far; the third of a process is interrupted if ``limit`` is 2."""
    pytest.importorskip("zarr")
    chunks = []
    write = unfinished._Chunks.__setitem__

    def watched(self, region, chunk):
        if len(chunks) == watched.limit:
            raise KeyboardInterrupt
        chunks.append(region)
        write(self, region, chunk)

    watched.limit = 2
    monkeypatch.setattr(unfinished._Chunks, "__setitem__", watched)
    with dask.config.set(scheduler="synchronous"):
        yield watched, chunks


def test_an_interrupted_run_goes_on(series, written, tmp_path):
    watched, chunks = written
    out = tmp_path / "clean.zarr"
    lazy = series.chunk(scan=8)
    with pytest.raises(KeyboardInterrupt):
        lazy.S.denoise_pretrained(out=out, **OPTIONS)
    assert [path.name for path in tmp_path.iterdir()] == ["clean.zarr.unfinished"]
    with pytest.raises(FileError, match=r"series=None \(there 'auto'\).*delete"):
        lazy.S.denoise_pretrained(out=out, series=None, **OPTIONS)
    with pytest.raises(FileError, match="the data"):
        (lazy + 1).S.denoise_pretrained(out=out, **OPTIONS)
    assert len(chunks) == 2
    watched.limit = 9
    told = []
    result = lazy.S.denoise_pretrained(out=out, progress=told.append, **OPTIONS)
    assert len(chunks) == 3
    assert [one.done for one in told] == [2, 3]
    assert [path.name for path in tmp_path.iterdir()] == ["clean.zarr"]
    assert result.chunks is not None
    record = result.attrs["provenance"]["record"]
    seed = record["parameters"]["rng"]  # drawn by the call that was interrupted
    expected = series.S.denoise_pretrained(rng=seed, **OPTIONS)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-6 * float(expected.max()))
    assert result.attrs["sample"] == "gold"
    assert arpes_ml_plugins.load(out).identical(result.compute())

    again = lazy.S.denoise_pretrained(out=out, **OPTIONS)  # finished before
    assert len(chunks) == 3
    assert again.identical(result)
    with pytest.raises(FileError, match="rng"):
        lazy.S.denoise_pretrained(out=out, rng=seed + 1, **OPTIONS)


def test_data_in_memory_stay_there(series, written, tmp_path):
    written[0].limit = 9
    scan = series.isel(scan=slice(2)).to_dataset(name="spectrum").assign(current=3.0)
    result = scan.S.denoise_pretrained(out=tmp_path / "clean.zarr", rng=0, **OPTIONS)
    expected = scan.S.denoise_pretrained(rng=0, **OPTIONS)
    assert isinstance(result, xr.Dataset)
    assert result.spectrum.chunks is None
    xr.testing.assert_allclose(result, expected)


@pytest.mark.slow
def test_the_command_line_goes_on_too(series, written, tmp_path, capsys):
    scan, out = tmp_path / "scan.nc", tmp_path / "clean.zarr"
    arpes_ml_plugins.save(series, scan)
    written[0].limit = 0
    command = ["run", "denoise-pretrained", str(scan), str(out), "--no-adapt", "--mesh", "none"]
    command += ["--gain", "1"]
    assert main(command) == 130
    assert (tmp_path / "clean.zarr.unfinished").is_dir()
    written[0].limit = 9
    for _ in range(2):
        assert main(command) == 0
        assert len(written[1]) == 3
    assert "written" in capsys.readouterr().out
    assert main([*command, "--adapt"]) == 1
    assert "adapt=True (there False)" in capsys.readouterr().err
    assert arpes_ml_plugins.load(out).sizes == series.sizes


def test_a_folder_of_somebody_else_is_kept(series, tmp_path):
    pytest.importorskip("zarr")
    (tmp_path / "mine").mkdir()
    with pytest.raises(FileError, match="not the result of such a run"):
        series.S.denoise(out=tmp_path / "mine")
    with pytest.raises(FileError, match="no folder"):
        series.S.denoise(out=tmp_path / "none" / "clean.zarr")


def test_without_zarr(series, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(MissingPackageError, match="zarr is not installed: pip install zarr"):
        series.S.denoise(out=tmp_path / "clean.zarr")
    assert not list(tmp_path.iterdir())


def test_every_coordinate_distinguishes_two_runs():
    from arpes_ml_plugins.plugins.into_store import _digest

    data = xr.DataArray(np.ones((3, 4)), dims=("eV", "phi"), coords={"T": ("eV", [1.0, 2, 3])})
    other = data.assign_coords(T=data["T"] + 1)
    assert _digest(data, data.dims) == _digest(data.copy(), data.dims)
    assert _digest(data, data.dims) != _digest(other, data.dims)
