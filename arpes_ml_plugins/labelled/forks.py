"""Copies of a process (``fork``) in which torch would wait for threads that were not copied."""

from __future__ import annotations

import os

from arpes_ml_plugins.errors import ForkError

__all__ = ["check_fork"]

_first_use: list[int] = []
"""Number of the process in which torch has worked for us first; a copy finds its parent's here."""


def check_fork() -> None:
    """Refuse to work in a fork of a process that has used torch's threads, where torch would hang.

    Raises
    ------
    ForkError
        This process was forked after a method had run, and torch has more than one thread.
    """
    import torch

    if not _first_use:
        _first_use.append(os.getpid())
    if _first_use[0] == os.getpid() or torch.get_num_threads() == 1:
        return
    raise ForkError(
        "this process was forked from one that had used torch, and a fork loses its threads, so "
        "that torch would hang; start processes with multiprocessing.get_context('spawn') (dask "
        "and joblib do), or call torch.set_num_threads(1) first in each of them"
    )
