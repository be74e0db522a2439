"""``arpes-ml run`` on many files."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

import arpes_ml_plugins

METHOD = "decompose_pcp"


class TestFolders:
    def test_one_failure_does_not_stop_the_others(self, run, files):
        (files / "broken.nc").write_bytes(b"no netCDF")
        status, out, err = run("run", METHOD, "data", "--out", "clean")
        assert status == 1
        assert "3 written" not in err
        assert "4 written, 1 failed" in err
        assert "data/broken.nc is no netCDF file" in err
        names = {str(p.relative_to("clean")) for p in Path("clean").rglob("*") if p.is_file()}
        assert names == {"a.nc", "b.nc", "deep/c.nc", "deep/no_suffix.nc"}
        assert out.count("written: ") == 4

    def test_goes_on_where_it_was(self, run, files, monkeypatch):
        assert run("run", METHOD, "data", "--out", "data/clean")[0] == 0
        Path("data/clean/b.nc").unlink()
        status, out, err = run("run", METHOD, "data", "--out", "data/clean")
        assert status == 0
        assert "1 written, 3 skipped" in err
        assert "written: data/clean/b.nc" in out
        assert not Path("data/clean/clean").exists()

    def test_goes_on_with_methods_that_write_to_stores(self, run, saved):
        words = ("run", "denoise_pretrained", saved, "--out", "clean", "--no-adapt")
        assert run(*words)[0] == 0
        status, out, _ = run(*words)
        assert status == 0
        assert "finished before" in out

    def test_a_folder_of_zarr_is_one_file(self, run, tmp_path, cut):
        pytest.importorskip("zarr")
        arpes_ml_plugins.save(cut, tmp_path / "cut.zarr")
        assert run("run", METHOD, "cut.zarr", "--out", "clean")[0] == 0
        assert Path("clean/cut.nc").is_file()

    @pytest.mark.parametrize("change", ["parameters", "data", "axes", "method", "half"])
    def test_what_is_not_the_same_result_is_not_taken_for_it(self, run, files, cut, change):
        run("run", METHOD, "data/a.nc", "--out", "clean")
        before = Path("clean/a.nc").read_bytes()
        words = [METHOD, "data/a.nc", "--out", "clean"]
        if change == "parameters":
            words += ["--iterations", "300"]
        elif change == "data":
            arpes_ml_plugins.save(cut + 7, "data/a.nc")
        elif change == "axes":
            arpes_ml_plugins.save(cut.assign_coords(eV=cut.eV + 0.1), "data/a.nc")
        elif change == "method":
            words[0] = "estimate_noise"
        else:
            before = before[:900]
            Path("clean/a.nc").write_bytes(before)
        status, _, err = run("run", *words)
        assert status == 1
        assert "--overwrite" in err
        assert Path("clean/a.nc").read_bytes() == before
        assert run("run", *words, "--overwrite")[0] == 0
        status, _, err = run("run", *words)
        assert status == 0

    def test_given_seed_and_axes_count(self, run, saved):
        words = ["run", METHOD, "in.nc", "--out", "clean", "--dims", "eV,phi", "--rng", "1"]
        assert run(*words)[0] == 0
        for same in ([], ["--device", "cpu"], ["--dims", "{'momentum': 'phi'}"], ["--progress"]):
            assert "finished before" in run(*words, *same)[1]
        for other in (["--rng", "2"], ["--dims", "phi,eV"], ["--dims", "{'momentum': 'eV'}"]):
            assert run(*words, *other)[0] == 1

    def test_outputs_that_collide_are_refused(self, run, files):
        Path("data/deep/a.nc").write_bytes(Path("data/a.nc").read_bytes())
        for words in (
            ["data/a.nc", "data/deep/a.nc", "--out", "clean"],
            ["data", "--out", "data"],
            ["data/deep/a.nc", "--out", "data/deep"],
            ["data/deep/a.nc", "data/a.nc", "data"],
        ):
            status, out, err = run("run", METHOD, *words)
            assert (status, out) == (2, "")
            assert "would" in err
        assert not Path("clean").exists()

    def test_folders_keep_their_names_apart(self, run, files):
        assert run("run", METHOD, "data", "data/deep", "--out", "clean")[0] == 0
        assert Path("clean/data/deep/c.nc").exists()
        assert Path("clean/deep/c.nc").exists()

    def test_nothing_to_read(self, run, tmp_path):
        (tmp_path / "empty").mkdir()
        status, _, err = run("run", METHOD, "empty", "--out", "clean")
        assert status == 1
        assert "no file that could be read" in err

    def test_warnings_name_the_file_every_time(self, run, files, register):
        def denoise_warning(data, *, device="auto", rng=None, progress=False, dims=None):
            """Warn."""
            with warnings.catch_warnings():
                warnings.simplefilter("default")
                warnings.warn("saturated", UserWarning, stacklevel=1)
            return data.astype(float)

        register("warning", denoise_warning)
        status, _, err = run("run", "denoise_warning", "data/a.nc", "data/b.nc", "--out", "clean")
        assert status == 0
        assert "warning: data/a.nc: saturated\n" in err
        assert "warning: data/b.nc: saturated\n" in err
