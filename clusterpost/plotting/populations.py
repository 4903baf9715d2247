"""Figures of populations: ages against masses, and the distributions of both with their uncertainties."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..bands import get_band
from ..errors import ColumnError, InputError
from ..errors import shown as in_words
from ..flags import NOT_INFERRED, flag_values, is_good
from ..provenance import repeat, results_prefix
from ..selection import row_mask
from ..validation.fits import numbers
from .colors import model_magnitudes, typical_distance
from .rows import color_of, linear_column, not_inferred, scatter, shown_rows
from .style import COLORS, new_axes, plain_log_ticks, style

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from astropy.table import Table
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_age_distribution", "plot_age_mass", "plot_mass_function"]

_MOST_BARS = 300
_NONE = "no row remains to count; by default only good rows are counted, and option:where selects others"
_QUANTILES = (0.16, 0.5, 0.84)


def plot_age_mass(out: Table, *, where: str | Sequence | np.ndarray | None = None, color: str | None = "ebv",
                  limit: tuple[str, float] | None = None, mass: str = "mass", prefix: str | None = None,
                  ax: Axes | None = None) -> Figure:
    """Draw ages against masses.

    .. versionadded:: 0.2

    Parameters
    ----------
    out : Table
        Output of `~clusterpost.infer_table`.
    where : array of bool or int, or str, optional
        Rows to draw, or an expression that selects them, such as ``"class <= 2"``
        (`clusterpost.selection.select_rows`); all by default.
    color : str, array or None
        Parameter, column or one value per shown row, for the color of the points.  None draws points of one color, or
        the density of rows if there are more than 2000.
    limit : tuple of str and float, optional
        Band and AB magnitude, such as ``("F555W", 26.0)``.  A line shows the mass of a dust-free cluster with this
        magnitude at the median distance.
    mass : str
        ``mass`` (initial) or ``stellar_mass`` (present).
    prefix : str, optional
        Prefix of the result columns (``prefix`` of `~clusterpost.infer_table`), if the table holds several results.
    ax : Axes, optional
        Axes to draw into; those of a new figure by default.

    Returns
    -------
    matplotlib.figure.Figure
        Medians, with bars from the 16 % to the 84 % quantile for up to 300 rows.  Rows that `~clusterpost.is_good`
        refuses are gray crosses.

    Raises
    ------
    InputError
        If no row remains, ``limit`` is not a band and a magnitude, ``limit`` is given and no row has a distance, or
        ``mass`` is something else.
    ColumnError
        If the table has no ages and masses.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.plotting import plot_age_mass
    >>> out = clusterpost.infer_table(clusterpost.simulate(20, seed=1, distance=10),
    ...                               n_samples=100)
    >>> figure = plot_age_mass(out, limit=("F555W", 26.0))
    """
    _check_mass(mass)
    limit = None if limit is None else _limit(limit)

    def medians(tbl: Table, prefix: str) -> np.ndarray:
        """Return the median age and mass of each row."""
        return np.stack([linear_column(tbl, f"{stem}_q50", prefix) for stem in ("age", mass)], -1)

    shown = shown_rows(out, where, prefix, medians)
    x, y = medians(shown.table, shown.prefix).T
    values, label = color_of(shown, color)
    with style():
        ax = new_axes(ax, width=6.4, height=4.8)
        ax.set(xscale="log", yscale="log", xlabel="median age [Myr]", ylabel=rf"median {_MASSES[mass]} [$M_\odot$]")
        scatter(ax, x, y, shown, values, label, log=True)
        if shown.good.sum() <= _MOST_BARS:
            _bars(ax, shown, ("age", mass), (x, y))
        if limit is not None:
            _completeness(ax, shown, *limit)
        plain_log_ticks(ax.xaxis, *ax.get_xlim())
        ax.set_title(shown.caption(), loc="left")
    return ax.figure


_MASSES = {"mass": "initial mass", "stellar_mass": "present-day stellar mass"}


def _check_mass(mass):
    if mass not in _MASSES:
        raise InputError(f"option:mass={in_words(mass)} is not a mass; give "
                         + " or ".join(f"{name!r} ({label})" for name, label in _MASSES.items()))


def _limit(limit):
    """Return the name of a known band and a magnitude."""
    try:
        band, magnitude = limit
        magnitude = float(magnitude)
        if isinstance(limit, str) or not isinstance(band, str) or not np.isfinite(magnitude):
            raise ValueError
    except (TypeError, ValueError):
        raise InputError(f"option:limit={in_words(limit)} is not a band and an AB magnitude; give both, as in "
                         "('F555W', 26.0)") from None
    return get_band(band).name, magnitude


def _bars(ax, shown, stems, middle):
    sides = []
    for stem, values in zip(stems, middle, strict=True):
        low, high = (linear_column(shown.table, f"{stem}_{end}", shown.prefix) for end in ("q16", "q84"))
        sides.append(np.clip(np.stack([values - low, high - values])[:, shown.good], 0, None))
    ax.errorbar(*(values[shown.good] for values in middle), xerr=sides[0], yerr=sides[1], fmt="none", ecolor="0.6",
                elinewidth=0.5, alpha=float(np.clip(12 / np.sqrt(shown.good.sum()), 0.15, 0.7)), zorder=1.5,
                rasterized=True)


def _completeness(ax, shown, band, magnitude):
    """Draw the mass of a dust-free cluster with this magnitude."""
    distance = typical_distance(shown)
    limits = ax.get_xlim(), ax.get_ylim()
    age = np.geomspace(1, 13000, 200)
    faint = model_magnitudes(age, np.zeros(200), [band], distance)[:, 0]
    ax.plot(age, 10 ** (0.4 * (faint - magnitude)) * 1e4, color=COLORS["map"], ls="--", lw=1.4, zorder=3,
            label=f"{band.replace('_', ' ')} = {magnitude:g} at {distance:.3g} Mpc, no dust")
    ax.set(xlim=limits[0], ylim=limits[1])
    ax.legend(loc="lower right")


def plot_mass_function(out: Table, *, where: str | Sequence | np.ndarray | None = None,
                       bins: int | Sequence[float] | np.ndarray | None = None, mass: str = "mass", n_draws: int = 200,
                       slope: float = -2.0, bootstrap: bool = True, prefix: str | None = None, ax: Axes | None = None,
                       **options: Any) -> Figure:
    """Draw the mass function of a catalog from draws of its posteriors.

    .. versionadded:: 0.2

    Parameters
    ----------
    out : Table
        Output of `~clusterpost.infer_table`, whose good rows are used, or of `~clusterpost.sample_posterior`.
    where : array of bool or int, or str, optional
        Rows to count, or an expression that selects them; by default all good rows.
    bins : int or array, optional
        Number of bins, or edges in solar masses; by default five bins per decade.
    mass : str
        ``mass`` (initial) or ``stellar_mass`` (present).
    n_draws : int
        Number of draws per row, if ``out`` holds none.
    slope : float or None
        Slope of a power law dN/dM to draw for comparison; None draws none.
    bootstrap : bool
        Whether to resample the rows with replacement, which adds the sampling noise of the catalog to the interval.
    prefix : str, optional
        Prefix of the result columns (``prefix`` of `~clusterpost.infer_table`), if the table holds several results.
    ax : Axes, optional
        Axes to draw into; those of a new figure by default.
    **options
        Options of `~clusterpost.sample_posterior`.

    Returns
    -------
    matplotlib.figure.Figure
        dN/dlog10 M: median and 16-84 % range over realizations of the catalog.  Realization k takes the k-th draw of
        every row.

    Raises
    ------
    InputError
        If no row remains.

    Notes
    -----
    The figure stacks posteriors: each includes the prior, and mass errors broaden the distribution.  It is not a fit
    of a mass function and is not corrected for completeness.  To see how much it depends on the prior, give
    `~clusterpost.infer_table` another one, such as `~clusterpost.priors.PowerLaw`.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.plotting import plot_mass_function
    >>> out = clusterpost.infer_table(clusterpost.simulate(20, seed=1), n_samples=100)
    >>> figure = plot_mass_function(out, n_draws=50)
    """
    _check_mass(mass)
    values = _draws(out, mass, where, prefix, n_draws, options)
    edges = _edges(values, bins, per_decade=5)
    with style():
        ax = new_axes(ax)
        middle, width = np.sqrt(edges[1:] * edges[:-1]), np.diff(np.log10(edges))
        low, median, high = _histograms(values, edges, bootstrap) / width
        _steps(ax, edges, low, median, high)
        if slope is not None:
            at = int(np.argmax(median))
            right = middle[at:]
            ax.plot(right, median[at] * (right / middle[at]) ** (slope + 1), color=COLORS["map"], ls="--", lw=1.3,
                    label=rf"$\mathrm{{d}}N/\mathrm{{d}}M \propto M^{{{slope:g}}}$")
        _finish(ax, median, len(values), f"{_MASSES[mass]} [$M_\\odot$]", r"$\mathrm{d}N/\mathrm{d}\log_{10}M$")
    return ax.figure


def plot_age_distribution(out: Table, *, where: str | Sequence | np.ndarray | None = None,
                          bins: int | Sequence[float] | np.ndarray | None = None, per: str = "log", n_draws: int = 200,
                          bootstrap: bool = True, prefix: str | None = None, ax: Axes | None = None,
                          **options: Any) -> Figure:
    """Draw the age distribution of a catalog from draws of its posteriors.

    .. versionadded:: 0.2

    Parameters
    ----------
    out : Table
        Output of `~clusterpost.infer_table`, whose good rows are used, or of `~clusterpost.sample_posterior`.
    where : array of bool or int, or str, optional
        Rows to count, or an expression that selects them; by default all good rows.
    bins : int or array, optional
        Number of bins, or edges in Myr; by default four bins per decade.
    per : str
        ``log`` for dN/dlog10 t, or ``Myr`` for dN/dt.
    n_draws : int
        Number of draws per row, if ``out`` holds none.
    bootstrap : bool
        Whether to resample the rows with replacement, which adds the sampling noise of the catalog to the interval.
    prefix : str, optional
        Prefix of the result columns (``prefix`` of `~clusterpost.infer_table`), if the table holds several results.
    ax : Axes, optional
        Axes to draw into; those of a new figure by default.
    **options
        Options of `~clusterpost.sample_posterior`.

    Returns
    -------
    matplotlib.figure.Figure
        Median and 16-84 % range over realizations of the catalog.  Realization k takes the k-th draw of every row.

    Raises
    ------
    InputError
        If no row remains.

    Notes
    -----
    Like `plot_mass_function`, the figure stacks posteriors and includes the prior, by default flat in log age.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.plotting import plot_age_distribution
    >>> out = clusterpost.infer_table(clusterpost.simulate(20, seed=1), n_samples=100)
    >>> figure = plot_age_distribution(out, n_draws=50, per="Myr")
    """
    if per not in ("log", "Myr"):
        raise InputError(f"option:per={per!r} is neither 'log' nor 'Myr'")
    values = _draws(out, "age", where, prefix, n_draws, options)
    edges = _edges(values, bins, per_decade=4)
    with style():
        ax = new_axes(ax)
        width = np.diff(np.log10(edges) if per == "log" else edges)
        low, median, high = _histograms(values, edges, bootstrap) / width
        _steps(ax, edges, low, median, high)
        _finish(ax, median, len(values), "age [Myr]", r"$\mathrm{d}N/\mathrm{d}\log_{10}t$" if per == "log" else
                r"$\mathrm{d}N/\mathrm{d}t$ [Myr$^{-1}$]")
        plain_log_ticks(ax.xaxis, *ax.get_xlim())
    return ax.figure


def _draws(out, stem, where, prefix, n_draws, options):
    """Return draws of a quantity for the counted rows, (n_row, n_draw)."""
    if stem in out.colnames and np.ndim(out[stem]) == 2:
        if given := [name for name, value in options.items() if value is not None and name != "progress"]:
            raise InputError(f"the table holds draws, for which option:{given[0].replace('_', '-')} has no effect; "
                             "omit it, or give the results from which they were drawn")
        chosen = _chosen(out, where, is_good(np.asarray(out["flag"])) if "flag" in out.colnames else None, "")
        draws = out[chosen]
    else:
        from ..infer import sample_posterior

        prefix = results_prefix(out, prefix)
        has_flags = f"{prefix}flag" in out.colnames
        chosen = _chosen(out, where, is_good(out, prefix=prefix) if has_flags else None, prefix)
        asked = out[chosen] if where is not None else out
        if has_flags and len(asked) and (flag_values(asked, prefix) & NOT_INFERRED).all():
            raise not_inferred(asked, prefix)
        if not chosen.any():
            raise InputError(_NONE)
        out = out[chosen]
        repeat(out, prefix=prefix)  # raises for an unusable record before the sampling starts
        draws = sample_posterior(out, n_samples=n_draws, prefix=prefix, **{"progress": False} | options)
    if stem not in draws.colnames:
        raise ColumnError(f"the draws have no column {stem!r}, because their model has no such parameter")
    values = numbers(draws[stem], draws[stem].unit)
    values = values[np.isfinite(values).all(1)]
    if not len(values):
        raise InputError(_NONE)
    return values


def _chosen(out, where, good, prefix):
    """Return True for the selected rows, by default the good ones."""
    if where is None and good is not None:
        return good
    return row_mask(out, where, prefix=prefix)


def _edges(values, bins, per_decade):
    if bins is not None and np.ndim(bins):
        return np.asarray(getattr(bins, "value", bins), dtype=float)
    low, high = np.log10(np.quantile(values, [0.001, 0.999]))
    if bins is None:
        low, high = np.floor(low * per_decade) / per_decade, np.ceil(high * per_decade + 1e-9) / per_decade
        bins = max(round((high - low) * per_decade), 2)
    return np.logspace(low, max(high, low + 0.01), int(bins) + 1)


def _histograms(values, edges, bootstrap):
    """Return quantiles of the counts over realizations, (3, n_bin)."""
    rng = np.random.default_rng(0)
    counts = []
    for column in values.T:
        rows = rng.integers(len(values), size=len(values)) if bootstrap else slice(None)
        counts.append(np.histogram(column[rows], edges)[0])
    return np.quantile(counts, _QUANTILES, axis=0)


def _steps(ax, edges, low, median, high):
    ax.stairs(high, edges, baseline=np.maximum(low, 1e-12), fill=True, color=COLORS["posterior"], alpha=0.25, lw=0,
              label="16\N{EN DASH}84 %")
    ax.stairs(median, edges, baseline=None, color=COLORS["posterior"], lw=1.6, label="median")


def _finish(ax, median, n, x_label, y_label):
    positive = median[median > 0]
    ax.set(xscale="log", yscale="log", xlabel=x_label, ylabel=y_label)
    if len(positive):  # with few rows, the median count of every bin can be zero
        ax.set_ylim(0.4 * positive.min(), 2.5 * positive.max())
    plain_log_ticks(ax.yaxis, *ax.get_ylim())
    ax.set_title(f"{n:,} rows", loc="left")
    ax.legend(loc="best")
