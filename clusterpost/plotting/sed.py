"""Observed photometry of one object with the prediction of its posterior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..bands import get_band
from ..flow.modelfile import load_model
from ..provenance import AUTO, repeat, results_prefix
from .posterior import (
    corner_size,
    errors_of,
    free_corner,
    object_name,
    one_row,
    plot_posterior,
    refuse_unmeasured,
    row_label,
)
from .rows import not_inferred
from .style import COLORS, new_figure, plain_log_ticks, style

if TYPE_CHECKING:
    from typing import Any

    from astropy.table import Row, Table
    from matplotlib.figure import Figure, SubFigure

    from ..typing import ModelLike

__all__ = ["plot_sed"]

_SHARES = (0.68, 0.95)
_WIDTH = 0.05  # width of a box, as a fraction of the axis
_RATIOS = (2.6, 1)  # heights of photometry and residuals
_INSIDE = 6  # smallest number of parameters whose corner plot has room for the photometry
_FEWEST = 10  # smallest number of draws that a job accepts; this job draws none
_SPREAD = 1.12  # names of bands with pivots closer than this factor are stacked


@dataclass
class _Sed:
    """Measured and predicted fluxes per band in microjansky, (n_band,); draws are (n_sample, n_band)."""

    bands: list
    pivot: np.ndarray
    flux: np.ndarray
    error: np.ndarray
    limit: np.ndarray
    draws: np.ndarray
    best: np.ndarray | None
    who: str  # source of the boxes, for the legend


def plot_sed(row_or_table: Row | Table, *, corner: bool = False, n_samples: int = 2000, model: ModelLike = "default",
             prefix: str | None = None, name: str | bool | None = None, figure: Figure | SubFigure | None = None,
             seed: int | None = None, **options: Any) -> Figure:
    """Draw the photometry of one object with the prediction of its posterior in each band.

    .. versionadded:: 0.2

    Parameters
    ----------
    row_or_table : Row or Table of one row
        Photometry, as for `~clusterpost.infer_table`, or its output.
    corner : bool
        Whether to add the corner plot (`plot_posterior`): on the right, or around the photometry if the model has
        six or more parameters.
    n_samples : int
        Number of posterior draws.
    model : str or Model
        As for `~clusterpost.sample_posterior`.
    prefix : str, optional
        Prefix of the result columns (``prefix`` of `~clusterpost.infer_table`), if the table holds several results.
    name : str or False, optional
        Title of the figure; by default the object's identifier in the table, or its row number.  False omits it.
    figure : Figure or SubFigure, optional
        Figure to draw into; a new one by default.
    seed : int, optional
        Random seed of the draws; by default that of the results.
    **options
        Options of `~clusterpost.sample_posterior`, for a row without results.

    Returns
    -------
    matplotlib.figure.Figure
        Top: measured fluxes with 1-sigma errors, which include the error floor; upper limits as arrows; boxes that
        contain 68 % and 95 % of the predicted true fluxes in each band; and the MAP if the row has one.  Bottom:
        measurement minus predicted median over the measurement error, with the boxes on the same scale.  If the
        distance is uncertain, each draw is predicted at its own distance.

    Raises
    ------
    InputError
        If the table has more than one row, or the row cannot be inferred.

    Notes
    -----
    The package has band fluxes but no spectra, so nothing is drawn between the bands.  For models that simulate each
    object at random, such as clusters drawn star by star, the boxes show new objects with parameters from this
    posterior.  Such objects scatter more than the fluxes of this object are uncertain, and the MAP has no unique
    fluxes.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.plotting import plot_sed
    >>> tbl = clusterpost.example_catalog()
    >>> figure = plot_sed(tbl[5], n_samples=500)
    >>> figure = plot_sed(tbl[5], corner=True, n_samples=500)
    """
    name = object_name(row_or_table) if name is None else name
    row, label = one_row(row_or_table, "plot_sed"), row_label(row_or_table)
    with errors_of(row_or_table):
        row, sed, samples = _predict(row, results_prefix(row, prefix), model, n_samples, seed, options, label)
    with style():
        if not corner:
            figure = new_figure(figure, width=5.6, height=4.8)
            _draw(figure.add_gridspec(2, 1, height_ratios=_RATIOS), sed, name)
            return figure
        known = {"samples": samples, "model": model, "prefix": prefix, "name": name}
        n_parameters = samples.shape[1]
        if n_parameters >= _INSIDE:
            size = corner_size(n_parameters)
            figure = new_figure(figure, width=size, height=size, layout=None)
            plot_posterior(row, figure=figure, **known)
            left, bottom, width, height = free_corner(n_parameters)
            inside = figure.add_gridspec(2, 1, height_ratios=_RATIOS, left=left, right=left + width, bottom=bottom,
                                         top=bottom + height, hspace=0.05)
            _draw(inside, sed, False, loc="lower right", bbox_to_anchor=(1.0, 1.02), borderaxespad=0)
            return figure
        size = 7.0 if n_parameters <= 3 else corner_size(n_parameters)
        figure = new_figure(figure, width=size + 5.6, height=size, layout=None)
        beside, right = figure.subfigures(1, 2, width_ratios=(5.6, size))
        _draw(beside.add_gridspec(2, 1, height_ratios=_RATIOS), sed, False)
        beside.subplots_adjust(left=0.14, right=0.98, bottom=max(1 - 6.3 / size, 0.1), top=1 - 0.35 / size,
                               hspace=0.05)
        plot_posterior(row, figure=right, **known)
    return figure


def _predict(row, prefix, model, n_samples, seed, options, label="this row"):
    """Return the row with results, its observed and predicted fluxes, and the posterior draws."""
    from ..infer import infer_table, sample_posterior
    from ..inference import Job

    settings = {name: options.pop(name, default) for name, default in
                {"noise": None, "prior": None, "refine": None, "error_floor": AUTO, "distance": None,
                 "columns": None}.items()}
    bare, repeated = repeat(row, prefix=prefix, model=model, seed=seed, **settings)
    refuse_unmeasured(row, prefix, label)
    drawn = sample_posterior(bare, n_samples=n_samples, progress=False, **repeated, **options)
    known = load_model(repeated["model"])
    family = known.family
    values = [np.asarray(drawn[p.column][0], dtype=float) for p in family.parameters]
    theta = np.stack([p.from_column(x) for p, x in zip(family.parameters, values, strict=True)], -1)
    if not np.isfinite(theta).all():
        raise not_inferred(drawn, "", label)
    reading = {name: repeated[name] for name in ("columns", "distance", "error_floor")}
    reading |= {"unit": options.get("unit"), "missing": options.get("missing", ())}
    job = Job(bare, repeated["model"], repeated["noise"], repeated["prior"], repeated["refine"], _FEWEST,
              repeated["seed"], options.get("device"), **reading)
    observed = job.ready.observed
    at = np.flatnonzero((observed.measured | observed.limit)[0].numpy())
    at = at[np.argsort([get_band(known.bands[i]).pivot for i in at])]
    if f"{prefix}{family.parameters[0].column}_map" not in row.colnames:
        row = infer_table(bare, prefix=prefix, progress=False, **repeated, **options)
    best = _best(row, prefix, family.parameters)
    points = torch.as_tensor(np.concatenate([theta, best[None]]) if best is not None else theta)
    covariates = {key: x.double().expand(len(points)) for key, x in observed.covariates.items()}
    shift = _distance_shift(job, points, len(theta))
    if shift is not None:
        covariates["distance"] = covariates["distance"] * torch.exp(shift)
    family = family.to(dtype=torch.float64)
    ln_flux = family.simulate(points, covariates, torch.Generator().manual_seed(0)).double().numpy()[:, at]
    flux = 1e3 * np.exp(ln_flux)
    # A stochastic simulation at one point is not a prediction.
    at_best = flux[-1] if best is not None and family.likelihood is not None else None
    who = "posterior" if family.likelihood is not None else "posterior predictive"
    sed = _Sed([known.bands[i] for i in at], np.array([get_band(known.bands[i]).pivot for i in at]) / 1e4,
               1e3 * observed.flux[0].numpy()[at], 1e3 * observed.error[0].numpy()[at], observed.limit[0].numpy()[at],
               flux[:len(theta)], at_best, who)
    return row, sed, theta


def _distance_shift(job, points, n_drawn):
    """Return shifts of ln distance: drawn for the draws, expected for the MAP; None if the distance is certain."""
    target, conditions = job.target(slice(0, 1))
    theta = points[None].to(conditions)
    shift = target.drawn_shift(theta, torch.Generator().manual_seed(job.sampler.seed))
    if shift is None:
        return None
    if job.model.family.likelihood is not None:
        shift[:, n_drawn:] = target.expected_shift(theta[:, n_drawn:])
    return shift[0].double().cpu()


def _best(row, prefix, parameters):
    """Return the MAP in model coordinates, or None."""
    names = [f"{prefix}{p.column}_map" for p in parameters]
    if not set(names) <= set(row.colnames):
        return None
    values = [np.asarray(getattr(row[name], "value", row[name]), dtype=float)[0] for name in names]
    best = np.array([p.from_column(value) for p, value in zip(parameters, values, strict=True)])
    return best if np.isfinite(best).all() else None


def _draw(grid, sed, name, **legend):
    top, bottom = grid.subplots(sharex=True)
    x, seen = sed.pivot, ~sed.limit
    low, high = x.min() / 1.12, x.max() * 1.12
    width = _WIDTH * np.log(high / low) * x
    edges = [np.quantile(sed.draws, [(1 - share) / 2, (1 + share) / 2], axis=0) for share in _SHARES]
    middle = np.median(sed.draws, axis=0)
    for k in (1, 0):
        label = f"{sed.who}, {100 * _SHARES[k]:.0f} %"
        boxes = {"width": width, "color": COLORS["posterior"], "alpha": (0.45, 0.2)[k], "lw": 0, "zorder": 1}
        top.bar(x, edges[k][1] - edges[k][0], bottom=edges[k][0], label=label, **boxes)
        bottom.bar(x[seen], ((edges[k][1] - edges[k][0]) / sed.error)[seen],
                   bottom=((edges[k][0] - middle) / sed.error)[seen], **{**boxes, "width": width[seen]})
    if sed.best is not None:
        top.plot(x, sed.best, ls="none", marker="_", ms=14, mew=2, color=COLORS["map"], label="MAP", zorder=3)
    top.errorbar(x[seen], sed.flux[seen], yerr=sed.error[seen], fmt="o", color="black", ms=4.5, lw=1.2, capsize=2.5,
                 zorder=4, label=r"measured, $1\sigma$")
    if sed.limit.any():
        top.plot(x[sed.limit], sed.flux[sed.limit], ls="none", marker=r"$\downarrow$", color="black", ms=11, zorder=4,
                 label="upper limit")
    residual = (sed.flux - middle)[seen] / sed.error[seen]
    bottom.axhline(0, color=COLORS["line"], lw=0.8, zorder=0)
    bottom.errorbar(x[seen], residual, yerr=1, fmt="o", color="black", ms=4.5, lw=1.2, capsize=2.5, zorder=4)
    reach = max(3.0, 1.1 * np.abs(residual).max(initial=0) + 1)
    bottom.set(xscale="log", xlim=(low, high), ylim=(-1.05 * reach, 1.05 * reach), xlabel=r"pivot wavelength [$\mu$m]",
               ylabel=r"residual [$\sigma$]")
    shown = np.concatenate([sed.flux, (sed.flux - sed.error)[seen], (sed.flux + sed.error)[seen], *edges[1]])
    shown = shown[shown > 0]
    room = max(shown.max() / shown.min(), 1.6) ** 0.12
    top.set(yscale="log", ylim=(shown.min() / room, shown.max() * room**2.4), ylabel=r"$f_\nu$ [$\mu$Jy]")
    plain_log_ticks(top.yaxis, *top.get_ylim())
    plain_log_ticks(bottom.xaxis, low, high)
    bottom.xaxis.set_major_locator(_wavelengths(low, high))
    _band_names(top, sed.bands, x)
    top.legend(**{"loc": "best", "fontsize": 8.5, **legend})
    if name:
        top.set_title(name, loc="left", fontweight="bold")
    grid.figure.align_ylabels([top, bottom])


def _wavelengths(low, high):
    from matplotlib.ticker import FixedLocator

    ticks = np.array([0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0])
    return FixedLocator(ticks[(ticks > low) & (ticks < high)])


def _band_names(ax, names, x):
    """Write the names of bands and cameras at the top of the axes, and stack those of close neighbors."""
    line, last = 0, 0.0
    for name, wavelength in zip(names, x, strict=True):
        line = line + 1 if wavelength < _SPREAD * last else 0
        last = wavelength
        ax.text(wavelength, 0.985 - 0.09 * (line % 3), name.replace("_", "\n"), transform=ax.get_xaxis_transform(),
                ha="center", va="top", fontsize=7.5, color="0.3", linespacing=0.95)
