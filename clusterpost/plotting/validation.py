"""Figures of calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from .style import COLORS, LABELS, new_figure, style

if TYPE_CHECKING:
    from astropy.table import Table
    from matplotlib.figure import Figure

    from ..validation.sbc import SBCResult

__all__ = ["plot_coverage", "plot_pp", "plot_regions", "plot_sbc"]

_TITLES = {"T1": r"$T_1 = t$", "T2": r"$T_2 = m$", "T3": r"$T_3 = E_{B-V}$", "T4": r"$T_4 = \log t\cdot\log m$",
           "T5": r"$T_5 = \log m\cdot E_{B-V}$", "T6": r"$T_6 = \log t\cdot E_{B-V}$"}
_SHORT = {"log_age": r"$\log\,t$", "log_mass": r"$\log\,m$", "ebv": r"$E(B-V)$"}
_REGIONS = {"HPD": "highest-density regions", "TARP": "regions about random points"}
_BY = {"age": (LABELS[0], "posterior median of "), "mass": (LABELS[1], "posterior median of "),
       "ebv": (LABELS[2], "posterior median of "), "snr": ("median flux / error of a mock's bands", ""),
       "n_bands": ("number of bands", "")}
_CURVES = [COLORS[name] for name in ("posterior", "mode", "catalog")] + ["#CC79A7", "#56B4E9", "#000000"]


def plot_sbc(result: SBCResult, *, level: float = 0.99, bins: int | None = None,
             figure: Figure | None = None) -> Figure:
    """Draw rank histograms and ECDF differences of a simulation-based calibration.

    Parameters
    ----------
    result : SBCResult
        Output of `clusterpost.validation.sbc_ranks`.
    level : float
        Probability level of the simultaneous band.
    bins : int, optional
        Number of histogram bins; by default one per rank.
    figure : Figure, optional
        Figure to draw into; a new one by default.

    Returns
    -------
    matplotlib.figure.Figure
        One row per statistic.  Left: rank histogram over its expectation, with lines at +-1 sigma.
        Right: ECDF difference, with the pointwise 1-99 % band (gray) and the simultaneous band (dashed).
        A curve that leaves the simultaneous band is thicker and in another color.

    Notes
    -----
    The layout follows Walter et al. (2025), Fig. 3.

    Examples
    --------
    >>> import numpy as np
    >>> from clusterpost.plotting import plot_sbc
    >>> from clusterpost.validation import SBCResult
    >>> ranks = np.random.default_rng(0).integers(0, 21, size=(500, 2))
    >>> figure = plot_sbc(SBCResult(ranks, ("T1", "T2"), 20))
    >>> figure.savefig("sbc.pdf")  # doctest: +SKIP
    """
    n_stat = len(result.names)
    with style():
        figure = new_figure(figure, width=9, height=0.7 + 1.75 * n_stat)
        axes = figure.subplots(n_stat, 2, sharex="col", squeeze=False, width_ratios=(1, 1.15))
        edges, counts, expected = result.histogram(bins)
        passes, shares = result.passes(level), result.outside_share()
        curves = result.ecdf_difference()[1]
        for (left, right), name, row, curve in zip(axes, result.names, counts, curves, strict=True):
            _histogram(left, edges, row / expected, np.sqrt((1 - expected / result.n_mocks) / expected))
            left.set_ylabel("count / expected")
            left.text(0.03, 0.93, _TITLES.get(name, name), transform=left.transAxes, va="top",
                      bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 2})
            _difference(right, result, curve, level, passes[name])
            right.text(0.98, 0.93, f"{100 * shares[name]:.0f} % outside 1\N{EN DASH}99 %\n"
                       + ("inside" if passes[name] else "LEAVES") + f" the {100 * level:g} % band",
                       transform=right.transAxes, va="top", ha="right", fontsize=8.5,
                       color=COLORS["line"] if passes[name] else COLORS["fail"])
        axes[0, 0].set_title(f"ranks among {result.n_draws} draws, {result.n_mocks:,} mocks")
        axes[0, 1].set_title("rank ECDF \N{MINUS SIGN} uniform")
        axes[-1, 0].set_xlabel("rank")
        axes[-1, 1].set_xlabel(r"normalized rank $z$")
        handles, labels = axes[0, 1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower right", ncols=2)
        figure.align_ylabels()
    return figure


def plot_pp(result: SBCResult, *, level: float = 0.99, figure: Figure | None = None) -> Figure:
    """Draw a p-p plot: the fraction of truths below each quantile of their posterior.

    Parameters
    ----------
    result : SBCResult
        Output of `clusterpost.validation.rank_statistics` with ``clusterpost.validation.MARGINALS``.
    level : float
        Probability level of the simultaneous band.
    figure : Figure, optional
        Figure to draw into; a new one by default.

    Returns
    -------
    matplotlib.figure.Figure
        Cumulative distributions of the truths' percentiles, which follow the diagonal for exact posteriors, with the
        simultaneous band in gray.  Bottom: differences from the diagonal.  A curve that leaves the band is dashed and
        marked in the legend.

    Notes
    -----
    The figure follows Hahn & Melchior (2022), Fig. 3, which has no band.

    Examples
    --------
    >>> import numpy as np
    >>> from clusterpost.plotting import plot_pp
    >>> from clusterpost.validation import SBCResult
    >>> ranks = np.random.default_rng(0).integers(0, 21, size=(500, 3))
    >>> figure = plot_pp(SBCResult(ranks, ("log_age", "log_mass", "ebv"), 20))
    """
    z, difference = result.ecdf_difference()
    curves = [(_SHORT.get(name, _TITLES.get(name, name)), z + row, passes)
              for (name, passes), row in zip(result.passes(level).items(), difference, strict=True)]
    figure = _diagonal(z, curves, result.simultaneous_band(level), level, figure)
    figure.axes[0].set(ylabel="fraction of truths below the quantile", title=_sizes(result))
    figure.axes[1].set_xlabel("quantile of the posterior")
    return figure


def plot_coverage(*results: SBCResult, level: float = 0.99, figure: Figure | None = None) -> Figure:
    """Draw the coverage: the fraction of credible regions that contain the truth.

    Parameters
    ----------
    *results : SBCResult
        Outputs of `clusterpost.validation.coverage_ranks` and `~clusterpost.validation.tarp_ranks` for one ensemble.
    level : float
        Probability level of the simultaneous band.
    figure : Figure, optional
        Figure to draw into; a new one by default.

    Returns
    -------
    matplotlib.figure.Figure
        Fraction of truths inside the regions against their credibility, with the simultaneous band in gray.  Bottom:
        differences from the diagonal.  A curve that leaves the band is dashed and marked in the legend.  A curve below
        the diagonal means that posteriors are too narrow.

    Raises
    ------
    InputError
        If there is no result.

    Examples
    --------
    >>> import numpy as np
    >>> from clusterpost.plotting import plot_coverage
    >>> from clusterpost.validation import SBCResult
    >>> ranks = np.random.default_rng(0).integers(0, 21, size=(500, 1))
    >>> figure = plot_coverage(SBCResult(ranks, ("HPD",), 20))
    """
    from ..validation import expected_coverage

    if not results:
        raise InputError("there is no coverage to draw; give one or more results of "
                         "clusterpost.validation.coverage_ranks or tarp_ranks")
    curves = []
    for result in results:
        z, coverage = expected_coverage(result)
        curves += [(_REGIONS.get(name, name), row, passes)
                   for (name, passes), row in zip(result.passes(level).items(), coverage, strict=True)]
    figure = _diagonal(z, curves, results[0].simultaneous_band(level), level, figure)
    figure.axes[0].set(ylabel="fraction of truths inside", title=_sizes(results[0]))
    figure.axes[1].set_xlabel("credibility of the region")
    return figure


def plot_regions(*tables: Table, figure: Figure | None = None) -> Figure:
    """Draw the calibration of subsets of the mocks.

    Parameters
    ----------
    *tables : Table
        Output of `clusterpost.validation.by_region`.
    figure : Figure, optional
        Figure to draw into; a new one by default.

    Returns
    -------
    matplotlib.figure.Figure
        One panel per table: for each region, the largest excursion of each statistic's ECDF difference relative to
        the simultaneous band, which contains all curves of a panel with the table's probability level.  Values above 1
        (filled, in another color) lie outside the band.

    Raises
    ------
    InputError
        If there is no table.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from clusterpost.plotting import plot_regions
    >>> table = Table({"region": [1, 2], "low": [1.0, 3.0], "high": [3.0, 9.0],
    ...                "statistic": ["ebv", "ebv"],
    ...                "n": [50, 50], "max_difference": [0.05, 0.2],
    ...                "of_band": [0.4, 1.6],
    ...                "inside_band": [True, False]}, meta={"by": "snr", "level": 0.99})
    >>> figure = plot_regions(table)
    """
    if not tables:
        raise InputError("there are no regions to draw; give one or more tables of clusterpost.validation.by_region")
    with style():
        figure = new_figure(figure, width=1 + 3.4 * len(tables), height=3.6)
        axes = figure.subplots(1, len(tables), sharey=True, squeeze=False)[0]
        names = list(dict.fromkeys(str(name) for table in tables for name in table["statistic"]))
        for ax, table in zip(axes, tables, strict=True):
            _regions(ax, table, names)
        axes[0].set_ylabel("largest excursion / band")
        axes[0].set_ylim(0, 1.12 * max(1.0, *(max(table["of_band"]) for table in tables)))
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure


def _regions(ax, table, names):
    markers = dict(zip(names, "osD^vP" * len(names), strict=False))
    regions = sorted(set(table["region"].tolist()))
    for i, name in enumerate(names):
        rows = table[table["statistic"] == name]
        x = rows["region"] + 0.5 * ((i + 0.5) / len(names) - 0.5)
        color = _CURVES[i % len(_CURVES)]
        ax.plot(x, rows["of_band"], markers[name], color=color, mfc="none", label=_SHORT.get(name, name))
        out = ~np.asarray(rows["inside_band"], bool)
        ax.plot(x[out], rows["of_band"][out], markers[name], color=COLORS["fail"], ms=8)
    ax.axhline(1, color=COLORS["line"], ls="--", lw=0.9, label=f"{100 * table.meta['level']:g} % band")
    first = [table[table["region"] == region][0] for region in regions]
    digits = 0 if table.meta["by"] == "n_bands" else 1
    ends = [f"{row['low']:.{digits}f}" if row["low"] == row["high"] else
            f"{row['low']:.{digits}f}\N{EN DASH}{row['high']:.{digits}f}" for row in first]
    ax.set_xticks(regions, [f"{end}\n({row['n']:,})" for end, row in zip(ends, first, strict=True)], fontsize=8.5)
    ax.tick_params(axis="x", length=0)
    label, what = _BY.get(table.meta["by"], (table.meta["by"], ""))
    ax.set(xlim=(regions[0] - 0.5, regions[-1] + 0.5), xlabel=what + label)


def _diagonal(z, curves, band, level, figure):
    """Draw curves with the diagonal, and their differences from it below."""
    with style():
        figure = new_figure(figure, width=5, height=6.6)
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2.6, 1))
        name = f"simultaneous {100 * level:g} %"
        for ax, diagonal in ((above, z), (below, 0 * z)):
            ax.fill_between(z, diagonal + band[0], diagonal + band[1], color="0.82", lw=0,
                            label=name if ax is above else None)
            ax.plot(z, diagonal, color=COLORS["line"], lw=0.7)
            for i, (label, curve, passes) in enumerate(curves):
                label = label if passes else f"{label}: LEAVES the band"
                ax.plot(z, curve - z + diagonal, color=_CURVES[i % len(_CURVES)], lw=1.5,
                        ls="-" if passes else "--", label=label if ax is above else None)
        above.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        above.legend(loc="upper left")
        reach = 1.15 * max(np.abs(band).max(), *(np.abs(curve - z).max() for _, curve, _ in curves))
        below.set(ylim=(-reach, reach), ylabel="difference")
        figure.align_ylabels()
    return figure


def _sizes(result):
    return f"{result.n_mocks:,} mocks, {result.n_draws} draws each"


def _histogram(ax, edges, ratio, sigma):
    ax.stairs(ratio, edges, fill=True, color=COLORS["posterior"], alpha=0.35, lw=0)
    ax.stairs(ratio, edges, color=COLORS["posterior"], lw=0.7)
    ax.axhline(1, color=COLORS["line"], lw=0.8)
    for sign in (-1, 1):
        ax.stairs(1 + sign * sigma, edges, baseline=None, color=COLORS["line"], ls="--", lw=0.9)
    # Bars do not start at zero, so that deviations of a few percent are visible.
    reach = 1.15 * max(np.abs(ratio - 1).max(), 4 * sigma.max())
    ax.set(xlim=(edges[0], edges[-1]), ylim=(max(0, 1 - reach), 1 + 1.5 * reach))


def _difference(ax, result, curve, level, inside):
    z = result.ecdf_difference()[0]
    ax.plot(z, curve, color=COLORS["posterior"] if inside else COLORS["fail"], lw=1.3 if inside else 2.0, zorder=3)
    lower, upper = result.pointwise_band()
    ax.fill_between(z, lower, upper, color="0.82", lw=0, label="pointwise 1\N{EN DASH}99 %")
    lower, upper = result.simultaneous_band(level)
    ax.plot(z, lower, color=COLORS["line"], ls="--", lw=0.9, label=f"simultaneous {100 * level:g} %")
    ax.plot(z, upper, color=COLORS["line"], ls="--", lw=0.9)
    ax.axhline(0, color=COLORS["line"], lw=0.6)
    reach = max(np.abs(curve).max(), upper.max(), -lower.min())
    ax.set(xlim=(0, 1), ylim=(-1.15 * reach, 1.75 * reach))
