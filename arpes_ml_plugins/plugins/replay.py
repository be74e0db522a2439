"""Run a recorded step again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import xarray as xr

from arpes_ml_plugins.errors import (
    ArpesMLError,
    DataTypeError,
    ParameterError,
    ReplayWarning,
)
from arpes_ml_plugins.frames import warn
from arpes_ml_plugins.labelled.provenance import (
    axes_fingerprint,
    current_versions,
    fingerprint,
    read_provenance,
)
from arpes_ml_plugins.labelled.spectrum import select_spectrum
from arpes_ml_plugins.labelled.units import strip_unit
from arpes_ml_plugins.parameters import check_flag
from arpes_ml_plugins.plugins.call import call_method
from arpes_ml_plugins.plugins.record_check import Step, check_step, most_threads
from arpes_ml_plugins.plugins.replay_cost import check_cost

__all__ = ["replay"]


def replay(
    result: xr.DataArray | xr.Dataset,
    parent: xr.DataArray | xr.Dataset,
    *,
    trusted: bool = False,
) -> xr.DataArray | xr.Dataset:
    """Run the last step of ``result`` again on ``parent``, as its provenance records it.

    On the CPU of the same machine the values are identical, bit for bit. The record may come from
    an untrusted file, so it is checked completely before anything runs: only registered methods are
    called, with parameters that they have. Code in a record is never executed.

    Parameters
    ----------
    result : xarray.DataArray or xarray.Dataset
        Result of a method of this package, also after saving and loading.
    parent : xarray.DataArray or xarray.Dataset
        Data to which the method was applied.
    trusted : bool
        Whether to lift the limits on the work that a record may ask for: 100 000 iterations or
        training steps, 200 layers, 50 networks, 1000 draws, 100 components, 1 000 000 for any other
        whole number, 10 million numbers in arrays, and the number of threads of this machine.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        New result of the method.

    Raises
    ------
    ParameterError
        ``result`` has no provenance of a registered method, or one that is malformed, cannot be
        repeated, or asks for more work than is allowed without ``trusted``; the message says which
        field it is.

    Warns
    -----
    ReplayWarning
        ``parent`` is not the recorded one, versions of the software differ, or more threads were
        recorded than this machine has.
    """
    for name, data in (("result", result), ("parent", parent)):
        if not isinstance(data, (xr.DataArray, xr.Dataset)):
            raise DataTypeError(
                f"expected a DataArray or Dataset as {name}, got {type(data).__name__}"
            )
    check_flag("trusted", trusted)
    step = check_step(read_provenance(result) or {}, trusted=trusted)
    if not trusted:
        check_cost(step, parent)
    given = step.read_parameters()
    _compare_parents(step, parent)
    _compare_versions(step.versions)
    with _recorded_threads(_threads_for(step, trusted)):
        return _called(step, parent, given)


def _called(
    step: Step, parent: xr.DataArray | xr.Dataset, given: Mapping[str, Any]
) -> xr.DataArray | xr.Dataset:
    """The method's own checks refuse most values; a record can hold what no caller would pass."""
    try:
        return call_method(step.method, parent, given)
    except (ArpesMLError, Warning, OSError, MemoryError):
        raise
    except Exception as error:
        raise ParameterError(
            f"{step.method.name} failed with the recorded parameters ({type(error).__name__}: "
            f"{error}); the provenance of result may be damaged: call the method yourself"
        ) from error


def _threads_for(step: Step, trusted: bool) -> int | None:
    most = most_threads()
    if step.threads is None or step.threads <= most or trusted:
        return step.threads
    _warn(
        f"the result was made with {step.threads} threads, this machine has {most}; the values "
        f"may differ in the last bits; pass trusted=True to use the recorded number of threads"
    )
    return most


@contextmanager
def _recorded_threads(threads: int | None) -> Iterator[None]:
    """Use the recorded number of threads: sums in another order differ in the last bits."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _compare_parents(step: Step, parent: xr.DataArray | xr.Dataset) -> None:
    given_id = parent.attrs.get("id")
    if step.parent_id is not None and step.parent_id != str(given_id):
        _warn(
            f"the result was made from data with id {step.parent_id}, the parent given has id "
            f"{given_id}"
        )
        return
    array, _ = strip_unit(select_spectrum(parent)[0])
    if step.parent_hash and fingerprint(array) not in (None, step.parent_hash):
        _warn("the values of the parent given are not those that the result was made from")
    elif step.parent_axes and axes_fingerprint(array) != step.parent_axes:
        _warn(
            "the axes, coordinates or temperature of the parent given are not those that the "
            "result was made from"
        )


def _compare_versions(recorded: Mapping[str, str | None]) -> None:
    changed = [
        f"{name} {recorded[name]} -> {version}"
        for name, version in current_versions().items()
        if name in recorded and recorded[name] != version
    ]
    if changed:
        _warn(
            f"replaying with other versions than recorded ({', '.join(changed)}); the values may "
            f"differ"
        )


def _warn(message: str) -> None:
    warn(message, ReplayWarning)
