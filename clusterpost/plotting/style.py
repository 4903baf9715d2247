"""Common parts of all figures: colors, labels, and creation of figures and axes."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..utils import require

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure, SubFigure

__all__ = ["COLORS", "LABELS", "NUMERALS", "new_axes", "new_figure", "plain_log_ticks", "style"]

#: Colors of Okabe & Ito, distinguishable by color-blind readers.
COLORS = {"posterior": "#0072B2", "map": "#D55E00", "mode": "#E69F00", "further": "#CC79A7", "catalog": "#009E73",
          "truth": "#000000", "highlight": "#D55E00", "fail": "#D55E00", "line": "#404040", "errorbar": "#9CB4C4"}

#: Axis labels of the three parameters, in the order used everywhere.
LABELS = (r"$\log_{10}\,(t\,/\,\mathrm{Myr})$", r"$\log_{10}\,(m\,/\,M_\odot)$", r"$E(B-V)$ [mag]")

#: Numerals of example clusters, as in Walter et al. (2025).
NUMERALS = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X")

_SETTINGS = {
    "font.size": 10,
    "axes.labelsize": 11,
    "axes.titlesize": 10,
    "axes.linewidth": 0.8,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "savefig.dpi": 150,
}


@contextmanager
def style() -> Iterator:
    """Apply the package's plot settings, except those that the user has changed."""
    matplotlib = require("matplotlib", "plot")
    default, now = matplotlib.rcParamsDefault, matplotlib.rcParams
    with matplotlib.rc_context({key: value for key, value in _SETTINGS.items() if now[key] == default[key]}):
        yield


def new_figure(figure: Figure | SubFigure | None = None, *, width: float, height: float,
               layout: str | None = "constrained") -> Figure | SubFigure:
    """Return the figure to draw into, created without pyplot, which would keep it in memory.

    Parameters
    ----------
    figure : Figure or SubFigure, optional
        Existing figure, returned unchanged.
    width, height : float
        Size of a new figure, inches.
    layout : str, optional
        Layout engine of a new figure.

    Returns
    -------
    Figure or SubFigure
        A new figure is displayed by notebooks.
    """
    if figure is not None:
        return figure
    require("matplotlib", "plot")
    from .figure import NotebookFigure

    return NotebookFigure(figsize=(width, height), layout=layout)


def new_axes(ax: Axes | None = None, *, width: float = 5.2, height: float = 4.4) -> Axes:
    """Return the axes to draw into: the given axes, or those of a new figure.

    Parameters
    ----------
    ax : Axes, optional
        Existing axes, returned unchanged.
    width, height : float
        Size of a new figure, inches.

    Returns
    -------
    Axes
    """
    return new_figure(width=width, height=height).subplots() if ax is None else ax


def plain_log_ticks(axis: Axis, low: float, high: float) -> None:
    """Label a logarithmic axis with plain numbers instead of powers of ten, where they are short.

    Parameters
    ----------
    axis : Axis
    low, high : float
        Limits of the axis.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    choices = {3: (1, 1.5, 2, 2.5, *range(3, 10)), 6: (1, 1.5, 2, 3, 4, 6), 100: (1, 2, 5)}
    subs = next((subs for ratio, subs in choices.items() if high < ratio * low), (1,))
    axis.set_major_locator(LogLocator(subs=subs))
    if low >= 1e-4 and high <= 2e5:
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())
