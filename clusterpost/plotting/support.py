"""Figures of rows without results or with doubtful results, compared to the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import astropy.units as u
import numpy as np

from .. import flags
from ..errors import InputError
from ..photometry import Photometry
from ..provenance import recorded_model, repeat, results_prefix
from ..utils import require
from .rows import shown_rows
from .style import COLORS, new_figure, plain_log_ticks, style

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astropy.table import Table
    from matplotlib.figure import Figure

__all__ = ["plot_support"]

# Name, flags, color and marker; a row belongs to the first group with one of its flags.
_GROUPS = (
    ("not inferred", flags.NOT_INFERRED, "#CC79A7", "s"),
    ("outside support, or a poor fit", flags.OUTSIDE_SUPPORT | flags.POOR_FIT, COLORS["posterior"], "o"),
    ("error outside range", flags.ERROR_RANGE, COLORS["mode"], "D"),
)
_SLOTS = {"F275W": ("F275W",), "F336W": ("F336W",), "F438W": ("F438W", "F435W_ACS"), "F555W": ("F555W", "F555W_ACS"),
          "F814W": ("F814W", "F814W_ACS")}


def plot_support(out: Table, *, where: str | Sequence | np.ndarray | None = None, mocks: Table | None = None,
                 prefix: str | None = None, columns: dict | None = None, figure: Figure | None = None) -> Figure:
    """Draw magnitudes, errors and colors of a catalog, and mark rows that the model fits poorly or not at all.

    Parameters
    ----------
    out : Table
        Output of `~clusterpost.infer_table`.
    where : array of bool or int, or str, optional
        Rows to draw, or an expression that selects them; all by default.
    mocks : `~astropy.table.Table`, optional
        Photometry of mocks, with errors, whose contours show the range of the model.  By default 20 000 mocks from
        the prior of the results' model, made by `~clusterpost.simulate` at the catalog's distances.
    prefix : str, optional
        Prefix of the result columns (``prefix`` of `~clusterpost.infer_table`), if the table holds several results.
    columns : dict, optional
        As for `~clusterpost.infer_table`; by default as in its call.
    figure : Figure, optional
        Figure to draw into; a new one by default.

    Returns
    -------
    matplotlib.figure.Figure
        Top: relative error against magnitude in F275W, F555W and F814W.  Bottom: two color-color diagrams and a
        color-magnitude diagram.  Gray: contours of 68, 95 and 99.7 % of the mocks in colors, which include noise; mock
        errors are not those of a catalog and are not drawn.  A panel shows the rows measured in its bands, by either
        camera.

    Raises
    ------
    InputError
        If the table has no flag column or no measurement.

    Notes
    -----
    The figure follows Hahn & Melchior (2022), Figs. 1 and 5, whose galaxies outside the support of the training data
    have unusual errors or colors that no model reaches.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.plotting import plot_support
    >>> out = clusterpost.infer_table(clusterpost.simulate(5, seed=1), n_samples=100)
    >>> figure = plot_support(out)
    """
    require("matplotlib", "plot")
    from matplotlib.patches import Patch

    prefix = results_prefix(out, prefix)
    if f"{prefix}flag" not in out.colnames:
        raise InputError(f"the table has no column {prefix + 'flag'!r}; infer it first, and check option:prefix")
    out = shown_rows(out, where, prefix).table
    bare, reading = repeat(out, prefix=prefix, columns=columns, distance=None)
    magnitude, error, distance = _by_slot(bare, **reading)
    if not np.isfinite(magnitude).any():
        raise InputError("no row has a measured flux")
    if mocks is None:
        mocks = _mocks(recorded_model(out, prefix), distance)
    model = _by_slot(mocks)[0]
    bits = np.asarray(out[f"{prefix}flag"])
    group = np.full(len(out), len(_GROUPS))
    for k, (_, mask, *_) in reversed(list(enumerate(_GROUPS))):
        group[(bits & mask) != 0] = k
    near_uv, uv, b, v, i = magnitude.T
    m_near_uv, m_uv, m_b, m_v, m_i = model.T
    with style():
        figure = new_figure(figure, width=10.2, height=6.6)
        axes = figure.subplots(2, 3)
        for ax, slot in zip(axes[0], ("F275W", "F555W", "F814W"), strict=True):
            k = list(_SLOTS).index(slot)
            _scatter(ax, magnitude[:, k], error[:, k], group)
            ax.set(xlabel=f"{slot} [AB mag]", ylabel=f"relative error in {slot}", yscale="log")
            plain_log_ticks(ax.yaxis, *ax.get_ylim())
        panels = ((near_uv - b, v - i, m_near_uv - m_b, m_v - m_i, "F275W \N{MINUS SIGN} F438W",
                   "F555W \N{MINUS SIGN} F814W"),
                  (uv - b, b - v, m_uv - m_b, m_b - m_v, "F336W \N{MINUS SIGN} F438W",
                   "F438W \N{MINUS SIGN} F555W"),
                  (v - i, v, m_v - m_i, m_v, "F555W \N{MINUS SIGN} F814W", "F555W"))
        for ax, (x, y, m_x, m_y, x_label, y_label) in zip(axes[1], panels, strict=True):
            _model(ax, m_x, m_y, levels=y_label != "F555W")
            _scatter(ax, x, y, group)
            ax.set(xlabel=f"{x_label} [AB mag]", ylabel=f"{y_label} [AB mag]")
            ax.invert_yaxis()
        counts = [np.sum(group == k) for k in range(len(_GROUPS) + 1)]
        handles, labels = axes[0, 0].get_legend_handles_labels()
        labels = [f"{label}: {counts[int(label.split('|')[0])]:,}".split("|")[1] for label in labels]
        handles.append(Patch(facecolor="0.9", edgecolor="0.6"))
        figure.legend(handles, [*labels, "68, 95 and 99.7 % of mocks"], loc="outside lower center", ncols=3)
    return figure


def _by_slot(tbl, **reading):
    """Return AB magnitudes and relative errors, (n, 5), NaN for missing measurements, and distances."""
    known = Photometry.from_table(tbl, error_floor=None, **reading)
    magnitude, error = (np.full((len(tbl), len(_SLOTS)), np.nan) for _ in range(2))
    for k, bands in enumerate(_SLOTS.values()):
        for band in bands:
            part = known.select([band])
            flux = part.flux[:, 0]
            good = np.isnan(magnitude[:, k]) & ~part.limit[:, 0] & (flux > 0)
            magnitude[good, k] = (flux[good] * u.mJy).to_value(u.ABmag)
            error[good, k] = part.error[good, 0] / flux[good]
    return magnitude, error, known.distance


def _mocks(model, distance, n=20_000, seed=0):
    from ..training.mocks import simulate

    known = distance[np.isfinite(distance)]
    chosen = np.random.default_rng(seed).choice(known, n) if len(known) else None
    return simulate(n, model=model, distance=chosen, errors=0.1, seed=seed)


def _scatter(ax, x, y, group):
    size = float(np.clip(300 / np.sqrt(len(group)), 6, 20))
    order = [len(_GROUPS), *reversed(range(len(_GROUPS)))]
    for k in order:
        rows = (group == k) & np.isfinite(x) & np.isfinite(y)
        name, _, color, marker = (*_GROUPS, ("none of these", 0, "0.4", "o"))[k]
        crowd = len(_GROUPS) == k
        ax.scatter(x[rows], y[rows], s=size if crowd else 2 * size, color=color, marker=marker, lw=0,
                   alpha=0.5 if crowd else 0.75, label=f"{k}|{name}", rasterized=True)


def _model(ax, x, y, levels):
    """Draw contours of 68, 95 and 99.7 % of the mocks, or only the outermost if ``levels`` is False."""
    from scipy.ndimage import gaussian_filter

    good = np.isfinite(x) & np.isfinite(y)
    count, *edges = np.histogram2d(x[good], y[good], bins=90)
    count = gaussian_filter(np.pad(count, 3), 1.2)
    middle = [np.pad((edge[:-1] + edge[1:]) / 2, 3, mode="linear_ramp",
                     end_values=(edge[0] - 2.5 * (edge[1] - edge[0]), edge[-1] + 2.5 * (edge[1] - edge[0])))
              for edge in edges]
    ordered = np.sort(count.ravel())[::-1]
    held = np.cumsum(ordered) / ordered.sum()
    heights = [ordered[np.searchsorted(held, share)] for share in ((0.997, 0.95, 0.68) if levels else (0.997,))]
    ax.contourf(*middle, count.T, levels=[*heights, 1.01 * count.max()], colors=("0.95", "0.9", "0.84")[:len(heights)],
                zorder=0)
    ax.contour(*middle, count.T, levels=heights, colors="0.6", linewidths=0.7, zorder=0.5)
