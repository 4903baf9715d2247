"""Common parts of figures of many rows: selection, density and color."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table

from ..errors import ColumnError, InputError
from ..flags import NOT_INFERRED, decode_flags, flag_values, is_good
from ..flow.modelfile import find_family
from ..provenance import recorded_model, results_prefix
from ..selection import row_numbers
from ..validation.fits import numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes

__all__ = ["Shown", "color_of", "linear_column", "not_inferred", "point_size", "scatter", "shown_rows"]

_CROWD = 2000  # largest number of good rows drawn as points; more are drawn as a density


@dataclass
class Shown:
    """Rows of a result that a figure shows.

    Attributes
    ----------
    table : Table
        Table of the shown rows.
    good, doubtful : ndarray of bool (n,)
        True for rows without and with a flag that calls for caution; both are False for rows that were not inferred.
    prefix : str
        Prefix of the result columns.
    """

    table: Table
    good: np.ndarray
    doubtful: np.ndarray
    prefix: str

    @property
    def crowded(self) -> bool:
        """Whether there are too many good rows to draw as points."""
        return self.good.sum() > _CROWD

    def caption(self) -> str:
        """Return the numbers of good, doubtful and omitted rows, as text."""
        absent = len(self.table) - self.good.sum() - self.doubtful.sum()
        flagged = f"{self.prefix}flag" in self.table.colnames
        parts = [f"{self.good.sum():,} {'good ' * flagged}rows"]
        parts += [f"{self.doubtful.sum():,} doubtful (crosses)"] if self.doubtful.any() else []
        parts += [f"{absent:,} not shown"] if absent else []
        return ", ".join(parts)


def shown_rows(out: Table, where: str | Sequence | np.ndarray | None, prefix: str | None,
               values: Callable | None = None) -> Shown:
    """Select the rows of a result to show.

    Parameters
    ----------
    out : Table
    where : array of bool or int, str, or None
    prefix : str or None
    values : callable, optional
        Function of the selected table and the prefix that returns coordinates (n, ...).  Only rows with finite
        coordinates are shown.

    Returns
    -------
    Shown

    Raises
    ------
    InputError
        If no row remains.
    """
    prefix = results_prefix(out, prefix)
    if where is not None:
        out = out[row_numbers(out, where, prefix=prefix)]
    if not len(out):
        raise InputError("no row is left to draw" + (f" by {where!r}" if isinstance(where, str) else ""))
    there = np.ones(len(out), bool)
    if values is not None:
        there = np.isfinite(values(out, prefix)).reshape(len(out), -1).all(1)
    if not there.any():
        raise not_inferred(out, prefix)
    good = there & is_good(flag_values(out, prefix)) if f"{prefix}flag" in out.colnames else there
    return Shown(out, good, there & ~good, prefix)


def not_inferred(out: Table, prefix: str, name: str | None = None) -> InputError:
    """Return the error for rows without a posterior, which lists their flags.

    Parameters
    ----------
    out : Table
        Rows, none of which can be drawn.
    prefix : str
        Prefix of the result columns.
    name : str, optional
        Name of the row, if there is only one.

    Returns
    -------
    InputError
        The error, to be raised by the caller.
    """
    if f"{prefix}flag" not in out.colnames:
        return InputError("the table has no results to draw; infer it first")
    flags = decode_flags(flag_values(out, prefix) & ~NOT_INFERRED)
    if name is not None:
        return InputError(f"{name} was not inferred and has no posterior to draw; its flags: "
                          f"{', '.join(flags[0]) or 'none'}")
    counted = Counter(flag for row in flags for flag in row)
    return InputError(f"none of these {len(out)} rows has a posterior to draw; their flags: "
                      + (", ".join(f"{flag} ({n} rows)" for flag, n in counted.most_common()) or "none"))


def linear_column(out: Table, name: str, prefix: str = "") -> np.ndarray:
    """Return a column of results as plain numbers in its own unit, NaN for missing values.

    Parameters
    ----------
    out : Table
    name : str
        Column name without prefix, such as ``age_q50``.
    prefix : str

    Returns
    -------
    ndarray (n, ...)
    """
    if f"{prefix}{name}" not in out.colnames:
        raise ColumnError(f"the table has no column {prefix + name!r}; infer it first, and check option:prefix")
    return numbers(out[f"{prefix}{name}"], out[f"{prefix}{name}"].unit or "")


def color_of(shown: Shown, color: str | np.ndarray | None) -> tuple[np.ndarray | None, str]:
    """Return values and label of the color of rows.

    Parameters
    ----------
    shown : Shown
    color : str, array (n,) or None
        Parameter such as ``age``, column, or values.

    Returns
    -------
    values : ndarray (n,) or None
    label : str
    """
    if color is None:
        return None, ""
    if not isinstance(color, str):
        values = np.asarray(color, dtype=float)
        if values.shape != (len(shown.table),):
            raise InputError(f"color has shape {values.shape}, and {len(shown.table)} rows are shown; give one value "
                             "per shown row")
        return values, ""
    out, prefix = shown.table, shown.prefix
    family = find_family(recorded_model(out, prefix))
    for quantity in (*family.parameters, *family.derived):
        if quantity.column == color and f"{prefix}{color}_q50" in out.colnames:
            values = quantity.from_column(linear_column(out, f"{color}_q50", prefix))
            return values, f"median {quantity.label or quantity.description or color}"
    for name in (f"{prefix}{color}", color):
        if name in out.colnames:
            return linear_column(out, name), name + (f" [{out[name].unit}]" if out[name].unit else "")
    raise ColumnError(f"option:color={color!r} is neither a parameter nor a column of this table")


def point_size(n: int) -> float:
    """Return the marker size for n points, in square points.

    Parameters
    ----------
    n : int

    Returns
    -------
    float
    """
    return float(np.clip(500 / np.sqrt(max(n, 1)), 4, 30))


def scatter(ax: Axes, x: np.ndarray, y: np.ndarray, shown: Shown, values: np.ndarray | None, label: str, *,
            log: bool = False) -> None:
    """Draw good rows as points, or as a density if there are many, and doubtful rows as crosses.

    Parameters
    ----------
    ax : Axes
    x, y : ndarray (n,)
    shown : Shown
    values : ndarray (n,) or None
        Values that color the points.
    label : str
        Label of the color bar.
    log : bool
        Whether both axes are logarithmic.
    """
    good, doubtful = shown.good, shown.doubtful
    ax.scatter(x[doubtful], y[doubtful], s=16, marker="x", color="0.55", lw=0.8, alpha=0.6, zorder=1, rasterized=True)
    scale = {"xscale": "log", "yscale": "log"} if log else {}
    if shown.crowded and values is None:
        drawn = ax.hexbin(x[good], y[good], gridsize=60, bins="log", mincnt=1, cmap="Blues", lw=0.1, zorder=2,
                          rasterized=True, **scale)
        label = "rows"
    elif shown.crowded:
        drawn = ax.hexbin(x[good], y[good], C=values[good], reduce_C_function=np.nanmedian, gridsize=60, cmap="viridis",
                          lw=0.1, zorder=2, rasterized=True, **scale)
    else:
        # In random order: if sorted by color, some rows would hide the others in crowded regions.
        order = np.random.default_rng(0).permutation(np.flatnonzero(good))
        colors = {"color": "#0072B2"} if values is None else {"c": values[order], "cmap": "viridis"}
        drawn = ax.scatter(x[order], y[order], s=point_size(len(order)), lw=0.3, edgecolors="white", zorder=2,
                           rasterized=True, **colors)
    if label and good.any():
        ax.figure.colorbar(drawn, ax=ax, label=label, pad=0.02)
