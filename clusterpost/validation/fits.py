"""Inferred estimates and a catalog's own fits in the coordinates of the model's parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.table import Table

from ..catalogs.published import published_columns
from ..errors import ColumnError, InputError
from ..families.clusters.parameters import PARAMETERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from astropy.table import Column

    from ..families.base import Derived, Parameter

__all__ = ["PublishedFit", "catalog_parameters", "closest_modes", "coordinate", "drawn_parameters",
           "inferred_parameters", "log10", "numbers", "published_fits"]

@dataclass
class PublishedFit:
    """A catalog's fits of one parameter, such as log10 age/Myr or E(B-V)/mag.

    Attributes
    ----------
    value : ndarray (n,)
        Value, NaN without a fit in the catalog.
    low, high : ndarray (n,)
        1 sigma interval; NaN if the catalog gives none, and -inf for the logarithm
        of a lower limit of zero.
    """

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def inferred_parameters(out: Table, suffix: str, *, prefix: str = "", parameters: Sequence = PARAMETERS) -> np.ndarray:
    """Return estimates of an inferred table in the coordinates of the model.

    Parameters
    ----------
    out : Table
    suffix : str
        Suffix of the columns: ``"q50"``, ``"map"``, ``"modes"``, ...
    prefix : str
    parameters : sequence of `~clusterpost.families.Parameter`, optional
        Parameters of the model's family; by default those of clusters.

    Returns
    -------
    ndarray (n, n_parameter) or (n, n_mode, n_parameter)
        For clusters log10 age/Myr, log10 mass/Msun, E(B-V)/mag.

    Raises
    ------
    ColumnError
        If a column is missing.
    """
    columns = []
    for parameter in parameters:
        name = f"{prefix}{parameter.column}_{suffix}"
        if name not in out.colnames:
            raise ColumnError(f"the table has no column {name!r}; infer it first, and check option:prefix")
        columns.append(coordinate(parameter, numbers(out[name], parameter.unit)))
    return np.stack(columns, axis=-1)


def coordinate(parameter: Derived | Parameter, values: np.ndarray) -> np.ndarray:
    """Convert values of a parameter's columns, which can be sentinels, to its coordinate.

    Parameters
    ----------
    parameter : `~clusterpost.families.Parameter`
    values : ndarray
        Values in the unit of the parameter.

    Returns
    -------
    ndarray
    """
    return log10(values) if parameter.log10 else values


def published_fits(table: Table, published: str | dict | None = None, *, parameters: Sequence = PARAMETERS) -> dict:
    """Return the published fits of a catalog without sentinels.

    Parameters
    ----------
    table : Table
    published : str or dict, optional
        As for `~clusterpost.compare_with_catalog`.
    parameters : sequence of `~clusterpost.families.Parameter`
        Parameters of the model's family; by default those of clusters.

    Returns
    -------
    dict of PublishedFit
        Published fits by column stem, in the order of the parameters; empty if nothing is recognized.

    Raises
    ------
    ColumnError
        If ``published`` names a missing column.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from clusterpost.validation import published_fits
    >>> tbl = Table({"fit": [10.0, 100.0, -999.0]}, units={"fit": "Myr"})
    >>> fits = published_fits(tbl, {"age": ("fit", None, None, None, None)})
    >>> fits["age"].value.tolist()
    [1.0, 2.0, nan]
    """
    if published is None or isinstance(published, str):
        published = published_columns(table, published)[1]
        published = {p.column: published[p.column] for p in parameters if p.column in published}
    known = {p.column: p for p in parameters}
    unknown = set(published) - set(known)
    if unknown:
        raise InputError(f"published has {sorted(unknown)}; it may have {list(known)}")
    linear = {stem: _linear_fit(table, parameter, published[stem]) for stem, parameter in known.items()
              if stem in published}
    usable = {stem: (fit.value > 0) if known[stem].log10 else (fit.value >= _least(known[stem]))
              for stem, fit in linear.items()}
    # A row with a sentinel for its age has no reddening either, although a reddening of zero is valid.
    sentinel = np.any([~usable[stem] & np.isfinite(fit.value) for stem, fit in linear.items()], axis=0)
    return {stem: _cleaned(fit, usable[stem] & ~sentinel, known[stem]) for stem, fit in linear.items()}


def catalog_parameters(table: Table, published: str | Mapping | None = None, *,
                       parameters: Sequence = PARAMETERS) -> np.ndarray:
    """Return the published parameters of a catalog.

    Parameters
    ----------
    table : Table
    published : str, dict or False, optional
        As for `~clusterpost.compare_with_catalog`; False for none.
    parameters : sequence of `~clusterpost.families.Parameter`
        Parameters of the model's family; by default those of clusters.

    Returns
    -------
    ndarray (n, n_parameter)
        For clusters log10 age/Myr, log10 mass/Msun, E(B-V)/mag; NaN for missing values.
    """
    return _values({} if published is False else published_fits(table, published, parameters=parameters), parameters,
                   len(table))


def _values(fits, parameters, n):
    none = np.full(n, np.nan)
    return np.stack([fits[p.column].value if p.column in fits else none for p in parameters], axis=-1)


def drawn_parameters(draws: Table, parameters: Sequence = PARAMETERS) -> np.ndarray:
    """Return draws in the coordinates of the model.

    Parameters
    ----------
    draws : Table
        Output of `~clusterpost.sample_posterior`.
    parameters : sequence of `~clusterpost.families.Parameter`
        Parameters of the model's family; by default those of clusters.

    Returns
    -------
    ndarray (n, n_samples, n_parameter)
        For clusters log10 age/Myr, log10 mass/Msun, E(B-V)/mag; NaN for rows that were not inferred.
    """
    return np.stack([coordinate(p, numbers(draws[p.column], p.unit)) for p in parameters], axis=-1)


def _cleaned(fit, usable, parameter):
    return PublishedFit(*(coordinate(parameter, np.where(usable, column, np.nan))
                          for column in (fit.value, fit.low, fit.high)))


_ENTRY = ("value", "low", "high", "err", "unit")


def _linear_fit(table, parameter, entry):
    if isinstance(entry, str) or len(entry) != len(_ENTRY):
        raise InputError(f"published {parameter.column} is {entry!r}; it must be ({', '.join(_ENTRY)}), with None for "
                         "missing entries")
    value, low, high, error, unit = entry
    least = _least(parameter)

    def column(source):
        if source is None:
            return np.full(len(table), np.nan)
        if isinstance(source, str):
            if source not in table.colnames:
                raise ColumnError(f"the table has no column {source!r}, named as published {parameter.column}")
            source = table[source]
        return np.broadcast_to(numbers(source, parameter.unit, unit), len(table)).copy()

    value, low, high, error = map(column, (value, low, high, error))
    error[~(error > 0)] = np.nan
    below = value - error
    if parameter.log10:
        below = np.maximum(below, 0)
    # Limits are absolute and can be zero; -999 and limits that do not enclose the value are invalid.
    limits = (low >= least) & (low <= value) & (value <= high)
    return PublishedFit(value, np.where(limits, low, below), np.where(limits, high, value + error))


def _least(parameter):
    """Return the smallest value of a column that is not a sentinel."""
    return 0.0 if parameter.log10 else min(getattr(parameter, "low", 0.0), 0.0)


def numbers(column: Column | u.Quantity, unit: str | u.UnitBase, default: str | None = None) -> np.ndarray:
    """Convert a column to plain floats in one unit.

    Parameters
    ----------
    column : Column, Quantity or array
    unit : Unit
    default : Unit, optional
        Unit of a column without one; by default ``unit``.

    Returns
    -------
    ndarray
        Values, NaN if masked.
    """
    own = getattr(column, "unit", None) or default
    mask = np.ma.getmaskarray(column) if isinstance(column, np.ma.MaskedArray) else getattr(column, "mask", False)
    plain = column.unmasked if hasattr(column, "unmasked") else column
    values = np.array(np.ma.getdata(getattr(plain, "value", plain)), dtype=float)
    values[np.broadcast_to(mask, values.shape)] = np.nan
    # A sentinel keeps its sign under a change of unit, which is sufficient here.
    return values * u.Unit(own).to(unit) if own else values


def log10(values: np.ndarray) -> np.ndarray:
    """Return log10 without warnings, -inf for zero and NaN for negative values.

    Parameters
    ----------
    values : array

    Returns
    -------
    ndarray
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log10(values)


def closest_modes(out: Table, fits: dict, *, prefix: str = "", parameters: Sequence = PARAMETERS) -> np.ndarray:
    """Return the mode of each posterior that is closest to the catalog's fit.

    Parameters
    ----------
    out : Table
    fits : dict of PublishedFit
        Output of `published_fits`.
    prefix : str
    parameters : sequence of `~clusterpost.families.Parameter`
        Parameters of the model's family; by default those of clusters.

    Returns
    -------
    ndarray (n, n_parameter)
        For clusters log10 age/Myr, log10 mass/Msun, E(B-V)/mag; NaN without a fit or a mode.
        Distances are scaled by (q84 - q16)/2 of each parameter, and exclude parameters without a fit.
    """
    modes, low, high = (inferred_parameters(out, suffix, prefix=prefix, parameters=parameters)
                        for suffix in ("modes", "q16", "q84"))
    half_width, catalog = (high - low) / 2, _values(fits, parameters, len(out))
    scaled = (modes - catalog[:, None]) / np.maximum(half_width, 1e-6)[:, None]
    distance = np.nansum(scaled**2, axis=-1)
    distance[~np.isfinite(modes).all(-1)] = np.inf
    closest = modes[np.arange(len(out)), distance.argmin(1)]
    closest[~np.isfinite(catalog).any(1) | np.isinf(distance.min(1))] = np.nan
    return closest
