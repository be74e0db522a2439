"""Run a recorded step again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import xarray as xr

from arpes_ml_plugins.errors import DataTypeError, ParameterError, ReplayWarning
from arpes_ml_plugins.frames import warn
from arpes_ml_plugins.labelled.provenance import (
    current_versions,
    fingerprint,
    read_provenance,
)
from arpes_ml_plugins.labelled.recording import read_back, unrecorded
from arpes_ml_plugins.labelled.spectrum import select_spectrum
from arpes_ml_plugins.labelled.units import strip_unit
from arpes_ml_plugins.plugins.call import call_method
from arpes_ml_plugins.plugins.manager import plugins

__all__ = ["replay"]


def replay(
    result: xr.DataArray | xr.Dataset, parent: xr.DataArray | xr.Dataset
) -> xr.DataArray | xr.Dataset:
    """Run the last step of ``result`` again on ``parent``, as its provenance records it.

    On the same machine's CPU the values are the same, bit for bit.

    Parameters
    ----------
    result : xarray.DataArray or xarray.Dataset
        What a method of this package returned, also after saving and loading.
    parent : xarray.DataArray or xarray.Dataset
        What the method was applied to.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        A new result.

    Raises
    ------
    ParameterError
        ``result`` has no provenance of a registered method, or one that cannot be repeated.

    Warns
    -----
    ReplayWarning
        ``parent`` is not the recorded one, or versions of the software differ.
    """
    for name, data in (("result", result), ("parent", parent)):
        if not isinstance(data, (xr.DataArray, xr.Dataset)):
            raise DataTypeError(
                f"expected a DataArray or Dataset as {name}, got {type(data).__name__}"
            )
    provenance = read_provenance(result) or {}
    record = provenance.get("record")
    if not isinstance(record, Mapping) or "parameters" not in record:
        raise ParameterError(
            "result carries no provenance of a method of this package; expected what one of its "
            "methods returned, with attrs['provenance'] intact"
        )
    parameters = dict(record["parameters"])
    arrays = getattr(provenance, "arrays", {})
    for key, value in parameters.items():
        lost = unrecorded(value, arrays)
        if lost is not None:
            raise ParameterError(
                f"parameter {key!r} was or held {lost}, which provenance cannot hold; call "
                f"{record['by']} again yourself"
            )
    _compare_parents(record, provenance.get("parent_id"), parent)
    environment = record.get("environment", {})
    _compare_versions(environment.get("versions", {}))
    with _recorded_threads(environment):
        given = read_back(parameters, arrays)
        return call_method(plugins().methods[record["by"]], parent, given)


@contextmanager
def _recorded_threads(environment: Mapping[str, Any]) -> Iterator[None]:
    """Torch with as many threads as then; sums in another order differ in the last bits."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(environment.get("threads") or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _compare_parents(
    record: Mapping[str, Any], recorded_id: object, parent: xr.DataArray | xr.Dataset
) -> None:
    if recorded_id is not None and recorded_id != parent.attrs.get("id"):
        _warn(
            f"the result was made from data with id {recorded_id}, the parent given has id "
            f"{parent.attrs.get('id')}"
        )
    elif record.get("parent_hash"):
        array, _ = strip_unit(select_spectrum(parent)[0])
        if fingerprint(array) not in (None, record["parent_hash"]):
            _warn("the values of the parent given are not those that the result was made from")


def _compare_versions(recorded: Mapping[str, Any]) -> None:
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
