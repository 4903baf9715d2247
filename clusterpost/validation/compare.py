"""Comparison of an inferred catalog with the catalog's published fits.

Catalogs often publish the **present-day** stellar mass (PHANGS in its later runs), while ``mass_*``
of clusterpost is the **initial** (formed) mass, up to a factor of two larger for old clusters.  No
statistic can correct for this.  Both masses are compared, and each row names the mass it uses.
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
from ..selection import row_mask, row_numbers
from ..training.mocks import simulate
from .fits import catalog_parameters, closest_modes, drawn_parameters, inferred_parameters, numbers, published_fits

__all__ = ["WALTER2025_TABLE1", "compare_with_catalog", "flag_shares", "inlier_table", "published_residuals",
           "shortest_interval", "side_by_side"]

_EDGE = 0.01  # width of the edges of a parameter, as a fraction of its range
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

    The output extends Table 1 of Walter et al. (2025) by the typical differences of point estimates.

    Parameters
    ----------
    out : Table
        Output of `~clusterpost.infer_table`.
    published : str or dict, optional
        Name of a set of fits: ``minchisq`` (PHANGS, single-branch maximum likelihood, used in the paper), ``sed``,
        ``thilker25`` or ``sedfix`` (PHANGS, decision tree), ``legus``; or
        ``{"age": (value, low, high, err, unit), "mass": ..., "ebv": ...}`` with names of columns (or arrays), None
        for missing entries.  Keys are the column stems of any parameter or derived quantity of the model's family;
        ``low`` and ``high`` are absolute limits, and ``err`` is a symmetric error.  By default the first set of the
        above in the table.
    where : array of bool or int, or str, optional
        Rows to compare, or an expression that selects them; all by default.
    prefix : str
        Prefix of the result columns (``prefix`` of `~clusterpost.infer_table`).

    Returns
    -------
    Table
        One row per published quantity, for clusters ``log_age`` (log10 t/Myr), ``log_mass`` (log10 m/Msun, our initial
        mass), ``log_stellar_mass`` (our present-day mass, compared with the catalog's mass) and ``ebv`` (mag):

        - ``ours``: the compared quantity of ours;
        - ``n``: number of compared clusters; ``n_no_fit``, ``n_not_inferred``: rows left out, by reason (can overlap);
        - ``catalog_inside``: percentage of catalog values between our 16 % and 84 % quantiles.  Catalog values at an
          edge of the prior are rarely in such intervals and are tested against the highest-density interval
          (`shortest_interval`) with 68 % of 1000 draws; ``n_edge`` is their number;
        - ``n_interval``: number of compared clusters with a 1 sigma interval in the catalog, and
          ``mean_inside``, ``median_inside``, ``map_inside``, ``mode_inside``: percentage of our estimates inside it;
        - ``<estimate>_offset``, ``<estimate>_scatter`` for ``map``, ``median`` and ``mode``: median, and half the
          16-84 % range, of estimate minus catalog, in dex or mag.

        ``meta["published"]`` describes the fits, and ``meta["catalog_mass"]`` the catalog's mass;
        ``meta["edge_intervals"]`` is ``"highest density"``, or ``"equal tails"`` if the table has no photometry to
        draw with.
        If all parameters are published, ``meta["residuals"]`` has the median of the catalog's photometry minus the
        model's at the published parameters, in mag by band (`published_residuals`).  An offset common to all bands
        reflects the mass; offsets between bands by AB minus Vega indicate mixed magnitude systems.
        `inlier_table` writes the percentages in the format of the paper.

    Raises
    ------
    InputError
        If no published fits are recognized, or a result column is missing.

    Notes
    -----
    A value is a fit if it is finite, positive (age, mass) or not negative (reddening), and no other published
    parameter of its row is a sentinel: for clusters without a fit, LEGUS writes zeros and PHANGS -999.

    The 1 sigma interval is that of the catalog, in linear units before any logarithm: t - err < t' < t + err, or
    between its limits, of which the lower can be zero; -999 is not a limit.

    ``mode`` is our mode closest to the catalog value (Walter et al. 2025, Fig. 6, bottom), by
    Euclidean distance in the published parameters, each divided by its posterior half-width (q84 - q16)/2.

    A derived quantity of the same kind as a published parameter, such as the present-day mass, is also compared
    with it.

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
    >>> columns = {"ebv": ("ebv_fit", None, None, "ebv_fit_err", "mag")}
    >>> result = compare_with_catalog(out, columns)
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
        raise InputError("no published fits are recognized in this table; "
                         "give them with option:published")
    estimates = {key: inferred_parameters(out, suffix, prefix=prefix, parameters=quantities)
                 for key, suffix in _ESTIMATES.items()}
    modes = closest_modes(out, fits, prefix=prefix, parameters=parameters)
    estimates["mode"] = np.column_stack([modes, *(_derived_of(modes, d, out, model_family) for d in derived)])
    edges = {stem: _edges(model_family, stem) for stem in fits}
    inferred = np.all([np.isfinite(estimates[key][:, :len(parameters)]).all(1) for key in _ESTIMATES], axis=0)
    chosen = row_mask(out, where, prefix=prefix)

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
    """Return the model family of results, or solar clusters if it is unknown."""
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
    """Return a derived quantity (n,) of parameters (n, n_parameter), NaN for NaN or missing covariates."""
    known = np.isfinite(theta).all(1)
    result = np.full(len(theta), np.nan)
    covariates = {c.name: torch.as_tensor(numbers(out[c.name], c.unit)[known]).float()[:, None]
                  for c in family.covariates if c.name in out.colnames}
    with contextlib.suppress(KeyError):  # a required covariate is not in the table
        result[known] = derived.function(torch.as_tensor(theta[known]).float()[:, None], covariates)[:, 0].numpy()
    return result


def _densest_intervals(out, at_edge, edges, prefix, parameters):
    """Return highest-density intervals (2, n) by parameter for rows at an edge; None if they cannot be drawn."""
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
    """Find the shortest interval with a fraction of the draws, the highest-density interval of a unimodal density.

    Parameters
    ----------
    draws : array (n, k)
    share : float
    edges : tuple of float
        Bounds of the density.  An interval that ends within the outermost percent of the draws is extended to the
        bound, because the draws do not resolve the end of a density that peaks there.

    Returns
    -------
    ndarray (2, n)
        Lower and upper ends of the intervals.

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
    """Compare a catalog's photometry with the model at the published parameters, band by band.

    Parameters
    ----------
    out : Table
        Photometry and published fits, with or without results of `~clusterpost.infer_table`.
    published, where, prefix
        As for `compare_with_catalog`.

    Returns
    -------
    Table
        One row per ``band``: number ``n`` of compared rows, ``residual`` (median of observed minus modeled magnitude),
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
    ...          for name, unit in (("age", "Myr"), ("mass", "solMass"),
    ...                             ("ebv", "mag"))}
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
    chosen = row_mask(out, where, prefix=prefix)
    rows = np.flatnonzero(chosen & inside & np.all([np.isfinite(x) for x in photometry.covariates.values()], axis=0))
    bands = [band for band in photometry.bands if band in family.band_names]
    if not rows.size or not bands:
        known = ", ".join([*(c.name for c in family.covariates), *(p.column for p in family.parameters)])
        raise InputError(f"no row has both photometry and published values of {known} within the model's range")
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
    """Return one row of the comparison, from vectors of one parameter."""
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
    """Return the percentages of `compare_with_catalog` beside those of Table 1 of Walter et al. (2025).

    Parameters
    ----------
    result : Table
        Output of `compare_with_catalog`.

    Returns
    -------
    Table
        Rows: catalog values between our 16 % and 84 % quantiles; our mean, median, MAP and closest mode within the
        catalog's 1 sigma interval.  Columns: percentage for each parameter, and with the suffix ``_paper`` the value of
        the paper, which does not list the closest mode.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from clusterpost.validation.compare import inlier_table
    >>> result = Table({"parameter": ["log_age"], "catalog_inside": [70.0],
    ...                 "mean_inside": [60.0],
    ...                 "median_inside": [70.0], "map_inside": [75.0],
    ...                 "mode_inside": [90.0]})
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
    """Combine several comparisons of the same catalog in one table.

    Parameters
    ----------
    results : dict of Table
        Outputs of `compare_with_catalog`, by a name for each inference, such as its model.

    Returns
    -------
    Table
        One row per parameter and inference: ``parameter``, ``inference``, ``n``, and in dex or mag and % the
        columns ``map_offset``, ``map_scatter``, ``median_offset``, ``median_scatter``, ``mode_offset``,
        ``mode_scatter``, ``catalog_inside``, ``mean_inside``, ``median_inside``, ``map_inside`` and ``mode_inside`` of
        `compare_with_catalog`.

    Examples
    --------
    >>> import clusterpost
    >>> from clusterpost.validation import compare_with_catalog, side_by_side
    >>> mocks = clusterpost.simulate(5, seed=1)
    >>> truth = {name: (f"{name}_true", None, None, None, unit)
    ...          for name, unit in (("age", "Myr"), ("mass", "solMass"),
    ...                             ("ebv", "mag"))}
    >>> outs = {model: clusterpost.infer_table(mocks, model=model, n_samples=100)
    ...         for model in ("any_bands", "stochastic")}
    >>> results = {model: compare_with_catalog(out, truth)
    ...            for model, out in outs.items()}
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
    """Return the percentage of rows with each flag.

    Parameters
    ----------
    outs : Table or dict of Table
        Output of `~clusterpost.infer_table`, or several outputs by name.
    where : array of bool or int, or str, optional
        Rows to count, or an expression that selects them; all by default.
    prefix : str
        The ``prefix`` that `~clusterpost.infer_table` was given.

    Returns
    -------
    Table
        One row per flag that occurs, and a last row ``none`` for rows without flags.  One column (%) per inference, or
        ``share``.  A row can have several flags.

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
    bits = {name: np.asarray(out[f"{prefix}flag"])[row_numbers(out, where, prefix=prefix)]
            for name, out in outs.items()}
    seen = [flag for flag in FLAGS if any((column & flag.bit).any() for column in bits.values())]
    table = Table({"flag": [flag.name for flag in seen] + ["none"]})
    for name, column in bits.items():
        table[name] = [_percent((column & flag.bit) != 0) for flag in seen] + [_percent(column == 0)]
        table[name].unit, table[name].info.format = u.percent, ".1f"
    return table


def _percent(inside):
    return 100 * inside.mean() if len(inside) else np.nan
