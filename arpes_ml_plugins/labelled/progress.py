"""Report the progress of long computations: in the log, by a bar, or to the user's function."""

from __future__ import annotations

import importlib.util
import logging
import multiprocessing
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np

from arpes_ml_plugins.errors import ParameterError
from arpes_ml_plugins.report import Report

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

ProgressOption = bool | Literal["auto"] | Callable[[Progress], object]


@dataclass(frozen=True)
class Stage:
    """The option ``progress`` of a part of a computation: its steps are counted among all steps."""

    report: Report | None

    def __call__(self, progress: Progress) -> None:
        """Never called: :func:`reporter` passes ``report`` on."""


def check_progress(option: object) -> None:
    """Refuse other values; the text "no" would count as True."""
    automatic = isinstance(option, str) and option == "auto"
    if not (automatic or isinstance(option, (bool, np.bool_)) or callable(option)):
        raise ParameterError(f'progress must be "auto", True, False or a function, got {option!r}')


@contextmanager
def reporter(option: ProgressOption, method: str, total: int) -> Iterator[Report | None]:
    """A function to report steps to, or ``None`` if no reports are wanted.

    A single step is not shown as a bar, but is reported to a user's function. After one second the
    duration is estimated. If it is more than five seconds, it is logged at INFO, and with "auto" a
    bar is shown where somebody is looking.
    """
    check_progress(option)
    if isinstance(option, Stage):
        yield option.report
        return
    late = option == "auto" and somebody_looks()
    with _shown(option, method, total) as shown, ExitStack() as opened:
        if total > FEWEST_STEPS and (late or logger.isEnabledFor(logging.INFO)):
            bar = (lambda done: opened.enter_context(_bar(method, total, done))) if late else None
            yield _Estimate(method, total, shown, bar)
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
    told, failed = 0, False

    def count(steps: int, loss: float | None) -> None:
        nonlocal told, failed
        failed = True
        report(steps, loss)
        failed = False
        told += steps

    try:
        yield count
    except Exception:
        if not failed:  # by an error of the user's own function
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
    elif isinstance(option, (bool, np.bool_)) and option and total > 1:
        with _bar(method, total) as advance:
            yield advance
    else:
        yield None


@contextmanager
def _bar(method: str, total: int, done: int = 0) -> Iterator[Report]:
    """A bar that has reached ``done``."""
    from tqdm.auto import tqdm

    options = {"unit": "it", "dynamic_ncols": True, "mininterval": 0.5}
    with tqdm(total=total, initial=done, desc=method, **options) as bar:

        def advance(steps: int, loss: float | None) -> None:
            bar.update(steps)
            if loss is not None:
                bar.set_postfix(loss=f"{loss:.4g}", refresh=False)

        yield advance


def somebody_looks() -> bool:
    """Whether a bar has a reader: a notebook or a terminal, and the thread that is typed into."""
    if threading.current_thread() is not threading.main_thread():
        return False
    if multiprocessing.parent_process() is not None:
        return False
    return _in_notebook() or (sys.stderr is not None and sys.stderr.isatty())


def _in_notebook() -> bool:
    """Whether a Jupyter kernel runs this, and can show tqdm's bar, which is a widget."""
    if "ipykernel" not in sys.modules or "IPython" not in sys.modules:
        return False
    shell = sys.modules["IPython"].get_ipython()
    return hasattr(shell, "kernel") and importlib.util.find_spec("ipywidgets") is not None


class _Estimate:
    """Log the expected duration once, open a bar if it is long, and pass all steps on."""

    def __init__(
        self,
        method: str,
        total: int,
        shown: Report | None,
        bar: Callable[[int], Report] | None,
    ) -> None:
        self.method, self.total, self.shown, self.bar = method, total, shown, bar
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
            seconds = self.begun[0] - self.start + since * (self.total - self.begun[1]) / before
            if seconds > WORTH_SAYING:
                self.said = True
                if self.bar:
                    self.shown = self.bar(self.done)
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
