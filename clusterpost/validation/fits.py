"""Our estimates and the catalog's own fits, in the same coordinates: log10 age, log10 mass, E(B-V)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.table import Table

from ..catalogs.published import published_columns
from ..errors import ColumnError, InputError

__all__ = ["PARAMETERS", "PublishedFit", "catalog_parameters", "closest_modes", "drawn_parameters",
           "inferred_parameters", "log10", "numbers", "published_fits"]

#: Column stem of each parameter, its unit here, and whether its log10 is compared.
PARAMETERS = {"age": (u.Myr, True), "mass": (u.Msun, True), "ebv": (u.mag, False)}


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


def inferred_parameters(out, suffix, *, prefix="", parameters=None):
    """Estimates of an inferred table in the coordinates of the model.

    Parameters
    ----------
    out : Table
    suffix : str
        ``"q50"``, ``"map"``, ``"modes"``, ...: what follows ``age_``, ``mass_`` and ``ebv_``.
    prefix : str
    parameters : sequence of `~clusterpost.families.Parameter`, optional
        Of the model's family; by default those of clusters.

    Returns
    -------
    ndarray (n, n_parameter) or (n, n_mode, n_parameter)
        For clusters log10 age/Myr, log10 mass/Msun, E(B-V)/mag.

    Raises
    ------
    ColumnError
        If a column is absent.
    """
    columns = []
    known = PARAMETERS if parameters is None else {p.column: (u.Unit(p.unit), p.log10) for p in parameters}
    for stem, (unit, logarithmic) in known.items():
        name = f"{prefix}{stem}_{suffix}"
        if name not in out.colnames:
            raise ColumnError(f"the table has no column {name!r}; infer it first, and check option:prefix")
        values = numbers(out[name], unit)
        columns.append(log10(values) if logarithmic else values)
    return np.stack(columns, axis=-1)


def published_fits(table: Table, published: str | dict | None = None) -> dict:
    """Read the fits of a catalog, cleaned of sentinels.

    Parameters
    ----------
    table : Table
    published : str or dict, optional
        As for `~clusterpost.compare_with_catalog`.

    Returns
    -------
    dict of PublishedFit
        By ``age``, ``mass``, ``ebv``, as far as published; empty where nothing is recognized.

    Raises
    ------
    ColumnError
        If ``published`` names a column that is not there.
    """
    if published is None or isinstance(published, str):
        published = published_columns(table, published)[1]
    unknown = set(published) - set(PARAMETERS)
    if unknown:
        raise InputError(f"published has {sorted(unknown)}; it may have {list(PARAMETERS)}")
    linear = {stem: _linear_fit(table, stem, published[stem]) for stem in PARAMETERS if stem in published}
    usable = {stem: (fit.value > 0) if PARAMETERS[stem][1] else (fit.value >= 0) for stem, fit in linear.items()}
    # A row whose age is a sentinel has no reddening either, although its zero would be a good one.
    sentinel = np.any([~usable[stem] & np.isfinite(fit.value) for stem, fit in linear.items()], axis=0)
    return {stem: _cleaned(fit, usable[stem] & ~sentinel, PARAMETERS[stem][1]) for stem, fit in linear.items()}


def catalog_parameters(table, published=None):
    """Return the parameters that a catalog published.

    Parameters
    ----------
    table : Table
    published : str, dict or False, optional
        As for `~clusterpost.compare_with_catalog`; False for none.

    Returns
    -------
    ndarray (n, 3)
        log10 age/Myr, log10 mass/Msun, E(B-V)/mag; NaN for what there is not.
    """
    fits = {} if published is False else published_fits(table, published)
    none = np.full(len(table), np.nan)
    return np.stack([fits[stem].value if stem in fits else none for stem in PARAMETERS], axis=-1)


def drawn_parameters(draws):
    """Draws in the coordinates of the model.

    Parameters
    ----------
    draws : Table
        From `~clusterpost.sample_posterior`.

    Returns
    -------
    ndarray (n, n_samples, 3)
        log10 age/Myr, log10 mass/Msun, E(B-V)/mag; NaN where a row could not be inferred.
    """
    return np.stack([log10(numbers(draws[stem], unit)) if logarithmic else numbers(draws[stem], unit)
                     for stem, (unit, logarithmic) in PARAMETERS.items()], axis=-1)


def _cleaned(fit, usable, logarithmic):
    columns = [np.where(usable, column, np.nan) for column in (fit.value, fit.low, fit.high)]
    return PublishedFit(*map(log10, columns)) if logarithmic else PublishedFit(*columns)


def _linear_fit(table, stem, entry):
    value, low, high, error, unit = entry
    target = PARAMETERS[stem][0]

    def column(source):
        if source is None:
            return np.full(len(table), np.nan)
        if isinstance(source, str):
            if source not in table.colnames:
                raise ColumnError(f"the table has no column {source!r}, named as published {stem}")
            source = table[source]
        return np.broadcast_to(numbers(source, target, unit), len(table)).copy()

    value, low, high, error = map(column, (value, low, high, error))
    error[~(error > 0)] = np.nan
    below = value - error
    if PARAMETERS[stem][1]:
        below = np.maximum(below, 0)
    # Limits are absolute and may be zero; -999 and limits that do not enclose the value are none.
    limits = (low >= 0) & (low <= value) & (value <= high)
    return PublishedFit(value, np.where(limits, low, below), np.where(limits, high, value + error))


def numbers(column, unit, default=None):
    """Plain floats in one unit.

    Parameters
    ----------
    column : Column, Quantity or array
    unit : Unit
    default : Unit, optional
        Of a column that carries none; by default ``unit``.

    Returns
    -------
    ndarray
        NaN where masked.
    """
    own = getattr(column, "unit", None) or default
    mask = np.ma.getmaskarray(column) if isinstance(column, np.ma.MaskedArray) else getattr(column, "mask", False)
    plain = column.unmasked if hasattr(column, "unmasked") else column
    values = np.array(np.ma.getdata(getattr(plain, "value", plain)), dtype=float)
    values[np.broadcast_to(mask, values.shape)] = np.nan
    # A sentinel keeps its sign under a change of unit, which is all that is asked of it here.
    return values * u.Unit(own).to(unit) if own else values


def log10(values):
    """log10 that gives -inf for zero and NaN for what is negative, in silence.

    Parameters
    ----------
    values : array

    Returns
    -------
    ndarray
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log10(values)


def closest_modes(out, fits, *, prefix=""):
    """Return the mode of each posterior that lies closest to the catalog's fit.

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
    catalog = np.stack([fits[stem].value if stem in fits else none for stem in PARAMETERS], axis=-1)
    scaled = (modes - catalog[:, None]) / np.maximum(half_width, 1e-6)[:, None]
    distance = np.nansum(scaled**2, axis=-1)
    distance[~np.isfinite(modes).all(-1)] = np.inf
    closest = modes[np.arange(len(out)), distance.argmin(1)]
    closest[~np.isfinite(catalog).any(1) | np.isinf(distance.min(1))] = np.nan
    return closest
