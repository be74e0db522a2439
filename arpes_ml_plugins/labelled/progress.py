"""Report the progress of long computations: in the log, by a bar, or to the user's function."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from arpes_ml_plugins.errors import ParameterError

__all__ = [
    "Progress",
    "ProgressOption",
    "Report",
    "Stage",
    "check_progress",
    "counted",
    "reporter",
    "stages",
]


@dataclass(frozen=True)
class Progress:
    """State of a computation, with which a user's progress function is called."""

    method: str
    done: int
    """Iterations finished, over all slices."""
    total: int
    loss: float | None = None


logger = logging.getLogger(__name__)

FIRST_LOOK = 1.0  # seconds of work, from which the rest is estimated
WORTH_SAYING = 5.0  # seconds
FEWEST_STEPS = 2

ProgressOption = bool | Callable[[Progress], object]
Report = Callable[[int, "float | None"], None]
"""``report(steps, loss)``: this number of further iterations is done."""


@dataclass(frozen=True)
class Stage:
    """The option ``progress`` of a part of a computation: its steps are counted among all steps."""

    report: Report | None

    def __call__(self, progress: Progress) -> None:
        """Never called: :func:`reporter` passes ``report`` on."""


def check_progress(option: object) -> None:
    """Refuse values other than True, False or a function; the text "no" would count as True."""
    if not isinstance(option, bool) and not callable(option):
        raise ParameterError(f"progress must be True, False or a function, got {option!r}")


@contextmanager
def reporter(option: ProgressOption, method: str, total: int) -> Iterator[Report | None]:
    """A function to report steps to, or ``None`` if no reports are wanted.

    A single step is not shown as a bar, but is reported to a user's function. With any option, the
    expected duration is logged at INFO after one second, if it is more than five seconds.
    """
    check_progress(option)
    if isinstance(option, Stage):
        yield option.report
        return
    with _shown(option, method, total) as shown:
        if logger.isEnabledFor(logging.INFO) and total > FEWEST_STEPS:
            yield _Estimate(method, total, shown)
        else:
            yield shown


@contextmanager
def stages(option: ProgressOption, method: str, total: int) -> Iterator[Stage]:
    """The option for each part of a computation of ``total`` steps; what is not needed is reported
    in the end.
    """
    with reporter(option, method, total) as report:
        if report is None:
            yield Stage(None)
            return
        left = total

        def count(steps: int, loss: float | None) -> None:
            nonlocal left
            left -= steps
            report(steps, loss)

        yield Stage(count)
        if left > 0:
            report(left, None)


@contextmanager
def counted(report: Report | None) -> Iterator[Report | None]:
    """``report``, whose steps are taken back if the batch fails and has to be done again."""
    if report is None:
        yield None
        return
    told = 0

    def count(steps: int, loss: float | None) -> None:
        nonlocal told
        told += steps
        report(steps, loss)

    try:
        yield count
    except Exception:
        report(-told, None)
        raise


@contextmanager
def _shown(option: ProgressOption, method: str, total: int) -> Iterator[Report | None]:
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


class _Estimate:
    """Log the expected duration once, and pass all steps on."""

    def __init__(self, method: str, total: int, shown: Report | None) -> None:
        self.method, self.total, self.shown = method, total, shown
        self.start = time.perf_counter()
        self.begun: tuple[float, int] | None = None
        """Time and steps of the first report: the first step takes longer than the others."""
        self.done = 0
        self.said = False

    def __call__(self, steps: int, loss: float | None) -> None:
        self.done += steps
        if self.shown:
            self.shown(steps, loss)
        now = time.perf_counter()
        if self.begun is None:
            self.begun = now, self.done
        since, before = now - self.begun[0], self.done - self.begun[1]
        if not self.said and since >= FIRST_LOOK and before > 0:
            self.said = True
            seconds = self.begun[0] - self.start + since * (self.total - self.begun[1]) / before
            if seconds > WORTH_SAYING:
                logger.info(
                    "%s will take about %s (%d of %d steps in %.1f s)",
                    self.method,
                    _in_words(seconds),
                    self.done,
                    self.total,
                    now - self.start,
                )


def _in_words(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
