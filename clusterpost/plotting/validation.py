"""Figures of calibration."""

from __future__ import annotations

import numpy as np

from .style import COLORS, new_figure, style

__all__ = ["plot_sbc"]

_TITLES = {"T1": r"$T_1 = t$", "T2": r"$T_2 = m$", "T3": r"$T_3 = E_{B-V}$", "T4": r"$T_4 = \log t\cdot\log m$",
           "T5": r"$T_5 = \log m\cdot E_{B-V}$", "T6": r"$T_6 = \log t\cdot E_{B-V}$"}


def plot_sbc(result, *, level=0.99, bins=None, figure=None):
    """Rank histograms and ECDF differences of a simulation-based calibration.

    Parameters
    ----------
    result : SBCResult
        From `clusterpost.validation.sbc_ranks`.
    level : float
        Of the simultaneous band.
    bins : int, optional
        Of the histograms; by default one for every rank.
    figure : Figure, optional
        To draw in.

    Returns
    -------
    matplotlib.figure.Figure
        One row per statistic.  Left: rank histogram over its expectation, with lines at +-1 sigma.
        Right: ECDF difference, with the pointwise 1-99 % band (gray) and the simultaneous band (dashed);
        a curve that leaves the latter is drawn in another color, and thicker.

    Notes
    -----
    The layout of Walter et al. (2025), Fig. 3.

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


def _histogram(ax, edges, ratio, sigma):
    ax.stairs(ratio, edges, fill=True, color=COLORS["posterior"], alpha=0.35, lw=0)
    ax.stairs(ratio, edges, color=COLORS["posterior"], lw=0.7)
    ax.axhline(1, color=COLORS["line"], lw=0.8)
    for sign in (-1, 1):
        ax.stairs(1 + sign * sigma, edges, baseline=None, color=COLORS["line"], ls="--", lw=0.9)
    # Deviations of a few per cent are the subject, so that bars do not start at zero.
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
