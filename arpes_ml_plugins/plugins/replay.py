"""Run a recorded step again."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import xarray as xr

from arpes_ml_plugins.errors import ParameterError, ReplayWarning
from arpes_ml_plugins.labelled.provenance import make_record, read_provenance
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
    provenance = read_provenance(result) or {}
    record = provenance.get("record")
    if not isinstance(record, Mapping) or "parameters" not in record:
        raise ParameterError(
            "result carries no provenance of a method of this package; expected what one of its "
            "methods returned, with attrs['provenance'] intact"
        )
    recorded = provenance.get("parent_id")
    if recorded != parent.attrs.get("id"):
        warnings.warn(
            f"the result was made from data with id {recorded}, the parent given has id "
            f"{parent.attrs.get('id')}",
            ReplayWarning,
            stacklevel=2,
        )
    parameters = dict(record["parameters"])
    for key, value in parameters.items():
        if isinstance(value, Mapping) and "not_recorded" in value:
            raise ParameterError(
                f"parameter {key!r} was {value['not_recorded']}, which provenance cannot hold; "
                f"call {record['by']} again yourself"
            )
    with _recorded_threads(record["environment"]):
        _compare_versions(record["environment"]["versions"], parent, record)
        return call_method(plugins().methods[record["by"]], parent, parameters)


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


def _compare_versions(
    recorded: Mapping[str, Any], parent: xr.DataArray | xr.Dataset, record: Mapping[str, Any]
) -> None:
    fresh = make_record(record["by"], {}, owner="", roles={})["environment"]["versions"]
    changed = [
        f"{name} {recorded[name]} -> {fresh[name]}"
        for name in fresh
        if name in recorded and recorded[name] != fresh[name]
    ]
    if changed:
        warnings.warn(
            f"replaying with other versions than recorded ({', '.join(changed)}); the values may "
            f"differ",
            ReplayWarning,
            stacklevel=3,
        )
