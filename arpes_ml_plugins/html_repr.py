"""HTML of ``.arpes_ml`` in a notebook: the record of a result, otherwise the list of methods."""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

import numpy as np
import xarray as xr

from arpes_ml_plugins.labelled.axes import IMAGE
from arpes_ml_plugins.labelled.provenance import read_provenance
from arpes_ml_plugins.plotting.thumbnail import thumbnail
from arpes_ml_plugins.plugins.manager import plugins
from arpes_ml_plugins.plugins.registry import Method

__all__ = ["html_of"]

logger = logging.getLogger(__name__)

FAMILIES = {
    "Denoising": ("denoise", "decompose", "sample", "estimate", "remove"),
    "Continuation": ("continue",),
    "Separation": ("separate", "choose", "unmix", "feasible"),
}
OTHER = "Other"
BUILT_IN = "arpes_ml_plugins"
VARIABLES = {
    "status": "status",
    "verdict": "verdict",
    "recommended": "components",
    "reason": "reason",
    "converged": "converged",
    "chi2": "χ² per value",
    "residual_chi2": "χ² of the residual",
    "gain": "gain",
}
"""Variables of results that measure its quality, and their labels."""
NUMBERS_OF = "residual_"  # prefix of numbers that another entry states in words
LONGEST = 600  # characters of a text
MOST_KINDS = 4  # of status

# Colours are those of the page, so that dark themes stay dark.
LINE = "border-top:1px solid rgba(128,128,128,0.35);"
CELL = f"{LINE}padding:2px 12px 2px 0;text-align:left;vertical-align:top;"


def html_of(data: xr.DataArray | xr.Dataset, text: str) -> str:
    """Describe ``data`` in HTML; return ``text`` if that fails for whatever reason."""
    try:
        record = _record(data)
        return _methods() if record is None else _result(data, record)
    except Exception:  # attributes are the user's, and a page must show something
        logger.debug("no HTML for %s", type(data).__name__, exc_info=True)
        return f"<pre>{escape(text)}</pre>"


def _record(data: xr.DataArray | xr.Dataset) -> Mapping[str, Any] | None:
    """The record of the last step, if it was a method of this package or of a plugin."""
    record = (read_provenance(data) or {}).get("record")
    return record if isinstance(record, Mapping) and {"by", "plugin"} <= set(record) else None


def _result(data: xr.DataArray | xr.Dataset, record: Mapping[str, Any]) -> str:
    rows = "".join(
        f'<tr><th style="{CELL}font-weight:normal;opacity:0.7;white-space:nowrap">'
        f'{escape(name)}</th><td style="{CELL}max-width:44em">{escape(value[:LONGEST])}</td></tr>'
        for name, value in _rows(data, record)
    )
    table = f'<table style="border-collapse:collapse;align-self:flex-start">{rows}</table>'
    picture = _picture(data, record)
    return f'<div style="display:flex;flex-wrap:wrap;gap:16px">{table}{picture}</div>'


def _rows(data: xr.DataArray | xr.Dataset, record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    owner = record["plugin"]
    yield "method", str(record["by"]) + ("" if owner == BUILT_IN else f" (plugin {owner})")
    found = record.get("found")
    found = dict(found) if isinstance(found, Mapping) else {}
    if "method" in found:
        yield "chosen", str(found.pop("method"))
    for name, words in VARIABLES.items():
        if isinstance(data, xr.Dataset) and name in data.data_vars:
            yield words, _in_brief(data[name])
    said = set()
    for name, value in found.items():
        text = _scalar(value)
        if text and text not in said and not str(name).startswith(NUMBERS_OF):
            said.add(text)
            yield str(name).replace("_", " "), text
    parameters = record.get("parameters")
    parameters = parameters if isinstance(parameters, Mapping) else {}
    for name, words in (("rng", "seed"), ("device", "device")):
        if parameters.get(name) is not None:
            yield words, str(parameters[name])
    yield "version", f"{record.get('version')}, {str(record.get('time'))[:16].replace('T', ' ')}"


def _scalar(value: Any) -> str:
    """A number or text; nothing for larger values."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value) if isinstance(value, (str, bool, int)) else ""


def _in_brief(variable: xr.DataArray) -> str:
    """A single value, the frequency of each value, or median and range; lazy ones stay lazy."""
    if variable.chunks is not None:
        return "known when computed"
    values = np.asarray(variable.values).ravel()
    if values.dtype.kind not in "iufc":
        kinds, counts = np.unique(values.astype(str), return_counts=True)
        if len(kinds) == 1:
            return str(kinds[0])
        often = sorted(zip(counts.tolist(), kinds.tolist(), strict=True), reverse=True)
        told = [f"{count} of {len(values)}: {kind}" for count, kind in often[:MOST_KINDS]]
        return "; ".join(told + ["..."] * (len(often) > MOST_KINDS))
    known = values[np.isfinite(values)]
    if len(values) == 1 or not len(known):
        return f"{values[0]:.4g}" if len(values) else "none"
    return f"{np.median(known):.3g} (median; {known.min():.3g} to {known.max():.3g})"


def _picture(data: xr.DataArray | xr.Dataset, record: Mapping[str, Any]) -> str:
    axes = record.get("axes")
    dims = [axes[role] for role in IMAGE if role in axes] if isinstance(axes, Mapping) else []
    try:
        drawn = thumbnail(data, dims)
    except Exception:  # the table says more than the picture, and is shown without it
        logger.debug("no picture of the result", exc_info=True)
        return ""
    if drawn is None:
        return ""
    source = f"data:image/png;base64,{base64.b64encode(drawn[0]).decode()}"
    words = escape(drawn[1])
    return f'<img alt="{words}" title="{words}" src="{source}" style="align-self:flex-start">'


def _methods() -> str:
    """All methods by family, each with its summary."""
    families: dict[str, list[Method]] = {name: [] for name in (*FAMILIES, OTHER)}
    for method in plugins().methods:
        verb = method.name.partition("_")[0]
        family = next((name for name, verbs in FAMILIES.items() if verb in verbs), OTHER)
        families[family].append(method)
    rows = "".join(
        f'<tr><th colspan="2" style="{CELL}">{name}</th></tr>' + "".join(map(_method, methods))
        for name, methods in families.items()
        if methods
    )
    return f'<table style="border-collapse:collapse">{rows}</table>'


def _method(method: Method) -> str:
    owner = "" if method.owner == BUILT_IN else f" (plugin {method.owner})"
    return (
        f'<tr><td style="{CELL}"><code>{escape(method.name)}</code></td>'
        f'<td style="{CELL}">{escape(method.summary + owner)}</td></tr>'
    )
