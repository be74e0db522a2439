"""The command line."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

import arpes_ml_plugins
from arpes_ml_plugins import cli, demo


def test_methods(capsys):
    assert cli.main(["methods"]) == 0
    out = capsys.readouterr().out
    for name, summary in arpes_ml_plugins.methods_available().items():
        assert name in out
        assert summary in out


def test_explains_one_method(capsys):
    assert cli.main(["methods", "decompose_pcp"]) == 0
    assert "low_rank" in capsys.readouterr().out
    assert cli.main(["methods", "decompose_pcd"]) == 1
    assert "decompose_pcp" in capsys.readouterr().err


def test_run(tmp_path, cut, capsys):
    arpes_ml_plugins.save(cut, tmp_path / "in.nc")
    arguments = ["run", "denoise_pcp_unet", str(tmp_path / "in.nc"), str(tmp_path / "out.nc")]
    options = ["--iterations", "2", "--rng=1", "--progress", "False", "--dims", "('eV', 'phi')"]
    assert cli.main(arguments + options) == 0
    result = arpes_ml_plugins.load(tmp_path / "out.nc")
    expected = cut.S.denoise_pcp_unet(iterations=2, rng=1)
    assert (result.values == expected.values).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--iteration", "2"], "no parameter 'iteration'"),
        (["--iterations", "0"], "whole number"),
        (["--iterations"], "has no value"),
        (["iterations=2"], "expected --parameter value"),
        (["--device", "abacus"], "abacus"),
        (["--progress", "perhaps"], "--progress must be one of true, yes, on, false, no, off"),
        (["--progress", "0"], "--progress must be one of"),
    ],
)
def test_run_with_bad_parameters(tmp_path, cut, capsys, options, words):
    arpes_ml_plugins.save(cut, tmp_path / "in.nc")
    arguments = ["run", "denoise_pcp_unet", str(tmp_path / "in.nc"), str(tmp_path / "out.nc")]
    assert cli.main(arguments + options) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out.nc").exists()


@pytest.mark.parametrize(
    ("word", "expected"), [("no", False), ("off", False), ("False", False), ("YES", True)]
)
def test_flags_are_read_as_words(tmp_path, cut, word, expected):
    arpes_ml_plugins.save(cut, tmp_path / "in.nc")
    arguments = ["run", "denoise_pretrained", str(tmp_path / "in.nc"), str(tmp_path / "out.nc")]
    options = ["--adapt", word, "--gain", "1", "--progress", "no", "--rng", "1"]
    assert cli.main(arguments + options) == 0
    result = arpes_ml_plugins.load(tmp_path / "out.nc")
    assert result.attrs["provenance"]["record"]["parameters"]["adapt"] is expected


def test_run_checks_the_output_first(tmp_path, cut, capsys):
    arpes_ml_plugins.save(cut, tmp_path / "in.nc")
    arguments = ["run", "denoise_pcp_unet", str(tmp_path / "in.nc")]
    for output in (tmp_path / "no" / "out.nc", tmp_path):
        assert cli.main([*arguments, str(output)]) == 1
        assert "existing folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main([*arguments, "--iterations", "2", str(tmp_path / "out.nc")])
    assert "come first" in capsys.readouterr().err


def test_run_without_a_file(tmp_path, capsys):
    assert cli.main(["run", "decompose_pcp", str(tmp_path / "no.nc"), "out.nc"]) == 1
    assert "no.nc" in capsys.readouterr().err


def test_interrupted(monkeypatch, capsys):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("arpes_ml_plugins.demo.run_demo", interrupt)
    assert cli.main(["demo"]) == 130
    assert "no file was written" in capsys.readouterr().err


@pytest.mark.pyarpes
def test_demo(tmp_path, monkeypatch, example_cut):
    """The whole demonstration on a corner of the real cut, with few iterations."""
    corner = example_cut.isel(phi=slice(60, 124), eV=slice(100, 164))
    monkeypatch.setattr(demo, "load_cut", lambda: corner)
    out = io.StringIO()
    demo.run_demo(tmp_path / "out", out)
    assert "denoise_pretrained" in out.getvalue()
    names = sorted(path.name for path in Path(tmp_path / "out").iterdir())
    assert names == ["denoised_cut.nc", "denoised_cut.png", "thinned_cut.png"]
    saved = arpes_ml_plugins.load(tmp_path / "out" / "denoised_cut.nc")
    assert saved.attrs["provenance"]["record"]["by"] == "denoise"
