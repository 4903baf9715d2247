"""Figures of whole catalogs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..flags import FLAGS, flag_values, is_good
from ..flow.modelfile import find_family
from ..provenance import recorded_model, results_prefix
from ..selection import row_mask, row_numbers
from ..validation.fits import closest_modes, inferred_parameters, published_fits
from .rows import not_inferred
from .style import COLORS, NUMERALS, new_figure, style

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from astropy.table import Table
    from matplotlib.figure import Figure

__all__ = ["plot_catalog", "plot_comparison", "plot_deviation"]

_MOST_BARS = 300  # more bars would overlap beyond recognition


def plot_comparison(out: Table, published: str | Mapping | None = None,
                    where: str | Sequence | np.ndarray | None = None, *,
                    highlight: str | Sequence | np.ndarray | None = None, examples: Sequence[int] | None = None,
                    prefix: str = "", figure: Figure | None = None) -> Figure:
    """Draw MAP estimates and closest modes against the catalog's own fits.

    Parameters
    ----------
    out : Table
        Output of `~clusterpost.infer_table`.
    published : str or dict, optional
        As for `clusterpost.validation.compare_with_catalog`.
    where : array of bool or int, or str, optional
        Rows to draw, or an expression that selects them; all by default.
    highlight : array of bool, optional
        One value per row of ``out``; rows with True are drawn in another color.
    examples : sequence of int, optional
        Rows to mark with triangles and with numerals in this order.
    prefix : str
        Prefix of the result columns (``prefix`` of `~clusterpost.infer_table`).
    figure : Figure, optional
        Figure to draw into; a new one by default.

    Returns
    -------
    matplotlib.figure.Figure
        Top: MAP estimates with bars from the 16 % to the 84 % quantile.  Bottom: the mode closest to the catalog value.

    Raises
    ------
    InputError
        If there is nothing to compare with.

    Notes
    -----
    The layout follows Walter et al. (2025), Figs. 6, B.1 and B.2.  The catalog may list present-day
    masses; masses here are initial masses.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.plotting import plot_comparison
    >>> out = clusterpost.infer_table(clusterpost.simulate(5, seed=1), n_samples=100)
    >>> truth = {name: (f"{name}_true", None, None, None, unit)
    ...          for name, unit in (("age", "Myr"), ("mass", "solMass"),
    ...                             ("ebv", "mag"))}
    >>> figure = plot_comparison(out, truth)
    """
    parameters = find_family(recorded_model(out, prefix)).parameters
    fits = published_fits(out, published, parameters=parameters)
    chosen = row_mask(out, where, prefix=prefix)
    examples = () if examples is None else row_numbers(out, examples, option="examples")
    highlight = np.zeros(len(out), bool) if highlight is None else np.asarray(highlight)
    if highlight.shape != (len(out),) or highlight.dtype != bool:
        raise InputError(f"option:highlight takes True or False for each of the {len(out)} rows")
    low, high, best = (inferred_parameters(out, suffix, prefix=prefix, parameters=parameters)
                       for suffix in ("q16", "q84", "map"))
    shown = [i for i, p in enumerate(parameters)
             if p.column in fits and (chosen & np.isfinite(fits[p.column].value)).any()]
    if not shown:
        raise InputError("none of the selected rows has a published fit")
    rows = {"MAP": best, "closest mode": closest_modes(out, fits, prefix=prefix, parameters=parameters)}
    with style():
        figure = new_figure(figure, width=0.6 + 3.4 * len(shown), height=6.9)
        axes = figure.subplots(2, len(shown), squeeze=False)
        for column, i in enumerate(shown):
            catalog = fits[parameters[i].column].value
            ours = np.column_stack([best[:, i], rows["closest mode"][:, i]])
            drawn = chosen & np.isfinite(catalog) & np.isfinite(best[:, i])
            if not drawn.any():
                raise InputError("no inferred row has a published fit")
            limits = _limits(catalog[drawn], ours[drawn])
            axes[0, column].set_title(parameters[i].description)
            for ax, (title, values) in zip(axes[:, column], rows.items(), strict=True):
                bars = None
                if title == "MAP":
                    bars = np.clip([values[:, i] - low[:, i], high[:, i] - values[:, i]], 0, None)
                _against_catalog(ax, catalog, values[:, i], bars, drawn, highlight)
                _deviation(ax, (values[:, i] - catalog)[drawn], _difference_unit(parameters[i]))
                ax.set(xlim=limits, ylim=limits, ylabel=f"{title}: {parameters[i].label}")
                _numbered(ax, catalog, values[:, i], examples)
                ax.set_box_aspect(1)
            axes[0, column].tick_params(labelbottom=False)
            axes[1, column].set_xlabel(f"catalog: published {parameters[i].label}")
        marked = np.sum(chosen & highlight)
        figure.suptitle(f"{np.sum(chosen):,} clusters; bars from 16 to 84 %"
                        + (f"; {marked:,} highlighted (diamonds)" if marked else ""), fontsize=10)
    return figure


def _difference_unit(parameter):
    """Return the unit of a difference between two values of a parameter."""
    return "dex" if parameter.log10 else parameter.unit or "1"


def _limits(catalog, ours):
    values = np.concatenate([catalog, ours.ravel()])
    values = values[np.isfinite(values)]
    margin = 0.06 * np.ptp(values) or 0.1
    return values.min() - margin, values.max() + margin


def _against_catalog(ax, catalog, values, bars, drawn, highlight):
    alpha = float(np.clip(15 / np.sqrt(drawn.sum()), 0.2, 0.8))
    size = float(np.clip(200 / np.sqrt(drawn.sum()), 2, 12))
    ax.axline((0, 0), slope=1, color=COLORS["line"], lw=0.9, zorder=1)
    if bars is not None:
        ax.errorbar(catalog[drawn], values[drawn], yerr=bars[:, drawn], fmt="none", ecolor=COLORS["errorbar"],
                    elinewidth=0.6, alpha=0.6 * alpha, zorder=0, rasterized=True)
    rows = drawn & ~highlight
    ax.scatter(catalog[rows], values[rows], s=size, color=COLORS["posterior"], alpha=alpha, lw=0, zorder=2,
               rasterized=True)
    rows = drawn & highlight
    ax.scatter(catalog[rows], values[rows], s=2 * size, color=COLORS["highlight"], marker="D", lw=0.3,
               edgecolors="white", zorder=3, rasterized=True)


def _numbered(ax, catalog, values, rows):
    for numeral, row in zip(NUMERALS, rows, strict=False):
        at = catalog[row], values[row]
        if np.isfinite(at).all():
            ax.plot(*at, marker="^", ms=8, color=COLORS["mode"], mec="black", mew=0.7, ls="none", zorder=5)
            inside = ax.transAxes.inverted().transform(ax.transData.transform(at))[0] < 0.93
            ax.annotate(numeral, at, xytext=(6 if inside else -6, -10), textcoords="offset points", fontsize=9,
                        ha="left" if inside else "right", zorder=5, clip_on=True,
                        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5})


def _deviation(ax, difference, unit):
    difference = difference[np.isfinite(difference)]
    if not len(difference):
        return
    q16, q50, q84 = np.percentile(difference, [16, 50, 84])
    text = f"offset {q50:+.2f} {unit}\nscatter {(q84 - q16) / 2:.2f} {unit}\nn = {len(difference):,}"
    ax.text(0.04, 0.96, text.replace("-", "\N{MINUS SIGN}"), transform=ax.transAxes, va="top", fontsize=8.5,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1.5})


def plot_deviation(out: Table, published: str | Mapping | None = None, where: str | Sequence | np.ndarray | None = None,
                   *, prefix: str = "", figure: Figure | None = None) -> Figure:
    """Draw the difference between the MAP and the catalog's own fit against the width of the posterior.

    Parameters
    ----------
    out : Table
        Output of `~clusterpost.infer_table`.
    published : str or dict, optional
        As for `clusterpost.validation.compare_with_catalog`.
    where : array of bool or int, or str, optional
        Rows to draw, or an expression that selects them; all by default.
    prefix : str
        Prefix of the result columns (``prefix`` of `~clusterpost.infer_table`).
    figure : Figure, optional
        Figure to draw into; a new one by default.

    Returns
    -------
    matplotlib.figure.Figure
        One panel per parameter: MAP minus catalog against the distance between the 16 % and 84 % quantiles, with the
        running median and the running 5 % and 95 % quantiles.

    Raises
    ------
    InputError
        If there is nothing to compare with.

    Notes
    -----
    The layout follows Walter et al. (2025), Fig. B.3: large deviations occur where posteriors are broad.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.plotting import plot_deviation
    >>> out = clusterpost.infer_table(clusterpost.simulate(5, seed=1), n_samples=100)
    >>> truth = {name: (f"{name}_true", None, None, None, unit)
    ...          for name, unit in (("age", "Myr"), ("mass", "solMass"),
    ...                             ("ebv", "mag"))}
    >>> figure = plot_deviation(out, truth)
    """
    parameters = find_family(recorded_model(out, prefix)).parameters
    fits = published_fits(out, published, parameters=parameters)
    chosen = row_mask(out, where, prefix=prefix)
    low, high, best = (inferred_parameters(out, suffix, prefix=prefix, parameters=parameters)
                       for suffix in ("q16", "q84", "map"))
    panels = {}
    for i, parameter in enumerate(parameters):
        if parameter.column in fits:
            deviation, width = best[:, i] - fits[parameter.column].value, high[:, i] - low[:, i]
            rows = chosen & np.isfinite(deviation) & np.isfinite(width)
            if rows.any():
                panels[i] = width[rows], deviation[rows]
    if not panels:
        raise InputError("no inferred row of this table has a published fit")
    with style():
        figure = new_figure(figure, width=0.6 + 3.4 * len(panels), height=3.6)
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for ax, (i, (width, deviation)) in zip(axes, panels.items(), strict=True):
            ax.scatter(width, deviation, s=float(np.clip(200 / np.sqrt(len(width)), 2, 12)), color="0.5", lw=0,
                       alpha=float(np.clip(15 / np.sqrt(len(width)), 0.2, 0.8)), rasterized=True)
            ax.axhline(0, color=COLORS["line"], lw=0.9, zorder=1)
            center, quantiles = _running_quantiles(width, deviation, (0.05, 0.5, 0.95))
            for values, color, label in zip(quantiles, ("posterior", "mode", "posterior"),
                                            ("5, 95 %", "median", None), strict=True):
                if len(center):
                    ax.plot(center, values, color=COLORS[color], lw=1.6, label=label)
            ax.set(xlabel=rf"$Q_{{0.84}} - Q_{{0.16}}$ of {parameters[i].label}", xlim=(0, None),
                   ylabel=f"MAP \N{MINUS SIGN} catalog [{_difference_unit(parameters[i])}]")
            ax.text(0.04, 0.96, f"n = {len(width):,}", transform=ax.transAxes, va="top", fontsize=8.5)
        if len(center):
            axes[0].legend(loc="lower left", frameon=True, framealpha=0.8, edgecolor="none")
    return figure


def _running_quantiles(x, y, levels, least=10):
    """Return quantiles of y in equally populated bins of x; bins with fewer than ``least`` points are left out."""
    bins = np.array_split(np.argsort(x), np.clip(len(x) // (4 * least), 1, 25))
    bins = [rows for rows in bins if len(rows) >= least]
    center = np.array([np.median(x[rows]) for rows in bins])
    return center, np.array([[np.quantile(y[rows], level) for rows in bins] for level in levels])


def plot_catalog(out: Table, *, where: str | Sequence | np.ndarray | None = None, prefix: str | None = None,
                 figure: Figure | None = None) -> Figure:
    """Draw an overview of an inferred catalog, for clusters in age, mass and reddening.

    Parameters
    ----------
    out : Table
        Output of `~clusterpost.infer_table`.
    where : array of bool or int, or str, optional
        Rows to draw, or an expression that selects them, such as ``"class <= 2 and good"``
        (`clusterpost.selection.select_rows`); all by default.
    prefix : str, optional
        Prefix of the result columns (``prefix`` of `~clusterpost.infer_table`), if the table holds several results.
    figure : Figure, optional
        Figure to draw into; a new one by default.

    Returns
    -------
    matplotlib.figure.Figure
        Medians in the plane of the model's first two parameters, colored by the third (for clusters age, initial
        mass and reddening), with bars from the 16 % to the 84 % quantile for up to 300 rows or the median length of
        the bars for more rows; histograms of the three parameters; and the number of rows with each flag.  Rows that
        fail `~clusterpost.is_good` are faint crosses and are not counted in the histograms.

    Raises
    ------
    InputError
        If no row was inferred.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.plotting import plot_catalog
    >>> out = clusterpost.infer_table(clusterpost.simulate(5, seed=1), n_samples=100)
    >>> figure = plot_catalog(out)
    """
    prefix = results_prefix(out, prefix)
    if where is not None:
        out = out[row_numbers(out, where, prefix=prefix)]
    parameters = find_family(recorded_model(out, prefix)).parameters
    labels = [p.label or p.name for p in parameters]
    low, median, high = (inferred_parameters(out, suffix, prefix=prefix, parameters=parameters)
                         for suffix in ("q16", "q50", "q84"))
    inferred = np.isfinite(low + median + high).all(1)
    if not inferred.any():
        raise not_inferred(out, prefix)
    has_flags = f"{prefix}flag" in out.colnames
    good = inferred & (is_good(out, prefix=prefix) if has_flags else True)
    doubtful = inferred & ~good
    counted = good if good.any() else inferred
    with style():
        figure = new_figure(figure, width=10.5, height=6.4)
        grid = figure.add_gridspec(4, 2, width_ratios=(2.3, 1))
        main = figure.add_subplot(grid[:, 0])
        _plane(figure, main, low[counted], median[counted], high[counted], labels)
        main.scatter(*median[doubtful, :2].T, s=14, marker="x", color="0.55", lw=0.8, alpha=0.5, zorder=0.5,
                     rasterized=True)
        said = [f"{good.sum():,} good of {len(out):,} rows"]
        said += [f"{doubtful.sum():,} doubtful (crosses)"] if doubtful.any() else []
        said += [f"{(~inferred).sum():,} not inferred"] if not inferred.all() else []
        main.set_title(", ".join(said), loc="left")
        for i in range(min(3, len(parameters))):
            ax = figure.add_subplot(grid[i, 1])
            bins = _bins(median[counted, i])
            ax.hist(median[counted, i], bins=bins, color=COLORS["posterior"], alpha=0.35)
            ax.hist(median[counted, i], bins=bins, histtype="step", color=COLORS["posterior"], lw=1)
            ax.set(xlabel=f"median {labels[i]}", ylabel="rows")
        ax = figure.add_subplot(grid[3, 1])
        ax.set_axis_off()
        if has_flags:
            ax.text(0, 1, _flag_lines(flag_values(out, prefix)), va="top", fontsize=8.5, linespacing=1.35,
                    transform=ax.transAxes)
    return figure


def _flag_lines(values):
    counts = [(int(((values & flag.bit) != 0).sum()), flag) for flag in FLAGS]
    lines = [f"{count:,} {flag.name}" + ("" if flag.severity == "information" else f" ({flag.severity})")
             for count, flag in sorted(counts, key=lambda pair: -pair[0]) if count]
    return "\n".join(["flags", *lines] if lines else ["no flags"])


def _bins(values):
    return np.histogram_bin_edges(values, int(np.clip(2 * np.sqrt(len(values)), 5, 50)))


def _plane(figure, ax, low, median, high, labels):
    bars = {"fmt": "none", "ecolor": "0.6", "elinewidth": 0.5, "rasterized": True}
    below, above = (median - low)[:, :2].T, (high - median)[:, :2].T
    if len(median) <= _MOST_BARS:
        alpha = float(np.clip(12 / np.sqrt(len(median)), 0.1, 0.7))
        ax.errorbar(*median[:, :2].T, xerr=[below[0], above[0]], yerr=[below[1], above[1]], alpha=alpha, zorder=0,
                    **bars)
    # In random order: if sorted by color, reddened clusters would hide the others in crowded regions.
    order = np.random.default_rng(0).permutation(len(median))
    points = ax.scatter(*median[order, :2].T, c=median[order, 2], s=float(np.clip(500 / np.sqrt(len(median)), 4, 30)),
                        cmap="viridis", lw=0, alpha=1.0 if len(median) <= _MOST_BARS else 0.7, vmin=0,
                        vmax=max(np.percentile(median[:, 2], 98), 0.1), rasterized=True)
    figure.colorbar(points, ax=ax, label=f"median {labels[2]}", extend="max", pad=0.02)
    ax.set(xlabel=f"median {labels[0]}", ylabel=f"median {labels[1]}")
    if len(median) > _MOST_BARS:
        x, y = ax.get_xlim()[1] - 1.2 * np.median(above[0]), ax.get_ylim()[0] + 1.2 * np.median(below[1])
        ax.errorbar([x], [y], xerr=np.median([below[0], above[0]], axis=1)[:, None],
                    yerr=np.median([below[1], above[1]], axis=1)[:, None], color="black", capsize=2, lw=1)
        ax.annotate("median 16\N{EN DASH}84 %", (x, y), xytext=(-4, 6), textcoords="offset points", ha="right",
                    fontsize=8)
