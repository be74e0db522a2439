"""Progress of long computations: silent, a bar, or the user's own function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from arpes_ml_plugins.errors import ParameterError

__all__ = ["Progress", "ProgressOption", "Report", "check_progress", "reporter"]


@dataclass(frozen=True)
class Progress:
    """What a user's progress function is called with."""

    method: str
    done: int
    """Iterations finished, over all slices."""
    total: int
    loss: float | None = None


ProgressOption = bool | Callable[[Progress], object]
Report = Callable[[int, "float | None"], None]
"""``report(steps, loss)``: this number of further iterations is done."""


def check_progress(option: object) -> None:
    """Refuse what is neither True or False nor a function; the word "no" would mean yes."""
    if not isinstance(option, bool) and not callable(option):
        raise ParameterError(f"progress must be True, False or a function, got {option!r}")


@contextmanager
def reporter(option: ProgressOption, method: str, total: int) -> Iterator[Report | None]:
    """A function to report steps to, or ``None`` if nobody listens.

    A single step needs no bar: it would jump from nothing to all. A user's function hears of it.
    """
    check_progress(option)
    if callable(option):
        done = 0

        def tell(steps: int, loss: float | None) -> None:
            nonlocal done
            done += steps
            option(Progress(method, done, total, loss))

        yield tell
    elif option and total > 1:
        from tqdm.auto import tqdm

        with tqdm(total=total, desc=method, unit="it", dynamic_ncols=True, mininterval=0.5) as bar:

            def advance(steps: int, loss: float | None) -> None:
                bar.update(steps)
                if loss is not None:
                    bar.set_postfix(loss=f"{loss:.4g}", refresh=False)

            yield advance
    else:
        yield None
