"""Write text to terminals and pipes with any encoding, even if the reader stops."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["any_character", "encodable", "leave_broken_pipes", "say", "tell"]

UNKNOWN = "backslashreplace"
"""Error handler for characters that a stream cannot encode."""


@contextmanager
def any_character() -> Iterator[None]:
    """Write an escape for each character that stdout or stderr cannot encode, in the block."""
    streams = [s for s in (sys.stdout, sys.stderr) if isinstance(s, io.TextIOWrapper)]
    before = [stream.errors for stream in streams]
    for stream in streams:
        stream.reconfigure(errors=UNKNOWN)
    try:
        yield
    finally:
        for stream, errors in zip(streams, before, strict=True):
            with suppress(OSError, ValueError):  # closed meanwhile, or its reader went away
                stream.reconfigure(errors=errors)


def encodable(text: str) -> str:
    """The text with escapes for what stdout cannot encode.

    click writes UTF-8 to an ASCII stdout otherwise.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, UNKNOWN).decode(encoding)


def say(text: str) -> None:
    """Write a result to stdout."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def tell(text: str) -> None:
    """Write a message to stderr."""
    sys.stderr.write(f"arpes-ml: {text}\n")
    sys.stderr.flush()


def leave_broken_pipes() -> None:
    """Redirect streams whose reader has closed them, so that the last flush is silent."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            with suppress(OSError):  # no real file behind it
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
