"""``arpes-ml run`` on one file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import xarray as xr

import arpes_ml_plugins
from arpes_ml_plugins.cli.options import OWN

METHOD = "decompose_pcp"


class TestRun:
    def test_parameters_reach_the_method(self, run, saved, cut):
        options = ["--iterations", "2", "--rng=1", "--progress", "False", "--dims", "('eV', 'phi')"]
        status, out, _ = run("run", "denoise_pcp_unet", saved, "out.nc", *options)
        assert (status, out) == (0, "written: out.nc\n")
        result = arpes_ml_plugins.load("out.nc")
        assert (result.values == cut.S.denoise_pcp_unet(iterations=2, rng=1).values).all()

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            (["--adapt", "no"], False),
            (["--adapt", "false"], False),
            (["--adapt=OFF"], False),
            (["--no-adapt"], False),
            (["--adapt", "--no-adapt"], False),
            (["--adapt", "YES"], True),
            (["--adapt"], True),
            ([], True),
        ],
    )
    def test_flags(self, run, saved, register, words, expected):
        seen = []

        def denoise_flag(data, *, adapt=True, device="auto", rng=None, progress=False, dims=None):
            """Note the flag."""
            seen.append(adapt)
            return data.astype(float)

        register("flags", denoise_flag)
        assert run("run", "denoise_flag", saved, "first.nc", *words)[0] == 0
        assert run("run", "denoise_flag", *words, saved, "second.nc")[0] == 0
        assert seen == [expected] * 2

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--iteration", "2"], "--iterations"),
            (["--iterations"], "requires an argument"),
            (["--iterations", "many"], "expected a whole number or none, got 'many'"),
            (["--iterations", "2.5"], "whole number"),
            (["--iterations", "True"], "whole number"),
            (["--noise-ratio", "[1]"], "expected a number"),
            (["--iterations", "9" * 5000], "too many digits"),
            (["--iterations", str(2**70)], "too large"),
            (["--iterations", "[" * 9000], "whole number"),
            (["--iterations", "-" * 9000 + "1"], "nested too deeply"),
            (["--iterations", "1+" * 4900 + "1"], "'1+1+1+1+"),  # the reason depends on the Python
            (["--dims", "(" * 9000 + "'eV'" + ")" * 9000], "at most 10000 characters"),
            (["--recipe", "a\0b"], "NUL"),
            (["--progress", "perhaps"], "--progress must be one of true, yes, on, false, no, off"),
            (["--progress=0"], "--progress must be one of"),
            (["-x"], "No such option"),
        ],
    )
    def test_wrong_options_are_refused_before_any_work(self, run, saved, options, words):
        status, out, err = run("run", "denoise_pcp_unet", saved, "out.nc", *options)
        assert (status, out) == (2, "")
        assert words in err
        assert "Traceback" not in err
        assert not Path("out.nc").exists()

    @pytest.mark.parametrize(
        ("options", "words"),
        [(["--iterations", "0"], "whole number"), (["--device", "abacus"], "abacus")],
    )
    def test_wrong_values_are_told_by_the_method(self, run, saved, options, words):
        status, _, err = run("run", "denoise_pcp_unet", saved, "out.nc", *options)
        assert status == 1
        assert words in err
        assert not Path("out.nc").exists()

    @pytest.mark.parametrize("words", [(), ("demo",), ("methods",), ("run",), ("run", "denoise")])
    def test_the_short_word_for_help(self, run, words):
        status, short, _ = run(*words, "-h")
        assert status == 0
        assert short == run(*words, "--help")[1]

    def test_errors_about_files_and_axes_are_for_people(self, run, tmp_path):
        for content, words in (
            (b"hello\n\tworld", 'it begins with the text "hello w"'),
            (b"\x89PNG\r\n\x1a\n\0\0", "it begins with the bytes 89 50 4e 47"),
            ("mä".encode(), "it begins with the bytes 6d c3 a4"),
            (b"", "it is empty"),
        ):
            (tmp_path / "in.nc").write_bytes(content)
            status, _, err = run("run", "denoise", "in.nc", "out.nc")
            assert status == 1
            assert words in err
            assert "b'" not in err
        arpes_ml_plugins.save(xr.DataArray(range(30), dims="eV"), "in.nc")
        _, _, err = run("run", "denoise", "in.nc", "out.nc")
        assert err.startswith("arpes-ml: expected data along energy and momentum, got")
        arpes_ml_plugins.save(xr.DataArray([[0.0] * 30] * 30, dims=("a", "b")), "in.nc")
        _, _, err = run("run", "denoise", "in.nc", "out.nc")
        assert err.startswith("arpes-ml: no energy or momentum axis among the dimensions a (30)")
        assert "--dims" in err

    def test_a_parameter_without_default_is_required(self, run, saved):
        status, _, err = run("run", "separate_nmf", saved, "out.nc")
        assert status == 2
        assert "--n-components" in err

    def test_third_party_methods_have_options(self, run, saved, register):
        seen = {}

        def denoise_theirs(
            data, *, size: int = 3, names: list[str] = (), out="x", mask=None, device="auto",
            rng=None, progress=False, dims=None,
        ):  # fmt: skip
            """Do theirs.

            Parameters
            ----------
            size : int
                Side of it, e.g. three. In pixels.
            """
            seen.update(size=size, names=names, out=out, mask=mask)
            return data.astype(float)

        register("theirs", denoise_theirs)
        _, text, _ = run("run", "denoise_theirs", "--help")
        assert "Side of it, e.g. three. [default: 3]" in " ".join(text.split())
        words = ["--size", "5", "--names", "a,b", "--parameter-out", "y", "--mask", f"@{saved}"]
        assert run("run", "denoise_theirs", saved, "out.nc", *words)[0] == 0
        assert (seen["size"], seen["names"], seen["out"]) == (5, ("a", "b"), "y")
        assert seen["mask"].identical(arpes_ml_plugins.load(saved))
        assert "out" in OWN

    def test_variable(self, run, tmp_path, cut):
        both = cut.rename("left").to_dataset().assign(right=cut + 5)
        arpes_ml_plugins.save(both, tmp_path / "two.nc")
        status, _, err = run("run", METHOD, "two.nc", "out.nc")
        assert status == 1
        assert "--variable NAME" in err
        status, _, err = run("run", METHOD, "two.nc", "out.nc", "--variable", "middle")
        assert status == 1
        assert "left, right" in err
        assert run("run", METHOD, "two.nc", "out.nc", "--variable", "right")[0] == 0
        expected = both["right"].S.decompose_pcp()
        assert (arpes_ml_plugins.load("out.nc").low_rank == expected.low_rank).all()

    def test_data_are_not_replaced(self, run, saved, tmp_path, cut):
        before = saved.read_bytes()
        other = tmp_path / "other.nc"
        other.write_bytes(before)
        for target in (saved, other):
            status, _, err = run("run", METHOD, saved, target)
            assert status == 1
            assert "--overwrite" in err
            assert target.read_bytes() == before
        assert run("run", METHOD, saved, other, "--overwrite")[0] == 0
        assert run("run", METHOD, saved, other, "--tolerance", "1e-4")[0] == 0  # a result is
        assert other.read_bytes() != before

    @pytest.mark.parametrize(
        ("words", "words_of_error"),
        [
            (["in.nc"], "output is missing"),
            ([], "Missing argument"),
            (["in.nc", "in.nc", "out.nc"], "--out FOLDER"),
            (["in.nc", "--out", "in.nc"], "must be a folder"),
            (["-", "--out", "clean"], "stdin"),
            (["in.nc", os.devnull], "device or pipe"),
        ],
    )
    def test_outputs_are_checked_first(self, run, saved, words, words_of_error):
        status, _, err = run("run", METHOD, *words)
        assert status == 2
        assert words_of_error in err

    def test_a_missing_folder_or_file(self, run, saved):
        status, _, err = run("run", METHOD, saved, "no/out.nc")
        assert status == 1
        assert "existing folder" in err
        status, _, err = run("run", METHOD, "no.nc", "out.nc")
        assert status == 1
        assert "no.nc" in err

    def test_surprises_come_with_a_traceback(self, run, saved, register):
        def denoise_surprise(data, *, device="auto", rng=None, progress=False, dims=None):
            """Fail."""
            raise ZeroDivisionError("of theirs")

        register("surprise", denoise_surprise)
        status, _, err = run("run", "denoise_surprise", saved, "out.nc")
        assert status == 1
        assert "Traceback" in err
        assert "in denoise_surprise" in err
