"""Number and manners of the threads of this program, which shares the machine with others."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import MutableMapping
from pathlib import Path

__all__ = ["free_cpus", "share_the_machine"]

NUMBER, WAITING = "OMP_NUM_THREADS", "OMP_WAIT_POLICY"
LOAD = Path("/proc/loadavg")
LOOKS, PAUSE = 5, 0.02  # how often to look at the machine, and seconds in between


def share_the_machine(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set variables of OpenMP that the user has not set; only before torch is imported.

    Threads meet many thousand times while a network is trained, and all wait for the last one. If
    another process keeps one of them from running, each meeting lasts until its turn; if the
    others spin while they wait, as they do by default, they take that turn from it as well.
    """
    environment.setdefault(WAITING, "PASSIVE")
    if NUMBER not in environment:
        environment[NUMBER] = str(free_cpus())


def free_cpus() -> int:
    """CPUs that this process may use and that no other one keeps busy; at least one.

    Where the system does not tell which are busy (all but Linux), all are free.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    count = allowed or os.cpu_count() or 1
    try:
        running = statistics.median_low(_running(number) for number in range(LOOKS))
    except (OSError, ValueError, IndexError):
        return count
    busy_here = min(count, max(0, running - max(0, (os.cpu_count() or 1) - count)))
    return max(1, count - busy_here)


def _running(look: int) -> int:
    """Threads that run or wait for a CPU at this moment, without the one that is looking."""
    if look:
        time.sleep(PAUSE)
    return int(LOAD.read_text().split()[3].split("/")[0]) - 1
