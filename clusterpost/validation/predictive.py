"""Checks on real photometry, without known truths: predicted against observed fluxes.

This module has the posterior predictive check of Walter et al. (2025), Sect. 3.2.1, the chi-square of their Eq. 11,
and the predicted fluxes of selected clusters in every band.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from astropy import units as u
from astropy.table import Table

from ..bands import BANDS
from ..errors import InputError
from ..flow.modelfile import load_model
from ..infer import sample_posterior
from ..provenance import AUTO, repeat, results_prefix
from ..training.simulation import seeded_generator
from .fits import catalog_parameters, drawn_parameters, inferred_parameters, log10
from .targets import read_target

__all__ = ["map_chi2", "predictive_check", "predictive_summary", "resimulate"]

_AT_ONCE = 512  # objects with draws replicated at a time
_STREAM = 2610  # stream of random numbers, separate from those of mocks


def predictive_check(tbl: Table, *, n_draws: int = 500, model: Any = "default", noise: Any = None, prior: Any = None,
                     refine: bool | None = None, error_floor: float | str | None = AUTO, distance: Any = None,
                     columns: Mapping | None = None, prefix: str | None = None, seed: int | None = None,
                     device: str | None = None, progress: bool | None = None) -> Table:
    """Replicate the measurements of every object from its posterior, and rank the observed fluxes among them.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
        Photometry, with or without results.
    n_draws : int
        Number of posterior draws per object, each with one replicated measurement with the errors of that object.
    model, noise, prior, refine, error_floor, distance, columns, prefix, seed, device, progress
        As for `~clusterpost.sample_posterior`.

    Returns
    -------
    `~astropy.table.Table`
        One row per inferred object and measured band: ``row`` of ``tbl``, ``band``, ``flux`` and ``error`` (mJy, with
        the floor); ``mean``, ``q16`` and ``q84`` of the replicated fluxes (mJy); and ``rank``, the number of
        replicated fluxes below the observed one.  ``meta["n_draws"]`` is their number.

    Notes
    -----
    The check follows Walter et al. (2025), Sect. 3.2.1 with 500 draws, and Fig. 4
    (`~clusterpost.plotting.plot_predictive`).  The posterior is conditioned on the same data, so ranks concentrate in
    the middle if the model is right (Gelman et al. 2013, Sect. 6.3).  A replicated measurement keeps the reported
    error: the relative error under log-normal noise, and otherwise the absolute error.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.validation import predictive_check
    >>> check = predictive_check(clusterpost.simulate(3, seed=1), model="any_bands",
    ...                          n_draws=50)
    >>> len(check), check["mean"].unit
    (15, Unit("mJy"))
    """
    tbl, options = repeat(tbl, prefix=prefix, model=model, noise=noise, prior=prior, error_floor=error_floor,
                          distance=distance, columns=columns, refine=refine, seed=seed)
    draws = sample_posterior(tbl, n_samples=n_draws, device=device, progress=progress, **options)
    theta = drawn_parameters(draws, load_model(options["model"]).family.parameters)
    rows, target = read_target(tbl, **{name: options[name] for name in options.keys() - {"refine", "seed"}})
    inferred = np.isfinite(theta[rows]).all((1, 2))
    rows, target = rows[inferred], target[torch.as_tensor(inferred)]
    generator = seeded_generator(options["seed"], _STREAM)
    parts = {name: [] for name in ("row", "band", "flux", "error", "mean", "q16", "q84", "rank")}
    for at in torch.arange(len(rows)).split(_AT_ONCE):
        part = target[at]
        predicted = _observed_again(part, torch.as_tensor(theta[rows[at]]), generator)
        i, band = (index.numpy() for index in part.observed.measured.nonzero(as_tuple=True))
        flux, error, predicted = (x.numpy() for x in (part.observed.flux, part.observed.error, predicted))
        flux, error, predicted = flux[i, band], error[i, band], predicted[i, :, band]
        q16, q84 = np.quantile(predicted, [0.16, 0.84], axis=1)
        values = (rows[at.numpy()[i]], np.array(target.likelihood.band_names)[band], flux, error,
                  predicted.mean(1), q16, q84, (predicted < flux[:, None]).sum(1))
        for name, column in zip(parts, values, strict=True):
            parts[name].append(column)
    table = Table({name: np.concatenate(columns) if columns else [] for name, columns in parts.items()})
    for name in ("flux", "error", "mean", "q16", "q84"):
        table[name].unit, table[name].info.format = u.mJy, ".4g"
    table.meta.update({"n_draws": int(n_draws), **draws.meta})
    return table


def _observed_again(target, theta, generator):
    """Return one replicated measurement of each draw, (n, k, n_band)."""
    observed, ln_flux = target.observed, target.ln_flux(theta)
    scale = observed.flux[:, None] if target.noise.name == "lognormal" else torch.exp(ln_flux)
    relative = (observed.error[:, None] / scale).expand_as(ln_flux)
    return target.noise.sample(ln_flux, relative, generator)[0]


def predictive_summary(check: Any) -> Table:
    """Summarize a posterior predictive check.

    Parameters
    ----------
    check : Table
        Output of `predictive_check`.

    Returns
    -------
    `~astropy.table.Table`
        For each band and for all bands (``all``): ``n``; ``offset`` and ``scatter``, the median and half the 16-84 %
        range of log10 mean predicted over observed flux (dex; positive fluxes only); ``inside``, the percentage of
        measurements between the 16 % and 84 % quantiles of the replicated fluxes; and ``tails``, the percentage of
        ranks in the outermost 5 % at either end (68 and 10 for a model that is independent of the data).

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.validation import predictive_check, predictive_summary
    >>> check = predictive_check(clusterpost.simulate(3, seed=1), model="any_bands",
    ...                          n_draws=50)
    >>> summary = predictive_summary(check)
    >>> str(summary["band"][-1]), int(summary["n"][-1])
    ('all', 15)
    """
    if not len(check):
        raise InputError("the check has no rows because no object was inferred; see the flag column of the results")
    values = {name: np.asarray(check[name]) for name in ("flux", "mean", "q16", "q84", "rank")}
    n_draws, bands = check.meta["n_draws"], np.asarray(check["band"])
    rows = []
    for band in (*bands_of(check), "all"):
        chosen = (bands == band) | (band == "all")
        flux, mean, q16, q84, rank = (column[chosen] for column in values.values())
        positive = (flux > 0) & (mean > 0)
        ratio = np.log10(mean[positive] / flux[positive])
        low, offset, high = np.percentile(ratio, [16, 50, 84]) if len(ratio) else [np.nan] * 3
        place = rank / n_draws
        rows.append({"band": band, "n": int(chosen.sum()), "offset": offset, "scatter": (high - low) / 2,
                     "inside": 100 * np.mean((q16 <= flux) & (flux <= q84)),
                     "tails": 100 * np.mean((place < 0.05) | (place > 0.95))})
    table = Table(rows)
    for name, form, unit in (("offset", ".3f", u.dex), ("scatter", ".3f", u.dex), ("inside", ".1f", u.percent),
                             ("tails", ".1f", u.percent)):
        table[name].unit, table[name].info.format = unit, form
    table.meta.update(check.meta)
    return table


def bands_of(table: Table) -> list[str]:
    """Return the bands of a table with a column ``band``, from blue to red.

    Parameters
    ----------
    table : Table

    Returns
    -------
    list of str
    """
    return sorted(set(np.asarray(table["band"]).tolist()), key=lambda band: BANDS[band].pivot)


def map_chi2(out: Table, published: str | dict | None = None, *, prefix: str | None = None, model: Any = "default",
             noise: Any = None, error_floor: float | str | None = AUTO, distance: Any = None,
             columns: Mapping | None = None) -> Table:
    """Compute the reduced chi-square of MAP estimates and of the catalog's own fits.

    Parameters
    ----------
    out : Table
        Output of `~clusterpost.infer_table`.
    published : str, dict or False, optional
        As for `~clusterpost.compare_with_catalog`; False, or a table without fits, leaves those columns NaN.
    prefix : str, optional
        The ``prefix`` that `~clusterpost.infer_table` was given, where the table has several results.
    model, noise, error_floor, distance, columns
        As for `~clusterpost.infer_table`; by default as recorded.

    Returns
    -------
    `~astropy.table.Table`
        One row per row of ``out``: ``n_bands``, ``chi2_map``, ``chi2_catalog`` (at the catalog's parameters, with the
        published mass) and ``chi2_catalog_free_mass`` (at its age and reddening, with the best mass); NaN for missing
        values.

    Notes
    -----
    The chi-square follows Walter et al. (2025), Eq. 11 and Fig. 8 (`~clusterpost.plotting.plot_chi2`): in linear
    fluxes, divided by the number of bands minus parameters.  All values use *this* package's forward model.  A catalog
    that was fitted with another model, or that lists present-day masses, has a larger chi-square here than in its own
    model; the free mass removes the effect of the latter.  The MAP has the smallest chi-square only under
    ``noise="normal"``.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.validation import map_chi2
    >>> out = clusterpost.infer_table(clusterpost.simulate(3, seed=2),
    ...                               model="any_bands")
    >>> map_chi2(out).colnames
    ['n_bands', 'chi2_map', 'chi2_catalog', 'chi2_catalog_free_mass']
    """
    prefix = results_prefix(out, prefix)
    bare, options = repeat(out, prefix=prefix, model=model, noise=noise, error_floor=error_floor, distance=distance,
                           columns=columns)
    rows, target = read_target(bare, **options)
    parameters = load_model(options["model"]).family.parameters
    theta = {"map": inferred_parameters(out, "map", prefix=prefix, parameters=parameters),
             "catalog": catalog_parameters(out, published, parameters=parameters)}
    free = np.maximum(target.observed.n_measured.numpy() - len(parameters), 1)
    table = Table({"n_bands": np.zeros(len(out), int)})
    table["n_bands"][rows] = target.observed.n_measured.numpy()
    points = {"chi2_map": theta["map"][rows], "chi2_catalog": theta["catalog"][rows],
              "chi2_catalog_free_mass": _with_best_mass(target, theta["catalog"][rows])}
    for name, point in points.items():
        table[name] = np.full(len(out), np.nan)
        # Our parameters can exceed a bound only by rounding, those of a catalog by any amount.
        table[name][rows] = target.chi2(torch.as_tensor(point)[:, None])[:, 0].numpy() / free
    for name in table.colnames[1:]:
        table[name].info.format = ".3g"
    return table


def _with_best_mass(target, theta):
    """Return the parameters with the mass of smallest chi-square; NaN if there is none."""
    amplitude, theta = target.likelihood.amplitude(target.prior), theta.copy()
    if amplitude is None:
        return np.full_like(theta, np.nan)
    mass = target.prior.names.index(amplitude.parameter)
    theta[:, mass] = 0.0
    observed = target.observed
    unit = torch.exp(target.ln_flux(torch.as_tensor(theta)[:, None]))[:, 0]
    weight = torch.where(observed.measured, observed.error**-2, 0.0)
    best = (weight * unit * observed.flux).sum(-1) / (weight * unit**2).sum(-1)
    theta[:, mass] = log10(np.maximum(best.numpy(), 1e-30))
    return theta


def resimulate(out: Table, rows: Any, published: str | dict | None = None, *, n_draws: int = 500,
               prefix: str | None = None, model: Any = "default", noise: Any = None, prior: Any = None,
               refine: bool | None = None, error_floor: float | str | None = AUTO, distance: Any = None,
               columns: Mapping | None = None, seed: int | None = None) -> Table:
    """Return fluxes of selected objects in each band: observed, at the MAP and catalog fit, and over the posterior.

    Parameters
    ----------
    out : Table
        Output of `~clusterpost.infer_table`.
    rows : sequence of int
    published : str, dict or False, optional
        As for `map_chi2`.
    n_draws : int
        Number of draws per posterior.
    prefix : str, optional
        The ``prefix`` that `~clusterpost.infer_table` was given, where the table has several results.
    model, noise, prior, refine, error_floor, distance, columns, seed
        As for `~clusterpost.infer_table`; by default as recorded.

    Returns
    -------
    `~astropy.table.Table`
        One row per object and band: ``row``, ``band``, ``wavelength`` (the pivot, Angstrom), ``flux``,
        ``error`` and ``limit`` as observed, and the true fluxes ``map``, ``catalog``, ``q16``, ``q50`` and ``q84``
        (mJy).  A column for each parameter, such as ``log_age``, repeats the MAP.

    Raises
    ------
    InputError
        If a row has no usable band or was not inferred.

    Notes
    -----
    See Walter et al. (2025), Fig. 7 (`~clusterpost.plotting.plot_seds`).

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.validation import resimulate
    >>> out = clusterpost.infer_table(clusterpost.simulate(3, seed=2),
    ...                               model="any_bands", n_samples=100)
    >>> len(resimulate(out, [0, 2], n_draws=50))
    10
    """
    prefix = results_prefix(out, prefix)
    some, options = repeat(out[[int(row) for row in rows]], prefix=prefix, model=model, noise=noise, prior=prior,
                           error_floor=error_floor, distance=distance, columns=columns, refine=refine, seed=seed)
    draws = sample_posterior(some, n_samples=n_draws, progress=False, **options)
    usable, target = read_target(some, **{name: options[name] for name in options.keys() - {"refine", "seed"}})
    parameters = load_model(options["model"]).family.parameters
    best = inferred_parameters(some, "map", prefix=prefix, parameters=parameters)
    bad = np.setdiff1d(np.arange(len(some)), usable[np.isfinite(best[usable]).all(1)])
    if len(bad):
        raise InputError(f"row {list(rows)[bad[0]]} has no result and therefore no predicted fluxes; see its flags")
    theta = drawn_parameters(draws, parameters)
    catalog = catalog_parameters(some, published, parameters=parameters)
    points = [torch.as_tensor(x) for x in (best[:, None], catalog[:, None], theta)]
    generator = torch.Generator().manual_seed(options["seed"])
    shifts = target.expected_shift(points[0]), None, target.drawn_shift(points[2], generator)
    fluxes = [torch.exp(target.ln_flux(x, shift)).numpy() for x, shift in zip(points, shifts, strict=True)]
    quantiles = np.quantile(fluxes[2], [0.16, 0.5, 0.84], axis=1)
    there = (target.observed.measured | target.observed.limit).numpy()
    columns = []
    for i, band in sorted(zip(*there.nonzero(), strict=True), key=lambda at: (at[0], _pivot(target, at[1]))):
        q16, q50, q84 = quantiles[:, i, band]
        columns.append({"row": int(rows[i]), "band": target.likelihood.band_names[band],
                        "wavelength": _pivot(target, band),
                        "flux": target.observed.flux[i, band].item(), "error": target.observed.error[i, band].item(),
                        "limit": bool(target.observed.limit[i, band]), "map": fluxes[0][i, 0, band],
                        "catalog": fluxes[1][i, 0, band], "q16": q16, "q50": q50, "q84": q84,
                        **{p.name: value for p, value in zip(parameters, best[i], strict=True)}})
    table = Table(columns, meta={"n_parameters": len(parameters)})
    table["wavelength"].unit = u.AA
    for name in ("flux", "error", "map", "catalog", "q16", "q50", "q84"):
        table[name].unit, table[name].info.format = u.mJy, ".4g"
    return table


def _pivot(target, band):
    return BANDS[target.likelihood.band_names[band]].pivot
