"""The figures of this package: as those of pyplot, but a notebook shows each of them once."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

__all__ = ["NotebookFigure"]


class NotebookFigure(Figure):
    """A figure of pyplot that closes itself when a notebook shows it as the value of a cell.

    With matplotlib's inline backend, pyplot shows all open figures at the end of a cell. The figure
    that is the value of the cell would be shown once more. Pass the class to pyplot:
    ``plt.figure(FigureClass=NotebookFigure)``; ``plt.show()`` and windows work as ever.
    """

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Nothing by itself: IPython adds the picture, as for every figure."""
        import matplotlib.pyplot as plt

        if "inline" in mpl.get_backend():
            plt.close(self)
        return {}
