"""Write files and folders completely or not at all."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from arpes_ml_plugins.errors import FileError, MissingFileError

__all__ = ["check_target", "whole_file", "whole_folder"]

PREFIX = ".arpes-ml-"
LEFT_OVER = re.compile(re.escape(PREFIX) + r"[0-9a-f]{16}\.part(\.\w{1,16})?")
"""Names of temporary files, in which the name of the target has no part: it may be long."""
FRESH = 60.0  # seconds within which a temporary file may not be locked yet
FOLDER_MODE, FILE_MODE = 0o777, 0o666  # what the umask leaves of them


def check_target(path: str | os.PathLike[str], *, folder: bool = False) -> Path:
    """The path to write to, links resolved; refused if it exists and is of another kind.

    A pipe or a device is never replaced by a file.
    """
    try:
        target = Path(os.path.realpath(path))
        if not target.parent.is_dir():
            raise MissingFileError(f"cannot write {target}: there is no folder {target.parent}")
        mode = target.lstat().st_mode
    except MissingFileError:
        raise
    except FileNotFoundError:
        return target
    except (OSError, ValueError) as error:
        raise FileError(f"cannot write {os.fspath(path)!r}: {error}") from None
    if not (stat.S_ISDIR(mode) if folder else stat.S_ISREG(mode)):
        wanted = "folder" if folder else "regular file"
        raise FileError(
            f"cannot write {target}: it exists and is not a {wanted}; choose another name"
        )
    return target


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside ``path`` that replaces it when the block ends without error.

    Whatever interrupts the block, ``path`` is either as it was or complete. Links are followed,
    and a file that is replaced keeps its permissions.
    """
    target = check_target(path)
    _remove_left_overs(target.parent)
    temporary = _beside(target)
    lock = _Lock(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, FILE_MODE))
    try:
        yield temporary
        with temporary.open("r+b") as file:  # Windows wants it writable
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, temporary)
        temporary.replace(target)
    finally:
        lock.close()
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """The same for a folder; the old one is set aside before the new one takes its name."""
    target = check_target(path, folder=True)
    _remove_left_overs(target.parent)
    temporary = _beside(target)
    old = temporary.with_name(temporary.name.replace(".part", ".old"))  # never removed as left over
    temporary.mkdir(FOLDER_MODE)
    lock = _Lock(os.open(temporary, os.O_RDONLY)) if os.name == "posix" else None
    try:
        yield temporary
        try:
            if target.exists():
                target.rename(old)
            temporary.rename(target)
        except BaseException:
            if old.exists() and not target.exists():
                old.rename(target)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        if lock:
            lock.close()
        shutil.rmtree(temporary, ignore_errors=True)


def _beside(target: Path) -> Path:
    suffix = target.suffix if re.fullmatch(r"\.\w{1,16}", target.suffix) else ""
    return target.parent / f"{PREFIX}{secrets.token_hex(8)}.part{suffix}"


class _Lock:
    """A lock as long as a handle is open; the system lets go of it when the process dies.

    Without locks, as on Windows, the handle is closed at once.
    """

    def __init__(self, handle: int) -> None:
        self._handle: int | None = handle
        self.held = False
        try:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.held = True
        except (ImportError, OSError):
            self.close()

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
        self._handle = None


def _remove_left_overs(folder: Path) -> None:
    """Remove temporary files of killed processes: ours by name, not fresh, and not locked."""
    with suppress(OSError):
        for name in os.listdir(folder):
            if LEFT_OVER.fullmatch(name):
                with suppress(OSError):
                    _remove_if_left(folder / name)


def _remove_if_left(path: Path) -> None:
    if time.time() - path.lstat().st_mtime < FRESH or path.is_symlink():
        return
    lock = _Lock(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)))
    try:
        if not lock.held:
            return
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
    finally:
        lock.close()
