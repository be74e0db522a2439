"""Axes by their roles, as plugins find them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import xarray as xr

from arpes_ml_plugins.labelled.axes import resolve_dims
from arpes_ml_plugins.plugins.manager import plugins

__all__ = ["resolved_dims"]


def resolved_dims(
    data: xr.DataArray,
    roles: Sequence[str],
    dims: Mapping[str, Hashable] | Sequence[Hashable] | None = None,
) -> tuple[Hashable, ...]:
    """What :func:`resolve_dims` returns, where plugins are asked for each axis first."""
    hook = plugins().hook
    return resolve_dims(
        data, roles, dims, lambda data, role: hook.resolve_axis(data=data, role=role)
    )
