"""Files that are damaged, of another kind, or made to do harm: one error, no noise, no handle."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
import warnings
from pathlib import Path

import h5py
import hypothesis.strategies as st
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings

import arpes_ml_plugins
from arpes_ml_plugins.errors import FileError, FileWarning
from arpes_ml_plugins.labelled import file_check
from arpes_ml_plugins.labelled.whole import PREFIX, whole_file, whole_folder
from arpes_ml_plugins.testing.samples import sample_cut


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    """Files as bytes: of this package, the same without checksum, of others."""
    folder = tmp_path_factory.mktemp("contents")
    cut = sample_cut().assign_attrs(nested={"a": [1, None]})
    arpes_ml_plugins.save(cut, folder / "own.nc")
    plain = xr.Dataset(
        {"a": (("y", "x"), np.arange(12.0).reshape(3, 4)), "s": ("x", list("abcd"))},
        {"x": np.arange(4), "t": np.datetime64("2020")},
        {"title": "plain"},
    )
    packed = {"a": {"zlib": True, "dtype": "int16", "scale_factor": 0.5, "_FillValue": -1}}
    plain.to_netcdf(folder / "plain.nc", engine="h5netcdf", encoding=packed)
    plain.to_netcdf(folder / "old.nc", engine="scipy")
    found = {file.stem: file.read_bytes() for file in folder.iterdir()}
    found["unsigned"] = found["own"][: -file_check.SIZE]
    return found


@st.composite
def damages(draw):
    """A few bytes changed anywhere, many near the start, or the end cut off."""
    places = st.floats(0, 1, exclude_max=True)
    near = draw(st.sampled_from([1.0, 1.0, 0.1]))
    cuts = st.one_of(st.none(), st.none(), places)
    changes = st.lists(st.tuples(places, st.integers(1, 255)), min_size=1, max_size=10)
    return [(near * place, change) for place, change in draw(changes)], draw(cuts)


def damaged(content, damage):
    changes, cut = damage
    found = bytearray(content)
    for place, change in changes:
        found[int(place * len(found))] ^= change
    return bytes(found if cut is None else found[: int(cut * len(found))])


def handles():
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def load_or_refuse(path, capfd):
    before = handles()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # xarray's, about what it reads
        try:
            return arpes_ml_plugins.load(path)
        except FileError as error:
            assert str(path) in str(error)  # noqa: PT017
        finally:
            assert handles() == before
            assert capfd.readouterr() == ("", "")
    return None


@pytest.mark.fuzz
@given(damage=damages())
def test_any_damage_to_our_files_is_noticed(tmp_path, contents, capfd, damage):
    content = damaged(contents["own"], damage)
    path = tmp_path / "damaged.nc"
    path.write_bytes(content)
    end = contents["own"][-file_check.SIZE :]
    if content == contents["own"]:
        return
    if content[-file_check.SIZE :][: len(file_check.MARK)] == end[: len(file_check.MARK)]:
        with pytest.raises(FileError, match="damaged"):
            arpes_ml_plugins.load(path)
    elif len(content) < len(contents["own"]) - file_check.SIZE:
        assert load_or_refuse(path, capfd) is None


@pytest.mark.fuzz
@settings(max_examples=max(6, settings().max_examples // 4))
@given(kind=st.sampled_from(["unsigned", "plain"]), damage=damages())
def test_damaged_hdf5(tmp_path, contents, capfd, monkeypatch, kind, damage):
    monkeypatch.setattr(file_check, "PATIENCE", 20.0)
    path = tmp_path / "damaged.nc"
    path.write_bytes(damaged(contents[kind], damage))
    load_or_refuse(path, capfd)


@pytest.mark.fuzz
@given(damage=damages())
def test_damaged_netcdf3(tmp_path, contents, capfd, damage):
    path = tmp_path / "damaged.nc"
    path.write_bytes(damaged(contents["old"], damage))
    load_or_refuse(path, capfd)


@pytest.mark.parametrize(
    "content", [b"", b"no netCDF\n" * 99, b"\x89HDF\r\n\x1a\n", b"CDF\x01", b"CDF\x05" * 9, b"PK"]
)
def test_other_contents(tmp_path, capfd, content):
    (tmp_path / "other.nc").write_bytes(content)
    with pytest.raises(FileError, match=r"other\.nc"):
        arpes_ml_plugins.load(tmp_path / "other.nc")
    assert capfd.readouterr() == ("", "")


def test_folders_pipes_and_nothing(tmp_path):
    os.mkfifo(tmp_path / "pipe.nc")
    for name in (".", "pipe.nc", "none.nc", "none/none.nc", "a\0b.nc", "x" * 300):
        with pytest.raises(FileError):
            arpes_ml_plugins.load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        arpes_ml_plugins.load(tmp_path / "none.nc")


class TestHarm:
    """Files made to do harm, unsigned and signed."""

    @pytest.fixture(params=[False, True], ids=["unsigned", "signed"])
    def refused(self, request, tmp_path):
        def check(words, make):
            path = tmp_path / "harm.nc"
            with h5py.File(path, "w") as file:
                make(file)
            if request.param:
                path.write_bytes(path.read_bytes() + file_check.signature(path.read_bytes()))
            with pytest.raises(FileError, match=words):
                arpes_ml_plugins.load(path)

        return check

    def test_an_enormous_array(self, refused):
        refused(
            "320,000,000,000 bytes.*max_bytes=",
            lambda file: file.create_dataset("a", (40_000_000_000,), "f8", chunks=(1000,)),
        )

    def test_values_of_another_file(self, refused, tmp_path):
        secret = tmp_path / "secret"
        secret.write_bytes(bytes(800))
        refused(
            "another file",
            lambda file: file.create_dataset("a", 100, "f8", external=[(str(secret), 0, 800)]),
        )

    def test_links_to_another_file(self, refused):
        refused(
            "another file",
            lambda file: file.__setitem__("a", h5py.ExternalLink("/etc/other.nc", "/a")),
        )

    def test_a_virtual_array(self, refused):
        def make(file):
            layout = h5py.VirtualLayout((10,), "f8")
            layout[:] = h5py.VirtualSource("/etc/other.nc", "a", (10,))
            file.create_virtual_dataset("a", layout)

        refused("another file", make)

    def test_groups_without_end(self, refused):
        refused("nested", lambda file: file.create_group("a").__setitem__("b", file["/"]))


def test_a_limit_of_memory(tmp_path):
    xr.Dataset({"a": ("x", np.zeros(100_000))}).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    arpes_ml_plugins.save(xr.Dataset({"a": ("x", np.zeros(100_000))}), tmp_path / "b.nc")
    for name in ("a.nc", "b.nc"):
        with pytest.raises(FileError, match="800,000 bytes.*max_bytes="):
            arpes_ml_plugins.load(tmp_path / name, max_bytes=700_000)
        assert arpes_ml_plugins.load(tmp_path / name, max_bytes=800_000).a.size == 100_000


def test_trusted_files_are_read_at_once(tmp_path, monkeypatch):
    xr.Dataset({"a": 1}).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no python"))
    with pytest.raises(FileError, match="trusted=True"):
        arpes_ml_plugins.load(tmp_path / "a.nc")
    assert arpes_ml_plugins.load(tmp_path / "a.nc", trusted=True).a == 1


@pytest.mark.parametrize(
    "attrs",
    [
        {"units": "days since the flood"},
        {"units": "days since 2000-01-01", "calendar": "of the Maya"},
        {"scale_factor": "two"},
        {"_FillValue": "none"},
        {"coordinates": 3.0},
    ],
)
def test_units_without_sense(tmp_path, attrs):
    with h5py.File(tmp_path / "a.nc", "w") as file:
        variable = file.create_dataset("a", data=np.arange(3.0))
        variable.attrs.update(attrs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = arpes_ml_plugins.load(tmp_path / "a.nc")
    assert (again.a.values == np.arange(3.0)).all()


def test_times_that_cannot_be_decoded_warn(tmp_path):
    with h5py.File(tmp_path / "a.nc", "w") as file:
        file.create_dataset("a", data=np.arange(3.0)).attrs["units"] = "days since the flood"
    with pytest.warns(FileWarning, match="times cannot be decoded"):
        arpes_ml_plugins.load(tmp_path / "a.nc", trusted=True)


@pytest.mark.parametrize(
    "text",
    [
        '{"attributes": ' + "[" * 100_000 + "]" * 100_000 + ', "order": []}',
        '{"attributes": [["a", {"__type__": "array", "dtype": "O", "shape": [9], "text": ""}]]}',
        '{"attributes": [["a", {"__type__": "array", "dtype": 3, "shape": -1, "text": 5}]]}',
        '{"attributes": 5, "order": null}',
        '{"attributes": [[[], {}]], "order": [[]]}',
        "[" * 100_000,
    ],
)
@pytest.mark.parametrize("name", ["arpes_ml_attributes", "provenance"])
def test_hostile_text_in_attributes(tmp_path, text, name):
    xr.Dataset({"a": 1}, attrs={name: text}).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    again = arpes_ml_plugins.load(tmp_path / "a.nc", trusted=True)
    assert again.a == 1
    with pytest.raises(ValueError, match="no provenance"):
        arpes_ml_plugins.replay(again, again)


@pytest.mark.parametrize(
    "text", ["5", "{", "{}", '{"names": 3}', '{"names": [], "kinds": {"a": 1}}']
)
def test_a_hostile_layout(tmp_path, text):
    attrs = {"arpes_ml_layout": text}
    xr.Dataset({"a": 1}, attrs=attrs).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with pytest.raises(FileError, match=r"a\.nc cannot be read"):
        arpes_ml_plugins.load(tmp_path / "a.nc", trusted=True)


class TestSave:
    def test_only_regular_files_are_replaced(self, tmp_path, cut):
        os.mkfifo(tmp_path / "pipe.nc")
        (tmp_path / "folder.nc").mkdir()
        (tmp_path / "link.nc").symlink_to("/dev/full")
        for name in ("pipe.nc", "folder.nc", "link.nc", "/dev/full", "/dev/null"):
            with pytest.raises(FileError, match="not a regular file"):
                arpes_ml_plugins.save(cut, tmp_path / name)
        assert stat.S_ISFIFO((tmp_path / "pipe.nc").stat().st_mode)
        assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)

    def test_suffixes(self, tmp_path, cut):
        with pytest.raises(FileError, match="another format"):
            arpes_ml_plugins.save(cut, tmp_path / "cut.csv")
        with pytest.raises(FileNotFoundError, match="no folder"):
            arpes_ml_plugins.save(cut, tmp_path / "none" / "cut.nc")
        for name in ("cut", "cut.h5", "x" * 252 + ".nc", "é" * 126 + ".nc", ".nc"):
            arpes_ml_plugins.save(cut, tmp_path / name)
            assert arpes_ml_plugins.load(tmp_path / name).identical(cut)

    @pytest.mark.parametrize("name", ["a\0b.nc", "x" * 300 + ".nc", "x" * 300 + "/cut.nc"])
    def test_names_that_no_file_can_have(self, tmp_path, cut, name):
        with pytest.raises(FileError, match="cannot (write|be written)"):
            arpes_ml_plugins.save(cut, tmp_path / name)
        assert list(tmp_path.iterdir()) == []

    def test_a_run_that_is_killed(self, tmp_path, cut):
        run = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path / "cut.nc")], stdout=subprocess.PIPE
        )
        assert run.stdout is not None
        with run.stdout as told:
            told.readline()
            run.kill()
        run.wait()
        (left,) = tmp_path.iterdir()
        old = time.time() - 1000
        os.utime(left, (old, old))
        arpes_ml_plugins.save(cut, tmp_path / "cut.nc")
        assert [path.name for path in tmp_path.iterdir()] == ["cut.nc"]

    def test_permissions_are_kept(self, tmp_path, cut):
        arpes_ml_plugins.save(cut, tmp_path / "cut.nc")
        usual = stat.S_IMODE((tmp_path / "cut.nc").stat().st_mode)
        (tmp_path / "other").touch()
        assert usual == stat.S_IMODE((tmp_path / "other").stat().st_mode)
        (tmp_path / "cut.nc").chmod(0o600)
        arpes_ml_plugins.save(cut, tmp_path / "cut.nc")
        assert stat.S_IMODE((tmp_path / "cut.nc").stat().st_mode) == 0o600

    def test_left_overs_of_killed_runs_are_removed(self, tmp_path, cut):
        old = time.time() - 1000
        left, other = (tmp_path / f"{PREFIX}{16 * c}.part.nc" for c in "ab")
        strange = tmp_path / f"{PREFIX}notes.nc"
        for file in (left, other, strange):
            file.touch()
            if file is not other:
                os.utime(file, (old, old))
        with whole_file(tmp_path / "busy.nc") as busy:
            os.utime(busy, (old, old))
            arpes_ml_plugins.save(cut, tmp_path / "cut.nc")
            assert busy.exists()
        assert not left.exists()
        assert other.exists()  # fresh
        assert strange.exists()

    def test_a_full_disk(self, tmp_path, cut):
        arpes_ml_plugins.save(cut, tmp_path / "cut.nc")
        before = (tmp_path / "cut.nc").read_bytes()
        done = subprocess.run(
            [sys.executable, "-c", FULL_DISK, str(tmp_path / "cut.nc")],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "cut.nc cannot be written: File too large" in done.stdout
        assert (tmp_path / "cut.nc").read_bytes() == before
        assert len(list(tmp_path.iterdir())) == 1


FULL_DISK = """
import resource, sys, numpy as np, xarray as xr, arpes_ml_plugins
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
for size in (3000, 100_000, 1_000_000):
    try:
        arpes_ml_plugins.save(xr.Dataset({"a": ("x", np.zeros(size))}), sys.argv[1])
    except OSError as error:
        print(error)
"""


KILLED = """
import sys, time
from arpes_ml_plugins.labelled.whole import whole_file
with whole_file(sys.argv[1]) as temporary:
    temporary.write_bytes(bytes(10))
    print("now", flush=True)
    time.sleep(100)
"""


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    target = tmp_path / "folder"
    with whole_folder(target) as temporary:
        (temporary / "a").write_text("old")
    with pytest.raises(KeyboardInterrupt), whole_folder(target) as temporary:  # noqa: PT012
        (temporary / "a").write_text("half")
        raise KeyboardInterrupt
    assert (target / "a").read_text() == "old"
    with whole_folder(target) as temporary:
        (temporary / "b").write_text("new")
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "b"]
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="not a folder"), whole_folder(tmp_path / "file"):
        pass


class TestZarr:
    def test_without_zarr(self, tmp_path, cut, monkeypatch):
        monkeypatch.setitem(sys.modules, "zarr", None)
        with pytest.raises(FileError, match=r"zarr is not installed.*\.nc"):
            arpes_ml_plugins.save(cut, tmp_path / "cut.zarr")

    def test_round_trip(self, tmp_path, cut):
        pytest.importorskip("zarr")
        path = tmp_path / "cut.zarr"
        result = cut.S.decompose_pcp().assign_attrs(nested={"a": [1, None]})
        for data in (cut, result):  # the second time the folder is replaced
            arpes_ml_plugins.save(data, path)
            assert path.is_dir()
            assert arpes_ml_plugins.load(path).identical(data)
        assert list(tmp_path.iterdir()) == [path]

    def test_users_may_write_of_pickles(self, tmp_path):
        pytest.importorskip("zarr")
        data = xr.DataArray([1.0], dims="x", attrs={"name": "pickle", "from": {"id": "pickle.h5"}})
        arpes_ml_plugins.save(data, tmp_path / "a.zarr")
        assert arpes_ml_plugins.load(tmp_path / "a.zarr").identical(data)

    def test_pickles_are_refused(self, tmp_path):
        pytest.importorskip("zarr")
        (tmp_path / "a.zarr").mkdir()
        (tmp_path / "a.zarr" / ".zgroup").write_text('{"zarr_format": 2}')
        (tmp_path / "a.zarr" / ".zarray").write_text('{"filters": [{"id": "pickle"}]}')
        with pytest.raises(FileError, match="run code"):
            arpes_ml_plugins.load(tmp_path / "a.zarr")
