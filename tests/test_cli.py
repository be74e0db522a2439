"""The command line."""

from __future__ import annotations

import inspect
import io
import math
import os
import signal
import subprocess
import sys
import typing
import warnings
from pathlib import Path

import pytest
import xarray as xr
from hypothesis import example, given, settings
from hypothesis import strategies as st

import arpes_ml_plugins
from arpes_ml_plugins import cli, demo, hookimpl
from arpes_ml_plugins.cli.options import OWN
from arpes_ml_plugins.cli.values import kinds_of, read_value
from arpes_ml_plugins.plugins.manager import plugins

METHOD = "decompose_pcp"


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


def register(name, function, request):
    class Plugin:
        @hookimpl
        def register_methods(self, registry):
            registry.add(function, roles=("energy",))

    arpes_ml_plugins.register(Plugin(), name)
    request.addfinalizer(lambda: arpes_ml_plugins.unregister(name))


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
    def test_flags(self, run, saved, request, words, expected):
        seen = []

        def denoise_flag(data, *, adapt=True, device="auto", rng=None, progress=False, dims=None):
            """Note the flag."""
            seen.append(adapt)
            return data.astype(float)

        register("flags", denoise_flag, request)
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

    def test_third_party_methods_have_options(self, run, saved, request):
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

        register("theirs", denoise_theirs, request)
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

    def test_surprises_come_with_a_traceback(self, run, saved, request):
        def denoise_surprise(data, *, device="auto", rng=None, progress=False, dims=None):
            """Fail."""
            raise ZeroDivisionError("of theirs")

        register("surprise", denoise_surprise, request)
        status, _, err = run("run", "denoise_surprise", saved, "out.nc")
        assert status == 1
        assert "Traceback" in err
        assert "in denoise_surprise" in err


KINDS = ("bool", "int", "float", "str", "None", "sequence", "other")
PIECES = st.sampled_from(
    ["(", "[", "{", "}", ")", "-", "1", "e9", ",", "'", "j", "\0", "#", "\\", "none"]
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.one_of(st.text(max_size=30), st.lists(PIECES, max_size=300).map("".join)),
    st.frozensets(st.sampled_from(KINDS), min_size=1),
)
@example("{[]}", frozenset({"int"}))
@example("{[]: 1}", frozenset({"other"}))
@example("1" * 400 + "+1j", frozenset({"float"}))
@example("'\\d'", frozenset({"str"}))
@example("\ud800", frozenset({"str"}))
def test_any_text_is_a_value_or_refused(text, kinds):
    value, refusal = None, ""
    try:
        value = read_value(text, kinds)
    except ValueError as error:
        refusal = str(error)
    assert len(refusal) < 200
    if kinds <= {"int", "None"}:
        assert value is None or type(value) is int
    if kinds == {"str"}:
        assert refusal or type(value) is str


@pytest.mark.parametrize(
    ("text", "kinds", "expected"),
    [
        ("3", "int", 3),
        ("3", "float None", 3),
        ("nan", "float", pytest.approx(math.nan, nan_ok=True)),
        ("None", "str None", None),
        ("none", "str", "none"),
        ("5", "str", "5"),
        ("'a b'", "str", "a b"),
        ("no", "bool str", False),
        ("eV,phi", "sequence None", ("eV", "phi")),
        ("eV", "sequence None", ("eV",)),
        ("ky,phi", "str sequence None", ("ky", "phi")),
        ("1", "str sequence None", "1"),
        ("('eV', 'phi')", "sequence None", ("eV", "phi")),
        ("{'momentum': 'ky'}", "other sequence None", {"momentum": "ky"}),
        ("0.1", "str bool float", 0.1),
    ],
)
def test_values(text, kinds, expected):
    assert read_value(text, frozenset(kinds.split())) == expected


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        ("float | None", "float None"),
        (float | None, "float None"),
        (typing.Optional[int], "int None"),  # noqa: UP045
        (typing.Union[str, bool], "str bool"),  # noqa: UP007
        ("Optional[Sequence[str]]", "sequence None"),
        ("Mapping[str, list[int | str]] | Sequence[str]", "other sequence"),
        ("np.random.Generator", "other"),
        ("list[", "other"),
    ],
)
def test_kinds_of_annotations(annotation, expected):
    parameter = inspect.Parameter("x", inspect.Parameter.KEYWORD_ONLY, annotation=annotation)
    assert kinds_of(parameter) == set(expected.split())


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

    def test_warnings_name_the_file_every_time(self, run, files, request):
        def denoise_warning(data, *, device="auto", rng=None, progress=False, dims=None):
            """Warn."""
            with warnings.catch_warnings():
                warnings.simplefilter("default")
                warnings.warn("saturated", UserWarning, stacklevel=1)
            return data.astype(float)

        register("warning", denoise_warning, request)
        status, _, err = run("run", "denoise_warning", "data/a.nc", "data/b.nc", "--out", "clean")
        assert status == 0
        assert "warning: data/a.nc: saturated\n" in err
        assert "warning: data/b.nc: saturated\n" in err


def environment():
    """For a process of its own that imports this checkout."""
    return os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}


def test_streams(saved, cut, monkeypatch, request):
    """Bytes in, bytes out, and nothing that a method prints between them."""

    def denoise_chatty(data, *, device="auto", rng=None, progress=False, dims=None):
        """Print."""
        sys.stdout.write("thinking")
        return data.astype(float)

    register("chatty", denoise_chatty, request)
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


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_any_console(encoding, monkeypatch, request):
    def denoise_greek(data, *, width="ω→", device="auto", rng=None, progress=False, dims=None):
        """Widen Σ(ω) by ½ → 你好.

        Parameters
        ----------
        width : str
            In ω→.
        """

    register("greek", denoise_greek, request)
    for words in (["methods"], ["run", "denoise_greek", "--help"], ["run", "Σ"], ["run", "--help"]):
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2))
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        cli.main(words)
        assert (out.errors, err.errors) == ("strict", "strict")
        text = (out.buffer.getvalue() + err.buffer.getvalue()).decode(encoding)
        assert "\\u03c9" in text or "\\u03a3" in text or words == ["run", "--help"]


def test_a_reader_that_goes_away():
    """Nothing is told, and the process ends as ``yes | head`` does."""
    read, write = os.pipe()
    os.close(read)
    code = "import sys; from arpes_ml_plugins.cli import main; sys.exit(main(['methods']))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(),
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_help_and_methods_import_no_torch():
    code = (
        "import sys; from arpes_ml_plugins.cli import main\n"
        "for words in (['--help'], ['methods'], ['methods', 'denoise'], ['run', 'denoise', "
        "'--help']):\n"
        "    assert main(words) == 0\n"
        "print([m for m in ('torch', 'matplotlib', 'dask', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


SLEEPER = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background ignore it
import arpes_ml_plugins
from arpes_ml_plugins.cli import main

def denoise_sleep(data, *, device="auto", rng=None, progress=False, dims=None):
    "Sleep."
    print("asleep", flush=True)
    time.sleep(60)

class Sleeper:
    @arpes_ml_plugins.hookimpl
    def register_methods(self, registry):
        registry.add(denoise_sleep, roles=("energy",))

arpes_ml_plugins.register(Sleeper())
sys.exit(main(["run", "denoise_sleep", "in.nc", "out.nc"]))
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
def test_interrupted(saved):
    """Ctrl-C in the middle of the work: status 130, one line, and nothing in the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", SLEEPER],
        cwd=saved.parent,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stdout.readline() == b"asleep\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == b"arpes-ml: interrupted; no file was written\n"
    assert [path.name for path in saved.parent.iterdir()] == ["in.nc"]


def test_interrupted_between_files(run, files, request):
    calls = []

    def denoise_slow(data, *, device="auto", rng=None, progress=False, dims=None):
        """Take long."""
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return data.astype(float)

    register("slow", denoise_slow, request)
    status, _, err = run("run", "denoise_slow", "data", "--out", "clean")
    assert status == 130
    assert "1 of 4 files were written" in err


def test_interrupted_demo(run, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("arpes_ml_plugins.demo.run_demo", interrupt)
    status, _, err = run("demo")
    assert status == 130
    assert "no file was written" in err


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
    page = (Path(__file__).parents[1] / "docs" / "command_line.md").read_text()
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
