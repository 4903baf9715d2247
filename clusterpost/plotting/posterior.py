"""The posterior of one cluster."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.table import Row, Table

from ..errors import InputError
from ..flow.modelfile import find_family
from ..provenance import AUTO, recorded_model, repeat, results_prefix
from ..utils import require
from ..validation.fits import inferred_parameters, published_fits
from .style import COLORS, new_figure, style

__all__ = ["plot_posterior"]

# Shares of the probability inside the contours: those of 1, 1.5 and 2 sigma of a normal density in two dimensions.
_LEVELS = (0.393, 0.675, 0.865)
_PLACES = (0.36, 0.55, 0.76, 0.96)  # of the columns of the table of estimates
_NEAR = 0.5  # standard deviations of the draws; the MAP stands for a mode that is so near to it
_REPEATED = {"noise": None, "prior": None, "refine": None, "error_floor": AUTO, "distance": None, "columns": None}
_ONLY_OF_INFER_TABLE = {"quantiles", "n_modes"}


@dataclass
class _Marks:
    """What is marked beside the density, (n_parameter,) or (n_mode, n_parameter) each; None for what there is not."""

    best: np.ndarray | None = None
    own: int | None = None  # the mode that the MAP stands for
    modes: np.ndarray | None = None
    weights: np.ndarray | None = None
    truth: np.ndarray | None = None
    catalog: np.ndarray | None = None

    def drawn(self):
        """(name, values, weight or None, options) of each."""
        modes = [] if self.modes is None else self.modes
        weights = [None] * len(modes) if self.weights is None else self.weights
        for k, mode in enumerate(modes):
            if k != self.own:
                yield f"mode {k + 1}", mode, weights[k], {"marker": "^", "ms": 8, "color": COLORS["mode"]}
        if self.best is not None:
            weight = None if self.own is None else weights[self.own]
            yield "MAP", self.best, weight, {"marker": "^", "ms": 9, "color": COLORS["map"]}
        if self.catalog is not None:
            yield "catalog", self.catalog, None, {"marker": "X", "ms": 9, "color": COLORS["catalog"]}
        if self.truth is not None:
            yield "truth", self.truth, None, {"marker": "*", "ms": 12, "color": COLORS["truth"]}


def plot_posterior(row_or_table, *, samples=None, model="default", n_samples=10_000, truth=None, catalog=None,
                   bounds=None, prefix=None, figure=None, seed=None, **options):
    """Draw a corner plot of one object's posterior, with modes, MAP and catalog value.

    Parameters
    ----------
    row_or_table : Row or Table of one row
        Photometry, as for `~clusterpost.infer_table`, or what that returned.
    samples : array (n, n_parameter), optional
        Draws of the model's parameters, for clusters log10 age/Myr, log10 mass/Msun, E(B-V)/mag.  By default they
        are drawn with the settings that the row's results were made with; where it has none yet, the MAP and the
        modes are found, too.
    model : str or Model
        As for `~clusterpost.sample_posterior`.
    n_samples : int
        Draws to make.
    truth : array (n_parameter,), optional
        True parameters, in the coordinates of ``samples``.  By default the columns ``log_age_true``,
        ``log_mass_true``, ``ebv_true`` or ``age_true`` [Myr], ``mass_true`` [Msun], ``ebv_true``
        of the row, if it has them.
    catalog : array (n_parameter,) or False, optional
        The catalog's own fit, in the coordinates of ``samples`` (NaN for what there is not).  By default it is
        recognised; False leaves it out.
    bounds : array (2, n_parameter), optional
        Of the prior: an axis ends there where the posterior touches them.  By default
        those of the prior that was used.
    prefix : str, optional
        The ``prefix`` that `~clusterpost.infer_table` was given, where the table has several results.
    figure : Figure, optional
        To draw in.
    seed : int, optional
        Of the draws; by default that of the results.
    **options
        Of `~clusterpost.infer_table` and `~clusterpost.sample_posterior`, for a row without results.  One that
        contradicts the settings of its results draws another posterior, with a warning.

    Returns
    -------
    matplotlib.figure.Figure
        Contours hold 39, 68 and 86 % of the probability.  On the diagonal:
        median (dashed) and 16-84 % range (shaded), with their numbers above.

    Raises
    ------
    InputError
        If the table has more than one row, or the row could not be inferred, or its results had a function as
        prior, which has to be given again.
    ImportError
        If matplotlib or corner is not installed.

    Notes
    -----
    After Walter et al. (2025), Figs. 5 and 9.

    Examples
    --------
    >>> import clusterpost
    >>> tbl = clusterpost.example_catalog()
    >>> figure = clusterpost.plot_posterior(tbl[5], n_samples=500)
    """
    corner = require("corner", "plot")
    row = _one_row(row_or_table)
    family = find_family(recorded_model(row, prefix) if str(model) == "default" else model)
    parameters = family.parameters
    if samples is None:
        row, samples, prior = _infer(row, prefix, model, n_samples, seed, options, parameters)
        bounds = _bounds_of(prior, family) if bounds is None else bounds
    prefix = results_prefix(row, prefix)
    samples = np.asarray(samples, dtype=float)
    if samples.ndim != 2 or samples.shape[1] != len(parameters):
        raise InputError(f"samples must have shape (n, {len(parameters)}): {', '.join(family.parameter_names)}; "
                         f"not {samples.shape}")
    if not len(samples) or not np.isfinite(samples).all():
        raise InputError("the posterior of this row has no finite draws; its flag column says why")
    marks = _marks(row, prefix, truth, catalog, samples.std(0), parameters)
    bounds = _bounds_of(None, family) if bounds is None else bounds
    ranges = _ranges(samples, marks, np.asarray(bounds, dtype=float))
    size = 7.6 if len(parameters) <= 3 else 1.2 + 1.9 * len(parameters)
    with style():
        figure = new_figure(figure, width=size, height=size, layout=None)
        corner.corner(samples, fig=figure, range=ranges, labels=[p.label or p.name for p in parameters], bins=50,
                      smooth=1.3, smooth1d=1.0, levels=_LEVELS, color=COLORS["posterior"], plot_datapoints=False,
                      plot_density=False, fill_contours=True, max_n_ticks=5, hist_kwargs={"lw": 1.2},
                      contour_kwargs={"linewidths": 0.8})
        axes = np.array(figure.axes).reshape(len(parameters), -1)
        _dress(axes, samples)
        _draw_marks(axes, marks)
        _write_numbers(figure, marks, parameters)
        figure.subplots_adjust(left=0.76 / size, bottom=0.68 / size, right=0.98, top=0.95, wspace=0.06, hspace=0.06)
    return figure


def _one_row(row_or_table):
    if isinstance(row_or_table, Row):
        return row_or_table.table[row_or_table.index:row_or_table.index + 1]
    if not isinstance(row_or_table, Table):
        raise InputError(f"plot_posterior takes a row of a table, not {type(row_or_table).__name__}")
    if len(row_or_table) != 1:
        raise InputError(f"plot_posterior draws one cluster, and this table has {len(row_or_table)} rows; "
                         "pick one, as in plot_posterior(tbl[5])")
    return row_or_table


def _infer(row, prefix, model, n_samples, seed, options, parameters):
    """Return the row with results, draws, and the prior of both."""
    from ..infer import infer_table, sample_posterior

    prefix = results_prefix(row, prefix)
    repeated = {name: options.pop(name, default) for name, default in _REPEATED.items()}
    bare, repeated = repeat(row, prefix=prefix, model=model, seed=seed, **repeated)
    others = {key: value for key, value in options.items() if key not in _ONLY_OF_INFER_TABLE}
    drawn = sample_posterior(bare, n_samples=n_samples, **repeated, **others)
    samples = inferred_samples(drawn, parameters)
    if f"{prefix}{parameters[0].column}_map" not in row.colnames:
        row = infer_table(bare, n_samples=n_samples, prefix=prefix, **repeated, **options)
    return row, samples, repeated["prior"]


def inferred_samples(drawn, parameters=None):
    """Return the draws of the first row of what `~clusterpost.sample_posterior` returned.

    Parameters
    ----------
    drawn : Table
        A column for each parameter, such as ``age`` [Myr], (n_row, n_sample).
    parameters : sequence of `~clusterpost.families.Parameter`, optional
        By default those of clusters.

    Returns
    -------
    ndarray (n_sample, n_parameter)
        For clusters log10 age/Myr, log10 mass/Msun, E(B-V)/mag.
    """
    parameters = find_family("clusters").parameters if parameters is None else parameters
    renamed = Table({f"{p.column}_draws": drawn[p.column] for p in parameters})
    return inferred_parameters(renamed, "draws", parameters=parameters)[0]


def _marks(row, prefix, truth, catalog, width, parameters):
    marks = _Marks()
    has, known = set(row.colnames), {"prefix": prefix, "parameters": parameters}
    if {f"{prefix}{p.column}_map" for p in parameters} <= has:
        marks.best = _finite_or_none(inferred_parameters(row, "map", **known)[0])
    if {f"{prefix}{p.column}_modes" for p in parameters} <= has:
        modes = inferred_parameters(row, "modes", **known)[0]
        found = np.isfinite(modes).all(-1)
        marks.modes = modes[found] if found.any() else None
        if f"{prefix}mode_weight" in has:
            marks.weights = np.asarray(row[f"{prefix}mode_weight"][0], dtype=float)[found]
    if marks.best is not None and marks.modes is not None:
        # The highest density is not always that of the kernels' strongest mode, nor has it always one so near.
        distance = np.abs((marks.modes - marks.best) / np.maximum(width, 1e-9)).max(1)
        marks.own = int(distance.argmin()) if distance.min() < _NEAR else None
    if truth is not None:
        marks.truth = np.asarray(truth, dtype=float)
    elif {f"{p.name}_true" for p in parameters} <= has:
        marks.truth = np.array([float(np.ma.filled(row[f"{p.name}_true"], np.nan)[0]) for p in parameters])
    elif {f"{p.column}_true" for p in parameters} <= has:
        marks.truth = inferred_parameters(row, "true", parameters=parameters)[0]
    if catalog is None:
        marks.catalog = _catalog_fit(row, parameters)
    elif catalog is not False:
        marks.catalog = np.asarray(catalog, dtype=float)
    return marks


def _finite_or_none(values):
    return values if np.isfinite(values).all() else None


def _catalog_fit(row, parameters):
    try:
        fits = published_fits(row)
    except InputError:  # a row of results and samples alone, without photometry, is none of a known catalog
        return None
    values = np.array([fits[p.column].value[0] if p.column in fits else np.nan for p in parameters])
    return values if np.isfinite(values).any() else None


def _bounds_of(prior, family):
    from ..priors import as_prior

    prior = family.prior if prior is None else as_prior(prior, family)
    return np.stack([prior.low.numpy(), prior.high.numpy()]).astype(float)


def _ranges(samples, marks, bounds):
    """Axis limits: all but the last draws and every mark; no further than the prior."""
    low, high = np.percentile(samples, [0.1, 99.9], axis=0)
    for _, values, *_ in marks.drawn():
        low, high = np.fmin(low, values), np.fmax(high, values)
    margin = np.maximum(0.06 * (high - low), 1e-3)
    # The draws end at the prior; a mark may lie beyond, and is shown all the same.
    low = np.where(low >= bounds[0], np.maximum(low - margin, bounds[0]), low - margin)
    high = np.where(high <= bounds[1], np.minimum(high + margin, bounds[1]), high + margin)
    return list(zip(low, high, strict=True))


def _dress(axes, samples):
    """Fill histograms, mark their quantiles, and set labels that corner would tilt and move away."""
    for i, (q16, q50, q84) in enumerate(np.percentile(samples, [16, 50, 84], axis=0).T):
        axes[i, i].set_title(f"${q50:.2f}_{{-{q50 - q16:.2f}}}^{{+{q84 - q50:.2f}}}$", pad=6, fontsize=11)
        axes[i, i].axvspan(q16, q84, color=COLORS["posterior"], alpha=0.15, lw=0, zorder=0)
        axes[i, i].axvline(q50, color=COLORS["posterior"], ls="--", lw=1.2)
        axes[i, 0].yaxis.set_label_coords(-0.27, 0.5)
        axes[-1, i].xaxis.set_label_coords(0.5, -0.15)
        for label in (*axes[i, 0].get_yticklabels(), *axes[-1, i].get_xticklabels()):
            label.set_rotation(0)
    for ax in axes[np.tril_indices(len(axes))]:
        ax.tick_params(top=ax not in axes.diagonal(), right=ax not in axes.diagonal())


def _draw_marks(axes, marks):
    for order, (_, values, _, options) in enumerate(marks.drawn(), start=5):
        for i in range(len(axes)):
            axes[i, i].axvline(values[i], color=options["color"], lw=1.4, zorder=order)
            for j in range(i):
                axes[i, j].plot(values[j], values[i], ls="none", mec="white", mew=0.9, zorder=order, clip_on=False,
                                **options)


def _write_numbers(figure, marks, parameters):
    """Write the estimates as a small table into the free corner."""
    lines = [(name, values, "" if weight is None else f"{100 * weight:.0f} %", options)
             for name, values, weight, options in marks.drawn()]
    if not lines:
        return
    lines.sort(key=lambda line: line[0] != "MAP")
    ax = figure.add_axes((0.55, 0.66, 0.43, 0.29))
    ax.set_axis_off()
    ax.set(xlim=(0, 1), ylim=(0, 1))
    few = len(parameters) <= len(_PLACES) - 1
    columns = _PLACES if few else _PLACES[-1:]
    names = [p.symbol or p.label or p.name for p in parameters] if few else []
    heads = [*names, "weight" if marks.weights is not None else ""]
    for x, head in zip(columns, heads, strict=True):
        ax.text(x, 0.95, head, ha="right", va="center", color="0.35", fontsize=9.5)
    for k, (label, values, weight, options) in enumerate(lines):
        y = 0.95 - 0.125 * (k + 1)
        ax.plot(0.02, y, ls="none", mec="white", mew=0.9, clip_on=False, **{**options, "ms": 9})
        ax.text(0.06, y, label, va="center", fontsize=9.5)
        for x, value in zip(columns, (*(values if few else ()), weight), strict=True):
            text = value if isinstance(value, str) else (f"{value:.2f}" if np.isfinite(value) else "\N{EN DASH}")
            ax.text(x, y, text, ha="right", va="center", fontsize=9.5)
