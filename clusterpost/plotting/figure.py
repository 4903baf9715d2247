"""A figure that shows itself in a notebook."""

from __future__ import annotations

import io

from matplotlib.figure import Figure

__all__ = ["NotebookFigure"]

_DPI = 110


class NotebookFigure(Figure):
    """A `matplotlib.figure.Figure` that a notebook displays as the value of a cell.

    It is made without pyplot, so that nothing else shows it or keeps it alive.
    """

    def _repr_png_(self) -> bytes:
        """Return the figure as PNG, for IPython."""
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=_DPI)
        return buffer.getvalue()
