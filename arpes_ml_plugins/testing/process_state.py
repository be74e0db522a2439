"""State shared by the whole process, which methods must not change, as they run in threads."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

__all__ = ["default_dtype", "left_alone", "many_switches", "process_state"]

SETTERS = (
    "torch.manual_seed",
    "torch.seed",
    "torch.set_rng_state",  # torch.random.fork_rng ends with it
    "torch.cuda.manual_seed_all",
    "torch.set_default_dtype",
    "torch.set_default_device",
    "torch.set_num_threads",
    "torch.use_deterministic_algorithms",
    "numpy.random.seed",
    "numpy.random.set_state",
    "numpy.seterr",
    "random.seed",
)
"""Functions that change the state of other threads, even if they restore it later."""


def process_state() -> dict[str, Any]:
    """State that other code of the user may rely on, in a form that can be compared."""
    import torch

    return {
        "torch's random state": torch.get_rng_state().tolist(),
        "torch's default dtype": torch.get_default_dtype(),
        "torch's number of threads": torch.get_num_threads(),
        "numpy's random state": repr(np.random.get_state(legacy=False)),  # noqa: NPY002
    }


@contextmanager
def left_alone() -> Iterator[None]:
    """Fail if the block changes the state of the process, even if only for a while."""
    called: list[str] = []
    before = process_state()
    with pytest.MonkeyPatch.context() as patch:
        for name in SETTERS:
            patch.setattr(name, _recorded(name, called))
        yield
    after = process_state()
    changed = [name for name, value in before.items() if after[name] != value]
    assert not changed, f"the method changed {', '.join(changed)}"
    assert not called, f"the method called {', '.join(sorted(set(called)))}"


@contextmanager
def default_dtype(name: str) -> Iterator[None]:
    """Torch with another default dtype, as a user may have set it."""
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, name))
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _recorded(name: str, called: list[str]) -> Callable[..., Any]:
    """The function of this name, wrapped to record its calls."""
    module, _, attribute = name.rpartition(".")
    original = getattr(sys.modules[module], attribute)

    def call(*args: Any, **kwargs: Any) -> Any:
        called.append(name)
        return original(*args, **kwargs)

    return call


@contextmanager
def many_switches() -> Iterator[None]:
    """Switch between threads as often as possible, so that races show."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
