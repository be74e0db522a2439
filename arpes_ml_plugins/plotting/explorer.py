"""The widget of :func:`~arpes_ml_plugins.plotting.explore`; importing it needs ipywidgets.

A picture is sent for every change of a slider, which works with every backend of matplotlib and
opens no window.
"""

from __future__ import annotations

import io
from collections.abc import Hashable
from typing import Any

import ipywidgets
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from arpes_ml_plugins.plotting.labels import aspect_of, axis_label, curve_title, readable_ticks
from arpes_ml_plugins.plotting.limits import colour_limits

__all__ = ["DIVIDER", "Explorer"]

DIVIDER = "divider"
SIZE, DPI = (9.0, 4.2), 80
STYLES: dict[str, dict[str, Any]] = {
    "raw": {"color": "0.6", "marker": ".", "linestyle": ""},
    "clean": {"color": "C3", "linewidth": 2},
}


class Explorer(ipywidgets.VBox):  # type: ignore[misc]
    """Sliders above an image, an MDC and an EDC. The value of a slider is a pixel index."""

    def __init__(
        self, raw: xr.DataArray, clean: xr.DataArray, dims: tuple[Hashable, Hashable]
    ) -> None:
        self._data, self._dims = {"raw": raw, "clean": clean}, dims
        self._others = [dim for dim in clean.dims if dim not in dims]
        self.sliders = {dim: _slider(clean[dim], str(dim)) for dim in (*dims, *self._others)}
        self.sliders[DIVIDER] = _slider(clean[dims[1]], "raw | clean")
        self.figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained")  # not one of pyplot's
        self._picture = ipywidgets.Image(format="png")
        self._read()
        self._prepare()
        self._draw()
        self.figure.set_layout_engine("none")  # computed once, so that panels do not move
        for name, slider in self.sliders.items():
            slider.observe(self._reread if name in self._others else self._redraw, "value")
        super().__init__([*self.sliders.values(), self._picture])

    def _read(self) -> None:
        """The two images shown, energy by momentum."""
        where = {dim: self.sliders[dim].value for dim in self._others}
        self._shown = {
            name: data.isel(where).transpose(*self._dims).compute().astype(float)
            for name, data in self._data.items()
        }

    def _prepare(self) -> None:
        """Everything that later changes its numbers only."""
        grid = self.figure.add_gridspec(2, 2, width_ratios=(1.2, 1))
        axes = self.figure.add_subplot(grid[:, 0])
        image = self._shown["clean"]
        rows, columns = (image[dim] for dim in self._dims)
        self._mesh: QuadMesh = axes.pcolormesh(columns, rows, image, cmap="magma", rasterized=True)
        axes.set(xlabel=axis_label(columns), ylabel=axis_label(rows), title="raw | denoised")
        axes.set_aspect(aspect_of(image))
        readable_ticks(axes)
        self._marks: list[Line2D] = [
            axes.axhline(rows.values[0], color="white", linewidth=0.8, linestyle=":"),
            axes.axvline(columns.values[0], color="white", linewidth=0.8, linestyle=":"),
            axes.axvline(columns.values[0], color="cyan", linewidth=1),
        ]
        self._panels: list[Axes] = [self.figure.add_subplot(grid[row, 1]) for row in (0, 1)]
        self._curves: list[dict[str, Line2D]] = []
        for panel, along in zip(self._panels, (columns, rows), strict=True):
            panel.set(xlabel=axis_label(along), ylabel="intensity")
            self._curves.append(
                {
                    name: panel.plot(along, np.zeros(along.size), label=name, **style)[0]
                    for name, style in STYLES.items()
                }
            )
            readable_ticks(panel)

    def _draw(self) -> None:
        raw, clean = (self._shown[name].values for name in ("raw", "clean"))
        row, column = (self.sliders[dim].value for dim in self._dims)
        divider = self.sliders[DIVIDER].value
        left = np.arange(clean.shape[1]) < divider
        self._mesh.set_array(np.where(left, raw, clean))
        self._mesh.set_clim(*colour_limits(clean))
        places = [self._shown["clean"][dim].values for dim in self._dims]
        self._marks[0].set_ydata([places[0][row]] * 2)
        self._marks[1].set_xdata([places[1][column]] * 2)
        self._marks[2].set_xdata([places[1][divider]] * 2)
        for fixed, index in enumerate((row, column)):
            for name, line in self._curves[fixed].items():
                line.set_ydata(np.take(self._shown[name].values, index, axis=fixed))
            panel = self._panels[fixed]
            panel.set_title(curve_title(self._shown["clean"], fixed, places[fixed][index]))
            panel.relim()
            panel.autoscale_view(scalex=False)
        page = io.BytesIO()
        FigureCanvasAgg(self.figure).print_png(page)
        self._picture.value = page.getvalue()

    def _redraw(self, change: object) -> None:
        self._draw()

    def _reread(self, change: object) -> None:
        self._read()
        self._draw()


def _slider(axis: xr.DataArray, name: str) -> ipywidgets.SelectionSlider:
    """A slider over the pixels of an axis, labelled by its coordinate of whatever type."""
    labels = [f"{value:.4g}" if axis.dtype.kind in "iuf" else str(value) for value in axis.values]
    return ipywidgets.SelectionSlider(
        options=[(label, number) for number, label in enumerate(labels)],
        value=axis.size // 2,
        description=name,
        continuous_update=False,  # a picture takes longer than a slider's step
    )
