"""Apply methods to an ``xarray.DataTree`` of scans: to each node that holds data for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import xarray as xr

from arpes_ml_plugins.errors import ArpesMLError, DataError
from arpes_ml_plugins.plugins.registry import Method

__all__ = ["is_tree", "over_nodes"]


def is_tree(data: Any) -> bool:
    """Whether ``data`` is a DataTree."""
    return isinstance(data, xr.DataTree)


def over_nodes(
    tree: xr.DataTree,
    method: Method,
    call: Callable[[xr.Dataset, str], xr.DataArray | xr.Dataset],
) -> xr.DataTree:
    """Return a new tree with ``call(node, path)`` in the place of each node with data.

    Other nodes (metadata, references, empty ones) are unchanged.

    Raises
    ------
    DataError
        No node holds data for the method.
    ArpesMLError
        What the method says of a node, with the path of this node.
    """
    nodes = {node.path: node.to_dataset() for node in tree.subtree}
    chosen = [path for path, node in nodes.items() if _holds_data(node, method)]
    if not chosen:
        raise DataError(
            f"no node of the tree holds data for {method.name}; expected a numeric variable of at "
            f"least {_dimensions(method)} dimension(s) in one of {', '.join(nodes)}"
        )
    for path in chosen:
        try:
            nodes[path] = call(nodes[path], path)  # type: ignore[assignment]
        except ArpesMLError as error:
            error.args = (f"node {path!r}: {error.args[0]}", *error.args[1:])
            raise
    root = tree.path
    return xr.DataTree.from_dict(
        {"/" + path.removeprefix(root).lstrip("/"): node for path, node in nodes.items()},
        name=tree.name,
    )


def _holds_data(node: xr.Dataset, method: Method) -> bool:
    return any(
        variable.dtype.kind in "iufc" and variable.ndim >= _dimensions(method)
        for variable in node.data_vars.values()
    )


def _dimensions(method: Method) -> int:
    return max(len(method.roles), 1)
