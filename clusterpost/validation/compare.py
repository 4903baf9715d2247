"""An inferred catalog beside the fits that the catalog itself publishes.

A caution that no statistic here can undo: catalogs often publish the **present-day** stellar mass
(PHANGS in its later runs), while ``mass_*`` of clusterpost is the **initial** (formed) mass, up to
a factor two larger for old clusters.  Other stellar models (LEGUS: Yggdrasil) differ by more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.table import Table

from ..errors import ColumnError, InputError

__all__ = ["PublishedFit", "compare_with_catalog", "inferred_parameters", "published_fits"]

#: Column stem of each parameter, its unit here, and whether its log10 is compared.
_PARAMETERS = {"age": (u.Myr, True), "mass": (u.Msun, True), "ebv": (u.mag, False)}
_ROW_NAMES = {"age": "log_age", "mass": "log_mass", "ebv": "ebv"}


@dataclass
class PublishedFit:
    """A catalog's fits of one parameter: log10 age/Myr, log10 mass/Msun or E(B-V)/mag.

    Attributes
    ----------
    value : ndarray (n,)
        NaN where the catalog has no fit.
    low, high : ndarray (n,)
        Its 1 sigma interval; NaN where the catalog gives none, and -inf where a
        logarithm is bounded by an age or mass of zero.
    """

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def compare_with_catalog(out, published=None, where=None, *, prefix=""):
    """How well an inferred catalog and the catalog's own fits agree.

    Table 1 of Walter et al. (2025), with the typical differences of point estimates.

    Parameters
    ----------
    out : Table
        From `~clusterpost.infer_table`.
    published : dict, optional
        ``{"age": (value, low, high, err, unit), "mass": ..., "ebv": ...}``: names of columns
        (or arrays), None for what there is not.  ``low`` and ``high`` are absolute limits, ``err`` is a
        symmetric error.  By default the columns are recognised.
    where : array of bool or int, optional
        Rows to compare; all by default.
    prefix : str
        The ``prefix`` that `~clusterpost.infer_table` was given.

    Returns
    -------
    Table
        Rows ``log_age`` (log10 t/Myr), ``log_mass`` (log10 m/Msun) and ``ebv`` (mag), as far as published:

        - ``n``: clusters compared; ``n_no_fit``, ``n_not_inferred``: rows left out, and why (a row may be in both);
        - ``catalog_inside``: catalog values between our 16 and 84 % quantiles, in %;
        - ``n_interval``: compared clusters for which the catalog gives a 1 sigma interval, and
          ``mean_inside``, ``median_inside``, ``map_inside``: our estimates inside it, in %;
        - ``<estimate>_offset``, ``<estimate>_scatter`` for ``map``, ``median`` and ``mode``: median, and half the
          16-84 % range, of estimate minus catalog, in dex or mag.

    Raises
    ------
    InputError
        If no published fits are known, or a result column is absent.

    Notes
    -----
    A value is a fit where it is finite, positive (age, mass) or not negative (reddening), and where no other
    published parameter of that row is a sentinel: LEGUS writes zeros, PHANGS -999, for clusters without a fit.

    The 1 sigma interval is taken as the catalog gives it, in linear units: t - err < t' < t + err.

    ``mode`` is the one of our modes closest to the catalog value (Walter et al. 2025, Fig. 6, bottom): by
    Euclidean distance in log10 t, log10 m and E(B-V), each divided by its posterior half-width (q84 - q16)/2.

    Our masses are initial masses, the catalog's may be present-day ones: see the module's caution.

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
    fits = published_fits(out, published)
    if not fits:
        raise InputError("no published fits are known of this table; "
                         "pass published={'age': (value, low, high, err, unit)}")
    estimates = {key: inferred_parameters(out, suffix, prefix=prefix) for key, suffix in
                 {"low": "q16", "high": "q84", "mean": "mean", "median": "q50", "map": "map"}.items()}
    estimates["mode"] = closest_modes(out, fits, prefix=prefix)
    inferred = np.all([np.isfinite(estimates[key]).all(1) for key in ("low", "high", "mean", "median", "map")], axis=0)
    chosen = np.zeros(len(out), bool)
    chosen[slice(None) if where is None else np.asarray(where)] = True

    rows = []
    for index, stem in enumerate(_PARAMETERS):
        if stem not in fits:
            continue
        has_fit = np.isfinite(fits[stem].value)
        rows.append({
            "parameter": _ROW_NAMES[stem],
            "n": np.sum(chosen & has_fit & inferred),
            "n_no_fit": np.sum(chosen & ~has_fit),
            "n_not_inferred": np.sum(chosen & ~inferred),
            **_statistics({key: values[:, index] for key, values in estimates.items()}, fits[stem],
                          chosen & has_fit & inferred),
        })
    table = Table(rows)
    for name in table.colnames:
        if name.endswith("_inside"):
            table[name].unit, table[name].info.format = u.percent, ".1f"
        elif table[name].dtype.kind == "f":
            table[name].info.format = ".3f"
    return table


def _statistics(ours, fit, rows):
    """One row of the comparison, from vectors of one parameter."""
    value, low, high = fit.value[rows], fit.low[rows], fit.high[rows]
    ours = {key: values[rows] for key, values in ours.items()}
    bounded = ~(np.isnan(low) | np.isnan(high))
    result = {"catalog_inside": _percent((ours["low"] <= value) & (value <= ours["high"])),
              "n_interval": np.sum(bounded)}
    for key in ("mean", "median", "map"):
        result[f"{key}_inside"] = _percent(((low <= ours[key]) & (ours[key] <= high))[bounded])
    for key in ("map", "median", "mode"):
        difference = (ours[key] - value)[np.isfinite(ours[key])]
        q16, q50, q84 = np.percentile(difference, [16, 50, 84]) if len(difference) else [np.nan] * 3
        result |= {f"{key}_offset": q50, f"{key}_scatter": (q84 - q16) / 2}
    return result


def _percent(inside):
    return 100 * inside.mean() if len(inside) else np.nan


def inferred_parameters(out, suffix, *, prefix=""):
    """Estimates of an inferred table in the coordinates of the model.

    Parameters
    ----------
    out : Table
    suffix : str
        ``"q50"``, ``"map"``, ``"modes"``, ...: what follows ``age_``, ``mass_`` and ``ebv_``.
    prefix : str

    Returns
    -------
    ndarray (n, 3) or (n, n_mode, 3)
        log10 age/Myr, log10 mass/Msun, E(B-V)/mag.

    Raises
    ------
    ColumnError
        If a column is absent.
    """
    columns = []
    for stem, (unit, logarithmic) in _PARAMETERS.items():
        name = f"{prefix}{stem}_{suffix}"
        if name not in out.colnames:
            raise ColumnError(f"the table has no column {name!r}; is it from infer_table, and prefix={prefix!r} right?")
        values = _numbers(out[name], unit)
        columns.append(_log10(values) if logarithmic else values)
    return np.stack(columns, axis=-1)


def published_fits(table, published=None):
    """The fits that a catalog brings along, cleaned of sentinels.

    Parameters
    ----------
    table : Table
    published : dict, optional
        As for `compare_with_catalog`.

    Returns
    -------
    dict of PublishedFit
        By ``age``, ``mass``, ``ebv``, as far as published; empty where nothing is recognised.

    Raises
    ------
    ColumnError
        If ``published`` names a column that is not there.
    """
    if published is None:
        from ..catalogs.layouts import recognise

        published = getattr(recognise(table), "published", None) or {}
    unknown = set(published) - set(_PARAMETERS)
    if unknown:
        raise InputError(f"published has {sorted(unknown)}; it may have {list(_PARAMETERS)}")
    linear = {stem: _linear_fit(table, stem, published[stem]) for stem in _PARAMETERS if stem in published}
    usable = {stem: (fit.value > 0) if _PARAMETERS[stem][1] else (fit.value >= 0) for stem, fit in linear.items()}
    # A row whose age is a sentinel has no reddening either, although its zero would be a good one.
    sentinel = np.any([~usable[stem] & np.isfinite(fit.value) for stem, fit in linear.items()], axis=0)
    return {stem: _cleaned(fit, usable[stem] & ~sentinel, _PARAMETERS[stem][1]) for stem, fit in linear.items()}


def _cleaned(fit, usable, logarithmic):
    columns = [np.where(usable, column, np.nan) for column in (fit.value, fit.low, fit.high)]
    return PublishedFit(*map(_log10, columns)) if logarithmic else PublishedFit(*columns)


def _linear_fit(table, stem, entry):
    value, low, high, error, unit = entry
    target = _PARAMETERS[stem][0]

    def column(source):
        if source is None:
            return np.full(len(table), np.nan)
        if isinstance(source, str):
            if source not in table.colnames:
                raise ColumnError(f"the table has no column {source!r}, named as published {stem}")
            source = table[source]
        return np.broadcast_to(_numbers(source, target, unit), len(table)).copy()

    value, low, high, error = map(column, (value, low, high, error))
    error[~(error > 0)] = np.nan
    below = value - error
    if _PARAMETERS[stem][1]:
        below = np.maximum(below, 0)
    # Limits are absolute and may be zero; -999 and limits that do not enclose the value are none.
    limits = (low >= 0) & (low <= value) & (value <= high)
    return PublishedFit(value, np.where(limits, low, below), np.where(limits, high, value + error))


def _numbers(column, unit, default=None):
    """Plain floats in ``unit``, NaN where masked; a column without a unit is in ``default``, or in ``unit``."""
    own = getattr(column, "unit", None) or default
    mask = np.ma.getmaskarray(column) if isinstance(column, np.ma.MaskedArray) else getattr(column, "mask", False)
    plain = column.unmasked if hasattr(column, "unmasked") else column
    values = np.array(np.ma.getdata(getattr(plain, "value", plain)), dtype=float)
    values[np.broadcast_to(mask, values.shape)] = np.nan
    # A sentinel keeps its sign under a change of unit, which is all that is asked of it here.
    return values * u.Unit(own).to(unit) if own else values


def _log10(values):
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log10(values)


def closest_modes(out, fits, *, prefix=""):
    """The mode of each posterior that lies closest to the catalog's fit.

    Parameters
    ----------
    out : Table
    fits : dict of PublishedFit
        From `published_fits`.
    prefix : str

    Returns
    -------
    ndarray (n, 3)
        log10 age/Myr, log10 mass/Msun, E(B-V)/mag; NaN where there is no fit or no mode.
        Distances are scaled by (q84 - q16)/2 of each parameter, and leave out parameters without a fit.
    """
    modes = inferred_parameters(out, "modes", prefix=prefix)
    half_width = (inferred_parameters(out, "q84", prefix=prefix) - inferred_parameters(out, "q16", prefix=prefix)) / 2
    none = np.full(len(out), np.nan)
    catalog = np.stack([fits[stem].value if stem in fits else none for stem in _PARAMETERS], axis=-1)
    scaled = (modes - catalog[:, None]) / np.maximum(half_width, 1e-6)[:, None]
    distance = np.nansum(scaled**2, axis=-1)
    distance[~np.isfinite(modes).all(-1)] = np.inf
    closest = modes[np.arange(len(out)), distance.argmin(1)]
    closest[~np.isfinite(catalog).any(1) | np.isinf(distance.min(1))] = np.nan
    return closest
