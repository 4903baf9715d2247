"""Figures of photometry: flux errors, posterior predictive checks, chi-squares and SEDs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..catalogs.tables import as_table
from ..errors import InputError
from ..photometry import Photometry
from ..selection import row_mask, row_numbers
from ..validation.predictive import bands_of, resimulate
from .style import COLORS, NUMERALS, new_figure, plain_log_ticks, style

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astropy.table import Row, Table
    from matplotlib.figure import Figure

__all__ = ["plot_chi2", "plot_flux_errors", "plot_predictive", "plot_seds"]


def plot_flux_errors(tbl: Table, *, where: str | Sequence | np.ndarray | None = None,
                     bands: Sequence[str] | None = None, columns: dict | None = None,
                     figure: Figure | None = None) -> Figure:
    """Draw a catalog's flux errors and the noise that two noise models imply.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        Photometry; errors are used as reported, without an error floor.
    where : array of bool or int, or str, optional
        Rows to count, or an expression that selects them; all by default.
    bands : sequence of str, optional
        Bands to draw; by default all bands of the table.
    columns : dict, optional
        As for `~clusterpost.infer_table`.
    figure : Figure, optional
        Figure to draw into; a new one by default.

    Returns
    -------
    matplotlib.figure.Figure
        One column per band.  Top: histogram of relative errors, with their median (dotted) and 99 % quantile
        (dashed); the last bin includes all larger errors.  Middle and bottom: densities of measured over true flux
        under normal and log-normal noise, for the median and for the 99 % quantile of the errors.

    Raises
    ------
    InputError
        If no band has a detection.

    Notes
    -----
    The layout follows Walter et al. (2025), Fig. 2, which shows the largest error instead of the 99 % quantile.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.plotting import plot_flux_errors
    >>> figure = plot_flux_errors(clusterpost.example_catalog())
    """
    from matplotlib.ticker import MaxNLocator

    tbl = tbl if where is None else tbl[row_numbers(tbl, where)]
    photometry = Photometry.from_table(tbl, columns=columns, covariates=(), error_floor=None)
    photometry = photometry if bands is None else photometry.select(bands)
    good = ~photometry.missing & ~photometry.limit & (photometry.flux > 0) & (photometry.error > 0)
    relative = {band: (photometry.error[rows, i] / photometry.flux[rows, i])
                for i, (band, rows) in enumerate(zip(photometry.bands, good.T, strict=True)) if rows.any()}
    if not relative:
        raise InputError("no band of this table has a detection with an error")
    with style():
        figure = new_figure(figure, width=0.9 + 2.0 * len(relative), height=5.6)
        axes = figure.subplots(3, len(relative), squeeze=False, sharex="row")
        for ax in axes[0, 1:]:
            ax.sharey(axes[0, 0])
            ax.tick_params(labelleft=False)
        top = max(np.quantile(values, 0.99) for values in relative.values())
        for (band, values), column in zip(relative.items(), axes.T, strict=True):
            marks = {":": np.median(values), "--": np.quantile(values, 0.99)}
            column[0].hist(np.minimum(values, 1.04 * top), bins=np.linspace(0, 1.05 * top, 45), alpha=0.6, lw=0,
                           color=COLORS["posterior"])
            for line, value in marks.items():
                column[0].axvline(value, color=COLORS["line"], ls=line, lw=1)
            column[0].set(yscale="log", title=f"{band.replace('_', ' ')}\nn = {len(values):,}", xlim=(0, 1.05 * top))
            column[0].xaxis.set_major_locator(MaxNLocator(4, prune="both"))
            for ax, value, what in zip(column[1:], marks.values(), ("median", r"99\%"), strict=True):
                _noise_densities(ax, value)
                ax.text(0.96, 0.94, rf"$r_\mathrm{{{what}}} = {value:.3f}$", transform=ax.transAxes, ha="right",
                        va="top", fontsize=9)
        axes[0, len(relative) // 2].set_xlabel(r"relative flux error $r$")
        for row in axes[1:]:
            row[len(relative) // 2].set_xlabel("measured / true flux")
        labels = "clusters", "density at\nmedian error", "density at\n99 % error"
        for ax, label in zip(axes[:, 0], labels, strict=True):
            ax.set_ylabel(label)
        handles, labels = axes[1, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def _noise_densities(ax, relative):
    from scipy.stats import lognorm, norm

    x = np.linspace(max(1 - 4.5 * relative, -0.5), 1 + 5.5 * relative, 400)
    sigma = np.sqrt(np.log1p(relative**2))
    ax.plot(x, norm.pdf(x, 1, relative), color=COLORS["mode"], lw=1.6, label="normal noise")
    ax.plot(x, np.where(x > 0, lognorm.pdf(x, sigma, scale=np.exp(-(sigma**2) / 2)), 0), color=COLORS["posterior"],
            lw=1.6, ls="--", label="log-normal noise")
    ax.set(ylim=(0, 1.4 * ax.get_ylim()[1]), yticks=[])


def plot_predictive(check: Table, *, bins: int | None = None, figure: Figure | None = None) -> Figure:
    """Draw a posterior predictive check: replicated against observed fluxes.

    Parameters
    ----------
    check : Table
        Output of `clusterpost.validation.predictive_check`.
    bins : int, optional
        Number of bins of the ranks; by default one per 25 clusters, between 8 and 25.
    figure : Figure, optional
        Figure to draw into; a new one by default.

    Returns
    -------
    matplotlib.figure.Figure
        One row per band.  Left: mean of the replicated fluxes against the observed flux.  Right: counts of the ranks of
        the observed fluxes over their expectation for uniform ranks, with dashed lines at +-1 sigma.  Posteriors are
        conditioned on the same data, so middle ranks are the most frequent if the model fits.

    Raises
    ------
    InputError
        If the check has no rows.

    Notes
    -----
    The layout follows Walter et al. (2025), Fig. 4.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.plotting import plot_predictive
    >>> from clusterpost.validation import predictive_check
    >>> figure = plot_predictive(predictive_check(clusterpost.simulate(5, seed=1),
    ...                                           model="any_bands", n_draws=50))
    """
    if not len(check):
        raise InputError("the check has no rows because no object was inferred; see the flag column of the results")
    bands, n_draws = bands_of(check), check.meta["n_draws"]
    with style():
        figure = new_figure(figure, width=7.6, height=0.8 + 1.75 * len(bands))
        axes = figure.subplots(len(bands), 2, squeeze=False, width_ratios=(1, 1.5), sharex="col")
        positive = [np.asarray(check[name])[np.asarray(check[name]) > 0] for name in ("flux", "mean")]
        low, high = min(map(np.min, positive)) / 1.5, max(map(np.max, positive)) * 1.5
        for (left, right), band in zip(axes, bands, strict=True):
            rows = check[np.asarray(check["band"]) == band]
            n = len(rows)
            left.scatter(rows["flux"], rows["mean"], s=float(np.clip(200 / np.sqrt(n), 2, 14)), lw=0,
                         color=COLORS["posterior"], alpha=float(np.clip(15 / np.sqrt(n), 0.2, 0.8)), rasterized=True)
            left.axline((low, low), (high, high), color=COLORS["line"], lw=0.9, zorder=1)
            left.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), ylabel="predicted [mJy]")
            left.text(0.05, 0.93, f"{band.replace('_', ' ')}\nn = {n:,}", transform=left.transAxes, va="top",
                      fontsize=9)
            _ranks(right, np.asarray(rows["rank"]), n_draws, min(bins or int(np.clip(n // 25, 8, 25)), n_draws + 1))
        axes[0, 0].set_title("mean of the replicated fluxes")
        axes[0, 1].set_title(f"rank among {n_draws} replicated fluxes")
        axes[-1, 0].set_xlabel("observed [mJy]")
        axes[-1, 1].set_xlabel("rank")
        figure.align_ylabels()
    return figure


def _ranks(ax, rank, n_draws, bins):
    starts = np.linspace(0, n_draws + 1, bins + 1).round()
    edges = starts - 0.5
    expected = len(rank) * np.diff(starts) / (n_draws + 1)
    ratio, sigma = np.histogram(rank, edges)[0] / expected, np.sqrt((1 - expected / len(rank)) / expected)
    ax.stairs(ratio, edges, fill=True, color=COLORS["posterior"], alpha=0.35, lw=0)
    ax.stairs(ratio, edges, color=COLORS["posterior"], lw=0.8)
    ax.axhline(1, color=COLORS["line"], lw=0.8)
    for sign in (-1, 1):
        ax.stairs(1 + sign * sigma, edges, baseline=None, color=COLORS["line"], ls="--", lw=0.9)
    ax.set(xlim=(edges[0], edges[-1]), ylim=(0, 1.15 * max(ratio.max(), (1 + sigma).max())), ylabel="count / expected")


def plot_chi2(table: Table, *, reference: str | Sequence[str] = "chi2_catalog",
              where: str | Sequence | np.ndarray | None = None, examples: Sequence[int] | None = None,
              figure: Figure | None = None) -> Figure:
    """Draw the chi-square of MAP estimates against that of other fits.

    Parameters
    ----------
    table : Table
        From `clusterpost.validation.map_chi2`.
    reference : str or sequence of str
        Columns of ``table``, such as ``chi2_catalog`` and ``chi2_catalog_free_mass``.  The first is drawn against the
        MAP and as a histogram, the others as histograms only.
    where : array of bool or int, or str, optional
        Rows to draw, or an expression that selects them; all by default.
    examples : sequence of int, optional
        Rows of ``table`` to mark.
    figure : Figure, optional
        Figure to draw into; a new one by default.

    Returns
    -------
    matplotlib.figure.Figure
        Top: histograms of log10 of the reduced chi-squares.  Bottom: the reference against the MAP for rows with both;
        colors show the number of clusters.

    Raises
    ------
    InputError
        If no row has both.

    Notes
    -----
    The layout follows Walter et al. (2025), Fig. 8.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.plotting import plot_chi2
    >>> from clusterpost.validation import map_chi2
    >>> out = clusterpost.infer_table(clusterpost.simulate(5, seed=2),
    ...                               model="any_bands")
    >>> truth = {name: (f"{name}_true", None, None, None, unit)
    ...          for name, unit in (("age", "Myr"), ("mass", "solMass"),
    ...                             ("ebv", "mag"))}
    >>> figure = plot_chi2(map_chi2(out, truth))
    """
    names = [reference] if isinstance(reference, str) else list(reference)
    chosen = row_mask(table, where)
    examples = () if examples is None else row_numbers(table, examples, option="examples")
    with np.errstate(divide="ignore"):
        values = {name: np.log10(np.asarray(table[name], float)) for name in ("chi2_map", *names)}
    both = chosen & np.isfinite(values["chi2_map"]) & np.isfinite(values[names[0]])
    if not both.any():
        raise InputError(f"no row has both chi2_map and {names[0]}; {names[0]} needs published fits")
    kept = {name: column[both & np.isfinite(column)] for name, column in values.items()}
    low, high = (np.percentile(np.concatenate(list(kept.values())), q) for q in (0.5, 99.5))
    low, high = low - 0.1 * (high - low) - 0.05, high + 0.1 * (high - low) + 0.05
    edges = np.linspace(low, high, int(np.clip(2 * np.sqrt(both.sum()), 12, 50)))
    with style():
        figure = new_figure(figure, width=5.2, height=6.6)
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1.7))
        for (name, column), color in zip(kept.items(), ("posterior", "catalog", "mode", "line"), strict=False):
            top.hist(np.clip(column, low, high), bins=edges, histtype="step", lw=1.6, color=COLORS[color],
                     ls="-" if name == "chi2_map" else "--", label=f"{_CHI2[name]}, median {10**np.median(column):.2g}")
        top.set_ylabel("clusters")
        top.set_ylim(0, (1.15 + 0.17 * len(kept)) * top.get_ylim()[1])
        top.legend(loc="upper left")
        _counts(figure, bottom, np.clip(values["chi2_map"][both], low, high),
                np.clip(values[names[0]][both], low, high), edges)
        bottom.axline((0, 0), slope=1, color=COLORS["line"], lw=0.9)
        for numeral, row in zip(NUMERALS, examples, strict=False):
            at = values["chi2_map"][row], values[names[0]][row]
            bottom.plot(*at, marker="^", ms=8, color=COLORS["mode"], mec="white", ls="none")
            bottom.annotate(numeral, at, xytext=(6, 4), textcoords="offset points", fontsize=9)
        bottom.set(xlim=(low, high), ylim=(low, high), xlabel=rf"$\log_{{10}}\chi^2_\nu$, {_CHI2['chi2_map']}",
                   ylabel=rf"$\log_{{10}}\chi^2_\nu$, {_CHI2[names[0]]}")
        above = np.mean(values["chi2_map"][both] > values[names[0]][both] + np.log10(1.01))
        bottom.text(0.04, 0.96, f"n = {both.sum():,}\nMAP worse by more than 1 %: {100 * above:.0f} %",
                    transform=bottom.transAxes, va="top", fontsize=8.5,
                    bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5})
    return figure


_CHI2 = {"chi2_map": "MAP", "chi2_catalog": "catalog fit", "chi2_catalog_free_mass": "catalog fit, best mass",
         "chi2_grid": "best grid point"}


def _counts(figure, ax, x, y, edges):
    """Draw a two-dimensional histogram with logarithmic colors, or points if there are few."""
    if len(x) < 200:
        ax.scatter(x, y, s=9, color=COLORS["posterior"], alpha=0.6, lw=0, rasterized=True)
        return
    image = ax.hist2d(x, y, bins=[edges, edges], norm="log", cmap="Blues", cmin=1, rasterized=True)[3]
    figure.colorbar(image, ax=ax, label="clusters", pad=0.02)


def plot_seds(table: Row | Table, *, figure: Figure | None = None) -> Figure:
    """Draw observed fluxes of a few clusters with those of the MAP, the catalog's fit and the posterior.

    Parameters
    ----------
    table : Table or Row
        One to ten rows from `~clusterpost.infer_table`, or the output of `clusterpost.validation.resimulate` for them.
    figure : Figure, optional
        Figure to draw into; a new one by default.

    Returns
    -------
    matplotlib.figure.Figure
        One panel per cluster: observed fluxes (dots) with 1-sigma errors, upper limits (triangles), fluxes of
        the MAP and of the catalog's fit, and the 16-84 % range of the posterior's fluxes (boxes).

    Raises
    ------
    InputError
        If there are more than ten rows, or a row was not inferred.

    Notes
    -----
    The layout follows Walter et al. (2025), Fig. 7, but shows band fluxes only: the package has no spectra.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.plotting import plot_seds
    >>> out = clusterpost.infer_table(clusterpost.simulate(3, seed=2),
    ...                               model="any_bands", n_samples=100)
    >>> figure = plot_seds(out[[0, 2]])
    """
    table, _ = as_table(table)
    if not {"row", "band", "wavelength"} <= set(table.colnames):
        if not 1 <= len(table) <= len(NUMERALS):
            raise InputError(f"plot_seds draws one to {len(NUMERALS)} rows, and this table has {len(table)}; select "
                             "some of its rows")
        table = resimulate(table, range(len(table)))
    rows = list(dict.fromkeys(np.asarray(table["row"]).tolist()))
    n_columns = min(2, len(rows))
    n_lines = -(-len(rows) // n_columns)
    with style():
        figure = new_figure(figure, width=0.6 + 4.4 * n_columns, height=0.6 + 3.0 * n_lines)
        axes = figure.subplots(n_lines, n_columns, squeeze=False)
        for k, (ax, row) in enumerate(zip(axes.flat, rows, strict=False)):
            _sed(ax, table[np.asarray(table["row"]) == row])
            numeral = f"{NUMERALS[k]}: " if len(rows) <= len(NUMERALS) else ""
            ax.set_title(f"{numeral}row {row}")
        for ax in axes.flat[len(rows):]:
            ax.set_axis_off()
        for ax in axes[:, 0]:
            ax.set_ylabel(r"$f_\nu$ [$\mu$Jy]")
        for ax in axes[-1]:
            ax.set_xlabel(r"pivot wavelength [$\mu$m]")
        handles = {label: handle for ax in axes.flat for handle, label in
                   zip(*ax.get_legend_handles_labels(), strict=True)}
        figure.legend(handles.values(), handles, loc="outside lower center", ncols=len(handles))
    return figure


def _sed(ax, part):
    x = np.asarray(part["wavelength"]) / 1e4
    limit = np.asarray(part["limit"])
    flux, error, best, catalog, q16, q84 = (1e3 * np.asarray(part[name], float) for name in
                                            ("flux", "error", "map", "catalog", "q16", "q84"))
    free = max((~limit).sum() - part.meta["n_parameters"], 1)
    for k, (label, values, color) in enumerate((("MAP", best, COLORS["map"]),
                                                ("catalog fit", catalog, COLORS["catalog"]))):
        if not np.isfinite(values).all():
            continue
        chi2 = np.sum((((values - flux) / error)[~limit]) ** 2) / free
        ax.plot(x, values, color=color, ls="none", marker="_", ms=17, mew=2, zorder=3, label=label)
        ax.text(0.97, 0.12 - 0.08 * k, rf"{label}: $\chi^2_\nu = {chi2:.2f}$", transform=ax.transAxes,
                ha="right", fontsize=8.5, color=color, zorder=5,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1})
    ax.bar(x, q84 - q16, bottom=q16, width=0.026, color=COLORS["posterior"], alpha=0.3, lw=0, zorder=1,
           label="posterior, 16\N{EN DASH}84 %")
    ax.errorbar(x[~limit], flux[~limit], yerr=error[~limit], fmt="o", color="black", ms=4, lw=1.2, capsize=2,
                zorder=4, label=r"observed, $1\sigma$")
    ax.plot(x[limit], flux[limit], ls="none", marker="v", color="black", ms=6, zorder=4)
    shown = np.concatenate([flux[~limit] - error[~limit], flux + np.where(limit, 0, error), q16, q84, best])
    low, high = max(shown[shown > 0].min(), flux[flux > 0].min() / 8), shown.max()
    room = (high / low) ** 0.1
    ax.set(yscale="log", xlim=(x.min() - 0.05, x.max() + 0.06), ylim=(low / room**2.2, high * room**2.2))
    plain_log_ticks(ax.yaxis, *ax.get_ylim())
    for wavelength, band in zip(x, np.asarray(part["band"]), strict=True):
        ax.text(wavelength, 0.985, band.replace("_", "\n"), transform=ax.get_xaxis_transform(), ha="center", va="top",
                fontsize=6.5, color="0.35", zorder=6, bbox={"fc": "white", "ec": "none", "alpha": 0.8, "pad": 0.5})
