"""Check every field of a recorded step from an untrusted file before anything is run."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import numpy as np

from arpes_ml_plugins.errors import ParameterError
from arpes_ml_plugins.labelled.recording import hashes_in, read_back, unrecorded
from arpes_ml_plugins.plugins.manager import plugins
from arpes_ml_plugins.plugins.registry import Method

__all__ = ["WORK_LIMITS", "Step", "check_step", "kind_of_work", "most_threads", "refuse_work"]

WORK_LIMITS = {
    "iterations": 100_000,
    "steps": 100_000,
    "layers": 200,
    "networks": 50,
    "draws": 1000,
    "components": 100,
    "size": 100_000,
}
"""Largest number allowed in a record, by the last word of the parameter's name."""
WHOLE_LIMIT = 1_000_000
"""The same for whole numbers of any other name, those of seeds excepted."""
ARRAY_LIMIT = 10_000_000
"""Numbers in all arrays of a record together."""
MOST_THREADS = 1024
SHOWN = 60  # letters of a value in a message
UNKNOWN = (
    "result carries no provenance of a method of this package; expected what one of its methods "
    "returned, with attrs['provenance'] intact"
)


class Step:
    """A recorded step whose every field has the right form."""

    def __init__(self, provenance: Mapping[str, Any]) -> None:
        record = provenance.get("record")
        if not isinstance(record, Mapping) or "parameters" not in record:
            raise ParameterError(UNKNOWN)
        self.method = _method(record.get("by"))
        self.parameters = self.method.with_present_names(
            _text_keys(record["parameters"], "parameters")
        )
        self.arrays = _arrays(getattr(provenance, "arrays", {}))
        self.parent_hash = _text(record.get("parent_hash"), "parent_hash")
        self.parent_axes = _text(record.get("parent_axes"), "parent_axes")
        parent_id = provenance.get("parent_id")  # whatever a laboratory calls its data by
        self.parent_id = None if parent_id is None else str(parent_id)
        environment = _text_keys(record.get("environment") or {}, "environment")
        versions = _text_keys(environment.get("versions") or {}, "versions")
        self.versions = {name: _text(v, f"version of {name}") for name, v in versions.items()}
        self.threads = _threads(environment.get("threads"))

    def read_parameters(self) -> dict[str, Any]:
        """The parameters as the method takes them."""
        return {name: self._read(name, form) for name, form in self.parameters.items()}

    def _read(self, name: str, form: Any) -> Any:
        try:
            return read_back(form, self.arrays)
        except Exception as error:
            _refuse(f"parameter {name!r} cannot be read", f"{type(error).__name__}: {error}")


def check_step(provenance: Mapping[str, Any], *, trusted: bool) -> Step:
    """The recorded step, if it can be repeated, and, unless ``trusted``, is not too much work."""
    try:
        step = Step(provenance)
        for name, form in step.parameters.items():
            lost = unrecorded(form, step.arrays)
            if lost is not None:
                raise ParameterError(
                    f"parameter {name!r} was or held {lost}, which provenance cannot hold; call "
                    f"{step.method.name} again yourself"
                )
        _check_names(step)
        if not trusted:
            _check_work(step)
    except RecursionError:
        _refuse("it is nested too deeply", "lists in lists")
    except (TypeError, KeyError, AttributeError) as error:
        _refuse("a field is malformed", f"{type(error).__name__}: {error}")
    return step


def _check_names(step: Step) -> None:
    known = [name for name in step.method.signature.parameters if name not in ("data", "progress")]
    unknown = [name for name in step.parameters if name not in known]
    if unknown:
        _refuse(f"{step.method.name} takes {', '.join(known)}", f"{_shown(unknown[0])}")
    device = step.parameters.get("device", "cpu")
    if not isinstance(device, str):
        _refuse("device must be the name of a device", _shown(device))


def _check_work(step: Step) -> None:
    """Refuse numbers that determine the amount of work and exceed their limits."""
    needed = set(hashes_in(step.parameters))
    size = sum(array.size for key, array in step.arrays.items() if key in needed)
    if size > ARRAY_LIMIT:
        _too_much("its arrays", size, ARRAY_LIMIT)
    for name, form in step.parameters.items():
        limit = _limit_for(name)
        for number in _numbers_in(form):
            whole = isinstance(number, (int, np.integer))
            if (whole or kind_of_work(name) in WORK_LIMITS) and number > limit:
                _too_much(f"parameter {name!r}", number, limit)


def _limit_for(name: str) -> float:
    if name == "rng" or name.endswith("seed"):
        return math.inf
    return WORK_LIMITS.get(kind_of_work(name), WHOLE_LIMIT)


def kind_of_work(name: str) -> str:
    """Return the last word of a parameter's name: ``"iterations"`` for ``"adam_iterations"``."""
    return name.rsplit("_", 1)[-1]


def _numbers_in(form: Any) -> Iterator[Any]:
    """Numbers outside of arrays, which are data and not settings."""
    if isinstance(form, (int, float, np.integer, np.floating)) and not isinstance(form, bool):
        yield form
    elif isinstance(form, (list, tuple)):
        for item in form:
            yield from _numbers_in(item)
    elif isinstance(form, Mapping) and "__array__" not in form:
        for item in form.values():
            yield from _numbers_in(item)


def _method(name: Any) -> Method:
    if not isinstance(name, str):
        _refuse("'by' must be the name of a method", _shown(name))
    return plugins().methods[name]


def _text_keys(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        _refuse(f"{what} must be a mapping of names", _shown(value))
    return dict(value)


def _text(value: Any, what: str) -> str | None:
    if value is not None and not isinstance(value, str):
        _refuse(f"{what} must be text", _shown(value))
    return value


def _arrays(value: Any) -> dict[str, np.ndarray]:
    arrays = _text_keys(value, "the arrays beside the record")
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):
        _refuse("the arrays beside the record must be of numbers", _shown(value))
    return arrays


def _threads(value: Any) -> int | None:
    if value is None:
        return None
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
        _refuse("threads must be a whole number", _shown(value))
    if not 1 <= value <= MOST_THREADS:
        _refuse(f"threads must lie from 1 to {MOST_THREADS}", _shown(value))
    return int(value)


def most_threads() -> int:
    """Threads that this machine has, or that torch was told to use."""
    import torch

    return max(os.cpu_count() or 1, torch.get_num_threads())


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # it holds itself, or numbers that are too long to print
        text = f"a {type(value).__name__}"
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."


def _refuse(expected: str, got: str) -> NoReturn:
    raise ParameterError(
        f"the provenance of result is not as a method of this package writes it: {expected}, got "
        f"{got}; it cannot be replayed, call the method yourself"
    )


def _too_much(what: str, number: float, limit: float) -> NoReturn:
    refuse_work(f"{what} is {_shown(number)}, more than {limit:,}")


def refuse_work(what: str) -> NoReturn:
    """Refuse a record that asks for more work than untrusted records may."""
    raise ParameterError(
        f"the provenance of result asks for a lot of work: {what}, and may come from a file that "
        f"was damaged or made to do harm; pass trusted=True if you know where it comes from"
    )
