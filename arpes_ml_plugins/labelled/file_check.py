"""Check untrusted files: their format, whether they are damaged, and whether they are safe."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

from arpes_ml_plugins.errors import FileError, MissingFileError

__all__ = [
    "DEFAULT_LEAST",
    "DEFAULT_RATIO",
    "check_alone",
    "check_zarr",
    "format_of",
    "is_signed",
    "limit_for",
    "signature",
]

DEFAULT_LEAST = 2**28
DEFAULT_RATIO = 100
"""Limit on the unpacked bytes without ``max_bytes``, and on their ratio to the file's size."""
MARK = b"arpes_ml sha256 "
SIZE = len(MARK) + hashlib.sha256().digest_size
HDF5 = b"\x89HDF\r\n\x1a\n"
NETCDF3 = (b"CDF\x01", b"CDF\x02")
USER_BLOCKS = (0, *(512 << k for k in range(12)))
"""Offsets at which the signature of HDF5 may lie."""
PATIENCE = 60.0  # seconds that reading may take
PACE = 10e6  # bytes per second that reading reaches at least
BLOCK = 2**20
ZARR_METADATA = (".zarray", ".zgroup", ".zmetadata", "zarr.json")


def format_of(path: Path) -> str:
    """``"hdf5"``, ``"netcdf3"`` or ``"zarr"``, by content; :class:`FileError` for all else."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            if any((path / name).is_file() for name in ZARR_METADATA):
                return "zarr"
            raise FileError(
                f"{path} is a folder without the metadata of zarr; expected a folder of zarr"
            )
        if not stat.S_ISREG(mode):
            raise FileError(f"{path} is not a regular file")
        with path.open("rb") as file:
            start = file.read(len(HDF5))
            if start.startswith(NETCDF3):
                return "netcdf3"
            for place in USER_BLOCKS:
                file.seek(place)
                if file.read(len(HDF5)) == HDF5:
                    return "hdf5"
    except FileError:
        raise
    except (FileNotFoundError, NotADirectoryError):
        raise MissingFileError(f"there is no file {path}") from None
    except (OSError, ValueError) as error:
        raise FileError(f"{path} cannot be read: {error}") from None
    raise FileError(
        f"{path} is no netCDF file: {_beginning(start)}; expected HDF5, netCDF-3 or a folder of "
        f"zarr. xarray.open_dataset may know the format"
    )


def _beginning(start: bytes) -> str:
    """What the first bytes of a file are, in words."""
    if not start:
        return "it is empty"
    text = start.decode("ascii", "replace")
    if all(letter.isprintable() or letter.isspace() for letter in text) and "\ufffd" not in text:
        return f'it begins with the text "{" ".join(text.split())}"'
    return f"it begins with the bytes {start.hex(' ')}"


def limit_for(path: Path, max_bytes: int | None) -> int:
    """Upper limit on the bytes of the arrays of a file in memory."""
    if max_bytes is not None:
        return int(max_bytes)
    files = [path, *path.rglob("*")] if path.is_dir() else [path]
    return max(DEFAULT_LEAST, DEFAULT_RATIO * sum(file.stat().st_size for file in files))


def signature(content: bytes | memoryview) -> bytes:
    """A checksum to be written after the end of an HDF5 file, where readers do not look.

    Any program that changes the file through the HDF5 library cuts it off.
    """
    return MARK + hashlib.sha256(content).digest()


def is_signed(path: Path) -> bool:
    """Whether a checksum ends the file and agrees with it; :class:`FileError` if it disagrees."""
    size = path.stat().st_size
    if size < SIZE:
        return False
    with path.open("rb") as file:
        file.seek(size - SIZE)
        end = file.read(SIZE)
        if not end.startswith(MARK):
            return False
        file.seek(0)
        found, left = hashlib.sha256(), size - SIZE
        while left > 0:
            block = file.read(min(BLOCK, left))
            if not block:
                break
            found.update(block)
            left -= len(block)
    if found.digest() != end[len(MARK) :]:
        raise FileError(
            f"{path} is damaged: its content does not agree with the checksum at its end; take "
            f"another copy"
        )
    return True


def check_alone(path: Path, limit: int) -> None:
    """Read an HDF5 file in another process first, where it can do no harm."""
    script = Path(__file__).with_name("read_alone.py")
    patience = PATIENCE + path.stat().st_size / PACE
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-P", "-W", "ignore", str(script), str(path), str(limit)]
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=patience,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise FileError(
            f"{path} cannot be read: it is damaged, or the HDF5 library needs more than "
            f"{patience:.0f} s for it"
        ) from None
    except OSError as error:
        raise FileError(
            f"{path} could not be tested in a process of its own ({error}); load it with "
            f"trusted=True if you know where it comes from"
        ) from None
    if done.returncode < 0:
        raise FileError(
            f"{path} cannot be read: the HDF5 library crashes on it (signal {-done.returncode})"
        )
    try:
        problem = json.loads(done.stdout)["problem"]
    except (ValueError, KeyError, TypeError):
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise FileError(
            f"{path} could not be tested in a process of its own ({' '.join(last)}); load it "
            f"with trusted=True if you know where it comes from"
        ) from None
    if problem:
        raise FileError(f"{path} cannot be read: {problem}")


def check_zarr(path: Path) -> None:
    """Refuse codecs that run code: zarr can hold pickles."""
    for file in path.rglob("*"):
        if file.name in ZARR_METADATA and _asks_for_pickles(json.loads(file.read_bytes())):
            raise FileError(f"{path} cannot be read: {file} asks for pickles, which can run code")


def _asks_for_pickles(metadata: object) -> bool:
    """Whether a codec is named so anywhere, except in what users write into attributes."""
    if isinstance(metadata, list):
        return any(map(_asks_for_pickles, metadata))
    if not isinstance(metadata, dict):
        return False
    named = (metadata.get(key) for key in ("id", "name"))
    inside = (
        part
        for key, part in metadata.items()
        if key != "attributes" and not key.endswith(".zattrs")
    )
    return any("pickle" in str(name).lower() for name in named) or any(
        map(_asks_for_pickles, inside)
    )
