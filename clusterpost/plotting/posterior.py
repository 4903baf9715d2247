"""Corner plot of one object's posterior."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Row, Table

from ..catalogs.identity import object_names
from ..errors import InputError
from ..flags import NOT_POSITIVE, flag_values
from ..flow.modelfile import find_family
from ..provenance import AUTO, recorded_model, repeat, results_prefix
from ..utils import require
from ..validation.fits import inferred_parameters, numbers, published_fits
from .rows import not_inferred
from .style import COLORS, new_figure, style

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from matplotlib.figure import Figure, SubFigure

    from ..typing import ModelLike

__all__ = ["corner_size", "free_corner", "object_name", "one_row", "plot_posterior", "quantile_text"]

# Probabilities enclosed by the contours: those of 1, 1.5 and 2 sigma of a two-dimensional normal density.
_LEVELS = (0.393, 0.675, 0.865)
_SHARES = ", ".join(f"{100 * level:.0f}" for level in _LEVELS)
_PLACES = (0.46, 0.64, 0.83, 1.0)  # columns of the table of estimates
_NEAR_PLACE = (0.46,)  # column of the weights when only the titles show the numbers
_RIGHT, _TOP = 0.98, 0.95  # edges of the panels
_LEFT, _BOTTOM = 0.76, 0.68  # the other two, inches
_NUMBERS = (0.52, 0.91)  # left and top of the table of estimates
_NEAR = 0.5  # standard deviations of the draws; the MAP represents a mode within this distance
_LEAST_WEIGHT = 0.02  # smallest weight of a marked mode that the table does not list
_REPEATED = {"noise": None, "prior": None, "refine": None, "error_floor": AUTO, "distance": None, "columns": None}
_ONLY_OF_INFER_TABLE = {"quantiles", "n_modes"}
_UNITS = {"solMass": r"M_\odot"}


@dataclass
class _Marks:
    """Marks on the density, (n_parameter,) or (n_mode, n_parameter) each; None for absent marks."""

    best: np.ndarray | None = None
    own: int | None = None  # the mode that the MAP represents
    modes: np.ndarray | None = None
    weights: np.ndarray | None = None
    further: np.ndarray | None = None  # modes that the table does not list
    truth: np.ndarray | None = None
    catalog: np.ndarray | None = None

    def drawn(self):
        """Yield (name, values, weight or None, options) of each mark, the MAP first."""
        modes = [] if self.modes is None else self.modes
        weights = [None] * len(modes) if self.weights is None else self.weights
        if self.best is not None:
            name, weight = ("MAP", None) if self.own is None else (f"MAP, mode {self.own + 1}", weights[self.own])
            yield name, self.best, weight, {"marker": "^", "ms": 9, "color": COLORS["map"], "ls": "-"}
        for k, mode in enumerate(modes):
            if k != self.own:
                yield f"mode {k + 1}", mode, weights[k], {"marker": "^", "ms": 8, "color": COLORS["mode"], "ls": "-"}
        for mode in [] if self.further is None else self.further:
            yield "unlisted mode", mode, None, {"marker": "o", "ms": 6, "color": COLORS["further"], "ls": "-"}
        if self.catalog is not None:
            yield "catalog", self.catalog, None, {"marker": "X", "ms": 9, "color": COLORS["catalog"], "ls": "-."}
        if self.truth is not None:
            yield "truth", self.truth, None, {"marker": "*", "ms": 12, "color": COLORS["truth"], "ls": ":"}

    def mapped(self, function):
        """Return the same marks in other coordinates, with unchanged weights."""
        points = {name: getattr(self, name) for name in ("best", "modes", "further", "truth", "catalog")}
        return replace(self, **{name: function(values) for name, values in points.items() if values is not None})


def plot_posterior(row_or_table: Row | Table, *, samples: np.ndarray | None = None, model: ModelLike = "default",
                   n_samples: int = 10_000, truth: Sequence[float] | None = None,
                   catalog: bool | Sequence[float] | None = None, bounds: Sequence[Sequence[float]] | None = None,
                   prefix: str | None = None, name: str | bool | None = None, linear: Sequence[str] = (),
                   figure: Figure | SubFigure | None = None, seed: int | None = None,
                   **options: Any) -> Figure | SubFigure:
    """Draw a corner plot of one object's posterior, with modes, MAP and catalog value.

    .. versionchanged:: 0.2
       Added the options ``prefix``, ``name`` and ``linear``.

    Parameters
    ----------
    row_or_table : Row or Table of one row
        Photometry, as for `~clusterpost.infer_table`, or its output.
    samples : array (n, n_parameter), optional
        Draws of the model's parameters, for clusters log10 age/Myr, log10 mass/Msun, E(B-V)/mag.  By default they
        are drawn with the settings of the row's results; for a row without results, the MAP and the modes are also
        computed.
    model : str or Model
        As for `~clusterpost.sample_posterior`.
    n_samples : int
        Number of draws.
    truth : array (n_parameter,), optional
        True parameters, in the coordinates of ``samples``, NaN for unknown ones.  By default they are read from the
        row's columns, such as ``log_age_true`` or ``age_true`` [Myr], and ``ebv_true``.
    catalog : array (n_parameter,) or False, optional
        The catalog's own fit, in the coordinates of ``samples``, NaN for unknown parameters.  By default it is read
        from recognized columns; False omits it.
    bounds : array (2, n_parameter), optional
        Limits of the prior, in the coordinates of ``samples``; an axis ends at a limit that the posterior reaches.
        By default those of the prior of the results.
    prefix : str, optional
        Prefix of the result columns (``prefix`` of `~clusterpost.infer_table`), if the table holds several results.
    name : str or False, optional
        Title of the figure; by default the object's identifier in the table, or its row number.  False omits it.
    linear : sequence of str or True, optional
        Logarithmic parameters to draw on linear axes, such as ``("age",)``; True for all.
    figure : Figure, optional
        Figure to draw into; a new one by default.
    seed : int, optional
        Random seed of the draws; by default that of the results.
    **options
        Options of `~clusterpost.infer_table` and `~clusterpost.sample_posterior`, for a row without results.  For a
        row with results, an option that contradicts their settings draws another posterior, with a warning.

    Returns
    -------
    matplotlib.figure.Figure
        Contours enclose 39, 68 and 86 % of the probability.  Diagonal: median (dashed) and 16-84 % range (shaded),
        with their values above.  Modes of the draws beyond those that the table lists (by default at most three) are
        marked as unlisted.

    Raises
    ------
    InputError
        If the table has more than one row, the row could not be inferred, or the prior of its results was a function
        and is not given again.
    ImportError
        If matplotlib or corner is not installed.

    Notes
    -----
    The layout follows Walter et al. (2025), Figs. 5 and 9.

    Examples
    --------
    >>> import clusterpost
    >>> tbl = clusterpost.example_catalog()
    >>> figure = clusterpost.plot_posterior(tbl[5], n_samples=500)
    >>> figure = clusterpost.plot_posterior(tbl[5], n_samples=500, linear=("age",),
    ...                                     name="cluster 5")
    """
    corner = require("corner", "plot")
    name = object_name(row_or_table) if name is None else name
    row, label = one_row(row_or_table, "plot_posterior"), row_label(row_or_table)
    family = find_family(recorded_model(row, prefix) if str(model) == "default" else model)
    parameters = family.parameters
    linear = _linear(linear, parameters)
    if samples is None:
        with errors_of(row_or_table):
            row, samples, prior = _infer(row, label, prefix, model, n_samples, seed, options, parameters)
        bounds = _bounds_of(prior, family) if bounds is None else bounds
    prefix = results_prefix(row, prefix)
    samples = np.asarray(samples, dtype=float)
    if samples.ndim != 2 or samples.shape[1] != len(parameters):
        raise InputError(f"samples must have shape (n, {len(parameters)}) for {', '.join(family.parameter_names)}, "
                         f"not {samples.shape}")
    if not len(samples) or not np.isfinite(samples).all():
        raise InputError(f"the samples of {label} are not finite; if the row was not inferred, its flags say why")
    marks = _marks(row, prefix, truth, catalog, samples, parameters)
    bounds = np.array(_bounds_of(None, family) if bounds is None else bounds, dtype=float)
    size = corner_size(len(parameters))
    shown, marks, bounds = _shown(linear, samples), marks.mapped(lambda x: _shown(linear, x)), _shown(linear, bounds)
    with style():
        from matplotlib.ticker import MaxNLocator

        figure = new_figure(figure, width=size, height=size, layout=None)
        before = len(figure.axes)
        corner.corner(shown, fig=figure, range=_ranges(shown, marks, bounds), bins=50,
                      labels=[_label(p, flat) for p, flat in zip(parameters, linear, strict=True)],
                      smooth=1.3, smooth1d=1.0, levels=_LEVELS, color=COLORS["posterior"], plot_datapoints=False,
                      plot_density=False, fill_contours=True, max_n_ticks=5, hist_kwargs={"lw": 1.2},
                      contour_kwargs={"linewidths": 0.8})
        axes = np.array(figure.axes[before:]).reshape(len(parameters), -1)
        for ax in axes[np.tril_indices(len(axes))]:
            for axis in (ax.xaxis, ax.yaxis) if ax not in axes.diagonal() else (ax.xaxis,):
                axis.set_major_locator(MaxNLocator(4, prune="both"))
        _dress(axes, shown, parameters, linear)
        _draw_marks(axes, marks)
        _write_numbers(figure, marks, parameters, linear, size)
        if name:
            figure.suptitle(name, x=_NUMBERS[0], y=0.985, ha="left", va="top", fontsize=12, fontweight="bold")
        figure.subplots_adjust(left=_LEFT / size, bottom=_BOTTOM / size, right=_RIGHT, top=_TOP, wspace=0.06,
                               hspace=0.06)
    return figure


def corner_size(n_parameters: int) -> float:
    """Return the width and height of a corner plot whose labels remain legible at the width of a page, inches.

    Parameters
    ----------
    n_parameters : int

    Returns
    -------
    float
    """
    return 7.6 if n_parameters <= 3 else 1.2 + 1.6 * n_parameters


def free_corner(n_parameters: int) -> tuple[float, float, float, float]:
    """Return the largest box for a small plot between the panels of a corner plot and its table of estimates.

    Parameters
    ----------
    n_parameters : int

    Returns
    -------
    left, bottom, width, height : float
        Fractions of the figure, without the labels of the axes and the legend above them.
    """
    size = corner_size(n_parameters)
    column, row = (_RIGHT - _LEFT / size) / n_parameters, (_TOP - _BOTTOM / size) / n_parameters
    high = _numbers_bottom(size) - 0.9 / size  # below a legend of four lines
    boxes = []
    for k in range(1, n_parameters):  # right of k columns and above the panel at (k, k)
        left, low = _LEFT / size + k * column + 0.85 / size, _TOP - k * row + 0.85 / size
        boxes.append((left, low, min(_RIGHT - left, 5 / size), min(high - low, 4.2 / size)))
    return max(boxes, key=lambda box: min(box[2:]))


def _linear(names, parameters):
    """Return, for each parameter, whether to draw a logarithmic parameter on a linear axis."""
    logarithmic = [p.column for p in parameters if p.log10]
    if unknown := set(() if names is True else names) - set(logarithmic):
        raise InputError(f"option:linear={names!r} names {sorted(unknown)}; logarithmic parameters are "
                         f"{', '.join(logarithmic)}")
    return [p.log10 and (names is True or p.column in names) for p in parameters]


def _shown(linear, values):
    """Undo the logarithms of the parameters on linear axes, (..., n_parameter)."""
    return np.where(linear, 10.0 ** np.where(linear, values, 0.0), values)


def _label(parameter, flat):
    if not flat:
        return parameter.label or parameter.name
    unit = _UNITS.get(parameter.unit, rf"\mathrm{{{parameter.unit}}}")
    return rf"{parameter.column} $[{unit}]$" if parameter.unit else parameter.column


def _symbol(parameter, flat):
    """Return a short label of a parameter."""
    if flat:
        return parameter.column
    return parameter.symbol or (parameter.label or parameter.name).split(" [")[0]


def object_name(row_or_table: Row | Table) -> str | None:
    """Return the name of a row's object, for figures.

    Parameters
    ----------
    row_or_table : Row or Table of one row

    Returns
    -------
    str or None
        Identifier, or column and number, or the row number; None for a table of one row without identifier.
    """
    is_row = isinstance(row_or_table, Row)
    table, index = (row_or_table.table, row_or_table.index) if is_row else (row_or_table, 0)
    if not isinstance(table, Table):
        return None
    column, names = object_names(table)
    if column is None:
        return names[index] if is_row else None
    return f"{column} {names[index]}" if names[index].isdigit() else names[index]


@contextmanager
def errors_of(row_or_table: Row | Table) -> Iterator[None]:
    """Make errors about a table of one row name the row number in the original table."""
    try:
        yield
    except InputError as error:
        if error.row is not None and isinstance(row_or_table, Row):
            error.row = row_or_table.index
        raise


def row_label(row_or_table: Row | Table) -> str:
    """Return the name of one row for messages: its number and its identifier, if available.

    Parameters
    ----------
    row_or_table : Row or Table of one row

    Returns
    -------
    str
    """
    name = object_name(row_or_table)
    if not isinstance(row_or_table, Row):
        return name or "this row"
    number = f"row {row_or_table.index}"
    return number if name in (None, number) else f"{number} ({name})"


def refuse_unmeasured(row: Table, prefix: str, label: str) -> None:
    """Raise for a row of a result without any measurement, which no settings can infer.

    Parameters
    ----------
    row : Table of one row
        Row with or without results.
    prefix : str
        Prefix of the result columns.
    label : str
        Name of the row in the message.

    Raises
    ------
    InputError
        If the row has no measurement; the message lists its flags.
    """
    if {f"{prefix}n_bands", f"{prefix}flag"} <= set(row.colnames) and row[f"{prefix}n_bands"][0] == 0 and not (
            flag_values(row, prefix)[0] & NOT_POSITIVE):  # normal noise accepts fluxes of zero and below
        raise not_inferred(row, prefix, label)


def one_row(row_or_table: Row | Table, caller: str) -> Table:
    """Return a row of a table, or a table of one row, as a table of one row.

    Parameters
    ----------
    row_or_table : Row or Table
    caller : str
        Name of the calling function in messages.

    Returns
    -------
    `~astropy.table.Table`
    """
    if isinstance(row_or_table, Row):
        return row_or_table.table[row_or_table.index:row_or_table.index + 1]
    if not isinstance(row_or_table, Table):
        raise InputError(f"{caller} takes a row of a table, not {type(row_or_table).__name__}")
    if len(row_or_table) != 1:
        raise InputError(f"{caller} draws one object, and this table has {len(row_or_table)} rows; "
                         "pick one of them")
    return row_or_table


def _infer(row, label, prefix, model, n_samples, seed, options, parameters):
    """Return the row with results, its draws and their prior."""
    from ..infer import infer_table, sample_posterior

    prefix = results_prefix(row, prefix)
    repeated = {name: options.pop(name, default) for name, default in _REPEATED.items()}
    bare, repeated = repeat(row, prefix=prefix, model=model, seed=seed, **repeated)
    others = {key: value for key, value in options.items() if key not in _ONLY_OF_INFER_TABLE}
    refuse_unmeasured(row, prefix, label)
    drawn = sample_posterior(bare, n_samples=n_samples, **repeated, **others)
    samples = inferred_samples(drawn, parameters)
    if not np.isfinite(samples).all():
        raise not_inferred(drawn, "", label)
    if f"{prefix}{parameters[0].column}_map" not in row.colnames:
        row = infer_table(bare, n_samples=n_samples, prefix=prefix, **repeated, **options)
    return row, samples, repeated["prior"]


def inferred_samples(drawn: Table, parameters: Sequence | None = None) -> np.ndarray:
    """Return the draws of the first row of a `~clusterpost.sample_posterior` table.

    Parameters
    ----------
    drawn : Table
        Columns of draws such as ``age`` [Myr], (n_row, n_sample), one per parameter.
    parameters : sequence of `~clusterpost.families.Parameter`, optional
        Parameters; by default those of clusters.

    Returns
    -------
    ndarray (n_sample, n_parameter)
        For clusters log10 age/Myr, log10 mass/Msun, E(B-V)/mag.
    """
    parameters = find_family("clusters").parameters if parameters is None else parameters
    renamed = Table({f"{p.column}_draws": drawn[p.column] for p in parameters})
    return inferred_parameters(renamed, "draws", parameters=parameters)[0]


def _marks(row, prefix, truth, catalog, samples, parameters):
    marks, width = _Marks(), samples.std(0)
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
        # The point of highest density is not always near the strongest kernel mode, or near any mode.
        distance = np.abs((marks.modes - marks.best) / np.maximum(width, 1e-9)).max(1)
        marks.own = int(distance.argmin()) if distance.min() < _NEAR else None
    if marks.modes is not None and found.all():
        marks.further = _further_modes(samples, marks.modes, width)
    if truth is not None:
        marks.truth = np.asarray(truth, dtype=float)
    else:
        marks.truth = _recorded_truth(row, parameters)
    if catalog is None:
        marks.catalog = _catalog_fit(row, parameters)
    elif catalog is not False:
        marks.catalog = np.asarray(catalog, dtype=float)
    return marks


def _recorded_truth(row, parameters):
    """Return true parameters from the row's columns, NaN for those without one; None if there are none."""
    values = np.full(len(parameters), np.nan)
    for i, parameter in enumerate(parameters):
        if f"{parameter.column}_true" in row.colnames:
            values[i] = inferred_parameters(row, "true", parameters=[parameter])[0, 0]
        elif f"{parameter.name}_true" in row.colnames:
            column = row[f"{parameter.name}_true"]
            values[i] = numbers(column, getattr(column, "unit", None))[0]
    return values if np.isfinite(values).any() else None


def _further_modes(samples, listed, width):
    """Return modes of the draws that the table does not list."""
    import torch

    from ..posterior.modes import MOST_MODES, find_modes

    some = torch.as_tensor(samples[:4000])[None]
    modes = find_modes(some, n_modes=MOST_MODES)
    found = modes.theta[0][modes.weight[0] > _LEAST_WEIGHT].numpy()
    distance = (np.abs(found[:, None] - listed[None]) / np.maximum(width, 1e-9)).max(-1).min(1)
    found = found[distance > _NEAR]
    return found if len(found) else None


def _finite_or_none(values):
    return values if np.isfinite(values).all() else None


def _catalog_fit(row, parameters):
    try:
        fits = published_fits(row)
    except InputError:  # rows without photometry match no known catalog layout
        return None
    values = np.array([fits[p.column].value[0] if p.column in fits else np.nan for p in parameters])
    return values if np.isfinite(values).any() else None


def _bounds_of(prior, family):
    from ..priors import as_prior

    prior = as_prior(prior, family)
    return np.stack([prior.low.numpy(), prior.high.numpy()]).astype(float)


def _ranges(samples, marks, bounds):
    """Return axis limits that include nearly all draws and every mark, and end at the prior's limits."""
    low, high = np.percentile(samples, [0.3, 99.7], axis=0)
    for _, values, *_ in marks.drawn():
        low, high = np.fmin(low, values), np.fmax(high, values)
    margin = np.maximum(0.06 * (high - low), 1e-3)
    # The draws end at the prior's limits; a mark may lie beyond and is still shown.
    low = np.where(low >= bounds[0], np.maximum(low - margin, bounds[0]), low - margin)
    high = np.where(high <= bounds[1], np.minimum(high + margin, bounds[1]), high + margin)
    return list(zip(low, high, strict=True))


def _dress(axes, samples, parameters, linear):
    """Mark quantiles on the histograms and set the labels, which corner rotates and offsets."""
    panel = corner_size(len(axes)) / len(axes)  # inches; tick labels take the same space beside small panels
    for i, (q16, q50, q84) in enumerate(np.percentile(samples, [16, 50, 84], axis=0).T):
        numbers = quantile_text(q16, q50, q84)
        symbol = _symbol(parameters[i], linear[i]).strip("$").replace("-", "{-}")
        symbol = rf"\mathrm{{{symbol}}}" if linear[i] else symbol
        axes[i, i].set_title(f"${symbol} = {numbers}$", pad=6, fontsize=10)
        axes[i, i].axvspan(q16, q84, color=COLORS["posterior"], alpha=0.15, lw=0, zorder=0)
        axes[i, i].axvline(q50, color=COLORS["posterior"], ls="--", lw=1.2)
        axes[i, 0].yaxis.set_label_coords(-max(0.24, 0.54 / panel), 0.5)
        axes[-1, i].xaxis.set_label_coords(0.5, -max(0.15, 0.33 / panel))
        for label in (*axes[i, 0].get_yticklabels(), *axes[-1, i].get_xticklabels()):
            label.set_rotation(0)
    for ax in axes[np.tril_indices(len(axes))]:
        ax.tick_params(top=ax not in axes.diagonal(), right=ax not in axes.diagonal())


def quantile_text(q16: float, q50: float, q84: float) -> str:
    """Format a median and its 16-84 % range as mathtext, to two digits of the smaller error.

    Parameters
    ----------
    q16, q50, q84 : float

    Returns
    -------
    str

    Examples
    --------
    >>> from clusterpost.plotting.posterior import quantile_text
    >>> quantile_text(1.2, 1.5, 2.1)
    '1.50_{-0.30}^{+0.60}'
    """
    least = max(min(q50 - q16, q84 - q50), 0.003 * max(abs(q50), 1e-9))
    digits = int(np.clip(1 - np.floor(np.log10(least)), 0, 4)) if least > 0 else 2
    digits = min(digits, 2) if abs(q50) < 100 else digits
    return f"{q50:.{digits}f}_{{-{q50 - q16:.{digits}f}}}^{{+{q84 - q50:.{digits}f}}}"


def _draw_marks(axes, marks):
    for order, (_, values, _, options) in enumerate(reversed(list(marks.drawn())), start=5):
        point = {name: value for name, value in options.items() if name != "ls"}
        for i in range(len(axes)):
            axes[i, i].axvline(values[i], color=options["color"], lw=1.4, ls=options["ls"], zorder=order)
            for j in range(i):
                axes[i, j].plot(values[j], values[i], ls="none", mec="white", mew=0.9, zorder=order, clip_on=False,
                                **point)


def _numbers_bottom(size):
    return _NUMBERS[1] - min(0.23, 1.75 / size)


def _write_numbers(figure, marks, parameters, linear, size):
    """Write the estimates as a small table in the free corner, with a legend of the shades."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    lines = [(name, values, "" if weight is None else f"{100 * weight:.0f} %", options)
             for name, values, weight, options in marks.drawn()]
    few = len(parameters) <= len(_PLACES) - 1
    columns = _PLACES if few else _NEAR_PLACE
    low = _numbers_bottom(size)
    ax = figure.add_axes((_NUMBERS[0], low, _RIGHT - _NUMBERS[0], _NUMBERS[1] - low))
    ax.set_axis_off()
    ax.set(xlim=(0, 1), ylim=(0, 1))
    if lines:
        names = [_symbol(p, flat) for p, flat in zip(parameters, linear, strict=True)] if few else []
        for x, head in zip(columns, [*names, "weight" if marks.weights is not None else ""], strict=True):
            ax.text(x, 0.95, head, ha="right", va="center", color="0.35", fontsize=9.5)
    step = min(0.125, 0.7 / max(len(lines), 1))
    for k, (label, values, weight, options) in enumerate(lines):
        y = 0.95 - step * (k + 1)
        ax.plot(0.02, y, mec="white", mew=0.9, clip_on=False, **{**options, "ms": 9, "ls": "none"})
        ax.text(0.06, y, label, va="center", fontsize=9)
        for x, value in zip(columns, (*(values if few else ()), weight), strict=True):
            ax.text(x, y, value if isinstance(value, str) else _short(value), ha="right", va="center", fontsize=9)
    color = COLORS["posterior"]
    handles = [Line2D([], [], color=color, ls="--", lw=1.2), *(Patch(color=color, alpha=a) for a in (0.15, 0.6))]
    ax.legend(handles, ["median", "16\N{EN DASH}84 %", f"{_SHARES} %"], loc="lower left", ncols=3, fontsize=8.5,
              handlelength=1.5, columnspacing=1.2, bbox_to_anchor=(0, 1.03), borderaxespad=0, borderpad=0)


def _short(value):
    if not np.isfinite(value):
        return "\N{EN DASH}"
    return f"{value:.2f}" if abs(value) < 100 else f"{value:.3g}"
