"""A figure that notebooks display."""

from __future__ import annotations

import io

from matplotlib.figure import Figure

__all__ = ["NotebookFigure"]

_DPI = 110


class NotebookFigure(Figure):
    """A `matplotlib.figure.Figure` that a notebook displays as the value of a cell.

    It is created without pyplot, which would show it a second time and keep it in memory.
    """

    def _repr_png_(self) -> bytes:
        """Return the figure as PNG, for IPython."""
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=_DPI)
        return buffer.getvalue()
