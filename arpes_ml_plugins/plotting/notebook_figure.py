"""Figures of pyplot that a notebook shows only once."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

__all__ = ["NotebookFigure"]


class NotebookFigure(Figure):
    """A figure of pyplot that closes itself when a notebook shows it as the value of a cell.

    With matplotlib's inline backend, pyplot shows all open figures at the end of a cell, so that
    the figure that is the value of the cell would be shown twice. Pass this class to pyplot:
    ``plt.figure(FigureClass=NotebookFigure)``; ``plt.show()`` and windows work as usual.
    """

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Return nothing: IPython adds the picture itself, as for every figure."""
        import matplotlib.pyplot as plt

        if "inline" in mpl.get_backend():
            plt.close(self)
        return {}
