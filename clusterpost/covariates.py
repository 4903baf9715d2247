"""Known quantities of each row, such as its distance or its redshift, from a table."""

from __future__ import annotations

from dataclasses import replace

import astropy.units as u
import numpy as np

from .catalogs.messages import Fault
from .catalogs.sentinels import is_sentinel
from .catalogs.table_distances import table_distances
from .catalogs.values import numbers
from .errors import ColumnError, DistanceError, InputError, UnitError

__all__ = ["read_covariates", "read_optional"]

#: Values of no [M/H] that stand for missing.
_SENTINELS = (99.0, 99.9, 99.99, 99.999, 999.0, 999.9, 9999.0, -99.0, -99.9, -99.99, -99.999, -999.0, -999.9, -9999.0)
_LOGARITHMIC = ("dex", "dex(1)", "[-]", "[Sun]")


def read_covariates(tbl, layout, covariates, *, distance=None):
    """Read the covariates of a model family.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    layout : `~clusterpost.catalogs.layouts.Layout`
    covariates : sequence of Covariate
    distance : float, Quantity, array or str, optional
        As for `~clusterpost.infer_table`.

    Returns
    -------
    values : dict of ndarray (n,)
        In the covariates' units; NaN where unknown.  ``distance_err`` is relative.
    sources : dict of str
        Where they come from.
    faults : dict of str to Fault
        Of rows whose distance is not positive, or whose error is none.

    Raises
    ------
    ColumnError, UnitError
        If a covariate has no column, or one of another kind.
    DistanceError
        If there is no distance, or one was given and the model takes none.
    """
    if distance is not None and "distance" not in {covariate.name for covariate in covariates}:
        raise DistanceError("the model takes no distance; leave option:distance out")
    values, sources, faults = {}, {}, {}
    for covariate in covariates:
        name = covariate.name
        if name == "distance":
            values[name], sources[name], faults["distance not positive"] = table_distances(tbl, layout, distance)
            if covariate.error and distance is None:
                _add_error(tbl, covariate, values, sources, faults)
        else:
            values[name], sources[name] = _from_column(tbl, covariate)
    return values, sources, faults


def _add_error(tbl, covariate, values, sources, faults):
    """Add the relative error of a covariate, where the table has a column of it; NaN where that says nothing."""
    name = f"{covariate.name}_err"
    if _column_called(tbl, name) is None:
        return
    error, sources[name] = _from_column(tbl, replace(covariate, name=name, log=False))
    error[is_sentinel(error, _SENTINELS)] = np.nan
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = error / values[covariate.name]
        bad = (relative < 0) | (relative >= 1)
    if bad.any():
        row = int(np.argmax(bad))
        faults[name] = Fault(int(np.isfinite(error).sum()), int(bad.sum()), row,
                             f"{sources[name]} gives in row {{row}} an error of {error[row]:g} {covariate.unit} of a "
                             f"{covariate.name} of {values[covariate.name][row]:g}; it must be from zero to below that",
                             "Correct it, or mask it where it is not known", "are inferred without it", InputError)
    values[name] = np.where(bad, np.nan, relative)


def read_optional(tbl, covariates, sentinels=()):
    """Read what else a table may tell of its objects, with errors.

    Parameters
    ----------
    tbl : `~astropy.table.Table`
    covariates : sequence of Covariate
        Of columns of their names, and of these names with ``_err``.
    sentinels : sequence of float
        Values that stand for missing, besides the customary ones.

    Returns
    -------
    values : dict of ndarray (n,)
        Of those that have a column, and of their errors under the name with ``_err``; NaN where unknown.
    sources : dict of str
    faults : dict of str to Fault
        Of rows whose value or error is none.
    """
    values, sources, faults = {}, {}, {}
    for covariate in covariates:
        name = covariate.name
        if _column_called(tbl, name) is None:
            continue
        value, sources[name] = _from_column(tbl, covariate)
        value[is_sentinel(value, (*_SENTINELS, *sentinels))] = np.nan
        error, with_error = np.full(len(tbl), np.nan), _column_called(tbl, f"{name}_err") is not None
        if with_error:
            error, source = _from_column(tbl, replace(covariate, name=f"{name}_err"))
            error[is_sentinel(error, (*_SENTINELS, *sentinels))] = np.nan
            sources[name] += f" and {source}"
        beyond = np.isfinite(value) & ((value < covariate.low) | (value > covariate.high))
        negative = np.isfinite(value) & (error <= 0)
        bad = beyond | negative
        if bad.any():
            row = int(np.argmax(bad))
            what = (f"a {name} of {value[row]:g}; it is {covariate.description}, from {covariate.low:g} to "
                    f"{covariate.high:g}" if beyond[row] else f"an error of {error[row]:g}; errors are positive")
            faults[name] = Fault(int(np.isfinite(value).sum()), int(bad.sum()), row,
                                 f"{sources[name]} gives in row {{row}} {what}",
                                 f"Correct it, mask it where it is not known, or rename a column {name!r} that is "
                                 "something else", "are inferred without it", InputError)
        values[name], values[f"{name}_err"] = np.where(bad, np.nan, value), np.where(bad, np.nan, error)
    return values, sources, faults


def _column_called(tbl, name):
    return next((column for column in tbl.colnames if column.lower() == name.lower()), None)


def _from_column(tbl, covariate):
    name = _column_called(tbl, covariate.name)
    if name is None:
        raise ColumnError(f"the model needs a column {covariate.name!r} ({covariate.description}), and the table has "
                          "none; rename the one that holds it")
    unit = tbl[name].unit or covariate.unit
    if not covariate.unit and str(unit) in _LOGARITHMIC:
        unit = ""
    try:
        factor = u.Unit(unit).to(covariate.unit)
    except u.UnitConversionError:
        raise UnitError(f"column {name!r} is in {unit}; {covariate.name} needs "
                        f"{covariate.unit or 'a pure number'}") from None
    values = factor * np.asarray(numbers(tbl, name), float)
    if covariate.log:
        values = np.where(values > 0, values, np.nan)
    return np.where(np.isfinite(values), values, np.nan), f"column {name!r}"
