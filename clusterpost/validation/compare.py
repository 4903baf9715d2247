"""An inferred catalog beside the fits that the catalog itself publishes.

A caution that no statistic can undo: catalogs often publish the **present-day** stellar mass
(PHANGS in its later runs), while ``mass_*`` of clusterpost is the **initial** (formed) mass, up to
a factor two larger for old clusters.  Both are compared, and each row says which mass of ours it is.
Other stellar models (LEGUS: Yggdrasil) differ by more.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from astropy import units as u
from astropy.table import QTable, Table

from ..bands import get_band
from ..catalogs.published import published_columns
from ..errors import InputError, InputWarning, ModelError
from ..families import get_family
from ..flags import FLAGS
from ..flow.modelfile import load_model
from ..infer import sample_posterior
from ..photometry import Photometry
from ..provenance import recorded_settings
from ..training.mocks import simulate
from .fits import catalog_parameters, closest_modes, drawn_parameters, inferred_parameters, numbers, published_fits

__all__ = ["WALTER2025_TABLE1", "compare_with_catalog", "flag_shares", "inlier_table", "published_residuals",
           "shortest_interval", "side_by_side"]

_EDGE = 0.01  # of the range of a parameter: what counts as its edge
_N_DRAWS, _ONE_SIGMA = 1000, 0.68

_ESTIMATES = {"low": "q16", "high": "q84", "mean": "mean", "median": "q50", "map": "map"}

#: Table 1 of Walter et al. (2025), in %, and the parameters of its columns.
WALTER2025_TABLE1 = {
    "catalog_inside": (71.0, 61.1, 75.4),
    "mean_inside": (65.4, 52.0, 68.4),
    "median_inside": (73.3, 59.8, 77.8),
    "map_inside": (76.3, 64.3, 80.5),
}
_TABLE1_COLUMNS = ("log_age", "log_mass", "ebv")


def compare_with_catalog(out: Table, published: str | dict | None = None, where: Any = None, *,
                         prefix: str = "") -> Table:
    """Compare an inferred catalog with the catalog's own fits.

    Table 1 of Walter et al. (2025), with the typical differences of point estimates.

    Parameters
    ----------
    out : Table
        From `~clusterpost.infer_table`.
    published : str or dict, optional
        Which fits: ``minchisq`` (PHANGS, single-branch maximum likelihood, which the paper compares with), ``sed``,
        ``thilker25`` or ``sedfix`` (PHANGS, decision tree), ``legus``; or
        ``{"age": (value, low, high, err, unit), "mass": ..., "ebv": ...}``: names of columns
        (or arrays), None for what there is not; by the stems of the columns of any parameter or derived quantity of
        the model's family.  ``low`` and ``high`` are absolute limits, ``err`` is a
        symmetric error.  By default the columns are recognized, the first of the above before the others.
    where : array of bool or int, optional
        Rows to compare; all by default.
    prefix : str
        The ``prefix`` that `~clusterpost.infer_table` was given.

    Returns
    -------
    Table
        Rows of what is published: for clusters ``log_age`` (log10 t/Myr), ``log_mass`` (log10 m/Msun, our initial
        mass), ``log_stellar_mass`` (our present-day mass, against the same mass of the catalog) and ``ebv`` (mag):

        - ``ours``: which quantity of ours it is;
        - ``n``: clusters compared; ``n_no_fit``, ``n_not_inferred``: rows left out, and why (a row may be in both);
        - ``catalog_inside``: catalog values between our 16 and 84 % quantiles, in %; for catalog values at an edge of
          the prior, which hardly any such interval holds, in the interval of highest density (`shortest_interval`) of
          68 % of 1000 draws; ``n_edge``: how many there are;
        - ``n_interval``: compared clusters for which the catalog gives a 1 sigma interval, and
          ``mean_inside``, ``median_inside``, ``map_inside``, ``mode_inside``: our estimates inside it, in %;
        - ``<estimate>_offset``, ``<estimate>_scatter`` for ``map``, ``median`` and ``mode``: median, and half the
          16-84 % range, of estimate minus catalog, in dex or mag.

        ``meta["published"]`` says whose fits they are, and ``meta["catalog_mass"]`` which mass the catalog gives;
        ``meta["edge_intervals"]`` is ``"highest density"``, or ``"equal tails"`` where the table has no photometry to
        draw with.
        ``meta["residuals"]`` has, where all of a cluster's parameters are published, the median of the catalog's
        photometry minus the model's at the published parameters, in mag by band: what is common to all bands is the
        mass; bands that differ by AB minus Vega tell of mixed systems of magnitudes (`published_residuals`).
        `inlier_table` writes the shares as the paper does.

    Raises
    ------
    InputError
        If no published fits are known, or a result column is absent.

    Notes
    -----
    A value is a fit where it is finite, positive (age, mass) or not negative (reddening), and where no other
    published parameter of that row is a sentinel: LEGUS writes zeros, PHANGS -999, for clusters without a fit.

    The 1 sigma interval is taken as the catalog gives it, in linear units and before any logarithm:
    t - err < t' < t + err, or between its limits, of which the lower may be zero; -999 is no limit.

    ``mode`` is the one of our modes closest to the catalog value (Walter et al. 2025, Fig. 6, bottom): by
    Euclidean distance in the published parameters, each divided by its posterior half-width (q84 - q16)/2.

    A derived quantity of the same kind as a published parameter, such as the present-day mass, is compared with it,
    too.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from clusterpost.validation import compare_with_catalog
    >>> out = Table({"ebv_fit": [0.1, 0.3], "ebv_fit_err": [0.05, 0.02]})
    >>> for name, value in {"age": 10.0, "mass": 1e4, "ebv": 0.12}.items():
    ...     out[f"{name}_q16"], out[f"{name}_q84"] = 0.7 * value, 1.4 * value
    ...     for column in ("q50", "mean", "map"):
    ...         out[f"{name}_{column}"] = value
    ...     out[f"{name}_modes"] = [[value], [value]]
    >>> result = compare_with_catalog(out, {"ebv": ("ebv_fit", None, None, "ebv_fit_err", "mag")})
    >>> result["parameter", "n", "catalog_inside", "map_inside"].pprint()
    parameter  n  catalog_inside map_inside
                        %            %
    --------- --- -------------- ----------
          ebv   2           50.0       50.0
    """
    model_family = _family_of(out, prefix)
    parameters = model_family.parameters
    derived = [d for d in model_family.derived if f"{prefix}{d.column}_q50" in out.colnames]
    quantities = (*parameters, *derived)
    fits = published_fits(out, published, parameters=quantities)
    if not fits:
        raise InputError("no published fits are known of this table; "
                         "give them with option:published")
    estimates = {key: inferred_parameters(out, suffix, prefix=prefix, parameters=quantities)
                 for key, suffix in _ESTIMATES.items()}
    modes = closest_modes(out, fits, prefix=prefix, parameters=parameters)
    estimates["mode"] = np.column_stack([modes, *(_derived_of(modes, d, out, model_family) for d in derived)])
    edges = {stem: _edges(model_family, stem) for stem in fits}
    inferred = np.all([np.isfinite(estimates[key][:, :len(parameters)]).all(1) for key in _ESTIMATES], axis=0)
    chosen = np.zeros(len(out), bool)
    chosen[slice(None) if where is None else np.asarray(where)] = True

    at_edge = {stem: chosen & inferred & _at_edge(fit.value, edges[stem]) for stem, fit in fits.items()}
    densest = _densest_intervals(out, at_edge, edges, prefix, parameters)
    rows = []
    for one in (one for one in quantities if one.column in fits):
        stem, has_fit = one.column, np.isfinite(fits[one.column].value)
        counts = {"n": np.sum(chosen & has_fit & inferred), "n_no_fit": np.sum(chosen & ~has_fit),
                  "n_not_inferred": np.sum(chosen & ~inferred)}
        alike = [d for d in derived if d.ucd == one.ucd and (d.unit, d.log10) == (one.unit, one.log10)
                 and d.column not in fits]
        for compared in (one, *alike):
            index, edge = quantities.index(compared), at_edge[stem] & (compared is one)
            values = {key: estimate[:, index] for key, estimate in estimates.items()}
            if densest is not None:
                values |= {key: np.where(edge, densest[stem][i], values[key]) for i, key in enumerate(("low", "high"))}
            rows.append({"parameter": compared.name, "ours": compared.description, **counts, "n_edge": edge.sum(),
                         **_statistics(values, fits[stem], chosen & has_fit & inferred)})
    table = Table(rows)
    for name in table.colnames:
        if name.endswith("_inside"):
            table[name].unit, table[name].info.format = u.percent, ".1f"
        elif table[name].dtype.kind == "f":
            table[name].info.format = ".3f"
    table.meta["edge_intervals"] = "equal tails" if densest is None else "highest density"
    family = None if isinstance(published, dict) else published_columns(out, published)[0]
    table.meta["published"] = family.description if family else "as given"
    table.meta["catalog_mass"] = family.mass if family else "as given"
    with contextlib.suppress(InputError):  # a table without photometry, or without all parameters, has no residuals
        residuals = published_residuals(out, published, where, prefix=prefix)
        table.meta["residuals"] = {str(row["band"]): round(float(row["residual"]), 3) for row in residuals}
    return table


def _family_of(out, prefix):
    """Return the family of the model that results were made with, solar clusters where it is not known."""
    settings = recorded_settings(out, prefix)
    if settings is not None:
        with contextlib.suppress(ModelError):
            return load_model(settings.path or settings.model).family
    return get_family("clusters")()


def _edges(family, stem):
    """Return the bounds of the prior in a parameter."""
    return {p.column: (p.low, p.high) for p in family.parameters}.get(stem, (-np.inf, np.inf))


def _at_edge(value, edges):
    if not np.isfinite(edges).all():
        return np.zeros(len(value), bool)
    near = _EDGE * (edges[1] - edges[0])
    return np.any([np.abs(value - edge) <= near for edge in edges], axis=0)


def _derived_of(theta, derived, out, family):
    """Return a derived quantity (n,) of parameters (n, n_parameter); NaN where they are, or without its covariates."""
    known = np.isfinite(theta).all(1)
    result = np.full(len(theta), np.nan)
    covariates = {c.name: torch.as_tensor(numbers(out[c.name], c.unit)[known]).float()[:, None]
                  for c in family.covariates if c.name in out.colnames}
    with contextlib.suppress(KeyError):  # a covariate that it needs and the table has not
        result[known] = derived.function(torch.as_tensor(theta[known]).float()[:, None], covariates)[:, 0].numpy()
    return result


def _densest_intervals(out, at_edge, edges, prefix, parameters):
    """Return lower and upper ends (2, n) by parameter for the rows that need them; None if these cannot be drawn."""
    rows = np.flatnonzero(np.any(list(at_edge.values()), axis=0))
    result = {stem: np.full((2, len(out)), np.nan) for stem in at_edge}
    if len(rows):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", InputWarning)  # inference has said them
                draws = sample_posterior(out[rows], n_samples=_N_DRAWS, prefix=prefix or None, progress=False)
        except InputError:
            return None
        for stem, there in at_edge.items():
            if not there.any():
                continue
            each = drawn_parameters(draws, [p for p in parameters if p.column == stem])[..., 0]
            result[stem][:, rows] = shortest_interval(each, _ONE_SIGMA, edges[stem])
            result[stem][:, ~there] = np.nan
    return result


def shortest_interval(draws: list[np.ndarray] | np.ndarray, share: float, edges: tuple[float, ...]) -> np.ndarray:
    """Find the shortest interval that holds a share of draws: that of highest density, of one with a single peak.

    Parameters
    ----------
    draws : array (n, k)
    share : float
    edges : tuple of float
        Bounds of the density.  An interval that begins within the outermost percent of the draws goes to the bound,
        as the end of a density that is highest there is uncertain by as much.

    Returns
    -------
    ndarray (2, n)
        Lower and upper ends.

    Examples
    --------
    >>> import numpy as np
    >>> from clusterpost.validation.compare import shortest_interval
    >>> draws = np.random.default_rng(0).exponential(size=(1, 4000))
    >>> low, high = shortest_interval(draws, 0.68, (0, np.inf))
    >>> low.item(), round(high.item(), 1)
    (0.0, 1.2)
    """
    ordered = np.sort(np.asarray(draws, float), axis=1)
    n = ordered.shape[1]
    inside = min(n - 1, round(share * n))
    first = np.argmin(ordered[:, inside:] - ordered[:, :n - inside], axis=1)
    low, high = (np.take_along_axis(ordered, at[:, None], 1)[:, 0] for at in (first, first + inside))
    return np.array([np.where(first <= 0.01 * n, edges[0], low), np.where(first + inside >= 0.99 * n, edges[1], high)])


def published_residuals(out: Table, published: str | dict | None = None, where: Any = None, *,
                        prefix: str = "") -> Table:
    """Compare a catalog's photometry with the model at the parameters that the catalog publishes, band by band.

    Parameters
    ----------
    out : Table
        Photometry and published fits; from `~clusterpost.infer_table`, or before it.
    published, where, prefix
        As for `compare_with_catalog`.

    Returns
    -------
    Table
        A row for each ``band``: ``n`` rows compared, ``residual`` (median of observed minus modeled magnitude),
        ``scatter`` (half its 16-84 % range) and ``ab_minus_vega`` of the band, in mag.

    Raises
    ------
    InputError
        If not all parameters of the model's family are published, or no row can be compared.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.validation.compare import published_residuals
    >>> mocks = clusterpost.simulate(20, model="any_bands", seed=1, distance=10)
    >>> truth = {name: (f"{name}_true", None, None, None, unit)
    ...          for name, unit in (("age", "Myr"), ("mass", "solMass"), ("ebv", "mag"))}
    >>> table = published_residuals(mocks, truth)
    >>> bool((abs(table["residual"]) < 0.3).all())
    True
    """
    family = _family_of(out, prefix)
    theta = catalog_parameters(out, published, parameters=family.parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)  # inference has said them
        photometry = Photometry.from_table(out, error_floor=None, covariates=family.covariates)
    inside = np.all([(theta[:, i] >= p.low) & (theta[:, i] <= p.high) for i, p in enumerate(family.parameters)], axis=0)
    chosen = np.zeros(len(out), bool)
    chosen[slice(None) if where is None else np.asarray(where)] = True
    rows = np.flatnonzero(chosen & inside & np.all([np.isfinite(x) for x in photometry.covariates.values()], axis=0))
    bands = [band for band in photometry.bands if band in family.band_names]
    if not rows.size or not bands:
        known = ", ".join([*(c.name for c in family.covariates), *(p.column for p in family.parameters)])
        raise InputError(f"no row has photometry, and {known} published within the model's range")
    parameters = QTable({p.column: p.to_column(theta[rows, i]) * u.Unit(p.unit)
                         for i, p in enumerate(family.parameters)}
                        | {c.name: photometry.covariates[c.name][rows] * u.Unit(c.unit) for c in family.covariates})
    modeled = simulate(parameters, model=family, bands=bands)
    table = []
    for band in bands:
        i = photometry.bands.index(band)
        flux = np.where(photometry.limit[rows, i], np.nan, photometry.flux[rows, i])
        with np.errstate(divide="ignore", invalid="ignore"):
            residual = -2.5 * np.log10(flux / modeled[band].to_value(u.mJy))
        residual = residual[np.isfinite(residual)]
        low, median, high = np.percentile(residual, [16, 50, 84]) if residual.size else [np.nan] * 3
        table.append({"band": band, "n": residual.size, "residual": median, "scatter": (high - low) / 2,
                      "ab_minus_vega": get_band(band).ab_minus_vega})
    table = Table(table)
    for name in ("residual", "scatter", "ab_minus_vega"):
        table[name].unit, table[name].info.format = u.mag, ".3f"
    return table


def _statistics(ours, fit, rows):
    """One row of the comparison, from vectors of one parameter."""
    value, low, high = fit.value[rows], fit.low[rows], fit.high[rows]
    ours = {key: values[rows] for key, values in ours.items()}
    bounded = ~(np.isnan(low) | np.isnan(high))
    result = {"catalog_inside": _percent((ours["low"] <= value) & (value <= ours["high"])),
              "n_interval": np.sum(bounded)}
    for key in ("mean", "median", "map", "mode"):
        known = bounded & np.isfinite(ours[key])
        result[f"{key}_inside"] = _percent(((low <= ours[key]) & (ours[key] <= high))[known])
    for key in ("map", "median", "mode"):
        difference = (ours[key] - value)[np.isfinite(ours[key])]
        q16, q50, q84 = np.percentile(difference, [16, 50, 84]) if len(difference) else [np.nan] * 3
        result |= {f"{key}_offset": q50, f"{key}_scatter": (q84 - q16) / 2}
    return result


def inlier_table(result: Any) -> Table:
    """Return the shares of `compare_with_catalog` as Table 1 of Walter et al. (2025) has them, beside that table.

    Parameters
    ----------
    result : Table
        From `compare_with_catalog`.

    Returns
    -------
    Table
        A row for each share: catalog values between our 16 and 84 % quantiles; our mean, median, MAP and closest mode
        within the catalog's 1 sigma interval.  A column for each parameter, in %, and with ``_paper`` at its end the
        value of the paper, which has no closest mode.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from clusterpost.validation.compare import inlier_table
    >>> result = Table({"parameter": ["log_age"], "catalog_inside": [70.0], "mean_inside": [60.0],
    ...                 "median_inside": [70.0], "map_inside": [75.0], "mode_inside": [90.0]})
    >>> inlier_table(result)["share", "log_age", "log_age_paper"][:2].pprint()
              share           log_age log_age_paper
                                 %          %
    ------------------------- ------- -------------
    catalog inside our 16-84%    70.0          71.0
       our mean inside theirs    60.0          65.4
    """
    table = Table({"share": ["catalog inside our 16-84%"] + [f"our {what} inside theirs" for what in
                                                            ("mean", "median", "MAP", "closest mode")]})
    keys = [f"{key}_inside" for key in ("catalog", "mean", "median", "map", "mode")]
    for row in result:
        name = str(row["parameter"])
        table[name] = [float(row[key]) for key in keys]
        columns = [name]
        if name in _TABLE1_COLUMNS:
            index = _TABLE1_COLUMNS.index(name)
            table[f"{name}_paper"] = [WALTER2025_TABLE1[key][index] if key in WALTER2025_TABLE1 else np.nan
                                      for key in keys]
            columns.append(f"{name}_paper")
        for column in columns:
            table[column].unit, table[column].info.format = u.percent, ".1f"
    table.meta.update(result.meta)
    return table


def side_by_side(results: Mapping[str, Table]) -> Table:
    """Several comparisons of the same catalog in one table.

    Parameters
    ----------
    results : dict of Table
        By a name for each inference, such as its model: from `compare_with_catalog`.

    Returns
    -------
    Table
        A row for each parameter and inference: ``parameter``, ``inference``, ``n``, and in dex or mag and % the
        columns ``map_offset``, ``map_scatter``, ``median_offset``, ``median_scatter``, ``mode_offset``,
        ``mode_scatter``, ``catalog_inside``, ``mean_inside``, ``median_inside``, ``map_inside`` and ``mode_inside`` of
        `compare_with_catalog`.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.validation import compare_with_catalog, side_by_side
    >>> mocks = clusterpost.simulate(5, seed=1)
    >>> truth = {name: (f"{name}_true", None, None, None, unit)
    ...          for name, unit in (("age", "Myr"), ("mass", "solMass"), ("ebv", "mag"))}
    >>> outs = {model: clusterpost.infer_table(mocks, model=model, n_samples=100)
    ...         for model in ("any_bands", "stochastic")}
    >>> results = {model: compare_with_catalog(out, truth) for model, out in outs.items()}
    >>> side_by_side(results)["parameter", "inference", "n"][:2].pprint()
    parameter inference   n
    --------- ---------- ---
      log_age  any_bands   5
      log_age stochastic   5
    """
    numbers = [f"{estimate}_{number}" for estimate in ("map", "median", "mode") for number in ("offset", "scatter")]
    numbers += [f"{what}_inside" for what in ("catalog", "mean", "median", "map", "mode")]
    parameters = list(dict.fromkeys(str(name) for result in results.values() for name in result["parameter"]))
    rows = [{"parameter": parameter, "inference": name, **{key: row[key] for key in ("n", *numbers)}}
            for parameter in parameters for name, result in results.items() for row in result
            if row["parameter"] == parameter]
    table = Table(rows)
    for name in numbers:
        table[name].info.format = ".1f" if name.endswith("_inside") else ".3f"
        if name.endswith("_inside"):
            table[name].unit = u.percent
    return table


def flag_shares(outs: Mapping[str, Table], where: Any = None, *, prefix: str = "") -> Table:
    """Count the rows that carry each flag.

    Parameters
    ----------
    outs : Table or dict of Table
        From `~clusterpost.infer_table`; several by a name for each.
    where : array of bool or int, optional
        Rows to count; all by default.
    prefix : str
        The ``prefix`` that `~clusterpost.infer_table` was given.

    Returns
    -------
    Table
        A row for each flag that any row has, and last ``none``: the share of rows without one.  A column (%) for each
        inference, or ``share``.  Several flags may go with one row.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from clusterpost.validation import flag_shares
    >>> flag_shares(Table({"flag": [0, 2, 2, 3]})).pprint()
         flag     share
                    %
    ------------ -----
    not inferred  25.0
    missing band  75.0
            none  25.0
    """
    outs = {"share": outs} if isinstance(outs, Table) else outs
    chosen = slice(None) if where is None else np.asarray(where)
    bits = {name: np.asarray(out[f"{prefix}flag"])[chosen] for name, out in outs.items()}
    seen = [flag for flag in FLAGS if any((column & flag.bit).any() for column in bits.values())]
    table = Table({"flag": [flag.name for flag in seen] + ["none"]})
    for name, column in bits.items():
        table[name] = [_percent((column & flag.bit) != 0) for flag in seen] + [_percent(column == 0)]
        table[name].unit, table[name].info.format = u.percent, ".1f"
    return table


def _percent(inside):
    return 100 * inside.mean() if len(inside) else np.nan
