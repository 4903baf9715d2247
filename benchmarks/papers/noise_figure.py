"""Noisy clusters under two noise models."""

import numpy as np

from clusterpost.errors import InputError
from clusterpost.plotting.style import COLORS, LABELS, new_figure, style
from clusterpost.validation.fits import catalog_parameters, inferred_parameters

from .noise import NOISES

_COLORS = dict(zip(NOISES, (COLORS["posterior"], COLORS["map"]), strict=True))
_NAMES = dict(zip(NOISES, ("log-normal", "normal"), strict=True))


def plot_noise_models(table, published=None, *, examples=2, figure=None):
    """Draw the same clusters inferred under log-normal and under normal noise.

    Parameters
    ----------
    table : Table
        From `.noise.compare_noise`.
    published : str, dict or False, optional
        As for `~clusterpost.compare_with_catalog`: what to draw against.  Without it, and where the table has no fits,
        the two are drawn against each other.
    examples : int
        How many clusters, those of the largest divergence, to show with their posteriors.
    figure : Figure, optional
        To draw in.

    Returns
    -------
    matplotlib.figure.Figure
        Top: medians with 16-84 % ranges of both, joined, against the published value, or of one against the other.
        Below, for each example: the marginals of one set of draws with either weights (filled), and the MAP of either
        inference (triangles); a cross marks the published value.

    Raises
    ------
    InputError
        If the table has no row.

    Notes
    -----
    Walter et al. (2025), Sect. 3.2.4, and the blue dots of their Fig. 6.
    """
    if not len(table):
        raise InputError("the table has no row; is it from compare_noise?")
    catalog = catalog_parameters(table, published)
    shown = np.argsort(-np.asarray(table["divergence"]), kind="stable")[:examples]
    with style():
        figure = new_figure(figure, width=10.2, height=3.4 + 2.3 * len(shown))
        axes = figure.subplots(1 + len(shown), 3, squeeze=False, height_ratios=[1.5] + [1] * len(shown))
        for i, ax in enumerate(axes[0]):
            if np.isfinite(catalog[:, i]).any():
                _against(ax, table, catalog[:, i], i)
            else:
                _each_other(figure, ax, table, i)
        for line, row in zip(axes[1:], shown, strict=True):
            for i, ax in enumerate(line):
                _marginals(ax, table[row:row + 1], catalog[row, i], i)
            line[0].set_ylabel(f"row {table['row'][row]}\ndensity")
            text = f"divergence {table['divergence'][row]:.2f} bit\noverlap {table['overlap'][row]:.2f}"
            line[2].text(0.97, 0.94, text, transform=line[2].transAxes, ha="right", va="top", fontsize=8.5)
        for ax in axes[1:, 0][:1]:
            ax.legend(fontsize=8)
        if np.isfinite(catalog).any():
            axes[0, 0].legend(loc="upper left", fontsize=8)
        figure.suptitle(f"{len(table):,} clusters with large errors in the ultraviolet", fontsize=10)
    return figure


def _intervals(table, noise, i):
    return [inferred_parameters(table, q, prefix=f"{noise}_")[:, i] for q in ("q16", "q50", "q84")]


def _against(ax, table, catalog, i):
    medians = []
    for noise, shift in zip(NOISES, (-1, 1), strict=True):
        low, median, high = _intervals(table, noise, i)
        x = catalog + shift * 0.004 * np.ptp(catalog[np.isfinite(catalog)])
        ax.errorbar(x, median, yerr=[median - low, high - median], fmt="o", ms=4, lw=0.7, color=_COLORS[noise],
                    alpha=0.75, label=f"{_NAMES[noise]} noise")
        medians.append(median)
    ax.axline((np.nanmedian(catalog),) * 2, slope=1, color=COLORS["line"], lw=0.9, zorder=0)
    ax.vlines(catalog, *medians, color="0.7", lw=0.8, zorder=0)
    ax.set(xlabel=f"published {LABELS[i]}", ylabel=f"median {LABELS[i]}")


def _each_other(figure, ax, table, i):
    (x_low, x, x_high), (low, y, high) = (_intervals(table, noise, i) for noise in NOISES)
    ax.errorbar(x, y, xerr=[x - x_low, x_high - x], yerr=[y - low, high - y], fmt="none", ecolor="0.7", lw=0.7,
                zorder=0)
    points = ax.scatter(x, y, c=table["divergence"], vmin=0, vmax=1, cmap="viridis", s=24, lw=0, zorder=2)
    ax.axline((np.median(x),) * 2, slope=1, color=COLORS["line"], lw=0.9, zorder=1)
    ax.set(xlabel=f"log-normal: median {LABELS[i]}", ylabel=f"normal: median {LABELS[i]}")
    if i == 2:
        figure.colorbar(points, ax=ax, label="divergence [bit]", pad=0.02)


def _marginals(ax, row, catalog, i):
    draws = np.asarray(row["draws"])[0][:, i]
    edges = np.histogram_bin_edges(draws, 45)
    for noise in NOISES:
        ax.hist(draws, bins=edges, weights=np.asarray(row[f"weight_{noise}"])[0], density=True, histtype="stepfilled",
                color=_COLORS[noise], alpha=0.35, lw=0)
        ax.hist(draws, bins=edges, weights=np.asarray(row[f"weight_{noise}"])[0], density=True, histtype="step",
                color=_COLORS[noise], lw=1.2, label=f"{_NAMES[noise]} noise")
    top = 1.25 * ax.get_ylim()[1]
    for noise in NOISES:
        best = inferred_parameters(row, "map", prefix=f"{noise}_")[0, i]
        ax.plot(best, 0.06 * top, marker="^", ms=8, color=_COLORS[noise], mec="white", ls="none", zorder=5)
    if np.isfinite(catalog):
        ax.plot(catalog, 0.06 * top, marker="X", ms=8, color=COLORS["catalog"], mec="white", ls="none", zorder=5)
    ax.set(xlabel=LABELS[i], yticks=[], ylim=(0, top))
