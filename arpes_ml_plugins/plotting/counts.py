"""Draw the evidence for the number of components."""

from __future__ import annotations

from typing import TYPE_CHECKING

import xarray as xr

from arpes_ml_plugins.plotting.figures import closed_on_error
from arpes_ml_plugins.plotting.labels import status_title
from arpes_ml_plugins.plotting.results import check_result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["component_count"]

NEEDED = ("chi2", "stability", "collinearity", "recommended", "reason")


@closed_on_error
def component_count(result: xr.Dataset) -> Figure:
    """Draw the evidence for and against each number of components.

    Parameters
    ----------
    result : xarray.Dataset
        Result of :func:`~arpes_ml_plugins.choose_components`.

    Returns
    -------
    matplotlib.figure.Figure
        The left panel shows the misfit, which levels off at the right number. The right panel shows
        the agreement of the components of two halves of the data, which should be near 1, and the
        similarity of different components, which should not. A line marks the recommended number;
        the title states the reason.

    Raises
    ------
    DataError
        The Dataset is not such a result.

    Examples
    --------
    >>> import numpy as np, xarray as xr, arpes_ml_plugins.plotting as plotting
    >>> rng, energy = np.random.default_rng(0), np.linspace(-1, 1, 30)
    >>> peaks = np.stack([np.exp(-((energy - p) ** 2) / 0.02) for p in (-0.3, 0.2)])
    >>> values = 100 * (rng.random((9, 9, 2)) < 0.3) @ peaks + rng.normal(size=(9, 9, 30))
    >>> image = xr.DataArray(values, {"eV": energy}, ("y", "x", "eV"))
    >>> figure = plotting.component_count(image.S.choose_components(max_components=4))
    """
    import matplotlib.pyplot as plt
    from matplotlib.ticker import MaxNLocator

    from arpes_ml_plugins.plotting.notebook_figure import NotebookFigure

    check_result(result, NEEDED, "choose_components")
    result = result.compute()
    figure, (left, right) = plt.subplots(
        1, 2, FigureClass=NotebookFigure, figsize=(9, 3.8), layout="constrained"
    )
    numbers = result["n_components"]
    left.semilogy(numbers, result["chi2"], "o-", color="C0")
    left.axhline(1, color="0.6", linewidth=0.8)
    left.set(ylabel="χ² per degree of freedom")
    right.plot(numbers, result["stability"], "o-", color="C2", label="between halves (smallest)")
    right.plot(
        numbers[1:],
        result["collinearity"][1:],
        "s--",
        color="C3",
        label="between components (largest)",
    )
    right.set(ylabel="cosine", ylim=(min(0.0, float(result["stability"].min())), 1.05))
    right.legend(frameon=False, fontsize="small")
    for axes in (left, right):
        axes.axvline(int(result["recommended"]), color="0.3", linestyle=":")
        axes.set_xlabel("number of components")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    status_title(figure, str(result["reason"].item()))
    return figure
