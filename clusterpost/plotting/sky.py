"""Maps of a catalog on the sky."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import astropy.units as u
import numpy as np

from ..errors import ColumnError, InputError
from ..errors import shown as in_words
from ..validation.fits import numbers
from .rows import color_of, scatter, shown_rows
from .style import new_axes, style

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astropy.table import Table
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_sky"]


def plot_sky(out: Table, *, where: str | Sequence | np.ndarray | None = None, color: str = "age",
             coordinates: tuple[str, str] | None = None, prefix: str | None = None, ax: Axes | None = None) -> Figure:
    """Draw the positions of a catalog's objects.

    .. versionadded:: 0.2

    Parameters
    ----------
    out : Table
        Output of `~clusterpost.infer_table`, with coordinates.
    where : array of bool or int, or str, optional
        Rows to draw, or an expression that selects them; all by default.
    color : str, array or None
        Parameter, column or one value per shown row, for the color of the points.
    coordinates : tuple of two str, optional
        Columns of right ascension and declination, in degrees if they have no unit.  By default a column of sky
        coordinates, or columns with ``RA`` and ``DEC`` in their names.
    prefix : str, optional
        Prefix of the result columns (``prefix`` of `~clusterpost.infer_table`), if the table holds several results.
    ax : Axes, optional
        Axes to draw into; those of a new figure by default.

    Returns
    -------
    matplotlib.figure.Figure
        East is to the left.  Rows that fail `~clusterpost.is_good` are gray crosses.

    Raises
    ------
    InputError
        If ``coordinates`` is not two columns, or these are not in a unit of angle.
    ColumnError
        If no coordinates are found.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.plotting import plot_sky
    >>> out = clusterpost.infer_table(clusterpost.example_catalog()[:20], n_samples=100)
    >>> figure = plot_sky(out)
    """
    shown = shown_rows(out, where, prefix, lambda tbl, prefix: np.stack(_positions(tbl, coordinates), -1))
    ra, dec = _positions(shown.table, coordinates)
    values, label = color_of(shown, color)
    with style():
        ax = new_axes(ax, width=6.2, height=5.2)
        scatter(ax, ra, dec, shown, values, label)
        ax.set(xlabel="right ascension [deg]", ylabel="declination [deg]")
        ax.set_aspect(1 / max(np.cos(np.radians(np.nanmedian(dec))), 1e-3), adjustable="datalim")
        ax.xaxis.set_inverted(True)
        for axis in (ax.xaxis, ax.yaxis):
            axis.get_major_formatter().set_useOffset(False)
        ax.locator_params(axis="x", nbins=5)
        ax.set_title(shown.caption(), loc="left")
    return ax.figure


def _positions(tbl, coordinates):
    """Return right ascension and declination in degrees."""
    if coordinates is not None:
        names = [coordinates] if isinstance(coordinates, str) else list(coordinates)
        if len(names) != 2:
            raise InputError(f"two columns are needed, of right ascension and of declination, not {in_words(names)}; "
                             "give both, as in option:coordinates")
        if absent := [name for name in names if name not in tbl.colnames]:
            raise ColumnError(f"the table has no column {absent[0]!r}; give the names of its columns of right "
                              "ascension and declination, as in option:coordinates")
    else:
        sky = [name for name in tbl.colnames if hasattr(tbl[name], "transform_to")]
        if sky:
            return tbl[sky[0]].icrs.ra.deg, tbl[sky[0]].icrs.dec.deg
        names = [_column(tbl, words) for words in (("ra", "raj2000", "ra2000"), ("dec", "de", "dej2000", "decj2000"))]
        if None in names:
            raise ColumnError("the table has no columns of right ascension and declination with recognized names; "
                              "give them with option:coordinates")
    try:
        return tuple(numbers(tbl[name], u.deg) for name in names)
    except (u.UnitsError, TypeError, ValueError):
        raise InputError(f"columns {' and '.join(names)} are not in a unit of angle, such as degrees") from None


def _column(tbl, words):
    return next((name for name in tbl.colnames if set(re.split(r"[\W_]+", name.lower())) & set(words)), None)
