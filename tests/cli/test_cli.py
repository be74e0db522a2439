"""The program: its help, its list of methods, completion, exit statuses and demonstration."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

import arpes_ml_plugins
from arpes_ml_plugins import cli, demo
from arpes_ml_plugins.plugins.manager import plugins


class TestMethods:
    def test_lists_all(self, run):
        status, out, _ = run("methods")
        assert status == 0
        for name, summary in arpes_ml_plugins.methods_available().items():
            assert name in out
            assert summary in out

    def test_explains_one(self, run):
        status, out, _ = run("methods", "decompose_pcp")
        assert status == 0
        assert "low_rank" in out
        status, _, err = run("methods", "decompose_pcd")
        assert status == 2
        assert "'decompose_pcp'" in err

    @pytest.mark.parametrize("name", sorted(arpes_ml_plugins.methods_available()))
    def test_help_of_every_method(self, run, name):
        status, out, _ = run("run", name.replace("_", "-"), "--help")
        assert status == 0
        method = plugins().methods[name]
        for parameter in method.signature.parameters:
            if parameter != "data":
                assert f"--{parameter.replace('_', '-')} " in out
        assert "``" not in out
        assert ":func:" not in out

    def test_help_has_types_defaults_and_sentences(self, run):
        _, out, _ = run("run", "denoise", "--help")
        text = " ".join(out.split())
        assert "--method auto|pretrained|counts|pcp_unet Method to use;" in text
        assert "--gain NUMBER Variance over mean" in text
        assert "--adapt / --no-adapt Whether to train the pre-trained network further" in text
        assert "[default: auto]" in text


def test_help_and_methods_import_no_torch(environment):
    code = (
        "import sys; from arpes_ml_plugins.cli import main\n"
        "for words in (['--help'], ['methods'], ['methods', 'denoise'], ['run', 'denoise', "
        "'--help']):\n"
        "    assert main(words) == 0\n"
        "print([m for m in ('torch', 'matplotlib', 'dask', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_any_console(encoding, monkeypatch, register):
    def denoise_greek(data, *, width="ω→", device="auto", rng=None, progress=False, dims=None):
        """Widen Σ(ω) by ½ → 你好.

        Parameters
        ----------
        width : str
            In ω→.
        """

    register("greek", denoise_greek)
    for words in (["methods"], ["run", "denoise_greek", "--help"], ["run", "Σ"], ["run", "--help"]):
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2))
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        cli.main(words)
        assert (out.errors, err.errors) == ("strict", "strict")
        text = (out.buffer.getvalue() + err.buffer.getvalue()).decode(encoding)
        assert "\\u03c9" in text or "\\u03a3" in text or words == ["run", "--help"]


def test_a_reader_that_goes_away(environment):
    """Nothing is told, and the process ends as ``yes | head`` does."""
    read, write = os.pipe()
    os.close(read)
    code = "import sys; from arpes_ml_plugins.cli import main; sys.exit(main(['methods']))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("arpes-ml run den", "denoise_counts"),
        ("arpes-ml methods est", "estimate_noise"),
        ("arpes-ml run denoise --no-ad", "--no-adapt"),
        ("arpes-ml run denoise --method p", "pretrained"),
    ],
)
def test_completion(run, monkeypatch, line, expected):
    words = line.split()
    monkeypatch.setenv("_ARPES_ML_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    status, out, _ = run()
    assert status == 0
    assert expected in out


def test_exit_statuses_are_documented(run):
    page = (Path(__file__).parents[2] / "docs" / "command_line.md").read_text()
    _, out, _ = run("--help")
    for status in ("0", "1", "2", "130", "141"):
        assert f"\n    {status} " in out
        assert f"| {status} |" in page


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
